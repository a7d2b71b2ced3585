"""Breaks the board on request: in rig builds only, `solidbms.image.build_image(rig=True)`.

A request names the fault by number and gives an argument, mostly milliseconds. Each happens in the
slack of a tick, where a program of the user's own could do the same.
"""

import time

import machine
import rp2
from bms.links.framing import TAKEN, UNKNOWN
from deadman import FEED_EDGES

FAULTS = (
    "hang",  # the processor loops for ever
    "irq_off",  # the same with interrupts off
    "exception",  # a driver raises in the next tick, before the gates
    "lightsleep",  # sleeps for so long with gates closed, as a program of the user's would
    "raw_sleep",  # the same past the guard of `deadman.Guarded`
    "erase",  # erases a sector of flash: interrupts off until it is done
    "feeds",  # feeds both closed gates five times at once, then hangs
    "soft_reset",
    "reset",
    "late",  # holds the processor for so long, once
)
_SECTOR = 4096


class Raiser:
    """A driver that raises."""

    def read(self, frame):
        """Raise before the gates are set."""
        raise RuntimeError


class Rig:
    """What `bms.links.serial.SerialLink` hands the requests to break something to."""

    def __init__(self, board):
        self.board = board

    def inject(self, code, argument):
        """Do fault number `code`; return what the link answers, where it still can."""
        if not 0 <= code < len(FAULTS):
            return UNKNOWN
        getattr(self, FAULTS[code])(argument)
        return TAKEN

    def hang(self, argument):
        while True:
            pass

    def irq_off(self, argument):
        machine.disable_irq()
        self.hang(argument)

    def exception(self, argument):
        self.board.bms.drivers.insert(0, Raiser())

    def lightsleep(self, argument):
        import machine  # the guarded one: this module was imported before it came

        machine.lightsleep(argument)

    def raw_sleep(self, argument):
        machine.lightsleep(argument)

    def erase(self, argument):
        # The last block of the file system, written back as it was: nothing is lost.
        flash = rp2.Flash()
        count = flash.ioctl(4, 0) or 0
        kept = bytearray(_SECTOR)
        flash.readblocks(count - 1, kept)
        flash.ioctl(6, count - 1)
        flash.writeblocks(count - 1, kept)

    def feeds(self, argument):
        for gate in (self.board.gates.charge, self.board.gates.discharge):
            for _ in range(5):
                gate.machine.put(FEED_EDGES)
        self.hang(argument)

    def soft_reset(self, argument):
        machine.soft_reset()

    def reset(self, argument):
        machine.reset()

    def late(self, argument):
        time.sleep_ms(argument)
