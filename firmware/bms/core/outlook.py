"""What is left: usable energy, time to empty and to full, from SoC, temperature and mean current.

The weakest cell ends a discharge, the fullest a charge. In the cold a cell ends before its SoC is
0: what the cell file says of usable charge by temperature is taken off. Energy: that charge times
OCV on the way down (the mean of eight, each in the middle of its part), less the drop of the mean
current. Times: at the mean current of the last minutes; a charge that tapers off takes longer than
told.

Slack only: products need more than 31 bits on their way; every word that stays has 31.
"""

from array import array

from bms.compat import const
from bms.core.fixed import clamp, interp, lag
from bms.core.plausible import CHARGE_UA, DT_MS, TRUST

FIELDS = (
    "energy_mwh",  # usable
    "empty_s",  # at the mean current, -1: it does not discharge
    "full_s",  # -1: it does not charge
    "mean_ma",
    "mean_rest",
    "turn",
)
ENERGY_MWH = const(0)
EMPTY_S = const(1)
FULL_S = const(2)
MEAN_MA = const(3)
_TURN = const(5)

_TAU_MS = const(60000)
_EVERY = const(15)  # ticks between two looks, less one: a power of two
_HALF = const(8)
_FULL_PPM = const(1000000)
_PARTS = const(8)  # the knee of LFP is a tenth of the way
_MA_MAX = const(500000)
_TIME_MAX_S = const(1000000)
_ENERGY_MAX_MWH = const(1000000000)
_PJ_PER_MWH = 3600000000000
NEVER = const(-1)


class Outlook:
    """What is left of one pack. `v` holds `FIELDS`."""

    def __init__(self, pack):
        self.pack = pack
        self.v = array("i", [0] * len(FIELDS))
        self.v[EMPTY_S] = self.v[FULL_S] = NEVER

    def step(self, sig, soc):
        """Take in the signals (`Plausible.v`) and the `Soc` of this tick."""
        v = self.v
        if sig[TRUST] >> CHARGE_UA & 1:
            ua = sig[CHARGE_UA] - soc.filter.known_ua(self.pack.rest_ua >> 1)
            lag(v, MEAN_MA, clamp(ua // 1000, -_MA_MAX, _MA_MAX), sig[DT_MS], _TAU_MS)
        v[_TURN] = turn = (v[_TURN] + 1) & _EVERY
        if turn == 0:
            self._energy(soc)
        elif turn == _HALF:
            self._times(soc)

    def _least_ppm(self, soc):
        # SoC at which the weakest cell ends.
        return _FULL_PPM - interp(self.pack.usable_ppm, soc.filter.mdegc)

    def _energy(self, soc):
        low = soc.low_ppm()
        least = self._least_ppm(soc)
        left = max(low - least, 0)
        cell = soc.cell
        middle = least + (left >> 1)
        uv = 0
        for k in range(1, 2 * _PARTS, 2):
            uv += self._ocv(cell, least + left * k // (2 * _PARTS))
        uv //= _PARTS
        cell.resist(middle)
        uohm = cell.r0_uohm + cell.r1_uohm + cell.r2_uohm
        uv += uohm * min(self.v[MEAN_MA], 0) // 1000
        pj = left * soc.uas_per_ppm * max(uv, 0) * self.pack.cells
        self.v[ENERGY_MWH] = min(pj // _PJ_PER_MWH, _ENERGY_MAX_MWH)

    def _ocv(self, cell, ppm):
        return cell.ocv(clamp(ppm, 0, _FULL_PPM))[0]

    def _times(self, soc):
        v = self.v
        ma = v[MEAN_MA]
        least_ma = self.pack.rest_ua // 1000 + 1
        left = max(soc.low_ppm() - self._least_ppm(soc), 0)
        room = max(_FULL_PPM - soc.high_ppm(), 0)
        v[EMPTY_S] = _seconds(left * soc.uas_per_ppm, -ma, least_ma)
        v[FULL_S] = _seconds(room * soc.uas_per_ppm, ma, least_ma)


def _seconds(uas, ma, least_ma):
    if ma < least_ma:
        return NEVER
    return min(uas // (1000 * ma), _TIME_MAX_S)
