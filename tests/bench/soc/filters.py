"""Textbook filters in float64, on the tables that the firmware has, R1 and R2 in one RC pair.

States: SoC, polarisation, current offset. Both weigh a reading by the residual of the tables,
twice at the start and thirty times after a few hundred seconds, as its errors last: that is what
one-RC filters were found to need (tried on LG HG2 Mixed1 and Mixed2). Extended: Plett, Battery
Management Systems vol. 2, ch. 3, with I dR0/dz in the Jacobian; sigma-point: the same volume,
central difference form.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from bench.soc.peers import Readings
from numpy.typing import NDArray
from solidbms.celltables import tables, taus_ms
from solidbms.schema import CellFile

Array = NDArray[np.float64]

FIRST_MULTIPLE, MULTIPLE, ANNEAL_S = 2.0, 30.0, 100.0
OFFSET_SD_A = 0.05
SOC_WALK, POLAR_WALK_V, OFFSET_WALK_A = 1e-6, 3e-4, 1e-6  # a root second


@dataclass(frozen=True)
class Row:
    """The tables at one temperature, as lists for speed."""

    ocv_v: list[float]
    r0_ohm: list[float]
    r1_ohm: list[float]
    residual_v: float


class Model:
    """Tables of a cell, interpolated to whatever temperature is asked."""

    def __init__(self, cell: CellFile) -> None:
        t = {k: np.array(v, float) for k, v in tables(cell).items()}
        self.temp_c = t["cell_mdegc"] / 1e3
        n = len(self.temp_c)
        self.ocv_soc = (t["cell_ocv_ppm"] / 1e6).tolist()
        self.r_soc = (t["cell_r_ppm"] / 1e6).tolist()
        self.ocv_v = t["cell_ocv_uv"].reshape(n, -1) / 1e6
        self.r0_ohm, *rc = (t[f"cell_r{k}_uohm"].reshape(n, -1) / 1e6 for k in range(3))
        self.r1_ohm = rc[0] + rc[1]
        tau1_s, tau2_s = (x / 1e3 for x in taus_ms(cell))
        self.tau_s = float(np.mean((rc[0] * tau1_s + rc[1] * tau2_s) / self.r1_ohm))
        self.residual_v = t["cell_residual_uv"] / 1e6
        self._rows: dict[float, Row] = {}

    def at(self, temp_c: float) -> Row:
        """Return the rows of a temperature."""
        if temp_c not in self._rows:
            k = int(np.clip(np.searchsorted(self.temp_c, temp_c) - 1, 0, len(self.temp_c) - 2))
            low, high = self.temp_c[k : k + 2]
            share = min(max((temp_c - low) / (high - low), 0.0), 1.0)
            ocv, r0, r1, residual = (
                x[k] * (1 - share) + x[k + 1] * share
                for x in (self.ocv_v, self.r0_ohm, self.r1_ohm, self.residual_v)
            )
            self._rows[temp_c] = Row(ocv.tolist(), r0.tolist(), r1.tolist(), float(residual))
        return self._rows[temp_c]


def line(x: list[float], y: list[float], at: float) -> tuple[float, float]:
    """Value and slope between the points; beyond the ends the end's own value and slope."""
    k = min(max(bisect_right(x, at) - 1, 0), len(x) - 2)
    slope = (y[k + 1] - y[k]) / (x[k + 1] - x[k])
    return y[k] + slope * (min(max(at, x[0]), x[-1]) - x[k]), slope


