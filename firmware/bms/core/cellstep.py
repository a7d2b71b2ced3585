"""Does one cell answer a step of the current otherwise than the rest?

Cells in series take the same step, so a cell's answer over that of the others needs no current
sensor and no table of R. A cell that heats answers less: R falls by about 5 % a K at an activation
energy of 0.40 eV (`activation_*_k` of its cell file); so does one with a short within. A gap at
the interface, or age, makes it answer more. Each cell is held against its own slow mean, as sound
cells differ by their making and by where they sit.

All cells together answer as R at this temperature says of the current read: when that changes
between two steps, it is the current that is read otherwise, or every temperature.
"""

from array import array

from bms.compat import const
from bms.core import plausible as P
from bms.core.cellwatch import ANSWERED, LOOK, MOVED_MA, NO_LOOK, SETTLE_UV
from bms.core.fixed import clamp, interp, mul_div
from bms.core.frame import CELL0

FIELDS = (
    "next",  # the cell whose turn it is, as many as there are: none
    "total_uv",  # what all cells moved by,
    "low_ppm",  # and the furthest off so far in this round
    "high_ppm",
    "idle_ms",  # since the last answer
    "answer",  # of all cells, over what R says: fast and slow mean, 20 fractional bits
    "slow_answer",
    "answers",  # of all cells so far, up to those that the first mean takes
)
_NEXT = const(0)
_TOTAL_UV = const(1)
_LOW = const(2)
_HIGH = const(3)
_IDLE_MS = const(4)
_ANSWER = const(5)
_SLOW_ANSWER = const(6)
_ANSWERS = const(7)

_LEAST_UV = const(40000)  # a smaller answer drowns in steps of 1 mV and in what settles
_MOST_UV = const(60000000)
_ONE = const(1048576)
_FAST = const(2)  # a quarter a step: noise of single steps goes, a fault shows after five
_SLOW = const(8)  # a 256th: minutes of driving, an hour of calm
_FIRST = const(4)
_SLOW_ALL = const(6)  # R at a temperature and SoC is known less well than cells are alike
_SLOW_LOW = const(838860)  # 0.8: a cell further off than this from the start
_SLOW_HIGH = const(1310720)  # 1.25: is told at once
_FORGET_MS = const(600000)  # what answered so long ago says nothing of now


class CellStep:
    """Answers of the cells of one pack. `v` holds `FIELDS`; `last` every cell's own state."""

    def __init__(self, pack):
        self.cells = n = pack.cells
        self.pack = pack
        self.v = array("i", [0] * len(FIELDS))
        self.v[_NEXT] = n
        # For every cell: voltage at the last look, what it moved by since the one before, and its
        # share of the others' answer, fast and slow mean, 20 fractional bits; 0: none yet.
        self.last = array("i", [0] * (4 * n))

    def names(self):
        """Return the name of every entry of `last`, in order."""
        return [
            "cell%d_%s" % (k, part)
            for part in ("look_uv", "moved_uv", "share", "slow_share")
            for k in range(len(self.last) >> 2)
        ]

    def step(self, frame, sig, watch):
        """Take in a look that CellWatch (its `v`) had at voltage and current, or else one cell's
        answer."""
        if watch[LOOK] != NO_LOOK:
            answer_uv = self._look(frame.v)
            if watch[LOOK] == ANSWERED and abs(answer_uv) >= _LEAST_UV:
                self._all(sig, answer_uv, watch[MOVED_MA], watch[SETTLE_UV])
        elif self.v[_NEXT] < self.cells:
            self._one(sig)
        else:
            self._idle(sig)

    def _look(self, f):
        # Note every cell's voltage; return the mean of what they moved by.
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
        v[_TOTAL_UV] = total
        v[_NEXT] = n
        return total // n

    def _all(self, sig, answer_uv, moved_ma, settle_uv):
        # Only steps whose own answer is most of what is seen: on the measured drives of two makes
        # of cell, -20 to 25 degC, the others are off by anything.
        v = self.v
        v[_LOW] = v[_HIGH] = v[_IDLE_MS] = 0
        v[_NEXT] = 0 if self.cells > 1 else 1
        if moved_ma < 0:
            moved_ma, answer_uv = -moved_ma, -answer_uv
        warm = (sig[P.TEMP_MIN_MDEGC] + sig[P.TEMP_MAX_MDEGC]) >> 1
        says_uv = mul_div(moved_ma, interp(self.pack.r1s_uohm, warm), 1000)
        known = sig[P.TRUST] >> P.TEMP_MIN_MDEGC & 1
        if not known or says_uv < max(_LEAST_UV >> 2, 2 * settle_uv):
            return
        share = clamp(mul_div(answer_uv, _ONE, says_uv), 0, _ONE << 2)
        if v[_ANSWERS] < _FIRST:
            v[_ANSWERS] += 1
            v[_ANSWER] += (share - v[_ANSWER]) // v[_ANSWERS]
            v[_SLOW_ANSWER] = clamp(v[_ANSWER], _ONE >> 2, 3 * _ONE)
            return
        v[_ANSWER] = _toward(v[_ANSWER], share)
        slow = v[_SLOW_ANSWER] + ((v[_ANSWER] - v[_SLOW_ANSWER]) >> _SLOW_ALL)
        v[_SLOW_ANSWER] = slow = clamp(slow, _ONE >> 2, 3 * _ONE)
        sig[P.ANSWER_PPM] = abs(mul_div(v[_ANSWER] - slow, 1000000, slow))

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
        last[at] = _toward(last[at], share)
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
            v[_ANSWER] = v[_SLOW_ANSWER]
            sig[P.R_LOW_PPM] = sig[P.R_HIGH_PPM] = sig[P.ANSWER_PPM] = 0


def _toward(mean, share):
    # One odd answer is no change: it moves the mean by an eighth at most (Huber, Ann. Math.
    # Statist. 35 (1964) 73).
    most = max(mean >> 3, _ONE >> 6)
    return mean + clamp((share - mean) >> _FAST, -most, most)
