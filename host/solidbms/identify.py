"""Cell parameters from measurements: OCV from a slow test, R0 and two RC pairs from pulses and
drives, heat from drives; written as a cell TOML.

    python -m solidbms.identify DATA_DIR OUT.toml

The voltage is linear in the resistances once the time constants are chosen,
    V - OCV(soc) = I R0(soc) + sum_k LP_k(I R_k(soc)),    LP_k: first-order lag tau_k,
so each chamber temperature is one bounded linear least-squares fit with hat functions over SoC,
and the time constants come from a search over pairs (Plett, Battery Management Systems vol. 1,
ch. 2.8 for the model). Inside a chamber's file R follows the cell's temperature by Arrhenius.
Needs scipy.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import itertools
import math
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from solidbms.plant.cell import KELVIN, CellData, Cells

Array = NDArray[np.float64]

REFERENCE_C = 25.0
OCV_SOC = np.unique(np.round([0.01, 0.015, *np.arange(0, 1.0001, 0.025)], 4))
R_SOC = np.array([0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
TAU1_S = (2.0, 4.0, 8.0, 15.0)
# Longer ones fit the drift of OCV and SoC reference, not the cell: an hour's rest must settle it.
TAU2_S = (60.0, 100.0, 160.0, 300.0)
LIGHT_A = 0.5  # rows weigh by this plus the mean current around them: R shows under load
GAP_S = 120.0  # a longer pause in a file: the pairs are taken as relaxed after it
SMOOTH = 1e-2  # weight of R's steps between SoC nodes against the data, both relative
LEAST = 0.25  # no R falls below this fraction of the one at 25 degC, nor there of 10 mohm
SPAN_C = 8.0  # rows this far from the chamber's temperature are left out


@dataclass(frozen=True)
class Record:
    """One measured file. Charge current positive; `ah` from full, negative while discharging."""

    path: Path
    temp_row_c: float
    t_s: Array
    mean_a: Array  # mean since the row before
    last_a: Array  # at the instant of `v`
    v: Array
    temp_c: Array
    ah: Array


def read_lg(path: Path) -> Record:
    """Read a file of the LG 18650HG2 set: `t_s,[i_mean_A,]i_A,v_V,temp_C,ah`, maybe gzipped."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt") as file:
        rows = csv.reader(file)
        names = next(rows)
        column = dict(zip(names, np.array(list(rows), float).T, strict=True))
    chamber = re.match(r"(n?)(\d+)degC", path.name)
    if not chamber:
        raise ValueError(f"{path.name}: name must begin like n10degC_ or 25degC_")
    last_a = column["i_A"]
    return Record(
        path=path,
        temp_row_c=float(chamber[2]) * (-1 if chamber[1] else 1),
        t_s=column["t_s"],
        mean_a=column.get("i_mean_A", last_a),
        last_a=last_a,
        v=column["v_V"],
        temp_c=column["temp_C"],
        ah=column["ah"],
    )


def fit_capacity_ah(slow: Record) -> float:
    """Charge out of the slow test from full to empty."""
    return float(-slow.ah.min())


def fit_ocv(slow: Record, capacity_ah: float, soc: Array = OCV_SOC) -> Array:
    """Mean of slow discharge and charge over SoC, the charge scaled to its own length."""
    empty = int(np.argmin(slow.ah))
    full = empty + int(np.argmax(slow.ah[empty:]))
    down = slice(0, empty + 1)
    up = np.flatnonzero(slow.last_a[empty : full + 1] > 0) + empty
    soc_down = 1 + slow.ah[down] / capacity_ah
    soc_up = (slow.ah[up] - slow.ah[empty]) / (slow.ah[full] - slow.ah[empty])
    v_down = np.interp(soc, soc_down[::-1], slow.v[down][::-1])
    v_up = np.interp(soc, soc_up, slow.v[up])
    # Until the CV phase the charge lies one polarisation above; at its end the current is small
    # and the cell rests within 12 mV of the voltage it held, so the mean stands for SoC 1 too.
    return np.maximum.accumulate((v_down + v_up) / 2)


