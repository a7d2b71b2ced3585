"""The tables of a cell that the estimator in the firmware works with, from its cell file.

One grid of temperatures for all: the file's own, more between and beyond them, as R follows an
Arrhenius law and the firmware draws lines. Where the file has a `[filter]` its fit counts, else
the plant's own. Beyond the temperatures that were measured nobody has seen how well the tables
fit: what they promise there grows with the distance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from solidbms.plant.celldata import KELVIN
from solidbms.schema import CellFile

Array = NDArray[np.float64]

STEP_K = 10.0  # the Arrhenius law of 5000 K is within 7 % of its chord over 10 K
BEYOND_K = 10.0  # past the temperatures that the cell may be used at
R_MAX_OHM = 5.0  # 5 ohm is where the firmware's product of current and resistance ends
RISE_V = 1e-5  # OCV rises by this at least from node to node
RESIDUAL_MV = 20.0  # of a file that says nothing: a guess at what a hand-written model leaves
OCV_GROWTH_PER_K = 0.05  # found by leaving out LFP at 5 and 45 degC, 20 K beyond the rest
RESIDUAL_GROWTH_PER_K = 0.025


@dataclass(frozen=True)
class _Source:
    """Rows by temp_c, whichever block they come from."""

    temp_c: Array
    soc: Array
    r_ohm: Array  # (3, temperatures, SoC)
    ocv_soc: Array
    ocv_v: Array  # (temperatures, SoC)
    residual_mv: Array
    ocv_error_mv: Array
    arrhenius_between: bool  # R was fitted with the law inside too, not with lines
    grows: bool  # the errors hold at temp_c, not anywhere


def taus_ms(cell: CellFile) -> tuple[int, int]:
    """Return the time constants that belong to R1 and R2 of `tables`."""
    table = cell.filter or cell.resistance
    return max(1, round(table.tau1_s * 1e3)), max(1, round(table.tau2_s * 1e3))


def tables(cell: CellFile, ocv_error_mv: float | None = None) -> dict[str, list[int]]:
    """Return the tables by the names of bms.core.pack.TABLES, rows one after the other.

    ocv_error_mv: what the pack says of it, in place of the cell's.
    """
    source = _from_filter(cell) if cell.filter else _from_plant(cell)
    rows_c = _rows(source.temp_c, cell)
    beyond_k = np.maximum(source.temp_c[0] - rows_c, rows_c - source.temp_c[-1]).clip(0)
    beyond_k = beyond_k * source.grows
    error_mv = np.interp(rows_c, source.temp_c, source.ocv_error_mv)
    error_mv = error_mv * (1 + OCV_GROWTH_PER_K * beyond_k)
    if ocv_error_mv is not None:
        error_mv = np.full_like(rows_c, ocv_error_mv)
    residual_mv = np.interp(rows_c, source.temp_c, source.residual_mv)
    residual_mv = residual_mv * (1 + RESIDUAL_GROWTH_PER_K * beyond_k)
    ocv_v = [_rising([np.interp(t, source.temp_c, column) for column in source.ocv_v.T])
             for t in rows_c]  # fmt: skip
    r_k = cell.resistance.activation_r0_k, cell.resistance.activation_rc_k
    r0, r1, r2 = (
        [_r_ohm(source, source.r_ohm[k], r_k[min(k, 1)], t) for t in rows_c] for k in range(3)
    )
    half_v = np.zeros(0)
    if cell.ocv.hysteresis_v:
        half_v = np.interp(source.ocv_soc, cell.ocv.soc, cell.ocv.hysteresis_v)
    return {
        "cell_mdegc": _whole(rows_c, 1e3),
        "cell_ocv_ppm": _whole(source.ocv_soc, 1e6),
        "cell_ocv_uv": _whole(ocv_v, 1e6),
        "cell_hysteresis_uv": _whole(half_v, 1e6),
        "cell_r_ppm": _whole(source.soc, 1e6),
        "cell_r0_uohm": _whole(r0, 1e6),
        "cell_r1_uohm": _whole(r1, 1e6),
        "cell_r2_uohm": _whole(r2, 1e6),
        "cell_residual_uv": _whole(residual_mv, 1e3),
        "cell_ocv_error_uv": _whole(error_mv, 1e3),
    }


def usable(cell: CellFile) -> tuple[list[float], list[float]]:
    """Return the usable share of the capacity in ppm over mdegc: all of it if nothing is said."""
    points = dict(zip(cell.capacity.temp_c or [], cell.capacity.usable_ah or [], strict=True))
    pairs = [(t * 1e3, min(ah / cell.capacity.ah, 1.0) * 1e6) for t, ah in sorted(points.items())]
    if not pairs:
        pairs = [(25e3, 1e6)]
    if len(pairs) == 1:  # a table takes two
        pairs.append((pairs[0][0] + 10e3, pairs[0][1]))
    return [t for t, _ in pairs], [share for _, share in pairs]


def _from_filter(cell: CellFile) -> _Source:
    block = cell.filter
    assert block is not None
    return _Source(
        temp_c=np.array(block.temp_c, float),
        soc=np.array(block.soc),
        r_ohm=np.array([block.r0_ohm, block.r1_ohm, block.r2_ohm]),
        ocv_soc=np.array(block.ocv_soc),
        ocv_v=np.array(block.ocv_v),
        residual_mv=np.array(block.residual_mv),
        ocv_error_mv=np.array(block.ocv_error_mv),
        arrhenius_between=True,
        grows=True,
    )


def _from_plant(cell: CellFile) -> _Source:
    table, ocv, accuracy = cell.resistance, cell.ocv, cell.accuracy
    temp_c = np.array(table.temp_c, float)
    base_v = np.array(ocv.v) + np.zeros((len(temp_c), 1))
    ocv_mv = accuracy.ocv_mv
    if ocv.off_v:
        base_v = base_v + np.array(ocv.off_v)
        ocv_mv = accuracy.ocv_by_temp_mv or ocv_mv
    residual_mv = np.full_like(temp_c, RESIDUAL_MV)
    if accuracy.temp_c and accuracy.residual_mv:
        residual_mv = np.interp(temp_c, accuracy.temp_c, accuracy.residual_mv)
    return _Source(
        temp_c=temp_c,
        soc=np.array(table.soc),
        r_ohm=np.array([table.r0_ohm, table.r1_ohm, table.r2_ohm]),
        ocv_soc=np.array(ocv.soc),
        ocv_v=base_v,
        residual_mv=residual_mv,
        ocv_error_mv=np.full_like(temp_c, ocv_mv),
        arrhenius_between=False,
        grows=bool(accuracy.temp_c),
    )


def _rows(temp_c: Array, cell: CellFile) -> Array:
    """Return the grid: the file's own temperatures, at most STEP_K apart, and room beyond."""
    least_c = min(cell.limits.charge_temp_min_c, cell.limits.discharge_temp_min_c) - BEYOND_K
    most_c = max(cell.limits.charge_temp_max_c, cell.limits.discharge_temp_max_c) + BEYOND_K
    ends = [max(min(least_c, temp_c[0]), -100.0), *temp_c, min(max(most_c, temp_c[-1]), 200.0)]
    rows = {float(t) for t in temp_c}
    for low, high in pairwise(ends):
        steps = math.ceil((high - low) / STEP_K - 1e-9)
        rows |= {round(low + (high - low) * k / steps, 3) for k in range(steps + 1) if steps > 0}
    return np.array(sorted(rows))


def _r_ohm(source: _Source, table: Array, activation_k: float, temp_c: float) -> Array:
    """Return one row of R at a temperature: Arrhenius beyond the ends, and between if so made."""
    own_c = source.temp_c
    inverse = 1 / (temp_c + KELVIN) - 1 / (own_c + KELVIN)
    moved = table * np.exp(np.minimum(activation_k * inverse, 50.0))[:, None]
    if temp_c <= own_c[0] or temp_c >= own_c[-1]:
        row = moved[0 if temp_c <= own_c[0] else -1]
    else:
        used = moved if source.arrhenius_between else table
        row = np.array([np.interp(temp_c, own_c, column) for column in used.T])
    return row.clip(1e-6, R_MAX_OHM)


def _rising(v: list[float]) -> Array:
    """Return OCV that never falls: where a fit in the cold bends, SoC would have two answers."""
    steps = np.arange(len(v)) * RISE_V
    return np.array(np.maximum.accumulate(np.array(v) - steps) + steps, float)


def _whole(values: object, factor: float) -> list[int]:
    return [round(float(x) * factor) for x in np.ravel(np.array(values, float))]
