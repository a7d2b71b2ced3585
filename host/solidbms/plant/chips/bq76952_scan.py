"""What a BQ76952 measures: the scan of its voltage ADC, current, passed charge.

TRM SLUUBY2B: 4.1.1 schedule, 4.3 coulomb counter, 4.6 DASTATUS6, 4.7 and 4.8 temperatures.
"""

import math
import struct

from solidbms.plant.chips import bq76952_map as m

KELVIN = 273.15
THERMISTORS = {  # ohm at 25 degC, beta: Semitec 103AT, 204AP-2 (TRM 4.8; betas assumed)
    m.THERMISTOR: (10_000.0, 3435.0),
    m.THERMISTOR | m.THERMISTOR_180K | m.THERMISTOR_180K >> 2: (200_000.0, 4012.0),
}
WIRE_A, WIRE_S = 55e-6, 0.003  # open-wire current, its time each check (TRM, cell open wire)
CC1_US = 250_000
CC1_V = 7.4768e-6 / 32  # 234 nV, the unit of the deadband
SLOT_US = 3000
LOOPS = 3  # a full scan
SHUNT_FULL_V = 0.2
FREEZABLE = ("cells", "stack", "pack", "ld", "current", "charge", "temps", "die", "scan")
_AUX = (("stack", m.STACK), ("pack", m.PACK), ("ld", m.LD))  # slot 17, one a loop
_CELLS = struct.Struct("<16h")


