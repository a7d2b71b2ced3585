"""A gate that stays closed only while it is fed: PIO makes the edges, a charge pump wants them.

Any DC level on the pin is off, so whatever stops the state machine opens the gate: soft reset,
sleep, a stopped clock, a reset. The processor feeds a count of edges; when it runs out, or when
the alert pin goes low, the state machine drives the pin low and stays there until armed again.

A feed replaces the count and never adds to it: the FIFO is looked at before every edge, so that
several feeds at once last one edge longer each. RP2040 data sheet, sections 3.4 and 3.5.
"""

from time import sleep_ms, ticks_diff, ticks_ms

import micropython
from machine import Pin
from rp2 import PIO, StateMachine, asm_pio

_PIO_HZ = 10_000_000
_EDGE_CYCLES = 67  # pull, mov, mov, set, 31 x 2 looks at the alert, jmp
HOLD_MS = 145  # what one feed lasts; with decay and alert the gate is off within 150 ms
FEED_EDGES = HOLD_MS * (_PIO_HZ // 1000) // _EDGE_CYCLES
_PUMP_EMPTY_MS = 5  # five time constants of bleed and hold, 15 k and 68 nF
_SET_LOW = 0xE000  # set pins, 0
_SET_HIGH = 0xE001
_PULL = 0x8080  # pull noblock


# Names of the assembler, which the decorator gives.
# ruff: noqa: F821
# pyright: reportUndefinedVariable=false, reportCallIssue=false
@asm_pio(out_init=PIO.OUT_LOW, set_init=PIO.OUT_LOW)
def edges():
    pull(block)  # armed: how many edges
    mov(x, osr)
    label("edge")
    pull(noblock)  # a feed replaces what is left; without one OSR becomes X
    mov(x, osr)
    mov(pins, invert(pins))
    set(y, 30)
    label("look")
    jmp(pin, "fine")
    jmp("dead")
    label("fine")
    jmp(y_dec, "look")
    jmp(x_dec, "edge")
    label("dead")
    set(pins, 0)
    push(noblock)  # tells the processor
    label("stay")
    jmp("stay")


class Gate:
    """One gate: `set` arms, feeds or cuts; nothing here allocates."""

    def __init__(self, machine, pin, alert):
        """machine: number of a state machine, for both gates in one block. alert: low stops."""
        self.pin = Pin(pin, Pin.OUT, value=0)
        self.alert = alert
        self.machine = StateMachine(
            machine, edges, freq=_PIO_HZ, in_base=self.pin, out_base=self.pin,
            set_base=self.pin, jmp_pin=alert,
        )  # fmt: skip
        self.on = 0

    def set(self, on):
        """Command the gate; 1 feeds, and arms when it was 0."""
        if on:
            if not self.on:
                self._arm()
            # A word that still waits has found the machine dead: no use to add to it.
            if not self.machine.tx_fifo():
                self.machine.put(FEED_EDGES)
        else:
            self.stop()
        self.on = on

    def dropped(self):
        """Return whether it is commanded closed and the state machine holds it open."""
        return self.on and (self.machine.rx_fifo() or not self.machine.active())

    def stop(self):
        """Open it at once; commanded closed or not, it stays open until armed again."""
        self.machine.active(0)
        self.machine.exec(_SET_LOW)

    def _arm(self):
        machine = self.machine
        machine.active(0)
        machine.restart()
        while machine.tx_fifo():
            machine.exec(_PULL)
        while machine.rx_fifo():
            machine.get()
        machine.active(1)

    def test(self):
        """Return whether pin and state machine do as told; only while the gate is open.

        The pin follows both ways and a count of one edge runs out: two single edges, so far apart
        that the pump is empty in between. One makes 0.4 V (boards/pico/pump.cir), below the 0.5 V
        at which the first MOSFET begins to conduct.
        """
        machine = self.machine
        machine.active(0)
        machine.exec(_SET_HIGH)
        high = self.pin.value()
        machine.exec(_SET_LOW)
        low = self.pin.value()
        sleep_ms(_PUMP_EMPTY_MS)
        self._arm()
        machine.put(0)
        sleep_ms(_PUMP_EMPTY_MS)
        ran_out = machine.rx_fifo() and not machine.tx_fifo()
        self.set(0)
        return bool(high and not low and ran_out and not self.pin.value())


class Gates:
    """Charge and discharge gate, one alert pin."""

    def __init__(self, charge_pin, discharge_pin, alert_pin):
        self.alert = Pin(alert_pin, Pin.IN, Pin.PULL_UP)
        # The second PIO block: what programs take first is the first one.
        self.charge = Gate(4, charge_pin, self.alert)
        self.discharge = Gate(5, discharge_pin, self.alert)
        self.fed_ms = ticks_ms()

    def set(self, chg_on, dsg_on):
        """Command both; whoever commands 1 feeds. Ctrl-C works only with both open."""
        closed = chg_on or dsg_on
        if closed:
            micropython.kbd_intr(-1)
        self.charge.set(chg_on)
        self.discharge.set(dsg_on)
        self.fed_ms = ticks_ms()
        if not closed:
            micropython.kbd_intr(3)

    def dropped(self):
        """Return whether hardware holds open what is commanded closed."""
        # A clock that slept comes back with edges left to make: too late is too late.
        if ticks_diff(ticks_ms(), self.fed_ms) > HOLD_MS:
            self.stop()
        return self.charge.dropped() or self.discharge.dropped()

    def stop(self):
        """Open both at once, whatever is commanded."""
        self.charge.stop()
        self.discharge.stop()

    def test(self):
        """Return whether both gates do as told."""
        return self.charge.test() and self.discharge.test()


class Guarded:
    """The module `machine` as a program beside the firmware gets it.

    Sleep stops the clock of the dead-man, and waking would let it go on where it was: the gates
    open first. Another clock would make its count last longer: refused.
    """

    def __init__(self, machine, gates):
        self._machine = machine
        self._gates = gates

    def __getattr__(self, name):
        return getattr(self._machine, name)

    def lightsleep(self, *args):
        """Open the gates, then sleep as machine.lightsleep does."""
        self._gates.stop()
        self._machine.lightsleep(*args)

    def deepsleep(self, *args):
        """Open the gates, then sleep as machine.deepsleep does."""
        self._gates.stop()
        self._machine.deepsleep(*args)

    def freq(self, *args):
        """Return the clock in Hz; ValueError for another one."""
        if args:
            raise ValueError("the dead-man counts on the clock as it is")
        return self._machine.freq()
