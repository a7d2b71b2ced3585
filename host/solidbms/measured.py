"""Measured cells: the layouts that cyclers leave, read into one shape and checked."""

from __future__ import annotations

import csv
import gzip
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from solidbms.schema import BadInput, shown

Array = NDArray[np.float64]

NAMES = ("t_s", "i_mean_A", "i_A", "v_V", "temp_C", "ah", "chg_Ah", "dis_Ah")
NEEDED = ("t_s", "i_A", "v_V")
# Labels and machine names of the Battery Data Format (Battery Data Alliance), the cell's own
# temperature before the chamber's. Its current is negative on discharge, as here.
BDF = {
    "t_s": ("Test Time / s", "test_time_second"),
    "i_A": ("Current / A", "current_ampere"),
    "v_V": ("Voltage / V", "voltage_volt"),
    "temp_C": (
        "Surface Temperature / degC", "Surface Temperature T1 / degC", "Temperature T1 / degC",
        "surface_temperature_celsius", "temperature_t1_celsius",
        "Ambient Temperature / degC", "ambient_temperature_celsius",
    ),
    "ah": ("Net Capacity / Ah", "net_capacity_ah"),
    "chg_Ah": ("Charging Capacity / Ah", "charging_capacity_ah"),
    "dis_Ah": ("Discharging Capacity / Ah", "discharging_capacity_ah"),
}  # fmt: skip
# What a cell can show; beyond it the column has another unit.
VALID = {
    "v_V": (-1.0, 10.0),
    "i_A": (-1e3, 1e3),
    "i_mean_A": (-1e3, 1e3),
    "temp_C": (-60.0, 150.0),
}
SPAN_MAX_S = 1e7
RESET_AH = 0.02  # steps of a counter that are no rounding
GAP_S = 120.0  # a longer pause is bridged by the counter, or may hide charge
GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Measured:
    """One measurement, a row a moment, time rising strictly; charge current positive.

    t_s from the first row; i_a and v_v as the cycler sampled them; temp_c; ah the counter
    (0 where it began, resets taken out); moved_as the charge in As that flowed up to each row
    since the first. mean_a: the mean current up to each row, where the file has it. counted: it
    has that or a counter of charge, so that gaps between rows lose nothing.
    """

    t_s: Array
    i_a: Array
    v_v: Array
    temp_c: Array
    ah: Array
    moved_as: Array
    mean_a: Array | None = None
    counted: bool = True

    def __len__(self) -> int:
        return len(self.t_s)

    def since(self, row: int) -> Measured:
        """Return the rows from this one on."""
        arrays = {k: v[row:] for k, v in vars(self).items() if isinstance(v, np.ndarray)}
        return replace(self, **arrays)


def read_measured(
    path: Path,
    columns: str | None = None,
    discharge_positive: bool = False,
    temp_c: float | None = None,
) -> Measured:
    """Read a CSV or CSV.gz; BadInput names file, row or column, and what would be valid.

    Columns are called as in NAMES or as BDF has them; columns: `t_s=Time,i_A=Current`, for files
    that use other names. temp_c: for a file without temperature. Rows with the time of the row
    before replace it; only decreasing time is an error.
    """
    table, lines = _table(path, _mapping(columns, path))
    where = shown(path)
    t = table["t_s"]
    back = np.flatnonzero(np.diff(t) < 0)
    if len(back):
        k = int(back[0])
        raise BadInput(f"{where}: line {lines[k + 1]}: t_s: time runs back from {t[k]:g} to "
                       f"{t[k + 1]:g}; rising time is valid")  # fmt: skip
    if t[-1] - t[0] > SPAN_MAX_S:
        raise BadInput(f"{where}: t_s: {t[-1] - t[0]:g} s; up to {SPAN_MAX_S:g} s are valid")
    last = np.flatnonzero(np.append(np.diff(t) > 0, True))
    if len(last) < 2:
        raise BadInput(f"{where}: t_s: two rows of different time or more are valid")
    table = {name: values[last] for name, values in table.items()}
    sign = -1.0 if discharge_positive else 1.0
    if "temp_C" in table:
        temp = table["temp_C"]
    elif temp_c is None:
        raise BadInput(f"{where}: temp_C: no such column; --temp-c (or --columns) is valid")
    else:
        temp = np.full(len(last), temp_c)
    t = table["t_s"]
    i_a = table["i_A"] * sign
    uncounted = np.append(0.0, np.cumsum(i_a[:-1] * np.diff(t))) / 3600
    if "ah" in table:
        ah = _continued(t, i_a, table["ah"] * sign)
    elif "chg_Ah" in table and "dis_Ah" in table:
        ah = _continued(t, i_a, table["chg_Ah"] - table["dis_Ah"])
    else:
        ah = uncounted
    mean_a = table["i_mean_A"] * sign if "i_mean_A" in table else None
    if mean_a is None:
        moved = (ah - ah[0]) * 3600
    else:  # a row's mean is over the time up to it
        moved = np.append(0.0, np.cumsum(mean_a[1:] * np.diff(t)))
    counted = mean_a is not None or ah is not uncounted
    return Measured(t - t[0], i_a, table["v_V"], temp, ah, moved, mean_a, counted)


