"""Cells of many packs over time: charge, RC pairs, heat of their own and between neighbours.

Thevenin equivalent circuit (Plett, Battery Management Systems vol. 1, ch. 2) with lumped heat.
Charge current is positive. Hysteresis of OCV is the play of one element: the cell rests on its
charge or its discharge branch, and charge carries it from one to the other in a straight line that
may turn anywhere. (Fitted to a measured LFP cell under a drive cycle, 25 degC: 3.4 mV left, where
the exponential of Plett's one-state model drifts off the branch and leaves 15.) A cell in the cold
may lose a voltage under load that hardly grows with the current, and slowly: a third lag, of
I / (|I| + a) instead of I, moves OCV by it (`sag`). Reversible (entropic) heat and the heat of
both are left out. Charge is counted on beyond SoC 0 and 1, where OCV falls and rises steeply.

Time goes in stretches of constant current (`hold`, `volts`, `advance`). Within one every parameter
is linear in time, so the voltages at all of its steps are one matrix product: 20 steps of 14 cells
cost little more than one.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solidbms.plant.celldata import KELVIN, REFERENCE_C, Array, CellData, Tables, load_cell

__all__ = ["KELVIN", "REFERENCE_C", "Array", "CellData", "Cells", "load_cell"]

# Parameters follow SoC and temperature by tangents: until temperature is LOOK_K away from where
# they were looked up, SoC within one interval of the tables, I R moving by STRETCH_V at most in a
# stretch. What that leaves out stays under 0.05 mV at 0 degC and above up to 1.5C, 0.3 mV at
# -15 degC, 1 mV at 5C (tests/host/plant/test_cell.py).
LOOK_K = 0.1
STRETCH_V = 0.01
PIECE_S = 1.0
SAG_PIECES = 60  # a stretch is so much shorter than the sag's time constant: its rate stays
CACHE = 256

# Bound once and called with the output by position.
add, sub, mul = np.add, np.subtract, np.multiply
most, total = np.maximum.reduce, np.add.reduce


class _Span:
    """What a length of time does, exact for constant current and parameters linear in time.

    The weights act on the rows of `Cells._z`: OCV and its change in 1 s; I R of R0, R1, R2 and the
    changes of those in 1 s; the RC pairs; change of I R0 in 1 s by what heat fades with each pair.
    """

    def __init__(self, cell: CellData, rates: Array, modes: Array, t_s: float) -> None:
        tau = np.array(cell.tau_s)
        x = t_s / tau
        gone, mean = -np.expm1(-x), -np.expm1(-x) / x  # 1 - e^-x; the mean of e^-x
        self.ends = np.zeros((3, 12))  # RC pairs at the end, mean of V - OCV
        for k in (0, 1):
            self.ends[k, [3 + k, 6 + k, 8 + k]] = gone[k], t_s - tau[k] * gone[k], 1 - gone[k]
        self.ends[2, 2:5] = 1, *(1 - mean)
        self.ends[2, 5:8] = t_s / 2, *(t_s / 2 - tau * (1 - mean))
        self.ends[2, 8:10] = mean
        self.ends[2, 10:] = tau * (1 - mean)
        self.mean = mean
        self.volts = self.ends[0] + self.ends[1]
        self.volts += [1, t_s, 1, 0, 0, t_s, 0, 0, 0, 0, *(tau * gone)]
        # from temperatures and heat: temperatures at the end, and their mean change in 1 s
        cooled = rates * t_s
        share = -np.expm1(-cooled) / np.where(cooled > 0, cooled, 1.0)
        share[cooled <= 0] = 1.0
        keep = modes * np.exp(-cooled) @ modes.T
        warm = modes * share @ modes.T * (t_s / cell.heat_capacity_j_per_k)
        self.heat = np.concatenate([keep, warm])
        self.heat_rate = (self.heat - np.eye(*self.heat.shape)) / t_s


def _modes(cell: CellData, cells: int) -> tuple[Array, Array]:
    """Rates (1/s) and modes in which a row of cells cools to ambient and to its neighbours."""
    between = np.diff(np.eye(cells), axis=0)
    w_per_k = cell.to_neighbour_w_per_k * between.T @ between
    w_per_k += cell.to_ambient_w_per_k * np.eye(cells)
    rates, modes = np.linalg.eigh(w_per_k / cell.heat_capacity_j_per_k)
    return np.maximum(rates, 0.0), modes


class Cells:
    """`packs` packs of `cells` cells in series. Every state has shape (packs, cells).

    State: `soc` (0 to 1 and beyond), `v1_v`, `v2_v` (RC pairs), `temp_c`, `branch` (of hysteresis,
    -1 discharged to 1 charged), `sag` (-1 to 1, the same way). Spread: `capacity_ah`, `r_scale`
    (3, packs, cells; R0, R1, R2). All may be written to in place between stretches; call
    `refresh()` afterwards.
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
        self._at = np.zeros((2, *shape))
        self.soc, self.temp_c = self._at
        self.soc[...] = soc
        self.temp_c[...] = temp_c
        self.branch, self.sag = np.zeros((2, *shape))
        self.capacity_ah = np.full(shape, cell.capacity_ah)
        self.r_scale = np.ones((3, *shape))
        self._tables = Tables(cell)
        self._modes = _modes(cell, cells)
        self._spans: dict[float, _Span] = {}
        self._bases: dict[float, Array] = {}
        # rows as _Span has them
        self._z = z = np.zeros((12, *shape))
        self._flat_z = flat = z.reshape(12, -1)
        self._ocv_v, self._ocv_rate = z[:2]
        self._ri, self._ri_rate = z[2:5], z[5:8]
        self._v, self._flat_v = z[8:10], flat[8:10]
        self.v1_v, self.v2_v = self._v
        self._fading, self._flat_fading = z[10:], flat[10:]
        # R0, R1, R2 and slopes; slopes of OCV; the box in which those hold
        self._r, self._r_soc, self._r_k, self._change_k = np.zeros((4, 3, *shape))
        self._ocv_soc, self._ocv_k, self._ocv_branch = np.zeros((3, *shape))
        self._middle, self._half = np.zeros((2, 2, *shape))
        self._stale = False
        self._sags = bool(cell.sag_v.any())
        self._sag_v, self._sag_rate = np.zeros((2, *shape))
        self._bent = cell.has_hysteresis or bool(cell.ocv_off_v.any())
        # the stretch: current thrice, heat from elsewhere; temperatures beside all heat
        self._i = np.zeros((3, *shape))
        self._i_0 = self._i[0]
        self._outside_w, self._rate, self._branch_rate = np.zeros((3, *shape))
        self._heat = np.zeros((packs, 2 * cells))
        self._dt_s = 1.0
        self.refresh()

    @property
    def ocv_v(self) -> Array:
        """Open-circuit voltage of each cell now."""
        return self._ocv_v.copy()

    @property
    def r_ohm(self) -> Array:
        """R0, R1, R2 of each cell now."""
        return self._r.copy()

    @property
    def change_k(self) -> Array:
        """Mean change of each cell's temperature in 1 s of the stretch."""
        return self._change_k[1]

    def voltage_v(self, current_a: ArrayLike) -> Array:
        """Terminal voltage of each cell now under `current_a` (scalar, (packs,) or full shape)."""
        return self._ocv_v + self._r[0] * _of_packs(current_a) + self.v1_v + self.v2_v

    def refresh(self) -> None:
        """Take in what was written to the state, `capacity_ah` or `r_scale`."""
        self._per_as = 1 / (3600 * self.capacity_ah)
        self._look_up(0.0)

    def step(
        self,
        current_a: ArrayLike,
        dt_s: float,
        ambient_c: float | Array,
        heat_w: float | Array = 0.0,
    ) -> None:
        """Advance by `dt_s` under constant current; the arguments as in `hold`."""
        pieces = left = max(1, math.ceil(dt_s / PIECE_S - 1e-9))
        while left:
            steps = self.hold(current_a, ambient_c, heat_w, dt_s / pieces, left)
            self.advance(steps)
            left -= steps

    def hold(
        self,
        current_a: ArrayLike,
        ambient_c: float | Array,
        heat_w: float | Array,
        dt_s: float,
        steps: int,
        ripple_a2: float = 0.0,
    ) -> int:
        """Begin a stretch; return how many of `steps` steps of `dt_s` it may last (1 or more).

        `current_a`: scalar or (packs,), or (packs, cells) where leaks or balancing make the cells
        of a pack differ. `ambient_c`, `heat_w` (from elsewhere): scalar or (packs, cells).
        `ripple_a2`: mean square of what swings about the current too fast for the RC pairs.
        """
        self._dt_s = dt_s
        self._i[...] = _of_packs(current_a)
        mul(self._i_0, self._per_as, self._rate)
        if self._stale:
            self._look_up(dt_s)
        steps = self._until_edge(dt_s, steps)
        if self._bent:
            steps = self._until_branch(dt_s, steps)
        if self._sags:
            steps = min(steps, max(1, int(self.cell.sag_tau_s / SAG_PIECES / dt_s)))
            share = self._i_0 / (np.abs(self._i_0) + self.cell.sag_a)
            self._sag_rate[...] = (share - self.sag) * (1 / self.cell.sag_tau_s)
        mul(self._r, self._i, self._ri)
        self._outside_w[...] = ambient_c * self.cell.to_ambient_w_per_k + heat_w
        if ripple_a2:
            self._outside_w += self._r[0] * ripple_a2
        self._foresee(self._span(dt_s * steps))
        moved_v = float(most(np.abs(self._ri_rate), None)) * dt_s
        if moved_v * steps > STRETCH_V:
            steps = max(1, int(STRETCH_V / moved_v))
        return steps

    def volts(self, steps: int) -> Array:
        """Terminal voltages after 1 to `steps` steps of the stretch: (steps, packs x cells)."""
        base = self._bases.get(self._dt_s)
        if base is None or len(base) < steps:
            if len(self._bases) >= CACHE:
                self._bases.clear()
            rows = [self._span(self._dt_s * (k + 1)).volts for k in range(steps)]
            base = self._bases[self._dt_s] = np.array(rows)
        return base[:steps] @ self._flat_z

    def advance(self, steps: int) -> None:
        """Let `steps` steps of the stretch pass; it ends."""
        t_s = self._dt_s * steps
        span = self._span(t_s)
        ends = span.ends @ self._flat_z
        np.matmul(self._heated(ends[2]), span.heat, out=self.temp_c)
        self._flat_v[...] = ends[:2]
        moved = self._rate * t_s
        warmed_k = self.temp_c - self._heat[:, : self.temp_c.shape[1]]
        add(self.soc, moved, self.soc)
        add(self._r, self._r_soc * moved, self._r)
        add(self._r, self._r_k * warmed_k, self._r)
        add(self._ocv_v, self._ocv_soc * moved, self._ocv_v)
        if self._bent:
            turned = self._branch_rate * t_s
            self._ocv_v += self._ocv_k * warmed_k + self._ocv_branch * turned
            np.clip(self.branch + turned, -1.0, 1.0, self.branch)
        if self._sags:
            sagged = self._sag_rate * t_s
            self.sag += sagged
            self._ocv_v += self._sag_v * sagged
        off = np.abs(self._at - self._middle)
        self._stale = bool(most(sub(off, self._half, off), None) > 0)

    def _span(self, t_s: float) -> _Span:
        span = self._spans.get(t_s)
        if span is None:
            if len(self._spans) >= CACHE:
                self._spans.clear()
            span = self._spans[t_s] = _Span(self.cell, *self._modes, t_s)
        return span

    def _foresee(self, span: _Span) -> None:
        """Find how I R and OCV will change, by SoC and temperature.

        What the pairs are away from settling fades, and the heat of it with them: R0 sees that as
        it comes, the rest in the mean.
        """
        settled_v = total(self._ri, 0)
        change_k, fading = self._change_k, self._fading
        np.matmul(self._heated(settled_v), span.heat_rate, out=change_k[0])
        sub(self._v, self._ri[1:], fading)
        mul(fading, self._i_0 * (1 / self.cell.heat_capacity_j_per_k), fading)
        change_k[1:] = change_k[0] + (span.mean @ self._flat_fading).reshape(settled_v.shape)
        mul(fading, self._r_k[0] * self._i_0, fading)
        mul(self._r_k, change_k, self._ri_rate)
        add(self._ri_rate, self._r_soc * self._rate, self._ri_rate)
        mul(self._ri_rate, self._i, self._ri_rate)
        mul(self._ocv_soc, self._rate, self._ocv_rate)
        if self._bent:
            self._ocv_rate += self._ocv_k * change_k[1] + self._ocv_branch * self._branch_rate
        if self._sags:
            self._ocv_rate += self._sag_v * self._sag_rate

    def _until_branch(self, dt_s: float, steps: int) -> int:
        """Steps, one or more, until the first cell is on its branch."""
        move = self._rate * (2 / self.cell.hysteresis_soc)
        ahead = np.sign(move)
        move[self.branch * ahead >= 1] = 0.0  # as far as it can be
        self._branch_rate[...] = move
        moves = move != 0
        left_s = np.min((ahead - self.branch)[moves] / move[moves], initial=1e9)
        return max(1, min(steps, round(float(left_s) / dt_s)))

    def _heated(self, over_v: Array) -> Array:
        """Temperatures and, beside them, all heat where `over_v` is the mean of V - OCV."""
        own_w = over_v.reshape(self._i_0.shape) * self._i_0
        cells = own_w.shape[1]
        self._heat[:, :cells] = self.temp_c
        self._heat[:, cells:] = add(own_w, self._outside_w, own_w)
        return self._heat

    def _until_edge(self, dt_s: float, steps: int) -> int:
        """Steps, one or more, until the first cell comes to the end of its SoC interval."""
        off = self.soc + self._rate * (dt_s * steps) - self._middle[0]
        if most(np.abs(off) - self._half[0], None) <= 0:
            return steps
        left_s = self._edge_s()
        if left_s < dt_s / 2:
            self._look_up(dt_s)
            left_s = self._edge_s()
        return max(1, min(steps, round(left_s / dt_s)))

    def _edge_s(self) -> float:
        moves = self._rate != 0
        edge = self._middle[0] + np.copysign(self._half[0], self._rate)
        return float(np.min((edge - self.soc)[moves] / self._rate[moves], initial=1e9))

    def _look_up(self, dt_s: float) -> None:
        """Take values and slopes from the tables, for where SoC will be in the midst of dt_s."""
        t = self._tables
        k = t.soc.searchsorted(self.soc + self._rate * (dt_s / 2), side="right")
        held_c = np.fmin(np.fmax(self.temp_c, t.row_c[0]), t.row_c[-1])
        row = t.inner_c.searchsorted(held_c, side="right")
        entry = t.entries.take(row * t.stride + k, 0)  # (packs, cells, 2, 2, quantity)
        above_k = held_c - t.row_c.take(row)
        here = entry[..., 0, :, :] + entry[..., 1, :, :] * above_k[..., None, None]
        slope = here[..., 1, :].transpose(2, 0, 1)
        off = self.soc - t.node.take(k)
        value = here[..., 0, :].transpose(2, 0, 1) + slope * off
        per_k = (entry[..., 1, 0, :] + entry[..., 1, 1, :] * off[..., None]).transpose(2, 0, 1)
        self._r[...], self._r_soc[...], self._r_k[...] = value[1:4], slope[1:4], per_k[1:4]
        self._ocv_k[...] = per_k[0]
        self._beyond(held_c)
        self._r *= self.r_scale
        self._r_soc *= self.r_scale
        self._r_k *= self.r_scale
        self._ocv_branch[...] = value[4]
        self._ocv_v[...] = value[0] + value[4] * self.branch
        if self._sags:
            self._sag_v[...] = self.cell.sag_at_v(self.temp_c)
            self._ocv_v += self.sag * self._sag_v
        self._ocv_soc[...] = slope[0] + slope[4] * self.branch
        self._draw_box(k)
        self._stale = False

    def _beyond(self, held_c: Array) -> None:
        """Where the table ends: R by Arrhenius' law, OCV held."""
        outside = held_c != self.temp_c
        if len(self._tables.row_c) == 1:
            outside[...] = True
        if not outside.any():
            return
        activation = self.cell.activation_k[:, None, None]
        at, end = 1 / (self.temp_c + KELVIN), 1 / (held_c + KELVIN)
        factor = np.exp(activation * (at - end))
        self._r *= factor
        self._r_soc *= factor
        self._r_k[...] = np.where(outside, -activation * at**2 * self._r, self._r_k)
        self._ocv_k[outside] = 0.0

    def _draw_box(self, k: NDArray[np.intp]) -> None:
        """Say how far SoC and temperature may go with what was looked up."""
        t = self._tables
        row = t.row_c.searchsorted(self.temp_c)
        low, high = np.empty((2, *self._at.shape))
        low[0], high[0] = t.low.take(k), t.high.take(k)
        low[1] = np.fmax(self.temp_c - LOOK_K, t.row_edges_c.take(row))
        high[1] = np.fmin(self.temp_c + LOOK_K, t.row_edges_c.take(row + 1))
        self._middle[...] = (low + high) / 2
        self._half[...] = (high - low) / 2


def _of_packs(value: ArrayLike) -> Array | float:
    if isinstance(value, float | int):
        return value
    value = np.asarray(value, float)
    return value[:, None] if value.ndim == 1 else value
