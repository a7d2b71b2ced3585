"""Raspberry Pi Pico (RP2040): the pins of `wiring.svg`, dead-man gates, link over USB serial."""

import sys
from time import sleep_ms, ticks_ms

import bus
import machine
import micropython
from bms.core import frame as F
from bms.core.fixed import ticks_diff
from bms.core.switch import BOOT, STATE
from bms.drivers.front import drivers
from bms.links.serial import Console, SerialLink
from deadman import Gates, Guarded

try:
    from rig import Rig
except ImportError:  # in rig builds only
    Rig = None

NAME = "pico"
SDA_PIN = 4
SCL_PIN = 5
ALERT_PIN = 6
CHARGE_PIN = 14
DISCHARGE_PIN = 15
LED_PIN = 25
NTC_PINS = (26, 27, 28)

WATCHDOG_MS = 2000
WATCHDOG_BOOT_MS = 8000  # until the first tick
BOOT_MS = 10000  # a slot on trial that has not passed its boot test by then is given up
_ERRORS = 4
_PUMP_MS = 10  # between two looks at the link while resting

# RP2040 data sheet: section 2.12.8, CHIP_RESET; 4.7.6, WATCHDOG CTRL, REASON and SCRATCH4, into
# which the SDK writes this word when it arms the watchdog for anything but a reset by command.
_CHIP_RESET = 0x40064008
_HAD_RUN = 1 << 16
_HAD_DEBUGGER = 1 << 20
_WATCHDOG_REASON = 0x40058008
_WATCHDOG_SCRATCH4 = 0x4005801C
_WATCHDOG_ARMED = 0x6AB73121
_WATCHDOG_CTRL_CLEAR = 0x4005B000  # CTRL's alias that clears bits, section 2.1.2
_WATCHDOG_ENABLE = 1 << 30


def _cause():
    if machine.mem32[_WATCHDOG_REASON]:
        armed = machine.mem32[_WATCHDOG_SCRATCH4] & 0xFFFFFFFF == _WATCHDOG_ARMED
        return "watchdog" if armed else "reset"
    cause = machine.mem32[_CHIP_RESET]
    if cause & _HAD_DEBUGGER:
        return "debugger"
    return "run pin" if cause & _HAD_RUN else "power on"


_CAUSE = _cause()  # now: arming the watchdog writes SCRATCH4


def reset_cause():
    """Return why the chip started: a word."""
    return _CAUSE


def _built():
    """Return the last line of the slot's manifest as words: end, version, board, pack."""
    words = ["", "?", "?", "?"]
    try:
        with open(sys.path[0] + "/manifest") as manifest:
            for line in manifest:
                words = line.split()
    except OSError:
        pass  # started by hand: nobody checked it either
    return words if len(words) == 4 else ["", "?", "?", "?"]


