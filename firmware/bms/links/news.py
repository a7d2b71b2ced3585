"""What has changed since the tick before: the events that a link tells."""

from binascii import crc32

from bms.compat import const
from bms.core import frame as F
from bms.core import rules as R
from bms.core import soc as S
from bms.core import status as T
from bms.core import switch as W
from bms.core.protect import ACTED, STRIDE

# Kinds by number, and their argument.
EVENTS = (
    "state",  # from + 256 * to, of switch.STATES
    "acted",  # row
    "recover",  # row
    "request",  # of switch.REQUESTS, taken
    "refused",  # a request to close
    "reset",  # of the front end, their count
    "rest",  # SoC corrected, their count
    "feature lost",
    "feature back",
    "gate dropped",  # by hardware
    "gate back",
    "alert",  # the front end's own limits acted
)
_STATE = const(0)
_ACTED = const(1)
_RECOVER = const(2)
_REQUEST = const(3)
_REFUSED = const(4)
_RESET = const(5)
_REST = const(6)
_FEATURE = const(7)  # lost; back is the next, as of a gate
_GATE = const(9)
_ALERT = const(11)


def schema():
    """Return the CRC-32 over every name that gives a number its meaning: both ends must agree."""
    crc = 0
    for names in (
        T.FIELDS,
        [row[R.ID] for row in R.ROWS],
        F.FIELDS,
        W.STATES,
        W.REQUESTS,
        EVENTS,
    ):
        crc = crc32(("\n".join(names) + "\n\n").encode(), crc)
    return crc


class News:
    """Compares the core with itself a tick ago, by the arrays that every record has."""

    def __init__(self, core, tell):
        """tell: called with kind and argument of every event."""
        self.core = core
        self.tell = tell
        self.acted = bytearray(len(core.rules.v) // STRIDE)
        self.gates = 0
        self._rules = 0  # CRC-32 of the rules, 30 bits
        self._counts = [0, 0, 0, 0]  # state, refused, resets, corrections
        self._flags = 0
        self.tell = _nobody
        self.step()
        self.tell = tell

    def step(self):
        """Tell what this tick brought; return whether state, gates or rows have changed."""
        core = self.core
        switch = core.switch.v
        state = switch[W.STATE]
        changed = self._rows(core.rules.v)
        if core.request:
            self.tell(_REQUEST, core.request)
        before = self._count(0, state)
        if before != state:
            self.tell(_STATE, before + 256 * state)
            changed = True
        if self._count(1, switch[W.REFUSED]) != switch[W.REFUSED]:
            self.tell(_REFUSED, W.CLOSE)
        resets = core.frame.v[F.FE_RESETS]
        if self._count(2, resets) != resets:
            self.tell(_RESET, resets & 0xFFFF)
        rests = core.soc.v[S.CORRECTIONS]
        if self._count(3, rests) != rests:
            self.tell(_REST, rests & 0xFFFF)
        self._flagged(core.frame.v[F.FLAGS])
        gates = switch[W.CHG_ON] + 2 * switch[W.DSG_ON]
        changed = changed or gates != self.gates
        self.gates = gates
        return changed

    def _rows(self, rules):
        # Most ticks no row moves, and looking at each takes longer than all the rest.
        crc = crc32(rules) & 0x3FFFFFFF
        if crc == self._rules:
            return False
        self._rules = crc
        acted = self.acted
        changed = False
        for r in range(len(acted)):
            now = 1 if rules[STRIDE * r] >= ACTED else 0
            if now != acted[r]:
                acted[r] = now
                self.tell(_ACTED if now else _RECOVER, r)
                changed = True
        return changed

    def _count(self, k, value):
        before = self._counts[k]
        self._counts[k] = value
        return before

    def _flagged(self, flags):
        turned = flags ^ self._flags
        self._flags = flags
        if turned & F.FEATURE_LOST:
            self.tell(_FEATURE if flags & F.FEATURE_LOST else _FEATURE + 1, 0)
        if turned & F.GATE_DROPPED:
            self.tell(_GATE if flags & F.GATE_DROPPED else _GATE + 1, 0)
        if turned & flags & F.ALERTED:
            self.tell(_ALERT, 0)


def _nobody(kind, argument):
    pass