class Scan:
    """Measurements of one chip into its registers `ram`; inputs come in with `run`."""

    def __init__(self, ram: bytearray, inputs: tuple[int, ...], wire_farad: float) -> None:
        self.ram = ram
        self.inputs = inputs
        self._in_row = inputs == m.cell_inputs(len(inputs))
        self.open_wire: set[int] = set()
        self._wire_step_v = WIRE_A * WIRE_S / wire_farad
        self.frozen: set[str] = set()
        self.cell_gain = 1.0  # drift of the cell ADC's reference; the stack's divider has its own
        self.cell_offset_v: dict[int, float] = {}  # by cell
        self.stack_offset_v = 0.0
        self.pins = [0.0] * m.INPUTS
        self.ts_ohm: tuple[float, ...] = ()
        self.reset()

    def reset(self) -> None:
        """As after a reset of the chip: nothing measured, integrator at its start value."""
        # -32767 userAh less a fraction is what it shows before its first RESET_PASSQ.
        self.passed = (-0x7FFF << 32) + 0x7FFFFFFF  # 2^-32 userAh
        self.seconds = 0
        self._cc1_sum = 0.0
        self._cc1_due = CC1_US
        self._second_due = 1_000_000
        self.cc1_ua = 0.0
        self.temps_k: dict[str, int] = {}
        self.drift_v: dict[int, float] = {}  # of open lines' pins, by line
        self._wire_us = 0
        self.restart(0)

    def restart(self, now_us: int) -> None:
        """Begin a scan anew: after a reset and on leaving CONFIG_UPDATE."""
        self._began_us = now_us
        self._slot = 0
        self._loop = 0
        self._raw = [0.0] * m.INPUTS

    def halt(self, now_us: int) -> None:
        """Measure nothing up to now, and begin anew from here."""
        self.restart(now_us)
        self._cc1_sum = 0.0
        self._cc1_due = now_us + CC1_US
        self._second_due = max(self._second_due, now_us)

    def configure(self, memory: bytearray) -> None:
        """Take over the data memory."""

        def get(name: str) -> int:
            address = m.ADDRESS[name]
            kind = m.FORMATS[m.MEMORY[address].kind]
            return struct.unpack_from("<" + kind, memory, address - m.FIRST)[0]

        cc_gain, capacity = get("CC Gain"), get("Capacity Gain")
        da = get("DA Configuration")
        user_ma = m.USER_MA[da & m.DA_USER_AMPS]
        self.user_per_v = cc_gain / 7.4768 * 1e6 / user_ma
        self._amp_per_v = cc_gain / 7.4768 * 1e3
        self._counts = capacity / user_ma / 32  # 2^-32 userAh of a CC1 code
        self._deadband = get("Coulomb Counter Deadband")
        self._wire_check_us = get("Cell Open-Wire Check Time") * 1_000_000
        self._aux_per_v = 100 if da & m.DA_VOLTS_CV else 1000
        mask = get("Vcell Mode") or 0xFFFF
        self.used = [k for k in range(m.INPUTS) if mask >> k & 1]
        self._sensors = [(k, get(f"{name} Pin Config")) for k, name in enumerate(m.PINS)]
        self._sensors = [(k, config) for k, config in self._sensors if config & 3 == m.PIN_ADC]
        self.slots = 18 + min(3, len(self._sensors))
        fast = get("Power Config") & m.POWER_FASTADC
        self._slot_us = SLOT_US // 2 if fast else SLOT_US
        self._loop_us = self.slots * self._slot_us

    def wire(self, cells_v: list[float] | tuple[float, ...], span_us: int) -> list[float]:
        """Return the voltage between each input and the next lower, after so much time."""
        inputs = self.inputs
        n = len(inputs) - 1
        if self._in_row:
            pins = [*cells_v[:n], *[0.0] * (m.INPUTS - 1 - n), cells_v[n]]
        else:
            pins = [0.0] * m.INPUTS
            for k, pin in enumerate(inputs):
                pins[pin] = cells_v[k]
        if self.open_wire or self.drift_v:
            self._drift(pins, span_us)
        self.pins = pins
        return pins

    def _drift(self, pins: list[float], span_us: int) -> None:
        """Let the open lines' pins drift down a step each check, and stay where they are."""
        drift, inputs = self.drift_v, self.inputs
        for line in [line for line in drift if line not in self.open_wire]:
            del drift[line]
        self._wire_us += span_us
        checks = 0
        if self._wire_check_us:
            checks, self._wire_us = divmod(self._wire_us, self._wire_check_us)
        for line in self.open_wire:
            if not 0 < line <= len(inputs):
                continue  # VC0 is the chip's own ground
            below = inputs[line - 1]
            drift[line] = min(drift.get(line, 0.0) + checks * self._wire_step_v, pins[below])
            pins[below] -= drift[line]
            if line < len(inputs):
                pins[inputs[line]] += drift[line]

    def count(self, last_us: int, now_us: int, shunt_v: float) -> bool:
        """Integrate the shunt from last to now; return whether CC1 gave a result."""
        due = self._cc1_due
        if now_us < due:
            self._cc1_sum += shunt_v * (now_us - last_us)
            return False
        while due <= now_us:
            mean = (self._cc1_sum + shunt_v * (due - last_us)) / CC1_US
            code = round(max(-SHUNT_FULL_V, min(SHUNT_FULL_V, mean)) / CC1_V)
            self.cc1_ua = mean * self._amp_per_v * 1e6
            if abs(code) > self._deadband and "charge" not in self.frozen:
                self.passed += round(code * self._counts)
            self._cc1_sum = 0.0
            last_us = due
            due += CC1_US
        self._cc1_due = due
        self._cc1_sum = shunt_v * (now_us - last_us)
        while self._second_due <= now_us:
            self.seconds += 1
            self._second_due += 1_000_000
        return True

    def current(self, shunt_v: float) -> None:
        """CC2 Current: one value every 3 ms, the last one shows."""
        if "current" in self.frozen:
            return
        code = math.floor(max(-SHUNT_FULL_V, min(SHUNT_FULL_V, shunt_v)) * self.user_per_v + 0.5)
        struct.pack_into("<h", self.ram, m.CC2, max(-0x8000, min(0x7FFF, code)))

    def run(self, now_us: int, pack_v: float, ld_v: float, die_c: float) -> int:
        """Measure up to now; return ADSCAN, FULLSCAN as they fell."""
        events = 0
        if "scan" in self.frozen:
            self._began_us = now_us - self._slot * self._slot_us
            return events
        behind = (now_us - self._began_us) // self._loop_us
        if behind > 2 * LOOPS:  # what nobody sees of a long step
            skip = (behind - 2 * LOOPS) // LOOPS * LOOPS
            self._began_us += skip * self._loop_us
        while True:
            done = (now_us - self._began_us) // self._slot_us
            slot, slots = self._slot, self.slots
            if done <= slot:
                return events
            if slot < m.INPUTS:
                self._raw[slot:done] = self.seen(self.pins)[slot:done]
            if done < slots:
                self._slot = done
                return events
            self._publish(pack_v, ld_v, die_c)
            events |= m.ADSCAN
            self._loop += 1
            if self._loop == LOOPS:
                self._loop = 0
                events |= m.FULLSCAN
            self._slot = 0
            self._began_us += self._loop_us

    @property
    def off(self) -> bool:
        """Whether cells read wrongly."""
        return self.cell_gain != 1.0 or bool(self.cell_offset_v)

    def seen(self, pins: list[float]) -> list[float]:
        """Return what the cell ADC makes of voltages at the inputs: its protections see the same,
        TRM 5.2 and 5.3."""
        if not self.off:
            return pins
        seen = [v * self.cell_gain for v in pins]
        for cell, offset in self.cell_offset_v.items():
            seen[self.inputs[cell]] += offset
        return seen

    def _publish(self, pack_v: float, ld_v: float, die_c: float) -> None:
        """A loop has ended: what it measured shows."""
        frozen = self.frozen
        if "cells" not in frozen:
            raw = self._raw
            # int() of a shifted float: to nearest, and half the cost of round().
            _CELLS.pack_into(self.ram, m.CELL_1, *[int(v * 1000 + 32768.5) - 32768 for v in raw])
        loop = self._loop
        name, register = _AUX[loop]
        if name not in frozen:
            volt = (sum(self.pins) + self.stack_offset_v, pack_v, ld_v)[loop]
            code = max(0, min(0x7FFF, int(volt * self._aux_per_v + 0.5)))
            struct.pack_into("<h", self.ram, register, code)
        if loop == 0 and "die" not in frozen:
            self._temp(m.INT_TEMP, "die", die_c + KELVIN)
        if "temps" not in frozen:
            # Three pins a loop, in their order; CFETOFF, DFETOFF and ALERT first.
            for k, config in self._sensors:
                if k // 3 == loop:
                    self._temp(m.PIN_TEMP + 2 * k, m.PINS[k], self._thermistor(k, config))

    def _temp(self, register: int, name: str, kelvin: float) -> None:
        code = max(0, min(0x7FFF, int(kelvin * 10 + 0.5)))
        self.temps_k[name] = code
        struct.pack_into("<H", self.ram, register, code)

    def _thermistor(self, pin: int, config: int) -> float:
        """Return K by the chip's model of this pull-up; absurd for an open or a shorted sensor."""
        place = pin - m.PINS.index("TS1")
        ohm = self.ts_ohm[place] if 0 <= place < len(self.ts_ohm) else math.inf
        r25_ohm, beta_k = THERMISTORS.get(config & 0xF3, THERMISTORS[m.THERMISTOR])
        if ohm <= 0.0:
            return 3276.7
        inverse = 1 / (25 + KELVIN) + math.log(ohm / r25_ohm) / beta_k if ohm < math.inf else 1e9
        return 1 / inverse if inverse > 1 / 3276.7 else 3276.7
