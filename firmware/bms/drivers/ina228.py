"""INA228: voltage, current and charge of one cell or pack. Data sheet: TI SLYS021A.

With SHUNT_CAL 4096 and ADCRANGE 0 the current code equals the shunt code, 312.5 nV a step
(section 8.1.2: SHUNT_CAL = 13107.2e6 * CURRENT_LSB * R), so 1 code is 312.5 nV / R and CHARGE
counts the same times a second.
"""

from bms.compat import const
from bms.core import frame as F
from bms.core.fixed import clamp

# Registers, section 7.6.
_CONFIG = const(0x00)
_ADC_CONFIG = const(0x01)
_SHUNT_CAL = const(0x02)
_VBUS = const(0x05)
_CURRENT = const(0x07)
_CHARGE = const(0x0A)
_DIAG_ALRT = const(0x0B)
_SOVL = const(0x0C)
_SUVL = const(0x0D)
_BOVL = const(0x0E)
_MANUFACTURER_ID = const(0x3E)
_DEVICE_ID = const(0x3F)

_TI = const(0x5449)
_INA228 = const(0x228)  # DEVICE_ID without its revision, bits 3-0
_CONFIG_VALUE = const(0x0000)  # 163.84 mV range, no delay, no temperature compensation
_ADC_CONFIG_VALUE = const(0xFFC0)  # continuous; bus and shunt 4120 us, die 50 us, no averaging
_SHUNT_CAL_VALUE = const(4096)
_ALATCH = const(0x8000)  # set here, clear after a chip reset: what tells the one from the other
_DIAG_SET = const(0xF000)  # ALATCH, CNVR, SLOWALERT, APOL: ours to write
_LIMITS = const(0x00F8)  # TMPOL, SHNTOL, SHNTUL, BUSOL, BUSUL: a limit of the chip was crossed
_CNVRF = const(0x0002)
_MEMSTAT = const(0x0001)  # 0: the trim memory fails its checksum

# Oldest part of a reading: begun a cycle (8290 us) before it showed, shown for one more.
AGE_MS = 17
SEES_LOAD = False  # it measures the cell's side only
SHUNT_FULL_UV = 163840  # range with ADCRANGE 0, table 8-1
SHUNT_STEP_PV = 312500  # one code
SHUNT_LIMIT_UV = 5  # a code of SOVL and SUVL with ADCRANGE 0, tables 7-17 and 7-18
BUS_LIMIT_UV = 3125  # a code of BOVL, table 7-19
LIMIT_MAX = 0x7FFF

_CHARGE_MASK = const(0xFFFFFFF)  # low 28 bits of CHARGE; a difference is within +-2^27
_CHARGE_HALF = const(0x8000000)
_CODES_MAX = const(500000)  # codes handed on in one Frame, times ua_num within 31 bits
_OWED_MAX = const(0x2FFFFFFF)
_CHECK_EVERY = const(8)  # ticks between two looks at the configuration


