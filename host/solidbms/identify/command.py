"""`solidbms identify`: check what was asked, identify, write, say what came out."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from solidbms.identify.job import CLIFF_SOC, Result, Tell, identify
from solidbms.identify.plot import page
from solidbms.identify.reading import Options
from solidbms.identify.write import cell_toml, write_whole
from solidbms.measured import VALID
from solidbms.schema import BadInput, CellFile, Name, check, shown


def run(files: list[Path], name: str, out: Path, options: Options, tell: Tell) -> None:
    """Make `out` and the page beside it; BadInput for what cannot be used."""
    _asked(files, name, out, options)
    result = identify(files, name, options, tell)
    text = cell_toml(result)
    check(CellFile, tomllib.loads(text), out)
    plots = out.with_suffix(".html")
    write_whole({plots: page(result), out: text})
    _told(result, tell)
    tell(f"cell file: {shown(out)}")
    tell(f"fit against data: {shown(plots)}")


def _asked(files: list[Path], name: str, out: Path, options: Options) -> None:
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        raise BadInput(f"--name: letters, digits, _ . - are valid, not {name!r}") from None
    if out.suffix != ".toml":
        raise BadInput(f"{shown(out)}: --out: a name that ends in .toml is valid")
    if not out.resolve().parent.is_dir():
        raise BadInput(f"{shown(out)}: --out: no such directory; one that is there is valid")
    if out.is_dir() or out.resolve() in {p.resolve() for p in files}:
        raise BadInput(f"{shown(out)}: --out: would be overwritten; another name is valid")
    low, high = VALID["temp_C"]
    if options.temp_c is not None and not low <= options.temp_c <= high:
        raise BadInput(f"--temp-c: {low:g} to {high:g} is valid, not {options.temp_c:g}")


def _told(r: Result, tell: Tell) -> None:
    for title, text in r.notes.lines():
        tell(f"{title}: {text}")
    if r.sheet is None:
        tell("not known: limits; the file has placeholders, put in those of the data sheet")
    tell(
        f"{r.cell.capacity_ah:.3f} Ah; time constants {r.fit.tau_s[0]:g} and "
        f"{r.fit.tau_s[1]:g} s; Ea/R {r.cell.activation_k[0]:.0f} K (R0), "
        f"{r.cell.activation_k[1]:.0f} K (R1 + R2)"
    )
    for temp_c in r.cell.r_temp_c:
        tell(
            f"  {temp_c:4.0f} degC: {r.residual_mv(float(temp_c)):5.1f} mV RMS under load above "
            f"SoC {CLIFF_SOC:g}, {r.usable_ah(float(temp_c))[0]:.3f} Ah usable"
        )
