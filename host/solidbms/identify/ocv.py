"""OCV over SoC from slow tests: capacity, both branches, hysteresis, change with temperature.

A slow sweep shows OCV less its current times the resistance. With a discharge and a charge the
middle of both is OCV and, where the counter closes the loop, half their distance beyond that drop
is hysteresis. SoC counts in what the slow discharge nearest 25 degC gave.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from solidbms.identify.reading import Notes, Record
from solidbms.schema import BadInput, shown

Array = NDArray[np.float64]

REFERENCE_C = 25.0
NEAR_C = 5.0  # a slow test so near counts as one at 25 degC
SOC = np.unique(np.round([0.01, 0.015, *np.arange(0, 1.0001, 0.025), 0.985], 4))
INNER = np.abs(SOC - 0.5) < 0.401  # where branches can be told apart: at the ends they are steep
CLOSES = 0.02  # of the capacity: discharge and charge that differ by more tell no hysteresis
LEAST_GAP_V = 0.004  # half distances below are none
LEAST_RISE_V = 3e-4  # between nodes: the firmware looks SoC up by voltage
START_PER_H, IDLE_PER_H, START_S = 0.2, 0.02, 60.0  # what a file may start with
BEYOND_SOC = 0.1  # counters of one cell agree better
GAP_SOC = 0.1  # between the branches, where the loads do not tell


@dataclass(frozen=True)
class Branches:
    """One temperature's slow sweeps over SOC; a branch that was not measured is None."""

    row_c: float
    down_v: Array
    up_v: Array | None
    down_a: float  # magnitudes
    up_a: float
    reach: tuple[float, float]  # SoC where both branches have rows
    out_ah: float
    back_ah: float


@dataclass(frozen=True)
class Ocv:
    """OCV over SOC at the slow test's temperature: middle, half distance of the branches, and its
    change with temperature."""

    capacity_ah: float
    v: Array
    half_gap_v: Array
    v_per_k: Array
    gap_soc: float = GAP_SOC
    at_c: float = REFERENCE_C

    def at(self, soc: Array, temp_c: Array, branch: Array) -> Array:
        """OCV in V of each row."""
        v = np.interp(soc, SOC, self.v) + branch * np.interp(soc, SOC, self.half_gap_v)
        return v + np.interp(soc, SOC, self.v_per_k) * (temp_c - self.at_c)


def branch_of(soc: Array, gap_soc: float, start: float) -> Array:
    """Where between its branches the cell is, -1 discharged to 1 charged: the plant's play."""
    out, at = [], start
    for step in (np.diff(soc, prepend=soc[0]) * 2 / gap_soc).tolist():
        at = min(1.0, max(-1.0, at + step))
        out.append(at)
    return np.array(out)


def slow_branches(slow: list[Record], notes: Notes) -> tuple[float, list[Branches]]:
    """Return the capacity in Ah and every temperature's sweeps, that of the reference first."""
    rows_c = sorted({r.row_c for r in slow}, key=lambda c: abs(c - REFERENCE_C))
    with_down = [c for c in rows_c if _sweep(slow, c, -1)]
    if not with_down:
        raise BadInput(f"{shown(slow[0].path)}: no discharge among the slow tests; one from full "
                       "to empty is valid")  # fmt: skip
    reference = _sweep(slow, with_down[0], -1)
    assert reference
    if abs(with_down[0] - REFERENCE_C) > NEAR_C:
        notes.missing.append(
            f"capacity and OCV at 25 degC: they are from a slow test at {with_down[0]:g} degC"
        )
    capacity_ah = _out_ah(*reference)
    return capacity_ah, [_branches(slow, c, capacity_ah) for c in with_down]


def _sweep(slow: list[Record], row_c: float, way: int) -> tuple[Record, slice] | None:
    """Return the longest sweep of that direction at that temperature."""
    found = [
        (r, s)
        for r in slow
        for s in r.sweeps
        if r.row_c == row_c and np.sign(r.ah[s.stop - 1] - r.ah[s.start]) == way
    ]
    return max(found, key=lambda f: abs(np.ptp(f[0].ah[f[1]])), default=None)


def _out_ah(r: Record, sweep: slice) -> float:
    """Charge of a discharge; where it begins with the file, from the counter's own zero."""
    first = min(0.0, r.ah[sweep][-1]) if sweep.start == 0 else r.ah[sweep][0]
    begin = 0.0 if sweep.start == 0 and abs(r.ah[0]) < 0.01 * abs(first) else r.ah[sweep][0]
    return float(begin - r.ah[sweep][-1])


def _branches(slow: list[Record], row_c: float, capacity_ah: float) -> Branches:
    down, up = _sweep(slow, row_c, -1), _sweep(slow, row_c, 1)
    assert down
    r, s = down
    out_ah = _out_ah(r, s)
    empty = 1 - out_ah / capacity_ah
    soc_down = empty + (r.ah[s] - r.ah[s][-1]) / capacity_ah
    down_v = np.interp(SOC, soc_down[::-1], r.v[s][::-1])
    down_a = abs(float(np.mean(r.last_a[s])))
    if up is None:
        return Branches(row_c, down_v, None, down_a, 0.0, (empty, 1.0), out_ah, 0.0)
    r, s = up
    back_ah = float(np.ptp(r.ah[s]))
    soc_up = empty + (r.ah[s] - r.ah[s][0]) / back_ah * (1 - empty)
    up_v = np.interp(SOC, soc_up, r.v[s])
    up_a = abs(float(np.mean(r.last_a[s])))
    return Branches(row_c, down_v, up_v, down_a, up_a, (empty, 1.0), out_ah, back_ah)


