"""From slow tests and fitted loads to the cell: OCV by temperature, rests, how far to trust it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from solidbms.identify.fit import D_SOC, Fit, Load
from solidbms.identify.ocv import INNER, SOC, Ocv, rising
from solidbms.identify.reading import GAP_S

Array = NDArray[np.float64]

HALF_MOST_V = 0.005  # more is no branch but the end of the plateau
REST_S = 1800.0
IDLE = 0.002  # of the largest current of the file


def finished(ocv: Ocv, fit: Fit) -> tuple[Ocv, Array]:
    """Return OCV with what the loads showed of it, and its rows by temperature above that.

    Loads run along the discharge branch: where there are two, they move that one alone.
    """
    k = fit.reference
    d = [np.interp(SOC, D_SOC, row) for row in fit.d_v]
    gap = ocv.half_gap_v
    if gap.any():
        halves = np.where(INNER, np.clip(d[k] / 2, -HALF_MOST_V, HALF_MOST_V), 0.0)
        halves = np.minimum(halves, gap)  # a gap stays one
        gap, v = gap - halves, rising(ocv.v + d[k] - halves)
    else:
        v = rising(ocv.v + d[k])
    off_c = fit.temp_c - fit.temp_c[k]
    rows = [rising(v + d[j] - d[k] + ocv.v_per_k * off_c[j]) - v for j in range(len(d))]
    return replace(ocv, v=v, half_gap_v=gap), np.array(rows)


@dataclass(frozen=True)
class Rest:
    """The end of a rest in a load file, after current one way."""

    row_c: float
    soc: float
    v: float
    way: float  # of the charge before: -1 discharged


def rests(loads: list[Load]) -> list[Rest]:
    """Every end of half an hour or more without current and without a gap, after a discharge."""
    found = []
    for x in loads:
        r = x.record
        idle = (np.abs(r.last_a) < IDLE * np.abs(r.last_a).max()) & (
            np.diff(r.t_s, prepend=r.t_s[0]) < GAP_S
        )
        edges = np.flatnonzero(np.diff(idle.astype(int), prepend=0, append=0)).reshape(-1, 2)
        for a, b in edges.tolist():
            if a and r.t_s[b - 1] - r.t_s[a] > REST_S and x.soc[a] < x.soc[0]:
                found.append(Rest(r.row_c, float(x.soc[b - 1]), float(r.v[b - 1]), -1.0))
    return found
