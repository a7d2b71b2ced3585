"""Heat capacity and loss to ambient, from how drives warm the cell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from solidbms.identify.fit import Load, lag
from solidbms.plant.celldata import CellData

Array = NDArray[np.float64]

MOST_J_PER_K, MOST_W_PER_K = 1e4, 10.0
LEAST_RISE_K = 3.0  # files that warm less tell nothing
DENSE_WH_PER_KG = {"lfp": 105.0, "nmc": 230.0}
J_PER_KG_K = 1050.0  # 850 to 1100 of lithium-ion cells
KG_PER_M3 = 2500.0
W_PER_M2_K = 14.0  # still air with radiation


def fit_heat(cell: CellData, loads: list[Load]) -> tuple[float, float] | None:
    """J/K and W/K by least squares on the temperature of drives; None if they do not tell.

    The heat is I (V - OCV) of what was measured. A cell in a chamber with forced air and a holder
    shows more of both than it has by itself.
    """
    from scipy.optimize import least_squares

    warm = [x for x in loads if np.ptp(x.record.temp_c) > LEAST_RISE_K]
    if not warm:
        return None

    def residual(x: Array) -> Array:
        capacity, loss = np.exp(x)
        parts = []
        for load in warm:
            r = load.record
            heat_w = r.mean_a * (r.v - cell.ocv_v(load.soc, r.temp_c, -1.0))
            dt_s = np.diff(r.t_s, prepend=r.t_s[0])
            rise_k = lag((heat_w / loss)[:, None], dt_s, capacity / loss)[:, 0]
            parts.append((r.temp_c[0] + rise_k - r.temp_c)[::10])
        return np.concatenate(parts)

    capacity, loss = np.exp(least_squares(residual, np.log([45.0, 0.1])).x)
    if not (capacity < MOST_J_PER_K and loss < MOST_W_PER_K):
        return None
    return float(capacity), float(loss)


def by_size(cell: CellData, chemistry: str) -> tuple[float, float]:
    """J/K and W/K that a cell of this energy has, as a cylinder twice and a half as high as wide:
    what can be said without weighing it."""
    energy_wh = cell.capacity_ah * float(cell.ocv_v(0.5))
    mass_kg = energy_wh / DENSE_WH_PER_KG.get(chemistry, 230.0)
    width_m = (mass_kg / KG_PER_M3 / (2.5 * np.pi / 4)) ** (1 / 3)
    area_m2 = np.pi * width_m**2 * 3.0
    return mass_kg * J_PER_KG_K, float(area_m2 * W_PER_M2_K)
