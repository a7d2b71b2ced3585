"""Cells of many packs at once: OCV, R0 and two RC pairs over SoC and temperature, and heat.

Thevenin equivalent circuit (Plett, Battery Management Systems vol. 1, ch. 2) with lumped heat.
Charge current is positive. Hysteresis of OCV is the play of one element: the cell rests on its
charge or its discharge branch, and charge carries it from one to the other in a straight line that
may turn anywhere. (Fitted to a measured LFP cell under a drive cycle, 25 degC: 1.5 to 2.5 mV left,
where the exponential of Plett's one-state model drifts off the branch and leaves 15.) Reversible
(entropic) heat and the heat of hysteresis are left out.
"""

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
# Between look-ups parameters follow SoC and temperature by tangents. What those leave out stays
# under 0.2 mV up to 1.5C (tests/host/plant/test_cell.py); at 7C up to 2 mV for a moment, where
# heating carries the cell over a temperature of the table.
REFRESH_S = 1.0
REFRESH_SOC = 0.0003
DT_CACHE = 64

# Bound once and called with the output by position; fmax is several times faster than maximum.
add, sub, mul, fmax, total = np.add, np.subtract, np.multiply, np.fmax, np.add.reduce


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
    # over ocv_soc: half the distance of the branches (0: one OCV), and dOCV/dT
    hysteresis_v: Array = field(default_factory=lambda: np.zeros(1))
    hysteresis_soc: float = 1.0
    ocv_v_per_k: Array = field(default_factory=lambda: np.zeros(1))
    chemistry: str = ""
    limits: Mapping[str, float] = field(default_factory=dict)
    accuracy: Mapping[str, float] = field(default_factory=dict)

    def ocv_v(
        self, soc: ArrayLike, temp_c: ArrayLike = REFERENCE_C, branch: ArrayLike = 0.0
    ) -> Array:
        """Open-circuit voltage, linear between the table's points, end slopes beyond them.

        branch: 1 charged, -1 discharged, 0 the middle. Temperature acts as far as R's table goes.
        """
        x, y = self.ocv_soc, self.ocv_table_v
        soc = np.asarray(soc, float)
        k = np.clip(np.searchsorted(x, soc) - 1, 0, len(x) - 2)
        v = y[k] + (y[k + 1] - y[k]) / (x[k + 1] - x[k]) * (soc - x[k])
        if self.has_hysteresis:
            v = v + np.asarray(branch) * np.interp(soc, x, self.hysteresis_v)
        if self.ocv_v_per_k.any():
            held_c = np.clip(temp_c, self.r_temp_c[0], self.r_temp_c[-1])
            v = v + np.interp(soc, x, self.ocv_v_per_k) * (held_c - REFERENCE_C)
        return v

    @property
    def has_hysteresis(self) -> bool:
        """Whether OCV depends on the way the cell came."""
        return bool(self.hysteresis_v.any())

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
        ocv_v_per_k=np.array(ocv.get("v_per_k") or np.zeros(len(ocv["soc"]))),
        r_soc=np.array(r["soc"], float),
        r_temp_c=np.array(r["temp_c"], float),
        r_ohm=np.array([r["r0_ohm"], r["r1_ohm"], r["r2_ohm"]], float),
        tau_s=(float(r["tau1_s"]), float(r["tau2_s"])),
        activation_k=np.array([r0_k, rc_k, rc_k], float),
        heat_capacity_j_per_k=float(heat["heat_capacity_j_per_k"]),
        to_ambient_w_per_k=float(heat["to_ambient_w_per_k"]),
        limits=source.get("limits", {}),
        accuracy=source.get("accuracy", {}),
    )


class _Tables:
    """The cell's tables on one SoC grid, with the slopes left and right of every node.

    Around its nearest node n a table is  y = y_n + left * d + bend * max(d, 0),  d = soc - soc_n:
    exact from one neighbour of the node to the other, so a kink costs no accuracy.
    """

    def __init__(self, cell: CellData) -> None:
        self.soc = np.union1d(cell.ocv_soc, cell.r_soc)
        self.middle = (self.soc[1:] + self.soc[:-1]) / 2
        temp_c = cell.r_temp_c
        r_ohm = cell.r_ohm
        if len(temp_c) == 1:  # a second row, equal to the first, that is never reached
            temp_c = np.array([temp_c[0], temp_c[0] + 1.0])
            r_ohm = np.repeat(r_ohm, 2, axis=1)
        self.temp_c = temp_c
        self.low_c, self.high_c = cell.r_temp_c[0], cell.r_temp_c[-1]
        self.per_k = 1 / np.diff(temp_c)
        r = [[np.interp(self.soc, cell.r_soc, row) for row in part] for part in r_ohm]
        r = _bends(self.soc, np.array(r), hold=True)
        ocv = np.array([[cell.ocv_v(self.soc, c) for c in temp_c]])
        ocv = _bends(self.soc, ocv, hold=False)
        # (temperatures, nodes, kind: value left bend, quantity: OCV R0 R1 R2)
        self.rows = np.ascontiguousarray(np.concatenate([ocv, r], 1).transpose(2, 3, 0, 1))


