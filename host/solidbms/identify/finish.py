"""From slow tests and fitted loads to the cell: OCV by temperature, rests, how far to trust it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from solidbms.identify.fit import D_SOC, REST_S, Fit, Load, rest_ends
from solidbms.identify.ocv import INNER, SOC, Ocv, rising

Array = NDArray[np.float64]

HALF_MOST_V = 0.005  # more is no branch but the end of the plateau


def finished(ocv: Ocv, fit: Fit) -> tuple[Ocv, Array]:
    """Return OCV with what the loads showed of it, and its rows by temperature above that.

    Loads run along the discharge branch: where there are two, they move that one alone.
    """
    rows = [np.interp(SOC, D_SOC, row) for row in fit.d_v]
    d = np.interp(SOC, D_SOC, fit.d_at(ocv.at_c))
    gap = ocv.half_gap_v
    if gap.any():
        halves = np.where(INNER, np.clip(d / 2, -HALF_MOST_V, HALF_MOST_V), 0.0)
        halves = np.minimum(halves, gap)  # a gap stays one
        gap, v = gap - halves, rising(ocv.v + d - halves)
    else:
        v = rising(ocv.v + d)
    off_c = fit.temp_c - ocv.at_c
    off_v = [
        rising(v + row - d + ocv.v_per_k * c) - v for row, c in zip(rows, off_c, strict=True)
    ]
    return replace(ocv, v=v, half_gap_v=gap), np.array(off_v)


@dataclass(frozen=True)
class Rest:
    """The end of a rest in a load file, after current one way."""

    row_c: float
    soc: float
    v: float
    way: float  # of the charge before: -1 discharged


def rests(loads: list[Load], rest_s: float = REST_S) -> list[Rest]:
    """Return every rest of the loads that tells OCV."""
    return [
        Rest(x.record.row_c, float(x.soc[k]), float(x.record.v[k]), -1.0)
        for x in loads
        for k in rest_ends(x, rest_s)
    ]
