"""Requests from outside, one at a time: whoever talks to the pack puts, the tick takes."""

from bms.core import frame as F
from bms.core.fixed import TICKS_MAX, ticks_diff
from bms.core.switch import NONE, OPEN, REQUESTS

_CODES = tuple(range(NONE + 1, len(REQUESTS)))


class Mailbox:
    """One request with sequence and time; a newer one replaces it, but never an `open`."""

    def __init__(self):
        self.seq = 0
        self.code = 0
        self.arg = 0
        self.t_ms = 0
        self._taken = True

    def put(self, code, arg, t_ms):
        """Leave a request made at t_ms; an open that was not taken yet stays.

        ValueError here, where the caller pays, for what would stop a tick with the heap locked.
        """
        if code not in _CODES or not -TICKS_MAX <= arg <= TICKS_MAX:
            raise ValueError("a code of switch.REQUESTS and 31 bits are valid")
        if self.code == OPEN and not self._taken:
            return
        self.seq = (self.seq + 1) & TICKS_MAX
        self.code = code
        self.arg = arg
        self.t_ms = t_ms & TICKS_MAX
        self._taken = False

    def take(self, frame, now_ms):
        """Copy the request into the Frame, with its age."""
        f = frame.v
        f[F.REQ_SEQ] = self.seq
        f[F.REQ_CODE] = self.code
        f[F.REQ_ARG] = self.arg
        f[F.REQ_AGE_MS] = ticks_diff(now_ms, self.t_ms)
        self._taken = True
