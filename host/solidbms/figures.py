"""The plots of a report: which columns stand in which panel, on one axis of time."""

from html import escape

import numpy as np

from solidbms.rundir import Run, finite
from solidbms.svg import Curve, Panel, Window, axis, lane, panel, strip

LANE_ORDER = ("trip", "warn", "note", "fault", "state", "other")
STATE_CSS = {"on": "s-on", "off": "s-off", "shedding": "s-shed", "tripped": "s-trip",
             "boot": "s-boot", "pre_discharge": "s-pre"}  # fmt: skip
WIDE_PX, SLIM_PX = 1000, 300  # the plots' widths that pins are laid out for

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


def merged(run: Run, curves: tuple[Curve, ...]) -> tuple[Curve, ...]:
    """The curves, with max and min as one where they are the same: a single cell or sensor."""
    high, low = (run.cols.get(c.column) for c in curves[:2])
    if high is None or low is None or not np.array_equal(high, low, equal_nan=True):
        return curves
    return (Curve(curves[0].column, "measured", "blue"), *curves[2:])


def _panels(run: Run) -> list[Panel]:
    bound = Curve("low_pct", "bound", "blue", "band", "soc_bound_pct")
    soc = (
        Curve("soc_low_pct", "bound", "blue", "band", "soc_high_pct"),
        Curve("soc_pct", "estimate", "blue"),
        Curve("true_soc_pct", "truth", "truth", "dash"),
    )
    panels = [Panel("State of charge", "%", soc, span=(0, 100))]
    if np.isfinite(run.cols.get("error_pct", np.array([]))).any():
        error = (bound, Curve("error_pct", "estimate - truth", "orange"))
        panels.append(Panel("Error of the estimate", "%", error, height=100, digits=2))
    return [
        *panels,
        Panel("Cell voltage", "V", merged(run, CELLS), _limits(run, "v"), digits=3),
        Panel("Current", "A, charge positive", CURRENT, _limits(run, "a"), digits=2),
        Panel("Temperature", "\N{DEGREE SIGN}C", merged(run, TEMPERATURE), _limits(run, "c")),
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


def lanes(run: Run, window: Window, wide_px: int) -> str:
    widths = {"wide": wide_px, "slim": SLIM_PX}
    marks = [e.mark for e in run.events]
    return "".join(lane(n, [m for m in marks if m.lane == n], window, widths) for n in LANE_ORDER)


def _state_css(run: Run) -> dict[str, str]:
    return {s: STATE_CSS.get(s, "s-more") for s in dict.fromkeys(run.state) if s}


def strips(run: Run, window: Window) -> str:
    t_s = run.cols["t_s"]
    out = strip(run.state, t_s, window, _state_css(run), "state", 24)
    for column, name in (("chg_on", "charge"), ("dsg_on", "dischg")):
        if column in run.cols:
            words = ["gate closed" if on > 0 else "gate open" for on in run.cols[column]]
            css = {"gate closed": "s-closed", "gate open": "s-open"}
            out += strip(words, t_s, window, css, name, 13, names=False)
    return out


def stack(window: Window, inside: str) -> str:
    return (
        f'<div class="stack" data-start="{window.start_s}" data-end="{window.end_s}">'
        f'<div class="when"></div>{inside}</div>'
    )


def timeline(run: Run) -> str:
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
    inside = head + lanes(run, run.window, WIDE_PX) + strips(run, run.window) + times + plots
    return stack(run.window, inside + times) + (
        '<p class="hint">Time in hours:minutes. Numbers are rows of the event table; thin lines '
        "mark the same events in every plot.</p>"
    )