def _bends(x: Array, y: Array, hold: bool) -> Array:
    """Value, slope to the left, change of slope at each node; beyond the ends held or straight."""
    slope = np.diff(y) / np.diff(x)
    first, last = slope[..., :1], slope[..., -1:]
    if hold:
        first, last = first * 0, last * 0
    left = np.concatenate([first, slope], -1)
    right = np.concatenate([slope, last], -1)
    return np.stack([y, left, right - left])


class Cells:
    """`packs` packs of `cells` cells in series. Every state has shape (packs, cells).

    State: `soc` (0 to 1), `v1_v`, `v2_v` (RC pairs), `temp_c`, `branch` (of hysteresis, -1
    discharged to 1 charged). Spread: `capacity_ah`, `r_scale`.
    All may be written to in place; call `refresh()` afterwards.
    """

    def __init__(
        self,
        cell: CellData,
        packs: int = 1,
        cells: int = 1,
        soc: ArrayLike = 1.0,
        temp_c: ArrayLike = 25.0,
    ) -> None:
        self.cell = cell
        shape = (packs, cells)
        # temperature, soc, v1, v2; and a step's heat and drops over R0, R1, R2
        self._rows = np.zeros((8, *shape))
        self._state, self._change = self._rows[:4], self._rows[4:]
        self.temp_c, self.soc, self.v1_v, self.v2_v = self._state
        self.soc[...] = soc
        self.temp_c[...] = temp_c
        self.capacity_ah = np.full(shape, cell.capacity_ah)
        self.r_scale = np.ones(shape)
        self.branch = np.zeros(shape)
        self._half_gap_v = np.zeros(shape) if cell.has_hysteresis else None
        self._tables = _Tables(cell)
        # OCV, R0, R1, R2: now; at the node; slopes by soc, by soc above the node, by temperature
        self._now, self._node = np.zeros((2, 4, *shape))
        self._slopes = np.zeros((3, 4, *shape))
        self._node_temp_soc = np.zeros((2, *shape))
        self._enough_as = self._age_s = self._moved_as = 0.0
        self._by_dt: dict[float, tuple[Array, Array, Array]] = {}
        # Scratch. On small arrays a repeating copy is four times cheaper than broadcasting, and
        # a result of its own three times cheaper than one in place.
        self._i = np.zeros((3, *shape))
        self._parts_v = np.zeros((6, *shape))
        self._over_v, self._own_w, self._outside_w, self._zero, self._up_soc = np.zeros(
            (5, *shape)
        )
        self._off = np.zeros((2, *shape))
        self._by, self._work = np.zeros((2, 3, 4, *shape))
        # views, made once
        self._off_temp, self._off_soc = self._off
        self._by_soc, self._by_up, self._by_temp = self._by
        self._work_soc, self._work_up, self._work_temp = self._work
        self._heat_w, self._drop_0, self._drops = (
            self._change[0],
            self._change[1],
            self._change[1:],
        )
        self._i_0, self._temp_soc = self._i[0], self._state[:2]
        self._v_to_drops, self._r_now_ohm = self._rows[2:], self._now[1:]
        self.refresh()

    @property
    def ocv_v(self) -> Array:
        """Open-circuit voltage of each cell now."""
        return self._now[0].copy()

    @property
    def r0_ohm(self) -> Array:
        """Series resistance of each cell now."""
        return self._now[1].copy()

    def voltage_v(self, current_a: ArrayLike) -> Array:
        """Terminal voltage of each cell now under `current_a` (scalar, (packs,) or full shape)."""
        i = current_a if isinstance(current_a, (float, int)) else _of_packs(current_a)
        v = self._now[1] * i
        add(v, self._now[0], v)
        add(v, self.v1_v, v)
        return add(v, self.v2_v, v)

    def step(
        self,
        current_a: ArrayLike,
        dt_s: float,
        ambient_c: float | Array,
        heat_w: float | Array = 0.0,
    ) -> None:
        """Advance by `dt_s` under constant current.

        `current_a`: scalar or (packs,), or (packs, cells) where leaks or balancing make the cells
        of a pack differ. `ambient_c`, `heat_w` (from outside): scalar or (packs, cells).
        """
        if isinstance(current_a, (float, int)):
            self._i.fill(current_a)
            peak_a = abs(current_a)
        else:
            self._i[...] = _of_packs(current_a)
            peak_a = np.abs(self._i_0).max()
        decay, rise, share = self._by_dt.get(dt_s) or self._weigh(dt_s)

        mul(self._r_now_ohm, self._i, self._drops)
        mul(self._v_to_drops, share, self._parts_v)
        total(self._parts_v, 0, out=self._over_v)  # mean of V - OCV over the step
        mul(self._over_v, self._i_0, self._own_w)
        self._outside_w[...] = ambient_c * self.cell.to_ambient_w_per_k + heat_w
        add(self._own_w, self._outside_w, self._heat_w)
        self._drop_0[...] = self._i_0
        mul(self._change, rise, self._change)
        mul(self._state, decay, self._state)
        add(self._state, self._change, self._state)

        if self._half_gap_v is not None:
            change = self._i_0 * (dt_s / 1800 / self.cell.hysteresis_soc)
            np.clip(self.branch + change / self.capacity_ah, -1, 1, out=self.branch)
        self._age_s += dt_s
        self._moved_as += peak_a * dt_s
        if self._age_s >= REFRESH_S or self._moved_as >= self._enough_as:
            self._look_up()
        self._follow()

    def refresh(self) -> None:
        """Take in what was written to the state, `capacity_ah` or `r_scale`."""
        self._by_dt.clear()
        self._enough_as = REFRESH_SOC * 3600 * float(self.capacity_ah.min())
        self._look_up()
        self._follow()

    def _weigh(self, dt_s: float) -> tuple[Array, Array, Array]:
        """Weights of one step length: exact for constant current and constant parameters."""
        if len(self._by_dt) >= DT_CACHE:
            self._by_dt.clear()
        x = dt_s / np.array(self.cell.tau_s)
        to_ambient, capacity = self.cell.to_ambient_w_per_k, self.cell.heat_capacity_j_per_k
        cooling = dt_s * to_ambient / capacity
        k_per_w = dt_s / capacity * (-np.expm1(-cooling) / cooling if cooling else 1.0)
        decay, rise = np.empty_like(self._state), np.empty_like(self._state)
        decay.T[...] = np.exp([-cooling, 0.0, *-x])
        rise[0] = k_per_w
        rise[1] = dt_s / 3600 / self.capacity_ah
        rise[2:] = 1 - decay[2:]
        # mean of an RC pair's voltage over the step = keep * before + (1 - keep) * R * I
        keep = -np.expm1(-x) / x
        share = np.empty_like(self._parts_v)
        share.T[...] = [*keep, 0.0, 1.0, *(1 - keep)]
        self._by_dt[dt_s] = decay, rise, share
        return self._by_dt[dt_s]

    def _follow(self) -> None:
        """Parameters at the present state, from the tangents at the last look-up."""
        sub(self._temp_soc, self._node_temp_soc, self._off)
        self._by_temp[...] = self._off_temp
        self._by_soc[...] = self._off_soc
        self._by_up[...] = fmax(self._off_soc, self._zero, self._up_soc)
        mul(self._slopes, self._by, self._work)
        add(self._node, self._work_soc, self._now)
        add(self._now, self._work_up, self._now)
        add(self._now, self._work_temp, self._now)
        if self._half_gap_v is not None:  # it changes slowly over SoC: as at the last look-up
            self._now[0] += self.branch * self._half_gap_v

    def _look_up(self) -> None:
        t = self._tables
        node = t.middle.searchsorted(self.soc)
        self._node_temp_soc[0] = self.temp_c
        self._node_temp_soc[1] = t.soc[node]
        held_c = np.clip(self.temp_c, t.low_c, t.high_c)
        low = t.temp_c[1:-1].searchsorted(held_c, side="right")
        rows = t.rows[low, node]  # (packs, cells, kind, quantity)
        per_k = (t.rows[low + 1, node] - rows) * t.per_k[low][..., None, None]
        rows += per_k * (held_c - t.temp_c[low])[..., None, None]
        per_k = per_k[..., 0, :]
        outside = held_c != self.temp_c
        if outside.any():
            activation = self.cell.activation_k
            at, end = (1 / (c[..., None] + KELVIN) for c in (self.temp_c, held_c))
            rows[..., 1:] *= np.exp(activation * (at - end))[..., None, :]
            arrhenius = np.zeros_like(per_k)  # OCV is held
            arrhenius[..., 1:] = -activation * at**2 * rows[..., 0, 1:]
            per_k = np.where(outside[..., None], arrhenius, per_k)
        rows[..., 1:] *= self.r_scale[..., None, None]
        per_k[..., 1:] *= self.r_scale[..., None]
        rows = rows.transpose(2, 3, 0, 1)
        self._node[...], self._slopes[:2] = rows[0], rows[1:]
        self._slopes[2] = per_k.transpose(2, 0, 1)
        if self._half_gap_v is not None:
            self._half_gap_v[...] = np.interp(self.soc, self.cell.ocv_soc, self.cell.hysteresis_v)
        self._age_s = self._moved_as = 0.0


def _of_packs(value: ArrayLike) -> Array:
    value = np.asarray(value, float)
    return value[:, None] if value.ndim == 1 else value
