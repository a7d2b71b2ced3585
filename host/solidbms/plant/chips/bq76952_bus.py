"""The bus of a BQ76952: registers, CRC, and the transfer buffer behind its subcommands.

TRM SLUUBY2B 3.1 and its chapter on I2C. Between two `tick`s only the transactions themselves take
time, 22.5 us a byte; that is what a subcommand has to be processed in.
"""

from solidbms.plant.chips import bq76952_map as m

EIO = 5
BYTE_US = 22.5  # nine clocks at 400 kHz
QUICK_US = 450
# Time until an answer shows (data sheet SLUSE13B, table of subcommands); typical, rounded.
PROCESS_US = {
    m.SET_CFGUPDATE: 2000,
    m.EXIT_CFGUPDATE: 1000,
    m.DASTATUS5: 660,
    m.DASTATUS6: 660,
    m.CB_ACTIVE_CELLS: 560,
    m.DEVICE_NUMBER: 400,
}
_BUSY = b"\xff\xff"  # what 0x3E reads until then


class Bus:
    """Registers 0x00 to 0x7F in `ram`; whoever inherits fills them and knows the commands.

    mute: the chip does not acknowledge. off: neither, as it is shut down.
    """

    def __init__(self, address: int) -> None:
        self.address = address
        # CRC of what precedes the first data byte, by register: of a read, of a write.
        w, r = address << 1, address << 1 | 1
        self._read_seeds = [m.crc8(bytes((w, register, r))) for register in range(256)]
        self._write_seeds = [m.crc8(bytes((w, register))) for register in range(256)]
        self.ram = bytearray(128)
        self.mute = False
        self._now_us = 0
        self.start(False)

    def start(self, crc: bool) -> None:
        """As after a reset of the chip."""
        self.ram[:] = bytes(len(self.ram))
        self.crc_on = crc
        self.off = False
        self._bus_us = 0.0
        self._ready_us = 0.0
        self._number = 0
        self._pending = False
        self._heard_us = self._now_us

    def tick(self, now_us: int) -> None:
        """Let time pass: what was under way is done."""
        self._now_us = now_us
        self._bus_us = 0.0
        if self._pending:
            self._settle()

    def _hear(self, count: int) -> None:
        if self.mute or self.off:
            raise OSError(EIO)
        self._bus_us += (count + 2) * BYTE_US
        self._heard_us = self._now_us
        if self._pending and self._now_us + self._bus_us >= self._ready_us:
            self._settle()

    def read(self, register: int, length: int) -> bytes:
        """Return what comes over the bus; with the CRC on every other byte is a check byte.

        Raises OSError where the chip does not acknowledge.
        """
        self._hear(length + 1)
        ram = self.ram
        if not self.crc_on:
            return bytes(ram[register : register + length]).ljust(length, b"\0")
        count = length + 1 >> 1
        data = ram[register : register + count]
        if len(data) < count:
            data = data.ljust(count, b"\0")
        out = bytearray(2 * count)
        out[0::2] = data
        out[1::2] = data.translate(m.CRC8)
        out[1] = m.CRC8[self._read_seeds[register] ^ data[0]]
        return bytes(out) if length == 2 * count else bytes(out[:length])

    def write(self, register: int, data: bytes) -> None:
        """Take bytes from the bus, with their check bytes where the CRC is on.

        A byte whose CRC is wrong is not acknowledged and not taken, those before it are. Raises
        OSError then, and where the chip does not acknowledge at all.
        """
        self._hear(len(data))
        if not self.crc_on:
            self._take(register, data)
            return
        seed = self._write_seeds[register]
        plain = bytearray()
        sound = True
        for k in range(0, len(data) - 1, 2):
            if data[k + 1] != m.CRC8[seed ^ data[k]]:
                sound = False
                break
            plain.append(data[k])
            seed = 0
        self._take(register, bytes(plain))
        if not sound:
            raise OSError(EIO)

    def _take(self, register: int, data: bytes) -> None:
        end = register + len(data)
        if register == m.ALARM_STATUS and len(data) == 2:
            self.alarms(int.from_bytes(data, "little"))
        elif register == m.ALARM_ENABLE and len(data) == 2:
            self.enable_alarms(int.from_bytes(data, "little"))
        elif register >= m.SUBCOMMAND and end <= m.LENGTH + 1:
            number = self.ram[m.SUBCOMMAND : m.SUBCOMMAND + 2]
            if self._pending:
                number[:] = self._number.to_bytes(2, "little")
            for at, byte in zip(range(register, end), data, strict=True):
                if at >= m.BUFFER:
                    self.ram[at] = byte
                else:
                    number[at - m.SUBCOMMAND] = byte
            if register <= m.SUBCOMMAND + 1 < end:
                self._begin(int.from_bytes(number, "little"), end > m.BUFFER)
            elif register < m.BUFFER:
                self.ram[m.SUBCOMMAND : m.SUBCOMMAND + 2] = number
            elif register == m.CHECKSUM and len(data) == 2:
                self._transfer()
            elif self._pending and m.FIRST <= self._number <= m.LAST:
                self._pending = False  # the host writes: its data stay in the buffer
                self.ram[m.SUBCOMMAND : m.SUBCOMMAND + 2] = number

    def _begin(self, number: int, writes: bool) -> None:
        """Begin a subcommand; its number reads back once it is done."""
        if self._pending:
            self._settle()
        self._number = number
        self._pending = not writes
        if writes:
            self.ram[m.SUBCOMMAND : m.SUBCOMMAND + 2] = number.to_bytes(2, "little")
            return
        self.ram[m.SUBCOMMAND : m.SUBCOMMAND + 2] = _BUSY
        self._ready_us = self._now_us + self._bus_us + PROCESS_US.get(number, QUICK_US)

    def _settle(self) -> None:
        """Finish the subcommand that is under way."""
        number, self._pending = self._number, False
        if m.FIRST <= number <= m.LAST:
            answer = bytes(self.memory[number - m.FIRST : number - m.FIRST + 32])
        else:
            answer = self.execute(number)
        ram = self.ram
        ram[m.SUBCOMMAND : m.SUBCOMMAND + 2] = number.to_bytes(2, "little")
        if answer is not None:
            ram[m.BUFFER : m.BUFFER + 32] = answer.ljust(32, b"\0")
            ram[m.CHECKSUM] = m.checksum(number.to_bytes(2, "little") + answer)
            ram[m.LENGTH] = len(answer) + 4

    def _transfer(self) -> None:
        """Check byte and length were written: take the buffer if they fit it."""
        ram = self.ram
        count = ram[m.LENGTH] - 4
        data = bytes(ram[m.BUFFER : m.BUFFER + max(count, 0)])
        number = self._number.to_bytes(2, "little")
        self._pending = False
        ram[m.SUBCOMMAND : m.SUBCOMMAND + 2] = number
        if 0 < count <= 32 and m.checksum(number + data) == ram[m.CHECKSUM]:
            self.transfer(self._number, data)

    # What the chip makes of it.

    memory: bytearray

    def execute(self, number: int) -> bytes | None:
        """Carry out a subcommand; return what it answers, None for nothing."""
        raise NotImplementedError

    def transfer(self, number: int, data: bytes) -> None:
        """Take data that came with a sound check byte."""
        raise NotImplementedError

    def alarms(self, clear: int) -> None:
        """Clear latched alarms."""
        raise NotImplementedError

    def enable_alarms(self, mask: int) -> None:
        """Take a new mask of what is latched."""
        raise NotImplementedError
