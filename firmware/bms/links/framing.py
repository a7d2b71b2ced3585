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

    `body` holds the last frame until the next byte comes: version, type, sequence, and `size`
    bytes of payload. `bad` counts what stood between flags and was no frame.
    """

    def __init__(self):
        self.body = bytearray(_BODY_MAX)
        self.size = 0
        self.bad = 0
        self._n = -1  # bytes of the frame under way, -1: none, wait for a flag
        self._turn = 0

    def feed(self, byte):
        """Take one byte, 0 to 255; return whether it ends a whole frame."""
        n = self._n
        if byte == FLAG:
            whole = n >= HEAD + _CRC and not self._turn
            if whole and crc32(memoryview(self.body)[:n]) == _GOOD:
                self.size = n - HEAD - _CRC
            else:
                whole = False
                self._lose(n)
            self._n = self._turn = 0
            return whole
        if byte == _ESCAPE and not self._turn:
            self._turn = _TURN
        elif n == _BODY_MAX:
            self._lose(n)  # longer than any frame
        elif n >= 0:
            self.body[n] = byte ^ self._turn
            self._turn = 0
            self._n = n + 1
        return False

    def _lose(self, n):
        # Two flags in a row are no loss; one frame is lost once.
        if n > 0:
            self.bad = (self.bad + 1) & 0xFFFF
        self._n = -1
        self._turn = 0


class Encoder:
    """Frames into a ring of bytes that is made once; `take` hands them on."""

    def __init__(self, size):
        """size: bytes of the ring; a frame needs up to 416."""
        self.ring = bytearray(size)
        self.used = 0
        self.seq = 0  # of the next frame; one that found no room leaves a gap
        self._first = 0
        self._body = bytearray(_BODY_MAX)

    def put(self, kind, payload):
        """Add one frame whole, or return False: no room, or too long."""
        n = HEAD + len(payload)
        body = self._body
        seq = self.seq
        self.seq = (seq + 1) & 0xFF
        if n > HEAD + PAYLOAD_MAX:
            return False
        body[0] = VERSION
        body[1] = kind
        body[2] = seq
        body[HEAD:n] = payload
        body[n : n + _CRC] = crc32(memoryview(body)[:n]).to_bytes(_CRC, "little")
        return self._stuff(n + _CRC)

    def _stuff(self, n):
        ring = self.ring
        body = self._body
        end = len(ring)
        at = (self._first + self.used) % end
        room = end - self.used - 2
        if room < n:
            return False
        ring[at] = FLAG
        for k in range(n):
            byte = body[k]
            if byte < _TURN or _ESCAPE <= byte <= FLAG:
                at = at + 1 if at + 1 < end else 0
                ring[at] = _ESCAPE
                byte ^= _TURN
                room -= 1
            room -= 1
            if room < 0:
                return False
            at = at + 1 if at + 1 < end else 0
            ring[at] = byte
        at = at + 1 if at + 1 < end else 0
        ring[at] = FLAG
        self.used = end - room
        return True

    def take(self):
        """Return the oldest byte; only while `used`."""
        byte = self.ring[self._first]
        self._first = self._first + 1 if self._first + 1 < len(self.ring) else 0
        self.used -= 1
        return byte