def first_ocv(capacity_ah: float, branches: list[Branches], notes: Notes) -> Ocv:
    """Return OCV from the slow sweeps alone, hysteresis not yet rid of the drop over R."""
    b = branches[0]
    none = np.zeros(len(SOC))
    if b.up_v is None:
        notes.missing.append(
            "hysteresis, as there is no slow charge: OCV is the discharge branch"
        )
        return Ocv(capacity_ah, rising(b.down_v), none, none, at_c=b.row_c)
    # Until it holds its voltage the charge lies one drop above; where it ends the current is
    # small, so the middle stands for SoC 1 too.
    middle, gap = (b.down_v + b.up_v) / 2, (b.up_v - b.down_v) / 2
    if abs(b.back_ah - b.out_ah) > CLOSES * capacity_ah:
        notes.missing.append(
            f"hysteresis, as the slow test's counter does not close ({b.out_ah:.3f} Ah out, "
            f"{b.back_ah:.3f} Ah back in): its branches cannot be laid side by side"
        )
        gap = none
    ocv = Ocv(capacity_ah, rising(middle), gap, none, at_c=b.row_c)
    return replace(ocv, v_per_k=_v_per_k(branches, capacity_ah, notes))


def with_drop(ocv: Ocv, branches: list[Branches], total_ohm: Array) -> Ocv:
    """Take the drop over R (over SOC, at the reference) out of what the sweeps showed."""
    b = branches[0]
    if b.up_v is None:
        return replace(ocv, v=rising(b.down_v + b.down_a * total_ohm))
    if not ocv.half_gap_v.any():
        return ocv
    drop_v = (b.down_a + b.up_a) / 2 * total_ohm
    gap = (b.up_v - b.down_v) / 2 - drop_v
    if float(np.median(gap[INNER])) < LEAST_GAP_V:
        return replace(ocv, half_gap_v=np.zeros(len(SOC)))
    return replace(ocv, half_gap_v=np.clip(gap, 0.0, gap[INNER].max()))


def _v_per_k(branches: list[Branches], capacity_ah: float, notes: Notes) -> Array:
    """dOCV/dT: line through the middles of all temperatures whose loop the counter closes.

    Cold sweeps end early on both sides, so the slopes of the outer parts hold to the ends.
    """
    closed = [
        b
        for b in branches
        if b.up_v is not None and abs(b.back_ah - b.out_ah) < CLOSES * capacity_ah
    ]
    rows_c = np.array([b.row_c for b in closed])
    if len(closed) < 2 or np.ptp(rows_c) < 15 or branches[0] not in closed:
        notes.missing.append(
            "temperature coefficient of OCV: it takes slow discharges and charges at two "
            "temperatures whose counters close within 2 %; [ocv] has what loads show of it"
        )
        return np.zeros(len(SOC))
    middles = np.array([(b.down_v + b.up_v) / 2 for b in closed if b.up_v is not None])
    off_c = (rows_c - rows_c[0])[:, None]
    slope = (off_c * (middles - middles[0])).sum(0) / (off_c**2).sum()
    return np.interp(SOC, SOC[INNER], slope[INNER])


def rising(v: Array) -> Array:
    """The same curve, made to rise from node to node."""
    out = np.array(v)
    for k in range(1, len(out)):
        out[k] = max(out[k], out[k - 1] + LEAST_RISE_V)
    return out


def start_soc(record: Record, ocv: Ocv) -> float:
    """SoC at a file's first row: full, or where its rested voltage says it plainly."""
    where, steep = shown(record.path), "starting at rest, full, or where OCV is steep, is valid"
    if abs(record.last_a[0]) > START_PER_H * ocv.capacity_ah:
        raise BadInput(f"{where}: starts under {record.last_a[0]:.3g} A; {steep}")
    soc = 1.0
    if record.v[0] < np.interp(0.92, SOC, ocv.v + ocv.half_gap_v):
        idle = np.abs(record.last_a) < IDLE_PER_H * ocv.capacity_ah
        rested = int(np.argmin(idle)) - 1 if not idle.all() else len(idle) - 1
        if record.t_s[max(rested, 0)] - record.t_s[0] < START_S:
            raise BadInput(f"{where}: starts neither full nor with {START_S:g} s of rest; {steep}")
        v = float(record.v[rested])
        ends = [float(np.interp(v, ocv.v + s, SOC)) for s in _uncertain(ocv)]
        if np.ptp(ends) > 0.1:
            raise BadInput(f"{where}: starts at {v:.3f} V, which is SoC {min(ends):.2f} to "
                           f"{max(ends):.2f}; {steep}")  # fmt: skip
        soc = float(np.mean(ends))
    low, high = (soc + (x - record.ah[0]) / ocv.capacity_ah for x in
                 (record.ah.min(), record.ah.max()))  # fmt: skip
    if low < -BEYOND_SOC or high > 1 + BEYOND_SOC:
        raise BadInput(f"{where}: from SoC {soc:.2f} at its start its charge goes to {low:.2f} "
                       f"and {high:.2f}; {steep}")  # fmt: skip
    return soc


def _uncertain(ocv: Ocv) -> tuple[Array, Array]:
    gap = np.maximum(ocv.half_gap_v, 0.01)
    return -gap, gap
