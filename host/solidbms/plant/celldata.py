"""What a kind of cell is, as its TOML has it: OCV, R0 and two RC pairs over SoC and temperature,
heat. `Cells` (plant.cell) lets time pass over it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

KELVIN = 273.15
REFERENCE_C = 25.0
FAR = 100.0  # a SoC beyond all
# OCV of `Cells` beyond SoC 0 and 1, in V over SoC, or the table's own last slope if steeper. Below
# as the last percent of the measured cells, 13 (lg_hg2), 31 (panasonic_pf), 56 (a123_26650); above
# assumed: those end with 2 (lg_hg2, panasonic_pf) and 10 (a123_26650).
EMPTY_V, FULL_V = 30.0, 5.0


@dataclass(frozen=True)
class CellData:
    """One kind of cell as its TOML has it. Arrays: SoC along the last axis, R rows temperature."""

    name: str
    capacity_ah: float
    ocv_soc: Array
    ocv_table_v: Array
    r_soc: Array
    r_temp_c: Array
    r_ohm: Array  # (3, temperatures, SoC): R0, R1, R2
    tau_s: tuple[float, float]
    activation_k: Array  # (3,): R0, R1, R2; Ea/R
    heat_capacity_j_per_k: float
    to_ambient_w_per_k: float
    to_neighbour_w_per_k: float = 0.0
    # over ocv_soc: half the distance of the branches (0: one OCV), and by r_temp_c what OCV there
    # lies above the table
    hysteresis_v: Array = field(default_factory=lambda: np.zeros(1))
    hysteresis_soc: float = 1.0
    ocv_off_v: Array = field(default_factory=lambda: np.zeros((1, 1)))
    # by r_temp_c, the slow loss under load; the current that gives half of it; how it builds up
    sag_v: Array = field(default_factory=lambda: np.zeros(1))
    sag_a: float = 1.0
    sag_tau_s: float = 1.0
    chemistry: str = ""
    limits: Mapping[str, float] = field(default_factory=dict)
    accuracy: Mapping[str, float] = field(default_factory=dict)

    def ocv_v(
        self, soc: ArrayLike, temp_c: ArrayLike = REFERENCE_C, branch: ArrayLike = 0.0
    ) -> Array:
        """Open-circuit voltage, linear between the table's points, end slopes beyond them (`Cells`
        go on steeper: `Tables`).

        branch: 1 charged, -1 discharged, 0 the middle. Temperature acts as far as R's table goes.
        """
        x = self.ocv_soc
        soc = np.asarray(soc, float)
        v = _along(x, self.ocv_table_v, soc)
        if self.has_hysteresis:
            v = v + np.asarray(branch) * np.interp(soc, x, self.hysteresis_v)
        if self.ocv_off_v.any():
            rows = np.arange(len(self.r_temp_c))
            at = np.interp(np.asarray(temp_c, float), self.r_temp_c, rows)
            for k, row in enumerate(self.ocv_off_v):
                v = v + np.clip(1 - np.abs(at - k), 0, 1) * _along(x, row, soc)
        return v

    @property
    def has_hysteresis(self) -> bool:
        """Whether OCV depends on the way the cell came."""
        return bool(self.hysteresis_v.any())

    def sag_at_v(self, temp_c: ArrayLike) -> Array:
        """The whole slow loss at a temperature, as far as R's table goes."""
        sag_v = np.zeros_like(self.r_temp_c) + self.sag_v
        return np.interp(np.asarray(temp_c, float), self.r_temp_c, sag_v)

    def resistance_ohm(self, soc: ArrayLike, temp_c: ArrayLike) -> Array:
        """R0, R1, R2 of shape (3, ...): bilinear in the table, held beyond its SoC ends,
        Arrhenius beyond its temperatures: R = R(end) * exp(activation * (1/T - 1/T_end))."""
        soc, temp_c = np.broadcast_arrays(soc, temp_c)
        rows = [np.interp(soc, self.r_soc, row) for part in self.r_ohm for row in part]
        table = np.array(rows).reshape(3, len(self.r_temp_c), *soc.shape)
        held_c = np.clip(temp_c, self.r_temp_c[0], self.r_temp_c[-1])
        at = np.interp(held_c, self.r_temp_c, np.arange(len(self.r_temp_c)))
        low = at.astype(int)
        high = np.minimum(low + 1, len(self.r_temp_c) - 1)
        low, high = low[None, None], high[None, None]
        r = np.take_along_axis(table, low, 1)[:, 0] * (1 - (at - low[0, 0]))
        r += np.take_along_axis(table, high, 1)[:, 0] * (at - low[0, 0])
        inverse_k = 1 / (temp_c + KELVIN) - 1 / (held_c + KELVIN)
        return r * np.exp(np.multiply.outer(self.activation_k, inverse_k))


