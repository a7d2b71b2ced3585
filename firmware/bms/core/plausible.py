"""Which readings can be believed, and the signals that the rules watch.

Plausibility only writes signals: it opens no gate. A signal is an integer and a bit in `TRUST`;
"lost", "frozen" and "overrun" are signals like any other, so that a row can act on them.
"""

from array import array

from bms.compat import const
from bms.core import frame as F
from bms.core.fixed import BIG, clamp, ticks_diff

FIELDS = (
    "cell_max_uv",
    "cell_min_uv",
    "charge_ua",
    "discharge_ua",
    "temp_max_mdegc",
    "temp_min_mdegc",
    "fe_lost_ms",  # since the front end last gave a believable set
    "temp_lost_ms",  # since every sensor last gave a believable reading
    "frozen_ms",  # voltage to the last bit the same while the current moved
    "overrun_ms",  # how late this tick came
    "features_lost",  # parts after the gates that failed
    "fe_unsteady_ms",  # lost time and resets of the front end, forgotten at a quarter of the pace
    "gates_dropped",  # the dead-man holds open what is commanded closed
    "trust",  # bit k: signal k can be believed
    "dt_ms",  # time since the last Frame as the rules count it
    "last_ms",
    "frozen_uv",  # voltage and current where the voltage last changed
    "frozen_ua",
    "resets",  # of the front end, at the last Frame
    "started",
)

CELL_MAX_UV = const(0)
CELL_MIN_UV = const(1)
CHARGE_UA = const(2)
DISCHARGE_UA = const(3)
TEMP_MAX_MDEGC = const(4)
TEMP_MIN_MDEGC = const(5)
FE_LOST_MS = const(6)
TEMP_LOST_MS = const(7)
FROZEN_MS = const(8)
OVERRUN_MS = const(9)
FEATURES_LOST = const(10)
FE_UNSTEADY_MS = const(11)
GATES_DROPPED = const(12)
SIGNALS = const(13)  # the fields up to here can be watched by a rule
ALL_TRUSTED = const((1 << 13) - 1)
TRUST = const(13)
DT_MS = const(14)
_LAST_MS = const(15)
_FROZEN_UV = const(16)
_FROZEN_UA = const(17)
_RESETS = const(18)
_STARTED = const(19)

_VOLT = const(0x3)
_CURRENT = const(0xC)
_TEMP = const(0x30)
_ALWAYS = ALL_TRUSTED - _VOLT - _CURRENT - _TEMP  # made here: always believed
_SANE_UV = const(1000000)
_RESET_MS = const(1000)  # what one reset of the front end weighs
LOST_MAX_MS = const(1000000)  # where the counters stop
DT_MAX_MS = const(1000)  # longest step that delays may count at once
_TEMP_MAX_MDEGC = const(200000)  # no sensor here reads beyond; -100 to 200 degC


class Plausible:
    """Signals from Frames. `v` holds `FIELDS`; `step` is called once a tick."""

    def __init__(self, pack):
        self.v = array("i", [0] * len(FIELDS))
        self.frozen_step_ua = pack.frozen_step_ua

    def step(self, frame, period_ms):
        """Write the signals of this Frame; `period_ms` is what the tick should have taken."""
        v = self.v
        f = frame.v
        dt = self._time(f[F.T_MS], period_ms)
        trust = _ALWAYS
        fresh = self._voltages(f, frame.temp0)
        if fresh:
            trust |= _VOLT
        current = f[F.CURRENT_UA]
        if f[F.FLAGS] & F.CURRENT_OK and -BIG < current < BIG:
            trust |= _CURRENT
            v[CHARGE_UA] = current
            v[DISCHARGE_UA] = -current
        else:
            fresh = False
        if self._temperatures(f, frame.temp0):
            trust |= _TEMP
            v[TEMP_LOST_MS] = 0
        else:
            v[TEMP_LOST_MS] = min(v[TEMP_LOST_MS] + dt, LOST_MAX_MS)
        if fresh:
            v[FE_LOST_MS] = 0
            self._frozen(f[F.CELL0], current, dt)
        else:
            v[FE_LOST_MS] = min(v[FE_LOST_MS] + dt, LOST_MAX_MS)
        self._steady(f[F.FE_RESETS], fresh, dt)
        v[FEATURES_LOST] = 1 if f[F.FLAGS] & F.FEATURE_LOST else 0
        v[GATES_DROPPED] = 1 if f[F.FLAGS] & F.GATE_DROPPED else 0
        v[TRUST] = trust

    def _time(self, t_ms, period_ms):
        # A clock that stands still or runs backward must not postpone a trip: a tick then counts
        # as its period.
        v = self.v
        dt = ticks_diff(t_ms, v[_LAST_MS]) if v[_STARTED] else period_ms
        v[_STARTED] = 1
        v[_LAST_MS] = t_ms
        v[OVERRUN_MS] = clamp(dt - period_ms, 0, LOST_MAX_MS)
        dt = min(dt, DT_MAX_MS) if dt > 0 else period_ms
        v[DT_MS] = dt
        return dt

    def _voltages(self, f, end):
        if not f[F.FLAGS] & F.VOLT_OK:
            return False
        low = high = f[F.CELL0]
        for k in range(F.CELL0 + 1, end):
            x = f[k]
            if x < low:
                low = x
            elif x > high:
                high = x
        # Below 1 V a sense wire is off, or the cell is beyond saving: either way nobody knows, and
        # the load is warned. Too high is always believed.
        if low < _SANE_UV or high >= BIG:
            return False
        self.v[CELL_MIN_UV] = low
        self.v[CELL_MAX_UV] = high
        return True

    def _temperatures(self, f, first):
        # All or nothing: with one sensor lost the hottest spot is a place nobody watches.
        low = _TEMP_MAX_MDEGC
        high = -_TEMP_MAX_MDEGC
        bit = F.TEMP_OK
        for k in range(first, len(f)):
            x = f[k]
            if not f[F.FLAGS] & bit or not -_TEMP_MAX_MDEGC < x < _TEMP_MAX_MDEGC:
                return False
            if x < low:
                low = x
            if x > high:
                high = x
            bit <<= 1
        self.v[TEMP_MAX_MDEGC] = high
        self.v[TEMP_MIN_MDEGC] = low
        return True

    def _steady(self, resets, fresh, dt):
        # A front end that comes and goes is never lost for long enough to trip.
        v = self.v
        unsteady = v[FE_UNSTEADY_MS]
        if fresh and not unsteady and resets == v[_RESETS]:
            return  # most ticks
        if resets != v[_RESETS]:
            v[_RESETS] = resets
            unsteady += _RESET_MS
        unsteady += -dt >> 2 if fresh else dt
        v[FE_UNSTEADY_MS] = clamp(unsteady, 0, LOST_MAX_MS)

    def _frozen(self, cell_uv, current, dt):
        # Through its own resistance a cell answers every current step; the same code to the last
        # bit while the current has moved means that nobody converts any more.
        v = self.v
        if cell_uv != v[_FROZEN_UV]:
            v[_FROZEN_UV] = cell_uv
            v[_FROZEN_UA] = current
            v[FROZEN_MS] = 0
        elif abs((current >> 1) - (v[_FROZEN_UA] >> 1)) >= self.frozen_step_ua >> 1:
            v[FROZEN_MS] = min(v[FROZEN_MS] + dt, LOST_MAX_MS)
