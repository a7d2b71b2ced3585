"""The report of a run: one HTML file from trace.csv, events.csv and summary.json.

Reads the files that every run writes (docs/formats.md); needs nothing else, loads nothing from
elsewhere, and makes do with what is there: a run stopped early, no truth, no trips.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from solidbms.svg import (
    Curve,
    Mark,
    Panel,
    Window,
    axis,
    clock,
    finite,
    lane,
    panel,
    strip,
)

TEXT_COLUMNS = ("state", "trips", "warns", "notes")
LANES = {"trip": "trip", "warn": "warn", "reset": "fault", "note": "note", "fault": "fault",
         "state": "state", "boot": "state", "end": "state"}  # the rest: other
LANE_ORDER = ("trip", "warn", "note", "fault", "state", "other")
STATE_CSS = {"on": "s-on", "off": "s-off", "shedding": "s-shed", "tripped": "s-trip",
             "boot": "s-boot", "boot_test": "s-boot", "pre_discharge": "s-pre",
             "predischarge": "s-pre"}
# suffix of a firmware signal -> factor to what is shown, unit, digits
UNITS = {"uv": (1e-6, "V", 4), "mv": (1e-3, "V", 3), "ua": (1e-6, "A", 3), "ma": (1e-3, "A", 3),
         "mdegc": (1e-3, "&deg;C", 2), "ms": (1, "ms", 0), "us": (1e-3, "ms", 3),
         "ppm": (1e-4, "%", 2)}
BEFORE_S, AFTER_S = 60, 20  # what the plot of a trip shows around it
ANNOUNCED_S = 900  # how long before a trip an announcement still counts as one
PLOTTED_TRIPS = 16  # more are told in words: the file stays small
FOLD_EVENTS = 40
READ_OUT_ROWS = 1200
MISSING = "&ndash;"

TEMPERATURE = (
    Curve("temp_max_c", "max", "orange"),
    Curve("temp_min_c", "min", "blue"),
    Curve("true_temp_c", "truth", "truth", "dash"),
)
CURRENT = (
    Curve("current_a", "current", "blue"),
    Curve("charge_limit_a", "charge limit announced", "green", "step"),
    Curve("dsg_limit_a", "discharge limit announced", "orange", "step"),
)
CELLS = (Curve("cell_max_v", "max", "orange"), Curve("cell_min_v", "min", "blue"))
PACK = (Curve("pack_v", "pack", "blue"),)


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
    return Run(summary, events, _derived(cols), state)


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


# --- words and numbers


def _value(raw: object, signal: str) -> str:
    """A number in firmware units, in the unit that the signal's suffix stands for."""
    if not finite(raw):
        return MISSING
    factor, unit, digits = UNITS.get(signal.rpartition("_")[2], (1, "", 0))
    return f"{raw * factor:.{digits}f} {unit}".strip()  # type: ignore[operator]


def _ms(raw: object) -> str:
    return f"{raw:,.0f} ms" if finite(raw) else MISSING


def _text(raw: object) -> str:
    """Any value of summary.json as HTML."""
    if raw is None or raw == "":
        return MISSING
    if isinstance(raw, bool):
        return "yes" if raw else "no"
    if isinstance(raw, float):
        return f"{raw:.4g}" if abs(raw) < 1e4 else f"{raw:,.0f}"
    return escape(raw if isinstance(raw, str) else json.dumps(raw))


def _facts(pairs: Iterable[tuple[str, str]]) -> str:
    """A list of (name, HTML)."""
    inside = "".join(f"<div><dt>{name}</dt><dd>{html}</dd></div>" for name, html in pairs)
    return f"<dl>{inside}</dl>"


