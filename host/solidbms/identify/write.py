"""The cell file: every block with its source, and in comments what the files could not tell."""

from __future__ import annotations

import math
import os
import textwrap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from solidbms.identify import estimator
from solidbms.identify.fit import SPAN_C
from solidbms.identify.job import CLIFF_SOC, Result
from solidbms.schema import BadInput, CellLimits

Array = NDArray[np.float64]

LEAST_V = 0.005  # no cycler and no rest is better
OCV_MV = 10.0  # at least, where no rest tells
STEEP_SOC = 0.2  # below, volts say little of OCV and a lot of SoC
NO_LIMITS = (
    "NOT KNOWN. Placeholders, from what the files show: put in the maker's numbers before this "
    "cell is used, charge limits first of all."
)


def cell_toml(r: Result) -> str:
    """Return the text of the cell file."""
    blocks = (_head, _capacity, _ocv, _resistance, _thermal, _limits, _accuracy, _filter)
    return "\n".join(block(r) for block in blocks)


def write_whole(texts: dict[Path, str]) -> None:
    """Write files so that each is there whole or as it was before; BadInput names the place."""
    made: list[Path] = []
    try:
        for path, text in texts.items():
            part = path.with_name(f".{path.name}.{os.getpid()}.part")
            made.append(part)
            part.write_text(text, encoding="utf-8")
        for path in texts:
            made[0].replace(path)
            made.pop(0)
    except OSError as error:
        raise BadInput(f"--out: {error.filename or ''}: {error.strerror}; a place you can write "
                       "to is valid") from None  # fmt: skip
    finally:
        for part in made:
            part.unlink(missing_ok=True)


def _head(r: Result) -> str:
    lines = ["# Made by `solidbms identify`: change that, or the files, not this."]
    lines += [_remark(f"{title.capitalize()}: {text}.") for title, text in r.notes.lines()]
    sources = list(r.sheet.sources) if r.sheet else ["measured: name the origin of the files here"]
    for kind, records in (("slow", r.data.slow), ("pulses and drives", r.data.loads)):
        sources += textwrap.wrap(f"{kind}: " + ", ".join(x.name for x in records), 90)
    cited = "".join(f"    {_text(s)},\n" for s in sources)
    lines += [f'name = "{r.name}"', f'chemistry = "{r.chemistry}"', f"sources = [\n{cited}]\n"]
    return "\n".join(lines)


def _capacity(r: Result) -> str:
    rows_c = sorted({float(b.row_c) for b in r.branches} | {float(c) for c in r.cell.r_temp_c})
    found = [(c, *r.usable_ah(c)) for c in rows_c]
    found = [row for row in found if row[1] > 0]
    b = r.branches[0]
    lines = [
        "[capacity]",
        _key(f"ah = {r.cell.capacity_ah:.3f}", f"slow discharge at {b.row_c:g} degC, "
             f"{b.down_a:.3f} A; what SoC counts in"),
        _remark("Most that one discharge from full took: " + ", ".join(
            f"{c:g} degC {source}" for c, _, source in found) + "."),
        f"temp_c = {_list(np.array([c for c, _, _ in found]), 0)}",
        f"usable_ah = {_list(np.array([ah for _, ah, _ in found]), 3)}\n",
    ]  # fmt: skip
    return "\n".join(lines)


