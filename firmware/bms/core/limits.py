"""What the pack can take and give now: the thermal derating, announced before a trip binds."""

from array import array

from bms.compat import const
from bms.core.fixed import interp
from bms.core.plausible import TEMP_MAX_MDEGC, TEMP_MIN_MDEGC, TRUST
from bms.core.protect import NO_SHED
from bms.core.rules import CHARGE, DISCHARGE

FIELDS = ("charge_ma", "discharge_ma")
CHARGE_MA = const(0)
DISCHARGE_MA = const(1)


class Limits:
    """Current limits of one pack. `v` holds `FIELDS`, both positive."""

    def __init__(self, pack):
        self.pack = pack
        self.v = array("i", [0] * len(FIELDS))

    def step(self, sig, protect):
        """Write the limits for these signals; a blocked path has none."""
        pack = self.pack
        known = sig[TRUST] & 1 << TEMP_MAX_MDEGC and protect.shed_left_ms == NO_SHED
        charge_ma = discharge_ma = 0
        if known and not protect.blocked & CHARGE:
            charge_ma = _derated(pack.charge_max_ma, pack.charge_derate_ppm, sig)
        # A robot that sits down needs current to do it: while it is warned, the limit stays what
        # the last believed temperature allows.
        if not protect.blocked & DISCHARGE:
            discharge_ma = _derated(pack.discharge_max_ma, pack.discharge_derate_ppm, sig)
        self.v[CHARGE_MA] = charge_ma
        self.v[DISCHARGE_MA] = discharge_ma


def _derated(ma, table, sig):
    # The coldest and the hottest cell each have their say; the stricter wins.
    ppm = min(interp(table, sig[TEMP_MIN_MDEGC]), interp(table, sig[TEMP_MAX_MDEGC]))
    return ma * (ppm // 1000) // 1000
