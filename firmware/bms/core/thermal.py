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
from bms.core.fixed import clamp, interp, lag, mul_div

FIELDS = (
    "excess_udegc",  # hottest cell above its sensor, by the model
    "warm_udegc",  # rise of a cell above its surroundings that is certain: see _STUCK
    "allowed_udegc",  # rise that the excess explains, since the last look
    "look_ms",  # since the last look at the sensors,
    "readings",  # and how many there were
    "looks",  # looks kept
    "turn",  # where the next one goes
    "slow_ma",  # current as the RC pairs see it
    "slow_rest",
    "model_ms",  # since the model's last step
)
_EXCESS = const(0)
_WARM = const(1)
_ALLOWED = const(2)
_LOOK_MS = const(3)
_READINGS = const(4)
_LOOKS = const(5)
_TURN = const(6)
_SLOW_MA = const(7)
_MODEL_MS = const(9)

_MODEL_EVERY_MS = const(200)
_LOOK_EVERY_MS = const(1000)  # a multiple of it
_WINDOW = const(8)  # looks, each a mean: 0.05 K/s shows through 0.5 K of noise
_JUMP_MDEGC = const(3000)  # no cell moves its sensor by this in no time,
_JUMP_PER_MS = const(20)  # nor by this much a ms: a sensor that jumps tells of no rise
_WARM_MAX = const(200000000)
_ALLOWED_MAX = const(50000000)
_RISE_MAX = const(500000000)
_SLOW_MS = const(30000)  # between the fast and the slow pair of the cells here
_MA_MAX = const(500000)
_MW_MAX = const(400000000)
_MARGIN_UDEGPS = const(10000)  # surroundings and a neighbour's heat, assumed

# A sensor is stuck when it has not moved while its cell certainly has. Certain is the heat of R0,
# cooled six times as well as the cell file says: on the drives measured in forced air, two makes
# of cell, -20 to 40 degC, that makes 3.2 K at most within 0.3 K of the sensor.
_MOVED_MDEGC = const(300)
_COOLER = const(6)


