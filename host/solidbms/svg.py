"""Time plots as HTML with inline SVG: curves stretch with the page, text keeps its size.

Every drawing is `VIEW` units wide and as many units high as it has pixels; the browser stretches
it to the width there is. Text lies over it as HTML, placed in percent. Colours are CSS classes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from math import ceil, floor, log10
from typing import NamedTuple

import numpy as np

VIEW = 1000
BINS = 700  # a curve keeps the extremes of so many slices of time: about one a pixel
LABEL_PX = 13  # two labels closer than this would touch
CHAR_PX = 6.3  # mean width of a character at the label's size

Columns = Mapping[str, np.ndarray]


class Mark(NamedTuple):
    """An event on the time axis. `lane`: its row and CSS class; `number`: its row of the table."""

    number: int
    t_s: float
    lane: str
    label: str


class Window(NamedTuple):
    """The stretch of time that a plot shows."""

    start_s: float
    end_s: float

    def x(self, t_s):
        """Position of a time (or array of times) in drawing units."""
        return (t_s - self.start_s) / max(self.end_s - self.start_s, 1e-9) * VIEW

    def percent(self, t_s: float) -> float:
        return self.x(t_s) * 100 / VIEW

    def holds(self, t_s: float) -> bool:
        return self.start_s <= t_s <= self.end_s


@dataclass(frozen=True)
class Curve:
    """A column drawn in a panel. A `band` lies between `column` and `upper`, without read-out."""

    column: str
    label: str
    css: str
    style: str = "line"  # line, dash, step, band
    upper: str = ""


@dataclass(frozen=True)
class Panel:
    """Curves on one value axis. `limits` are (value, label) pairs; `span` is shown at least."""

    title: str
    unit: str
    curves: tuple[Curve, ...]
    limits: tuple[tuple[float, str], ...] = ()
    span: tuple[float, float] | None = None
    height: int = 150
    digits: int = 1


def clock(t_s: float, seconds: bool = True) -> str:
    """Time since the start as h:mm:ss, or h:mm."""
    whole = floor(t_s)
    text = f"{whole // 3600}:{whole // 60 % 60:02}"
    return text + f":{whole % 60:02}" if seconds else text


def time_ticks(window: Window, most: int = 9) -> list[tuple[float, str]]:
    """Round times with their labels, at most `most` steps."""
    length = window.end_s - window.start_s
    day = 86400
    steps = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
    step = next((s for s in steps if length / s <= most), day * ceil(length / day / most))
    first, last = ceil(window.start_s / step), floor(window.end_s / step)
    return [(i * step, clock(i * step, step < 60)) for i in range(first, last + 1)]


def value_ticks(low: float, high: float, about: int) -> list[float]:
    """Round values (1, 2 or 5 times a power of ten apart), about `about` of them."""
    raw = max(high - low, 1e-9) / about
    power = 10 ** floor(log10(raw))
    step = power * next(m for m in (1, 2, 5, 10) if m * power >= raw * 0.7)
    return [i * step for i in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]


def thin(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Indices of the points that a plot needs: the least and the greatest of each slice of x."""
    if len(x) <= 2 * BINS:
        return np.arange(len(x))
    slices = np.floor(x / VIEW * BINS)
    starts = np.flatnonzero(np.diff(slices, prepend=slices[0] - 1))
    keep = {0, len(x) - 1}
    for start, end in zip(starts, np.append(starts[1:], len(x)), strict=True):
        part = y[start:end]
        if np.isnan(part).all():
            keep.add(int(start))
        else:
            keep |= {int(start + np.nanargmin(part)), int(start + np.nanargmax(part))}
    return np.array(sorted(keep))


def _pen(x: np.ndarray, y: np.ndarray, step: bool) -> str:
    """Path data; NaN lifts the pen. A step holds its value until the next point."""
    out, down, last = [], False, None
    for xi, yi in zip(x.tolist(), y.tolist(), strict=True):
        if yi != yi:
            if step and down:
                out.append(f"H{xi:.1f}")
            down = False
        elif not down:
            out.append(f"M{xi:.1f},{yi:.1f}h0")  # h0: a lone point is a dot
            down = True
        elif not step:
            out.append(f"L{xi:.1f},{yi:.1f}")
        elif yi != last:
            out.append(f"H{xi:.1f}V{yi:.1f}")
        last = yi
    if step and down:
        out.append(f"H{x[-1]:.1f}")
    return "".join(out)


