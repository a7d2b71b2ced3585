"""What makes the cells of a pack differ: spread, age, heat, shorts, gaps at the interface."""

from __future__ import annotations

import numpy as np

from solidbms.plant.cell import KELVIN, REFERENCE_C, Cells
from solidbms.scenario import Scenario
from solidbms.surroundings import Gap, Short

DIPS_A_SECOND = 0.2  # assumed; while charging
REST_C = 0.02  # of capacity: below it a cell rests and a gap heals
KNOWN = 1e-3  # a change of R by less is not worth a look-up


class Flaws:
    """The flaws of one pack's cells, second by second.

    charge_a_max: what the cell's interface takes at 25 degC. seed: of spread and dips.
    """

    def __init__(
        self, scenario: Scenario, cells: Cells, charge_a_max: float, seed: int = 0
    ) -> None:
        self.cells = cells
        self.heat_w = np.zeros(cells.soc.shape)
        self.leak_s = np.zeros(cells.soc.shape)  # conductance within each cell
        self.leaks = False
        self._heats = [h for h in scenario.heat if h.at == "cells"]
        self._shorts = scenario.short
        self._gaps = [_Grown(gap, cells, charge_a_max) for gap in scenario.gap]
        self._rng = np.random.default_rng((seed, 1))
        self._spread(scenario, seed)
        self._r_scale = cells.r_scale.copy()

    def _spread(self, scenario: Scenario, seed: int) -> None:
        spread, start, cells = scenario.spread, scenario.start, self.cells
        rng = np.random.default_rng((seed if spread.seed is None else spread.seed, 0))
        capacity, r, soc = rng.uniform(-0.01, 0.01, (3, *cells.soc.shape))
        capacity = start.capacity_factor * (1 + spread.capacity_pct * capacity)
        r = start.r_factor * (1 + spread.r_pct * r)
        cells.soc[...] = np.clip(cells.soc + spread.soc_pct * soc, 0.0, 1.0)
        for one in scenario.cell:
            at = 0, one.cell
            if one.soc is not None:
                cells.soc[at] = one.soc
            if one.temp_c is not None:
                cells.temp_c[at] = one.temp_c
            if one.capacity_factor is not None:
                capacity[at] = start.capacity_factor * one.capacity_factor
            if one.r_factor is not None:
                r[at] = start.r_factor * one.r_factor
        cells.capacity_ah *= capacity
        cells.r_scale *= r
        cells.branch[...] = start.branch
        cells.refresh()

    def plan(self, t_s: float, dt_s: float, current_a: float) -> None:
        """Say what holds from t_s on, dt_s after the last time, under `current_a` since then."""
        self.heat_w[...] = 0.0
        for heat in self._heats:
            if heat.from_s <= t_s < heat.until_s:
                self.heat_w[:, slice(None) if heat.cell is None else heat.cell] += heat.w
        if not self._shorts and not self._gaps:
            return
        scale = self._r_scale.copy()
        self.leak_s[...] = 0.0
        for short in self._shorts:
            if short.from_s <= t_s < short.until_s:
                scale[0, :, short.cell] *= short.r0_factor
                self.leak_s[0, short.cell] += self._conducts(short, current_a)
        for gap in self._gaps:
            gap.live(t_s, dt_s, current_a)
            scale[1, :, gap.cell] *= 1 + gap.voids + gap.scars
        self.leaks = bool(self.leak_s.any())
        if (np.abs(scale / self.cells.r_scale - 1) > KNOWN).any():
            self.cells.r_scale[...] = scale
            self.cells.refresh()

    def _conducts(self, short: Short, current_a: float) -> float:
        conducts_s = 1 / short.ohm
        if short.dip_mv and current_a > 0 and self._rng.random() < DIPS_A_SECOND:
            # So much current that R0 and R1 drop the dip.
            at = 0, short.cell
            dip_v = short.dip_mv * 1e-3 * self._rng.uniform(0.05, 1.0)
            r0_ohm, r1_ohm, _ = self.cells.r_ohm[:, *at]
            conducts_s += dip_v / (r0_ohm + r1_ohm) / self.cells.ocv_v[at]
        return conducts_s


class _Grown:
    """One gap: shares of R1 that voids add (they heal) and scars (they do not)."""

    def __init__(self, gap: Gap, cells: Cells, charge_a_max: float) -> None:
        self.cell = gap.cell
        self.voids = self.scars = 0.0
        self._gap = gap
        self._cells = cells
        self._limit_a = charge_a_max
        self._begun = False

    def live(self, t_s: float, dt_s: float, current_a: float) -> None:
        """Let dt_s pass: grow under charge, heal at rest, both by Arrhenius' law as R1."""
        gap = self._gap
        if not self._begun and t_s >= gap.from_s:
            self._begun = True
            self._grow(gap.pct / 100)
        temp_k = self._cells.temp_c[0, gap.cell] + KELVIN
        warm = np.exp(
            self._cells.cell.activation_k[1] * (1 / (REFERENCE_C + KELVIN) - 1 / temp_k)
        )
        if current_a > 0 and gap.from_s <= t_s < gap.until_s:
            hard = (current_a / (self._limit_a * warm)) ** 2
            self._grow(gap.pct_per_h / 100 * hard * dt_s / 3600)
        if abs(current_a) < REST_C * self._cells.capacity_ah[0, gap.cell]:
            self.voids *= np.exp(-dt_s / 3600 / gap.heal_h * warm)

    def _grow(self, by: float) -> None:
        by = min(by, max(self._gap.pct_max / 100 - self.voids - self.scars, 0.0))
        self.voids += by * self._gap.heals_pct / 100
        self.scars += by * (1 - self._gap.heals_pct / 100)
