"""The first tick and field in which two records differ, or the first thing that came later."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bms.core.pack import Pack

from solidbms.record import Record, read

# What must come in the same order in two runs whose clocks differ.
STEPS = ("status.state", "status.chg_on", "status.dsg_on", "status.acted_low", "status.acted_high")


@dataclass(frozen=True)
class Difference:
    """Where two records part: tick (from 0), time, field, both values."""

    tick: int
    t_ms: int
    field: str
    a: int
    b: int

    def __str__(self) -> str:
        return f"tick {self.tick} (t {self.t_ms} ms): {self.field}: {self.a} != {self.b}"


def compare(a: Path, b: Path) -> tuple[Difference | str | None, int]:
    """Return (first difference or None, ticks compared); a text where layout or length differs."""
    one, other = read(a), read(b)
    if one.names != other.names:
        extra = sorted(set(one.names) ^ set(other.names))[:3]
        return f"the records have different fields: {', '.join(extra) or 'another order'}", 0
    if one.blob != other.blob:
        return "the records were made with different packs", 0
    ticks = min(len(one.words), len(other.words))
    differs = one.words[:ticks] != other.words[:ticks]
    rows = np.flatnonzero(differs.any(axis=1))
    if len(rows):
        tick = int(rows[0])
        column = int(np.flatnonzero(differs[tick])[0])
        return Difference(
            tick,
            int(one.elapsed_ms[tick]),
            one.names[column],
            int(one.words[tick, column]),
            int(other.words[tick, column]),
        ), ticks
    if len(one.words) != len(other.words):
        lengths = f"{len(one.words)} and {len(other.words)}"
        return f"equal for {ticks} ticks, then one ends: {lengths}", ticks
    return None, ticks


def compare_free(a: Path, b: Path) -> tuple[str | None, int, int]:
    """Compare two runs that each kept their own time: an emulated or a real board with another.

    Return (what differs or None, steps compared, most ms apart). Both must change state, gates and
    rows in the same order, each within one tick: the period then in force.
    """
    one, other = read(a), read(b)
    if one.names != other.names or one.blob != other.blob:
        return "the records were made with different firmware or packs", 0, 0
    worst_ms = 0
    steps, others = _steps(one), _steps(other)
    for k, (mine, theirs) in enumerate(zip(steps, others, strict=False)):
        if mine.what != theirs.what:
            return f"step {k}: {mine} and {theirs}", k, worst_ms
        apart_ms = abs(mine.t_ms - theirs.t_ms)
        worst_ms = max(worst_ms, apart_ms)
        if apart_ms > max(mine.tick_ms, theirs.tick_ms):
            return f"step {k}: {mine} and {theirs}: more than a tick apart", k, worst_ms
    if len(steps) != len(others):
        k = min(len(steps), len(others))
        extra = (steps if len(steps) > k else others)[k]
        return f"step {k}: only one run has {extra}", k, worst_ms
    return None, len(steps), worst_ms


@dataclass(frozen=True)
class Step:
    """A tick in which a word of `STEPS` changed."""

    t_ms: int
    tick_ms: int
    what: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        return f"{', '.join(f'{name} {value}' for name, value in self.what)} at {self.t_ms} ms"


def _steps(record: Record) -> list[Step]:
    pack = Pack(record.blob)
    columns = [record[name] for name in STEPS]
    closed = record["status.chg_on"] | record["status.dsg_on"]
    changed = np.flatnonzero(np.any([np.diff(column) != 0 for column in columns], axis=0)) + 1
    return [
        Step(
            int(record.elapsed_ms[k]),
            # The blob's layout names the pack's attributes.
            pack.tick_ms if closed[k - 1] else pack.idle_tick_ms,  # type: ignore[attr-defined]
            tuple(
                (name, int(column[k]))
                for name, column in zip(STEPS, columns, strict=True)
                if column[k] != column[k - 1]
            ),
        )
        for k in changed
    ]
