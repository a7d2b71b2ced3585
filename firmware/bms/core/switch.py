"""The states of the pack; sole owner of the gates. Off is what happens when nothing happens."""

from array import array

from bms.compat import const
from bms.core import frame as F
from bms.core import rules as R
from bms.core.plausible import ALL_TRUSTED, TRUST
from bms.core.protect import NO_SHED

FIELDS = (
    "state",
    "chg_on",
    "dsg_on",
    "boot_ticks",  # good Frames in a row before the first gate may close
    "last_seq",  # of the mailbox: a request acts once
    "latched",  # paths that stay open until asked again
    "refused",  # requests to close that did not close
    "fuse",  # 1: blow the fuse; stays
    "kept",  # the complement of `latched` and `fuse`, to notice memory that lost a bit
)
STATE = const(0)
CHG_ON = const(1)
DSG_ON = const(2)
_BOOT_TICKS = const(3)
_LAST_SEQ = const(4)
LATCHED = const(5)
REFUSED = const(6)
FUSE = const(7)
KEPT = const(8)

BOOT = const(0)  # boot test running: no gate closes
OFF = const(1)
ON = const(2)
SHEDDING = const(3)  # on, and the load has been asked to shut down
TRIPPED = const(4)  # discharge open; charge closed where only discharge is blocked
SHIP = const(5)  # off until woken by an `open` request
PRE = const(6)  # discharge commanded, the front end still charges what hangs at the terminals
STATES = ("boot", "off", "on", "shedding", "tripped", "ship", "pre-discharge")

# Requests. Open always wins; close is edge-triggered, expires, and is never saved.
NONE = const(0)
OPEN = const(1)
CLOSE = const(2)
ACK = const(3)  # the load has shut down
CLEAR = const(4)  # a person looked at the trip
STORE = const(5)  # ship mode
REQUESTS = ("none", "open", "close", "ack", "clear", "ship")

REQUEST_MAX_MS = const(2000)  # a request older than this is not acted on
BOOT_FRAMES = const(5)
_CLOSED = (ON, SHEDDING, PRE)
_BOOT_OK = F.CODE_OK | F.CHIP_OK | F.PINS_OK


class Switch:
    """State machine of one pack. `v` holds `FIELDS`.

    pre_discharge: the front end brings up the terminals before it closes the discharge gate.
    """

    def __init__(self, pre_discharge):
        self.pre_discharge = pre_discharge
        self.v = array("i", [0] * len(FIELDS))
        self.v[KEPT] = -1
        self._upset = False

    def closed(self):
        """Return whether any gate is commanded closed."""
        return self.v[CHG_ON] | self.v[DSG_ON]

    def request(self, frame):
        """Return the code of a request not seen before and not expired, else NONE."""
        v = self.v
        f = frame.v
        if f[F.REQ_SEQ] == v[_LAST_SEQ]:
            return NONE
        v[_LAST_SEQ] = f[F.REQ_SEQ]
        if f[F.REQ_CODE] == OPEN or 0 <= f[F.REQ_AGE_MS] <= REQUEST_MAX_MS:
            return f[F.REQ_CODE]
        return NONE

    def step(self, frame, sig, protect, request):
        """Move to this tick's state and set chg_on and dsg_on for the gates."""
        v = self.v
        state = v[STATE]
        blocked = protect.blocked
        if v[KEPT] != ~(v[LATCHED] | v[FUSE] << 2):
            self._mend()
        if state == BOOT:
            state = self._boot(frame, sig)
        elif request == OPEN:
            state = OFF
        elif request == STORE:
            state = SHIP
        elif state == OFF:
            if request == CLOSE:
                state = self._close(blocked)
        elif state != SHIP:
            state = self._running(frame.v[F.FLAGS], state, protect, request)
        if request == CLOSE and state not in _CLOSED:
            v[REFUSED] = (v[REFUSED] + 1) & 0xFFFF
        if state in (OFF, SHIP):
            v[LATCHED] = 0
        if protect.burn:
            v[FUSE] = 1
        v[KEPT] = ~(v[LATCHED] | v[FUSE] << 2)
        v[STATE] = state
        blocked |= v[LATCHED]
        live = ON <= state <= TRIPPED
        v[CHG_ON] = 1 if live and not blocked & R.CHARGE else 0
        live = (live and state != TRIPPED) or state == PRE
        v[DSG_ON] = 1 if live and not blocked & R.DISCHARGE else 0

    def sound(self):
        """Return whether latches and their complement have always agreed."""
        v = self.v
        return not self._upset and v[KEPT] == ~(v[LATCHED] | v[FUSE] << 2)

    def _mend(self):
        # A latch or its complement lost a bit, and nobody knows which. While the load is served
        # none stands (`_running`): it goes on, and the row `config` announces the end. A pack that
        # is off stays off. The fuse blows where both say so.
        v = self.v
        self._upset = True
        v[LATCHED] = 0 if v[STATE] in _CLOSED else R.BOTH
        v[FUSE] &= (~v[KEPT] >> 2) & 1

    def _boot(self, frame, sig):
        v = self.v
        good = frame.v[F.FLAGS] & _BOOT_OK == _BOOT_OK and sig[TRUST] == ALL_TRUSTED
        v[_BOOT_TICKS] = v[_BOOT_TICKS] + 1 if good else 0
        return OFF if v[_BOOT_TICKS] >= BOOT_FRAMES else BOOT

    def _close(self, blocked):
        if blocked == R.BOTH:
            return OFF
        # An empty pack may be charged: discharge stays open, charge closes.
        if blocked & R.DISCHARGE:
            return TRIPPED
        return PRE if self.pre_discharge else ON

    def _running(self, flags, state, protect, request):
        v = self.v
        if protect.blocked & R.DISCHARGE:
            v[LATCHED] |= protect.latched
            return TRIPPED
        if v[LATCHED]:
            # What was announced and cut, or wants a person, does not come back by itself: charging
            # goes on if only discharge was cut, everything else is off until asked.
            if request != CLOSE:
                return OFF if v[LATCHED] & R.CHARGE else TRIPPED
            v[LATCHED] = 0
            if self.pre_discharge:
                return PRE
        if self.pre_discharge and (state == TRIPPED or (state == PRE and not flags & F.DSG_SHOWN)):
            return PRE
        return ON if protect.shed_left_ms == NO_SHED else SHEDDING
