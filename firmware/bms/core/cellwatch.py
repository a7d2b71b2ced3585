"""Do the cells and the current agree? Signals from cells, stack and current, in the slack.

Thresholds are rows of `rules.py`; here stands how each figure comes about. Faults and their
detections: Plett, Battery Management Systems vol. 2, ch. 1.3; the single-fault list in
docs/safety.md.
"""

from array import array

from bms.compat import const
from bms.core import plausible as P
from bms.core.fixed import clamp, interp, lag, mul_div
from bms.core.frame import CELL0

FIELDS = (
    "quiet_ms",  # for how long next to no current has flowed
    "steady_ms",  # for how long the current has stood still,
    "steady_ua",  # around this
    "mean_uv",  # of the cells
    "slow_ma",  # current as polarisation follows it,
    "slow_rest",
    "looked",  # at voltage against current,
    "since_ms",  # since then,
    "step_ma",  # current then,
    "step_uv",  # mean cell voltage then,
    "step_off_ma",  # and how far the current was from slow_ma
    "odd_ms",  # since voltage last did not answer the current
    "look",  # this tick: NO_LOOK, FIRST, or ANSWERED: a look with one before it
    "moved_ma",  # how far the current has moved between the two,
    "settle_uv",  # and how far what older currents left may settle meanwhile
)
_QUIET_MS = const(0)
_STEADY_MS = const(1)
_STEADY_UA = const(2)
_MEAN_UV = const(3)
_SLOW_MA = const(4)
_LOOKED = const(6)
_SINCE_MS = const(7)
_STEP_MA = const(8)
_STEP_UV = const(9)
_STEP_OFF_MA = const(10)
_ODD_MS = const(11)
LOOK = const(12)
MOVED_MA = const(13)
SETTLE_UV = const(14)
NO_LOOK = const(0)
FIRST = const(1)
ANSWERED = const(2)

_SPREAD_AFTER_MS = const(5000)  # current gone this long: drops over R0 and R1 are too
_SAG_AFTER_MS = const(60000)  # polarisation of unequal cells has mostly decayed
_STEADY_NEED_MS = const(500)  # a stack voltage of a BQ76952 is up to 397 ms old, and a tick
_STACK_MAX_UV = const(3000000)
_SHARE_MAX = const(10000)
_OFF_MAX_UV = const(500000000)

# Voltage against current, from one standstill of the current to another. On the measured drives of
# two makes of cell, -20 to 40 degC, no more than three odd answers come together.
_PLATEAU_MS = const(1500)  # readings a second apart have seen the same current
_LOOK_MS = const(1000)
_LOOK_AGAIN_MS = const(3000)  # an older look is too old: voltage has drifted
_MARGIN_UV = const(50000)  # polarisation that settles, and the converter
_SLOW_MS = const(30000)
_MA_MAX = const(500000)
_UV_MAX = const(300000000)
_ODD_MAX = const(20)
_FORGET_MS = const(60000)