def usable(record: Record) -> Record:
    """The discharge: from the start to the lowest charge, at the chamber's temperature."""
    n = int(np.argmin(record.ah)) + 1
    keep = np.zeros(len(record.t_s), bool)
    keep[:n] = np.abs(record.temp_c[:n] - record.temp_row_c) < SPAN_C
    arrays = {k: v[keep] for k, v in vars(record).items() if isinstance(v, np.ndarray)}
    return Record(record.path, record.temp_row_c, **arrays)


def hats(soc: Array, nodes: Array = R_SOC) -> Array:
    """(rows, nodes): weights of linear interpolation between the nodes, held beyond the ends."""
    return np.stack([np.interp(soc, nodes, row) for row in np.eye(len(nodes))], axis=1)


def lag(drive: Array, dt_s: Array, tau_s: float) -> Array:
    """First-order lag of each column of `drive`, which holds during the step before its row."""
    out = np.zeros_like(drive)
    state = np.zeros(drive.shape[1])
    decay = np.where(dt_s > GAP_S, 0.0, np.exp(-dt_s / tau_s))
    gain = np.where(dt_s > GAP_S, 0.0, 1 - decay)
    for k in range(len(drive)):
        state = decay[k] * state + gain[k] * drive[k]
        out[k] = state
    return out


class Group:
    """Rows of one chamber temperature, made into the columns of the linear problem."""

    def __init__(
        self, records: list[Record], ocv_v: Array, capacity_ah: float, activation_k: Array
    ) -> None:
        self.temp_c = records[0].temp_row_c
        self.records = records
        self.activation_k = activation_k
        parts = [self._columns(r, ocv_v, capacity_ah) for r in records]
        self.weight, self.over_v, self.r0, self.drive, self.dt_s = (
            list(x) for x in zip(*parts, strict=True)
        )
        self._lagged: dict[float, Array] = {}

    def _columns(self, r: Record, ocv_v: Array, capacity_ah: float) -> tuple[Array, ...]:
        dt_s = np.diff(r.t_s, prepend=r.t_s[0])
        soc = 1 + r.ah / capacity_ah
        inverse_k = 1 / (r.temp_c + KELVIN) - 1 / (self.temp_c + KELVIN)
        r0_scale, rc_scale = np.exp(np.multiply.outer(self.activation_k, inverse_k))
        weight = np.sqrt(np.clip(dt_s, 0, 1))[:, None]  # 10 Hz rows count for their 0.1 s
        weight *= np.sqrt(LIGHT_A + lag(np.abs(r.mean_a)[:, None], dt_s, 20.0))
        weight[dt_s > GAP_S] = 0
        h = hats(soc)
        over_v = r.v - np.interp(soc, OCV_SOC, ocv_v)
        return (
            weight,
            over_v,
            h * (r.last_a * r0_scale)[:, None],
            h * (r.mean_a * rc_scale)[:, None],
            dt_s,
        )

    def lagged(self, tau_s: float) -> Array:
        if tau_s not in self._lagged:
            parts = [lag(d, dt, tau_s) for d, dt in zip(self.drive, self.dt_s, strict=True)]
            self._lagged[tau_s] = np.concatenate(parts)
        return self._lagged[tau_s]

    def solve(self, tau_s: tuple[float, float], shape: Array | None) -> tuple[Array, float]:
        """R of shape (3, nodes) and the sum of squares. `shape`: R over SoC of the reference
        group, which decides where this one has no data (the cold ends its discharge early)."""
        from scipy.optimize import nnls

        weight = np.concatenate(self.weight)
        a = np.hstack([np.concatenate(self.r0), *(self.lagged(t) for t in tau_s)]) * weight
        b = np.concatenate(self.over_v) * weight[:, 0]
        n = len(R_SOC)
        scale = np.full(3 * n, 0.01) if shape is None else shape.ravel()
        steps = np.kron(np.eye(3), np.eye(n)[1:] - np.eye(n)[:-1])
        normal = (a * scale).T @ (a * scale)
        size = np.trace(normal) / len(scale)
        normal += SMOOTH * size * steps.T @ steps + 1e-9 * size * np.eye(3 * n)
        upper = np.linalg.cholesky(normal).T
        right = (a * scale).T @ b - normal @ np.full(3 * n, LEAST)
        x, _ = nnls(upper, np.linalg.solve(upper.T, right))
        r = (x + LEAST) * scale
        return r.reshape(3, n), float(np.sum((a @ r - b) ** 2))

    def total_weight(self) -> float:
        return float(sum(np.sum(w**2) for w in self.weight))


