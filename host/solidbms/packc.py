"""The pack compiler: pack and cell TOML to the blob of integers that every target loads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bms.core import plausible, rules

from solidbms import ledger, watch
from solidbms.fronts import front
from solidbms.packblob import blob_of, rising
from solidbms.packrules import Rule, check_order, check_sense, rules_of, unit_of
from solidbms.schema import (
    BOARDS,
    BadInput,
    CellFile,
    PackFile,
    check,
    find,
    read_toml,
    refer,
    shown,
)

DEAD_MAN_MS = 150  # gates fall this long after the last feed, and stay open until armed again
SECOND_TIER_V = 0.05  # how far past the cell's end voltage the cut behind cell_ov may lie,
SECOND_TIER = 1.25  # and past its currents those behind charge_oc and dsg_oc, acting sooner


@dataclass(frozen=True)
class Compiled:
    """A checked pack: its files, its rules, and the blob."""

    file: PackFile
    cell: CellFile
    rules: list[Rule]
    blob: bytes


def load(name: str, cell: str | None = None) -> tuple[PackFile, CellFile, Path]:
    """Return pack and cell of a name or path, `base` merged in; BadInput for a bad file.

    cell: in place of the pack's own.
    """
    path = find(name, BOARDS / "packs")
    data = _merged(path, ())
    if cell is not None:
        data["cell"] = cell
    try:
        file = check(PackFile, data, path)
    except BadInput as error:
        # The rules have their own check; a user wants all errors at once.
        found: list[str] = []
        given = data.get("rules")
        given = given if isinstance(given, dict) else {}
        named = tuple(row for row in rules.ROWS if row[rules.ID] in given)
        rules_of(given, 0, lambda signal: 0, found, named)
        raise BadInput("\n".join([str(error), *(f"{shown(path)}: {e}" for e in found)])) from None
    where = "--cell" if cell else f"{shown(path)}: cell"
    cell_path = refer(file.cell, BOARDS / "cells", where)
    return file, check(CellFile, read_toml(cell_path), cell_path), path


def compile_pack(name: str, cell: str | None = None, capacity_factor: float = 1.0) -> Compiled:
    """Compile a pack; BadInput lists every error of its files.

    cell: in place of the pack's own, whose limits then only report (replay). capacity_factor: what
    the firmware believes of the cell's capacity.
    """
    file, cell_file, path = load(name, cell)
    compiled, errors = examine(file, cell_file, capacity_factor, reports=cell is not None)
    if errors:
        raise BadInput("\n".join(f"{shown(path)}: {line}" for line in errors))
    return compiled


def examine(
    file: PackFile, cell: CellFile, capacity_factor: float = 1.0, reports: bool = False
) -> tuple[Compiled, list[str]]:
    """Return what a pack compiles to and every error as `key: what would be valid`.

    With errors the blob is empty and `rules` holds the sound ones.
    reports: its gates only report, so its limits need not suit the cell.
    """
    errors: list[str] = []
    chip = front(file)
    needed, given = _needed(file, errors, reports)
    pack_rules = rules_of(given, file.tick_ms, lambda k: _age_ms(k, file), errors, needed)
    _check_cell(cell, errors)
    if not reports:
        _check_limits(pack_rules, file, cell, errors)
        _check_announced(pack_rules, file, errors)
    check_sense(pack_rules, errors)
    check_order(pack_rules, errors)
    _check_ranges(pack_rules, file, errors)
    errors += chip.errors(pack_rules, file)
    errors += ledger.errors(file)
    compiled = Compiled(file, cell, pack_rules, b"")
    if not errors:
        blob = blob_of(file, cell, pack_rules, capacity_factor, reports, errors)
        compiled = Compiled(file, cell, pack_rules, blob)
    return compiled, errors


def _merged(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    data = read_toml(path)
    base = data.pop("base", None)
    if base is None:
        return data
    if not isinstance(base, str) or path.resolve() in seen:
        raise BadInput(f"{shown(path)}: base: name one pack that is not based on this one")
    parent = refer(base, BOARDS / "packs", f"{shown(path)}: base")
    return _overlay(_merged(parent, (*seen, path.resolve())), data)


def _overlay(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    if under.get("chip") != over.get("chip", under.get("chip")):
        return over  # another front end: nothing of the old one's keys
    merged = dict(under)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(under.get(key), dict)
        merged[key] = _overlay(under[key], value) if both else value
    return merged


def _needed(
    file: PackFile, errors: list[str], reports: bool
) -> tuple[tuple[tuple[Any, ...], ...], dict[str, Any]]:
    """Return the rows that this pack must have, and its `[rules]` without the others."""
    reasons = {row[rules.ID]: watch.absent(row, file, reports) for row in rules.ROWS}
    for name in file.rules:
        if reasons.get(name) and not reports:
            errors.append(f"rules.{name}: not valid here: {reasons[name]}")
    given = {name: table for name, table in file.rules.items() if not reasons.get(name)}
    return tuple(row for row in rules.ROWS if not reasons[row[rules.ID]]), given


def _age_ms(signal: int, file: PackFile) -> int:
    """Return the age of a signal: of its readings, and a tick more for one made in the slack."""
    if signal == plausible.OVERRUN_MS and file.parts.dead_man:
        return 2 * (DEAD_MAN_MS - file.tick_ms)  # its own two ticks come late, less than that
    age_ms = front(file).age_ms(signal, file)
    return age_ms + file.tick_ms if plausible.slack_signal(signal) else age_ms


def _check_cell(cell: CellFile, errors: list[str]) -> None:
    where = f"cell {cell.name}"
    soc, v = cell.ocv.soc, cell.ocv.v
    if len(soc) < 2 or len(soc) != len(v):
        errors.append(f"{where}: ocv: soc and v of the same length, 2 or more, are valid")
    elif soc[0] != 0 or soc[-1] != 1 or not rising(soc, 0) or not rising(v, 1e-4):
        errors.append(f"{where}: ocv: soc from 0 to 1 and v rising by 0.1 mV or more are valid")
    if not all(0 <= x <= 10 for x in v):
        errors.append(f"{where}: ocv: v from 0 to 10 is valid")
    table = cell.resistance
    for key in ("r0_ohm", "r1_ohm", "r2_ohm"):
        grid = getattr(table, key)
        if len(grid) != len(table.temp_c) or any(len(r) != len(table.soc) for r in grid):
            errors.append(f"{where}: resistance.{key}: a row a temp_c, a column a soc is valid")
    if not rising(table.temp_c, 0) or not rising(table.soc, 0):
        errors.append(f"{where}: resistance: rising temp_c and soc are valid")
    if cell.filter and (cell.filter.ocv_soc[0] != 0 or cell.filter.ocv_soc[-1] != 1):
        errors.append(f"{where}: filter.ocv_soc: from 0 to 1 is valid")
    if cell.limits.v_min >= cell.limits.v_max:
        errors.append(f"{where}: limits.v_min: below v_max is valid")


def _check_limits(
    pack_rules: list[Rule], file: PackFile, cell: CellFile, errors: list[str]
) -> None:
    """Hold every trip against the data sheet of the cell."""
    c = cell.limits
    outer = {  # (signal, watches the charge path) -> the cell's own limit
        (plausible.CELL_MAX_UV, True): c.v_max,
        (plausible.CELL_MIN_UV, False): c.v_min,
        (plausible.CHARGE_UA, True): c.charge_a_max,
        (plausible.DISCHARGE_UA, False): c.discharge_a_max,
        (plausible.TEMP_MAX_MDEGC, True): c.charge_temp_max_c,
        (plausible.TEMP_MAX_MDEGC, False): c.discharge_temp_max_c,
        (plausible.HOT_MDEGC, False): c.discharge_temp_max_c,
        (plausible.PACK_UV, True): c.v_max * file.cells_in_series,
        (plausible.PACK_UV, False): c.v_min * file.cells_in_series,
        (plausible.TEMP_MIN_MDEGC, True): c.charge_temp_min_c,
        (plausible.TEMP_MIN_MDEGC, False): c.discharge_temp_min_c,
    }
    for rule in pack_rules:
        row = rule.row
        allowed = outer.get((row[rules.SIGNAL], row[rules.PATH] == rules.CHARGE))
        if allowed is None or row[rules.LEVEL] != rules.TRIP:
            continue
        if rule.id == "cell_ov_cut":
            allowed += SECOND_TIER_V
        elif rule.id.endswith("_oc_cut"):
            allowed *= SECOND_TIER
        suffix, factor = unit_of(row)
        if (rule.limit - round(allowed * factor)) * row[rules.SIDE] > 0:
            word = "up to" if row[rules.SIDE] > 0 else "from"
            errors.append(
                f"rules.{rule.id}.limit{suffix}: {word} {allowed:g} is valid for cell "
                f"{cell.name}, not {rule.limit / factor:g}"
            )
    by_id = {rule.id: rule for rule in pack_rules}
    for name, highest, why in ledger.tightened(file, c.model_dump()):
        if name not in by_id:
            continue
        suffix, factor = unit_of(by_id[name].row)
        if by_id[name].limit > round(highest * factor):
            errors.append(f"rules.{name}.limit{suffix}: up to {highest:g} is valid: {why}, as "
                          "this bench pack has no answer to a welded FET")  # fmt: skip
    for key in ("charge_a_max", "discharge_a_max"):
        if getattr(file, key) > getattr(c, key):
            errors.append(f"{key}: up to {getattr(c, key):g} is valid for cell {cell.name}")


def _check_announced(pack_rules: list[Rule], file: PackFile, errors: list[str]) -> None:
    """A load that keeps to the announced limits must not trip, its sensor's error included."""
    by_id = {rule.id: rule for rule in pack_rules}
    for key, name in (("charge_a_max", "charge_oc"), ("discharge_a_max", "dsg_oc")):
        if name not in by_id:
            continue
        limit_a = by_id[name].limit * 1e-6
        highest = (limit_a - file.soc.offset_error_a) / (1 + file.soc.gain_error_pct / 100)
        if getattr(file, key) >= highest:
            errors.append(f"{key}: below {highest:.4g} is valid: with the current sensor's error "
                          f"it must stay under rules.{name}.limit_a {limit_a:g}")  # fmt: skip


def _check_ranges(pack_rules: list[Rule], file: PackFile, errors: list[str]) -> None:
    for rule in pack_rules:
        if rule.signal.endswith("mdegc") and not -40000 <= rule.limit <= 120000:
            errors.append(f"rules.{rule.id}.limit_c: -40 to 120 is valid, where the sensor reads")
    for key in ("charge", "discharge"):
        if not all(-60 <= t <= 150 and 0 <= f <= 1 for t, f in getattr(file.derating, key)):
            errors.append(f"derating.{key}: degC from -60 to 150 and shares from 0 to 1 are valid")


