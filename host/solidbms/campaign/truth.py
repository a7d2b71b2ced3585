"""How near the cells themselves came to danger, by the plant and not by any sensor."""

from __future__ import annotations

from typing import Any

import numpy as np

from solidbms.schema import CellLimits

FLOWS_A = 1e-3


class Log:
    """True extremes at each tick: what the cells had, whatever the sensors showed."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.rows: list[tuple[float, ...]] = []

    def add(self) -> None:
        """Note this tick."""
        plant = self.world.plant
        v = plant.cells_v
        temp = plant.cells.temp_c  # of the last stretch: a second old at most
        self.rows.append((
            self.world.elapsed_ms, plant.current_a, min(v), max(v), temp.min(), temp.max()
        ))  # fmt: skip

    def beyond(self, limits: CellLimits) -> dict[str, Any]:
        """Return by limit of the cell: how far it went, and the longest time past it, ms.

        Only time counts in which the current flowed that the limit is about: a hot cell at rest is
        beyond what a gate can do.
        """
        rows = np.array(self.rows, float).reshape(-1, 6)
        t, amps, v_min, v_max, temp_min, temp_max = rows.T
        charging, discharging = amps > FLOWS_A, amps < -FLOWS_A
        looks = {
            "v_max": (v_max, limits.v_max, 1, charging),
            "v_min": (v_min, limits.v_min, -1, discharging),
            "charge_a_max": (amps, limits.charge_a_max, 1, charging),
            "discharge_a_max": (-amps, limits.discharge_a_max, 1, discharging),
            "charge_temp_min_c": (temp_min, limits.charge_temp_min_c, -1, charging),
            "charge_temp_max_c": (temp_max, limits.charge_temp_max_c, 1, charging),
            "discharge_temp_min_c": (temp_min, limits.discharge_temp_min_c, -1, discharging),
            "discharge_temp_max_c": (temp_max, limits.discharge_temp_max_c, 1, discharging),
        }
        return {
            key: _look(t, *look) for key, look in looks.items() if look[3].any()
        }


def _look(
    t: np.ndarray, value: np.ndarray, limit: float, side: int, flows: np.ndarray
) -> dict[str, Any]:
    worst = float((value[flows] * side).max() * side)
    past = flows & ((value - limit) * side > 0)
    return {"worst": round(worst, 4), "limit": limit, "past_ms": longest_ms(t, past)}


def longest_ms(t: np.ndarray, past: np.ndarray) -> int:
    """Return the longest time without a break; the step before its first tick counts as well."""
    longest = begun = 0.0
    inside = False
    for k in np.flatnonzero(past | np.roll(past, 1)):
        if past[k]:
            if not inside:
                begun, inside = t[max(k - 1, 0)], True
            longest = max(longest, t[k] - begun)
        else:
            inside = False
    return int(longest)
