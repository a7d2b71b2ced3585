"""The link over a serial port: Status, cells and events out, requests into the mailbox.

It never blocks and never raises for what comes in: a bounded number of bytes a call, each only
when the port has or takes it. What the frames hold stands in `framing`.
"""

import select
import sys

from bms.compat import const
from bms.core import frame as F
from bms.core import rules as R
from bms.core import switch as W
from bms.core.fixed import ticks_diff
from bms.links import framing as L
from bms.links.news import News, schema

BYTES_IN = const(32)  # a call
BYTES_OUT = const(32)
RING = const(1024)
_CHUNK = const(16)  # bytes handed over at once
STATUS_MS = const(200)
_STATUS_MIN_MS = const(20)
_STATUS_MAX_MS = const(60000)
_CELLS_MS = const(500)
_ROOM = const(64)  # with more than this under way a Status waits, and a newer one takes its place
_BEHIND = const(4)  # calls in a row that took all they may
_AGAIN_MS = const(2000)  # the same sequence and code within this is a repeat
_TEXT = const(194)  # of HELLO a frame
_TEXTS_MAX = const(10)
_ARG_MAX = const(0x3FFFFFFF)  # what the core may see

# What a monitor draws, (key, rule): limits in the units of their signals.
_DRAWN = (
    ("cell_min_uv", "cell_uv"),
    ("cell_max_uv", "cell_ov"),
    ("temp_min_mdegc", "dsg_cold"),
    ("temp_max_mdegc", "hot"),
    ("charge_ua", "charge_oc"),
    ("discharge_ua", "dsg_oc"),
)


