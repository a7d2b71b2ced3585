"""What rp2040py 0.3.6 does otherwise than the silicon, mended at run time, each with why.

Its PIO and pins are mended in `pio` and `pads`, its USB host in `usb`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rp2040py.peripherals import i2c as i2c_registers
from rp2040py.peripherals import ssi as ssi_registers
from rp2040py.peripherals import uart as uart_registers

if TYPE_CHECKING:
    from solidbms.emu.chip import Chip

_SCR = 0xD10  # M0+ system control register, in the PPB
_SLEEPDEEP = 4
_SLEEP_EN0, _SLEEP_EN1 = 0xA8, 0xAC  # clocks left on in deep sleep
_PIO_CLOCKS = (1 << 12, 1 << 13)  # of SLEEP_EN0
_LOOK_NS = 1000.0  # how often the core is looked at between SLEEPDEEP and its WFI


def apply(chip: Chip) -> None:
    """Mend a chip; once."""
    for uart in chip.uart:
        _uart(uart)
    for bus in chip.i2c:
        _i2c(bus)
    _flash(chip)
    _watchdog(chip)
    DeepSleep(chip)


def _before(target: Any, name: str, hook: Callable[[int, int], bool | None]) -> None:
    """Call hook(offset, value) before each register write; True swallows the write."""
    write = getattr(target, name)

    def hooked(offset: int, value: int) -> None:
        if not hook(offset, value):
            write(offset, value)

    setattr(target, name, hooked)


def _uart(uart: Any) -> None:
    """TX interrupt: raised anew at every look, MicroPython's handler never left it.

    Now a byte raises it once, when it would be out.
    """

    def check() -> None:
        uart.rp2040.set_interrupt(uart.irq, bool(uart._interrupt_status & uart._interrupt_mask))

    def sent() -> None:
        uart._interrupt_status |= uart_registers.UARTTXINTR
        check()

    alarm = uart.rp2040.clock.create_alarm(sent)

    def hook(offset: int, value: int) -> None:
        if offset == uart_registers.UARTDR:
            alarm.schedule(10e9 / max(uart.baud_rate, 1))

    uart.check_interrupts = check
    _before(uart, "write_uint32", hook)


def _i2c(bus: Any) -> None:
    """Abort and disable.

    An abort flushes the FIFO, which leaves it empty: without that flag the SDK waits for it and a
    NACK reads as a time-out. Disabling ends the transfer under way: without that, one that timed
    out blocked the bus for good.
    """
    abort = bus._abort
    bus.on_disable = lambda: None

    def aborted(reason: int) -> None:
        abort(reason)
        bus._set_interrupts(i2c_registers.R_TX_EMPTY)

    def hook(offset: int, value: int) -> None:
        if offset == i2c_registers.IC_ENABLE and not value & i2c_registers.ENABLE:
            bus._state = i2c_registers.I2CState.IDLE
            bus._busy = bus._stop = bus._pending_restart = False
            bus.on_disable()

    bus._abort = aborted
    _before(bus, "write_uint32", hook)


def _flash(chip: Chip) -> None:
    """Erase and program take no time there. Here the core stands still for it, as it does when it
    waits for the chip with interrupts off; pins, timers and PIO go on."""
    ssi: Any = chip.ssi
    done = ssi._apply_command

    def apply_command() -> None:
        command, enabled = bytes(ssi._tx_buffer[:1]), ssi._write_enabled
        done()
        if command and enabled:
            chip.stall(chip.flash_ns.get(command[0], 0))

    ssi._apply_command = apply_command
    chip.flash_ns = {
        ssi_registers.CMD_SECTOR_ERASE: 45e6,  # W25Q16JV, table 9.6: typical; most is 400 ms
        ssi_registers.CMD_BLOCK_ERASE: 150e6,
        ssi_registers.CMD_PAGE_PROGRAM: 0.4e6,
    }


def _watchdog(chip: Chip) -> None:
    """A time-out resets from inside the clock there, under a running instruction's feet; here
    `chip.reset_wanted` says so and the machine does it. A reset stops the counter."""
    watchdog: Any = chip.watchdog

    def trigger() -> None:
        watchdog.timer.enable = watchdog.alarm.enable = watchdog._enable = False
        chip.want_reset()

    watchdog.on_watchdog_trigger = trigger


class DeepSleep:
    """WFI with SLEEPDEEP stops the clocks that SLEEP_EN does not list; rp2040py has neither."""

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        self.deep = False
        self.enabled = [0xFFFFFFFF, 0x7FFF]
        self.alarm = chip.clock.create_alarm(self._look)
        _before(chip.ppb, "write_uint32", self._ppb)
        _before(chip.clocks, "write_uint32", self._clocks)
        self._read(chip.ppb, {_SCR: lambda: _SLEEPDEEP * self.deep})
        self._read(
            chip.clocks, {_SLEEP_EN0: lambda: self.enabled[0], _SLEEP_EN1: lambda: self.enabled[1]}
        )

    def _read(self, target: Any, mine: dict[int, Callable[[], int]]) -> None:
        read = target.read_uint32
        target.read_uint32 = lambda offset: mine[offset]() if offset in mine else read(offset)

    def _ppb(self, offset: int, value: int) -> bool:
        if offset != _SCR:
            return False
        self.deep = bool(value & _SLEEPDEEP)
        self._changed()
        return True

    def _clocks(self, offset: int, value: int) -> bool:
        if offset not in (_SLEEP_EN0, _SLEEP_EN1):
            return False
        self.enabled[offset == _SLEEP_EN1] = value
        self._changed()
        return True

    def _gated(self) -> list[bool]:
        return [self.deep and not self.enabled[0] & bit for bit in _PIO_CLOCKS]

    def _changed(self) -> None:
        for block, gated in zip(self.chip.pio, self._gated(), strict=True):
            if not gated:
                block.sleep(False)
        if any(self._gated()):
            self.alarm.schedule(_LOOK_NS)
        else:
            self.alarm.cancel()

    def _look(self) -> None:
        if not self.chip.core.waiting:
            self.alarm.schedule(_LOOK_NS)
            return
        for block, gated in zip(self.chip.pio, self._gated(), strict=True):
            if gated:
                block.sleep(True)