@dataclass(frozen=True)
class Fit:
    """Resistances over temperature and SoC, (3, temperatures, nodes)."""

    temp_c: Array
    r_ohm: Array
    tau_s: tuple[float, float]
    activation_k: Array  # R0, RC
    rmse_v: Array  # by temperature


def fit_resistances(records: list[Record], ocv_v: Array, capacity_ah: float) -> Fit:
    """Fit every chamber temperature; twice, the second time with the activation found first."""
    temps = sorted({r.temp_row_c for r in records})
    activation_k = np.array([2500.0, 3000.0])  # start; the result does not depend on it
    tau_s: tuple[float, float] | None = None
    fit = None
    for _ in range(2):
        groups = {
            t: Group([r for r in records if r.temp_row_c == t], ocv_v, capacity_ah, activation_k)
            for t in temps
        }
        pairs = [tau_s] if tau_s else list(itertools.product(TAU1_S, TAU2_S))
        tries = [(pair, _solve_all(groups, pair)) for pair in pairs]
        # by relative error, or the cold with its large resistance alone would decide
        weights = np.array([g.total_weight() for g in groups.values()])
        cost = [np.sum(np.log([s for _, s in got.values()] / weights)) for _, got in tries]
        tau_s, solved = tries[int(np.argmin(cost))]
        r = np.stack([solved[t][0] for t in temps], axis=1)
        rmse = np.sqrt([solved[t][1] for t in temps] / weights)
        activation_k = fit_activation(np.array(temps), r)
        fit = Fit(np.array(temps), r, tau_s, activation_k, rmse)
    assert fit
    return fit


def _solve_all(
    groups: dict[float, Group], tau_s: tuple[float, float]
) -> dict[float, tuple[Array, float]]:
    reference = groups[min(groups, key=lambda t: abs(t - REFERENCE_C))]
    first = reference.solve(tau_s, None)
    return {t: first if g is reference else g.solve(tau_s, first[0]) for t, g in groups.items()}


def fit_activation(temp_c: Array, r: Array) -> Array:
    """Ea/R of R0 and of the pairs together: slope of ln R, mean of SoC 0.3 to 0.9, over 1/T."""
    middle = r[:, :, (R_SOC >= 0.3) & (R_SOC <= 0.9)].mean(-1)
    inverse_k = 1 / (temp_c + KELVIN)
    rows = (middle[0], middle[1] + middle[2])
    return np.array([np.polyfit(inverse_k, np.log(row), 1)[0] for row in rows])


def fit_heat(cell: CellData, drives: list[Record]) -> tuple[float, float]:
    """Heat capacity (J/K) and loss to ambient (W/K): least squares on the temperature of drives,
    with the measured voltage's loss I * (V - OCV) as the heat."""
    from scipy.optimize import least_squares

    def residual(x: Array) -> Array:
        capacity, loss = np.exp(x)
        parts = []
        for r in drives:
            heat_w = r.mean_a * (r.v - cell.ocv_v(1 + r.ah / cell.capacity_ah))
            dt_s = np.diff(r.t_s, prepend=r.t_s[0])
            rise_k = lag((heat_w / loss)[:, None], dt_s, capacity / loss)[:, 0]
            parts.append((r.temp_c[0] + rise_k - r.temp_c)[::10])
        return np.concatenate(parts)

    capacity, loss = np.exp(least_squares(residual, np.log([45.0, 0.1])).x)
    return float(capacity), float(loss)


def check(cell: CellData, record: Record) -> tuple[float, float]:
    """RMSE and largest error in V of the plant under the record's current and temperature."""
    plant = Cells(cell, soc=1 + record.ah[0] / cell.capacity_ah, temp_c=record.temp_c[0])
    error_v = np.zeros(len(record.t_s))
    dt_s = np.diff(record.t_s, prepend=record.t_s[0] - 1)
    for k in range(len(record.t_s)):
        if dt_s[k] > 0:
            plant.step(float(record.mean_a[k]), float(dt_s[k]), 25.0)
        plant.soc[...] = 1 + record.ah[k] / cell.capacity_ah
        plant.temp_c[...] = record.temp_c[k]
        plant.refresh()
        error_v[k] = plant.voltage_v(float(record.last_a[k]))[0, 0] - record.v[k]
    return float(np.sqrt(np.mean(error_v**2))), float(np.abs(error_v).max())


