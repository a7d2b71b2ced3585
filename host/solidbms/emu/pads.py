"""The pins as wires: what the chip drives, what the board drives, what both read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rp2040py.gpio_pin import GPIOPinState

if TYPE_CHECKING:
    from solidbms.emu.chip import Chip

_DRIVEN = (GPIOPinState.LOW, GPIOPinState.HIGH)


class Pad:
    """One GPIO. A low from either side wins, as on an open-drain bus; else its pull decides.

    rp2040py reads a pin back as what the outside drives; silicon reads the pad, own output
    included. Without that `mov(pins, invert(pins))` never toggles.

    on_edge: hears (t_ns, level) at each change. on_repeat: hears (t_ns, period_ns, count) of
    `count` more changes in steps of period_ns, the last at t_ns: a PIO that goes on alike is not
    followed edge by edge.
    """

    def __init__(self, chip: Chip, index: int) -> None:
        self.chip = chip
        self.pin = chip.gpio[index]
        self.index = index
        self.level = False
        self.on_edge: list[Callable[[float, bool], None]] = []
        self.on_repeat: list[Callable[[float, float, int], None]] = []
        self._outside: bool | None = None
        self.pin.add_listener(lambda state, old: self.settle())
        self.settle()

    @property
    def driven(self) -> bool:
        """Whether the chip drives the pin."""
        return self.pin.value in _DRIVEN

    def drive(self, level: bool | None) -> None:
        """Drive the pin from outside from now on; None lets go of it."""
        self._outside = level
        self.settle()

    def settle(self) -> None:
        """Work out the level anew."""
        state = self.pin.value
        if state in _DRIVEN:
            level = state == GPIOPinState.HIGH and self._outside is not False
        elif self._outside is not None:
            level = self._outside
        else:
            level = state == GPIOPinState.INPUT_PULL_UP
        changed = level != self.level
        if changed:
            self.chip.pin_changes()
            self.level = level
        if changed or not self.pin._driven:
            self.pin.set_input_value(level)
        if changed:
            t_ns = self.chip.edge_ns
            for hear in self.on_edge:
                hear(t_ns, level)
