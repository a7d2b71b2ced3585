"""Are limits, tables and latches still what they were, and do the clocks agree? In the slack.

A slice a tick: IEC 60730-1, Annex H, table H.1 asks for periodic checks of invariable memory and
of the clock against an independent one.
"""

from array import array
from binascii import crc32

from bms.compat import const
from bms.core import plausible as P
from bms.core.fixed import TICKS_MAX, ticks_diff
from bms.core.frame import FE_RESETS, FE_TIME_MS, FE_TIME_OK, FLAGS, T_MS

FIELDS = (
    "turn",  # which table is looked at next
    "from_ms",  # the processor's and the front end's time as the comparison began
    "from_fe_ms",
    "comparing",
    "seen_fe_ms",  # the front end's time in the last Frame
    "resets",  # of the front end, likewise
)
_TURN = const(0)
_FROM_MS = const(1)
_FROM_FE_MS = const(2)
_COMPARING = const(3)
_SEEN_FE_MS = const(4)
_RESETS = const(5)

# The front end counts whole seconds: clocks are compared where it has just counted, so that a tick
# (250 ms at most while nothing flows, 1.3 %) is what can be wrong; one that counts no more is
# compared a while later.
_COMPARE_MS = const(20000)
_LATEST_MS = const(23000)
_GAP_MS = const(60000)  # beyond: readings were missed in between


class SelfCheck:
    """Signals on the firmware itself. `v` holds `FIELDS`."""

    def __init__(self, pack, rules):
        self.tables = pack.tables()
        self.crcs = [crc32(table) for table in self.tables]
        self.rules = rules
        self.v = array("i", [0] * len(FIELDS))

    def step(self, frame, sig, switch):
        """Look at one table of the pack, at one row in use, at the latches and the clocks."""
        v = self.v
        k = v[_TURN]
        v[_TURN] = (k + 1) % (len(self.tables) + self.rules.count())
        if k < len(self.tables):
            sound = crc32(self.tables[k]) == self.crcs[k]
        else:
            sound = self.rules.as_compiled(k - len(self.tables))
        if not sound or not switch.sound():
            sig[P.CONFIG_BAD] = 1  # stays: what lost a bit cannot be trusted to have it back
        if frame.v[FLAGS] & FE_TIME_OK:
            self._clock(frame.v, sig)

    def _clock(self, f, sig):
        v = self.v
        fe_ms = f[FE_TIME_MS] & TICKS_MAX
        own = ticks_diff(f[T_MS], v[_FROM_MS])
        counted = fe_ms != v[_SEEN_FE_MS]
        v[_SEEN_FE_MS] = fe_ms
        if f[FE_RESETS] != v[_RESETS]:
            v[_RESETS] = f[FE_RESETS]
            v[_COMPARING] = 0  # it counts from zero again
        if v[_COMPARING] and 0 <= own < (_COMPARE_MS if counted else _LATEST_MS):
            return
        if not v[_COMPARING] and not counted:
            return
        fe = (fe_ms - v[_FROM_FE_MS]) & TICKS_MAX
        if v[_COMPARING] and 0 < own < _GAP_MS and fe < 2 * _GAP_MS:
            sig[P.CLOCK_PPM] = abs(fe - own) * 1000 // (own // 1000)
        v[_COMPARING] = 1
        v[_FROM_MS] = f[T_MS] & TICKS_MAX
        v[_FROM_FE_MS] = fe_ms
