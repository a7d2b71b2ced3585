"""The voltage that a cell predicts for a record: the plant's circuit, a whole file at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from solidbms.identify.fit import Load, lag
from solidbms.identify.ocv import branch_of
from solidbms.plant.celldata import CellData

Array = NDArray[np.float64]


def predicted_v(cell: CellData, load: Load) -> Array:
    """Terminal voltage at every row, from the record's current, temperature and SoC."""
    r = load.record
    dt_s = np.diff(r.t_s, prepend=r.t_s[0])
    branch = branch_of(load.soc, cell.hysteresis_soc, load.start_branch)
    r0, r1, r2 = cell.resistance_ohm(load.soc, r.temp_c)
    v = cell.ocv_v(load.soc, r.temp_c, branch) + r0 * r.last_a
    for tau_s, ohm in zip(cell.tau_s, (r1, r2), strict=True):
        v = v + lag((ohm * r.mean_a)[:, None], dt_s, tau_s)[:, 0]
    if cell.sag_v.any():
        share = r.mean_a / (np.abs(r.mean_a) + cell.sag_a)
        v = v + cell.sag_at_v(r.temp_c) * lag(share[:, None], dt_s, cell.sag_tau_s)[:, 0]
    return v


def errors_mv(cell: CellData, load: Load) -> Array:
    """Predicted less measured voltage in mV."""
    return 1e3 * (predicted_v(cell, load) - load.record.v)


def rms_mv(
    cell: CellData, loads: list[Load], from_soc: float = -1.0, loaded_per_h: float = 0.0
) -> float:
    """Root mean square of the error over time, above a SoC and while current flows (in C)."""
    square = seconds = 0.0
    for x in loads:
        dt_s = np.clip(np.diff(x.record.t_s, prepend=x.record.t_s[0]), 0, 10)
        around_a = lag(np.abs(x.record.mean_a)[:, None], dt_s, 20.0)[:, 0]
        dt_s[(x.soc < from_soc) | (around_a < loaded_per_h * cell.capacity_ah)] = 0
        square += float(np.sum(dt_s * errors_mv(cell, x) ** 2))
        seconds += float(np.sum(dt_s))
    return float(np.sqrt(square / seconds)) if seconds else 0.0
