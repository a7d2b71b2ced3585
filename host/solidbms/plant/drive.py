"""A pack in use: cells, FETs, what hangs on the terminals, heat. One pack as `World` needs it."""

from __future__ import annotations

import math

import numpy as np

from solidbms.plant.cell import Array, Cells, load_cell
from solidbms.plant.fet import FetPair
from solidbms.plant.flaws import Flaws
from solidbms.plant.outside import Outside
from solidbms.plant.terminals import Flow, Terminals
from solidbms.plant.warmth import Rise, Sensors
from solidbms.scenario import Scenario
from solidbms.schema import CellFile, PackFile

LISTEN_MS = 200  # how often load and charger look at limits and voltage
# Assumed: FETs on the board's copper and a small heat sink.
FET_K_PER_W, FET_TAU_S = 3.0, 40.0
# Front end: a TQFP of 48 pins and its balancing switches, BQ769x2 data sheets 7.4 and 7.20
# (typical). The time is assumed.
DIE_K_PER_W, DIE_TAU_S = 66.0, 10.0
SWITCH_OHM = 28.0


class Drive:
    """The plant of a scenario; see `world.Plant`.

    Under one current time goes in a stretch of many steps (`Cells`): laid out at its first step,
    broken off where something changes. seed: of what differs by chance.
    """

    def __init__(
        self, scenario: Scenario, pack: PackFile, cell: CellFile, seed: int = 0
    ) -> None:
        self.scenario = scenario
        start, count = scenario.start, pack.cells_in_series
        self.cells = Cells(load_cell(cell.model_dump()), 1, count, start.soc, start.temp_c)
        self._flaws = Flaws(scenario, self.cells, cell.limits.charge_a_max, seed)
        self._outside = Outside(scenario)
        self._terminals = Terminals(self._outside, scenario.output, pack.front_end.shunt_ohm)
        self._sensors = Sensors(pack.thermistor.count, count, pack.watch.sensor_tau_s)
        self._fets, self._die = Rise(FET_K_PER_W, FET_TAU_S), Rise(DIE_K_PER_W, DIE_TAU_S)
        self._bleed_ohm = pack.balance.bleed_ohm if pack.balance else math.inf
        times, temps = zip(*scenario.ambient, strict=True)
        self._ambient = np.array(times), np.array(temps)
        self._ambient_c = float(temps[0])
        self._heat_w = [0.0, 0.0]  # from the scenario, into FETs and board
        self._planned_s = 0.0
        self._second = self._heard = -2
        self._load_a = 0.0
        self._steps = self._at = 0
        self._held: tuple[object, ...] = ()
        # as `world.Plant` has it
        self.bleeds = 0
        self.charger_enabled = True
        self.fuse_blown = False
        self.current_a = self.mean_a = 0.0
        self.peak_a = 0.0  # the furthest that current goes, with ripple and inrush
        self.cells_v: list[float] = self.cells.voltage_v(0.0)[0].tolist()
        self.bus_v = sum(self.cells_v)
        self.out_v = 0.0
        self.temps_c = self._sensors.begin(self.cells.temp_c[0])
        self.fet_c = self.die_c = self._ambient_c

    @property
    def temp_c(self) -> float:
        """The hottest cell's true temperature."""
        return self.truth()[1]

    def truth(self) -> tuple[float, float]:
        """Return true SoC of the pack and the hottest cell's temperature.

        What the weakest cell has left, of that and what the fullest has room for; 0 where one
        cell is empty and another full. Beyond empty and full stays 0 and 1.
        """
        self._end()
        cells = self.cells
        soc = np.clip(cells.soc, 0.0, 1.0)
        left_ah = float((soc * cells.capacity_ah).min())
        room_ah = float(((1 - soc) * cells.capacity_ah).min())
        soc_of_pack = left_ah / (left_ah + room_ah) if left_ah else 0.0
        return soc_of_pack, float(cells.temp_c.max())

    def step(self, t_s: float, dt_s: float, fets: FetPair, limits_a: tuple[float, float]) -> None:
        """Advance by dt_s under what load and charger ask for and the gates let through."""
        ms = round(t_s * 1e3)
        if ms // 1000 != self._second:
            self._end()
            self._plan(ms)
        held = dt_s, fets.ways, self.bleeds, self.charger_enabled, self.fuse_blown
        if self._at >= self._steps or held != self._held or self._told(ms, limits_a):
            self._end()
            self._held = held
            self._begin(ms, dt_s, fets, limits_a)
        k = self._at
        self._at = k + 1
        self.cells_v, self.bus_v, self.out_v = self._rows[k], self._bus[k], self._out[k]
        self.current_a, self.mean_a, self.temps_c = self._shown[k], self._means[k], self._felt[k]
        self.fet_c = self._ambient_c + self._fets.step(dt_s)
        self.die_c = self._ambient_c + self._die.step(dt_s)

    def _plan(self, ms: int) -> None:
        """Take in what the scenario says of this second."""
        self._second = ms // 1000
        t_s = ms * 1e-3
        self._ambient_c = float(np.interp(t_s, *self._ambient))
        self._outside.plan(t_s)
        self._flaws.plan(t_s, t_s - self._planned_s, self.current_a)
        self._planned_s = t_s
        active = [h for h in self.scenario.heat if h.from_s <= t_s < h.until_s]
        self._heat_w = [sum(h.w for h in active if h.at == at) for at in ("fets", "board")]

    def _told(self, ms: int, limits_a: tuple[float, float]) -> bool:
        """Whether the load, which listens now and then, has to change its current."""
        if not self._outside.obeys or ms // LISTEN_MS == self._heard:
            return False
        self._heard = ms // LISTEN_MS
        return self._outside.load_a(limits_a) != self._load_a

    def _end(self) -> None:
        if self._at:
            self.cells.advance(self._at)
        self._at = self._steps = 0

    def _begin(
        self, ms: int, dt_s: float, fets: FetPair, limits_a: tuple[float, float]
    ) -> None:
        """Lay out a stretch, to the end of this second at most."""
        cells = self.cells
        self._heard = ms // LISTEN_MS
        self._terminals.v = self.out_v
        stack = float(cells.voltage_v(0.0).sum()), float(cells.r_ohm[0].sum())
        flow = Flow()
        if not self.fuse_blown:
            flow = self._terminals.flow(stack, fets, limits_a, self.charger_enabled, dt_s)
        self._load_a = flow.load_a
        every_ms = LISTEN_MS if flow.watched else 1000
        steps = 1 if flow.brief else -(-(every_ms - ms % every_ms) // max(1, round(dt_s * 1e3)))
        ripples = self._outside.ripples if flow.through and flow.current_a else []
        mean_square = sum(peak_a**2 for peak_a, _ in ripples) / 2
        amps, heat_w = self._beside(flow.mean_a)
        steps = cells.hold(amps, self._ambient_c, heat_w, dt_s, steps, mean_square)
        volts = cells.volts(steps)
        if flow.current_a != flow.mean_a:
            volts = volts + (flow.current_a - flow.mean_a) * cells.r_ohm[0, 0]
        self._means, self._shown = [flow.mean_a] * steps, [flow.current_a] * steps
        if ripples:
            mean, sample = self._outside.ripple(ms, dt_s, steps)
            volts = volts + np.multiply.outer(sample, cells.r_ohm[0, 0])
            self._means = (flow.mean_a + mean).tolist()
            self._shown = (flow.current_a + sample).tolist()
        self._rows: list[list[float]] = volts.tolist()
        self._bus: list[float] = volts.sum(1).tolist()
        self._out = self._terminals.after(flow, fets, self._bus, dt_s)
        self._felt = self._sensors.felt_c(
            self.temps_c, cells.temp_c[0], cells.change_k[0], dt_s, steps
        )
        swing_a = sum(peak_a for peak_a, _ in ripples)
        self.peak_a = flow.peak_a + math.copysign(swing_a, flow.peak_a)
        self._warm(flow, fets, mean_square)
        self._steps = steps

    def _beside(self, current_a: float) -> tuple[float | Array, Array]:
        """Current of each cell, less what flows beside the pack's, and heat into each."""
        flaws = self._flaws
        if not self.bleeds and not flaws.leaks:
            return current_a, flaws.heat_w
        volts = self.cells.voltage_v(current_a)
        bled_a = volts * [(self.bleeds >> k & 1) / self._bleed_ohm for k in range(volts.size)]
        leaked_a = volts * flaws.leak_s
        return current_a - bled_a - leaked_a, flaws.heat_w + leaked_a * volts

    def _warm(self, flow: Flow, fets: FetPair, ripple_a2: float) -> None:
        """Say what heats FETs and front end from now on."""
        self._fets.w, self._die.w = self._heat_w
        if flow.through:
            self._fets.w += fets.loss_w(flow.current_a) + ripple_a2 * 2 * fets.rds_on_ohm
        bled = [v for k, v in enumerate(self.cells_v) if self.bleeds >> k & 1]
        self._die.w += sum((v / self._bleed_ohm) ** 2 for v in bled) * SWITCH_OHM
