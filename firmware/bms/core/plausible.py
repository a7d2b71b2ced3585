"""Which readings can be believed, and the signals that the rules watch.

Plausibility only writes signals: it opens no gate. A signal is an integer and a bit in `TRUST`;
"lost" and "overrun" are signals like any other, so that a row can act on them. What takes longer
to work out is written in the slack by the modules named below, for the next tick's rules to see.
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
    "frozen_ms",  # cellwatch: a cell's voltage to the last bit the same while the current moved
    "overrun_ms",  # how late this tick came
    "features_lost",  # parts after the gates that failed
    "fe_unsteady_ms",  # lost time and resets of the front end, forgotten at a quarter of the pace
    "gates_dropped",  # the dead-man holds open what is commanded closed
    "pack_uv",  # the stack, by its own measuring path
    "charge_over_ua",  # charge current beyond what the temperature allows
    "fet_mdegc",
    "board_mdegc",
    "shorts",  # the front end's short-circuit protection acted
    # gatewatch: charge that has flowed past the open charge gate beyond the least current to be
    # noticed, as the time which that current takes for it; the other way past the discharge gate
    "weld_ms",
    "leak_ms",
    "fet_open_ms",  # gatewatch: voltage across closed gates
    "chg_held_ms",  # gatewatch: the front end holds open what is commanded closed
    "dsg_held_ms",
    "pre_ms",  # gatewatch: how long pre-discharge takes
    "offset_ua",  # gatewatch: current read while no gate is closed
    "spread_uv",  # cellwatch: highest less lowest cell, at rest
    "wire_uv",  # cellwatch: neighbours off by the same, one up, one down
    "stack_ppm",  # cellwatch: sum of the cells against the stack
    "odd_steps",  # cellwatch: voltage did not answer the current as R says; counts up and down
    "sag_uv",  # cellwatch: a cell falls at rest, the others do not
    "spread_mdegc",  # thermal: hottest less coldest sensor
    "hot_mdegc",  # thermal: hottest spot between the sensors
    "rise_udegps",  # thermal: a sensor's rise in udegC/s beyond what I2R explains
    "stuck_mdegc",  # thermal: what a sensor that stands still should have moved
    "charge_time_ms",  # charging: since the charger came
    "overcharge_ms",  # charging: it goes on though the pack is full
    "clock_ppm",  # selfcheck: the processor's clock against the front end's
    "config_bad",  # selfcheck: limits or latches no longer as they were written
    "r_low_ppm",  # cellstep: how much less than usual a cell answers a step, against the others
    "r_high_ppm",  # cellstep: how much more
    "answer_ppm",  # cellstep: how far the cells' answer to a step is from what it was
    "trust",  # bit k: signal k can be believed
    "dt_ms",  # time since the last Frame as the rules count it
    "charge_limit_ua",  # limits: what the temperature allows
    "last_ms",
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
PACK_UV = const(13)
CHARGE_OVER_UA = const(14)
FET_MDEGC = const(15)
BOARD_MDEGC = const(16)
SHORTS = const(17)
WELD_MS = const(18)  # from here on, and FROZEN_MS: written in the slack
LEAK_MS = const(19)
FET_OPEN_MS = const(20)
CHG_HELD_MS = const(21)
DSG_HELD_MS = const(22)
PRE_MS = const(23)
OFFSET_UA = const(24)
SPREAD_UV = const(25)
WIRE_UV = const(26)
STACK_PPM = const(27)
ODD_STEPS = const(28)
SAG_UV = const(29)
SPREAD_MDEGC = const(30)
HOT_MDEGC = const(31)
RISE_UDEGPS = const(32)
STUCK_MDEGC = const(33)
CHARGE_TIME_MS = const(34)
OVERCHARGE_MS = const(35)
CLOCK_PPM = const(36)
CONFIG_BAD = const(37)
R_LOW_PPM = const(38)
R_HIGH_PPM = const(39)
ANSWER_PPM = const(40)
SIGNALS = const(41)  # the fields up to here can be watched by a rule
TRUST = const(41)
DT_MS = const(42)
CHARGE_LIMIT_UA = const(43)
_LAST_MS = const(44)
_RESETS = const(45)
_STARTED = const(46)

# A signal made by the firmware itself is always believed; so is one whose front end never gives
# it, as no row watches it there.
ALL_TRUSTED = const(0x3FFFFFFF)
TRUST_BITS = const(30)  # signals from here on have no bit: always believed
READINGS = (CELL_MAX_UV, CELL_MIN_UV, CHARGE_UA, DISCHARGE_UA, TEMP_MAX_MDEGC, TEMP_MIN_MDEGC,
            PACK_UV, CHARGE_OVER_UA, FET_MDEGC, BOARD_MDEGC)  # fmt: skip
_VOLT = const(0x2003)  # cells and pack
_CURRENT = const(0xC)
_TEMP = const(0x30)
_CHARGE_OVER = const(0x4000)
_FET = const(0x8000)
_BOARD = const(0x10000)
_BESIDE = const(0x18000)
_EVERY_TEMP = const(0x18030)
_ALWAYS = const(0x3FFE1FC0)  # ALL_TRUSTED less the readings
_TOLD = const(0x4010040)  # flags that are signals: FEATURE_LOST, GATE_DROPPED, SHORTED
_SANE_UV = const(1000000)
_RESET_MS = const(1000)  # what one reset of the front end weighs
LOST_MAX_MS = const(1000000)  # where the counters stop
DT_MAX_MS = const(1000)  # longest step that delays may count at once
_START_MS = const(1000)  # a front end that has yet to start is not lost: no gate closes meanwhile
_HALF = const(500000000)
_TEMP_MAX_MDEGC = const(200000)  # no sensor here reads beyond; -100 to 200 degC


def slack_signal(signal):
    """Return whether a signal is written in the slack: the rules see it a tick later."""
    return signal == FROZEN_MS or WELD_MS <= signal < SIGNALS


class Plausible:
    """Signals from Frames. `v` holds `FIELDS`; `step` is called once a tick."""

    def __init__(self, pack):
        self.v = array("i", [0] * len(FIELDS))
        self.v[HOT_MDEGC] = -_TEMP_MAX_MDEGC
        self.v[FE_LOST_MS] = -_START_MS
        self.has_fet = pack.has_fet
        self.has_board = pack.has_board
        self._told = 0  # what the flags last told

    def step(self, frame, period_ms):
        """Write the signals of this Frame; `period_ms` is what the tick should have taken."""
        v = self.v
        f = frame.v
        dt = self._time(f[F.T_MS], period_ms)
        flags = f[F.FLAGS]
        trust = _ALWAYS
        fresh = self._voltages(f, frame.temp0)
        if fresh:
            trust |= _VOLT
            v[PACK_UV] = f[F.PACK_UV]
        current = f[F.CURRENT_UA]
        if flags & F.CURRENT_OK and -BIG < current < BIG:
            trust |= _CURRENT | _CHARGE_OVER
            v[CHARGE_UA] = current
            v[DISCHARGE_UA] = -current
            charging = current if current < _HALF else _HALF
            v[CHARGE_OVER_UA] = (charging if charging > 0 else 0) - v[CHARGE_LIMIT_UA]
        else:
            fresh = False
        if self._temperatures(f, frame.temp0):
            trust |= _TEMP
        trust |= self._beside(f, flags) if self.has_fet or self.has_board else _BESIDE
        if trust & _EVERY_TEMP == _EVERY_TEMP:
            v[TEMP_LOST_MS] = 0
        else:
            v[TEMP_LOST_MS] = min(v[TEMP_LOST_MS] + dt, LOST_MAX_MS)
        if fresh:
            v[FE_LOST_MS] = 0
        else:
            v[FE_LOST_MS] = min(v[FE_LOST_MS] + dt, LOST_MAX_MS)
        if not fresh or v[FE_UNSTEADY_MS] or f[F.FE_RESETS] != v[_RESETS]:
            self._steady(f[F.FE_RESETS], fresh, dt)
        told = flags & _TOLD
        if told != self._told:
            self._told = told
            v[FEATURES_LOST] = 1 if told & F.FEATURE_LOST else 0
            v[GATES_DROPPED] = 1 if told & F.GATE_DROPPED else 0
            v[SHORTS] = 1 if told & F.SHORTED else 0
        v[TRUST] = trust

    def _time(self, t_ms, period_ms):
        # A clock that stands still or runs backward must not postpone a trip: a tick then counts
        # as its period.
        v = self.v
        dt = ticks_diff(t_ms, v[_LAST_MS]) if v[_STARTED] else period_ms
        v[_STARTED] = 1
        v[_LAST_MS] = t_ms
        late_ms = dt - period_ms
        v[OVERRUN_MS] = min(late_ms, LOST_MAX_MS) if late_ms > 0 else 0
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
        if low < _SANE_UV or high >= BIG or not 0 <= f[F.PACK_UV] < BIG:
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

    def _beside(self, f, flags):
        # Sensors beside the cells; one that the pack does not have is not missed.
        trust = _FET | _BOARD
        if self.has_fet:
            if flags & F.FET_TEMP_OK and -_TEMP_MAX_MDEGC < f[F.FET_MDEGC] < _TEMP_MAX_MDEGC:
                self.v[FET_MDEGC] = f[F.FET_MDEGC]
            else:
                trust = _BOARD
        if self.has_board:
            if flags & F.BOARD_TEMP_OK and -_TEMP_MAX_MDEGC < f[F.BOARD_MDEGC] < _TEMP_MAX_MDEGC:
                self.v[BOARD_MDEGC] = f[F.BOARD_MDEGC]
            else:
                trust &= _FET
        return trust

    def _steady(self, resets, fresh, dt):
        # A front end that comes and goes is never lost for long enough to trip.
        v = self.v
        unsteady = v[FE_UNSTEADY_MS]
        if resets != v[_RESETS]:
            v[_RESETS] = resets
            unsteady += _RESET_MS
        unsteady += -dt >> 2 if fresh else dt
        v[FE_UNSTEADY_MS] = clamp(unsteady, 0, LOST_MAX_MS)
