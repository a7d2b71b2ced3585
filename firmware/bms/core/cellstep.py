"""Does one cell answer a step of the current otherwise than the rest?

Cells in series take the same step, so a cell's answer over that of the others needs no current
sensor and no table of R. A cell that heats answers less: R falls by about 5 % a K at an activation
energy of 0.40 eV (`activation_*_k` of its cell file); so does one with a short within. A gap at
the interface, or age, makes it answer more. Each cell is held against its own slow mean, as sound
cells differ by their making and by where they sit.
"""

from array import array

from bms.compat import const
from bms.core import plausible as P
from bms.core.cellwatch import ANSWERED, NO_LOOK
from bms.core.fixed import clamp, mul_div
from bms.core.frame import CELL0

FIELDS = (
    "next",  # the cell whose turn it is, as many as there are: none
    "total_uv",  # what all cells moved by,
    "low_ppm",  # and the furthest off so far in this round
    "high_ppm",
    "idle_ms",  # since the last answer
)
_NEXT = const(0)
_TOTAL_UV = const(1)
_LOW = const(2)
_HIGH = const(3)
_IDLE_MS = const(4)

_LEAST_UV = const(40000)  # a smaller answer drowns in steps of 1 mV and in what settles
_MOST_UV = const(60000000)
_ONE = const(1048576)
_FAST = const(2)  # a quarter a step: noise of single steps goes, a fault shows after five
_SLOW = const(8)  # a 256th: minutes of driving, an hour of calm
_SLOW_LOW = const(838860)  # 0.8: a cell further off than this from the start
_SLOW_HIGH = const(1310720)  # 1.25: is told at once
_FORGET_MS = const(600000)  # what answered so long ago says nothing of now


class CellStep:
    """Answers of the cells of one pack. `v` holds `FIELDS`; `last` every cell's own state."""

    def __init__(self, pack):
        self.cells = n = pack.cells
        self.v = array("i", [n, 0, 0, 0, 0])
        # For every cell: voltage at the last look, what it moved by since the one before, and its
        # share of the others' answer, fast and slow mean, 20 fractional bits; 0: none yet.
        self.last = array("i", [0] * (4 * n if n > 1 else 0))

    def names(self):
        """Return the name of every entry of `last`, in order."""
        return [
            "cell%d_%s" % (k, part)
            for part in ("look_uv", "moved_uv", "share", "slow_share")
            for k in range(len(self.last) >> 2)
        ]

    def step(self, frame, sig, look):
        """Take in a look that CellWatch had at voltage and current, or else one cell's answer."""
        if not self.last:
            return
        if look != NO_LOOK:
            self._look(frame.v, look == ANSWERED)
        elif self.v[_NEXT] < self.cells:
            self._one(sig)
        else:
            self._idle(sig)

    def _look(self, f, answered):
        v = self.v
        n = self.cells
        last = self.last
        total = 0
        for k in range(n):
            x = f[CELL0 + k]
            moved = clamp(x - last[k], -_MOST_UV, _MOST_UV)
            last[k] = x
            last[n + k] = moved
            total += moved
        v[_NEXT] = n
        if answered and abs(total) >= n * _LEAST_UV:
            v[_TOTAL_UV] = total
            v[_NEXT] = v[_LOW] = v[_HIGH] = v[_IDLE_MS] = 0

    def _one(self, sig):
        v = self.v
        n = self.cells
        last = self.last
        k = v[_NEXT]
        v[_NEXT] = k + 1
        moved = last[n + k]
        others = (v[_TOTAL_UV] - moved) // (n - 1)
        if others < 0:
            moved, others = -moved, -others
        if others < _LEAST_UV >> 1:
            return
        share = clamp(mul_div(moved, _ONE, others), 0, _ONE << 2)
        at = n + n + k
        if not last[at + n]:
            last[at] = last[at + n] = share
        last[at] += (share - last[at]) >> _FAST
        slow = last[at + n] + ((last[at] - last[at + n]) >> _SLOW)
        last[at + n] = slow = clamp(slow, _SLOW_LOW, _SLOW_HIGH)
        off_ppm = mul_div(last[at] - slow, 1000000, slow)
        if off_ppm > v[_HIGH]:
            v[_HIGH] = off_ppm
        elif -off_ppm > v[_LOW]:
            v[_LOW] = -off_ppm
        if k + 1 == n:
            sig[P.R_LOW_PPM] = v[_LOW]
            sig[P.R_HIGH_PPM] = v[_HIGH]

    def _idle(self, sig):
        v = self.v
        if v[_IDLE_MS] >= _FORGET_MS:
            return
        v[_IDLE_MS] += sig[P.DT_MS]
        if v[_IDLE_MS] >= _FORGET_MS:
            n = self.cells
            for k in range(n + n, n + n + n):
                self.last[k] = self.last[k + n]
            sig[P.R_LOW_PPM] = sig[P.R_HIGH_PPM] = 0
