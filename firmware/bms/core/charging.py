"""Is a charger there, how far is it, and does it stop? Runs in the slack.

CC-CV as the maker of a cell states it: full is the end voltage with the current tapered off
(JEITA, A Guide to the Safe Use of Secondary Lithium Ion Batteries, 2007, for the temperature
windows, which are the derating table and the rows charge_cold and charge_hot).
"""

from array import array

from bms.compat import const
from bms.core import plausible as P

FIELDS = (
    "stage",  # index into STAGES
    "there_ms",  # for how long a charge current has flowed
    "gone_ms",  # for how long none has
    "taper_ms",  # for how long it has been tapered off at the end voltage
)
STAGE = const(0)
_THERE_MS = const(1)
_GONE_MS = const(2)
_TAPER_MS = const(3)

NONE = const(0)
CHARGING = const(1)
FULL = const(2)
PRECHARGE = const(3)  # a deeply discharged cell: a small current only
STAGES = ("none", "charging", "full", "pre-charge")

_THERE_AFTER_MS = const(10000)  # brakes are shorter: regeneration is no charger
_GONE_AFTER_MS = const(10000)
_TAPER_AFTER_MS = const(30000)
_TIME_MAX_MS = const(900000000)  # 10 days


class Charging:
    """Stage of charging of one pack. `v` holds `FIELDS`."""

    def __init__(self, pack):
        self.pack = pack
        self.v = array("i", [0] * len(FIELDS))

    def step(self, sig):
        """Move to this tick's stage and write the charging signals."""
        v = self.v
        pack = self.pack
        dt = sig[P.DT_MS]
        trust = sig[P.TRUST]
        if not trust >> P.CHARGE_UA & 1 or not trust >> P.CELL_MAX_UV & 1:
            return
        flows = sig[P.CHARGE_UA] > pack.charger_ua
        v[_THERE_MS] = min(v[_THERE_MS] + dt, P.LOST_MAX_MS) if flows else 0
        v[_GONE_MS] = 0 if flows else min(v[_GONE_MS] + dt, P.LOST_MAX_MS)
        stage = v[STAGE]
        if stage == FULL:
            if sig[P.CELL_MAX_UV] < pack.refill_uv:
                stage = NONE
        elif v[_GONE_MS] >= _GONE_AFTER_MS:
            stage = NONE
        elif v[_THERE_MS] >= _THERE_AFTER_MS or stage != NONE:
            stage = PRECHARGE if sig[P.CELL_MIN_UV] < pack.precharge_uv else CHARGING
        v[_TAPER_MS] = self._tapered(sig, dt)
        if v[_TAPER_MS] >= _TAPER_AFTER_MS:
            stage = FULL
        v[STAGE] = stage
        if stage in (NONE, FULL):
            sig[P.CHARGE_TIME_MS] = 0
        else:
            sig[P.CHARGE_TIME_MS] = min(sig[P.CHARGE_TIME_MS] + dt, _TIME_MAX_MS)
        over = stage == FULL and flows
        sig[P.OVERCHARGE_MS] = min(sig[P.OVERCHARGE_MS] + dt, P.LOST_MAX_MS) if over else 0

    def _tapered(self, sig, dt):
        # At the end voltage with a current between none and the taper: what a charger leaves on.
        pack = self.pack
        if sig[P.CELL_MAX_UV] < pack.full_uv or not 0 <= sig[P.CHARGE_UA] <= pack.taper_ua:
            return 0
        return min(self.v[_TAPER_MS] + dt, P.LOST_MAX_MS)
