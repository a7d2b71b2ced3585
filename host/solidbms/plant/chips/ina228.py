"""INA228 power monitor at register level (TI SLYS021A, sections 7.3, 7.6 and 8.1.2).

Every register is a row of `REGISTERS`. Time comes in through `Ina228.advance`; the model has no
clock of its own. What it simplifies:

- All enabled inputs of one ADC round (bus, shunt, temperature in turn) see the mean of the input
  over the whole round and their results appear at its end, even with one average, where the chip
  updates each register on its own. Oscillator error and the 60 us of wake-up are left out.
- A conversion starts on reset, on a write of ADC_CONFIG and on a change of ADCRANGE.
- The ALERT pulse of CNVR without ALATCH lasts until DIAG_ALRT is read, so that polling sees it.
- Means and the current round toward minus infinity; the ADC rounds to nearest.
- Power and energy count the magnitude of the current: both registers are unsigned.
"""

import random
from typing import NamedTuple


class Register(NamedTuple):
    """One row of the register map: width in bits, value after reset, bits a write can change."""

    name: str
    bits: int
    reset: int
    writable: int


REGISTERS = {  # SLYS021A 7.6.1, Table 7-3; field tables in the comments
    0x00: Register("CONFIG", 16, 0x0000, 0xFFF0),  # Table 7-5
    0x01: Register("ADC_CONFIG", 16, 0xFB68, 0xFFFF),  # Table 7-6
    0x02: Register("SHUNT_CAL", 16, 0x1000, 0x7FFF),  # Table 7-7
    0x03: Register("SHUNT_TEMPCO", 16, 0x0000, 0x3FFF),  # Table 7-8, 1 ppm/degC
    0x04: Register("VSHUNT", 24, 0, 0),  # Table 7-9, bits 23:4
    0x05: Register("VBUS", 24, 0, 0),  # Table 7-10, bits 23:4
    0x06: Register("DIETEMP", 16, 0, 0),  # Table 7-11
    0x07: Register("CURRENT", 24, 0, 0),  # Table 7-12, bits 23:4
    0x08: Register("POWER", 24, 0, 0),  # Table 7-13
    0x09: Register("ENERGY", 40, 0, 0),  # Table 7-14
    0x0A: Register("CHARGE", 40, 0, 0),  # Table 7-15
    0x0B: Register("DIAG_ALRT", 16, 0x0001, 0xF000),  # Table 7-16; flags taken as read-only
    0x0C: Register("SOVL", 16, 0x7FFF, 0xFFFF),  # Table 7-17, 5 uV or 1.25 uV
    0x0D: Register("SUVL", 16, 0x8000, 0xFFFF),  # Table 7-18, 5 uV or 1.25 uV
    0x0E: Register("BOVL", 16, 0x7FFF, 0x7FFF),  # Table 7-19, 3.125 mV
    0x0F: Register("BUVL", 16, 0x0000, 0x7FFF),  # Table 7-20, 3.125 mV
    0x10: Register("TEMP_LIMIT", 16, 0x7FFF, 0xFFFF),  # Table 7-21, 7.8125 mdegC
    0x11: Register("PWR_LIMIT", 16, 0xFFFF, 0xFFFF),  # Table 7-22, 256 power LSB
    0x3E: Register("MANUFACTURER_ID", 16, 0x5449, 0),  # Table 7-23, "TI"
    0x3F: Register("DEVICE_ID", 16, 0x2281, 0),  # Table 7-24, die 228h, revision 1
}
CONFIG, ADC_CONFIG, SHUNT_CAL, SHUNT_TEMPCO, VSHUNT, VBUS, DIETEMP, CURRENT = range(8)
POWER, ENERGY, CHARGE, DIAG_ALRT, SOVL, SUVL, BOVL, BUVL, TEMP_LIMIT, PWR_LIMIT = range(8, 18)

CONFIG_RST, CONFIG_RSTACC, CONFIG_TEMPCOMP, CONFIG_ADCRANGE = 1 << 15, 1 << 14, 1 << 5, 1 << 4
MODE_BUS, MODE_SHUNT, MODE_TEMP, MODE_CONTINUOUS = 1, 2, 4, 8  # bits of ADC_CONFIG.MODE
CONVERSION_US = (50, 84, 150, 280, 540, 1052, 2074, 4120)  # VBUSCT, VSHCT, VTCT
AVERAGES = (1, 4, 16, 64, 128, 256, 512, 1024)  # AVG

