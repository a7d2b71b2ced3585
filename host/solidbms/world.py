"""What the firmware's pins end in: the front end, gates, clock, and the faults in between.

A plant gives what there is to measure and hears of the gates; see `Drive` (plant.drive) and
`Playback` (replay).
"""

from __future__ import annotations

from array import array
from typing import Protocol

import numpy as np
from bms.core.fixed import TICKS_MAX, ticks_diff
from bms.core.switch import REQUESTS

from solidbms.faults import EIO, Fault, FaultFile, Senses, act
from solidbms.fronts import Circuit, front
from solidbms.packc import DEAD_MAN_MS
from solidbms.plant import ntc
from solidbms.plant.fet import FetPair
from solidbms.scenario import FaultUse, Request, request_code
from solidbms.schema import BadInput, PackFile

STEP_MAX_MS = 50
NEVER_MS = 1 << 60
CHARGE, DISCHARGE, PRE_DISCHARGE, PRE_CHARGE = 1, 2, 4, 8  # FETs, as bits
FETS_WORD = "chg={:d} dsg={:d} pre-dsg={:d} pre-chg={:d}"


class SimulationFailed(RuntimeError):
    """What surrounds the firmware went wrong, not the firmware."""


class Plant(Protocol):
    """Cells and surroundings. Charge current is positive."""

    bus_v: float  # of the stack
    cells_v: list[float]  # the lowest first
    out_v: float  # terminals, behind the FETs
    current_a: float
    mean_a: float  # over the last step: what an accumulator sees
    temps_c: list[float]  # of each thermistor on the cells
    fet_c: float
    die_c: float
    # Written by the world: what chip and pins do to it.
    bleeds: int  # bit k: a resistor lies across cell k
    charger_enabled: bool
    fuse_blown: bool

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
    BadInput for a fault that this pack's front end cannot have.
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
        self.front = front(pack)
        self.circuit: Circuit = self.front.Circuit(pack)
        fets = pack.fets
        self.fets = FetPair(
            fets.rds_on_ohm,
            fets.body_diode_v,
            pre_discharge_ohm=fets.pre_discharge_ohm,
            pre_charge_ohm=fets.pre_charge_ohm,
        )
        self.requests = sorted(requests or [], key=lambda r: r.at_s)
        self.start_ms = start_ms
        self.elapsed_ms = -STEP_MAX_MS
        self.limits_a = (0.0, 0.0)
        self.events: list[tuple[int, str, str]] = []
        self.truth: list[tuple[int, float, float]] = []
        # What faults act on, see `faults.KINDS`.
        self.rng = np.random.default_rng(seed)
        self.senses = Senses(self.rng)
        self.bus_errno = 0
        self.garble = ""
        self.deaf = 0
        self.late_ms = 0
        self.faults: list[Fault] = []
        self._change_ms = NEVER_MS
        # What the pins did and the sensors showed: the measure of every promise. Gates as
        # (t_ms, charge + 2 * discharge) at each change; readings as t_ms, whether the bus answers
        # truly, codes of the thermistors on pins, words of the front end, `row` a step.
        self.gate_log: list[tuple[int, int]] = [(0, 0)]
        self.readings = array("i")
        self._inhibits = pack.parts.charger_inhibit
        self.thermistors = 0 if self.front.READS_TEMPS else pack.thermistor.count
        self.row = 2 + self.thermistors + self.circuit.WORDS
        self.stopped = False
        self.lag_ms = 0  # from a tick until its gates show, where a board keeps its own time
        self.dropped = False  # the dead-man holds open what is commanded closed
        self._commanded = 0
        self._pins = 0
        self._drives = 0
        self._asked: list[int] = []
        self._fed_ms = 0
        self._adc_temps: list[float] = []
        self._adc_codes: list[int] = []
        self._answers: dict[tuple[int, int], bytes] = {}
        for use, file in faults or []:
            self.put(use, file)
        self._conduct()
        self.advance(STEP_MAX_MS)  # the chip has been converting when the firmware boots
        self._switch_faults(0)  # what is broken from the start is so at the first tick

    def put(self, use: FaultUse, file: FaultFile) -> None:
        """Add a fault; BadInput when the front end cannot have it."""
        if file.where == "chip" and file.kind not in self.circuit.FAULTS:
            raise BadInput(f"fault {file.name}: front end {self.pack.front_end.chip} has no such; "
                           f"kind {', '.join(self.circuit.FAULTS)} is valid")  # fmt: skip
        fault = Fault(use, file)
        counts = {"temp_c": self.pack.thermistor.count}
        count = counts.get(file.where, self.pack.cells_in_series)
        if fault.index is not None and fault.index >= count:
            raise BadInput(f"fault {file.name}: index: 0 to {count - 1} is valid, "
                           f"not {fault.index}")  # fmt: skip
        self.faults.append(fault)
        self._change_ms = self.elapsed_ms

    def read(self, address: int, register: int, length: int) -> bytes:
        """Answer a register read; OSError as the bus reports it."""
        self.probe(address)
        data = self.circuit.read(register, length)
        return self._garbled(register, data) if self.garble else data

    def write(self, address: int, register: int, data: bytes) -> None:
        """Take a register write; OSError as the bus reports it."""
        self.probe(address)
        self.circuit.write(register, data)

    def probe(self, address: int) -> None:
        """Do nothing where an address answers; OSError as the bus reports it where not."""
        if self.bus_errno:
            raise OSError(self.bus_errno)
        if address != self.circuit.address:
            raise OSError(EIO)

    def _garbled(self, register: int, data: bytes) -> bytes:
        if self.garble == "torn":
            before = self._answers.get((register, len(data)), data)
            self._answers[register, len(data)] = data
            half = len(data) // 2
            return before[:half] + data[half:]
        at = int(self.rng.integers(8 * len(data)))
        return bytes(x ^ (1 << at % 8 if k == at // 8 else 0) for k, x in enumerate(data))

    def adc(self, channel: int) -> int:
        """Return the ADC code of a thermistor's channel, 16 bits."""
        return self._adc_codes[channel]

    def _convert(self, channel: int, temp_c: float) -> int:
        sensor = self.pack.thermistor
        senses = self.senses
        if senses:
            temp_c = senses.shown("temp_c", temp_c, channel)
        return ntc.adc_u16(
            temp_c,
            open=senses.has("temp_c", "lost", channel),
            short=senses.has("temp_c", "short", channel),
            r25_ohm=sensor.r25_ohm,
            beta_k=sensor.beta_k,
            pullup_ohm=sensor.pullup_ohm,
        )

    def gates(self, chg_on: int, dsg_on: int) -> None:
        """Take the gate commands; each feeds the dead-man, a gate newly closed arms it."""
        gates = (CHARGE if chg_on else 0) + (DISCHARGE if dsg_on else 0)
        if gates & ~self._commanded:
            self.dropped = False
        self._commanded = gates
        self._fed_ms = self.elapsed_ms
        if not gates:
            self.dropped = False
        elif self.pack.parts.dead_man and self.circuit.alert:
            self.dropped = True
        self.drive(0 if self.dropped else gates, self.elapsed_ms)

    def drive(self, gates: int, t_ms: int) -> None:
        """Let the gate pins be as they have been since t_ms: 1 charge, 2 discharge, 3 both."""
        if gates != self._pins:
            self._pins = gates
            self.gate_log.append((t_ms, gates))
            self.circuit.pins(gates)
            self._conduct()

    def blow(self) -> None:
        """Blow the fuse: nothing flows any more."""
        if not self.plant.fuse_blown:
            self.plant.fuse_blown = True
            self.events.append((self.elapsed_ms, "fuse", "blown"))

    def _conduct(self) -> None:
        """Let each FET be as pin and front end, both, allow; the charge pin feeds the charger's
        enable line, where there is one."""
        if self._inhibits:
            self.plant.charger_enabled = bool(self._pins & CHARGE)
        self._drives = drives = self.circuit.drives
        fets = self.fets
        chg, dsg = self._pins & CHARGE, self._pins & DISCHARGE
        fets.charge.gate = bool(chg and drives & CHARGE)
        fets.pre_charge.gate = bool(chg and drives & PRE_CHARGE)
        fets.discharge.gate = bool(dsg and drives & DISCHARGE)
        fets.pre_discharge.gate = bool(dsg and drives & PRE_DISCHARGE)

    def _dead_man(self) -> None:
        """Open the gates that nobody has fed, or that the chip's alert pin stops."""
        if not self._commanded or self.dropped:
            return
        late_ms = self.elapsed_ms - self._fed_ms - DEAD_MAN_MS
        if late_ms > 0 or self.circuit.alert:
            self.dropped = True
            self.drive(0, self.elapsed_ms - max(late_ms, 0))

    def sleep_until(self, t_ms: int) -> tuple[int, bool]:
        """Let time pass to t_ms (wrapping); return (request code or 0, whether to go on)."""
        wait_ms = max(0, ticks_diff(t_ms, self.now_ms)) + self.late_ms
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

    def advance(self, dt_ms: int) -> None:
        """Let dt_ms pass, STEP_MAX_MS at most: plant, chip, dead-man, faults."""
        elapsed_ms = self.elapsed_ms
        if elapsed_ms >= self._change_ms:
            self._switch_faults(elapsed_ms)
        plant = self.plant
        circuit = self.circuit
        try:
            plant.step(elapsed_ms * 1e-3, dt_ms * 1e-3, self.fets, self.limits_a)
        except (ArithmeticError, ValueError, IndexError) as error:
            raise SimulationFailed(f"the simulation failed: {error!r}") from error
        self.elapsed_ms = elapsed_ms = elapsed_ms + dt_ms
        self.now_ms = (self.start_ms + elapsed_ms) & TICKS_MAX
        self.senses.t_s = elapsed_ms * 1e-3
        circuit.advance((elapsed_ms + STEP_MAX_MS) * 1000, plant, self.senses)
        if circuit.drives != self._drives:
            self._conduct()
            self.events.append((elapsed_ms, "fets", FETS_WORD.format(*self.fets.ways)))
        plant.bleeds = circuit.bleeds
        if self.pack.parts.dead_man:
            self._dead_man()
        if self.thermistors:
            self._thermistors()
        heard = 0 if self.deaf else 1
        self.readings.extend((elapsed_ms, heard, *self._adc_codes, *circuit.shows()))
        if elapsed_ms % 1000 < dt_ms:
            soc, temp_c = plant.truth()
            self.truth.append((elapsed_ms, soc, temp_c))

    def _thermistors(self) -> None:
        temps = self.plant.temps_c
        if temps != self._adc_temps or self.senses:
            self._adc_temps = [] if self.senses else temps
            self._adc_codes = [self._convert(k, t) for k, t in enumerate(temps)]

    def _switch_faults(self, elapsed_ms: int) -> None:
        """Let faults come and go that do so by now; note when the next one does."""
        t_s = elapsed_ms * 1e-3
        for fault in self.faults:
            active = fault.use.from_s <= t_s < fault.use.until_s
            if active != fault.active:
                fault.active = active
                word = fault.name if active else f"{fault.name} over"
                self.events.append((elapsed_ms, "fault", word))
                act(fault, self, active)
        later = [t * 1000 for f in self.faults for t in (f.use.from_s, f.use.until_s)]
        # A little early rather than late: the look above decides.
        self._change_ms = min((int(t) for t in later if t > elapsed_ms), default=NEVER_MS)
