"""The cell as the estimator in the firmware sees it: one fit over SoC and temperature together.

    V - OCV(soc) = d(soc) + d_T(soc) + h M(soc) + I R0(soc, T) + sum_k LP_k(I R_k(soc, T))

with lags of 10 and 100 s: shorter and longer ones fit the files better, and carry over worse to
other loads (tried on LG HG2: each of two drives with the parameters of the other). OCV is free at
every temperature within priors, so that what the circuit lacks does not end up as an error of SoC;
the plant's fit (`fit`) has a slow loss for that, which an estimator could only guess. R follows
Arrhenius between the rows, and every row of a file counts, at the temperature it had: a cell that
warms up by 20 K in a drive tells of both ends. h is the hysteresis as the firmware turns it: from
branch to branch by an exponential of the charge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solidbms.identify.finish import Rest, rests
from solidbms.identify.fit import KELVIN, LEAST, R_SOC, START_OHM_AH, Load, hats, lag
from solidbms.identify.ocv import INNER, SOC, Branches, Ocv, rising, start_soc
from solidbms.identify.reading import GAP_S, Record

Array = NDArray[np.float64]

TAU_S = (10.0, 100.0)
# Closer nodes where OCV is steep: its slope decides what a reading tells.
OCV_SOC = np.unique(np.round([*SOC, 0.035, 0.06, 0.98, 0.99, 0.995], 4))
D_SOC = np.array([0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1])
BRANCH_SHARE = 30.0  # bms.core.filter: a thirtieth of the capacity turns the branch round
D_V = 0.02  # unit of OCV's changes in the priors
# Priors against the mean square of 20 mV over all rows: bend of d and its size, size and step of
# d_T, step of R over SoC and over temperature.
BEND, SIZE, SIZE_T, STEP_R, STEP_RT = 1e-3, 1e-4, 1e-3, 1e-2, 1e-2
PRIOR_V = 0.02
IDLE = 0.25  # weight of rows without load around them, against those at 3/4 C and more
# A file that was not fitted comes out worse: LG HG2 Mixed1 and Mixed2, each with the parameters of
# the other and the pulses, 1.06 to 1.48 times by temperature, 1.27 in the mean.
UNSEEN = 1.25
LEAST_MV = 2.0
REST_S = 1000.0  # settles both lags
NO_REST_MV = 10.0  # of OCV, where no rest tells
GROWS_R, GROWS_OCV = 0.025, 0.05  # of the errors, a K beyond the temperatures of the loads


@dataclass(frozen=True)
class Tables:
    """What `[filter]` of a cell file holds; rows by temperature."""

    temp_c: Array
    r_ohm: Array  # (3, temperatures, SoC)
    ocv_v: Array
    residual_mv: Array
    ocv_error_mv: Array
    known_c: Array  # temperatures of the loads
    rests: int  # that tell how far OCV is off


def fit_tables(
    records: list[Record], ocv: Ocv, branches: list[Branches], activation_k: Array
) -> Tables:
    """Fit all loads at once, at every temperature that a load or a slow test has."""
    loads = [_whole(r, ocv) for r in records]
    known_c = np.array(sorted({r.row_c for r in records}))
    temp_c = np.union1d(known_c, [b.row_c for b in branches])
    grid = _Grid(temp_c, ocv, activation_k)
    x = grid.solve(loads)
    r_ohm, ocv_v = grid.unpack(x)
    beyond_c = np.maximum(np.maximum(known_c[0] - temp_c, temp_c - known_c[-1]), 0)
    residual_mv = UNSEEN * _held(temp_c, grid.residual_mv(loads, x)) * (1 + GROWS_R * beyond_c)
    found = rests(loads, REST_S)
    error_mv = _ocv_error_mv(temp_c, ocv_v, ocv, branches, found) * (1 + GROWS_OCV * beyond_c)
    return Tables(
        temp_c, r_ohm, ocv_v, np.maximum(residual_mv, LEAST_MV), np.maximum(error_mv, LEAST_MV),
        known_c, len(found),
    )  # fmt: skip


def _whole(record: Record, ocv: Ocv) -> Load:
    """Lay a record over SoC up to its emptiest row, warm or not."""
    first = start_soc(record, ocv)
    soc = first + (record.ah - record.ah[0]) / ocv.capacity_ah
    empty = int(np.argmin(record.ah)) + 1
    keep = np.arange(len(soc)) < (empty if empty > 0.1 * len(soc) else len(soc))
    return Load(record.rows(keep), soc[keep], 1.0 if first > 0.5 else -1.0)


def branch_of(load: Load, capacity_ah: float) -> Array:
    """Where between its branches the firmware sees the cell, -1 discharged to 1 charged."""
    out, at = [], load.start_branch
    moved = np.diff(load.record.ah, prepend=load.record.ah[0]) / capacity_ah
    kept = np.exp(-np.abs(moved) * BRANCH_SHARE)
    for q, keep in zip(np.sign(moved).tolist(), kept.tolist(), strict=True):
        at = at * keep + (1 - keep) * q
        out.append(at)
    return np.array(out)


class _Grid:
    """Unknowns: d over OCV_SOC, d_T over D_SOC and R0 to R2 over R_SOC by temperature."""

    def __init__(self, temp_c: Array, ocv: Ocv, activation_k: Array) -> None:
        self.temp_c, self.ocv = temp_c, ocv
        self.law_k = activation_k[[0, 1, 1]]
        self.n_ocv, self.n_d = len(OCV_SOC), len(temp_c) * len(D_SOC)
        self.n_r = 3 * len(temp_c) * len(R_SOC)
        self.n = self.n_ocv + self.n_d + self.n_r
        inverse_k = 1 / (temp_c + KELVIN) - 1 / (ocv.at_c + KELVIN)
        ohm = START_OHM_AH / ocv.capacity_ah * np.exp(np.multiply.outer(self.law_k, inverse_k))
        self.units = np.concatenate(
            [np.full(self.n_ocv + self.n_d, D_V), np.repeat(ohm.ravel(), len(R_SOC))]
        )

    def solve(self, loads: list[Load]) -> Array:
        """Return the unknowns in their units."""
        from scipy.optimize import lsq_linear

        normal, right, weight = np.zeros((self.n, self.n)), np.zeros(self.n), 0.0
        for load in loads:  # one at a time: an hour of rows is a few MB
            a, b, w = self._columns(load)
            normal += a.T @ a
            right += a.T @ b
            weight += float(w @ w)
        normal += weight * PRIOR_V**2 * self._prior()
        normal += 1e-10 * np.trace(normal) / self.n * np.eye(self.n)
        upper = np.linalg.cholesky(normal).T
        least = np.full(self.n, -np.inf)
        least[-self.n_r :] = LEAST
        return lsq_linear(upper, np.linalg.solve(upper.T, right), (least, np.inf)).x

    def unpack(self, x: Array) -> tuple[Array, Array]:
        """Return R (3, temperatures, R_SOC) and OCV (temperatures, OCV_SOC)."""
        x = x * self.units
        d = x[: self.n_ocv]
        d_t = x[self.n_ocv : self.n_ocv + self.n_d].reshape(len(self.temp_c), -1)
        ocv_v = [
            rising(self.ocv.at(OCV_SOC, np.array(c), np.array(0.0)) + d
                   + np.interp(OCV_SOC, D_SOC, row))
            for c, row in zip(self.temp_c, d_t, strict=True)
        ]  # fmt: skip
        return x[-self.n_r :].reshape(3, len(self.temp_c), -1), np.array(ocv_v)

    def residual_mv(self, loads: list[Load], x: Array) -> Array:
        """RMS of what is left by temperature, NaN where no load came near."""
        square = seconds = np.zeros(len(self.temp_c))
        for load in loads:
            a, b, w = self._columns(load)
            near = hats(load.record.temp_c, self.temp_c)
            square = square + near.T @ (a @ x - b) ** 2
            seconds = seconds + near.T @ w**2
        return 1e3 * np.sqrt(np.where(seconds > 1, square / np.maximum(seconds, 1), np.nan))

    def _columns(self, load: Load) -> tuple[Array, Array, Array]:
        r = load.record
        dt_s = np.diff(r.t_s, prepend=r.t_s[0])
        weight = np.sqrt(np.clip(dt_s, 0, 1) if r.logged_s is None else r.logged_s)
        around_a = lag(np.abs(r.mean_a)[:, None], dt_s, 20.0)[:, 0]
        weight *= np.sqrt(np.minimum(IDLE + around_a / self.ocv.capacity_ah, 1))
        weight[dt_s > GAP_S] = 0
        near = hats(r.temp_c, self.temp_c)
        inverse_k = 1 / (r.temp_c[:, None] + KELVIN) - 1 / (self.temp_c[None, :] + KELVIN)
        h = hats(load.soc, R_SOC)
        r0, rc = (_both(near * np.exp(k * inverse_k), h) for k in self.law_k[:2])
        drive = rc * r.mean_a[:, None]
        a = np.hstack([
            hats(load.soc, OCV_SOC), _both(near, hats(load.soc, D_SOC)), r0 * r.last_a[:, None],
            *(lag(drive, dt_s, tau_s) for tau_s in TAU_S),
        ])  # fmt: skip
        gap_v = np.interp(load.soc, SOC, self.ocv.half_gap_v)
        base_v = self.ocv.at(load.soc, r.temp_c, np.array(0.0))
        over_v = r.v - base_v - branch_of(load, self.ocv.capacity_ah) * gap_v
        return a * self.units * weight[:, None], over_v * weight, weight

    def _prior(self) -> Array:
        nt, nd, nr = len(self.temp_c), len(D_SOC), len(R_SOC)
        whole = np.zeros((self.n, self.n))
        gap = np.diff(OCV_SOC)
        bend = np.zeros((self.n_ocv - 2, self.n_ocv))
        for k in range(len(bend)):
            bend[k, k : k + 3] = 1 / gap[k], -1 / gap[k] - 1 / gap[k + 1], 1 / gap[k + 1]
        bend *= D_V
        at = slice(0, self.n_ocv)
        whole[at, at] = BEND * bend.T @ bend + SIZE * np.eye(self.n_ocv)
        at = slice(self.n_ocv, self.n_ocv + self.n_d)
        whole[at, at] = SIZE_T * np.kron(np.eye(nt), np.eye(nd) + _steps(nd))
        at = slice(self.n - self.n_r, None)
        whole[at, at] = STEP_R * np.kron(np.eye(3 * nt), _steps(nr))
        whole[at, at] += STEP_RT * np.kron(np.eye(3), np.kron(_steps(nt), np.eye(nr)))
        return whole


def _both(a: Array, b: Array) -> Array:
    """Products of every column of a with every one of b, row by row."""
    return (a[:, :, None] * b[:, None, :]).reshape(len(a), -1)


def _steps(n: int) -> Array:
    step = np.eye(n)[1:] - np.eye(n)[:-1]
    return step.T @ step


def _held(temp_c: Array, values: Array) -> Array:
    """Fill gaps from the neighbours."""
    there = np.isfinite(values)
    return np.interp(temp_c, temp_c[there], values[there])


def _ocv_error_mv(
    temp_c: Array, ocv_v: Array, ocv: Ocv, branches: list[Branches], found: list[Rest]
) -> Array:
    """RMS by temperature of how far a rested cell is from OCV, and of half the distance of its
    branches: nobody tells a cell just connected which one it is on."""
    off: list[list[float]] = [[] for _ in temp_c]
    for x in found:
        k = int(np.argmin(np.abs(temp_c - x.row_c)))
        gap_v = x.way * float(np.interp(x.soc, SOC, ocv.half_gap_v))
        off[k].append(x.v - gap_v - float(np.interp(x.soc, OCV_SOC, ocv_v[k])))
    rest_mv = np.array([1e3 * np.sqrt(np.mean(np.square(x))) if x else np.nan for x in off])
    if not np.isfinite(rest_mv).any():
        rest_mv[:] = 0.0 if ocv.half_gap_v.any() else NO_REST_MV
    if not ocv.half_gap_v.any():
        return _held(temp_c, rest_mv)
    gaps = sorted(
        (b.row_c, 1e3 * float(np.sqrt(np.mean((b.up_v - b.down_v)[INNER] ** 2))) / 2)
        for b in branches
        if b.up_v is not None
    )
    rows_c, gap_mv = np.array(gaps).T
    return np.hypot(_held(temp_c, rest_mv), np.interp(temp_c, rows_c, gap_mv))
