"""A board whose pins end in a simulation: requests go out on stdout, answers come in on stdin.

The other end answers at register level (`solidbms.targets.wire`, where the protocol stands).
Every buffer was made once, by the caller if not here: the bus works with the heap locked.
"""

import sys

from bms.core import frame as F
from bms.drivers.front import drivers
from bms.links.record import Record

_OK = 0
_EIO = 5
_ETIMEDOUT = 110
_NACK = OSError(_EIO)
_STUCK = OSError(_ETIMEDOUT)


class Wire:
    """Requests of 12 bytes and answers of 9 over stdin and stdout."""

    def __init__(self):
        self.out = sys.stdout.buffer
        self.into = sys.stdin.buffer
        self.request = bytearray(12)
        self.answer = bytearray(9)
        self.status = bytearray(1)

    def send(self, op, a, b, n):
        """Send a request whose payload is already in place."""
        q = self.request
        q[0] = op
        q[1] = a
        q[2] = b
        q[3] = n
        self.out.write(q)

    def ask(self, op, a, b, n):
        """Send a request and wait for its answer; return the answer's first byte."""
        self.send(op, a, b, n)
        if self.into.readinto(self.answer) != 9:
            raise SystemExit
        return self.answer[0]

    def await_status(self):
        """Wait for an answer that may go on; OSError as machine.I2C raises it."""
        if self.into.readinto(self.status) != 1:
            raise SystemExit
        status = self.status[0]
        # Both made beforehand: raising them allocates nothing.
        if status == _EIO:
            raise _NACK
        if status != _OK:
            raise _STUCK

    def put_int(self, at, value):
        """Place a 31-bit integer into the payload."""
        for k in range(4):
            self.request[at + k] = value >> 8 * k & 0xFF

    def get_int(self, at):
        """Return the 32-bit integer of the answer at this place."""
        a = self.answer
        high = a[at + 3]
        high = high - 256 if high > 127 else high
        return a[at] | a[at + 1] << 8 | a[at + 2] << 16 | high << 24


class Bus:
    """The part of machine.I2C that drivers use."""

    def __init__(self, wire):
        self.wire = wire

    def readfrom_mem_into(self, address, register, buffer):
        """Fill the buffer from a register; OSError as machine.I2C raises it."""
        wire = self.wire
        wire.send(0x52, address, register, len(buffer))
        wire.await_status()
        if wire.into.readinto(buffer) != len(buffer):
            raise SystemExit

    def writeto(self, address, buffer):
        """Write the buffer: a register and what goes there."""
        wire = self.wire
        wire.send(0x57, address, 0, len(buffer))
        wire.out.write(buffer)
        wire.await_status()


class Adc:
    """The part of machine.ADC that drivers use."""

    def __init__(self, wire, channel):
        self.wire = wire
        self.channel = channel

    def read_u16(self):
        """Return the code of this channel, 0 to 65535."""
        self.wire.ask(0x41, self.channel, 0, 0)
        return self.wire.answer[1] | self.wire.answer[2] << 8


class Gates:
    """Charge and discharge gate."""

    def __init__(self, wire):
        self.wire = wire
        self.held = 0

    def dropped(self):
        """Return whether the dead-man holds open what is commanded closed."""
        return self.held

    def set(self, chg_on, dsg_on):
        """Command both gates; the command also feeds."""
        self.wire.send(0x47, chg_on, dsg_on, 0)

    def blow(self):
        """Blow the fuse."""
        self.wire.send(0x46, 0, 0, 0)


class Board:
    """See `bms.loop.Bms` for what a board offers."""

    def __init__(self, commit=None):
        self.wire = Wire()
        self.gates = Gates(self.wire)
        self.wire.ask(0x48, 0, 0, 0)
        self._now_ms = self.wire.get_int(1)

    def pack_blob(self):
        """Return the compiled pack, whose path is the first argument."""
        with open(sys.argv[1], "rb") as file:
            return file.read()

    def drivers(self, pack):
        """Return what fills the Frame."""
        return drivers(Bus(self.wire), pack, lambda k: Adc(self.wire, k))

    def ticks_ms(self):
        """Return the simulated time."""
        return self._now_ms

    def saved(self):
        """Return SoC and bound in ppm as the last boot left them, -1 for none."""
        self.wire.ask(0x56, 0, 0, 0)
        return self.wire.get_int(1), self.wire.get_int(5)

    def tested(self):
        """Return what the boot test found: nothing here can be broken."""
        return F.CODE_OK | F.PINS_OK

    def links(self, bms):
        """Return who hears of the pack: the other end of the pipe, every tick."""
        return [Record(bms.core, self._record)]

    def _record(self, parts, digest):
        self.wire.put_int(4, digest)
        self.wire.send(0x54, 0, 0, 0)
        for part in parts:
            self.wire.out.write(part)

    def failed(self, error):
        """Tell why a feature was lost."""
        sys.stderr.write("feature lost: %r\n" % error)

    def ticked(self):
        """Do nothing: nobody watches."""

    def pump(self):
        """Do nothing: the other end is asked when time passes."""

    def program(self):
        """Return None: the loop alone."""

    def stopped(self):
        """Open the gates: the process ends."""
        self.gates.set(0, 0)

    def sleep_until(self, t_ms, mailbox):
        """Let simulated time pass; return False when the simulation is over."""
        wire = self.wire
        wire.put_int(4, t_ms)
        again = wire.ask(0x53, 0, 0, 0)
        self._now_ms = wire.get_int(1)
        if wire.answer[5]:
            mailbox.put(wire.answer[5], 0, self._now_ms)
        self.gates.held = wire.answer[6]
        return again == 1
