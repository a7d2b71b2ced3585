"""The wires from an I2C block of the Pico to register chips, and what can go wrong on them.

The block of rp2040py hands over one phase at a time and waits for its end; here each takes its
bits on the wire. A program that moves the pins itself (bus recovery) is seen at the pads. SoftI2C
is not answered: MicroPython's `I2C.scan()` and empty writes are that.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from rp2040py.peripherals.i2c import I2CMode

if TYPE_CHECKING:
    from solidbms.emu.pico import Pico

_CYCLE_NS = 8
_BYTE_BITS = 9


class Chips(Protocol):
    """What hangs on the bus, register by register; OSError as machine.I2C raises it.

    EIO: nobody acknowledges. ETIMEDOUT: the wires are held and nothing ends. longest: bytes that a
    program reads at most at once; so many are asked for, as reading may clear a flag only once.
    """

    longest: int

    def probe(self, address: int) -> None:
        """Raise unless a chip acknowledges this address."""
        ...

    def read(self, address: int, register: int, length: int) -> bytes:
        """Read a register."""
        ...

    def write(self, address: int, register: int, data: bytes) -> None:
        """Write a register."""
        ...


class Bus:
    """One I2C block, its two pins, and the chips.

    held: somebody holds SDA low. cut_after: bytes that the next read still gets before the chip
    falls silent (0xFF follows); on_cut: called then. stretch_after: likewise, but the chip
    holds the clock.
    """

    def __init__(self, pico: Pico, block: int, scl: int, sda: int, chips: Chips) -> None:
        self.chips = chips
        self.cut_after: int | None = None
        self.on_cut: Callable[[], None] = lambda: None
        self.stretch_after: int | None = None
        self._block: Any = pico.chip.i2c[block]
        self._scl, self._sda = pico.chip.pads[scl], pico.chip.pads[sda]
        self._alarm = pico.clock.create_alarm(self._end)
        self._then: Callable[[], None] | None = None  # what the phase under way ends in
        self.held = False
        self._clocks_left: int | None = None  # that free SDA again
        self._address = 0
        self._register: int | None = None
        self._written = bytearray()
        self._answer: list[int] = []
        self._scl.on_edge.append(self._clocked)
        self._block.on_start = lambda again: self._phase(1, self._block.complete_start)
        self._block.on_connect = self._connect
        self._block.on_write_byte = self._write
        self._block.on_read_byte = self._read
        self._block.on_stop = self._stop
        self._block.on_disable = self._abandon

    def hold(self, clocks: int | None = None) -> None:
        """Hold SDA low, until `release` or until the program has pulsed SCL this many times."""
        self.held, self._clocks_left = True, clocks
        self._sda.drive(False)

    def release(self) -> None:
        """Let go of SDA; a transfer that waited goes on."""
        self.held, self._clocks_left = False, None
        self._sda.drive(None)
        if self._then:
            self._phase(1, self._then)

    def _clocked(self, t_ns: float, level: bool) -> None:
        if level and self._clocks_left is not None:
            self._clocks_left -= 1
            if self._clocks_left <= 0:
                self.release()

    def _phase(self, bits: int, then: Callable[[], None]) -> None:
        self._then = then
        bit_cycles = self._block.scl_high_period + self._block.scl_low_period
        self._alarm.schedule(bits * bit_cycles * _CYCLE_NS)

    def _end(self) -> None:
        if self.held or self._then is None:
            return
        then, self._then = self._then, None
        then()

    def _abandon(self) -> None:
        self._alarm.cancel()
        self._then = None
        self._written.clear()

    def _connect(self, address: int, mode: I2CMode) -> None:
        self._deliver()
        self._address = address
        acknowledged = True
        try:
            self.chips.probe(address)
            if mode == I2CMode.READ:
                self._answer = self._fetch(address)
            else:
                self._register = None
        except OSError as error:
            if error.args[0] == errno.ETIMEDOUT:
                return  # held: nothing ends it but the program's own time-out
            acknowledged = False
        self._phase(_BYTE_BITS, lambda: self._block.complete_connect(acknowledged))

    def _fetch(self, address: int) -> list[int]:
        answer = [*self.chips.read(address, self._register or 0, self.chips.longest)]
        if self.cut_after is not None:
            del answer[self.cut_after :]
            self.cut_after = None
            self.on_cut()
        return answer

    def _write(self, value: int) -> None:
        if self._register is None:
            self._register = value
        else:
            self._written.append(value)
        self._phase(_BYTE_BITS, lambda: self._block.complete_write(True))

    def _read(self, acknowledge: bool) -> None:
        if self.stretch_after is not None:
            self.stretch_after -= 1
            if self.stretch_after < 0:
                self.stretch_after = None
                return
        value = self._answer.pop(0) if self._answer else 0xFF
        self._phase(_BYTE_BITS, lambda: self._block.complete_read(value))

    def _stop(self) -> None:
        self._deliver()
        self._phase(1, self._block.complete_stop)

    def _deliver(self) -> None:
        """Hand on what was written, at the stop or restart that ends it."""
        if self._written and self._register is not None:
            data = bytes(self._written)
            self._written.clear()
            # Too late to be told: a chip that refuses a byte shows it in what it answers next.
            with contextlib.suppress(OSError):
                self.chips.write(self._address, self._register, data)
