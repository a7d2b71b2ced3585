"""A front end and a cell that the board makes up: an INA228 at register level, a thermistor, a
load and a charger. The firmware above it is the same as for real chips.

Integers within 31 bits and no allocation: it runs where the heap is locked.
"""

from array import array

from bms.core.fixed import clamp, interp, lag, ticks_diff

_VBUS = 0x05
_CURRENT = 0x07
_CHARGE = 0x0A
_DIAG_ALRT = 0x0B
_MANUFACTURER_ID = 0x3E
_DEVICE_ID = 0x3F
_REGISTERS = 0x12
_CONVERTED = 0x0003  # CNVRF, MEMSTAT
_CHARGE_MASK = 0xFFFFFFF

# What load and charger ask for: seconds, mA (charge positive), over and over.
_ROUND = ((20, -2000), (20, -8000), (10, -14000), (10, 1500))
_ROUND_S = 60
_CHARGE_MA = 3000
_EMPTY_PPM = 250000  # here the charger comes,
_FULL_PPM = 850000  # and here it goes
_AMBIENT_MDEGC = 24000
_HEAT_MJ_PER_K = 40000
_TAU_S = 400
_STEP_MAX_MS = 1000
_DROP_MAX_UV = 500000


class Cell:
    """A cell with a load, stepped whenever the clock has moved. Charge current is positive."""

    def __init__(self, pack, ticks_ms, gates):
        """gates: has `charge.on` and `discharge.on`."""
        self.pack = pack
        self.ticks_ms = ticks_ms
        self.gates = gates
        # The estimator's own tables, at one temperature.
        row = 0
        while row + 1 < len(pack.cell_mdegc) and pack.cell_mdegc[row] < _AMBIENT_MDEGC:
            row += 1
        self.uv_over_ppm = _over(pack.cell_ocv_ppm, pack.cell_ocv_uv, row)
        self.r0_over_ppm = _over(pack.cell_r_ppm, pack.cell_r0_uohm, row)
        self.r1_over_ppm = _over(pack.cell_r_ppm, pack.cell_r1_uohm, row)
        self.r2_over_ppm = _over(pack.cell_r_ppm, pack.cell_r2_uohm, row)
        self.last_ms = ticks_ms()
        self.round_ms = 0
        self.ppm = 700000
        self.rest_uas = 0
        self.mdegc = _AMBIENT_MDEGC
        self.heat_rest = 0
        self.ma = 0
        self.charging = False
        self.lags_uv = array("i", [0] * 4)  # polarisation, twice, and what each still owes
        self.moved_ms = 0

    def step(self):
        """Advance to now; `moved_ms` says by how much."""
        now = self.ticks_ms()
        dt = clamp(ticks_diff(now, self.last_ms), 0, _STEP_MAX_MS)
        self.last_ms = now
        self.moved_ms = dt
        ma = self._asked(dt)
        if (ma > 0 and not self.gates.charge.on) or (ma < 0 and not self.gates.discharge.on):
            ma = 0
        self.ma = ma
        drop_uv = _drop_uv(ma, interp(self.r1_over_ppm, self.ppm))
        lag(self.lags_uv, 0, drop_uv, dt, self.pack.tau1_ms)
        drop_uv = _drop_uv(ma, interp(self.r2_over_ppm, self.ppm))
        lag(self.lags_uv, 2, drop_uv, dt, self.pack.tau2_ms)
        moved = ma * dt + self.rest_uas
        self.ppm = clamp(self.ppm + moved // self.pack.uas_per_ppm, 0, 1000000)
        self.rest_uas = moved % self.pack.uas_per_ppm
        # mA * mA * uohm / 1e9 = uW; in steps that fit 31 bits. Heat in uJ, a K takes 40 J.
        amp10 = ma // 100
        uohm = interp(self.pack.dcir_uohm, self.mdegc)
        mw = amp10 * amp10 // 100 * (uohm // 100) // 10
        mw -= (self.mdegc - _AMBIENT_MDEGC) * (_HEAT_MJ_PER_K // 1000) // _TAU_S
        heat = mw * dt + self.heat_rest  # uJ
        self.mdegc += heat // _HEAT_MJ_PER_K
        self.heat_rest = heat % _HEAT_MJ_PER_K

    def _asked(self, dt):
        if self.ppm <= _EMPTY_PPM:
            self.charging = True
        elif self.ppm >= _FULL_PPM:
            self.charging = False
        if self.charging:
            return _CHARGE_MA
        self.round_ms = (self.round_ms + dt) % (_ROUND_S * 1000)
        s = self.round_ms // 1000
        for span_s, ma in _ROUND:
            if s < span_s:
                return ma
            s -= span_s
        return 0

    def uv(self):
        """Return the terminal voltage."""
        drop_uv = _drop_uv(self.ma, interp(self.r0_over_ppm, self.ppm))
        return interp(self.uv_over_ppm, self.ppm) + drop_uv + self.lags_uv[0] + self.lags_uv[2]


def _over(axis, table, row):
    return axis + table[row * len(axis) : (row + 1) * len(axis)]


def _drop_uv(ma, uohm):
    return clamp(ma * (uohm // 100) // 10, -_DROP_MAX_UV, _DROP_MAX_UV)


class Bus:
    """The INA228 before that cell, as the part of machine.I2C that drivers use."""

    def __init__(self, pack, cell):
        self.pack = pack
        self.cell = cell
        self.registers = array("i", [0] * _REGISTERS)
        self.charge = 0
        self.charge_rest = 0

    def idle(self):
        """Return True: nothing is wired."""
        return True

    def readfrom_mem_into(self, address, register, buffer):
        """Fill the buffer from a register, as the chip would: VBUS first lets time pass."""
        if address != self.pack.chip_address:
            raise OSError(5)
        value = self._value(register)
        if len(buffer) == 3:
            value <<= 4  # 20 bits, left-aligned
        for k in range(len(buffer) - 1, -1, -1):
            buffer[k] = value & 0xFF
            value >>= 8

    def writeto(self, address, buffer):
        """Take a register and its value."""
        if address != self.pack.chip_address:
            raise OSError(5)
        self.registers[buffer[0]] = buffer[1] << 8 | buffer[2]

    def _value(self, register):
        if register == _VBUS:
            self._convert()
            uv = self.cell.uv()
            return uv // 3125 * 16 + uv % 3125 * 16 // 3125
        if register == _CURRENT:
            return self._code() & 0xFFFFF
        if register == _CHARGE:
            return self.charge
        if register == _DIAG_ALRT:
            return self.registers[_DIAG_ALRT] & 0xF000 | _CONVERTED
        if register == _MANUFACTURER_ID:
            return 0x5449
        if register == _DEVICE_ID:
            return 0x2281
        return self.registers[register]

    def _code(self):
        return self.cell.ma * 1000 // self.pack.ua_num * self.pack.ua_den

    def _convert(self):
        self.cell.step()
        codes = self._code() // 10 * self.cell.moved_ms + self.charge_rest
        self.charge = (self.charge + codes // 100) & _CHARGE_MASK
        self.charge_rest = codes % 100


class Adc:
    """The thermistor on that cell, as the part of machine.ADC that drivers use."""

    def __init__(self, pack, cell):
        self.cell = cell
        table = pack.ntc_mdegc
        n = len(table) >> 1
        # Codes fall as it warms: both halves turned round, so that the temperatures ascend.
        self.code_over_mdegc = array("i", reversed(table[n:])) + array("i", reversed(table[:n]))

    def read_u16(self):
        """Return the code of this sensor."""
        return interp(self.code_over_mdegc, self.cell.mdegc)
