"""A pack in use: measured or constant load, CC-CV charger, ambient, heat. One pack of series cells
as `World` needs it."""

from __future__ import annotations

import numpy as np

from solidbms.plant.cell import Cells, load_cell
from solidbms.plant.fet import FetPair
from solidbms.scenario import Charge, Load, Scenario, read_profile
from solidbms.schema import CellFile, PackFile


class Drive:
    """The plant of a scenario."""

    def __init__(self, scenario: Scenario, pack: PackFile, cell: CellFile) -> None:
        self.scenario = scenario
        self.shunt_ohm = pack.front_end.shunt_ohm
        start = scenario.start
        self.cells = Cells(
            load_cell(cell.model_dump()), 1, pack.cells_in_series, start.soc, start.temp_c
        )
        times, temps = zip(*scenario.ambient, strict=True)
        self._ambient_s = np.array(times)
        self._ambient_c = np.array(temps)
        self._profiles = {
            load.profile: read_profile(load.profile) * load.scale
            for load in scenario.load
            if load.profile
        }
        self._second = -1
        self._wanted_a = 0.0
        self._limited = False
        self._charger: Charge | None = None
        self._heat_w = 0.0
        self._ambient = float(temps[0])
        self.current_a = self.mean_a = 0.0
        self.sensors = pack.thermistor.count
        self.bleeds = 0
        self.charger_enabled = True
        self.fuse_blown = False
        self.die_c = self.fet_c = start.temp_c
        self._show(0.0, False)

    def step(self, t_s: float, dt_s: float, fets: FetPair, limits_a: tuple[float, float]) -> None:
        """Advance by dt_s under what load and charger ask for and the gates let through."""
        if int(t_s) != self._second:
            self._plan(t_s)
        current = self._wanted_a
        if self._limited:
            current = min(max(current, -limits_a[1]), limits_a[0])
        if self._charger is not None and self.charger_enabled:
            current += self._charging(self._charger, fets, limits_a[0])
        if current and (self.fuse_blown or not fets.conducts(1 if current > 0 else -1)):
            current = 0.0
        self.cells.step(current, dt_s, self._ambient, self._heat_w)
        self.current_a = self.mean_a = current
        self.die_c = self.fet_c = self._ambient
        self._show(current, fets.charge.on or fets.discharge.on or fets.pre_discharge.on)

    def _show(self, current: float, connected: bool) -> None:
        cells_v = self.cells.voltage_v(current)
        self.cells_v: list[float] = cells_v[0].tolist()
        self.bus_v = float(cells_v.sum())
        self.out_v = self.bus_v if connected else 0.0
        temps_c = self.cells.temp_c[0].tolist()
        self.temp_c = max(temps_c)
        n = len(temps_c)
        places = [(2 * k + 1) * n // (2 * self.sensors) for k in range(self.sensors)]
        self.temps_c = [temps_c[k] for k in places] if self.sensors > 1 else [self.temp_c]

    def truth(self) -> tuple[float, float]:
        """Return true SoC of the weakest cell and the hottest cell's temperature."""
        return float(self.cells.soc.min()), float(self.cells.temp_c.max())

    def _plan(self, t_s: float) -> None:
        # What is asked for changes at whole seconds: profiles are measured once a second.
        self._second = int(t_s)
        scenario = self.scenario
        self._ambient = float(np.interp(t_s, self._ambient_s, self._ambient_c))
        active = [load for load in scenario.load if load.from_s <= t_s < load.until_s]
        self._wanted_a = sum(self._asked(load, t_s) for load in active)
        self._limited = any(load.obeys for load in active)
        chargers = [c for c in scenario.charge if c.from_s <= t_s < c.until_s]
        self._charger = chargers[0] if chargers else None
        self._heat_w = sum(h.w for h in scenario.heat if h.from_s <= t_s < h.until_s)

    def _asked(self, load: Load, t_s: float) -> float:
        if load.profile is None:
            return load.current_a or 0.0
        profile = self._profiles[load.profile]
        return float(profile[int(t_s - load.from_s) % len(profile)])

    def _charging(self, charger: Charge, fets: FetPair, limit_a: float) -> float:
        # CC until the terminals reach the set voltage, then what holds them there.
        most = min(charger.cc_a, limit_a) if charger.obeys else charger.cc_a
        at_rest_v = float(self.cells.voltage_v(0.0).sum())
        if not fets.discharge.on:
            at_rest_v += fets.diode_v
        ohm = float(self.cells.r0_ohm.sum()) + self.shunt_ohm + 2 * fets.rds_on_ohm
        return min(max((charger.cv_v - at_rest_v) / ohm, 0.0), most)
