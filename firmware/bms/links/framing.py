"""Frames on a byte stream, for both ends of the link: the firmware's and the host's.

Stuffed as RFC 1662, section 4.2, does it: a flag (0x7E) before and after, in between version,
type, sequence, payload, and the CRC-32 of these, little-endian. Flag, escape and every control
character are escaped, so that no frame can stop a console (0x03, 0x04), and whatever a console
prints in between costs at most the frame it falls into.
"""

from binascii import crc32

from bms.compat import const

VERSION = const(1)
PAYLOAD_MAX = const(200)

# Types, pack to host.
HELLO = const(0x48)  # schema, part, of, text: "key=value" lines over as many frames as it takes
STATUS = const(0x53)  # every word of Status
CELLS = const(0x43)  # number of cells, of temperatures, then these: uV, mdegC
EVENT = const(0x45)  # t_ms (4), number (2), index into news.EVENTS (1), argument (2)
TRACE = const(0x54)  # every word of the Frame, and the digest of its tick
REPLY = const(0x52)  # sequence that it answers, code, result
# Host to pack: code (1), argument (4).
REQUEST = const(0x51)  # one of switch.REQUESTS
ASK = const(0x41)  # of the link itself, see below
INJECT = const(0x49)  # rigs and simulations only, see below

# ASK.
ASK_HELLO = const(0)
ASK_RATE = const(1)  # argument: ms from one Status to the next
ASK_TRACE_ON = const(2)  # rigs only, as the next two
ASK_TRACE_OFF = const(3)
ASK_GO = const(4)

# INJECT.
INJECT_DRAW = const(255)  # argument: mA that somebody draws; in simulations. Faults count from 0

# Results in a REPLY.
TAKEN = const(0)
UNKNOWN = const(1)  # no such code here
BAD = const(2)  # payload of another form, argument out of range
RESULTS = ("taken", "unknown", "bad")

FLAG = const(0x7E)
_ESCAPE = const(0x7D)
_TURN = const(0x20)  # an escaped byte is turned by this; every byte below it is escaped
HEAD = const(3)  # version, type, sequence
_CRC = const(4)
_BODY_MAX = const(207)
_GOOD = const(0x2144DF1C)  # CRC-32 of anything with its own CRC-32 behind it


class Decoder:
    """Bytes to frames; anything that is no frame is passed over.

    After `feed`: `size` is -1, or a frame has just ended and that many bytes of payload stand in
    `body` behind version, type and sequence. `bad` counts what stood between flags and was none.
    """

    def __init__(self):
        self.body = bytearray(_BODY_MAX)
        self.size = -1
        self.bad = 0
        self._n = -1  # bytes of the frame under way, -1: none, wait for a flag
        self._turn = 0

    def feed(self, buffer, at, end):
        """Take the bytes from `at` up to `end`, or to the end of a frame; return how far."""
        body = self.body
        n = self._n
        turn = self._turn
        self.size = -1
        while at < end and self.size < 0:
            byte = buffer[at]
            at += 1
            if byte == FLAG:
                if n >= HEAD + _CRC and not turn and crc32(memoryview(body)[:n]) == _GOOD:
                    self.size = n - HEAD - _CRC
                elif n > 0:  # two flags in a row are no loss
                    self.bad = (self.bad + 1) & 0xFFFF
                n = turn = 0
            elif n < 0:
                pass
            elif byte == _ESCAPE and not turn:
                turn = _TURN
            elif n == _BODY_MAX:  # longer than any frame
                self.bad = (self.bad + 1) & 0xFFFF
                n = -1
                turn = 0
            else:
                body[n] = byte ^ turn
                turn = 0
                n += 1
        self._n = n
        self._turn = turn
        return at


class Encoder:
    """Frames into a ring of bytes that is made once; `fill` hands them on, stuffed."""

    def __init__(self, size):
        """size: bytes of the ring; a frame needs its payload and 8."""
        self.used = 0
        self.seq = 0  # of the next frame; one that found no room leaves a gap
        self._ring = bytearray(size)  # of every frame: its length, then its bytes
        self._first = 0
        self._left = 0  # bytes of the frame that is being handed on
        self._body = bytearray(1 + _BODY_MAX)

    def put(self, kind, payload):
        """Add one frame whole, or return False: no room, or too long."""
        n = HEAD + len(payload)
        body = self._body
        seq = self.seq
        self.seq = (seq + 1) & 0xFF
        ring = self._ring
        size = len(ring)
        if n > HEAD + PAYLOAD_MAX or self.used + n + _CRC + 1 > size:
            return False
        body[0] = n + _CRC
        body[1] = VERSION
        body[2] = kind
        body[3] = seq
        body[HEAD + 1 : n + 1] = payload
        crc = crc32(memoryview(body)[1 : n + 1])
        body[n + 1 : n + 1 + _CRC] = crc.to_bytes(_CRC, "little")
        n += 1 + _CRC
        at = (self._first + self.used) % size
        before = min(n, size - at)  # the end of the ring, and the rest at its start
        ring[at : at + before] = body[:before]
        ring[: n - before] = body[before:n]
        self.used += n
        return True

    def fill(self, buffer):
        """Put stuffed bytes into a buffer of three or more; return how many."""
        ring = self._ring
        size = len(ring)
        first = self._first
        used = self.used
        left = self._left
        full = len(buffer) - 3  # a byte may take two, and the flag
        n = 0
        while n <= full and used:
            byte = ring[first]
            first = first + 1 if first + 1 < size else 0
            used -= 1
            if not left:
                left = byte
                buffer[n] = FLAG
                n += 1
                continue
            if byte < _TURN or _ESCAPE <= byte <= FLAG:
                buffer[n] = _ESCAPE
                n += 1
                byte ^= _TURN
            buffer[n] = byte
            n += 1
            left -= 1
            if not left:
                buffer[n] = FLAG
                n += 1
        self._first = first
        self.used = used
        self._left = left
        return n