class SerialLink:
    """One port, one host."""

    def __init__(self, stream, bms, info, rig=None):
        """stream: `receive(buffer)` and `send(buffer, at, end)` as `Console` has them.

        bms: its `core`, `mailbox.put` and `board.ticks_ms` are used. info: its `info()` gives
        (key, value) of what HELLO tells beside the pack's own. rig: absent from a pack in use;
        its `inject(code, argument)` returns a result, and makes TRACE and `go` work.
        """
        self.stream = stream
        self.bms = bms
        self.core = bms.core
        self.info = info
        self.rig = rig
        self.bytes_in = BYTES_IN
        self.bytes_out = BYTES_OUT
        self.go = False  # the host of a rig said so
        self.status_ms = STATUS_MS
        self.decoder = L.Decoder()
        self.out = L.Encoder(RING)
        self._in_chunk = bytearray(_CHUNK)
        self._out_chunk = bytearray(_CHUNK)
        self._at = self._end = 0  # what of it is still to send
        self._parts = self.core.parts()
        self._tracing = False
        self._events = 0
        self._status_at = self._cells_at = self.core.frame.v[F.T_MS]
        self._status_due = self._cells_due = True
        self._schema = schema().to_bytes(4, "little")
        self._drawn = _limits(self.core.pack)
        self._hello = []  # payloads of HELLO still to send
        self._last_request = (-1, 0)  # sequence, code
        self._last_ms = 0
        self._full_calls = 0  # in a row that took all they may
        self.news = News(self.core, self._tell)

    def step(self):
        """Once a tick, after Status is published: tell what is new, then `pump`.

        Return whether there was something to tell.
        """
        now = self.core.frame.v[F.T_MS]
        if self.news.step() or not 0 <= ticks_diff(now, self._status_at) < self.status_ms:
            self._status_at = now
            self._status_due = True
        if not 0 <= ticks_diff(now, self._cells_at) < _CELLS_MS:
            self._cells_at = now
            self._cells_due = True
        if self.rig is not None:
            digest = self.core.digest(self._parts)
            if self._tracing:
                words = bytes(self.core.frame.v) + digest.to_bytes(4, "little")
                self.out.put(L.TRACE, words)
        busy = bool(self._status_due or self.out.used)
        self.pump()
        return busy

    def pump(self):
        """Take what came in, send what waits; return whether the port would do more at once."""
        into = self._receive()
        self._fill()
        return self._send() or not into

    def _receive(self):
        """Return how many of the bytes of a call did not come."""
        chunk = self._in_chunk
        decoder = self.decoder
        left = self.bytes_in
        while left > 0:
            n = self.stream.receive(chunk)
            at = 0
            while at < n:
                at = decoder.feed(chunk, at, n)
                if decoder.size >= 0:
                    self._took()
            left -= n
            if n < len(chunk):
                break
        self._full_calls = 0 if left > 0 else self._full_calls + 1
        return max(left, 0)

    def _send(self):
        """Return whether a call's bytes were sent and more wait."""
        chunk = self._out_chunk
        left = self.bytes_out
        while left > 0:
            if self._at == self._end:
                self._at = 0
                self._end = self.out.fill(chunk)
            at = self.stream.send(chunk, self._at, min(self._end, self._at + left))
            left -= at - self._at
            stalled = at == self._at
            self._at = at
            if stalled:
                return False
        return bool(self._at < self._end or self.out.used)

    def _tell(self, kind, argument):
        self._events = (self._events + 1) & 0xFFFF
        now = self.core.frame.v[F.T_MS]
        self.out.put(L.EVENT, _bytes(now, 4) + _bytes(self._events, 2) + bytes((kind,))
                     + _bytes(argument, 2))  # fmt: skip

    def _fill(self):
        out = self.out
        core = self.core
        while self._hello:
            if not out.put(L.HELLO, self._hello[0]):
                return
            self._hello.pop(0)
        if self._status_due and out.used <= _ROOM:
            self._status_due = not out.put(L.STATUS, bytes(core.status.v))
            if self._cells_due:
                frame = core.frame
                cells = frame.temp0 - F.CELL0
                head = bytes((cells, len(frame.v) - frame.temp0))
                out.put(L.CELLS, head + bytes(frame.v[F.CELL0 :]))
                self._cells_due = False

    def _took(self):
        body = self.decoder.body
        kind = body[1]
        if body[0] != L.VERSION or kind not in (L.REQUEST, L.ASK, L.INJECT):
            return
        seq = body[2]
        code = 0
        result = L.BAD
        if self.decoder.size == 5:
            code = body[3]
            argument = int.from_bytes(body[4:8], "little")
            if argument >> 31:
                argument -= 1 << 32
            # Within 31 bits: past that a request would stop the core, heap locked.
            if -_ARG_MAX <= argument <= _ARG_MAX:
                result = self._act(kind, seq, code, argument)
        self.out.put(L.REPLY, bytes((seq, code, result)))

    def _act(self, kind, seq, code, argument):
        if kind == L.REQUEST:
            return self._request(seq, code, argument)
        if kind == L.INJECT:
            return L.UNKNOWN if self.rig is None else self.rig.inject(code, argument)
        if code == L.ASK_HELLO:
            self._hello = self._introduce()
            self._status_due = self._cells_due = True
        elif code == L.ASK_RATE:
            if not _STATUS_MIN_MS <= argument <= _STATUS_MAX_MS:
                return L.BAD
            self.status_ms = argument
        elif self.rig is None or code > L.ASK_GO:
            return L.UNKNOWN
        elif code == L.ASK_GO:
            self.go = True
        else:
            self._tracing = code == L.ASK_TRACE_ON
        return L.TAKEN

    def _request(self, seq, code, argument):
        if not W.NONE < code < len(W.REQUESTS):
            return L.UNKNOWN
        now = self.bms.board.ticks_ms()
        if code == W.CLOSE and self._full_calls >= _BEHIND:
            return L.BAD  # far more waits than a call takes in: who knows how old it is
        # An open always acts: it cannot do so once too often.
        again = code != W.OPEN and (seq, code) == self._last_request
        if not (again and 0 <= ticks_diff(now, self._last_ms) <= _AGAIN_MS):
            self.bms.mailbox.put(code, argument, now)
            self._last_request = (seq, code)
            self._last_ms = now
        return L.TAKEN

    def _introduce(self):
        # A board may have a lot to say of its errors: last, where it may be cut.
        text = self._drawn
        for key, value in self.info.info():
            text += "%s=%s\n" % (key, str(value).replace("\n", " "))
        text = text.encode()
        count = min((len(text) + _TEXT - 1) // _TEXT, _TEXTS_MAX)
        head = self._schema
        return [head + bytes((k, count)) + text[_TEXT * k : _TEXT * (k + 1)] for k in range(count)]


class Console:
    """MicroPython's own console as the stream of a link: USB on a board, stdin and stdout.

    Neither waits: the port is asked before every single byte.
    """

    def __init__(self):
        self._in = sys.stdin.buffer
        self._out = sys.stdout.buffer
        self._poll_in = select.poll()
        self._poll_in.register(sys.stdin, select.POLLIN)
        self._poll_out = select.poll()
        self._poll_out.register(sys.stdout, select.POLLOUT)
        self._one = bytearray(1)

    def receive(self, buffer):
        """Fill the buffer with what has come; return how many bytes."""
        ipoll = self._poll_in.ipoll
        readinto = self._in.readinto
        one = self._one
        come = select.POLLIN
        n = 0
        while n < len(buffer):
            for _, event in ipoll(0):
                if event & come:
                    break
            else:
                break
            if not readinto(one):
                break  # the end of a pipe
            buffer[n] = one[0]
            n += 1
        return n

    def send(self, buffer, at, end):
        """Send from the buffer, from `at` up to `end`; return how far the port took it."""
        ipoll = self._poll_out.ipoll
        write = self._out.write
        free = select.POLLOUT
        while at < end:
            for _, event in ipoll(0):
                if event & free:
                    break
            else:
                break
            write(buffer, at, 1)
            at += 1
        return at


def _bytes(value, n):
    return (value & 0xFFFFFFFF).to_bytes(n, "little")


def _limits(pack):
    text = "rules=%d\ncells=%d\n" % (len(R.ROWS), pack.cells)
    for key, rule in _DRAWN:
        for r in range(len(R.ROWS)):
            if R.ROWS[r][R.ID] == rule:
                text += "%s=%d\n" % (key, pack.rule(r)[0])
    return text
