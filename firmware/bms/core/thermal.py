"""Heat between the sensors: the hottest spot, and what I2R does not explain.

A sensor follows its cell with a time constant; while a cell makes heat P with capacity C it is
warmer than its sensor by up to P / C * tau. That excess is kept here as `excess`, and
excess / tau, or P / C where it is mounted well, half as much again for the spread of R, is how
fast a sound sensor may rise: first-order lag, Incropera, Fundamentals of Heat
and Mass Transfer, ch. 5.1 (lumped capacitance). What rises faster has another source of heat:
the runaway precursor of docs/safety.md.
"""

from array import array

from bms.compat import const
from bms.core import plausible as P
from bms.core.fixed import clamp, interp, mul_div
from bms.core.frame import CURRENT_UA

FIELDS = (
    "excess_udegc",  # hottest cell above its sensor, by the model
    "warm_udegc",  # rise of a cell above its surroundings, by the model
    "allowed_udegc",  # rise that the excess explains, since the last look
    "look_ms",  # since the last look at the sensors
    "looks",  # looks kept
    "slow_ma",  # current as the RC pairs see it
    "slow_rest",
)
_EXCESS = const(0)
_WARM = const(1)
_ALLOWED = const(2)
_LOOK_MS = const(3)
_LOOKS = const(4)
_SLOW_MA = const(5)
_SLOW_REST = const(6)

_LOOK_EVERY_MS = const(1000)
_WINDOW = const(5)  # looks: the precursor is 0.05 K/s over 5 s
_MOVED_MDEGC = const(1000)  # a sensor that moved this far is alive
_WARM_MAX = const(200000000)
_ALLOWED_MAX = const(100000000)
_RISE_MAX = const(500000000)
_SLOW_MS = const(30000)  # between the fast and the slow pair of the cells here
_MA_MAX = const(1000000)
_MW_MAX = const(400000000)
_MARGIN_UDEGPS = const(10000)  # surroundings and a neighbour's heat, assumed


class Thermal:
    """Thermal signals of one pack. `v` holds `FIELDS`; `last` every sensor's own state."""

    def __init__(self, pack):
        self.pack = pack
        self.temps = n = pack.temps
        self.v = array("i", [0] * len(FIELDS))
        # The last _WINDOW looks at every sensor; where it last moved, and the model's rise then;
        # the rise allowed in each look.
        self.last = array("i", [0] * ((_WINDOW + 2) * n + _WINDOW))

    def names(self):
        """Return the name of every entry of `last`, in order."""
        n = self.temps
        looks = ["temp%d_look%d_mdegc" % (k, j) for j in range(_WINDOW) for k in range(n)]
        moved = ["temp%d_%s" % (k, p) for p in ("moved_mdegc", "warm_udegc") for k in range(n)]
        return looks + moved + ["allowed%d_udegc" % j for j in range(_WINDOW)]

    def step(self, frame, sig):
        """Advance the model by a tick; look at the sensors once a second."""
        v = self.v
        dt = sig[P.DT_MS]
        if not sig[P.TRUST] >> P.TEMP_MAX_MDEGC & 1:
            v[_LOOKS] = 0  # a gap is no rise
            return
        sig[P.SPREAD_MDEGC] = sig[P.TEMP_MAX_MDEGC] - sig[P.TEMP_MIN_MDEGC]
        self._model(frame, sig, dt)
        # One cell that heats alone lies beyond its nearest sensor by some three quarters of what
        # that sensor lies above the coldest: robot_14s with its sensors four cells apart, plant.
        beyond = sig[P.SPREAD_MDEGC] - (sig[P.SPREAD_MDEGC] >> 2)
        sig[P.HOT_MDEGC] = sig[P.TEMP_MAX_MDEGC] + v[_EXCESS] // 1000 + beyond
        v[_LOOK_MS] += dt
        if v[_LOOK_MS] >= _LOOK_EVERY_MS:
            self._look(frame, sig)
            v[_LOOK_MS] = v[_ALLOWED] = 0

    def _model(self, frame, sig, dt):
        # udegC of self-heating in this tick: P / C, with the current itself through R0 and its
        # slow part through R1 + R2, at the coldest sensor, where R is largest.
        v = self.v
        pack = self.pack
        heat = 0
        if sig[P.TRUST] >> P.CHARGE_UA & 1:
            ma = frame.v[CURRENT_UA] // 1000
            cold = sig[P.TEMP_MIN_MDEGC]
            part = clamp(ma - v[_SLOW_MA], -_MA_MAX, _MA_MAX) * dt + v[_SLOW_REST]
            v[_SLOW_MA] += part // _SLOW_MS
            v[_SLOW_REST] = part % _SLOW_MS
            mw = min(
                _mw(ma, interp(pack.dcir_uohm, cold))
                + _mw(v[_SLOW_MA], interp(pack.polar_uohm, cold)),
                _MW_MAX,
            )
            # mW * ms = uJ; by mJ/K and 1000 that is udegC.
            heat = min(mul_div(mul_div(mw, dt, 1), 1000, pack.heat_mj_per_k), _WARM_MAX)
        explained = mul_div(v[_EXCESS], dt, pack.sensor_tau_ms)
        # A sensor may lie closer to its cell than the pack says: it then shows the heat itself.
        allowed = max(explained, heat)
        v[_ALLOWED] = min(v[_ALLOWED] + allowed + (allowed >> 1), _ALLOWED_MAX)
        v[_EXCESS] = clamp(v[_EXCESS] + heat - explained, 0, _WARM_MAX)
        cooled = mul_div(v[_WARM], dt, pack.cool_tau_s * 1000)
        v[_WARM] = clamp(v[_WARM] + heat - cooled, 0, _WARM_MAX)

    def _look(self, frame, sig):
        v = self.v
        n = self.temps
        last = self.last
        f = frame.v
        sums = _WINDOW * n + 2 * n
        allowed = 0
        full = v[_LOOKS] >= _WINDOW
        for j in range(_WINDOW - 1):  # the oldest look first
            last[sums + j] = last[sums + j + 1]
            allowed += last[sums + j]
        last[sums + _WINDOW - 1] = v[_ALLOWED]
        allowed += v[_ALLOWED]
        fastest = -_RISE_MAX
        stuck = 0
        for k in range(n):
            now = f[frame.temp0 + k]
            if full:
                rise = ((now - last[k]) * 1000 - allowed) // _WINDOW
                if rise > fastest:
                    fastest = rise
            for j in range(_WINDOW - 1):
                last[j * n + k] = last[(j + 1) * n + k]
            last[(_WINDOW - 1) * n + k] = now
            at = _WINDOW * n + k
            if not v[_LOOKS] or abs(now - last[at]) >= _MOVED_MDEGC:
                last[at] = now
                last[at + n] = v[_WARM]
            # Heating alone counts: while a cell cools, warmer surroundings can hold it.
            off = v[_WARM] - last[at + n]
            if off < 0:
                last[at + n] = v[_WARM]
            elif off // 1000 > stuck:
                stuck = off // 1000
        sig[P.RISE_UDEGPS] = fastest - _MARGIN_UDEGPS if full else 0
        sig[P.STUCK_MDEGC] = stuck
        v[_LOOKS] = min(v[_LOOKS] + 1, _WINDOW)


def _mw(ma, r_uohm):
    # mA * uohm = nV, by 1000 uV; times mA nW, by a million mW.
    return mul_div(mul_div(ma, r_uohm, 1000), ma, 1000000)
