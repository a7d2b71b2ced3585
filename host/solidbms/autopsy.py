"""The autopsy of a trip: what acted, when, how fast against its promise, and what came before."""

from collections.abc import Mapping
from html import escape

import numpy as np

from solidbms.figures import CELLS, CURRENT, PACK, TEMPERATURE, lanes, merged, stack, strips
from solidbms.rundir import MISSING, Event, Run, dicts, finite, text
from solidbms.svg import Mark, Panel, Window, axis, clock, panel

# suffix of a firmware signal -> factor to what is shown, unit, digits
UNITS = {"uv": (1e-6, "V", 4), "ua": (1e-6, "A", 3), "mdegc": (1e-3, "&deg;C", 2),
         "ms": (1, "ms", 0), "us": (1e-3, "ms", 3), "ppm": (1e-4, "%", 2)}  # fmt: skip
COLUMN_SUFFIX = {"uv": "v", "ua": "a", "mdegc": "c"}
BEFORE_S, AFTER_S = 60, 20  # what the plot of a trip shows around it
ANNOUNCED_S = 900  # how long before a trip an announcement still counts as one
PLOTTED_TRIPS = 16  # more are told in words: the file stays small


def _value(raw: object, signal: str) -> str:
    """A number in firmware units, in the unit that the signal's suffix stands for."""
    if not finite(raw):
        return MISSING
    factor, unit, digits = UNITS.get(signal.rpartition("_")[2], (1, "", 0))
    return f"{raw * factor:.{digits}f} {unit}".strip()


def _ms(raw: object) -> str:
    return f"{raw:,.0f} ms" if finite(raw) else MISSING


def trips_of(run: Run) -> list[dict]:
    order = {"trip": 0, "warn": 1, "note": 2}
    return sorted(dicts(run.summary.get("trips")), key=lambda t: order.get(str(t.get("level")), 0))


def _end_ms(trip: Mapping) -> float | None:
    moments = (trip.get(k) for k in ("gate_ms", "acted_ms", "crossed_ms"))
    return next((m for m in moments if finite(m)), None)


def trip_window(trip: Mapping) -> Window | None:
    end = _end_ms(trip)
    if end is None:
        return None
    crossed = trip.get("crossed_ms")
    start = crossed if finite(crossed) else end
    return Window(max(0.0, start / 1000 - BEFORE_S), end / 1000 + AFTER_S)


def _reaction(trip: Mapping) -> str:
    promise, measured, shed = (trip.get(k) for k in ("promise_ms", "measured_ms", "shed_ms"))
    words = f"{_ms(measured)} of {_ms(promise)} promised"
    shed = shed if finite(shed) else 0
    if shed:
        words += f"<br><span class='hint'>{_ms(shed)} of it for the load to shut down</span>"
    if not (finite(promise) and finite(measured) and promise > 0):
        return words
    late = measured > promise
    full = max(promise, measured) / 100
    bar = f'<i style="width:{measured / full:.1f}%"></i>'
    if 0 < shed <= measured:
        bar += f'<s style="left:{(measured - shed) / full:.1f}%;width:{shed / full:.1f}%"></s>'
    if late:
        bar += f'<u style="left:{promise / full:.1f}%"></u>'
        words += ' <b class="no">too late</b>'
    return f'<div class="bar {"late" if late else ""}">{bar}</div>{words}'


def _reached(run: Run, trip: Mapping) -> str:
    """The signal when the rule acted: from the summary, else from the trace's next row."""
    signal, acted = str(trip.get("signal") or ""), trip.get("acted_ms")
    if finite(trip.get("value")) or not finite(acted):
        return _value(trip.get("value"), signal)
    name, _, suffix = signal.rpartition("_")
    sign = -1 if signal.startswith("discharge") else 1
    name = "current" if name in ("charge", "discharge") else name
    values = run.cols.get(f"{name}_{COLUMN_SUFFIX.get(suffix, suffix)}")
    row = int(np.searchsorted(run.cols["t_s"], acted / 1000))
    if values is None or row >= len(values) or np.isnan(values[row]):
        return MISSING
    _, unit, _ = UNITS.get(suffix, (1, "", 0))
    return f"{values[row] * sign:.2f} {unit} in the next row"


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


def _trip_panel(run: Run, trip: Mapping) -> Panel | None:
    """The plot of the trip's signal, if the trace has a column for it."""
    signal = str(trip.get("signal") or "")
    suffix = signal.rpartition("_")[2]
    limit = trip.get("limit")
    limits: tuple[tuple[float, str], ...] = ()
    if finite(limit) and suffix in UNITS:
        value = limit * UNITS[suffix][0]
        turned = -value if signal.startswith("discharge") else value
        limits = ((turned, f"limit {turned:g}"),)
    if suffix == "mdegc":
        return Panel("Temperature", "\N{DEGREE SIGN}C", merged(run, TEMPERATURE), limits, digits=2)
    if suffix == "ua":
        return Panel("Current", "A", CURRENT, limits, digits=2)
    if suffix == "uv":
        pack = signal.startswith("pack")
        return Panel("Voltage", "V", PACK if pack else merged(run, CELLS), limits, digits=3)
    return None


def _zoom(run: Run, trip: Mapping) -> str:
    window = trip_window(trip)
    if window is None or not run.state:
        return ""
    moments = [("crossed", "orange"), ("acted", "fault"), ("gate", "trip")]
    lines = [
        Mark(0, trip[f"{name}_ms"] / 1000, f"moment {css}", name)
        for name, css in moments
        if finite(trip.get(f"{name}_ms"))
    ]
    spec = _trip_panel(run, trip)
    plot = panel(spec, run.cols, window, lines) if spec else ""
    keys = "".join(
        f'<span class="key {m.lane.split()[1]}"><i class="at"></i>{m.label}</span>' for m in lines
    )
    if plot:
        plot = plot.replace("</h3>", f"{keys}</h3>", 1)
    else:
        plot = '<p class="hint">The trace has no values of this signal.</p>'
    inside = lanes(run, window, 600) + strips(run, window) + plot + axis(window)
    return f"<div>{stack(window, inside)}</div>"


def _autopsy(run: Run, trip: Mapping, plotted: bool) -> str:
    signal = str(trip.get("signal") or "")
    level = str(trip.get("level") or "trip")
    crossed = trip.get("crossed_ms")

    def moment(name: str) -> str:
        at = trip.get(f"{name}_ms")
        if not finite(at):
            return MISSING
        start = crossed if finite(crossed) and name != "crossed" else None
        after = "" if start is None else f" (+{at - start:,.0f} ms)"
        return f"{clock(at / 1000)}.{at % 1000:03.0f}{after}"

    facts = [
        ("signal", f'<span class="mono">{escape(signal) or MISSING}</span>'),
        ("limit", _value(trip.get("limit"), signal)),
        ("value", _reached(run, trip)),
        ("path", text(trip.get("path"))),
        *((name, moment(name)) for name in ("crossed", "acted", "gate")),
        ("reaction", _reaction(trip)),
        ("announced", _announced(run, trip)),
    ]
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


def autopsies(run: Run) -> str:
    trips = trips_of(run)
    if not trips:
        return '<div class="card"><p class="none">No rule acted.</p></div>'
    return "".join(_autopsy(run, t, i < PLOTTED_TRIPS) for i, t in enumerate(trips))