def lithium_ocv(path: Path, charged: float, discharged: float, soc: Array) -> Array:
    """OCV of a cathode against lithium: half-cell `stoichiometry,V` rows (comments with #) taken
    between the two stoichiometries. Lithium's own potential is 0 V at every SoC."""
    rows = np.loadtxt(path, delimiter=",", comments="#")
    return np.interp(discharged + (charged - discharged) * soc, rows[:, 0], rows[:, 1])


TEMPLATE = """\
# Made by `python -m solidbms.identify`: change that, not this file.
name = "{name}"
chemistry = "nmc"
sources = [
    "Kollmeyer et al., LG 18650HG2 data, doi 10.17632/cp3473x7xv.3, CC BY 4.0",
    "files: {files}",
    "LG Chem product specification INR18650HG2 (limits)",
]

[capacity]
ah = {ah:.3f}                      # C/20 discharge at 25 degC from 4.2 V to 2.8 V

# 25 degC, mean of C/20 discharge and charge, the charge (2.97 Ah) scaled to its own length.
# Pseudo-OCV: rests of an hour in the pulse test lie {rest_mv} mV from it.
[ocv]
soc = {ocv_soc}
v = {ocv_v}

# Least squares on pulse tests and drives. Residual by row (RMSE weighed by load), mV:
# {rmse}.
# R falls with current in the cold, which a linear circuit cannot show: this is the mean of these
# files, and hard pulses in the cold see less. Where the cold ends a discharge early, R at low SoC
# follows the shape at 25 degC.
[resistance]
soc = {r_soc}
temp_c = {temp_c}
r0_ohm = {r0}
r1_ohm = {r1}
r2_ohm = {r2}
tau1_s = {tau1}
tau2_s = {tau2}
activation_r0_k = {act_r0:.0f}          # Ea/R, fitted over all rows at SoC 0.3 to 0.9
activation_rc_k = {act_rc:.0f}          # the same for R1 + R2

# The drives themselves fit {fit_j:.0f} J/K and {fit_w:.2f} W/K: more than a cell has. Holder and
# leads in a chamber with forced air, seen from the can; here stands the cell by itself.
[thermal]
heat_capacity_j_per_k = 47.0    # 45 g x 1040 J/kgK (18650 NMC, batterydesign.net)
to_ambient_w_per_k = 0.06       # assumed: still air, 14 W/m2K over the 42 cm2 of an 18650

[limits]                        # LG product specification INR18650HG2
v_max = 4.2                     # charge, +-0.05 V
v_min = 2.5                     # end of discharge
charge_a_max = 4.0              # standard charge is 1.5 A
discharge_a_max = 20.0
charge_temp_min_c = 0
charge_temp_max_c = 50
discharge_temp_min_c = -20
discharge_temp_max_c = 75       # cell surface

[accuracy]
ocv_mv = {ocv_mv}                     # the furthest of the hour rests from [ocv], and a tenth
"""


def rests_v(pulses: Record, ocv_v: Array, capacity_ah: float) -> Array:
    """Voltage minus OCV at the end of each rest of 50 minutes or more after a discharge."""
    idle = np.abs(pulses.last_a) < 0.02
    edges = np.flatnonzero(np.diff(idle.astype(int), prepend=0, append=0))
    ends = [b - 1 for a, b in edges.reshape(-1, 2) if pulses.t_s[b - 1] - pulses.t_s[a] > 3000]
    return pulses.v[ends] - np.interp(1 + pulses.ah[ends] / capacity_ah, OCV_SOC, ocv_v)