ALATCH, CNVR, SLOWALERT, APOL = 1 << 15, 1 << 14, 1 << 13, 1 << 12
ENERGYOF, CHARGEOF, MATHOF = 1 << 11, 1 << 10, 1 << 9
TMPOL, SHNTOL, SHNTUL, BUSOL, BUSUL, POL, CNVRF, MEMSTAT = (1 << n for n in range(7, -1, -1))
LIMIT_FLAGS = TMPOL | SHNTOL | SHNTUL | BUSOL | BUSUL | POL

SHUNT_PER_V = (1 / 312.5e-9, 1 / 78.125e-9)  # by ADCRANGE, Table 8-1
BUS_PER_V = 1 / 195.3125e-6
DIE_PER_C = 128  # 7.8125 mdegC
TOP_20 = (1 << 19) - 1
SHIFT = 1 << 20
DIE_25_C = 25 * DIE_PER_C  # reference of the shunt's temperature coefficient, Table 7-8

FREEZABLE = {  # result to what holds it
    "vshunt": "_vshunt",
    "vbus": "_vbus",
    "dietemp": "_dietemp",
    "current": "_current",
    "power": "_power",
    "energy": "_energy_sum",
    "charge": "_charge_sum",
}


class Ina228:
    """One INA228: feed it physical inputs with `advance`, talk to it with `read` and `write`.

    frozen: names out of `FREEZABLE` whose registers no longer update (a stuck reading); limits
    and other results still see the live input. memory_ok: False makes MEMSTAT report a fault.
    noise_uv, noise_shunt_nv: 1 sigma of Gaussian noise on the bus and shunt inputs, one draw per
    call of `advance` out of `seed`.
    """

    def __init__(
        self,
        address: int = 0x40,
        *,
        noise_uv: float = 0.0,
        noise_shunt_nv: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.address = address
        self.frozen: set[str] = set()
        self.memory_ok = True
        self.noise_uv = noise_uv
        self.noise_shunt_nv = noise_shunt_nv
        self._random = random.Random(seed)
        self._now_us = 0
        self.power_on_reset()

    def power_on_reset(self) -> None:
        """All registers to their reset values, accumulators to zero, a new conversion begins."""
        self._regs = {address: row.reset for address, row in REGISTERS.items()}
        self._flags = 0
        self._vshunt = self._vbus = self._dietemp = self._current = self._power = 0
        self._charge_sum = self._energy_sum = 0  # shunt code x us, shunt x bus code x us
        self._apply()
        self._start()

    @property
    def alert_active(self) -> bool:
        """Whether the ALERT pin signals, whatever its polarity."""
        flags = self._flags
        return bool(flags & LIMIT_FLAGS or (flags & CNVRF and self._regs[DIAG_ALRT] & CNVR))

    @property
    def alert_level(self) -> int:
        """Level of the pulled-up ALERT pin: active low unless APOL is set."""
        return int(self.alert_active == bool(self._regs[DIAG_ALRT] & APOL))

    def advance(
        self,
        now_us: int,
        shunt_v: float,
        bus_v: float,
        die_c: float,
        mean_shunt_v: float | None = None,
    ) -> None:
        """Run the conversions that end up to `now_us`, with inputs held since the last call.

        shunt_v: IN+ less IN-; bus_v: at VBUS; die_c: die temperature. mean_shunt_v: mean over the
        span where it differs from what a reading shows (ripple); CHARGE follows it. Raises
        ValueError when time goes back.
        """
        span = now_us - self._now_us
        if span < 0:
            raise ValueError(f"now_us: {now_us} is before {self._now_us}, time cannot go back")
        self._now_us = now_us
        if not self._running:
            return
        if self.noise_uv or self.noise_shunt_nv:
            shunt_v += self._random.gauss(0.0, self.noise_shunt_nv * 1e-9)
            bus_v += self._random.gauss(0.0, self.noise_uv * 1e-6)
        if mean_shunt_v is not None and mean_shunt_v != shunt_v and "charge" not in self.frozen:
            self._charge_sum += round((mean_shunt_v - shunt_v) * self._shunt_per_v * span)
        if self._delay_us:
            waited = min(span, self._delay_us)
            self._delay_us -= waited
            span -= waited
        if self.frozen:
            held = [(FREEZABLE[name], getattr(self, FREEZABLE[name])) for name in self.frozen]
            self._sample(span, *self._codes(shunt_v, bus_v, die_c))
            for attribute, value in held:
                setattr(self, attribute, value)
        else:
            self._sample(span, *self._codes(shunt_v, bus_v, die_c))

    def read(self, register: int, length: int) -> bytes:
        """Big-endian bytes of a register; past its width 0xFF, as an idle bus reads.

        A register that the map does not list reads zeros. Reading DIAG_ALRT clears CNVRF and, with
        ALATCH, the limit flags; reading ENERGY or CHARGE clears its overflow flag.
        """
        row = REGISTERS.get(register)
        if row is None:
            return bytes(length)
        value = self._value(register)
        if register == DIAG_ALRT:
            keep = MATHOF | ENERGYOF | CHARGEOF
            if not self._regs[DIAG_ALRT] & ALATCH:
                keep |= LIMIT_FLAGS
            self._flags &= keep
        elif register == ENERGY:
            self._flags &= ~ENERGYOF
        elif register == CHARGE:
            self._flags &= ~CHARGEOF
        width = row.bits // 8
        raw = (value & ((1 << row.bits) - 1)).to_bytes(width, "big")
        return raw[:length] + b"\xff" * (length - width)

    def write(self, register: int, data: bytes) -> None:
        """Write the first two bytes; fewer, or a read-only or unlisted register, do nothing."""
        row = REGISTERS.get(register)
        if row is None or not row.writable or len(data) < 2:
            return
        old = self._regs[register]
        value = int.from_bytes(data[:2], "big") & row.writable
        if register == CONFIG:
            if value & CONFIG_RST:
                self.power_on_reset()
                return
            if value & CONFIG_RSTACC:
                self._charge_sum = self._energy_sum = 0
                self._flags &= ~(MATHOF | ENERGYOF | CHARGEOF)
            value &= ~CONFIG_RSTACC
        energy, charge = self._energy(), self._charge()
        self._regs[register] = value
        self._apply()
        if register == SHUNT_CAL:  # the sums are in units of it
            self._energy_sum = energy * self._energy_unit
            self._charge_sum = -(-charge * self._charge_unit // 4096)
        if register == ADC_CONFIG:
            self._flags &= ~(CNVRF | MATHOF)
            self._start()
        elif register == CONFIG and (old ^ value) & CONFIG_ADCRANGE:
            self._start()

    def _value(self, register: int) -> int:
        """A register's content, before it is cut to its width."""
        if register in (VSHUNT, VBUS, CURRENT):
            return (self._vshunt, self._vbus, 0, self._current)[register - VSHUNT] << 4
        if register == DIETEMP:
            return self._dietemp
        if register == POWER:
            return self._power
        if register == ENERGY:
            return self._energy()
        if register == CHARGE:
            return self._charge()
        if register == DIAG_ALRT:
            return self._regs[DIAG_ALRT] & 0xF000 | self._flags | int(self.memory_ok)
        return self._regs[register]

    def _energy(self) -> int:
        return self._energy_sum // self._energy_unit if self._gain else 0

    def _charge(self) -> int:
        return self._charge_sum * 4096 // self._charge_unit if self._gain else 0

    def _apply(self) -> None:
        """Work out from the written registers what every conversion needs."""
        regs = self._regs
        config, adc, cal = regs[CONFIG], regs[ADC_CONFIG], regs[SHUNT_CAL]
        self._shunt_per_v = SHUNT_PER_V[bool(config & CONFIG_ADCRANGE)]
        self._tempco = regs[SHUNT_TEMPCO] if config & CONFIG_TEMPCOMP else 0
        self._mode = mode = adc >> 12
        self._average = AVERAGES[adc & 7]
        times = (adc >> 9 & 7, adc >> 6 & 7, adc >> 3 & 7)
        self._period_us = sum(CONVERSION_US[t] for bit, t in enumerate(times) if mode >> bit & 1)
        # CURRENT = shunt code x 4096 / SHUNT_CAL, whatever ADCRANGE: what equation 2 of 8.1.2
        # (SHUNT_CAL = 13107.2e6 x CURRENT_LSB x R, x 4 with ADCRANGE) leaves for the chip to do.
        # With SHUNT_CAL 0 everything derived reads 0 (7.3.2).
        self._gain, self._cal = (4096, cal) if cal else (0, 1)
        # POWER LSB is 3.2 CURRENT_LSB: current x bus / 16384; ENERGY LSB is 16 of those.
        self._charge_us = self._period_us if mode & MODE_SHUNT and cal else 0
        self._energy_us = self._period_us if mode & MODE_BUS and cal else 0
        self._charge_unit = cal * 1_000_000  # of charge_sum x 4096, by microseconds
        self._charge_top = cal * 1_000_000 << 27  # 2^39 such units
        self._energy_unit = cal * 64_000_000
        self._energy_top = cal * 64_000_000 << 40
        # Limits hold against the upper 16 bits of a 20-bit code, of POWER's 24.
        raw = (regs[SOVL], regs[SUVL], regs[TEMP_LIMIT])
        sovl, suvl, self._die_top = (word - (word >> 15 << 16) for word in raw)
        self._shunt_range = (suvl << 4, (sovl << 4) + 15)
        self._bus_range = (regs[BUVL] << 4, (regs[BOVL] << 4) + 15)
        limited = cal and regs[PWR_LIMIT] < 0xFFFF  # POWER saturates there and never exceeds it
        self._power_top = (regs[PWR_LIMIT] + 1 << 10) * cal - 1 if limited else 1 << 48

    def _start(self) -> None:
        """Drop any conversion in progress and begin a new one, CONVDLY later."""
        mode = self._mode
        self._running = bool(mode & (MODE_BUS | MODE_SHUNT | MODE_TEMP))
        self._delay_us = (self._regs[CONFIG] >> 6 & 0xFF) * 2000
        self._phase_us = self._part_shunt = self._part_bus = self._part_die = 0
        self._rounds = self._sum_shunt = self._sum_bus = self._sum_die = 0
        # What an input that is not converted goes on counting as in POWER and ENERGY.
        self._idle = None if mode & 7 == 7 else (self._vshunt, self._vbus, self._dietemp)

    def _codes(self, shunt_v: float, bus_v: float, die_c: float) -> tuple[int, int, int]:
        """The ADC: 20-bit and 16-bit codes of the inputs, saturating."""
        # int() of a shifted float: to nearest, and half the cost of round().
        shunt = int(shunt_v * self._shunt_per_v + SHIFT + 0.5) - SHIFT
        bus = int(bus_v * BUS_PER_V + SHIFT + 0.5) - SHIFT
        die = int(die_c * DIE_PER_C + SHIFT + 0.5) - SHIFT
        if not -TOP_20 <= shunt <= TOP_20:
            shunt = TOP_20 if shunt > 0 else -TOP_20 - 1
        if not 0 <= bus <= TOP_20:
            bus = TOP_20 if bus > 0 else 0
        if not -0x8000 <= die <= 0x7FFF:
            die = 0x7FFF if die > 0 else -0x8000
        if self._idle:
            mode, idle = self._mode, self._idle
            shunt = shunt if mode & MODE_SHUNT else idle[0]
            bus = bus if mode & MODE_BUS else idle[1]
            die = die if mode & MODE_TEMP else idle[2]
        return shunt, bus, die

    def _sample(self, span: int, shunt: int, bus: int, die: int) -> None:
        """Cut `span` us into ADC rounds; the one left open by the last call is a mean by time."""
        phase, period = self._phase_us, self._period_us
        count, rest = divmod(phase + span, period)
        self._phase_us = rest
        if not count:
            self._part_shunt += shunt * span
            self._part_bus += bus * span
            self._part_die += die * span
            return
        first, first_bus, first_die = shunt, bus, die
        if phase:
            head, half = period - phase, period >> 1
            first = (self._part_shunt + shunt * head + half) // period
            first_bus = (self._part_bus + bus * head + half) // period
            first_die = (self._part_die + die * head + half) // period
        self._part_shunt, self._part_bus, self._part_die = shunt * rest, bus * rest, die * rest
        if not self._mode & MODE_CONTINUOUS:
            count = min(count, self._average - self._rounds)
        self._accumulate(count - 1, shunt, bus, first, first_bus, die)
        flags = self._regs[DIAG_ALRT]
        if not flags & SLOWALERT:
            if count == 1 or flags & ALATCH:
                self._compare(first, first_bus, first_die)
            if count > 1:
                self._compare(shunt, bus, die)
        self._average_in(count, shunt, bus, die, first - shunt, first_bus - bus, first_die - die)

    def _accumulate(
        self, more: int, shunt: int, bus: int, first: int, first_bus: int, die: int
    ) -> None:
        """ENERGY and CHARGE take every ADC round, averaged or not (7.3.2), and roll over."""
        if self._tempco:
            shunt, first = self._compensated(shunt, die), self._compensated(first, die)
        total = self._charge_sum + (first + shunt * more) * self._charge_us
        top = self._charge_top
        if not -top <= total < top and top:
            total = (total + top) % (2 * top) - top
            self._flags |= CHARGEOF
        self._charge_sum = total
        total = (abs(first) * first_bus + abs(shunt) * bus * more) * self._energy_us
        self._energy_sum = total = self._energy_sum + total
        if total >= self._energy_top > 0:
            self._energy_sum = total % self._energy_top
            self._flags |= ENERGYOF

    def _average_in(
        self, count: int, shunt: int, bus: int, die: int, d_shunt: int, d_bus: int, d_die: int
    ) -> None:
        """Add `count` rounds to the average; the first of them is off by the `d_` values."""
        average = self._average
        left = average - self._rounds
        if count < left:
            self._sum_shunt += shunt * count + d_shunt
            self._sum_bus += bus * count + d_bus
            self._sum_die += die * count + d_die
            self._rounds += count
            return
        full, rest = divmod(count - left, average)
        slow = self._regs[DIAG_ALRT] & SLOWALERT
        if slow or not full:
            self._publish(
                (self._sum_shunt + shunt * left + d_shunt) // average,
                (self._sum_bus + bus * left + d_bus) // average,
                (self._sum_die + die * left + d_die) // average,
            )
        if full:
            self._publish(shunt, bus, die)
        self._sum_shunt, self._sum_bus, self._sum_die = shunt * rest, bus * rest, die * rest
        self._rounds = rest
        self._flags |= CNVRF
        if not self._mode & MODE_CONTINUOUS:
            self._running = False

    def _publish(self, shunt: int, bus: int, die: int) -> None:
        """Averaged codes into the result registers; CURRENT and POWER from them (8.1.2)."""
        self._vshunt, self._vbus, self._dietemp = shunt, bus, die
        if self._regs[DIAG_ALRT] & SLOWALERT:
            self._compare(shunt, bus, die)
        if self._tempco:
            shunt = self._compensated(shunt, die)
        current = shunt * self._gain // self._cal
        power = abs(shunt) * bus * self._gain // (self._cal << 14)
        if not -TOP_20 <= current <= TOP_20 or power > 0xFFFFFF:
            self._flags |= MATHOF
            current, power = max(-TOP_20 - 1, min(TOP_20, current)), min(0xFFFFFF, power)
        self._current, self._power = current, power

    def _compensated(self, shunt: int, die: int) -> int:
        """Shunt code with the shunt's drift from 25 degC taken out (7.3.5), to one code."""
        nominal = DIE_PER_C * 1_000_000
        return shunt * nominal // (nominal + (die - DIE_25_C) * self._tempco)

    def _compare(self, shunt: int, bus: int, die: int) -> None:
        """Limits (7.3.7) against the inputs converted; ALATCH keeps flags that no longer hold."""
        low, high = self._shunt_range
        flags = 0 if low <= shunt <= high else SHNTOL if shunt > high else SHNTUL
        low, high = self._bus_range
        if not low <= bus <= high:
            flags |= BUSOL if bus > high else BUSUL
        if die > self._die_top:
            flags |= TMPOL
        if self._tempco:
            shunt = self._compensated(shunt, die)
        if abs(shunt) * bus > self._power_top:
            flags |= POL
        if flags or self._flags & LIMIT_FLAGS:
            self._judge(flags)

    def _judge(self, flags: int) -> None:
        """Set the limit flags of the inputs converted; those of others stay as they are."""
        mode = self._mode
        judged = (
            (SHNTOL | SHNTUL if mode & MODE_SHUNT else 0)
            | (BUSOL | BUSUL | POL if mode & MODE_BUS else 0)
            | (TMPOL if mode & MODE_TEMP else 0)
        )
        if not self._regs[DIAG_ALRT] & ALATCH:
            self._flags &= ~judged
        self._flags |= flags & judged