def _table(heads: Iterable[str], rows: Iterable[str]) -> str:
    head = "".join(f"<th>{h}</th>" for h in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _dicts(raw: object) -> list[dict]:
    return [r for r in raw if isinstance(r, dict)] if isinstance(raw, list) else []


# --- sections, top to bottom


def _verdict(run: Run) -> str:
    s = run.summary
    verdict = str(s.get("verdict") or "no verdict")
    simulated, wall = s.get("simulated_s"), s.get("wall_s")
    wall_text = f"{wall:.1f} s" if finite(wall) else MISSING
    if finite(simulated) and finite(wall) and wall > 0:  # type: ignore[operator]
        wall_text += f" ({simulated / wall:,.0f} &times; real time)"  # type: ignore[operator]
    facts = [(k, _text(s.get(k))) for k in ("scenario", "target", "pack", "seed")]
    facts += [
        ("simulated", clock(simulated) if finite(simulated) else MISSING),  # type: ignore
        ("wall time", wall_text),
        ("ticks", f"{s['ticks']:,}" if finite(s.get("ticks")) else MISSING),
        ("hash", f'<span class="mono">{_text(s.get("hash"))}</span>'),
    ]
    told = ""
    if s.get("interrupted"):
        told = '<p class="told">Interrupted: this is what was simulated until then.</p>'
    css = verdict if verdict in ("pass", "fail") else ""
    return (
        f'<header class="card verdict {css}"><h1>{escape(verdict.upper())}</h1>'
        f"{_facts(facts)}{told}</header>"
    )


def _expected(run: Run) -> str:
    rows = [
        f'<tr><td class="n {"yes" if e.get("ok") else "no"}">'
        f"{'&#10003; met' if e.get('ok') else '&#10007; not met'}</td>"
        f"<td>{_text(e.get('what'))}</td><td>{_text(e.get('got'))}</td></tr>"
        for e in _dicts(run.summary.get("expected"))
    ]
    table = _table(("", "expected", "got"), rows)
    return table if rows else '<p class="none">The scenario expects nothing.</p>'


def _panels(run: Run) -> list[Panel]:
    cells = CELLS
    if np.array_equal(run.cols.get("cell_min_v", 0), run.cols.get("cell_max_v", 1), True):
        cells = (Curve("cell_max_v", "one cell", "blue"),)
    bound = Curve("low_pct", "bound", "blue", "band", "soc_bound_pct")
    soc = (
        Curve("soc_low_pct", "bound", "blue", "band", "soc_high_pct"),
        Curve("soc_pct", "estimate", "blue"),
        Curve("true_soc_pct", "truth", "truth", "dash"),
    )
    panels = [Panel("State of charge", "%", soc, span=(0, 100))]
    if np.isfinite(run.cols.get("error_pct", np.array([]))).any():
        error = (bound, Curve("error_pct", "estimate - truth", "orange"))
        panels.append(Panel("Error of the estimate", "%", error, height=90, digits=2))
    return [
        *panels,
        Panel("Cell voltage", "V", cells, _limits(run, "v"), digits=3),
        Panel("Current", "A, charge positive", CURRENT, _limits(run, "a"), digits=2),
        Panel("Temperature", "\N{DEGREE SIGN}C", TEMPERATURE, _limits(run, "c")),
    ]


def _limits(run: Run, unit: str) -> tuple[tuple[float, str], ...]:
    """Limit lines of the summary whose key ends in _UNIT; discharge counts as negative."""
    found = []
    for key, value in (run.summary.get("limits") or {}).items():
        name, _, suffix = key.rpartition("_")
        if suffix == unit and finite(value):
            turned = -abs(value) if unit == "a" and "discharge" in name else value
            words = [w for w in name.split("_") if w not in ("cell", "temp")]
            found.append((turned, " ".join(words).replace("discharge", "dischg") + f" {turned:g}"))
    return tuple(found)


def _lanes(run: Run, window: Window, wide_px: int) -> str:
    widths = {"wide": wide_px, "slim": 300}
    marks = [e.mark for e in run.events]
    return "".join(lane(n, [m for m in marks if m.lane == n], window, widths) for n in LANE_ORDER)


def _state_css(run: Run) -> dict[str, str]:
    return {s: STATE_CSS.get(s, "s-more") for s in dict.fromkeys(run.state) if s}


def _strips(run: Run, window: Window) -> str:
    t_s = run.cols["t_s"]
    out = strip(run.state, t_s, window, _state_css(run), "state", 24)
    for column, name in (("chg_on", "charge"), ("dsg_on", "dischg")):
        if column in run.cols:
            words = ["gate closed" if on > 0 else "gate open" for on in run.cols[column]]
            css = {"gate closed": "s-closed", "gate open": "s-open"}
            out += strip(words, t_s, window, css, name, 10, names=False)
    return out


def _stack(window: Window, inside: str) -> str:
    return (
        f'<div class="stack" data-start="{window.start_s}" data-end="{window.end_s}">'
        f'<div class="when"></div>{inside}</div>'
    )


def _timeline(run: Run) -> str:
    if not run.state:
        return '<p class="none">No second was recorded.</p>'
    marks = [e.mark for e in run.events]
    keys = "".join(
        f'<span class="key"><i class="swatch {css}"></i>{escape(name)}</span>'
        for name, css in _state_css(run).items()
    )
    keys += '<span class="key"><i class="swatch s-closed"></i>gate closed</span>'
    keys += '<span class="key"><i class="swatch s-open"></i>gate open</span>'
    head = f'<div class="panel"><h3>Events and states{keys}</h3></div>'
    plots = "".join(panel(p, run.cols, run.window, marks) for p in _panels(run))
    times = axis(run.window)
    inside = head + _lanes(run, run.window, 1000) + _strips(run, run.window) + times + plots
    return _stack(run.window, inside + times) + (
        '<p class="hint">Time in hours:minutes. Numbers are rows of the event table; thin lines '
        "mark the same events in every plot.</p>"
    )


# --- autopsy of a trip


def _trips(run: Run) -> list[dict]:
    order = {"trip": 0, "warn": 1, "note": 2}
    return sorted(_dicts(run.summary.get("trips")), key=lambda t: order.get(t.get("level"), 0))


def _end_ms(trip: Mapping) -> float | None:
    moments = (trip.get(k) for k in ("gate_ms", "acted_ms", "crossed_ms"))
    return next((m for m in moments if finite(m)), None)  # type: ignore[arg-type]


def _trip_window(trip: Mapping) -> Window | None:
    end = _end_ms(trip)
    if end is None:
        return None
    crossed = trip.get("crossed_ms")
    start = crossed if finite(crossed) else end
    return Window(max(0.0, start / 1000 - BEFORE_S), end / 1000 + AFTER_S)  # type: ignore


def _reaction(trip: Mapping) -> str:
    promise, measured, shed = (trip.get(k) for k in ("promise_ms", "measured_ms", "shed_ms"))
    words = f"{_ms(measured)} measured, {_ms(promise)} promised"
    if finite(shed) and shed:
        words += f"<br><span class='hint'>{_ms(shed)} of it for the load to shut down</span>"
    if not (finite(promise) and finite(measured) and promise > 0):  # type: ignore[operator]
        return words
    late = measured > promise  # type: ignore[operator]
    full = max(promise, measured) / 100  # type: ignore[type-var, operator]
    line = f'<u style="left:{promise / full:.1f}%"></u>' if late else ""
    return (
        f'<div class="bar {"late" if late else ""}"><i style="width:{measured / full:.1f}%"></i>'
        f"{line}</div>{words}" + (' <b class="no">too late</b>' if late else "")
    )


def _announced(run: Run, trip: Mapping) -> str:
    """Notes, warnings and shedding that stood when the rule acted."""
    end = _end_ms(trip)
    if end is None:
        return MISSING
    standing: dict[str, Event] = {}
    for e in run.events:
        if e.t_ms > end or e.t_s < end / 1000 - ANNOUNCED_S or e.detail == trip.get("rule"):
            continue
        if e.event in ("note", "warn"):
            standing.setdefault(e.detail, e)
        elif e.event == "recover":
            standing.pop(e.detail, None)
        elif e.event == "state" and e.detail.partition("->")[2].startswith("shed"):
            standing["shed"] = e
    items = "".join(
        f'<li><span class="tag {e.lane}">{e.number}</span> {_early(end / 1000 - e.t_s)} before: '
        f"{escape(e.event)} {escape(e.detail)}</li>"
        for e in standing.values()
    )
    return f"<ul>{items}</ul>" if items else "nothing"


def _early(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def _trip_panel(trip: Mapping) -> Panel | None:
    """The plot of the trip's signal, if the trace has a column for it."""
    signal = str(trip.get("signal") or "")
    suffix = signal.rpartition("_")[2]
    limit, limits = trip.get("limit"), ()
    if finite(limit) and suffix in UNITS:
        value = limit * UNITS[suffix][0]  # type: ignore[operator]
        turned = -value if signal.startswith(("discharge", "dsg")) else value
        limits = ((turned, f"limit {turned:g}"),)
    if suffix == "mdegc":
        return Panel("Temperature", "\N{DEGREE SIGN}C", TEMPERATURE, limits, digits=2)
    if suffix in ("ua", "ma"):
        return Panel("Current", "A", CURRENT, limits, digits=2)
    if suffix in ("uv", "mv"):
        pack = signal.startswith("pack")
        return Panel("Voltage", "V", PACK if pack else CELLS, limits, digits=3)
    return None


def _zoom(run: Run, trip: Mapping) -> str:
    window = _trip_window(trip)
    if window is None or not run.state:
        return ""
    moments = [("crossed", "orange"), ("acted", "fault"), ("gate", "trip")]
    lines = [
        Mark(0, trip[f"{name}_ms"] / 1000, f"moment {css}", name)
        for name, css in moments
        if finite(trip.get(f"{name}_ms"))
    ]
    spec = _trip_panel(trip)
    plot = panel(spec, run.cols, window, lines) if spec else ""
    keys = "".join(
        f'<span class="key {m.lane.split()[1]}"><i class="at"></i>{m.label}</span>' for m in lines
    )
    if plot:
        plot = plot.replace("</h3>", f"{keys}</h3>", 1)
    else:
        plot = '<p class="hint">The trace has no values of this signal.</p>'
    inside = _lanes(run, window, 600) + _strips(run, window) + plot + axis(window)
    return f"<div>{_stack(window, inside)}</div>"


def _autopsy(run: Run, trip: Mapping, plotted: bool) -> str:
    signal = str(trip.get("signal") or "")
    level = str(trip.get("level") or "trip")

    def moment(name: str) -> str:
        at = trip.get(f"{name}_ms")
        if not finite(at):
            return MISSING
        crossed = trip.get("crossed_ms")
        later = finite(crossed) and name != "crossed"
        after = f" (+{at - crossed:,.0f} ms)" if later else ""  # type: ignore[operator]
        return f"{clock(at / 1000)}.{at % 1000:03.0f}{after}"  # type: ignore[operator]

    facts = [
        ("signal", f'<span class="mono">{escape(signal) or MISSING}</span>'),
        ("limit", _value(trip.get("limit"), signal)),
        ("value", _value(trip.get("value"), signal)),
        ("path", _text(trip.get("path"))),
        *((name, moment(name)) for name in ("crossed", "acted", "gate")),
        ("reaction", _reaction(trip)),
        ("announced", _announced(run, trip)),
    ]
    if "value" not in trip:
        facts = [f for f in facts if f[0] != "value"]
    listed = "".join(f"<dt>{name}</dt><dd>{html}</dd>" for name, html in facts)
    name = escape(str(trip.get("rule") or "unnamed rule"))
    tag = level if level in ("trip", "warn", "note") else "other"
    body = (
        f'<div class="autopsy"><div><dl>{listed}</dl></div>'
        f"{_zoom(run, trip) if plotted else ''}</div>"
    )
    shown = " open" if level == "trip" and plotted else ""
    return (
        f'<details class="card"{shown}><summary><span class="tag {tag}">{escape(level)}</span> '
        f"<b>{name}</b> <span class='hint'>{moment('acted')}</span></summary>{body}</details>"
    )


def _autopsies(run: Run) -> str:
    trips = _trips(run)
    if not trips:
        return '<div class="card"><p class="none">No rule acted.</p></div>'
    return "".join(_autopsy(run, t, i < PLOTTED_TRIPS) for i, t in enumerate(trips))


# --- events, SoC, file


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
    names = {"rmse_pct": "RMS error, %", "max_pct": "greatest error, %",
             "bound_held": "bound held", "bound_max_pct": "widest bound, %",
             "bound_end_pct": "bound at the end, %"}
    held = soc.get("bound_held")
    css = {True: "yes", False: "no"}.get(held, "") if isinstance(held, bool) else ""
    return _facts(
        (escape(names.get(key, key)),
         f'<b class="{css if key == "bound_held" else ""}">{_text(value)}</b>')
        for key, value in soc.items()
    )


def _read_out(run: Run) -> str:
    """The rows that the cross-hair can show, as JSON: a sample, and all of them around trips."""
    t_s = run.cols["t_s"]
    keep = np.zeros(len(t_s), bool)
    if len(t_s):
        keep[np.linspace(0, len(t_s) - 1, min(len(t_s), READ_OUT_ROWS)).astype(int)] = True
    for window in filter(None, map(_trip_window, _trips(run)[:PLOTTED_TRIPS])):
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
<section class="card">{_timeline(run)}</section>
<h2>Rules that acted</h2>
{_autopsies(run)}
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
    path.write_text(page, encoding="utf-8")
    return path