def _area(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> str:
    """Path data of the area between two curves, one piece for each run without NaN."""
    out = []
    for sound, run in groupby(range(len(x)), lambda i: not np.isnan(low[i] + high[i])):
        at = list(run)
        if sound:
            edge = [(x[i], high[i]) for i in at] + [(x[i], low[i]) for i in reversed(at)]
            out.append("M" + "L".join(f"{a:.1f},{b:.1f}" for a, b in edge) + "Z")
    return "".join(out)


def _curve(curve: Curve, cols: Columns, x: np.ndarray, shown: np.ndarray, to_y) -> str:
    values = cols[curve.column][shown]
    if curve.style == "band":
        upper = cols[curve.upper][shown]
        keep = np.union1d(thin(x, values), thin(x, upper))
        data = _area(x[keep], to_y(values[keep]), to_y(upper[keep]))
    else:
        keep = thin(x, values)
        data = _pen(x[keep], to_y(values[keep]), curve.style == "step")
    return f'<path class="{curve.style} {curve.css}" d="{data}"/>' if data else ""


def _known(curve: Curve, cols: Columns) -> bool:
    names = (curve.column, curve.upper) if curve.upper else (curve.column,)
    return all(n in cols and np.isfinite(cols[n]).any() for n in names)


def verticals(marks: Iterable[Mark], window: Window, height: int) -> str:
    """A thin line for each event in sight, one a pixel and lane."""
    seen = {(round(window.x(m.t_s)), m.lane) for m in marks if window.holds(m.t_s)}
    return "".join(
        f'<path class="at {lane}" d="M{x},0V{height}"/>' for x, lane in sorted(seen)
    )


def drawing(body: str, height: int, name: str) -> str:
    return (
        f'<svg viewBox="0 0 {VIEW} {height}" role="img" '
        f'aria-label="{escape(name)}" preserveAspectRatio="none">{body}</svg>'
    )


def _spread(places: Sequence[float], height: int) -> list[float]:
    """Ascending places in pixels, pushed apart until labels do not touch, kept inside."""
    out: list[float] = []
    for place in places:
        out.append(max(place, out[-1] + LABEL_PX) if out else place)
    ceiling = float(height)
    for i in reversed(range(len(out))):
        out[i] = min(out[i], ceiling)
        ceiling = out[i] - LABEL_PX
    return out


def panel(spec: Panel, cols: Columns, window: Window, marks: Sequence[Mark] = ()) -> str:
    """One plot with title, legend, axis and limits; nothing if no curve has a value in sight."""
    curves = [c for c in spec.curves if _known(c, cols)]
    shown = np.flatnonzero((cols["t_s"] >= window.start_s) & (cols["t_s"] <= window.end_s))
    x = window.x(cols["t_s"][shown])
    seen = [cols[n][shown] for c in curves for n in (c.column, c.upper) if n]
    values = np.concatenate(seen) if seen else np.array([])
    values = values[np.isfinite(values)]
    if not len(values):
        return ""
    if spec.span:
        low, high = spec.span
    else:
        low = min([float(values.min()), *(v for v, _ in spec.limits)])
        high = max([float(values.max()), *(v for v, _ in spec.limits)])
        room = max((high - low) * 0.06, 0.6 * 10**-spec.digits)
        low, high = low - room, high + room

    def to_y(value):
        return (high - value) / (high - low) * spec.height

    ticks = value_ticks(low, high, max(3, spec.height // 25))
    digits = max(0, ceil(-log10(min(np.diff(ticks), default=1)) - 1e-9))
    grid = "".join(f'<path class="grid" d="M0,{to_y(t):.1f}H{VIEW}"/>' for t in ticks)
    grid += "".join(
        f'<path class="grid" d="M{window.x(t):.1f},0V{spec.height}"/>'
        for t, _ in time_ticks(window)
    )
    limits = sorted(spec.limits, reverse=True)
    lines = "".join(f'<path class="limit" d="M0,{to_y(v):.1f}H{VIEW}"/>' for v, _ in limits)
    body = grid + verticals(marks, window, spec.height)
    body += "".join(_curve(c, cols, x, shown, to_y) for c in curves) + lines
    texts = "".join(
        f'<span class="tick" style="top:{to_y(t):.1f}px">{t:.{digits}f}</span>' for t in ticks
    )
    texts += "".join(
        f'<span class="bound" style="top:{y:.1f}px">{escape(label)}</span>'
        for y, (_, label) in zip(_spread([to_y(v) for v, _ in limits], spec.height), limits,
                                 strict=True)
    )
    keys = "".join(_key(c, spec.digits) for c in curves)
    return (
        f'<div class="panel"><h3>{escape(spec.title)} <small>{escape(spec.unit)}</small>{keys}'
        f'</h3><div class="plot" style="height:{spec.height}px">'
        f"{drawing(body, spec.height, spec.title)}{texts}</div></div>"
    )


def _key(curve: Curve, digits: int) -> str:
    value = "" if curve.style == "band" else f'<b data-k="{curve.column}" data-d="{digits}"></b>'
    return (
        f'<span class="key"><i class="{curve.style} {curve.css}"></i>'
        f"{escape(curve.label)}{value}</span>"
    )


def strip(values: Sequence[str], t_s: np.ndarray, window: Window, css: Mapping[str, str],
          name: str, height: int, names: bool = True) -> str:
    """A band coloured by a value that holds until the next row, with names where they fit."""
    shown = np.flatnonzero((t_s >= window.start_s) & (t_s <= window.end_s))
    rects, texts = "", ""
    runs = [(v, list(g)) for v, g in groupby(shown.tolist(), lambda i: values[i])]
    last_px = -1
    for value, at in runs:
        start = window.percent(t_s[at[0]])
        after = at[-1] + 1
        end = window.percent(min(t_s[after], window.end_s) if after < len(t_s) else window.end_s)
        if floor(end * 10) == last_px or value not in css:  # thinner than a pixel of its own
            continue
        last_px = floor(end * 10)
        rects += (
            f'<rect class="{css[value]}" x="{start * 10:.1f}" width="{(end - start) * 10:.1f}" '
            f'height="{height}"><title>{escape(value)}</title></rect>'
        )
        room = (end - start) / 100
        need = len(value) * CHAR_PX + 8
        if names and room * VIEW > need:
            slim = "" if room * 300 > need else " wide"
            texts += (
                f'<span class="word {css[value]}{slim}" style="left:{start:.2f}%;'
                f'width:{end - start:.2f}%">{escape(value)}</span>'
            )
    return (
        f'<div class="plot strip" style="height:{height}px"><span class="name">{escape(name)}'
        f"</span>{drawing(rects, height, name)}{texts}</div>"
    )


def axis(window: Window) -> str:
    """The labels of the time axis; every second one is left out on a narrow page."""
    return '<div class="plot axis">' + "".join(
        f'<span class="{"wide" if i % 2 else ""}" style="left:{window.percent(t):.2f}%">'
        f"{label}</span>"
        for i, (t, label) in enumerate(time_ticks(window))
    ) + "</div>"


def lane(name: str, marks: Sequence[Mark], window: Window, widths: Mapping[str, int]) -> str:
    """A row of numbered pins, near ones in one; laid out once for each width of page.

    `widths`: CSS class of the layout -> the plot's width in pixels that it is made for.
    """
    seen = sorted((m for m in marks if window.holds(m.t_s)), key=lambda m: m.t_s)
    if not seen:
        return ""
    rows = "".join(
        f'<div class="{css}">{_pins(seen, window, px)}</div>' for css, px in widths.items()
    )
    return f'<div class="plot lane"><span class="name">{escape(name)}</span>{rows}</div>'


def _pins(marks: Sequence[Mark], window: Window, width_px: int) -> str:
    digits = len(str(marks[-1].number))
    group_px = (2 * digits + 1) * CHAR_PX + 14  # the widest pin, "12 +15"
    groups: list[list[Mark]] = []
    for mark in marks:
        x = window.percent(mark.t_s) * width_px / 100
        if groups and x - window.percent(groups[-1][0].t_s) * width_px / 100 < group_px:
            groups[-1].append(mark)
        else:
            groups.append([mark])
    places: list[float] = []
    for group in groups:
        mean = sum(window.percent(m.t_s) for m in group) / len(group) * width_px / 100
        edge = (len(f"{group[0].number}") + (digits + 1) * (len(group) > 1)) * CHAR_PX / 2 + 5
        mean = min(max(mean, edge), width_px - edge)
        places.append(max(mean, places[-1] + group_px) if places else mean)
    out, free = "", 0.0
    for i, (group, place) in enumerate(zip(groups, places, strict=True)):
        text = f"{group[0].number}" + (f" +{len(group) - 1}" if len(group) > 1 else "")
        labels = list(dict.fromkeys(m.label for m in group))
        label = ", ".join(labels)
        half, need = len(text) * CHAR_PX / 2 + 7, len(label) * CHAR_PX + 4
        ahead = places[i + 1] - group_px / 2 if i + 1 < len(places) else width_px
        told = "; ".join(f"{clock(m.t_s)} {m.label}" for m in group[:8])
        told += f"; {len(group) - 8} more" if len(group) > 8 else ""
        left = place / width_px * 100
        out += (
            f'<a class="pin {group[0].lane}" href="#e{group[0].number}" title="{escape(told)}" '
            f'style="left:{left:.2f}%">{text}</a>'
        )
        if place + half + need <= ahead:
            out += f'<span style="left:calc({left:.2f}% + {half:.0f}px)">{escape(label)}</span>'
            free = place + half + need
        elif place - half - need >= free:
            out += (
                f'<span style="right:calc({100 - left:.2f}% + {half:.0f}px)">{escape(label)}'
                "</span>"
            )
            free = place + half
        else:
            free = place + half
    return out
