"""The host's end of the link: opens a place and speaks the firmware's protocol with it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from bms.links import framing as L
from bms.links.news import schema

from solidbms.link.messages import (
    Cells,
    Event,
    Hello,
    Message,
    Reply,
    Status,
    Trace,
    decode,
)
from solidbms.link.places import LinkError, Wire, open_wire

__all__ = [
    "Cells", "Event", "Hello", "LinkError", "Message", "Port", "Reply", "Status", "Trace",
    "open_port",
]  # fmt: skip

_ASK_AGAIN_S = 0.5
_REPLY_S = 0.4
_TRIES = 4  # within 2 s: after that the firmware takes a repeat for a new request
_RING = 256
_SAID_MAX = 4000


def open_port(place: str | os.PathLike[str]) -> Port:
    """Open a serial port, the directory of a running simulation, or `sim:SCENARIO[@FACTOR]`.

    LinkError, in one line, when nothing can be opened there.
    """
    return Port(open_wire(os.fspath(place)), os.fspath(place))


class Port:
    """One open place. Not for two threads at once."""

    def __init__(self, wire: Wire, place: str) -> None:
        self.place = place
        self.info: dict[str, str] = {}  # of HELLO
        self.said = ""  # text between the frames: what a board prints
        self._wire = wire
        self._decoder = L.Decoder()
        self._encoder = L.Encoder(_RING)
        self._chunk = bytearray(_RING)
        self._encoder.seq = os.urandom(1)[0]  # two programs in a row are not taken for one
        self._since_flag = bytearray()
        self._known = False  # HELLO came, and its schema is ours
        self._text = b""
        self._next_part = 0
        self._number: int | None = None  # of the last event

    def receive(self, timeout_s: float = 0.1) -> list[Message]:
        """Return what has come, waiting up to timeout_s for something.

        Nothing but HELLO and replies is understood before HELLO. OSError when the port is gone;
        LinkError when the firmware is another one than this host knows.
        """
        found: list[Message] = []
        data = self._wire.read(timeout_s)
        for k in range(len(data)):
            self._decoder.feed(data, k, k + 1)
            if self._decoder.size >= 0:
                self._since_flag.clear()
                self._add(found)
            else:
                self._listen(data[k])
        return found

    def send(self, kind: int, code: int, argument: int = 0, seq: int | None = None) -> int:
        """Send a REQUEST, ASK or INJECT; return its sequence, to be found in the reply."""
        encoder = self._encoder
        if seq is not None:
            encoder.seq = seq
        sent = encoder.seq
        encoder.put(kind, bytes((code,)) + (argument & 0xFFFFFFFF).to_bytes(4, "little"))
        self._wire.write(bytes(self._chunk[: encoder.fill(self._chunk)]))
        return sent

    def hello(self, timeout_s: float = 3.0) -> Hello:
        """Ask until the pack has told what it is; LinkError when it does not."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            self.send(L.ASK, L.ASK_HELLO)
            again = min(time.monotonic() + _ASK_AGAIN_S, end)
            while time.monotonic() < again:
                for message in self.receive():
                    if isinstance(message, Hello):
                        return message
        raise LinkError(self.silence(timeout_s))

    def request(
        self,
        kind: int,
        code: int,
        argument: int = 0,
        heed: Callable[[Message], object] = lambda message: None,
    ) -> str:
        """Send until it is answered; whatever comes meanwhile goes to heed.

        Returns one of framing.RESULTS, or "no answer".
        """
        seq = None
        for _ in range(_TRIES):
            seq = self.send(kind, code, argument, seq)
            end = time.monotonic() + _REPLY_S
            while time.monotonic() < end:
                result = ""
                for message in self.receive():
                    heed(message)
                    if isinstance(message, Reply) and (message.seq, message.code) == (seq, code):
                        result = message.result
                if result:
                    return result
        return "no answer"

    def silence(self, waited_s: float) -> str:
        """Return one line on why nobody answers."""
        if ">>> " in self.said:
            return f"{self.place}: MicroPython answers, but no firmware runs: flash the board"
        last = self.said.strip().splitlines()[-1:]
        heard = f"; it says: {last[0]}" if last else ""
        return f"{self.place}: no answer for {waited_s:g} s{heard}"

    def close(self) -> None:
        """Let go; nothing changes on the pack."""
        self._wire.close()

    def _add(self, found: list[Message]) -> None:
        decoder = self._decoder
        kind = decoder.body[1]
        payload = bytes(decoder.body[L.HEAD : L.HEAD + decoder.size])
        if decoder.body[0] != L.VERSION:
            raise LinkError(self._other(f"link version {decoder.body[0]}, not {L.VERSION}"))
        if kind == L.HELLO and len(payload) >= 6:
            self._introduced(payload, found)
            return
        message = decode(kind, payload) if self._known or kind == L.REPLY else None
        if message is None:
            return
        if isinstance(message, Event):
            missing = (message.number - 1 - (self._number or 0)) & 0xFFFF
            if missing and self._number is not None:
                found.append(Event(message.t_ms, "lost", f"{missing} events", message.number))
            self._number = message.number
        found.append(message)

    def _introduced(self, payload: bytes, found: list[Message]) -> None:
        theirs = int.from_bytes(payload[:4], "little")
        part, count = payload[4], payload[5]
        if theirs != schema():
            raise LinkError(self._other(f"schema {theirs:08x}, not {schema():08x}"))
        if part == 0:
            self._text = b""
        elif part != self._next_part:
            return  # one was lost: asked again
        self._text += payload[6:]
        self._next_part = part + 1
        if self._next_part == count:
            lines = self._text.decode(errors="replace").splitlines()
            self.info = dict(line.split("=", 1) for line in lines if "=" in line)
            self._known = True
            found.append(Hello(theirs, self.info))

    def _other(self, what: str) -> str:
        return f"{self.place}: the board runs other firmware than this host ({what}): flash again"

    def _listen(self, byte: int) -> None:
        # What stands between two flags and is no frame was printed.
        if byte != L.FLAG:
            self._since_flag.append(byte)
            if byte == 0x0A or self._since_flag.endswith(b">>> "):
                text = self._since_flag.decode(errors="replace")
                self.said = (self.said + text)[-_SAID_MAX:]
                self._since_flag.clear()
            elif len(self._since_flag) > _SAID_MAX:
                self._since_flag.clear()
        else:
            self._since_flag.clear()
