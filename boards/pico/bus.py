"""I2C that comes back: after an error the bus is freed in bounded time, or stays an error."""

from time import sleep_us

from machine import I2C, Pin

TIMEOUT_US = 3000  # of one transfer; machine.I2C would wait 50 ms
FREQ_HZ = 400_000
_HALF_US = 5


class Bus:
    """The part of machine.I2C that drivers use; raises OSError as it does."""

    def __init__(self, number, sda_pin, scl_pin):
        self.number = number
        self.sda = Pin(sda_pin, Pin.IN, Pin.PULL_UP)
        self.scl = Pin(scl_pin, Pin.IN, Pin.PULL_UP)
        # A chip that the last reset cut off in mid-byte still holds SDA.
        self._recover()

    def idle(self):
        """Return whether both lines are high, as between two transfers."""
        return self.sda.value() and self.scl.value()

    def _make(self):
        return I2C(self.number, sda=self.sda, scl=self.scl, freq=FREQ_HZ, timeout=TIMEOUT_US)

    def readfrom_mem_into(self, address, register, buffer):
        """Fill the buffer from a register."""
        try:
            self.i2c.readfrom_mem_into(address, register, buffer)
        except OSError as error:
            self._recover()
            raise error

    def writeto(self, address, buffer):
        """Write the buffer: a register and its value."""
        try:
            self.i2c.writeto(address, buffer)
        except OSError as error:
            self._recover()
            raise error

    def _recover(self):
        # A chip that was cut off in mid-byte holds SDA until it has seen its clocks: nine of them
        # and a stop, UM10204 section 3.1.16. Then the peripheral starts afresh. Whether that
        # helped shows in the next tick: one try a tick, about 0.2 ms.
        scl = self.scl
        sda = self.sda
        if not sda.value():
            scl.init(Pin.OPEN_DRAIN, value=1)
            for _ in range(9):
                scl.value(0)
                sleep_us(_HALF_US)
                scl.value(1)
                sleep_us(_HALF_US)
            sda.init(Pin.OPEN_DRAIN, value=0)
            sleep_us(_HALF_US)
            sda.value(1)
        self.i2c = self._make()