class Ina228:
    """Driver of one chip; `read` fills the Frame and never raises for a bus error."""

    def __init__(self, i2c, pack):
        """i2c: as machine.I2C, `readfrom_mem_into` and `writeto`."""
        self.i2c = i2c
        self.pack = pack
        self.cells = pack.cells
        self.ready = False  # identity seen, configuration written and read back
        self.resets = 0
        self._b2 = bytearray(2)
        self._b3 = bytearray(3)
        self._b5 = bytearray(5)
        self._w3 = bytearray(3)
        self._based = False  # `_charge` is a reading of this chip life
        self._charge = 0
        self._owed = 0  # codes not yet handed on
        self._rest = 0  # remainder of the last division
        self._turn = 0

    def read(self, frame):
        """Fill voltage, current, charge and their flags; what could not be read stays unset."""
        try:
            if not self.ready:
                self._configure()
            if self.ready:
                self._measure(frame.v)
        except OSError:
            pass  # no flag was set: the core sees the reading age
        if self.ready:
            frame.v[F.FLAGS] |= F.CHIP_OK
        frame.v[F.FE_RESETS] = self.resets

    def _configure(self):
        # Identity first: a chip that is not this one must not be written to.
        if self._get(_MANUFACTURER_ID) != _TI or self._get(_DEVICE_ID) >> 4 != _INA228:
            return
        self._put(_CONFIG, _CONFIG_VALUE)
        self._put(_ADC_CONFIG, _ADC_CONFIG_VALUE)
        self._put(_SHUNT_CAL, _SHUNT_CAL_VALUE)
        self._put(_SOVL, self.pack.alert_charge)
        self._put(_SUVL, self.pack.alert_discharge)
        self._put(_BOVL, self.pack.alert_over)
        self._put(_DIAG_ALRT, _ALATCH)
        self.ready = self._get(_DIAG_ALRT) & _DIAG_SET == _ALATCH and self._unchanged()
        self._based = False
        self._owed = self._rest = 0

    def _unchanged(self):
        return (
            self._get(_CONFIG) == _CONFIG_VALUE
            and self._get(_ADC_CONFIG) == _ADC_CONFIG_VALUE
            and self._get(_SHUNT_CAL) == _SHUNT_CAL_VALUE
            and self._get(_SOVL) == self.pack.alert_charge
            and self._get(_SUVL) == self.pack.alert_discharge & 0xFFFF
            and self._get(_BOVL) == self.pack.alert_over
        )

    def _fresh(self, f):
        # One read tells whether the chip is still ours, sound, and has converted since the last
        # tick. A reset shows here at once; other registers are looked at in turn. The read also
        # ends an alert: the dead-man has latched it.
        diag = self._get(_DIAG_ALRT)
        self._turn = (self._turn + 1) % _CHECK_EVERY
        if diag & _DIAG_SET != _ALATCH or (self._turn == 0 and not self._unchanged()):
            self.ready = False
            self.resets = (self.resets + 1) & 0xFFFF
            return False
        if diag & _LIMITS:
            f[F.FLAGS] |= F.ALERTED
        return diag & _MEMSTAT and diag & _CNVRF

    def _measure(self, f):
        i2c = self.i2c
        address = self.pack.chip_address
        b = self._b3
        i2c.readfrom_mem_into(address, _VBUS, b)
        code = b[0] << 12 | b[1] << 4 | b[2] >> 4
        # 195.3125 uV a step (table 8-1) is 3125 / 16.
        uv = (code >> 4) * 3125 + ((code & 15) * 3125 >> 4)
        i2c.readfrom_mem_into(address, _CURRENT, b)
        code = b[0] << 12 | b[1] << 4 | b[2] >> 4
        if code & 0x80000:
            code -= 0x100000
        ua = code * self.pack.ua_num // self.pack.ua_den
        i2c.readfrom_mem_into(address, _CHARGE, self._b5)
        # Last, so that it speaks for all that was read: a chip that was reset in between shows.
        # From here on nothing can fail: a Frame is filled whole or not at all.
        if not self._fresh(f):
            return
        self._hand_on(f)
        f[F.PACK_UV] = uv
        f[F.CELL0] = uv // self.cells
        f[F.CURRENT_UA] = ua
        f[F.FLAGS] |= F.VOLT_OK | F.CURRENT_OK

    def _hand_on(self, f):
        b = self._b5
        now = (b[1] & 15) << 24 | b[2] << 16 | b[3] << 8 | b[4]
        if self._based:
            d = (now - self._charge) & _CHARGE_MASK
            d = d - _CHARGE_MASK - 1 if d >= _CHARGE_HALF else d
            # More than 25 minutes at full scale is no charge but a broken reading.
            self._owed = clamp(self._owed + d, -_OWED_MAX, _OWED_MAX)
            codes = clamp(self._owed, -_CODES_MAX, _CODES_MAX)
            self._owed -= codes
            scaled = codes * self.pack.ua_num + self._rest
            f[F.CHARGE_UAS] = scaled // self.pack.ua_den
            self._rest = scaled % self.pack.ua_den
            f[F.FLAGS] |= F.CHARGE_OK | F.CHARGE_OWED if self._owed else F.CHARGE_OK
        self._charge = now
        self._based = True

    def _get(self, register):
        self.i2c.readfrom_mem_into(self.pack.chip_address, register, self._b2)
        return self._b2[0] << 8 | self._b2[1]

    def _put(self, register, value):
        # Register and value in one buffer: machine.I2C.writeto_mem allocates one on RP2.
        b = self._w3
        b[0] = register
        b[1] = value >> 8 & 0xFF
        b[2] = value & 0xFF
        self.i2c.writeto(self.pack.chip_address, b)