def _ocv(r: Result) -> str:
    c, b = r.cell, r.branches[0]
    about = f"{r.ocv.at_c:g} degC: "
    about += "slow discharge less its drop over R" if b.up_v is None else (
        f"mean of slow discharge and charge, the charge ({b.back_ah:.3f} Ah) scaled to its own "
        "length"
    )  # fmt: skip
    moved_mv = 1e3 * r.fit.d_at(r.ocv.at_c)
    about += f", moved by what the loads showed ({moved_mv.min():.0f} to {moved_mv.max():.0f} mV)."
    lines = [_remark(about)]
    if c.hysteresis_v.any():
        lines.append(_remark(
            "Hysteresis: half the distance of the slow branches, less the drop over R; the loads "
            f"moved the discharge branch. From branch to branch over {100 * c.hysteresis_soc:g} % "
            "SoC fits the loads best."))  # fmt: skip
    lines += ["[ocv]", f"soc = {_list(c.ocv_soc, 3)}", f"v = {_list(c.ocv_table_v, 4)}"]
    if c.hysteresis_v.any():
        lines += [f"hysteresis_v = {_list(c.hysteresis_v, 4)}",
                  f"hysteresis_soc = {c.hysteresis_soc:g}"]  # fmt: skip
    if len(c.r_temp_c) > 1:
        lines += [
            _remark("What OCV lies above that at resistance.temp_c, on this counter."
                    + _rests_off(r)),
            f"off_v = {_list(c.ocv_off_v, 4)}",
        ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _rests_off(r: Result) -> str:
    """How far rests lie from OCV, by temperature."""
    texts = []
    for row_c in r.cell.r_temp_c:
        off = [x.v - float(r.cell.ocv_v(x.soc, row_c, x.way)) for x in r.rests if x.row_c == row_c]
        if off:
            texts.append(f"{row_c:g} degC {1e3 * min(off):.0f} to {1e3 * max(off):.0f}")
    return f" Rests lie above it by, mV: {', '.join(texts)}." if texts else ""


def _resistance(r: Result) -> str:
    c, fit = r.cell, r.fit
    lines = [
        _remark(
            "Least squares on pulses and drives, rows weighed by load, time constants by search. "
            f"Rows {SPAN_C:g} K off their temperature are left out. Where the cold ends a "
            "discharge early, R at low SoC follows the shape at the reference."
        ),
        "[resistance]",
        f"soc = {_list(c.r_soc, 2)}",
        f"temp_c = {_list(c.r_temp_c, 0)}",
        *(f"r{k}_ohm = {_list(rows, 5)}" for k, rows in enumerate(c.r_ohm)),
        f"tau1_s = {fit.tau_s[0]}",
        f"tau2_s = {fit.tau_s[1]}",
    ]
    source = "Ea/R, fitted over all temperatures at SoC 0.3 to 0.9"
    if len(fit.temp_c) == 1:
        source = "assumed: one temperature tells no law"
    lines += [
        _key(f"activation_r0_k = {c.activation_k[0]:.0f}", source),
        _key(f"activation_rc_k = {c.activation_k[1]:.0f}", "the same for R1 + R2"),
    ]
    if c.sag_v.any():
        lines += [
            _remark("A slow loss under load that hardly grows with the current, and that a rest "
                    "gives back; current and lag are set, not fitted."),
            f"sag_v = {_list(c.sag_v, 4)}",
            f"sag_a = {c.sag_a:g}",
            f"sag_tau_s = {c.sag_tau_s:g}",
        ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _thermal(r: Result) -> str:
    lines = []
    if r.heat:
        lines.append(_remark(
            f"The drives themselves fit {r.heat[0]:.0f} J/K and {r.heat[1]:.2f} W/K: with "
            "holder and leads, in a chamber whose air moves; here stands the cell by itself.",
        ))  # fmt: skip
    by_size = "assumed, from energy: weigh the cell, x 1050 J/kgK"
    capacity = r.sheet.heat_capacity_j_per_k[1] if r.sheet else by_size
    loss = r.sheet.to_ambient_w_per_k[1] if r.sheet else "assumed: still air around a cylinder"
    return "\n".join([
        *lines,
        "[thermal]",
        _key(f"heat_capacity_j_per_k = {r.cell.heat_capacity_j_per_k:.1f}", capacity),
        _key(f"to_ambient_w_per_k = {r.cell.to_ambient_w_per_k:.3g}", loss) + "\n",
    ])  # fmt: skip


def _limits(r: Result) -> str:
    if r.sheet:
        limits, remarks, about = r.sheet.limits, r.sheet.remarks, "From the maker's data sheet."
    else:
        limits, remarks, about = _shown(r), {}, NO_LIMITS
    lines = [_remark(about), "[limits]"]
    for key, value in limits.model_dump(exclude_defaults=True).items():
        lines.append(_key(f"{key} = {_toml(value)}", remarks.get(key, "")))
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value)


def _shown(r: Result) -> CellLimits:
    """Limits no wider than what the files show; charge at C/10 and in the warm."""
    records = [*r.data.slow, *r.data.loads]
    temp_c = np.concatenate([x.temp_c for x in records])
    return CellLimits(
        v_max=round(max(float(x.v.max()) for x in r.data.slow), 2),
        v_min=round(min(float(x.v.min()) for x in r.data.slow), 2),
        charge_a_max=round(r.cell.capacity_ah / 10, 3),
        discharge_a_max=round(max(-float(x.mean_a.min()) for x in records), 2),
        charge_temp_min_c=10.0,
        charge_temp_max_c=40.0,
        discharge_temp_min_c=float(math.ceil(min(10.0, temp_c.min()))),
        discharge_temp_max_c=float(math.floor(max(40.0, temp_c.max()))),
        placeholders=True,
    )


def _accuracy(r: Result) -> str:
    c = r.cell
    ocv_mv, by_temp_mv, about = _ocv_error_mv(r)
    residual = np.array([max(r.residual_mv(float(t)), 0.1) for t in c.r_temp_c])
    lines = ["[accuracy]", _key(f"ocv_mv = {ocv_mv}", about)]
    if len(c.r_temp_c) > 1:
        lines.append(_key(f"ocv_by_temp_mv = {by_temp_mv}", "the same, off_v added"))
    lines += [
        _remark(f"Voltage of this file against the files it was made from, RMS while current "
                f"flows above SoC {CLIFF_SOC:g}. Other loads come out worse: keep a drive back to "
                "see."),
        f"temp_c = {_list(c.r_temp_c, 0)}",
        f"residual_mv = {_list(residual, 1)}\n",
    ]  # fmt: skip
    return "\n".join(lines)


def _filter(r: Result) -> str:
    t = r.tables
    about = (
        "What the estimator in the firmware works with. It has no slow loss (sag) to take off and "
        "must not take one for SoC: this fit of the same circuit to the same files has lags that "
        "carry over to other loads and an OCV of its own at every temperature. residual_mv: what "
        "it leaves under load, a quarter added for loads that it has not seen. ocv_error_mv: "
    )
    has_gap = bool(r.ocv.half_gap_v.any())
    parts = ["RMS of rests"] if t.rests else []
    parts += ["RMS of half the distance of the branches"] if has_gap else []
    minutes = f"{estimator.REST_S / 60:.0f} min"
    about += " and ".join(parts) or f"assumed, as no rest of {minutes} after a discharge tells it"
    beyond = [c for c in t.temp_c if not t.known_c[0] <= c <= t.known_c[-1]]
    if beyond:
        named = " and ".join(f"{c:g}" for c in beyond)
        about += (f"; both grow with the distance at {named} degC, where there are slow tests "
                  "alone")  # fmt: skip
    lines = [
        _remark(about + "."),
        "[filter]",
        f"temp_c = {_list(t.temp_c, 0)}",
        f"soc = {_list(estimator.R_SOC, 2)}",
        *(f"r{k}_ohm = {_list(rows, 5)}" for k, rows in enumerate(t.r_ohm)),
        f"tau1_s = {estimator.TAU_S[0]}",
        f"tau2_s = {estimator.TAU_S[1]}",
        f"ocv_soc = {_list(estimator.OCV_SOC, 3)}",
        f"ocv_v = {_list(t.ocv_v, 4)}",
        f"residual_mv = {_list(t.residual_mv, 1)}",
        f"ocv_error_mv = {_list(t.ocv_error_mv, 1)}\n",
    ]
    return "\n".join(lines)


def _ocv_error_mv(r: Result) -> tuple[int, int, str]:
    """How far a rested cell may be from OCV at 25 degC, and from OCV at its temperature."""
    c = r.cell
    gap = 0.0
    if c.hysteresis_v.any():
        inner = (c.ocv_soc > CLIFF_SOC) & (c.ocv_soc < 1 - CLIFF_SOC)
        gap = float(c.hysteresis_v[inner].max())
    told = [x for x in r.rests if x.soc > STEEP_SOC]
    if told:
        plain = max(abs(x.v - float(c.ocv_v(x.soc, r.ocv.at_c, x.way))) for x in told)
        by_temp = max(abs(x.v - float(c.ocv_v(x.soc, x.row_c, x.way))) for x in told)
        plain, by_temp = 1.1 * plain, 1.1 * by_temp
        about = f"the furthest of {len(told)} rests above SoC {STEEP_SOC:g}, and a tenth"
    else:
        by_temp = max(OCV_MV, 2 * r.residual_mv(float(c.r_temp_c[r.fit.reference]))) / 1e3
        plain = by_temp + float(np.abs(c.ocv_off_v[:, c.ocv_soc > STEEP_SOC]).max())
        about = "no rest of half an hour to tell: twice the residual, and off_v"
    if gap:
        about += "; either branch"
    plain, by_temp = max(plain, LEAST_V), max(by_temp, LEAST_V)
    return math.ceil(1e3 * (plain + gap)), math.ceil(1e3 * (by_temp + gap)), about


def _key(text: str, remark: str) -> str:
    return f"{text:<31} # {remark}" if remark else text


def _remark(text: str) -> str:
    return textwrap.fill(text, 98, initial_indent="# ", subsequent_indent="# ")


def _text(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _list(values: Array, digits: int) -> str:
    """A TOML array, wrapped; rows of a two-dimensional one on lines of their own."""
    if values.ndim == 2:
        rows = "".join(f"{_list(row, digits)},\n" for row in values)
        return "[\n" + textwrap.indent(rows, "    ") + "]"
    text = ", ".join(f"{x + 0.0:.{digits}f}" for x in values)
    text = text.replace(f"-{0:.{digits}f}", f"{0:.{digits}f}")
    if len(text) < 92:
        return f"[{text}]"
    return "[\n" + textwrap.indent(textwrap.fill(text + ",", 91), "    ") + "\n]"
