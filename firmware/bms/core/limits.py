"""What the pack can take and give: now, for 1 s and for 10 s, announced before a trip binds.

Each is the least of what the temperature allows (the pack's derating, an Arrhenius law for a
cell whose charge current is limited by its interface; for the discharge also the MOSFETs, which
warm where the current takes the body diode of an open one), what keeps the weakest and the fullest
cell inside its voltage for that long, through R0, then R0 + R1, then with R2 (Plett, Battery
Management Systems vol. 2, ch. 6.3, with cell resistances for the response), and what the charge
left or the room left stands for that long.
"""

from array import array

from bms.compat import const
from bms.core.charging import FULL, PRECHARGE
from bms.core.fixed import clamp, interp, mul_div
from bms.core.plausible import (
    CELL_MAX_UV,
    CELL_MIN_UV,
    CHARGE_LIMIT_UA,
    CHARGE_UA,
    FET_MDEGC,
    HOT_MDEGC,
    TEMP_MAX_MDEGC,
    TEMP_MIN_MDEGC,
    TRUST,
)
from bms.core.protect import NO_SHED
from bms.core.rules import CHARGE, DISCHARGE, ID, ROWS
from bms.core.soc import FULL_PPM

FIELDS = (
    "charge_ma",
    "discharge_ma",
    "charge_1s_ma",
    "discharge_1s_ma",
    "charge_10s_ma",
    "discharge_10s_ma",
    "allowed_charge_ma",  # by temperature and stage
    "allowed_discharge_ma",
    "turn",  # which part comes next
)
CHARGE_MA = const(0)
DISCHARGE_MA = const(1)
CHARGE_1S_MA = const(2)
DISCHARGE_1S_MA = const(3)
CHARGE_10S_MA = const(4)
DISCHARGE_10S_MA = const(5)
_CHARGE = const(6)
_DISCHARGE = const(7)
_TURN = const(8)

_FET_LEAST = const(5)  # a fifth is left once they are as hot as the row fet_hot allows
_FET_SPAN_MDEGC = const(60000)
_RISE = const(4)  # from none to all in 2^4 times four ticks


class Limits:
    """Current limits of one pack. `v` holds `FIELDS`, all positive."""

    def __init__(self, pack):
        self.pack = pack
        self.v = array("i", [0] * len(FIELDS))
        for r in range(len(ROWS)):
            if ROWS[r][ID] == "fet_hot":
                hot, release, _, _ = pack.rule(r)
                self._fet_span = clamp(hot - release, 1, _FET_SPAN_MDEGC)
                self._fet_warm = hot - self._fet_span

    def step(self, sig, protect, stage, soc_ppm):
        """Write the limits for these signals, a part a tick; a blocked path has none, at once.

        stage: of `Charging`.
        """
        v = self.v
        if protect.blocked & CHARGE or protect.shed_left_ms != NO_SHED or stage == FULL:
            v[CHARGE_MA] = v[CHARGE_1S_MA] = v[CHARGE_10S_MA] = v[_CHARGE] = 0
        if protect.blocked & DISCHARGE:
            v[DISCHARGE_MA] = v[DISCHARGE_1S_MA] = v[DISCHARGE_10S_MA] = v[_DISCHARGE] = 0
        turn = v[_TURN]
        v[_TURN] = (turn + 1) & 3
        pack = self.pack
        cold = sig[TEMP_MIN_MDEGC]
        if turn == 0:
            self._allow(sig, protect, stage)
        elif turn == 1:
            self._write(CHARGE_MA, v[_CHARGE], v[_DISCHARGE], interp(pack.dcir_uohm, cold), sig)
        elif turn == 2:
            r_uohm = interp(pack.r1s_uohm, cold)
            self._write(CHARGE_1S_MA, v[_CHARGE], v[_DISCHARGE], r_uohm, sig)
        else:
            # mAs that are left, and that still fit, over 10 s.
            charge_ma = min(v[_CHARGE], mul_div(FULL_PPM - soc_ppm, pack.uas_per_ppm, 10000))
            discharge_ma = min(v[_DISCHARGE], mul_div(soc_ppm, pack.uas_per_ppm, 10000))
            r_uohm = interp(pack.r10s_uohm, cold)
            self._write(CHARGE_10S_MA, charge_ma, discharge_ma, r_uohm, sig)

    def _allow(self, sig, protect, stage):
        # By temperature and stage.
        v = self.v
        pack = self.pack
        charge_ma = 0
        if sig[TRUST] >> TEMP_MAX_MDEGC & 1:
            charge_ma = _derated(pack.charge_max_ma, pack.charge_derate_ppm, sig)
            # What the row charge_rate holds the current against: temperature alone.
            sig[CHARGE_LIMIT_UA] = mul_div(charge_ma, 1000, 2) << 1
        if protect.blocked & CHARGE or protect.shed_left_ms != NO_SHED or stage == FULL:
            charge_ma = 0
        elif stage == PRECHARGE:
            charge_ma = min(charge_ma, pack.precharge_ma)
        v[_CHARGE] = charge_ma
        # A robot that sits down needs current to do it: while it is warned, the limit stays what
        # the last believed temperature allows.
        discharge_ma = _derated(pack.discharge_max_ma, pack.discharge_derate_ppm, sig)
        v[_DISCHARGE] = 0 if protect.blocked & DISCHARGE else self._cooled(discharge_ma, sig)

    def _cooled(self, ma, sig):
        # A load that obeys keeps the MOSFETs below the limit at which it would be shed.
        over = sig[FET_MDEGC] - self._fet_warm
        if over <= 0:
            return ma
        span = self._fet_span
        return ma - ma * (_FET_LEAST - 1) // _FET_LEAST * (min(over, span) * 1000 // span) // 1000

    def _write(self, at, charge_ma, discharge_ma, r_uohm, sig):
        # By voltage: the current that brings the cells to their ends through this resistance. It
        # falls at once and rises over seconds, so that a load that follows it does not swing.
        v = self.v
        pack = self.pack
        if sig[TRUST] >> CELL_MIN_UV & 1 and sig[TRUST] >> CHARGE_UA & 1:
            ma = sig[CHARGE_UA] // 1000
            charge_ma = clamp(_over(pack.high_uv - sig[CELL_MAX_UV], r_uohm) + ma, 0, charge_ma)
            left_ma = _over(sig[CELL_MIN_UV] - pack.low_uv, r_uohm) - ma
            discharge_ma = clamp(left_ma, 0, discharge_ma)
        v[at] = min(charge_ma, v[at] + (pack.charge_max_ma >> _RISE) + 1)
        v[at + 1] = min(discharge_ma, v[at + 1] + (pack.discharge_max_ma >> _RISE) + 1)


def _over(uv, r_uohm):
    # uV / uohm in mA; beyond 500 A nothing here asks.
    r_mohm_64 = max((r_uohm << 6) // 1000, 1)
    return clamp(clamp(uv, -10000000, 10000000) * 64 // r_mohm_64, -500000, 500000)


def _derated(ma, table, sig):
    # The coldest and the hottest cell each have their say; the stricter wins.
    hot = max(sig[TEMP_MAX_MDEGC], sig[HOT_MDEGC])
    ppm = min(interp(table, sig[TEMP_MIN_MDEGC]), interp(table, hot))
    return ma * (ppm // 1000) // 1000
