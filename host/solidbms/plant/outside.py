"""What hangs on a pack's terminals: loads and charger."""

from __future__ import annotations

import math

import numpy as np

from solidbms.plant.cell import Array
from solidbms.scenario import Scenario, read_profile
from solidbms.surroundings import Charge, Load

SAMPLE_S = 0.003  # over which a current register averages: CC2 of a BQ769x2 in normal mode


class Outside:
    """Loads and chargers of a scenario, second by second: profiles are measured once a second."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._profiles: dict[str, Array] = {}
        self._ended: list[Charge] = []
        self._wanted_a = 0.0
        self.obeys = False
        self.siemens = 0.0  # of resistors
        self.ripples: list[tuple[float, float]] = []  # A peak and Hz
        self.charger: Charge | None = None

    def plan(self, t_s: float) -> None:
        """Say what is asked for from t_s on."""
        scenario = self._scenario
        active = [load for load in scenario.load if load.from_s <= t_s < load.until_s]
        self._wanted_a = sum(self._asked(load, t_s) for load in active)
        self.obeys = any(load.obeys for load in active)
        self.siemens = sum(1 / load.ohm for load in active if load.ohm)
        self.ripples = [(x.ripple_a, x.ripple_hz) for x in active if x.ripple_a and x.ripple_hz]
        chargers = [c for c in scenario.charge if c.from_s <= t_s < c.until_s]
        self.charger = next((c for c in chargers if c not in self._ended), None)

    def _asked(self, load: Load, t_s: float) -> float:
        if load.profile is None:
            return load.current_a or 0.0
        profile = self._profiles.get(load.profile)
        if profile is None:
            profile = self._profiles[load.profile] = read_profile(load.profile)
        return float(profile[int(t_s - load.from_s) % len(profile)]) * load.scale

    def load_a(self, limits_a: tuple[float, float]) -> float:
        """Return what the loads ask for, where they obey within what the pack announces."""
        if self.obeys:
            return min(max(self._wanted_a, -limits_a[1]), limits_a[0])
        return self._wanted_a

    def charge_a(self, charger: Charge, limit_a: float, hold_a: float) -> float:
        """Return a charger's current: constant, or hold_a, what keeps its terminals at cv_v."""
        most = min(charger.cc_a, limit_a) if charger.obeys else charger.cc_a
        if charger.stop_a is not None and hold_a < min(charger.stop_a, most):
            self._ended.append(charger)
            self.charger = None
            return 0.0
        return min(max(hold_a, 0.0), most)

    def ripple(self, ms: int, dt_s: float, steps: int) -> tuple[Array, Array]:
        """Return mean and sample (the last SAMPLE_S) of what swings about the current, a step."""
        ends = ms * 1e-3 + dt_s * np.arange(steps + 1)
        mean, sample = np.zeros((2, steps))
        for peak_a, hz in self.ripples:
            w = 2 * math.pi * hz
            moved = np.sin(w * ends) * (peak_a / w)
            before = np.sin(w * (ends[1:] - SAMPLE_S)) * (peak_a / w)
            mean += np.diff(moved) / dt_s
            sample += (moved[1:] - before) / SAMPLE_S
        return mean, sample