class Board:
    """See `bms.loop.Bms` for what a board offers."""

    ticks_ms = staticmethod(ticks_ms)

    def __init__(self, commit=None):
        """commit: from the selector, which has checked the CRC of every file; called once with
        whether the boot test passed. None: nobody checked, and no gate will close."""
        micropython.alloc_emergency_exception_buf(100)  # a bus error with the heap locked
        self.commit = commit
        self.code_ok = commit is not None
        self.began_ms = ticks_ms()
        self.built = _built()
        self.errors = []  # lost features, for who asks
        self.link = None
        self.gates_tested = self.gates_ok = self.pins_ok = False
        self.ticking = False
        # Last: what fails from here on ends in `stopped`.
        self.watchdog = machine.WDT(timeout=WATCHDOG_BOOT_MS)

    def pack_blob(self):
        """Return the compiled pack of this slot."""
        with open(sys.path[0] + "/pack.bin", "rb") as file:
            return file.read()

    def drivers(self, pack):
        """Return what fills the Frame, and make the gates: a pack says what is wired."""
        if pack.simulated:
            import demo  # takes heap that no other pack needs to spare

            self.gates = Gates(CHARGE_PIN, LED_PIN, ALERT_PIN)
            cell = demo.Cell(pack, ticks_ms, self.gates)
            self.bus = demo.Bus(pack, cell)
            adc = lambda k: demo.Adc(pack, cell)  # noqa: E731 - one line each, beside its gates
        else:
            self.gates = Gates(CHARGE_PIN, DISCHARGE_PIN, ALERT_PIN)
            self.bus = bus.Bus(0, SDA_PIN, SCL_PIN)
            # One line, beside its gates, as above.
            adc = lambda k: machine.ADC(NTC_PINS[k])  # noqa: E731
        # No module, but acts as one.
        sys.modules["machine"] = Guarded(machine, self.gates)  # type: ignore
        return drivers(self.bus, pack, adc)

    def tested(self):
        """Return what the boot test found of code, gate path (once) and pins (each time).

        A chip that still tells of a limit, or holds the bus, lets go at its first reading.
        """
        if not self.gates_tested:
            self.gates_tested = True
            self.gates_ok = self.gates.test()
            link = self.link
            while Rig and link and not link.go:  # a rig says when time begins: the first tick next
                link.pump()
                self.watchdog.feed()
                sleep_ms(1)
        self.pins_ok = self.pins_ok or bool(self.bus.idle() and self.gates.alert.value())
        flags = F.CODE_OK if self.code_ok else 0
        return flags | F.PINS_OK if self.gates_ok and self.pins_ok else flags

    def links(self, bms):
        """Return who hears of the pack: the host on USB."""
        self.bms = bms
        self.link = SerialLink(Console(), bms, self, Rig(self) if Rig else None)
        return [self.link]

    def info(self):
        """Return what the link tells of this board: (key, value), values printed."""
        def word(ok):
            return "ok" if ok else "failed"

        chip = self.bms.core.frame.v[F.FLAGS] & F.CHIP_OK
        tests = "code=%s chip=%s gates=%s pins=%s" % (
            word(self.code_ok), word(chip), word(self.gates_ok), word(self.pins_ok),
        )  # fmt: skip
        return (
            ("firmware", self.built[1]),
            ("board", NAME),
            ("pack", self.built[3]),
            ("slot", sys.path[0]),
            ("reset", reset_cause()),
            ("boot", tests),
            ("errors", "; ".join(self.errors)),
        )

    def saved(self):
        """Return SoC and bound in ppm as the last boot left them: nothing is saved yet."""
        return -1, -1

    def failed(self, error):
        """Keep why a feature was lost, the last few: printing could block."""
        self.errors = self.errors[1 - _ERRORS :] + [repr(error)]

    def ticked(self):
        """End a whole tick: feed the watchdog; settle whether this slot may stay."""
        if not self.ticking:
            self.ticking = True
            self.watchdog = machine.WDT(timeout=WATCHDOG_MS)
        self.watchdog.feed()
        if self.commit is not None:
            passed = self.bms.core.switch.v[STATE] != BOOT
            if passed or ticks_diff(ticks_ms(), self.began_ms) > BOOT_MS:
                commit = self.commit
                self.commit = None  # whatever comes of it: never again, a gate may be closed
                commit(passed)

    def sleep_until(self, t_ms, mailbox):
        """Rest; the link goes on meanwhile."""
        while True:
            busy = self.pump()
            wait_ms = ticks_diff(t_ms, ticks_ms())
            if wait_ms <= 0:
                return True
            if not busy:
                sleep_ms(min(wait_ms, _PUMP_MS))

    def pump(self):
        """Look at the link; return whether it has more to do. One that fails is left alone."""
        if self.link is not None:
            try:
                return self.link.pump()
            except Exception as error:
                self.link = None
                self.failed(error)
        return False

    def program(self):
        """Return the user's own program (`main` of app.py, given the running Bms), or None."""
        try:
            import app  # pyright: ignore[reportMissingImports] - the user's, on the board
        except ImportError as error:
            if "'app'" not in str(error):  # it is there and lacks something itself
                raise error
            return None
        return app.main

    def stopped(self):
        """Open the gates and leave the board to its console: nobody feeds the watchdog."""
        micropython.kbd_intr(-1)  # not another Ctrl-C in between
        gates = getattr(self, "gates", None)
        if gates is not None:  # it may have failed before there were any
            gates.stop()
        machine.mem32[_WATCHDOG_CTRL_CLEAR] = _WATCHDOG_ENABLE
        micropython.kbd_intr(3)
