"""Fit against data, in one HTML page: OCV and resistances over SoC, every file over time."""

from __future__ import annotations

from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from solidbms import svg
from solidbms.identify.fit import Load
from solidbms.identify.job import CLIFF_SOC, Result
from solidbms.identify.ocv import SOC
from solidbms.identify.predict import predicted_v, rms_mv

Array = NDArray[np.float64]

# Told apart by shade and dash; the order is that of the temperatures, cold to hot.
SHADES = ("blue", "note", "green", "warn", "orange", "trip")
ERROR_MV = 100.0  # what an error panel shows at least, both ways


def page(r: Result) -> str:
    """Return the HTML page of one identification."""
    style = Path(svg.__file__).with_name("report.css").read_text(encoding="utf-8")
    told = "".join(f"<li>{title}: {escape(text)}.</li>" for title, text in r.notes.lines())
    files = "".join(_file(r, x) for x in r.loads)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(r.name)}: fit against data</title>
<style>{style}</style>
</head>
<body>
<section class="card"><h1>{escape(r.name)}</h1>{_residuals(r)}</section>
<section class="card"><ul>{told}</ul></section>
<h2>Open-circuit voltage over SoC</h2><section class="card">{_ocv(r)}</section>
<h2>Resistance over SoC, by temperature</h2><section class="card">{_resistance(r)}</section>
<h2>Files: measured voltage, and the fit's error</h2>{files}
</body>
</html>
"""


def _residuals(r: Result) -> str:
    rows = "".join(
        f"<tr><td>{t:g}</td><td>{r.residual_mv(float(t)):.1f}</td>"
        f"<td>{r.usable_ah(float(t))[0]:.3f}</td></tr>"
        for t in r.cell.r_temp_c
    )
    fit = f"fit, mV RMS under load above SoC {CLIFF_SOC:g}"
    head = f"<th>degC</th><th>{fit}</th><th>usable, Ah</th>"
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    tau1_s, tau2_s = r.fit.tau_s
    return f"<p>{r.cell.capacity_ah:.3f} Ah, time constants {tau1_s:g} and {tau2_s:g} s</p>{table}"


def _over_soc(panel: svg.Panel, columns: dict[str, Array], soc: Array) -> str:
    window = svg.Window(0.0, 100.0)
    drawn = svg.panel(panel, {"t_s": 100 * soc, **columns}, window)
    labels = "".join(
        f'<span style="left:{window.percent(x):.2f}%">{x:.0f} %</span>'
        for x, _ in svg.time_ticks(window)
    )
    return f'<div class="stack">{drawn}<div class="plot axis">{labels}</div></div>'


def _ocv(r: Result) -> str:
    fine = np.linspace(0, 1, 401)
    b, c = r.branches[0], r.cell
    columns = {"down": np.interp(fine, SOC, b.down_v), "v": np.interp(fine, SOC, c.ocv_table_v)}
    curves = [svg.Curve("down", "slow discharge", "blue", "dash")]
    if b.up_v is not None:
        columns["up"] = np.interp(fine, SOC, b.up_v)
        curves.append(svg.Curve("up", "slow charge", "orange", "dash"))
    curves.append(svg.Curve("v", "OCV of the file", "truth"))
    if c.hysteresis_v.any():
        gap = np.interp(fine, SOC, c.hysteresis_v)
        columns |= {"low": columns["v"] - gap, "high": columns["v"] + gap}
        curves.append(svg.Curve("low", "between its branches", "truth", "band", "high"))
    at = np.full(len(fine), np.nan)
    for x in r.rests:
        if x.row_c == c.r_temp_c[r.fit.reference]:
            at[round(400 * float(np.clip(x.soc, 0, 1)))] = x.v
    columns["rest"] = at
    curves.append(svg.Curve("rest", "after rests", "trip"))
    out = _over_soc(
        svg.Panel(f"At {b.row_c:g} degC", "V", tuple(curves), height=300, digits=3), columns, fine
    )
    if len(c.r_temp_c) > 1:
        rows = {f"t{k}": 1e3 * np.interp(fine, SOC, row) for k, row in enumerate(c.ocv_off_v)}
        panel = svg.Panel("OCV by temperature, above that curve", "mV", _shades(r), digits=0)
        out += _over_soc(panel, rows, fine)
    return out


def _shades(r: Result) -> tuple[svg.Curve, ...]:
    n = len(SHADES)
    return tuple(
        svg.Curve(f"t{k}", f"{t:g} degC", SHADES[k % n], "line" if k < n else "dash")
        for k, t in enumerate(r.cell.r_temp_c)
    )


def _resistance(r: Result) -> str:
    names = ("R0", f"R1, {r.fit.tau_s[0]:g} s", f"R2, {r.fit.tau_s[1]:g} s")
    out = ""
    for name, table in zip(names, r.cell.r_ohm, strict=True):
        rows = {f"t{k}": 1e3 * row for k, row in enumerate(table)}
        out += _over_soc(svg.Panel(name, "mohm", _shades(r), height=170), rows, r.cell.r_soc)
    return out


def _file(r: Result, x: Load) -> str:
    t_s = x.record.t_s - x.record.t_s[0]
    v = predicted_v(r.cell, x)
    columns = {"t_s": t_s, "v": x.record.v, "fit": v, "error": 1e3 * (v - x.record.v)}
    window = svg.Window(0.0, float(t_s[-1]))
    volts = svg.Panel("Voltage", "V", (
        svg.Curve("fit", "fit", "orange"), svg.Curve("v", "measured", "blue"),
    ), digits=3)  # fmt: skip
    error = svg.Panel(
        "Fit less measured", "mV", (svg.Curve("error", "error", "trip"),), ((0.0, "0"),),
        (-ERROR_MV, ERROR_MV) if np.abs(columns["error"]).max() < ERROR_MV else None, 90, 0,
    )  # fmt: skip
    title = (
        f"{x.record.name}, {x.record.row_c:g} degC: {rms_mv(r.cell, [x]):.1f} mV RMS, "
        f"{rms_mv(r.cell, [x], CLIFF_SOC):.1f} above SoC {CLIFF_SOC:g}"
    )
    drawn = svg.panel(volts, columns, window) + svg.panel(error, columns, window)
    return (
        f'<details class="card"><summary>{escape(title)}</summary><div class="stack">{drawn}'
        f"{svg.axis(window)}</div></details>"
    )
