"""What the monitor draws: numbers to lines of coloured text."""

from __future__ import annotations

import math

from rich.text import Text

_FULL = "\u2588"  # full block
_HALF = "\u2592"  # shade: what the bound leaves open
_EMPTY = "\u2500"  # line
_MARK = "\u2503"  # heavy bar: a limit
_ZERO = "\u2502"
_PLACE = 12  # columns of a name, and of a number

GOOD, WARM, BAD, DULL = "green", "yellow", "bright_red", "grey50"
STATE_STYLE = {
    "on": "bold black on green",
    "shedding": "bold white on red",
    "tripped": "bold white on dark_red",
    "off": "bold white on grey37",
}


def number(value: float, digits: int, unit: str) -> str:
    """Return a number with its unit, a dash for none."""
    return f"{value:.{digits}f} {unit}" if math.isfinite(value) else f"- {unit}"


def between(low: float, high: float, digits: int, unit: str) -> str:
    """Return two limits with their signs, a dash for none."""
    known = math.isfinite(low) and math.isfinite(high)
    return f"{low:+.{digits}f} .. {high:+.{digits}f} {unit}" if known else "-"


def line(name: str, value: str, drawn: Text, note: str = "") -> Text:
    """Return a gauge: name, value, bar, note."""
    text = Text().append(f"{name:<{_PLACE}}", style="bold").append(f"{value:>{_PLACE}}  ")
    return text.append_text(drawn).append(f"  {note}", style=DULL)


def _at(value: float, low: float, high: float, width: int) -> int:
    if not math.isfinite(value) or high <= low:
        return 0
    return min(max(round((value - low) / (high - low) * width), 0), width)


def level(value: float, low: float, high: float, width: int) -> Text:
    """Return a bar from low to high; it reddens in the last tenth before either."""
    filled = _at(value, low, high, width)
    edge = (high - low) / 10
    if not math.isfinite(value):
        style = DULL
    elif low <= value <= high:
        style = WARM if min(value - low, high - value) < edge else GOOD
    else:
        style = BAD
    text = Text(_FULL * filled, style=style)
    return text.append(_EMPTY * (width - filled), style=DULL).append(_MARK, style=DULL)


def charge(soc: float, bound: float, width: int) -> Text:
    """Return SoC, 0 to 1, solid as far as it is certain and shaded as far as it may be."""
    sure = _at(soc - bound, 0, 1, width)
    perhaps = _at(soc + bound, 0, 1, width)
    text = Text(_FULL * sure, style=GOOD if soc > 0.2 else WARM)
    text.append(_HALF * (perhaps - sure), style="cyan")
    return text.append(_EMPTY * (width - perhaps), style=DULL).append(_MARK, style=DULL)


def current(value: float, discharge: float, charging: float, most: float, width: int) -> Text:
    """Return current around zero: discharge to the left, marks at the limits of now."""
    half = width // 2
    cells = [_EMPTY] * (2 * half + 1)
    styles = [DULL] * len(cells)
    zero = half
    end = zero + (1 if value > 0 else -1) * _at(abs(value), 0, most, half)
    inside = not math.isfinite(value) or -discharge <= value <= charging
    for k in range(min(zero, end), max(zero, end) + 1):
        cells[k], styles[k] = _FULL, GOOD if inside else BAD
    cells[zero], styles[zero] = _ZERO, "white"
    for limit, side in ((discharge, -1), (charging, 1)):
        k = zero + side * _at(limit, 0, most, half)
        cells[k], styles[k] = _MARK, WARM
    text = Text()
    for cell, style in zip(cells, styles, strict=True):
        text.append(cell, style=style)
    return text
