"""What the firmware's pins end in: chips, gates, clock, and the faults that come between.

A plant gives bus voltage, current and temperature and hears of the gates; see `Drive`
(plant.drive) and `Playback` (replay).
"""

from __future__ import annotations

from array import array
from typing import Protocol

import numpy as np
from bms.core.fixed import TICKS_MAX, ticks_diff
from bms.core.switch import REQUESTS

from solidbms.plant import ntc
from solidbms.plant.chips.ina228 import CURRENT, VBUS, Ina228
from solidbms.plant.fet import FetPair
from solidbms.scenario import FaultFile, FaultUse, Request, request_code
from solidbms.schema import PackFile

EIO = 5
ETIMEDOUT = 110
STEP_MAX_MS = 50
DEAD_MAN_MS = 150  # gates fall this long after the last feed, and stay open until armed again


class Plant(Protocol):
    """Cells and surroundings. Charge current is positive."""

    bus_v: float
    current_a: float
    mean_a: float  # over the last step: what an accumulator sees
    temp_c: float
    die_c: float

    def step(self, t_s: float, dt_s: float, fets: FetPair, limits_a: tuple[float, float]) -> None:
        """Advance to t_s + dt_s."""
        ...

    def truth(self) -> tuple[float, float]:
        """Return true SoC (0 to 1) and hottest true temperature (degC)."""
        ...


