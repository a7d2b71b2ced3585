"""The report of a run: one HTML file from trace.csv, events.csv and summary.json.

Needs nothing but those files, loads nothing from elsewhere, and makes do with what is there: a
run stopped early, no truth, no trips.
"""

import json
from collections.abc import Iterable
from html import escape
from pathlib import Path

import numpy as np

from solidbms.autopsy import PLOTTED_TRIPS, autopsies, trip_window, trips_of
from solidbms.figures import CELLS, CURRENT, PACK, TEMPERATURE, timeline
from solidbms.rundir import MISSING, Run, dicts, finite, read_run, text
from solidbms.schema import PLACEHOLDERS
from solidbms.svg import clock

FOLD_EVENTS = 40
READ_OUT_ROWS = 1200
SOC_WORDS = {
    "rmse_pct": "RMS error, %",
    "max_pct": "greatest error, %",
    "end_pct": "error at the end, %",
    "bound_held": "bound held",
    "bound_held_pct": "time inside the bound, %",
    "bound_max_pct": "widest bound, %",
    "bound_end_pct": "bound at the end, %",
    "scored_from_s": "scored from, s",
}


def _facts(pairs: Iterable[tuple[str, str]]) -> str:
    """A list of (name, HTML)."""
    inside = "".join(f"<div><dt>{name}</dt><dd>{html}</dd></div>" for name, html in pairs)
    return f"<dl>{inside}</dl>"


def _table(heads: Iterable[str], rows: Iterable[str]) -> str:
    head = "".join(f"<th>{h}</th>" for h in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _verdict(run: Run) -> str:
    s = run.summary
    verdict = str(s.get("verdict") or "no verdict")
    simulated, wall = s.get("simulated_s"), s.get("wall_s")
    wall_text = f"{wall:.1f} s" if finite(wall) else MISSING
    if finite(simulated) and finite(wall) and wall > 0:
        wall_text += f" ({simulated / wall:,.0f} &times; real time)"
    facts = [(k, text(s.get(k))) for k in ("scenario", "target", "pack", "seed")]
    facts += [
        ("simulated", clock(simulated) if finite(simulated) else MISSING),
        ("wall time", wall_text),
        ("ticks", f"{s['ticks']:,}" if finite(s.get("ticks")) else MISSING),
        ("hash", f'<span class="mono">{text(s.get("hash"))}</span>'),
    ]
    told = ""
    if s.get("interrupted"):
        told = '<p class="told">Interrupted: this is what was simulated until then.</p>'
    if s.get("placeholders") is True:
        told += f'<p class="told">Limits of cell {text(s.get("cell"))}: {PLACEHOLDERS}.</p>'
    css = verdict if verdict in ("pass", "fail") else ""
    return (
        f'<header class="card verdict {css}"><h1>{escape(verdict.upper())}</h1>'
        f"{_facts(facts)}{told}</header>"
    )


def _expected(run: Run) -> str:
    rows = [
        f'<tr><td class="n {"yes" if e.get("ok") else "no"}">'
        f"{'&#10003; met' if e.get('ok') else '&#10007; not met'}</td>"
        f"<td>{text(e.get('what'))}</td><td>{text(e.get('got'))}</td></tr>"
        for e in dicts(run.summary.get("expected"))
    ]
    if rows:
        return _table(("", "expected", "got"), rows)
    none = "The scenario expects nothing."
    if run.summary.get("interrupted"):
        none = "Interrupted: expectations were not checked."
    return f'<p class="none">{none}</p>'


def _event_table(run: Run) -> str:
    if not run.events:
        return '<p class="none">No events.</p>'
    rows = (
        f'<tr id="e{e.number}"><td class="n"><span class="tag {e.lane}">{e.number}</span></td>'
        f'<td class="n">{clock(e.t_s)}.{e.t_ms % 1000:03}</td><td class="n">{escape(e.event)}</td>'
        f"<td>{escape(e.detail)}</td></tr>"
        for e in run.events
    )
    table = _table(("", "time", "event", "detail"), rows)
    shown = " open" if len(run.events) <= FOLD_EVENTS else ""
    return f"<details{shown}><summary>{len(run.events)} events</summary>{table}</details>"


def _soc_score(run: Run) -> str:
    soc = run.summary.get("soc")
    if not isinstance(soc, dict) or not soc:
        return '<p class="none">No truth to score the estimate against.</p>'
    held = soc.get("bound_held")
    css = ("yes" if held else "no") if isinstance(held, bool) else ""
    return _facts(
        (escape(SOC_WORDS.get(str(key), str(key))),
         f'<b class="{css if key == "bound_held" else ""}">{text(value)}</b>')
        for key, value in soc.items()
    )


def _read_out(run: Run) -> str:
    """The rows that the cross-hair can show, as JSON: a sample, and all of them around trips."""
    t_s = run.cols["t_s"]
    keep = np.zeros(len(t_s), bool)
    if len(t_s):
        keep[np.linspace(0, len(t_s) - 1, min(len(t_s), READ_OUT_ROWS)).astype(int)] = True
    for window in filter(None, map(trip_window, trips_of(run)[:PLOTTED_TRIPS])):
        keep |= (t_s >= window.start_s) & (t_s <= window.end_s)
    shown = {c.column for c in (*TEMPERATURE, *CURRENT, *CELLS, *PACK)}
    shown |= {"t_s", "soc_pct", "true_soc_pct", "error_pct"}
    rows: dict[str, list] = {
        name: [None if v != v else round(v, 3) for v in values[keep].tolist()]
        for name, values in run.cols.items()
        if name in shown and np.isfinite(values).any()
    }
    rows.setdefault("t_s", [])
    rows["state"] = [s for s, k in zip(run.state, keep, strict=True) if k]
    return json.dumps(rows, separators=(",", ":")).replace("<", "\\u003c")


def write_report(directory: Path) -> Path:
    """Write DIR/report.html from DIR's trace.csv, events.csv and summary.json; return its path.

    ValueError, in one line, if summary.json is missing or a file cannot be understood.
    """
    run = read_run(Path(directory))
    here = Path(__file__)
    title = escape(f"{run.summary.get('scenario') or 'run'}: {run.summary.get('verdict') or '?'}")
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{here.with_name("report.css").read_text(encoding="utf-8")}</style>
</head>
<body>
{_verdict(run)}
<section class="card">{_expected(run)}</section>
<section class="card">{timeline(run)}</section>
<h2>Rules that acted</h2>
{autopsies(run)}
<h2>Events</h2>
<section class="card">{_event_table(run)}</section>
<h2>State of charge against the truth</h2>
<section class="card">{_soc_score(run)}</section>
<script type="application/json" id="rows">{_read_out(run)}</script>
<script>{here.with_name("report.js").read_text(encoding="utf-8")}</script>
</body>
</html>
"""
    path = Path(directory) / "report.html"
    fresh = path.with_suffix(".new")
    fresh.write_text(page, encoding="utf-8")
    return fresh.replace(path)
