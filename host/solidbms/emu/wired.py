"""A Pico on a bench: its pins tied to a world, as boards/pico/wiring.svg draws it."""

from __future__ import annotations

import errno

from solidbms.emu.gates import DECAY_NS, Pump
from solidbms.emu.i2c import Bus
from solidbms.emu.pico import Pico
from solidbms.world import World

SDA, SCL, ALERT, CHARGE, DISCHARGE = 4, 5, 6, 14, 15
STEP_MS = 5  # of the world
LAG_MS = 10  # from the readings of a tick to its gates, pumps and all: half the quickest tick
_MS = 1e6  # in ns


class Wired:
    """Chip model on I2C0, thermistors on the ADC where the front end does not read them itself,
    alert pin, and both gates, which the world hears of.

    The world stands still until `start`, at `began_ns`. It learns of a gate up to STEP_MS late,
    with the time at which it happened.
    """

    def __init__(self, pico: Pico, world: World) -> None:
        self.pico = pico
        self.world = world
        world.lag_ms = LAG_MS
        pads = pico.chip.pads
        self.bus = Bus(pico, 0, SCL, SDA, _Chips(world))
        self.charge, self.discharge = Pump(pads[CHARGE]), Pump(pads[DISCHARGE])
        self.alert = pads[ALERT]
        self.began_ns = 0.0
        self._gates = 0
        self._held = False
        self._show()

    def start(self) -> None:
        """Let the world's time run from here."""
        self.began_ns = self.pico.now_ns
        self.pico.every(STEP_MS * _MS, self._step)

    def _step(self) -> None:
        self.pico.chip.settle_pio()
        self._report(self.charge, 1)
        self._report(self.discharge, 2)
        self.world.advance(STEP_MS)
        self._show()

    def _report(self, pump: Pump, bit: int) -> None:
        """Tell the world of a gate that has moved since the last step."""
        now_ns = self.pico.now_ns
        closed = pump.closed(now_ns)
        if closed == bool(self._gates & bit):
            return
        self._gates ^= bit
        burst = pump.bursts[-1]
        t_ns = burst.first_ns if closed else burst.last_ns + DECAY_NS
        self.world.drive(self._gates, max(0, round((t_ns - self.began_ns) / _MS)))

    def _show(self) -> None:
        """Put onto the pins what the world shows now."""
        self.alert.drive(False if self.world.circuit.alert else None)
        for k in range(self.world.thermistors):
            self.pico.chip.adc.channel_values[k] = self.world.adc(k) >> 4
        held = _Chips(self.world).held()
        if held != self._held:  # the bus may be held by others than the world, too
            self._held = held
            (self.bus.hold if held else self.bus.release)()


class _Chips:
    """The world as what hangs on the bus."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.probe = world.probe
        self.longest = world.circuit.LONGEST
        self.read = world.read
        self.write = world.write

    def held(self) -> bool:
        """Return whether somebody holds the wires."""
        try:
            self.probe(self.world.circuit.address)
        except OSError as error:
            return error.args[0] == errno.ETIMEDOUT
        return False
