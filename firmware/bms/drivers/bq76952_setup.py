"""BQ76952: from a chip of which nothing is known to one configured as the pack wants, in steps.

One step a tick, each short; a chip that already is as it should be is only read. Writing takes
CONFIG_UPDATE (TRM SLUUBY2B, its chapter on operational modes), which turns the FETs off, and
FET_ENABLE lets the chip close them: neither happens while the firmware holds a gate closed.
"""

from bms.compat import const
from bms.drivers.bq76952_link import Block

_BATTERY_STATUS = const(0x12)
_BUFFER = const(0x40)
_ALARM_STATUS = const(0x62)
_ALARM_ENABLE = const(0x66)
_DEVICE_NUMBER = const(0x0001)
_FET_ENABLE = const(0x0022)
_MANUFACTURING_STATUS = const(0x0057)
_SET_CFGUPDATE = const(0x0090)
_EXIT_CFGUPDATE = const(0x0092)
_SWAP_COMM_MODE = const(0x29BC)

_BQ76952 = const(0x7695)
_FET_EN = const(0x10)
CFGUPDATE = const(0x01)  # Battery Status: the data memory may be written
POR = const(0x08)  # reset since CONFIG_UPDATE was last left
# Alarm Status: SSBC, SSA, PF, FULLSCAN, ADSCAN are latched, see the driver.
ALARMS = const(0xE082)

_STEP_BYTES = const(170)  # of data memory a tick: 5 to 9 ms on the bus

_PROBE = const(0)
_VERIFY = const(1)
_ENTER = const(2)
_WRITE = const(3)
_EXIT = const(4)
_LEFT = const(5)
_MODE = const(6)
_FETS = const(7)


class Setup:
    """Identity, configuration and its look-ups. `memory` is the pack's `chip_memory`.

    It is a row of runs: address, count, and that many bytes of the chip's data memory.
    """

    def __init__(self, link, pack):
        self.link = link
        self.memory = pack.chip_memory
        self.crc = pack.chip_crc
        self.state = _PROBE
        self.at = 0  # the run that is next
        self.status = Block(link.address, _BATTERY_STATUS, 2)
        self._run = bytearray(34)
        self._answers = {2: Block(link.address, _BUFFER, 2)}
        link.prepare(2)
        at = 0
        while at < len(self.memory):
            count = self.memory[at + 1]
            link.prepare(2 + count)
            if count not in self._answers:
                self._answers[count] = Block(link.address, _BUFFER, count)
            at += 2 + count

    def value(self, address, default):
        """Return the byte that the pack has at an address of the data memory."""
        memory = self.memory
        at = 0
        while at < len(memory):
            if memory[at] <= address < memory[at] + memory[at + 1]:
                return memory[at + 2 + address - memory[at]]
            at += 2 + memory[at + 1]
        return default

    def begin(self):
        """Start over: nothing is known of the chip any more."""
        self.state = _PROBE
        self.at = 0

    def step(self, closed):
        """Do one tick's part; return whether the chip is ready. OSError as the bus reports it."""
        # In their order; what needs no time of the chip follows in the same tick.
        if self.state == _WRITE:
            self._write()
        elif self.state == _EXIT:
            self.link.ask(_EXIT_CFGUPDATE)
            self.state = _LEFT
        else:
            if self.state == _LEFT:
                self._left()
            if self.state == _VERIFY:
                self._verify()
            elif self.state == _MODE:
                self._mode()
            elif self.state == _FETS and self._fets(closed):
                return True
        if self.state == _PROBE:
            self._probe()
        if self.state == _ENTER and not closed:
            self.link.ask(_SET_CFGUPDATE)
            self.state = _WRITE
            self.at = 0
        return False

    def _probe(self):
        # Identity first: a chip that is not this one must not be configured.
        link = self.link
        link.probe(self.status)
        status = link.word(self.status, 0)
        if self._answer(_DEVICE_NUMBER) == _BQ76952:
            self.state = _ENTER if status & (CFGUPDATE | POR) else _VERIFY
            self.at = 0

    def _answer(self, number):
        self.link.ask(number)
        self.link.wait(number)
        self.link.read(self._answers[2])
        return self.link.word(self._answers[2], 0)

    def _verify(self):
        left = _STEP_BYTES
        while self.at < len(self.memory) and left > 0:
            left -= 12 + self.memory[self.at + 1]
            self.look()
            if not self.same():
                self.state = _ENTER
                return
        if self.at >= len(self.memory):
            self.state = _MODE

    def look(self):
        """Ask for the next run of the data memory."""
        if self.at >= len(self.memory):
            self.at = 0
        self.link.ask(self.memory[self.at])

    def answered(self):
        """Return whether the answer to `look` is there."""
        return self.link.answered(self.memory[self.at])

    def same(self):
        """Return whether the run asked for reads as the pack has it, and move on to the next."""
        memory = self.memory
        at = self.at
        count = memory[at + 1]
        block = self._answers[count]
        self.link.wait(memory[at])
        self.link.read(block)
        shift = self.link.shift
        self.at = at + 2 + count
        wrong = 0
        for k in range(count):
            wrong |= block.b[k << shift] ^ memory[at + 2 + k]
        return not wrong

    def _write(self):
        link = self.link
        memory = self.memory
        link.read(self.status)
        if not link.word(self.status, 0) & CFGUPDATE:
            self.state = _ENTER
            return
        left = _STEP_BYTES
        run = self._run
        while self.at < len(memory) and left > 0:
            at = self.at
            count = memory[at + 1]
            left -= 8 + count
            run[0] = memory[at] & 0xFF
            run[1] = memory[at] >> 8
            for k in range(count):
                run[k + 2] = memory[at + 2 + k]
            link.send(run, 2 + count)
            self.at = at + 2 + count
        if self.at >= len(memory):
            self.state = _EXIT

    def _left(self):
        link = self.link
        link.probe(self.status)
        self.state = _EXIT if link.word(self.status, 0) & CFGUPDATE else _VERIFY
        self.at = 0

    def _mode(self):
        # Comm Type is written; some chips change over with it, all with this command.
        link = self.link
        link.probe(self.status)
        if link.word(self.status, 0) & POR:
            self.state = _PROBE
        elif link.shift == self.crc:
            self.state = _FETS
        else:
            link.ask(_SWAP_COMM_MODE)

    def _fets(self, closed):
        # FET_ENABLE toggles: only where it is off, and looked at again before it counts. A chip
        # that was reset meanwhile must not get it: its pins hold nothing off.
        enabled = self._answer(_MANUFACTURING_STATUS) & _FET_EN
        self.link.read(self.status)
        if self.link.word(self.status, 0) & POR:
            self.state = _PROBE
            return False
        if not enabled:
            if not closed:
                self.link.ask(_FET_ENABLE)
            return False
        self.link.put_word(_ALARM_ENABLE, ALARMS)
        # Scans latched before may be of another configuration: only new ones count.
        self.link.put_word(_ALARM_STATUS, ALARMS)
        return True