class CellWatch:
    """Signals of the cells of one pack. `v` holds `FIELDS`; `last` every cell's own state."""

    def __init__(self, pack):
        self.pack = pack
        self.cells = n = pack.cells
        self.v = array("i", [0] * len(FIELDS))
        # For every cell: voltage and current when its code last moved, for how long it has not
        # though the current has, and its distance from the mean as a rest began.
        self.last = array("i", [0] * (4 * n))

    def names(self):
        """Return the name of every entry of `last`, in order."""
        return [
            "cell%d_%s" % (k, part)
            for part in ("last_uv", "last_ua", "frozen_ms", "rest_uv")
            for k in range(self.cells)
        ]

    def step(self, frame, sig):
        """Write the cell signals of this Frame."""
        f = frame.v
        n = self.cells
        trust = sig[P.TRUST]
        self.v[LOOK] = NO_LOOK
        if not trust >> P.CELL_MIN_UV & 1 or not trust >> P.CHARGE_UA & 1:
            self.v[_QUIET_MS] = self.v[_STEADY_MS] = self.v[_LOOKED] = 0
            return
        total = 0
        for k in range(CELL0, CELL0 + n):
            total += f[k] >> 4  # 16 cells of up to 60 V within 31 bits
        mean = total // n << 4
        self.v[_MEAN_UV] = mean
        ua = sig[P.CHARGE_UA]
        dt = sig[P.DT_MS]
        self._still(ua, dt)
        self._frozen(f, sig, ua, dt)
        self._rest(f, sig, mean)
        self._answer(sig, ua, mean, dt)
        if n > 1 and self.v[_STEADY_MS] >= _STEADY_NEED_MS:
            self._stack(sig, total)
        if n > 2:
            self._wire(f, sig, total)

    def _still(self, ua, dt):
        v = self.v
        quiet = abs(ua) <= self.pack.quiet_ua
        v[_QUIET_MS] = min(v[_QUIET_MS] + dt, P.LOST_MAX_MS) if quiet else 0
        if abs((ua >> 1) - (v[_STEADY_UA] >> 1)) > self.pack.frozen_step_ua >> 2:
            v[_STEADY_UA] = ua
            v[_STEADY_MS] = 0
        else:
            v[_STEADY_MS] = min(v[_STEADY_MS] + dt, P.LOST_MAX_MS)

    def _frozen(self, f, sig, ua, dt):
        # Through its own resistance a cell answers every current step; the same code to the last
        # bit while the current has moved means that nobody converts it any more. Slowly it may
        # move: a charger that holds the voltage lets it taper.
        last = self.last
        n = self.cells
        step = self.pack.frozen_step_ua >> 1
        half = ua >> 1
        lately = 1000 * abs(self.v[_SLOW_MA] - ua // 1000) >= step
        worst = 0
        for k in range(n):
            x = f[CELL0 + k]
            if x != last[k]:
                last[k] = x
                last[n + k] = half
                last[2 * n + k] = 0
            elif lately and abs(half - last[n + k]) >= step:
                last[2 * n + k] = held = min(last[2 * n + k] + dt, P.LOST_MAX_MS)
                if held > worst:
                    worst = held
        sig[P.FROZEN_MS] = worst

    def _rest(self, f, sig, mean):
        # Without current cells differ by their charge alone, and fall together or not at all.
        v = self.v
        n = self.cells
        if v[_QUIET_MS] < _SPREAD_AFTER_MS:
            sig[P.SAG_UV] = 0
            return
        sig[P.SPREAD_UV] = sig[P.CELL_MAX_UV] - sig[P.CELL_MIN_UV]
        if v[_QUIET_MS] < _SAG_AFTER_MS or n == 1:
            for k in range(n):
                self.last[3 * n + k] = _off(f[CELL0 + k], mean)
            return
        sag = 0
        for k in range(n):
            fallen = self.last[3 * n + k] - _off(f[CELL0 + k], mean)
            if fallen > sag:
                sag = fallen
        sig[P.SAG_UV] = sag

    def _answer(self, sig, ua, mean, dt):
        # Voltage must answer the current as the resistance at this temperature says, from a
        # quarter to twice of it, and what older currents left settles meanwhile: a current or a
        # temperature that is read wrongly shows here. It is forgotten slowly, or by good answers.
        v = self.v
        ma = clamp(ua // 1000, -_MA_MAX, _MA_MAX)
        lag(v, _SLOW_MA, ma, dt, _SLOW_MS)
        v[_SINCE_MS] = min(v[_SINCE_MS] + dt, P.LOST_MAX_MS)
        v[_ODD_MS] += dt
        if v[_ODD_MS] >= _FORGET_MS:
            v[_ODD_MS] = 0
            sig[P.ODD_STEPS] = max(sig[P.ODD_STEPS] - 1, 0)
        known = sig[P.TRUST] >> P.TEMP_MIN_MDEGC & 1
        if v[_STEADY_MS] < _PLATEAU_MS or not known or (v[_LOOKED] and v[_SINCE_MS] < _LOOK_MS):
            return
        off_ma = abs(ma - v[_SLOW_MA])
        v[LOOK] = FIRST
        if v[_LOOKED] and v[_SINCE_MS] <= _LOOK_AGAIN_MS:
            self._judge(sig, ma - v[_STEP_MA], mean - v[_STEP_UV], max(off_ma, v[_STEP_OFF_MA]))
            v[LOOK] = ANSWERED
            v[MOVED_MA] = ma - v[_STEP_MA]
        v[_LOOKED] = 1
        v[_SINCE_MS] = 0
        v[_STEP_MA] = ma
        v[_STEP_UV] = mean
        v[_STEP_OFF_MA] = off_ma

    def _judge(self, sig, moved_ma, moved_uv, off_ma):
        pack = self.pack
        cold = sig[P.TEMP_MIN_MDEGC]
        r_cold = interp(pack.dcir_uohm, cold)
        settles = max(interp(pack.r10s_uohm, cold) - r_cold, 0)
        if moved_ma < 0:
            moved_ma, moved_uv = -moved_ma, -moved_uv
        least_uv = _uv(moved_ma, interp(pack.dcir_uohm, sig[P.TEMP_MAX_MDEGC]) >> 2)
        most_uv = _uv(moved_ma, 2 * interp(pack.r1s_uohm, cold))
        self.v[SETTLE_UV] = settle_uv = _uv(off_ma, settles)
        margin_uv = _MARGIN_UV + settle_uv
        if not least_uv - margin_uv <= moved_uv <= most_uv + margin_uv:
            sig[P.ODD_STEPS] = min(sig[P.ODD_STEPS] + 1, _ODD_MAX)
            self.v[_ODD_MS] = 0
        elif least_uv > _MARGIN_UV and sig[P.ODD_STEPS]:
            sig[P.ODD_STEPS] -= 1

    def _stack(self, sig, total):
        # Cells and stack have paths and dividers of their own: a reference that drifts, or a cell
        # that is read wrongly, parts them.
        off_uv = min(abs(total - (sig[P.PACK_UV] >> 4)), _STACK_MAX_UV) << 4
        share = off_uv * 10 // (sig[P.PACK_UV] // 1000 + 1)
        sig[P.STACK_PPM] = min(share, _SHARE_MAX) * 100

    def _wire(self, f, sig, total):
        # Behind an open sense wire the tap floats: one neighbour reads what the other lacks, held
        # against the mean of the others, which one low cell of a few would lift. Those two are the
        # highest and the lowest; neighbours that are not have parted by their charge.
        worst = 0
        apart = sig[P.CELL_MAX_UV] - sig[P.CELL_MIN_UV]
        others = self.cells - 2
        before = f[CELL0]
        for k in range(CELL0 + 1, CELL0 + self.cells):
            uv = f[k]
            if abs(uv - before) == apart:
                mean = (total - (before >> 4) - (uv >> 4)) // others << 4
                least = min(max(uv, before) - mean, mean - min(uv, before))
                if least > worst:
                    worst = least
            before = uv
        sig[P.WIRE_UV] = worst


def _off(cell_uv, mean_uv):
    return clamp(cell_uv - mean_uv, -_OFF_MAX_UV, _OFF_MAX_UV)


def _uv(ma, uohm):
    return min(mul_div(ma, uohm, 1000), _UV_MAX)