class Thermal:
    """Thermal signals of one pack. `v` holds `FIELDS`; `last` every sensor's own state."""

    def __init__(self, pack):
        self.pack = pack
        self.temps = n = pack.temps
        self.v = array("i", [0] * len(FIELDS))
        # For every sensor: its last reading, the sum of this look's, where it last moved, and the
        # model's rise then; the means of the last _WINDOW looks; the rise allowed in each.
        self.last = array("i", [0] * ((4 + _WINDOW) * n + _WINDOW))

    def names(self):
        """Return the name of every entry of `last`, in order."""
        n = self.temps
        parts = ["last_mdegc", "sum_mdegc", "moved_mdegc", "warm_udegc"]
        parts += ["look%d_mdegc" % j for j in range(_WINDOW)]
        each = ["temp%d_%s" % (k, part) for part in parts for k in range(n)]
        return each + ["allowed%d_udegc" % j for j in range(_WINDOW)]

    def step(self, frame, sig):
        """Advance the model by a tick; look at the sensors once a second."""
        v = self.v
        dt = sig[P.DT_MS]
        if not sig[P.TRUST] >> P.TEMP_MAX_MDEGC & 1:
            v[_LOOKS] = 0  # a gap is no rise
            self._begin()
            return
        sig[P.SPREAD_MDEGC] = sig[P.TEMP_MAX_MDEGC] - sig[P.TEMP_MIN_MDEGC]
        v[_MODEL_MS] += dt
        if v[_MODEL_MS] >= _MODEL_EVERY_MS:
            self._model(sig, min(v[_MODEL_MS], P.DT_MAX_MS))
            v[_MODEL_MS] = 0
        # One cell that heats alone lies beyond its nearest sensor by some three quarters of what
        # that sensor lies above the coldest: robot_14s with its sensors four cells apart, plant.
        beyond = sig[P.SPREAD_MDEGC] - (sig[P.SPREAD_MDEGC] >> 2)
        sig[P.HOT_MDEGC] = sig[P.TEMP_MAX_MDEGC] + v[_EXCESS] // 1000 + beyond
        self._read(frame, dt)
        v[_LOOK_MS] += dt
        if v[_LOOK_MS] >= _LOOK_EVERY_MS:
            late_ms = v[_LOOK_MS] - _LOOK_EVERY_MS
            self._look(sig)
            self._begin()
            v[_LOOK_MS] = late_ms

    def _begin(self):
        v = self.v
        v[_LOOK_MS] = v[_READINGS] = v[_ALLOWED] = 0
        n = self.temps
        for k in range(n, n + n):
            self.last[k] = 0

    def _model(self, sig, dt):
        # udegC of self-heating in this tick: P / C, with the current itself through R0 and its
        # slow part through R1 + R2, at the coldest sensor, where R is largest.
        v = self.v
        pack = self.pack
        heat = sure = 0
        if sig[P.TRUST] >> P.CHARGE_UA & 1:
            ma = clamp(sig[P.CHARGE_UA] // 1000, -_MA_MAX, _MA_MAX)
            cold = sig[P.TEMP_MIN_MDEGC]
            lag(v, _SLOW_MA, ma, dt, _SLOW_MS)
            mw = _mw(ma, interp(pack.dcir_uohm, cold))
            mw += _mw(v[_SLOW_MA], interp(pack.polar_uohm, cold))
            heat = self._warmed(mw, dt)
            sure = self._warmed(_mw(ma, interp(pack.dcir_uohm, sig[P.TEMP_MAX_MDEGC])), dt)
        explained = mul_div(v[_EXCESS], dt, pack.sensor_tau_ms)
        # A sensor may lie closer to its cell than the pack says: it then shows the heat itself.
        allowed = min(max(explained, heat), _ALLOWED_MAX)
        v[_ALLOWED] = min(v[_ALLOWED] + allowed + (allowed >> 1), _ALLOWED_MAX)
        v[_EXCESS] = clamp(v[_EXCESS] + heat - explained, 0, _WARM_MAX)
        cooled = mul_div(v[_WARM], _COOLER * dt, 1000) // pack.cool_tau_s
        v[_WARM] = clamp(v[_WARM] + sure - cooled, 0, _WARM_MAX)

    def _warmed(self, mw, dt):
        # mW * ms = uJ; by mJ/K and 1000 that is udegC.
        uj = mul_div(min(mw, _MW_MAX), dt, 1)
        return min(mul_div(uj, 1000, self.pack.heat_mj_per_k), _WARM_MAX)

    def _read(self, frame, dt):
        # Sums for this look; what no cell can do begins anew.
        v = self.v
        last = self.last
        f = frame.v
        n = self.temps
        most = _JUMP_MDEGC + _JUMP_PER_MS * dt
        for k in range(n):
            now = f[frame.temp0 + k]
            if abs(now - last[k]) > most:
                v[_LOOKS] = 0
                self._begin()
            last[k] = now
        for k in range(n):
            last[n + k] += last[k]
        v[_READINGS] += 1

    def _look(self, sig):
        v = self.v
        n = self.temps
        last = self.last
        turn = v[_TURN]
        looks = 4 * n + turn * n
        ring = (4 + _WINDOW) * n
        last[ring + turn] = v[_ALLOWED]
        allowed = 0
        for j in range(ring, ring + _WINDOW):
            allowed += last[j]
        fastest = -_RISE_MAX
        stuck = 0
        for k in range(n):
            now = last[n + k] // v[_READINGS]
            rise = ((now - last[looks + k]) * 1000 - allowed) // _WINDOW
            if rise > fastest:
                fastest = rise
            last[looks + k] = now
            at = 2 * n + k
            if not v[_LOOKS] or abs(now - last[at]) >= _MOVED_MDEGC:
                last[at] = now
                last[at + n] = v[_WARM]
            # Heating alone counts: while a cell cools, warmer surroundings can hold it.
            off = v[_WARM] - last[at + n]
            if off < 0:
                last[at + n] = v[_WARM]
            elif off // 1000 > stuck:
                stuck = off // 1000
        sig[P.RISE_UDEGPS] = fastest - _MARGIN_UDEGPS if v[_LOOKS] >= _WINDOW else 0
        sig[P.STUCK_MDEGC] = stuck
        v[_LOOKS] = min(v[_LOOKS] + 1, _WINDOW)
        v[_TURN] = (turn + 1) % _WINDOW


def _mw(ma, r_uohm):
    # mA * uohm = nV, by 1000 uV; times mA nW, by a million mW.
    return min(mul_div(mul_div(ma, r_uohm, 1000), ma, 1000000), _MW_MAX)
