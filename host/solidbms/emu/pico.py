"""A Pico: MicroPython image and files in flash, a serial port, and time that the caller steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from rp2040py.execute_batch import execute_batch

from solidbms.emu import littlefs
from solidbms.emu.chip import Chip
from solidbms.emu.usb import Cable

CYCLE_NS = 8
_UF2_BLOCK = 512
_UF2_MAGIC = b"UF2\nWQ]\x9e"


class Reset(NamedTuple):
    """A reset that happened: "power", "run pin" or "watchdog" (machine.reset() is one too)."""

    t_ns: float
    cause: str


class _Loop:
    """What rp2040py's loop wants of its simulator; slots, as it looks at each instruction."""

    __slots__ = ("clock", "rp2040", "stopped")

    def __init__(self, chip: Chip) -> None:
        self.rp2040 = chip
        self.clock = chip.clock
        self.stopped = True


class Pico:
    """One board. Construct, wire up, `boot`, then `run_until`, `run_for` or `wait_for`.

    console: all that the board has sent. on_serial: hears it packet by packet. resets: every
    reset, power-on first. A board that is held, `stall`ed or asleep costs next to no time.
    """

    def __init__(self, uf2: Path, files: dict[str, bytes]) -> None:
        """uf2: a MicroPython image for the Pico; ValueError when it is none."""
        self.chip = Chip(self.stall, self._reset_soon)
        self.clock = self.chip.clock
        self._loop: Any = _Loop(self.chip)
        self.chip.simulator = self._loop
        self.console = bytearray()
        self.on_serial: list[Callable[[bytes], None]] = []
        self.cable = Cable(self.chip, self._heard)
        self.resets: list[Reset] = []
        self._halt = False
        self._stall_ns = 0.0
        self._reset = ""
        for offset, data in uf2_blocks(uf2.read_bytes()):
            self.chip.load(offset, data)
        self.chip.load(littlefs.START, littlefs.image(files))

    @property
    def now_ns(self) -> float:
        """Emulated time since power-on."""
        return self.clock.nanos

    @property
    def cycles(self) -> int:
        """System clocks since power-on, those asleep included."""
        return round(self.clock.nanos / CYCLE_NS)

    def boot(self) -> None:
        """Switch on."""
        self.resets.append(Reset(self.now_ns, "power"))
        self.chip.leave_reset()

    def reset(self) -> None:
        """Pull the RUN pin for a moment."""
        self._reset_soon("run pin")
        self._restart()

    def send(self, data: bytes) -> None:
        """Send to the board's serial port."""
        self.cable.send(data)

    def files(self) -> dict[str, bytes]:
        """Return the board's files as they are now."""
        flash = self.chip.flash
        return littlefs.files(bytes(flash[littlefs.START : littlefs.START + littlefs.SIZE]))

    # Time

    def at(self, t_ns: float, act: Callable[[], None]) -> None:
        """Act at an emulated time; now, when it is past."""
        self.clock.create_alarm(act).schedule(max(t_ns - self.now_ns, 0.0))

    def every(self, period_ns: float, act: Callable[[], None]) -> None:
        """Act again and again, first one period from now."""

        def again() -> None:
            alarm.schedule(period_ns)
            act()

        alarm = self.clock.create_alarm(again)
        alarm.schedule(period_ns)

    def run_until(self, t_ns: float) -> None:
        """Let time pass up to t_ns, or until `stop`."""
        alarm = self.clock.create_alarm(self.stop)
        alarm.schedule(max(t_ns - self.now_ns, 0.0))
        self._run()
        alarm.cancel()
        self.chip.settle_pio()

    def run_for(self, span_ns: float) -> None:
        """Let time pass, or until `stop`."""
        self.run_until(self.now_ns + span_ns)

    def wait_for(self, done: Callable[[], bool], limit_ns: float = 10e9) -> bool:
        """Run until done() holds, asked whenever the board has sent something and each ms.

        Return whether it came to hold within the limit.
        """
        end_ns = self.now_ns + limit_ns
        hear = self.on_serial.append
        # One line, used in the next ones.
        look = lambda data=b"": self.stop() if done() else None  # noqa: E731
        hear(look)
        while not done() and self.now_ns < end_ns:
            self.run_until(min(end_ns, self.now_ns + 1e6))
        self.on_serial.remove(look)
        return done()

    def stop(self) -> None:
        """Return from running after the instruction under way."""
        self._halt = self._loop.stopped = True

    def stall(self, span_ns: float) -> None:
        """Let the core run nothing for this long."""
        self._stall_ns += span_ns
        self._loop.stopped = True

    def _run(self) -> None:
        self._halt = False
        while not self._halt:
            if self._reset:
                self._restart()
            elif self._stall_ns > 0:
                span_ns = min(self._stall_ns, self.clock.nanos_to_next_alarm)
                self._stall_ns -= span_ns
                self.clock.tick(span_ns)
            else:
                self._loop.stopped = False
                self.chip.hide_pio = True
                execute_batch(self._loop, 1)

    def _reset_soon(self, cause: str = "watchdog") -> None:
        self._reset = cause
        self._loop.stopped = True

    def _restart(self) -> None:
        self._stall_ns = 0.0
        self.resets.append(Reset(self.now_ns, self._reset))
        self.chip.restart(from_watchdog=self._reset == "watchdog")
        self._reset = ""

    def _heard(self, data: bytes) -> None:
        self.console += data
        for hear in [*self.on_serial]:
            hear(data)


def uf2_blocks(blob: bytes) -> list[tuple[int, bytes]]:
    """Return (offset in flash, data) of every block of a UF2 file; ValueError for another."""
    blocks = []
    for at in range(0, len(blob), _UF2_BLOCK):
        block = blob[at : at + _UF2_BLOCK]
        address = int.from_bytes(block[12:16], "little") - 0x10000000
        size = int.from_bytes(block[16:20], "little")
        if block[:8] != _UF2_MAGIC or len(block) < _UF2_BLOCK or not 0 <= address < littlefs.START:
            raise ValueError(f"block {at // _UF2_BLOCK} is no UF2 for a Pico's flash")
        blocks.append((address, block[32 : 32 + size]))
    if not blocks:
        raise ValueError("empty")
    return blocks
