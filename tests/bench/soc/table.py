"""The tables of `make bench-soc`, as Markdown: they stand in docs/soc.md as they come out."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence

from bench.soc import filters, peers
from bench.soc.cases import BOUND_PCT, Group
from bench.soc.one import OURS, Result
from bench.soc.score import Mean, mean

HELD_PCT, RATIO = 95.0, 3.0  # the issue's: of the time, and mean bound over RMSE
ABOUT = (
    "RMSE / greatest error in % SoC, after 20 min. In bound: share of the time, from the first "
    f"second on (`--start-bound-pct {BOUND_PCT:g}` where the start is 30 % off). Bound / RMSE: "
    "both after 20 min. Within 5 %: the latest run, for good."
)
SCHEMES = (OURS, *filters.SCHEMES, *peers.SCHEMES)


def done(groups: Iterable[Group], results: Sequence[Result]) -> list[tuple[Group, list[Result]]]:
    """Return the groups with what there is of each, in their order."""
    by_run = {r.run: r for r in results}
    found = [(g, [by_run[run] for run in g.runs if run in by_run]) for g in groups]
    return [(g, rs) for g, rs in found if rs]


def means(results: Sequence[Result], scheme: str) -> Mean:
    """Return a scheme's scores over the runs of a group."""
    return mean([r.scores[scheme] for r in results])


def goals(found: list[tuple[Group, list[Result]]]) -> str:
    """Measured figures beside each goal."""
    rows = [_goal(g, rs) for g, rs in found if g.goal]
    heads = ("data, start", "goal", "mean", "worst run", "met", "in bound, %",
             "worst run, %", "bound / RMSE", "within 5 % after, s")  # fmt: skip
    return _markdown(heads, rows)


def _goal(group: Group, results: list[Result]) -> list[str]:
    m, goal = means(results, OURS), group.goal
    assert goal
    met, wanted = [], []
    if goal.rmse_pct is not None and goal.max_pct is not None:
        wanted.append(f"{goal.rmse_pct:g} / {goal.max_pct:g}")
        met += [m.rmse_pct <= goal.rmse_pct, m.max_pct <= goal.max_pct]
    if goal.end_pct is not None:
        wanted.append(f"end {goal.end_pct:g}")
        met.append(m.worst_end_pct <= goal.end_pct)
    if goal.close_s is not None:
        wanted.append(f"5 % in {goal.close_s:g} s")
        met.append(m.worst_close_s <= goal.close_s)
    end = f", end {m.worst_end_pct:.1f}" if goal.end_pct is not None else ""
    return [
        f"{group.name} ({_files(group, results)})",
        ", ".join(wanted),
        f"{m.rmse_pct:.2f} / {m.max_pct:.2f}",
        f"{m.worst_rmse_pct:.2f} / {m.worst_max_pct:.2f}{end}",
        "yes" if all(met) else "NO",
        *_bound(m),
        _seconds(m.worst_close_s),
    ]


def bounds(found: list[tuple[Group, list[Result]]]) -> str:
    """How far the bound holds, from the first second on, in the groups without a goal."""
    rows = [
        [f"{g.name} ({_files(g, rs)})", f"{m.rmse_pct:.2f} / {m.max_pct:.2f}",
         f"{m.worst_rmse_pct:.2f} / {m.worst_max_pct:.2f}", *_bound(m), _seconds(m.worst_close_s)]
        for g, rs in found
        if not g.goal
        for m in [means(rs, OURS)]
    ]  # fmt: skip
    heads = ("data, start", "mean", "worst run", "in bound, %", "worst run, %",
             "bound / RMSE", "within 5 % after, s")  # fmt: skip
    return _markdown(heads, rows)


def beside(found: list[tuple[Group, list[Result]]]) -> str:
    """Every scheme on the same readings, means; the least RMSE of a line is bold."""
    rows = []
    for group, results in found:
        shown = {name: means(results, name) for name in SCHEMES}
        least = min(round(m.rmse_pct, 2) for m in shown.values())
        row = [group.name]
        for m in shown.values():
            text = f"{m.rmse_pct:.2f} / {m.max_pct:.1f}"
            row.append(f"**{text}**" if round(m.rmse_pct, 2) == least else text)
        rows.append(row)
    return _markdown(("data, start", *SCHEMES), rows)


def whole(found: list[tuple[Group, list[Result]]], partial: str = "") -> str:
    """Return the text of table.md."""
    parts = [
        partial,
        textwrap.fill(ABOUT, 99),
        goals(found) if any(g.goal for g, _ in found) else "",
        *(("Without a goal:", bounds(found)) if any(not g.goal for g, _ in found) else ()),
        "All schemes on the same readings, means:",
        beside(found),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _files(group: Group, results: list[Result]) -> str:
    n, files = len(group.runs), len({run.path for run in group.runs})
    if n > len(results):
        return f"{len(results)} of {n} runs"
    return f"{files} file{'s' * (files > 1)}" + f", {n} runs" * (n > files)


def _bound(m: Mean) -> list[str]:
    assert m.held_pct is not None and m.worst_held_pct is not None and m.ratio is not None
    held = f"{m.held_pct:.1f}" + (" **below 95**" if m.held_pct < HELD_PCT else "")
    ratio = f"{m.ratio:.1f}" + (" **over 3**" if m.ratio >= RATIO else "")
    return [held, f"{m.worst_held_pct:.1f}", ratio]


def _seconds(t_s: float) -> str:
    return "never" if math.isinf(t_s) else f"{t_s:.0f}"


def _markdown(heads: Sequence[str], rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows)]
    return "\n".join(lines)
