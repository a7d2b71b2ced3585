"""Measured files for a fit: which way the current counts, at what temperature, what they can tell.

A file is a slow test if it has a sweep, an uninterrupted discharge or charge slower than C/14 over
most of the cell; a load (pulses, drive cycles) if its current changes; otherwise it is not used.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from solidbms.measured import GAP_S, Measured, counted_against, open_gap, read_measured
from solidbms.schema import BadInput, shown

Array = NDArray[np.float64]

SLOW_PER_H = 1 / 14  # of the capacity: C/20 tests, with what the cold leaves of them
SWEEP = 0.6  # of the capacity, at least
LEAST_SPAN = 0.05  # of the capacity: files that move less tell nothing
STILL_V = 0.0005
AGAINST = 0.35  # of the steps: noise and lag turn fewer round (21 % in a drive at -20 degC)
UNIT = 1.5  # a counter that moves so much more or less than its current has another unit
SAME_C = 4.0  # files whose mean temperatures are closer are one row of the table
# As campaigns name their files: n10degC_, 25degC_; A123's _P05_, _N05_ (plus, minus).
IN_NAME = (re.compile(r"(?<![\w.])(n?)(\d+)degC"), re.compile(r"_([PN])(\d\d)(?![0-9])"))


@dataclass(frozen=True)
class Options:
    """How the files are to be read."""

    columns: str | None = None
    discharge_positive: bool = False
    temp_c: float | None = None


@dataclass(frozen=True)
class Record:
    """One file, charge current positive, thinned where little changes.

    `mean_a` flows up to the row, `last_a` at the instant of `v`. `ah` is the file's own counter.
    """

    path: Path
    row_c: float  # temperature of its row in the cell's tables
    t_s: Array
    mean_a: Array
    last_a: Array
    v: Array
    temp_c: Array
    ah: Array
    sweeps: tuple[slice, ...] = ()  # of a slow test, in the order of time
    logged_s: Array | None = None  # that a row stands for, a second at most from row to row

    @property
    def name(self) -> str:
        """File name without its endings, for comments."""
        return stem(self.path)

    @property
    def span_ah(self) -> float:
        """Charge between the fullest and the emptiest row."""
        return float(np.ptp(self.ah))

    def rows(self, keep: NDArray[np.bool_]) -> Record:
        """Return some of the rows."""
        arrays = {k: v[keep] for k, v in vars(self).items() if isinstance(v, np.ndarray)}
        return replace(self, sweeps=(), **arrays)


@dataclass
class Notes:
    """What was assumed and what is missing, told to the user and written into the cell file."""

    missing: list[str] = field(default_factory=list)
    _assumed: dict[str, list[str]] = field(default_factory=dict)

    def assume(self, what: str, file: str = "") -> None:
        """Note an assumption, once for all files that it holds for."""
        self._assumed.setdefault(what, []).append(file)

    @property
    def assumed(self) -> list[str]:
        """Every assumption with the files that it was made for."""
        return [": ".join(filter(None, (what, ", ".join(filter(None, files)))))
                for what, files in self._assumed.items()]  # fmt: skip

    def lines(self) -> list[tuple[str, str]]:
        """Return everything as (title, text)."""
        return [("not known", x) for x in self.missing] + [("assumed", x) for x in self.assumed]


@dataclass(frozen=True)
class Data:
    """All files, sorted by what they are good for."""

    slow: list[Record]
    loads: list[Record]
    unused: list[Record]


def read_files(paths: list[Path], options: Options, notes: Notes) -> Data:
    """Read every file; BadInput with a line for each that cannot be used."""
    records, errors = [], []
    for path in paths:
        try:
            records.append(_read(path, options, notes))
        except BadInput as error:
            errors.append(str(error))
    names = [p.resolve() for p in paths]
    errors += [f"{shown(p)}: named twice; once is valid" for p in {*names} if names.count(p) > 1]
    if errors:
        raise BadInput("\n".join(errors))
    capacity_ah = max(r.span_ah for r in records)
    records = [replace(r, sweeps=_sweeps(r, capacity_ah)) for r in _grouped(records)]
    slow = [r for r in records if r.sweeps]
    rest = [r for r in records if not r.sweeps]
    loads = [r for r in rest if r.span_ah > LEAST_SPAN * capacity_ah and _changes(r)]
    data = Data(slow, loads, [r for r in rest if not any(r is x for x in loads)])
    for r in data.unused:
        notes.assume("not used, neither a sweep slower than C/14 nor pulses or drives", r.name)
    return data


def _read(path: Path, options: Options, notes: Notes) -> Record:
    named_c = _temp_in_name(path.name)
    given_c = named_c if options.temp_c is None else options.temp_c
    m = _signed(path, options, given_c, notes)
    if given_c is not None and (m.temp_c == given_c).all():
        source = "its name" if options.temp_c is None else "--temp-c"
        notes.assume(f"at {given_c:g} degC throughout, from {source}", stem(path))
    _no_open_gaps(path, m)
    _same_unit(path, m)
    mean_a = _mean_a(m)
    keep = _thinned(m)
    # mean over what was merged into each kept row
    starts = np.append(0, keep[:-1] + 1)
    dt_s = np.diff(m.t_s, prepend=m.t_s[0] - 1)
    weighed = np.add.reduceat(mean_a * dt_s, starts) / np.add.reduceat(dt_s, starts)
    logged_s = np.add.reduceat(np.clip(dt_s, 0, 1), starts)
    median_c = float(np.median(m.temp_c))
    near = named_c is not None and abs(named_c - median_c) < 5
    row_c = float(named_c) if near and named_c is not None else median_c
    return Record(
        path, row_c, m.t_s[keep], weighed, m.i_a[keep], m.v_v[keep], m.temp_c[keep], m.ah[keep],
        logged_s=logged_s,
    )  # fmt: skip


def stem(path: Path) -> str:
    """File name without its endings."""
    return path.name.removesuffix(".gz").removesuffix(".csv")


def _temp_in_name(name: str) -> float | None:
    for pattern in IN_NAME:
        if found := pattern.search(name):
            return float(found[2]) * (-1 if found[1] in ("n", "N") else 1)
    return None


def _signed(path: Path, options: Options, temp_c: float | None, notes: Notes) -> Measured:
    """Read the file with its current the right way round, whatever the option says."""
    told = options.discharge_positive
    m = read_measured(path, options.columns, told, temp_c)
    against = _against(m)
    if not against:
        return m
    other = read_measured(path, options.columns, not told, temp_c)
    if _against(other):
        raise BadInput(f"{shown(path)}: i_A: {against}, and turned round it is no better; current "
                       "and voltage of one cell are valid")  # fmt: skip
    word = "negative" if told else "positive"
    notes.assume(f"discharge counts {word}, as otherwise {against}", stem(path))
    return other


def _against(m: Measured) -> str:
    """Return what speaks against the sign of this current, or nothing."""
    step_a, step_v, dt_s = np.diff(m.i_a), np.diff(m.v_v), np.diff(m.t_s)
    if told := counted_against(m):
        return told
    clear = (np.abs(step_a) > 0.1 * np.abs(m.i_a).max()) & (dt_s < GAP_S)
    clear &= np.abs(step_v) > 0.01 * np.ptp(m.v_v)
    rising, falling = (int(np.sum(clear & (step_a * step_v * s > 0))) for s in (1, -1))
    if falling > AGAINST * (rising + falling):
        return f"voltage falls at {falling} of {rising + falling} steps at which current rises"
    if np.ptp(m.moved_as) and np.ptp(m.v_v) and rising + falling < 10:
        likeness = float(np.corrcoef(m.moved_as, m.v_v)[0, 1])
        if likeness < -0.5:
            return "voltage falls while charge goes in"
    return ""


def _no_open_gaps(path: Path, m: Measured) -> None:
    """Without a counter a long pause may hide charge: only at rest is nothing lost."""
    if told := "" if m.counted else open_gap(m):
        raise BadInput(f"{shown(path)}: t_s: {told}: a counter (ah, or chg_Ah and dis_Ah) or rows "
                       "without gaps are valid")  # fmt: skip


def _same_unit(path: Path, m: Measured) -> None:
    """A counter must count what the current carries, where both are known."""
    dt_s = np.diff(m.t_s)
    near = dt_s < GAP_S
    carried_as = float(np.sum(np.abs(m.i_a[1:] + m.i_a[:-1])[near] / 2 * dt_s[near]))
    counted_as = float(np.sum(np.abs(np.diff(m.moved_as))[near]))
    if m.counted and carried_as > 360 and not 1 / UNIT < counted_as / carried_as < UNIT:
        raise BadInput(f"{shown(path)}: ah: the counter moves {counted_as / carried_as:.3g} times "
                       "what the current carries; A and Ah are valid")  # fmt: skip


def _mean_a(m: Measured) -> Array:
    """Mean current up to each row; a counter's steps are too coarse but for long ones."""
    if m.mean_a is not None:
        return m.mean_a
    dt_s = np.diff(m.t_s, prepend=m.t_s[0] - 1)
    counted = np.diff(m.moved_as, prepend=m.moved_as[0]) / dt_s
    usual_s = max(2.0, 1.5 * float(np.median(dt_s)))
    return np.where((dt_s > usual_s) & m.counted, counted, m.i_a)


