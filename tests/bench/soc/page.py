"""The page of `make bench-soc`: its tables, and for every file error and bound over time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from bench.soc import filters, table
from bench.soc.cases import Group
from bench.soc.one import OURS, Result
from solidbms import svg

# Told apart by shade and dash. What counts nothing but a wrong start is off the scale: not drawn.
CURVES = (
    svg.Curve("low", "its bound", "blue", "band", "high"),
    *(svg.Curve(name, name, css, "dash") for name, css in
      zip(filters.SCHEMES, ("orange", "warn"), strict=True)),
    svg.Curve("foxBMS", "foxBMS", "note"),
    svg.Curve("Libre Solar", "Libre Solar", "green"),
    svg.Curve("VESC", "VESC", "fault"),
    svg.Curve(OURS, OURS, "truth"),
)  # fmt: skip
SPAN_PCT = 10.0


def page(found: list[tuple[Group, list[Result]]], partial: str) -> str:
    """Return the page."""
    style = Path(svg.__file__).with_name("report.css").read_text(encoding="utf-8")
    told = f'<p class="told">{escape(partial)}</p>' if partial else ""
    groups = "".join(_group(g, rs) for g, rs in found)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>SoC on measured cells</title>
<style>{style}</style>
</head>
<body>
<section class="card"><h1>SoC on measured cells</h1>{told}
<p>RMSE / greatest error in % SoC after 20 minutes, files that nothing was fitted to. What the
columns mean, and which files were looked at: docs/soc.md.</p></section>
<h2>Against the goals</h2><section class="card">{_html(table.goals(found))}</section>
<h2>Without a goal</h2><section class="card">{_html(table.bounds(found))}</section>
<h2>Beside other schemes, on the same readings</h2>
<section class="card">{_html(table.beside(found))}</section>
<h2>Files: estimate less reference</h2>{groups}
</body>
</html>
"""


def _html(markdown: str) -> str:
    lines = [line.strip("| ").split(" | ") for line in markdown.splitlines()]
    head = "".join(f"<th>{escape(x)}</th>" for x in lines[0])
    rows = "".join(
        "<tr>" + "".join(f"<td>{_cell(x)}</td>" for x in line) + "</tr>" for line in lines[2:]
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _cell(text: str) -> str:
    text = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", escape(text))
    return {"yes": '<b class="yes">yes</b>', "NO": '<b class="no">NO</b>'}.get(text, text)


def _group(group: Group, results: Sequence[Result]) -> str:
    panels = "".join(_file(r) for r in results)
    m = table.means(results, OURS)
    title = f"{group.name}: {m.rmse_pct:.2f} / {m.max_pct:.2f} %"
    return (
        f'<details class="card"><summary>{escape(title)}</summary>'
        f'<div class="stack">{panels}</div></details>'
    )


def _file(r: Result) -> str:
    window = svg.Window(0.0, float(r.t_s[-1]))
    columns = {"t_s": r.t_s, "low": -r.bound_pct, "high": r.bound_pct, **r.error_pct}
    columns |= {"soc": r.true_pct}
    s = r.scores[OURS]
    title = f"{r.run.about}: {s.rmse_pct:.2f} / {s.max_pct:.2f} %"
    error = svg.Panel(title, "% SoC", CURVES, ((0.0, "0"),), (-SPAN_PCT, SPAN_PCT), 190)
    return svg.panel(error, columns, window) + svg.axis(window)
