"""What a run left in its directory: trace.csv, events.csv and summary.json (docs/formats.md)."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from math import isfinite
from pathlib import Path
from typing import TypeGuard

import numpy as np

from solidbms.svg import Mark, Window

TEXT_COLUMNS = ("state", "trips", "warns", "notes")
LANES = {"trip": "trip", "warn": "warn", "note": "note", "fault": "fault", "reset": "fault",
         "feature lost": "fault", "state": "state", "boot": "state", "end": "state"}  # fmt: skip
NEEDED = {"scenario": str, "verdict": str, "expected": list, "soc": dict, "trips": list,
          "limits": dict}  # fmt: skip
WORDS = {str: "a text", list: "a list", dict: "an object"}
COLUMNS = {
    "events.csv": ("t_ms", "event", "detail"),
    "trace.csv": ("t_s", "state", "soc_pct", "soc_bound_pct", "pack_v", "current_a", "cell_min_v",
                  "cell_max_v", "temp_min_c", "temp_max_c"),
}  # fmt: skip
MISSING = "&ndash;"


@dataclass(frozen=True)
class Event:
    """A row of events.csv; `number` counts from 1."""

    number: int
    t_ms: int
    event: str
    detail: str

    @property
    def t_s(self) -> float:
        return self.t_ms / 1000

    @property
    def lane(self) -> str:
        return LANES.get(self.event, "other")

    @property
    def mark(self) -> Mark:
        named = self.event in ("trip", "warn", "note", "fault", "state") and self.detail
        label = self.detail if named else f"{self.event} {self.detail}".strip()
        return Mark(self.number, self.t_s, self.lane, label)


@dataclass(frozen=True)
class Run:
    """What a run left: `cols` has a float array (NaN where empty) for each numeric column."""

    summary: dict
    events: list[Event]
    cols: dict[str, np.ndarray]
    state: list[str]

    @property
    def window(self) -> Window:
        ends = [*self.cols["t_s"][-1:].tolist(), *(e.t_s for e in self.events)]
        return Window(0.0, max([*ends, 1.0]))


def read_run(directory: Path) -> Run:
    """Read DIR. ValueError, in one line, for a file that is missing or cannot be understood."""
    path = directory / "summary.json"
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: not readable; a directory written by `run` has it") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}; valid is the JSON that `run` wrote") from error
    if not isinstance(summary, dict):
        raise ValueError(f"{path}: valid is a JSON object")
    events = []
    for number, row in enumerate(_rows(directory / "events.csv"), 1):
        t_ms = _number(row.get("t_ms"), directory / "events.csv", number, "t_ms")
        if t_ms == t_ms:
            events.append(Event(number, round(t_ms), row.get("event") or "",
                                row.get("detail") or ""))
    trace = list(_rows(directory / "trace.csv"))
    path = directory / "trace.csv"
    names = [n for n in (trace[0] if trace else {}) if n and n not in TEXT_COLUMNS]
    cols = {
        name: np.array([_number(row[name], path, i, name) for i, row in enumerate(trace, 1)])
        for name in names
    }
    cols.setdefault("t_s", np.arange(len(trace), dtype=float))
    sound = np.isfinite(cols["t_s"])  # a run cut short can end in half a row
    cols = {name: values[sound] for name, values in cols.items()}
    state = [row.get("state") or "" for row, ok in zip(trace, sound, strict=True) if ok]
    booting = np.array([word == "boot" for word in state], bool)
    for name in cols.keys() - {"t_s", "chg_on", "dsg_on"}:
        cols[name][booting] = np.nan  # zeros: nothing was read yet
    return Run(summary, events, _derived(cols), state)


def check_run(directory: Path) -> None:
    """ValueError, in one line, where DIR lacks what every run leaves: `read_run` does without."""
    summary = read_run(directory).summary
    for key, kind in NEEDED.items():
        if not isinstance(summary.get(key), kind):
            word = WORDS[kind]
            raise ValueError(f"{directory / 'summary.json'}: {key}: {word}, as `run` wrote it, is "
                             "valid")  # fmt: skip
    for name, columns in COLUMNS.items():
        with (directory / name).open(newline="", encoding="utf-8") as file:
            header = next(csv.reader(file), [])
        if lacking := [column for column in columns if column not in header]:
            raise ValueError(f"{directory / name}: no column {', '.join(lacking)}; the header "
                             "that `run` wrote is valid")  # fmt: skip


def _rows(path: Path) -> Iterator[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            yield from csv.DictReader(file)
    except FileNotFoundError:
        return  # a run stopped before its first row


def _number(text: str | None, path: Path, row: int, name: str) -> float:
    try:
        value = float(text) if text else np.nan
    except ValueError:
        raise ValueError(f"{path}: row {row}, {name}: {text!r} is not a number") from None
    return value if np.isfinite(value) else np.nan


def _derived(cols: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Add what is drawn but not recorded: the bound's edges, the error, signed limits."""
    if "soc_pct" in cols and "soc_bound_pct" in cols:
        soc, bound = cols["soc_pct"], cols["soc_bound_pct"]
        cols |= {"soc_low_pct": soc - bound, "soc_high_pct": soc + bound, "low_pct": -bound}
    if "soc_pct" in cols and "true_soc_pct" in cols:
        cols["error_pct"] = cols["soc_pct"] - cols["true_soc_pct"]
    if "discharge_limit_a" in cols:
        cols["dsg_limit_a"] = -np.abs(cols["discharge_limit_a"])
    return cols


def finite(value: object) -> TypeGuard[float]:
    """Whether a value read from JSON is a number that can be shown."""
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def text(raw: object) -> str:
    """Any value of summary.json as HTML."""
    if raw is None or raw == "":
        return MISSING
    if isinstance(raw, bool):
        return "yes" if raw else "no"
    if isinstance(raw, float):
        return f"{raw:.4g}" if abs(raw) < 1e4 else f"{raw:,.0f}"
    return escape(raw if isinstance(raw, str) else json.dumps(raw))


def dicts(raw: object) -> list[dict]:
    """The objects of a JSON list, if it is one."""
    return [r for r in raw if isinstance(r, dict)] if isinstance(raw, list) else []
