"""Capacity learned from rest to rest: counted charge over the SoC that two rests show.

Both have errors, so the ratio is a total-least-squares fit, x = change of SoC from OCV, y =
charge, with sigma_x = 3 sigma_y and fading sums (Plett, J. Power Sources 196 (2011) 2319, eq. 21):

    Q = (-c1 + k2 c3 + sqrt((c1 - k2 c3)^2 + 4 k2 c2^2)) / (2 k2 c2),
    c1 = sum x^2/s, c2 = sum x y/s, c3 = sum y^2/s,  s = sigma_y^2, k2 = 9.

An offset of the current sensor moves the counted charge for as long as it lasts: what that comes
to between two rests makes a pair count for less. 50 mA for a day would be half of a cell.

Slack only: squares need more than 31 bits on their way; every word that stays has 31.
"""

from array import array

from bms.compat import const
from bms.core.bound import root

FIELDS = (
    "known",  # a rest is known
    "from_ppm",  # SoC there,
    "from_sd_ppm",
    "moved_ppm",  # charge since, in ppm of the pack's stated capacity
    "moved_rest_uas",
    "ratio_ppm",  # learned capacity against the stated one
    "learned",  # pairs of rests so far
    "xx",  # the three sums
    "xy",
    "yy",
    "drift_ppm",  # what the offset may have moved since that rest, one standard deviation
    "drift_rest_uas",
)
_KNOWN = const(0)
_FROM_PPM = const(1)
_FROM_SD_PPM = const(2)
_MOVED_PPM = const(3)
_MOVED_REST_UAS = const(4)
RATIO_PPM = const(5)
LEARNED = const(6)
_XX = const(7)
_DRIFT_PPM = const(10)
_DRIFT_REST_UAS = const(11)
_FULL = const(1000000)
_K2 = const(9)
_LEAST_PPM = const(250000)  # a pair is worth taking from here on
_WORST_SD_PPM = const(50000)
_FADE = const(5)  # a pair halves the weight of another 22 pairs back
_PRIOR = const(41)  # what is stated counts as one full swing known within 5 %
_LOW_PPM = const(500000)
_HIGH_PPM = const(1200000)
_MOVED_MAX = const(1000000000)


class Capacity:
    """Learned capacity of one pack. `v` holds `FIELDS`."""

    def __init__(self, pack):
        self.uas_per_ppm = pack.uas_per_ppm
        self.v = array("i", [0] * len(FIELDS))
        self.v[RATIO_PPM] = _FULL
        for k in range(3):
            self.v[_XX + k] = _PRIOR

    def count(self, uas):
        """Charge that has flowed, the offset taken off."""
        self._add(_MOVED_PPM, uas, _MOVED_MAX)

    def drift(self, uas):
        """What the offset may have moved meanwhile, one standard deviation."""
        self._add(_DRIFT_PPM, uas, _FULL)

    def _add(self, at, uas, most):
        # To a charge in ppm, with what is not yet worth one in the word behind it.
        v = self.v
        total = v[at + 1] + uas
        v[at] = min(max(v[at] + total // self.uas_per_ppm, -most), most)
        v[at + 1] = total % self.uas_per_ppm

    def lost(self):
        """Charge has flowed that nobody counted: the last rest is worth nothing."""
        self.v[_KNOWN] = 0

    def rest(self, found_ppm, sd_ppm):
        """Take in a SoC that a rest has shown. Returns whether the ratio is a new one."""
        v = self.v
        if sd_ppm > _WORST_SD_PPM:
            return False
        learned = False
        if v[_KNOWN]:
            x = found_ppm - v[_FROM_PPM]
            drift = v[_DRIFT_PPM]
            if abs(x) < _LEAST_PPM:
                if sd_ppm >= v[_FROM_SD_PPM] + drift:
                    return False
            else:
                var = sd_ppm * sd_ppm + v[_FROM_SD_PPM] * v[_FROM_SD_PPM]
                var += 4 * drift * drift  # one error that lasts: no later pair makes up for it
                learned = self._pair(x // 1000, v[_MOVED_PPM] // 1000, var)
        v[_KNOWN] = 1
        v[_FROM_PPM] = found_ppm
        v[_FROM_SD_PPM] = sd_ppm
        v[_MOVED_PPM] = v[_MOVED_REST_UAS] = v[_DRIFT_PPM] = v[_DRIFT_REST_UAS] = 0
        return learned

    def _pair(self, x, y, var):
        # x and y in thousandths, weights in 1 / (1 %)^2 with 10 fractional bits
        v = self.v
        if not abs(x) < 2 * abs(y) < 4 * abs(x) or (x < 0) != (y < 0):
            return False  # no cell is that far from what is stated of it
        weight = 102400000000 // max(var, 1000000)
        at = _XX
        for product in (x * x, x * y, y * y):
            v[at] += (weight * product // 1000000) - (v[at] >> _FADE)
            at += 1
        xx, xy, yy = v[_XX], v[_XX + 1], v[_XX + 2]
        d = _K2 * yy - xx
        ratio = (d + root(d * d + 4 * _K2 * xy * xy, xx)) * _FULL // max(2 * _K2 * xy, 1)
        v[RATIO_PPM] = min(max(ratio, _LOW_PPM), _HIGH_PPM)
        v[LEARNED] = (v[LEARNED] + 1) & 0xFFFF
        return True
