"""The table of cycles that `make bench` prints, and its lines for frame to gates."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from bench.c_reference import Cycles, NoCompiler, cycles_of
from bench.work import Work, work

# (cells, rules, budget in cycles); no rules: those there are. The design's budget is the last.
WORKS = ((1, None, None), (14, None, None), (16, None, None), (16, 30, 100_000))
_HEADS = ("what", "MicroPython cycles", "C cycles", "ratio", "budget")


class Line(NamedTuple):
    """One line of the table; None is what was not measured, or has no budget."""

    what: str
    micropython: int | None
    c: int | None = None
    budget: int | None = None


def layout(lines: Iterable[Line]) -> str:
    """Return the table: what | MicroPython cycles | C cycles | ratio | budget."""
    cells = [_HEADS, *map(_cells, lines)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(_HEADS))]
    return "\n".join(
        "  ".join(
            text.rjust(width) if k else text.ljust(width)
            for k, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    )


def _cells(line: Line) -> tuple[str, ...]:
    over = line.budget and line.micropython and line.micropython > line.budget
    ratio = f"{line.micropython / line.c:.0f}" if line.micropython and line.c else "-"
    budget = _count(line.budget) + (" missed" if over else "")
    return line.what, _count(line.micropython), _count(line.c), ratio, budget


def _count(cycles: int | None) -> str:
    return "-" if cycles is None else f"{cycles:,}"


def frame_to_gates(micropython: Callable[[Work], Cycles] | None = None) -> tuple[list[Line], str]:
    """Return the lines for `WORKS`, and why the C column is empty, if it is; Mismatch.

    micropython: measures the same work there; without it that column is empty.
    """
    lines: list[Line] = []
    missing = ""
    for cells, rules, budget in WORKS:
        w = work(cells, rules)
        there = micropython(w) if micropython else None
        c = None
        try:
            c = cycles_of(w)
        except NoCompiler as error:
            missing = f"C column skipped: {error}"
        for kind in ("median", "worst"):
            what = f"frame to gates, {w.name}: {kind}"
            lines.append(Line(what, getattr(there, kind, None), getattr(c, kind, None), budget))
    return lines, missing
