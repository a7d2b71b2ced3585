"""BQ76952 on its bus: registers in blocks and subcommands, with or without a CRC on every byte.

Source: TI's technical reference manual SLUUBY2B ("TRM"), 3.1 and its chapter on I2C. With the CRC
on, each byte is followed by its check byte; the first of a transaction covers the addresses too
(examples in SLUAA11B). A chip that was reset speaks without.
"""

from bms.compat import const

SUBCOMMAND = const(0x3E)  # its number; its data follow in BUFFER
_BUFFER = const(0x40)
_CHECKSUM = const(0x60)
_POLLS = const(12)  # looks at an answer that is not there yet, 0.2 ms each at 400 kHz

EIO = const(5)
# Made once: raising it allocates nothing. What came over the bus fails its CRC.
BAD_CRC = OSError(EIO)
NO_ANSWER = OSError(EIO)


def _table():
    # Polynomial x^8 + x^2 + x + 1, start value 0.
    table = bytearray(256)
    for k in range(256):
        x = k
        for _ in range(8):
            x = x << 1 ^ 0x107 if x & 0x80 else x << 1
        table[k] = x
    return bytes(table)


CRC8 = _table()


class Block:
    """`count` registers from `register` on, read at once; `b[k << link.shift]` is the k-th."""

    def __init__(self, address, register, count):
        self.register = register
        self.b = bytearray(2 * count)
        self.plain = memoryview(self.b)[:count]
        seed = CRC8[address << 1]
        seed = CRC8[seed ^ register]
        self.seed = CRC8[seed ^ (address << 1 | 1)]


class Link:
    """One chip on a bus. `shift` is 1 with CRC and 0 without, as found by `probe`."""

    def __init__(self, i2c, address):
        """i2c: as machine.I2C, `readfrom_mem_into` and `writeto`."""
        self.i2c = i2c
        self.address = address
        self.shift = 1
        self._echo = Block(address, SUBCOMMAND, 2)
        # Register, then up to 34 bytes and their check bytes: one buffer for each length in use.
        self._out = {}

    def prepare(self, count):
        """Make the buffers for `put` of so many bytes."""
        if count not in self._out:
            self._out[count] = (bytearray(1 + count), bytearray(1 + 2 * count))

    def read(self, block):
        """Fill a block; OSError where the bus fails or a CRC does."""
        if not self._take(block):
            raise BAD_CRC

    def _take(self, block):
        b = block.b
        if not self.shift:
            self.i2c.readfrom_mem_into(self.address, block.register, block.plain)
            return True
        self.i2c.readfrom_mem_into(self.address, block.register, b)
        crc8 = CRC8
        wrong = b[1] ^ crc8[block.seed ^ b[0]]
        first = 2
        if not len(b) & 2:
            wrong |= b[3] ^ crc8[b[2]]
            first = 4
        for k in range(first, len(b), 4):  # two bytes a round: most of a tick's work is here
            wrong |= b[k + 1] ^ crc8[b[k]] | b[k + 3] ^ crc8[b[k + 2]]
        return not wrong

    def word(self, block, at):
        """Return the 16-bit number that starts at the at-th byte of a block."""
        b = block.b
        shift = self.shift
        return b[at << shift] | b[at + 1 << shift] << 8

    def probe(self, block):
        """Find out whether the chip speaks with CRC: whichever way a block comes over sound."""
        self.shift = 1
        if not self._take(block):
            self.shift = 0
            self._take(block)

    def put(self, register, data, count):
        """Write the first bytes of `data`."""
        buffer = self._out[count][self.shift]
        buffer[0] = register
        if not self.shift:
            for k in range(count):
                buffer[k + 1] = data[k]
        else:
            crc8 = CRC8
            seed = crc8[crc8[self.address << 1] ^ register]
            for k in range(count):
                buffer[2 * k + 1] = data[k]
                buffer[2 * k + 2] = crc8[seed ^ data[k]]
                seed = 0
        self.i2c.writeto(self.address, buffer)

    def put_word(self, register, value):
        """Write a 16-bit number, low byte first."""
        plain, coded = self._out[2]
        if not self.shift:
            plain[0] = register
            plain[1] = value & 0xFF
            plain[2] = value >> 8
            self.i2c.writeto(self.address, plain)
            return
        crc8 = CRC8
        coded[0] = register
        coded[1] = value & 0xFF
        coded[2] = crc8[crc8[crc8[self.address << 1] ^ register] ^ coded[1]]
        coded[3] = value >> 8
        coded[4] = crc8[coded[3]]
        self.i2c.writeto(self.address, coded)

    def ask(self, number):
        """Issue a subcommand, or a look at the data memory from `number` on."""
        self.put_word(SUBCOMMAND, number)

    def answered(self, number):
        """Return whether the buffer holds the answer to this subcommand."""
        self.read(self._echo)
        return self.word(self._echo, 0) == number

    def wait(self, number):
        """Look until the answer is there; OSError where it does not come.

        The chip shows a subcommand's number again once it has filled the buffer (TRM 3.1).
        """
        for _ in range(_POLLS):
            if self.answered(number):
                return
        raise NO_ANSWER

    def send(self, data, count):
        """Write `count` bytes from SUBCOMMAND on (number, then data), and have the chip take them.

        The check byte is the inverted sum of all; the length counts itself and the check byte too.
        """
        total = 0
        for k in range(count):
            total += data[k]
        self.put(SUBCOMMAND, data, count)
        self.put_word(_CHECKSUM, ~total & 0xFF | count + 2 << 8)