class World:
    """One pack's surroundings, in lockstep with its firmware.

    Time stands still within a tick and passes in `sleep_until`. `events` collects
    (t_ms, event, detail) of what the world did; `truth` a (t_ms, SoC, degC) each second.
    """

    def __init__(
        self,
        pack: PackFile,
        plant: Plant,
        duration_s: float,
        faults: list[tuple[FaultUse, FaultFile]] | None = None,
        requests: list[Request] | None = None,
        start_ms: int = 0,
        seed: int = 0,
    ) -> None:
        self.pack = pack
        self.plant = plant
        self.end_ms = round(duration_s * 1000)
        self.chip = Ina228(pack.front_end.address)
        self.fets = FetPair(pack.fets.rds_on_ohm, pack.fets.body_diode_v)
        self.faults = [Fault(use, file) for use, file in faults or []]
        self.requests = sorted(requests or [], key=lambda r: r.at_s)
        self.rng = np.random.default_rng(seed)
        self.start_ms = start_ms
        self.elapsed_ms = -STEP_MAX_MS
        self.limits_a = (0.0, 0.0)
        self.events: list[tuple[int, str, str]] = []
        self._adc_temp_c: float | None = None
        self._adc_code = 0
        self.truth: list[tuple[int, float, float]] = []
        # What the pins did and the sensors showed: the measure of every promise. Gates as
        # (t_ms, charge + 2 * discharge) at each change; readings as t_ms, three codes, and whether
        # the bus answers, a step.
        self.gate_log: list[tuple[int, int]] = [(0, 0)]
        self.readings = array("i")
        self.stopped = False
        self.lag_ms = 0  # from a tick until its gates show, where a board keeps its own time
        self.dropped = False  # the dead-man holds open what is commanded closed
        self._commanded = 0
        self._asked: list[int] = []
        self._fed_ms = 0
        self.advance(STEP_MAX_MS)  # the chip has been converting when the firmware boots
        for fault in self.faults:
            self._switch(fault, 0.0)  # what is broken from the start is so at the first tick

    def read(self, address: int, register: int, length: int) -> bytes:
        """Answer a register read; OSError as the bus reports it."""
        self.probe(address)
        if register == 0x3F and self._active("chip", "wrong_chip"):
            return b"\x23\x80"[:length]  # the DEVICE_ID of an INA238
        return self.chip.read(register, length)

    def write(self, address: int, register: int, data: bytes) -> None:
        """Take a register write; OSError as the bus reports it."""
        self.probe(address)
        self.chip.write(register, data)

    def adc(self, channel: int) -> int:
        """Return the ADC code of a channel, 16 bits."""
        if not self.faults and self.plant.temp_c == self._adc_temp_c:
            return self._adc_code
        self._adc_temp_c = self.plant.temp_c
        self._adc_code = self._convert(self._shown("temp_c", self.plant.temp_c))
        return self._adc_code

    def _convert(self, temp_c: float) -> int:
        sensor = self.pack.thermistor
        return ntc.adc_u16(
            temp_c,
            open=bool(self._active("temp_c", "lost")),
            short=bool(self._active("temp_c", "short")),
            r25_ohm=sensor.r25_ohm,
            beta_k=sensor.beta_k,
            pullup_ohm=sensor.pullup_ohm,
        )

    def gates(self, chg_on: int, dsg_on: int) -> None:
        """Take the gate commands; each feeds the dead-man, a gate newly closed arms it."""
        gates = (1 if chg_on else 0) + (2 if dsg_on else 0)
        if gates & ~self._commanded:
            self.dropped = False
        self._commanded = gates
        self._fed_ms = self.elapsed_ms
        if not gates:
            self.dropped = False
        elif self.pack.parts.dead_man and self.chip.alert_active:
            self.dropped = True
        self.drive(0 if self.dropped else gates, self.elapsed_ms)

    def drive(self, gates: int, t_ms: int) -> None:
        """Let the gates be as they have been since t_ms: 1 charge, 2 discharge, 3 both."""
        if gates != self.gate_log[-1][1]:
            self.gate_log.append((t_ms, gates))
        self.fets.charge.gate = bool(gates & 1)
        self.fets.discharge.gate = bool(gates & 2)

    def _dead_man(self) -> None:
        """Open the gates that nobody has fed, or that the chip's alert pin stops."""
        if not self._commanded or self.dropped:
            return
        late_ms = self.elapsed_ms - self._fed_ms - DEAD_MAN_MS
        if late_ms > 0 or self.chip.alert_active:
            self.dropped = True
            self.drive(0, self.elapsed_ms - max(late_ms, 0))

    def sleep_until(self, t_ms: int) -> tuple[int, bool]:
        """Let time pass to t_ms (wrapping); return (request code or 0, whether to go on)."""
        wait_ms = max(0, ticks_diff(t_ms, self.now_ms))
        for fault in self.faults:
            if fault.active and fault.where == "clock":
                wait_ms += round(fault.value)
        while wait_ms > 0:
            dt_ms = min(wait_ms, STEP_MAX_MS)
            self.advance(dt_ms)
            wait_ms -= dt_ms
        return self.asked(), self.elapsed_ms < self.end_ms and not self.stopped

    def ask(self, code: int) -> None:
        """Put a request (`switch.REQUESTS`) before the firmware, ahead of the scenario's."""
        self._asked.append(code)

    def asked(self) -> int:
        """Return the request that is due now, 0 for none; each is handed out once."""
        code = 0
        if self._asked:
            code = self._asked.pop(0)
            self.events.append((self.elapsed_ms, "request", REQUESTS[code]))
        elif self.requests and self.elapsed_ms >= self.requests[0].at_s * 1000:
            word = self.requests.pop(0).do
            code = request_code(word)
            self.events.append((self.elapsed_ms, "request", word))
        return code

    def _deaf(self) -> bool:
        return any(f.active and f.where in ("bus", "chip") for f in self.faults)

    def probe(self, address: int) -> None:
        """Do nothing where an address answers; OSError as the bus reports it where not."""
        if address != self.chip.address or (self.faults and self._active("bus", "nack")):
            raise OSError(EIO)
        if self.faults and self._active("bus", "stuck_bus"):
            raise OSError(ETIMEDOUT)

    def advance(self, dt_ms: int) -> None:
        """Let dt_ms pass, STEP_MAX_MS at most: plant, chip, dead-man, faults."""
        t_s = self.elapsed_ms * 1e-3
        for fault in self.faults:
            self._switch(fault, t_s)
        plant = self.plant
        plant.step(t_s, dt_ms * 1e-3, self.fets, self.limits_a)
        self.elapsed_ms += dt_ms
        self.now_ms = (self.start_ms + self.elapsed_ms) & TICKS_MAX
        shunt_ohm = self.pack.front_end.shunt_ohm
        current_a = plant.current_a
        mean_a = plant.mean_a
        if self.faults:
            shown_a = self._shown("current_a", current_a)
            mean_a += shown_a - current_a
            current_a = shown_a
        self.chip.advance(
            (self.elapsed_ms + STEP_MAX_MS) * 1000,
            current_a * shunt_ohm,
            self._shown("cell_v", plant.bus_v) if self.faults else plant.bus_v,
            plant.die_c,
            mean_a * shunt_ohm,
        )
        if self.pack.parts.dead_man:
            self._dead_man()
        read = self.chip.read
        self.readings.extend(
            (
                self.elapsed_ms,
                int.from_bytes(read(VBUS, 3), "big") >> 4,
                int.from_bytes(read(CURRENT, 3), "big", signed=True) >> 4,
                self.adc(0),
                0 if self.faults and self._deaf() else 1,
            )
        )
        if self.elapsed_ms % 1000 < dt_ms:
            soc, temp_c = plant.truth()
            self.truth.append((self.elapsed_ms, soc, temp_c))

    def _switch(self, fault: Fault, t_s: float) -> None:
        active = fault.use.from_s <= t_s < fault.use.until_s
        if active == fault.active:
            return
        fault.active = active
        self.events.append(
            (self.elapsed_ms, "fault", fault.name if active else f"{fault.name} over")
        )
        if fault.where == "chip":
            if fault.kind == "reset" and active:
                self.chip.power_on_reset()
            if fault.kind == "stuck":
                self.chip.frozen = {"vbus", "current", "dietemp", "charge"} if active else set()
        for where, fet in (("chg_fet", self.fets.charge), ("dsg_fet", self.fets.discharge)):
            if fault.where == where:
                fet.fault = fault.kind if active else None  # type: ignore[assignment]
        fault.held = None

    def _active(self, where: str, kind: str) -> Fault | None:
        for fault in self.faults:
            if fault.active and fault.where == where and fault.kind == kind:
                return fault
        return None

    def _shown(self, where: str, value: float) -> float:
        """Return what the sensor sees of a value: the faults of this signal, in file order."""
        for fault in self.faults:
            if fault.active and fault.where == where:
                value = fault.shown(value, self.rng)
        return value


class Fault:
    """A fault file at work."""

    def __init__(self, use: FaultUse, file: FaultFile) -> None:
        self.use = use
        self.name = file.name
        self.where = file.where
        self.kind = file.kind
        self.value = file.value if use.value is None else use.value
        self.active = False
        self.held: float | None = None

    def shown(self, value: float, rng: np.random.Generator) -> float:
        """Return what this fault makes of a value."""
        if self.kind == "stuck":
            if self.held is None:
                self.held = value
            return self.held
        if self.kind == "offset":
            return value + self.value
        if self.kind == "scale":
            return value * self.value
        if self.kind == "noise":
            return value + self.value * rng.standard_normal()
        return value
