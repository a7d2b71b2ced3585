"""SoC of each cell against the mean, and its resistance against the mean: one cell a slice.

A filter on the small difference instead of one filter a cell (bar-delta, Plett, Battery
Management Systems vol. 2, ch. 5.4): the difference in voltage is OCV' times the difference in SoC,
plus the difference in resistance times the drop. Cells in series share current and, nearly, all
that the model gets wrong, so little noise is left. Each cell's OCV is looked up where it lies: a
cell far below the others is on another slope. So the mean is the SoC of the mean voltage.

What each cell holds is not known: a cell that lies low may be small, or less full. Taken as equal,
the pack's SoC is off by at most low room / (low + room)^2 of what they differ by (`_UNLIKE_PPM`).

Slack only: squares need more than 31 bits on their way; every word that stays has 31.
"""

from array import array

from bms.compat import const
from bms.core.bound import root

FIELDS = (  # of every cell
    "delta",  # SoC less the mean, ppm with 8 fractional bits
    "var",  # variance of that, in 256 ppm2
    "ratio",  # resistance against the mean, 14 fractional bits
    "at_ppm",  # mean SoC and time at the cell's last turn
    "at_s",
)
_SIZE = const(5)
_SD_START_PPM = const(50000)
_RATIO_ONE = const(16384)
_NOISE_SHIFT = const(2)  # a quarter of the cell's residual is not shared
_DROP_SHIFT = const(3)  # an eighth of the drop
_WALK_PPM2 = const(4)  # a second
_SHARE_PPM = const(20000)  # capacities differ: of the charge moved since a cell's last turn
_LEAST_UV = const(5000)  # drops below it teach no resistance
_FULL = const(1000000)
_APART_SHIFT = const(5)  # tables are not right to more than this part of the way between cells
# 8 % less than the others have, over what it has. Cells of one pack, aged and one of them weak:
# assumed; new ones are within 1 to 2 %.
_UNLIKE_PPM = const(87000)


class Spread:
    """Differences of one pack. `v` holds `FIELDS` for every cell, nothing for one cell alone."""

    def __init__(self, pack, cell):
        self.n = pack.cells
        self.cell = cell
        self.v = array("i", [0] * (_SIZE * self.n if self.n > 1 else 0))
        self.low_ppm = self.high_ppm = self.low_sd_ppm = 0
        self.off_ppm = self.unlike_ppm = 0  # the pack's SoC less the mean, and what may be wrong
        self.whole_ppm = _FULL  # of a cell's charge the pack can use; errors count by its inverse
        self.next = self.n
        self.mean_ppm = self.ocv_uv = 0  # in this round
        for k in range(0, len(self.v), _SIZE):
            self.v[k + 1] = _SD_START_PPM * _SD_START_PPM >> 8
            self.v[k + 2] = _RATIO_ONE

    def names(self):
        """Return the name of every word of `v`."""
        return ["%s%d" % (name, k) for k in range(len(self.v) // _SIZE) for name in FIELDS]

    def start(self, mean_ppm):
        """Begin at this SoC, every cell as full as the mean for all that is known."""
        for k in range(3, len(self.v), _SIZE):
            self.v[k] = mean_ppm

    def spans(self, uvs, first, mean_uv, low_ppm, high_ppm):
        """Begin with cells at rest: their voltages from uvs[first] on, differences of the lowest
        and the highest from the mean. Those between lie between, until they have their turn."""
        v = self.v
        if not v:
            return
        self.low_ppm = min(low_ppm, 0)
        self.high_ppm = max(high_ppm, 0)
        low_uv = high_uv = mean_uv
        for k in range(first, first + self.n):
            low_uv = min(low_uv, uvs[k])
            high_uv = max(high_uv, uvs[k])
        for k in range(self.n):
            off_uv = uvs[first + k] - mean_uv
            if off_uv < 0:
                v[_SIZE * k] = (self.low_ppm << 8) * off_uv // (low_uv - mean_uv)
            elif off_uv:
                v[_SIZE * k] = (self.high_ppm << 8) * off_uv // (high_uv - mean_uv)

    def begin(self, mean_ppm):
        """Start a round at this mean SoC."""
        self.next = 0 if self.v else self.n
        self.mean_ppm = mean_ppm
        self.ocv_uv = self.cell.ocv(mean_ppm)[0]

    def busy(self):
        """Return whether cells wait for their turn."""
        return self.next < self.n

    def slice(self, uv, mean_uv, drop_uv, second):
        """Take in the next cell: its voltage and the cells' mean (uV), the mean drop that the
        model sees, time (s)."""
        v = self.v
        mean_ppm = self.mean_ppm
        at = _SIZE * self.next
        self.next += 1
        moved = abs(mean_ppm - v[at + 3]) * _SHARE_PPM // 1000000
        passed = max(second - v[at + 4], 1)
        v[at + 3] = mean_ppm
        v[at + 4] = second
        var = (v[at + 1] << 8) + moved * moved + _WALK_PPM2 * passed
        delta = v[at]
        own = drop_uv * (v[at + 2] - _RATIO_ONE) >> 14
        ocv_uv, slope = self.cell.ocv(max(min(mean_ppm + (delta >> 8), _FULL), 0))
        y = uv - mean_uv - own - (ocv_uv - self.ocv_uv)
        noise = self.cell.residual_uv >> _NOISE_SHIFT
        drop = drop_uv >> _DROP_SHIFT
        seen = slope * var >> 16  # ppm uV
        total = (slope * seen >> 16) + noise * noise + drop * drop + 1
        delta += (seen * y << 8) // total
        v[at] = max(min(delta, (_FULL - mean_ppm) << 8), -mean_ppm << 8)
        var -= seen * seen // total
        v[at + 1] = min(max(var, 256), 1 << 37) >> 8
        if abs(drop_uv) > _LEAST_UV:
            step = ((y << 14) // drop_uv) >> 8
            v[at + 2] = min(max(v[at + 2] + step, _RATIO_ONE >> 2), _RATIO_ONE << 3)
        if self.next == self.n:
            self._ends()

    def _ends(self):
        v = self.v
        low = high = 0
        for k in range(0, len(v), _SIZE):
            if v[k] <= v[low]:
                low = k
            if v[k] >= v[high]:
                high = k
        self.low_ppm = v[low] >> 8
        self.high_ppm = v[high] >> 8
        self.low_sd_ppm = root(v[low + 1] << 8, self.low_sd_ppm) + (-self.low_ppm >> _APART_SHIFT)

    def settle(self, mean_ppm):
        """Work out `off_ppm`, the pack's SoC less the mean: what it can give of what it can take,
        empty with its weakest cell, full with its fullest."""
        if not self.v:
            return
        low = max(mean_ppm + self.low_ppm, 0)
        room = max(1000000 - mean_ppm - self.high_ppm, 0)
        self.whole_ppm = whole = max(low + room, 1)
        self.off_ppm = low * 1000000 // whole - mean_ppm
        self.unlike_ppm = low * room // whole * _UNLIKE_PPM // whole
