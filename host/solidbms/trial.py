"""What a board tells over the link before and after it is flashed."""

from __future__ import annotations

import contextlib
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bms.links import framing as L

from solidbms.link import Hello, LinkError, Port, Status
from solidbms.link.places import SerialWire
from solidbms.mpboard import BoardAway

LISTEN_S = 1.2  # an idle pack sends a Status every 250 ms
_ASK_S = 0.3
_PROMPT = ">>> "


def gates_closed(place: str) -> bool:
    """Listen whether a firmware runs that has a gate closed; LinkError when the port is no good.

    Every firmware's Status begins with t_ms, state, chg_on, dsg_on, so this needs no HELLO and
    works where the one on the board is older or newer than this host.
    """
    wire = SerialWire(place)
    decoder = L.Decoder()
    closed, heard = False, 0
    end = time.monotonic() + LISTEN_S
    try:
        # Asked, it sends one at once. The first one may have waited in a buffer since a while ago.
        Port(wire, place).send(L.ASK, L.ASK_HELLO)
        while heard < 2 and time.monotonic() < end:
            data = wire.read(0.1)
            at = 0
            while at < len(data):
                at = decoder.feed(data, at, len(data))
                if decoder.size >= 16 and decoder.body[1] == L.STATUS:
                    closed = any(struct.unpack_from("<2i", decoder.body, L.HEAD + 8))
                    heard += 1
    except OSError as error:
        raise LinkError(f"{place}: {error}") from None
    finally:
        wire.close()
    return closed


@dataclass
class Heard:
    """What came of a start: `slot` that answered, or none; `passed` its boot test, or not yet."""

    slot: str = ""
    passed: bool = False
    other: bool = False  # firmware answers whose names are not this host's
    console: bool = False  # nothing runs
    port: bool = False  # the port is there
    said: str = ""  # last line that the board printed
    boot: str = ""  # tests of the slot that was wanted
    info: dict[str, str] = field(default_factory=dict)  # of HELLO

    def take(self, info: dict[str, str], wanted: str) -> None:
        """Take what a HELLO says."""
        self.info = info
        self.slot = info.get("slot", "").rpartition("/")[2]
        if self.slot == wanted:
            self.boot = info.get("boot", "")


def watch(find: Callable[[], str], wanted: str, limit_s: float, go: bool = False) -> Heard:
    """Wait for what a start comes to: until the slot that is wanted has passed its boot test,
    until another answers or nothing runs any more, or for limit_s.

    find: returns the port, raises BoardAway while it is not there. go: tell a rig to start.
    """
    heard = Heard()
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        try:
            place = find()
            wire = SerialWire(place)
        except (BoardAway, LinkError):
            heard.port = False
            time.sleep(0.1)
            continue
        heard.port = True
        with contextlib.closing(wire), contextlib.suppress(OSError):  # gone again: once more
            if _listen(Port(wire, place), wire, wanted, end, heard, go):
                break
    return heard


def _listen(
    port: Port, wire: SerialWire, wanted: str, end: float, heard: Heard, go: bool
) -> bool:
    """Return True when there is an answer, False when time is up."""
    ticks: set[int] = set()
    ask_at = 0.0
    while (now := time.monotonic()) < end:
        # The slot is committed at the end of the tick that passed: the next one is proof. What it
        # tells of its boot test from then on is final.
        passed = len(ticks) > 1
        if now >= ask_at and (passed or not heard.slot):
            ask_at = now + _ASK_S
            wire.write(b"\r")  # a console answers this with its prompt, firmware passes it over
            port.send(L.ASK, L.ASK_HELLO)
            if go:
                port.send(L.ASK, L.ASK_GO)
        try:
            messages = port.receive(0.05)
        except LinkError:
            heard.other = True
            return True
        for message in messages:
            if isinstance(message, Status) and message.state != "boot":
                ticks.add(message["ticks"])
            elif isinstance(message, Hello):
                heard.take(message.info, wanted)
                heard.passed = passed and heard.slot == wanted
                if passed or heard.slot != wanted:
                    return True
        heard.said = next((s for s in reversed(port.said.splitlines()) if s.strip(_PROMPT)), "")
        if port.said.endswith(_PROMPT) and not heard.slot:
            heard.console = True
            return True
    return False