def _thinned(m: Measured) -> NDArray[np.intp]:
    """Rows to keep: those on either side of a step of the current, one a second where the voltage
    moves, one in ten seconds where it does not."""
    step = np.abs(np.diff(m.i_a)) > 0.01 * np.abs(m.i_a).max()
    edge = np.append(step, True) | np.append(True, step)
    keep: list[int] = []
    last_s, last_v = -np.inf, 0.0
    rows = zip(edge.tolist(), m.t_s.tolist(), m.v_v.tolist(), strict=True)
    for k, (is_edge, t_s, v) in enumerate(rows):
        since_s = t_s - last_s
        if is_edge or since_s > 9.5 or (since_s > 0.95 and abs(v - last_v) > STILL_V):
            keep.append(k)
            last_s, last_v = t_s, v
    return np.array(keep)


def _grouped(records: list[Record]) -> list[Record]:
    """Give files of nearly one temperature the same row of the table, in whole degrees."""
    out: list[Record] = []
    groups: list[list[Record]] = []
    for r in sorted(records, key=lambda r: r.row_c):
        if groups and r.row_c - groups[-1][0].row_c < SAME_C:
            groups[-1].append(r)
        else:
            groups.append([r])
    for group in groups:
        row_c = float(round(float(np.mean([r.row_c for r in group]))))
        out += [replace(r, row_c=row_c) for r in group]
    order = {id(r.path): k for k, r in enumerate(records)}
    return sorted(out, key=lambda r: order[id(r.path)])


def _sweeps(r: Record, capacity_ah: float) -> tuple[slice, ...]:
    """Return the runs of one direction that are slow and cover most of the cell."""
    way = np.sign(np.where(np.abs(r.last_a) < 0.02 * np.abs(r.last_a).max(), 0.0, r.last_a))
    edges = np.flatnonzero(np.diff(way, prepend=9, append=9))
    found = []
    for a, b in pairwise(edges.tolist()):
        hours = (r.t_s[b - 1] - r.t_s[a]) / 3600
        moved_ah = abs(r.ah[b - 1] - r.ah[a])
        if way[a] and moved_ah > SWEEP * capacity_ah and moved_ah / hours < (
            SLOW_PER_H * capacity_ah
        ):
            found.append(slice(a, b))
    return tuple(found)


def _changes(r: Record) -> bool:
    """Whether the current steps often enough to show a resistance."""
    return int(np.sum(np.abs(np.diff(r.last_a)) > 0.1 * np.abs(r.last_a).max())) >= 4