def _list(values: Array, digits: int) -> str:
    """A TOML array, wrapped; rows of a two-dimensional one on lines of their own."""
    if values.ndim == 2:
        rows = "".join(f"{_list(row, digits)},\n" for row in values)
        return "[\n" + textwrap.indent(rows, "    ") + "]"
    text = ", ".join(f"{x:.{digits}f}" for x in values)
    if len(text) < 92:
        return f"[{text}]"
    return "[\n" + textwrap.indent(textwrap.fill(text + ",", 91), "    ") + "\n]"


def write_toml(path: Path, name: str, files: list[str], cell: CellData, **said: object) -> None:
    """Write the cell with the source of every block."""
    text = TEMPLATE.format(
        name=name,
        files=", ".join(files),
        ah=cell.capacity_ah,
        ocv_soc=_list(cell.ocv_soc, 3),
        ocv_v=_list(cell.ocv_table_v, 4),
        r_soc=_list(cell.r_soc, 2),
        temp_c=_list(cell.r_temp_c, 0),
        **{f"r{k}": _list(rows, 5) for k, rows in enumerate(cell.r_ohm)},
        tau1=cell.tau_s[0],
        tau2=cell.tau_s[1],
        act_r0=cell.activation_k[0],
        act_rc=cell.activation_k[1],
        **said,
    )
    path.write_text(text, encoding="ascii")


def identify_lg(folder: Path, out: Path) -> None:
    """Fit the LG 18650HG2 from `folder` and write `out`; US06 and LA92 are left for checks."""
    (slow,) = (read_lg(p) for p in folder.glob("25degC_*_C20DisCh.csv*"))
    paths = [p for p in sorted(folder.glob("*.csv*")) if re.search("HPPC|Mixed", p.name)]
    records = [usable(read_lg(p)) for p in paths]
    capacity_ah = fit_capacity_ah(slow)
    ocv_v = fit_ocv(slow, capacity_ah)
    fit = fit_resistances(records, ocv_v, capacity_ah)
    cell = CellData(
        name=out.stem,
        capacity_ah=capacity_ah,
        ocv_soc=OCV_SOC,
        ocv_table_v=ocv_v,
        r_soc=R_SOC,
        r_temp_c=fit.temp_c,
        r_ohm=fit.r_ohm,
        tau_s=fit.tau_s,
        activation_k=fit.activation_k[[0, 1, 1]],
        heat_capacity_j_per_k=47.0,
        to_ambient_w_per_k=0.06,
    )
    heat = fit_heat(cell, [r for r in records if "Mixed" in r.path.name])
    pulses = next(r for r in records if r.temp_row_c == REFERENCE_C and "HPPC" in r.path.name)
    rest_mv = rests_v(pulses, ocv_v, capacity_ah) * 1e3
    write_toml(
        out,
        out.stem,
        ["25degC C20DisCh", "HPPC, Mixed1, Mixed2 at every temperature"],
        cell,
        rest_mv=f"{rest_mv.min():.1f} to {rest_mv.max():.1f}",
        rmse=", ".join(f"{x * 1e3:.0f}" for x in fit.rmse_v),
        fit_j=heat[0],
        fit_w=heat[1],
        ocv_mv=math.ceil(1.1 * float(np.abs(rest_mv).max())),
    )
    for record in [slow, *records]:
        print(f"used {record.path.name}")
    print(
        f"capacity {capacity_ah:.3f} Ah, time constants {fit.tau_s} s, Ea/R {fit.activation_k} K"
    )
    for temp_c, rmse_v in zip(fit.temp_c, fit.rmse_v, strict=True):
        print(f"{temp_c:4.0f} degC: residual {rmse_v * 1e3:.1f} mV RMS, weighed by load")
    print(f"hour rests against OCV, mV: {np.round(rest_mv, 1)}")
    print("check, plant under measured current and temperature, mV RMS / largest:")
    for path in sorted(folder.glob("*.csv*")):
        if re.search("Mixed|US06|LA92", path.name):
            rmse_v, largest_v = check(cell, read_lg(path))
            print(f"  {path.name}: {rmse_v * 1e3:.0f} / {largest_v * 1e3:.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="solidbms.identify", description=identify_lg.__doc__)
    parser.add_argument("data", type=Path, metavar="DATA_DIR")
    parser.add_argument("out", type=Path, metavar="OUT.toml")
    args = parser.parse_args()
    identify_lg(args.data, args.out)


if __name__ == "__main__":
    main()
