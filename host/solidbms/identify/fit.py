"""R0 and two RC pairs over SoC and temperature, by least squares on pulses and drives.

Once the time constants are chosen the voltage is linear in what is sought,
    V - OCV(soc) = I R0(soc) + sum_k LP_k(I R_k(soc)) + d(soc) + LP(I / (|I| + a)) sag
(LP_k: first-order lag tau_k; Plett, Battery Management Systems vol. 1, ch. 2.8, and the last two):
one bounded linear problem a temperature, with hat functions over SoC. d is what OCV at that
temperature and on that counter lies off the slow test's; rests weigh most for it. sag is a slow
loss that hardly grows with the current: there is one in the cold. Without both R comes out for the
currents of these files alone (LG HG2, a drive not fitted: at -10 degC 100 mV RMS became 54).
Inside a file R and sag follow the cell's own temperature by Arrhenius. Priors keep apart what the
data does not: R and d change little from node to node, and where the cold ends its discharge early
R over SoC has the reference's shape.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solidbms.identify.ocv import REFERENCE_C, SOC, Ocv, branch_of
from solidbms.identify.reading import GAP_S, Record

Array = NDArray[np.float64]

KELVIN = 273.15
R_SOC = np.array([0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
D_SOC = np.unique(np.round([0.02, *np.arange(0, 1.01, 0.05), 0.975], 4))
TAU1_S = (2.0, 4.0, 8.0, 15.0)  # a row a second shows no faster ones
# Longer ones fit the drift of OCV and SoC reference, not the cell: an hour's rest must settle it.
TAU2_S = (30.0, 60.0, 100.0, 160.0, 300.0)
GAPS_SOC = (0.03, 0.05, 0.1, 0.2)
SPAN_C = 8.0  # rows this far from the temperature of their table's row are left out
# A row's error: of the circuit, and of the SoC it is at; and how long it lasts.
SIGMA_V, SIGMA_SOC, LASTS_S = 0.005, 0.01, 30.0
LIGHT = 0.02  # rows weigh by the load around them, in C, plus this: R shows under load
STEP = 0.1  # prior: R's step from node to node, relative to what it starts from
LEAST = 0.1  # no R falls below this fraction of the reference's, nor there of START_OHM_AH
START_OHM_AH = 0.06
D_V, D_STEP_V = 0.03, 0.006  # prior: d, and its step from node to node
# A rest: its length, its current against the file's largest, how well OCV stands at its end.
REST_S, REST_IDLE, REST_V = 1800.0, 0.002, 0.002
SAG_S, SAG_PER_H = 600.0, 0.1  # its lag, and the current (of the capacity) that gives half of it
START_K = np.array([2500.0, 3000.0])  # Ea/R of R0 and RC to begin with


@dataclass(frozen=True)
class Load:
    """A record with its SoC from the row it starts at, cut to what the fit uses."""

    record: Record
    soc: Array
    start_branch: float


def load(record: Record, ocv: Ocv, first_soc: float) -> Load:
    """Lay a record over SoC; of a discharge what comes before its end, near its temperature."""
    soc = first_soc + (record.ah - record.ah[0]) / ocv.capacity_ah
    empty = int(np.argmin(record.ah)) + 1
    keep = np.abs(record.temp_c - record.row_c) < SPAN_C
    if empty > 0.1 * len(soc):
        keep[empty:] = False
    start = 1.0 if first_soc > 0.5 else -1.0
    return Load(record.rows(keep), soc[keep], start)


def hats(soc: Array, nodes: Array) -> Array:
    """(rows, nodes): weights of linear interpolation between the nodes, held beyond the ends."""
    return np.stack([np.interp(soc, nodes, row) for row in np.eye(len(nodes))], axis=1)


def lag(drive: Array, dt_s: Array, tau_s: float) -> Array:
    """First-order lag of each column of `drive`, which holds during the step before its row.

    In blocks short enough for exp(t / tau) not to overflow: sums instead of a loop over rows.
    """
    out = np.empty_like(drive)
    state = np.zeros(drive.shape[1])
    age = np.cumsum(dt_s / tau_s)
    gained = drive * -np.expm1(-dt_s / tau_s)[:, None]
    begin = 0
    while begin < len(drive):
        before = age[begin - 1] if begin else 0.0
        end = max(begin + 1, int(np.searchsorted(age, before + 30.0)))
        grown = np.exp(np.minimum(age[begin:end] - before, 600.0))[:, None]
        if end == begin + 1:  # a long pause by itself
            out[begin] = state / grown[0] + gained[begin]
        else:
            out[begin:end] = (state + np.cumsum(gained[begin:end] * grown, axis=0)) / grown
        state = out[end - 1]
        begin = end
    return out


class Group:
    """Rows of one temperature, made into the normal equations of every pair of lags at once."""

    def __init__(self, loads: list[Load], ocv: Ocv, activation_k: Array) -> None:
        self.row_c = loads[0].record.row_c
        n = len(R_SOC) * (1 + len(TAU1_S) + len(TAU2_S)) + len(D_SOC) + 1
        self.normal, self.right = np.zeros((n, n)), np.zeros(n)
        self.square = self.weight = 0.0
        self.rests = Pull(np.zeros((n, n)), np.zeros(n))
        for x in loads:  # one at a time: an hour of rows is a few MB
            a, b, weight = _columns(x, ocv, activation_k, self.row_c)
            self.normal += a.T @ a
            self.right += a.T @ b
            self.square += float(b @ b)
            self.weight += float(np.sum(weight**2))
            self.rests += _rests(x, ocv, n)

    def solve(self, taus_s: tuple[float, float], scale: Array) -> Solved:
        """Solve for one pair of time constants; `scale`: R of shape (3, nodes) to start from."""
        from scipy.optimize import lsq_linear

        n, lags = len(R_SOC), (*TAU1_S, *TAU2_S)
        parts = [0, *(1 + lags.index(t) for t in taus_s)]
        rest = np.arange(n * (1 + len(lags)), len(self.normal))  # d, sag
        at = np.concatenate([*(np.arange(n) + n * k for k in parts), rest])
        units = np.concatenate([scale.ravel(), np.full(len(rest), D_V)])
        normal = self.normal[np.ix_(at, at)] * np.outer(units, units)
        right = self.right[at] * units
        rests = self.rests.normal[np.ix_(at, at)] * np.outer(units, units)
        rests += _prior() + 1e-9 * np.eye(len(units))
        upper = np.linalg.cholesky(normal + rests).T
        pull = right + self.rests.right[at] * units
        least = np.full(len(units), -np.inf)
        least[: 3 * n] = LEAST
        least[-1] = 0.0
        x = lsq_linear(upper, np.linalg.solve(upper.T, pull), (least, np.inf)).x
        error = float(x @ normal @ x - 2 * right @ x + self.square) / self.weight
        x = x * units
        return Solved(x[: 3 * n].reshape(3, n), x[3 * n : -1], float(x[-1]), error)


@dataclass(frozen=True)
class Solved:
    """One temperature: R0, R1, R2 over R_SOC, d over D_SOC, sag; mean square over SIGMA_V."""

    r_ohm: Array
    d_v: Array
    sag_v: float
    error: float


def _prior() -> Array:
    def steps(n: int) -> Array:
        return np.eye(n)[1:] - np.eye(n)[:-1]

    r = steps(len(R_SOC)) / STEP
    d = steps(len(D_SOC)) * D_V / D_STEP_V
    n, m = 3 * len(R_SOC), len(D_SOC)
    whole = np.zeros((n + m + 1,) * 2)
    whole[:n, :n] = np.kron(np.eye(3), r.T @ r)
    whole[n:-1, n:-1] = d.T @ d + np.eye(m)
    return whole


@dataclass(frozen=True)
class Pull:
    """Normal equations of rows that say something of d alone."""

    normal: Array
    right: Array

    def __add__(self, other: Pull) -> Pull:
        return Pull(self.normal + other.normal, self.right + other.right)


def _rests(x: Load, ocv: Ocv, columns: int) -> Pull:
    """At the end of a rest OCV stands at the terminals."""
    a = np.zeros((0, columns))
    b = np.zeros(0)
    if ends := rest_ends(x):
        soc, r = x.soc[ends], x.record
        a = np.zeros((len(ends), columns))
        a[:, -1 - len(D_SOC) : -1] = hats(soc, D_SOC)
        branch = branch_of(x.soc, ocv.gap_soc, x.start_branch)[ends]
        b = r.v[ends] - ocv.at(soc, r.temp_c[ends], branch)
    return Pull(a.T @ a / REST_V**2, a.T @ b / REST_V**2)


def rest_ends(x: Load, rest_s: float = REST_S) -> list[int]:
    """Last rows of rests of more than rest_s, without a gap, after a discharge."""
    r = x.record
    idle = (np.abs(r.last_a) < REST_IDLE * np.abs(r.last_a).max()) & (
        np.diff(r.t_s, prepend=r.t_s[0]) < GAP_S
    )
    edges = np.flatnonzero(np.diff(idle.astype(int), prepend=0, append=0)).reshape(-1, 2)
    return [
        b - 1
        for a, b in edges.tolist()
        if a and r.t_s[b - 1] - r.t_s[a] > rest_s and x.soc[a] < x.soc[0]
    ]


def _columns(
    x: Load, ocv: Ocv, activation_k: Array, row_c: float
) -> tuple[Array, Array, Array]:
    r = x.record
    dt_s = np.diff(r.t_s, prepend=r.t_s[0])
    inverse_k = 1 / (r.temp_c + KELVIN) - 1 / (row_c + KELVIN)
    r0_scale, rc_scale = np.exp(np.multiply.outer(activation_k, inverse_k))
    branch = branch_of(x.soc, ocv.gap_soc, x.start_branch)
    slope = np.interp(x.soc, (SOC[1:] + SOC[:-1]) / 2, np.diff(ocv.v) / np.diff(SOC))
    sigma_v = np.hypot(SIGMA_V, SIGMA_SOC * slope)
    weight = np.sqrt(np.clip(dt_s, 0, 10) / LASTS_S) / sigma_v
    per_h = lag(np.abs(r.mean_a)[:, None], dt_s, 20.0)[:, 0] / ocv.capacity_ah
    weight *= np.sqrt(LIGHT + per_h)
    weight[dt_s > GAP_S] = 0
    h = hats(x.soc, R_SOC)
    drive = h * (r.mean_a * rc_scale)[:, None]
    lags = [lag(drive, dt_s, tau_s) for tau_s in (*TAU1_S, *TAU2_S)]
    share = r.mean_a / (np.abs(r.mean_a) + SAG_PER_H * ocv.capacity_ah)
    sag = lag((share * rc_scale)[:, None], dt_s, SAG_S)
    a = np.hstack([h * (r.last_a * r0_scale)[:, None], *lags, hats(x.soc, D_SOC), sag])
    over_v = r.v - ocv.at(x.soc, r.temp_c, branch)
    return a * weight[:, None], over_v * weight, weight * SIGMA_V


@dataclass(frozen=True)
class Fit:
    """All temperatures: R of shape (3, temperatures, nodes), d over D_SOC, sag."""

    temp_c: Array
    r_ohm: Array
    d_v: Array
    sag_v: Array
    tau_s: tuple[float, float]
    activation_k: Array  # R0, RC
    cost: float  # compares time constants

    @property
    def reference(self) -> int:
        """Index of the temperature nearest 25 degC."""
        return int(np.argmin(np.abs(self.temp_c - REFERENCE_C)))

    def total_ohm(self, at_c: float) -> Array:
        """R0 + R1 + R2 over ocv.SOC at a temperature, in a straight line between those fitted."""
        total = [np.interp(at_c, self.temp_c, column) for column in self.r_ohm.sum(0).T]
        return np.interp(SOC, R_SOC, total)

    def d_at(self, at_c: float) -> Array:
        """d over D_SOC at a temperature, the same way."""
        return np.array([np.interp(at_c, self.temp_c, column) for column in self.d_v.T])


def fit_all(
    loads: list[Load],
    ocv: Ocv,
    activation_k: Array,
    taus_s: tuple[float, float] | None = None,
) -> Fit:
    """Fit every temperature, with the best pair of time constants or the one given."""
    rows_c = sorted({x.record.row_c for x in loads})
    groups = [
        Group([x for x in loads if x.record.row_c == c], ocv, activation_k) for c in rows_c
    ]
    reference = min(groups, key=lambda g: abs(g.row_c - REFERENCE_C))
    start = np.full((3, len(R_SOC)), START_OHM_AH / ocv.capacity_ah)
    best: Fit | None = None
    for pair in [taus_s] if taus_s else itertools.product(TAU1_S, TAU2_S):
        first = reference.solve(pair, start)
        solved = [
            first
            if g is reference
            else g.solve(pair, first.r_ohm * _relative(reference.row_c, g.row_c, activation_k))
            for g in groups
        ]
        # by relative error, or the cold with its large resistance alone would decide
        cost = float(np.sum(np.log([x.error for x in solved])))
        if best is None or cost < best.cost:
            r = np.stack([x.r_ohm for x in solved], axis=1)
            d = np.stack([x.d_v for x in solved])
            law = fit_activation(rows_c, r)
            sag = np.array([x.sag_v for x in solved])
            best = Fit(np.array(rows_c), r, d, sag, pair, law, cost)
    assert best
    return best


def _relative(from_c: float, to_c: float, activation_k: Array) -> Array:
    inverse_k = 1 / (to_c + KELVIN) - 1 / (from_c + KELVIN)
    r0, rc = np.exp(activation_k * inverse_k)
    return np.array([r0, rc, rc])[:, None]


def fit_activation(rows_c: list[float], r: Array) -> Array:
    """Ea/R of R0 and of the pairs together: slope of ln R, mean of SoC 0.3 to 0.9, over 1/T."""
    if len(rows_c) == 1:
        return START_K
    middle = r[:, :, (R_SOC >= 0.3) & (R_SOC <= 0.9)].mean(-1)
    inverse_k = 1 / (np.array(rows_c) + KELVIN)
    rows = (middle[0], middle[1] + middle[2])
    return np.array([max(0.0, np.polyfit(inverse_k, np.log(row), 1)[0]) for row in rows])