def load_cell(source: str | PathLike[str] | Mapping[str, Any]) -> CellData:
    """Read a cell TOML, or take its content as a dict. Checking is the pack compiler's work."""
    if not isinstance(source, Mapping):
        with Path(source).open("rb") as file:
            source = tomllib.load(file)
    r, heat, ocv = source["resistance"], source["thermal"], source["ocv"]
    r0_k, rc_k = r["activation_r0_k"], r["activation_rc_k"]
    return CellData(
        name=source["name"],
        chemistry=source.get("chemistry", ""),
        capacity_ah=float(source["capacity"]["ah"]),
        ocv_soc=np.array(ocv["soc"], float),
        ocv_table_v=np.array(ocv["v"], float),
        hysteresis_v=np.array(ocv.get("hysteresis_v") or np.zeros(len(ocv["soc"]))),
        hysteresis_soc=ocv.get("hysteresis_soc") or 1.0,
        ocv_off_v=np.array(ocv.get("off_v") or [[0.0]], float),
        sag_v=np.array(r.get("sag_v") or [0.0], float),
        sag_a=float(r.get("sag_a") or 1.0),
        sag_tau_s=float(r.get("sag_tau_s") or 1.0),
        r_soc=np.array(r["soc"], float),
        r_temp_c=np.array(r["temp_c"], float),
        r_ohm=np.array([r["r0_ohm"], r["r1_ohm"], r["r2_ohm"]], float),
        tau_s=(float(r["tau1_s"]), float(r["tau2_s"])),
        activation_k=np.array([r0_k, rc_k, rc_k], float),
        heat_capacity_j_per_k=float(heat["heat_capacity_j_per_k"]),
        to_ambient_w_per_k=float(heat["to_ambient_w_per_k"]),
        to_neighbour_w_per_k=float(heat.get("to_neighbour_w_per_k", 0.0)),
        limits=source.get("limits", {}),
        accuracy=source.get("accuracy", {}),
    )


def _along(x: Array, y: Array, at: Array) -> Array:
    """Linear between the points, end slopes beyond them."""
    k = np.clip(np.searchsorted(x, at) - 1, 0, len(x) - 2)
    return y[k] + (y[k + 1] - y[k]) / (x[k + 1] - x[k]) * (at - x[k])


class Tables:
    """The cell's tables by temperature row and SoC interval, in one array to gather from.

    Interval k ends at node k of `soc`; the first and the last reach beyond its ends. An entry:
    (at the row, change to the next row per K) x (value at `node`, slope over SoC) x (OCV, R0, R1,
    R2, half the distance of the OCV's branches). Between its edges a table is what its entry says.

    Below the OCV's table OCV falls steeply to `bottom`, some 0 V, and stays; above it rises.
    """

    def __init__(self, cell: CellData) -> None:
        first, last = cell.ocv_soc[[0, -1]]
        ends = np.array([cell.ocv_v(cell.ocv_soc, row_c) for row_c in cell.r_temp_c])
        slope = np.diff(ends) / np.diff(cell.ocv_soc)
        down, up = max(EMPTY_V, slope[:, 0].max()), max(FULL_V, slope[:, -1].max())
        self.bottom = float(first - ends[:, 0].max() / down)
        self.soc = soc = np.union1d([self.bottom, *cell.ocv_soc], cell.r_soc)
        self.node = np.concatenate([soc[:1], soc])
        self.low, self.high = np.array([[-FAR, *soc], [*soc, FAR]])
        self.row_c = cell.r_temp_c
        self.inner_c = cell.r_temp_c[1:-1]
        self.row_edges_c = np.array([-KELVIN, *self.row_c, 10 * KELVIN])
        self.stride = len(soc) + 1
        short, over = (first - soc).clip(0, first - self.bottom), (soc - last).clip(0)
        table = soc.clip(first, last)
        ocv = [[cell.ocv_v(table, c) - down * short + up * over for c in self.row_c]]
        r = [[np.interp(soc, cell.r_soc, row) for row in part] for part in cell.r_ohm]
        gap = np.zeros_like(cell.ocv_soc) + cell.hysteresis_v
        gap = [[np.interp(soc, cell.ocv_soc, gap)] * len(self.row_c)]
        held = _intervals(soc, np.array([*r, *gap]))
        at = np.concatenate([_intervals(soc, np.array(ocv), up), held], 1)
        per_k = np.zeros_like(at)
        per_k[:, :, :-1] = np.diff(at, axis=2) / np.diff(self.row_c)[:, None]
        entries = np.stack([at, per_k]).transpose(3, 4, 0, 1, 2)
        self.entries = np.ascontiguousarray(entries).reshape(-1, 2, 2, 5)


def _intervals(x: Array, y: Array, last: float = 0.0) -> Array:
    """Value and slope of each interval; held before the first point, slope `last` past the end."""
    slope = np.diff(y) / np.diff(x)
    values = np.concatenate([y[..., :1], y], -1)
    ends = np.full_like(slope[..., :1], last)
    return np.stack([values, np.concatenate([ends * 0, slope, ends], -1)])