def extended(r: Readings, cell: CellFile) -> Array:
    """Extended Kalman filter."""
    m = Model(cell)
    x = np.array([r.begin(), 0.0, 0.0])
    p = _first(r)
    soc = np.empty(len(r.t_s))
    soc[0] = x[0]
    for k, dt_s, charge_as in _steps(r):
        row = m.at(float(r.temp_c[k]))
        keep = float(np.exp(-dt_s / m.tau_s))
        r1 = line(m.r_soc, row.r1_ohm, x[0])[0]
        f = np.array([[1, 0, -dt_s / r.capacity_as], [0, keep, -r1 * (1 - keep)], [0, 0, 1.0]])
        i_a = charge_as / dt_s - x[2]
        x = np.array([x[0] + i_a * dt_s / r.capacity_as,
                      keep * x[1] + (1 - keep) * r1 * i_a, x[2]])  # fmt: skip
        p = f @ p @ f.T + _walk(dt_s)
        ocv, slope = line(m.ocv_soc, row.ocv_v, x[0])
        r0, r0_slope = line(m.r_soc, row.r0_ohm, x[0])
        at_a = r.i_a[k] - x[2]
        h = np.array([slope + r0_slope * at_a, 1.0, -r0])
        gain = p @ h / (h @ p @ h + _noise(row, r.t_s[k]))
        x = x + gain * (r.v[k] - ocv - r0 * at_a - x[1])
        x[0] = min(max(x[0], 0.0), 1.0)
        p = p - np.outer(gain, h @ p)
        soc[k] = x[0]
    return soc


def sigma_point(r: Readings, cell: CellFile) -> Array:
    """Sigma-point Kalman filter, central difference, h = sqrt 3."""
    m = Model(cell)
    n, h = 3, np.sqrt(3.0)
    weights = np.array([(h * h - n) / (h * h), *[1 / (2 * h * h)] * 6])
    x = np.array([r.begin(), 0.0, 0.0])
    p = _first(r)
    soc = np.empty(len(r.t_s))
    soc[0] = x[0]
    for k, dt_s, charge_as in _steps(r):
        row = m.at(float(r.temp_c[k]))
        keep = float(np.exp(-dt_s / m.tau_s))
        points = _points(x, p, h)
        i_a = charge_as / dt_s - points[:, 2]
        r1 = np.interp(points[:, 0], m.r_soc, row.r1_ohm)
        points[:, 0] += i_a * dt_s / r.capacity_as
        points[:, 1] = keep * points[:, 1] + (1 - keep) * r1 * i_a
        x = weights @ points
        off = points - x
        p = (off.T * weights) @ off + _walk(dt_s)
        points = _points(x, p, h)
        at_a = r.i_a[k] - points[:, 2]
        seen = (np.interp(points[:, 0], m.ocv_soc, row.ocv_v) + points[:, 1]
                + np.interp(points[:, 0], m.r_soc, row.r0_ohm) * at_a)  # fmt: skip
        off, off_v = points - x, seen - weights @ seen
        variance = weights @ off_v**2 + _noise(row, r.t_s[k])
        gain = (off.T * weights) @ off_v / variance
        x = x + gain * (r.v[k] - weights @ seen)
        x[0] = min(max(x[0], 0.0), 1.0)
        p = p - np.outer(gain, gain) * variance
        soc[k] = x[0]
    return soc


def _points(x: Array, p: Array, h: float) -> Array:
    root = np.linalg.cholesky((p + p.T) / 2 + 1e-15 * np.eye(len(x)))
    return np.concatenate([x[None], x + h * root.T, x - h * root.T])


def _first(r: Readings) -> Array:
    return np.diag([r.start_sd**2, 0.01**2, OFFSET_SD_A**2])


def _walk(dt_s: float) -> Array:
    return dt_s * np.diag(np.square([SOC_WALK, POLAR_WALK_V, OFFSET_WALK_A]))


def _noise(row: Row, t_s: float) -> float:
    share = float(-np.expm1(-t_s / ANNEAL_S))
    return (row.residual_v * (FIRST_MULTIPLE + (MULTIPLE - FIRST_MULTIPLE) * share)) ** 2


def _steps(r: Readings) -> list[tuple[int, float, float]]:
    dt_s, charge_as = np.diff(r.t_s), np.diff(r.moved_as)
    return list(zip(range(1, len(r.t_s)), dt_s.tolist(), charge_as.tolist(), strict=True))


SCHEMES = {"EKF, 1 RC": extended, "sigma-point, 1 RC": sigma_point}