def open_gap(m: Measured) -> str:
    """Say where there are no rows for long, though current flows; nothing if nowhere."""
    dt_s = np.diff(m.t_s)
    long = np.flatnonzero(dt_s > max(GAP_S, 5 * float(np.median(dt_s))))
    least_a = 0.02 * np.abs(m.i_a).max()
    for k in long:
        if max(abs(m.i_a[k]), abs(m.i_a[k + 1])) > least_a:
            return f"no rows for {dt_s[k]:.0f} s after {m.t_s[k]:.0f} s, under current"
    return ""


def counted_against(m: Measured) -> str:
    """Say that the counter runs the other way than the current; nothing where it does not."""
    near = np.diff(m.t_s) < GAP_S
    flowing = float(np.sum(m.i_a[:-1] * np.diff(m.moved_as) * near))
    return "the counter of charge goes against the current" if m.counted and flowing < 0 else ""


def _continued(t_s: Array, i_a: Array, ah: Array) -> Array:
    """Return a counter as if it had never been set back to 0, as cyclers do between steps.

    It was, where it reads exactly 0 and no current of this file could have moved it there: the
    current of the row before is what moved instead.
    """
    dt, step = np.diff(t_s), np.diff(ah)
    needed_a = np.abs(step) * 3600 / dt
    reset = (ah[1:] == 0) & (np.abs(step) > RESET_AH) & (needed_a > 2 * np.abs(i_a).max())
    moved = np.where(reset, i_a[:-1] * dt / 3600, step)
    return ah[0] + np.append(0.0, np.cumsum(moved)) if reset.any() else ah


def _mapping(columns: str | None, path: Path) -> dict[str, str]:
    names: dict[str, str] = {}
    for part in filter(None, (columns or "").split(",")):
        ours, _, theirs = part.partition("=")
        if ours.strip() not in NAMES or not theirs:
            raise BadInput(f"{shown(path)}: --columns: {part!r}; NAME=COLUMN with NAME one of "
                           f"{', '.join(NAMES)} is valid")  # fmt: skip
        names[ours.strip()] = theirs.strip()
    return names


def _table(path: Path, names: dict[str, str]) -> tuple[dict[str, Array], list[int]]:
    """Return the columns that `names` maps, and for every row its line in the file."""
    where = shown(path)
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        with path.open("rb") as file:
            opener = gzip.open if file.read(2) == GZIP else open
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            for number, line in enumerate(file, 1):
                if line.strip() and not line.startswith("#"):
                    rows += csv.reader([line])
                    lines.append(number)
    except FileNotFoundError:
        raise BadInput(f"{where}: no such file; a CSV or CSV.gz is valid") from None
    except EOFError:
        raise BadInput(f"{where}: cut short; the whole .gz is valid") from None
    except IsADirectoryError:
        raise BadInput(f"{where}: a directory; a CSV or CSV.gz is valid") from None
    except UnicodeDecodeError:
        raise BadInput(f"{where}: no text; a CSV or CSV.gz is valid") from None
    except (OSError, zlib.error, csv.Error) as error:
        raise BadInput(f"{where}: not readable as CSV or CSV.gz: {error}") from None
    if not rows:
        raise BadInput(f"{where}: empty; a header and rows are valid")
    header = [name.strip() for name in rows[0]]
    names = {name: names.get(name) or _usual(name, header) for name in NAMES}
    for name in NEEDED:
        if names[name] not in header:
            raise BadInput(f"{where}: {name}: no column {names[name]!r} among "
                           f"{', '.join(header)[:120]!r}; commas between the names, or "
                           f"--columns {name}=NAME is valid")  # fmt: skip
    picked = {name: header.index(theirs) for name, theirs in names.items() if theirs in header}
    for name in picked:
        if header.count(names[name]) > 1:
            raise BadInput(f"{where}: {name}: {header.count(names[name])} columns "
                           f"{names[name]!r}; one is valid")  # fmt: skip
    body, lines = rows[1:], lines[1:]
    if not body:
        raise BadInput(f"{where}: no rows after the header; two or more are valid")
    for line, row in zip(lines, body, strict=True):
        if len(row) != len(header):
            raise BadInput(f"{where}: line {line}: {len(row)} columns; {len(header)} are valid")
    return {name: _numbers(body, lines, at, name, where) for name, at in picked.items()}, lines


def _usual(name: str, header: list[str]) -> str:
    """Return what this header calls a column: our own name, or the first of BDF's it has."""
    return next((known for known in (name, *BDF.get(name, ())) if known in header), name)


def _numbers(
    body: list[list[str]], lines: list[int], at: int, name: str, where: str
) -> Array:
    try:
        values = np.array([row[at] for row in body], dtype=np.float64)
    except ValueError:
        values = np.array([np.nan if _bad(row[at]) else 0.0 for row in body])
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        k = int(wrong[0])
        raise BadInput(f"{where}: line {lines[k]}: {name}: a number is valid, not "
                       f"{body[k][at]!r}")  # fmt: skip
    low, high = VALID.get(name, (-1e12, 1e12))
    beyond = np.flatnonzero((values < low) | (values > high))
    if len(beyond):
        k = int(beyond[0])
        raise BadInput(f"{where}: line {lines[k]}: {name}: {low:g} to {high:g} is valid, not "
                       f"{body[k][at]}; is it another unit?")  # fmt: skip
    return values


def _bad(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return True
    return False
