"""The first tick and field in which two records differ."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from solidbms.record import read


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
