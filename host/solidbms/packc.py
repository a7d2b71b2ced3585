"""The pack compiler: pack and cell TOML to the blob of integers that every target loads."""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from zlib import crc32

from bms.core import pack as blob_layout
from bms.core import plausible, rules
from bms.core.fixed import DY_MAX

from solidbms import celltables, ledger, watch
from solidbms.fronts import UNUSED, front
from solidbms.plant import ntc
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

# What a key of `[rules.ID]` is called and scaled by, from the unit of the rule's signal.
UNITS = {"uv": ("_v", 1e6), "ua": ("_a", 1e6), "mdegc": ("_c", 1e3), "ms": ("_s", 1e3),
         "ppm": ("_pct", 1e4), "udegps": ("_k_per_s", 1e6)}  # fmt: skip
COUNT = ("_count", 1.0)
DEAD_MAN_MS = 150  # gates fall this long after the last feed, and stay open until armed again
SENSE_MAX_MS = 60000  # limits on lost, frozen or late: within a minute
CHARGE_MAX_MS = 86400000  # a charge: within a day
ODD_STEPS_MAX = 15
SECOND_TIER_V = 0.05  # how far past the cell's end voltage the cut behind cell_ov may lie,
SECOND_TIER = 1.25  # and past its currents those behind charge_oc and dsg_oc, acting sooner
KELVIN = 273.15
ADC_TEMPS_C = range(-45, 126, 5)
DCIR_TEMPS_C = range(-40, 81, 10)
TABLE_KEYS = {  # where a table of the blob comes from
    "dcir_uohm": "cell: resistance",
    "polar_uohm": "cell: resistance",
    "r1s_uohm": "cell: resistance",
    "r10s_uohm": "cell: resistance",
    "charge_derate_ppm": "derating.charge",
    "discharge_derate_ppm": "derating.discharge",
    "usable_ppm": "cell: capacity",
    "ntc_mdegc": "thermistor",
}
Age = Callable[[int], int]  # of a signal, in ms


@dataclass(frozen=True)
class Rule:
    """One row with the pack's numbers, in firmware units."""

    id: str
    row: tuple[Any, ...]
    limit: int
    release: int
    delay_ms: int
    shed_ms: int
    react_ms: int | None
    age_ms: int

    @property
    def signal(self) -> str:
        """Name of the watched signal."""
        return plausible.FIELDS[self.row[rules.SIGNAL]]

    def promise_ms(self, tick_ms: int) -> int:
        """Worst case from the crossing to the gate: age + delay + shed + 2 ticks."""
        return self.age_ms + self.delay_ms + self.shed_ms + 2 * tick_ms


@dataclass(frozen=True)
class Compiled:
    """A checked pack: its files, its rules, and the blob."""

    file: PackFile
    cell: CellFile
    rules: list[Rule]
    blob: bytes


def unit_of(row: tuple[Any, ...]) -> tuple[str, float]:
    """Return (key suffix, factor to firmware units) for the signal of a row."""
    name = plausible.FIELDS[row[rules.SIGNAL]]
    return UNITS.get(name.rsplit("_", 1)[-1], COUNT)


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
        _rules(given, 0, lambda signal: 0, found, named)
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
    pack_rules = _rules(given, file.tick_ms, lambda k: _age_ms(k, file), errors, needed)
    _check_cell(cell, errors)
    if not reports:
        _check_limits(pack_rules, file, cell, errors)
        _check_announced(pack_rules, file, errors)
    _check_sense(pack_rules, errors)
    _check_order(pack_rules, errors)
    _check_ranges(pack_rules, file, errors)
    errors += chip.errors(pack_rules, file)
    errors += ledger.errors(file)
    compiled = Compiled(file, cell, pack_rules, b"")
    if not errors:
        blob = _blob(file, cell, pack_rules, capacity_factor, reports, errors)
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


def _rules(
    tables: Any,
    tick_ms: int,
    age_ms: Age,
    errors: list[str],
    rows: tuple[tuple[Any, ...], ...] = rules.ROWS,
) -> list[Rule]:
    """Return the sound rules of a pack's `[rules]`; what the schema refuses is left out."""
    if not isinstance(tables, dict):
        return []
    known = [row[rules.ID] for row in rules.ROWS]
    for name in sorted(set(tables) - set(known)):
        errors.append(f"rules.{name}: no such rule; there are: {', '.join(known)}")
    found = []
    for row in rows:
        given = tables.get(row[rules.ID], {})
        if isinstance(given, dict):
            before = len(errors)
            rule = _rule(row, given, tick_ms, age_ms(row[rules.SIGNAL]), errors)
            if len(errors) == before:
                found.append(rule)
    return found


def _rule(
    row: tuple[Any, ...], given: dict[str, Any], tick_ms: int, age_ms: int, errors: list[str]
) -> Rule:
    name = row[rules.ID]
    before = len(errors)
    suffix, factor = unit_of(row)
    keys = {"limit" + suffix: factor, "release" + suffix: factor, "delay_s": 1e3}
    if row[rules.SHED] == rules.SHEDS:
        keys["shed_s"] = 1e3
    for key in given:
        if key not in keys and key != "react_s":
            valid = ", ".join([*keys, "react_s"])
            errors.append(f"rules.{name}.{key}: unknown key; valid here: {valid}")
    values = []
    for key, scale in keys.items():
        value = given.get(key)
        if value is None:
            errors.append(f"rules.{name}.{key}: missing")
        elif isinstance(value, bool) or not isinstance(value, int | float):
            errors.append(f"rules.{name}.{key}: a number is valid, not {value!r}")
        elif not math.isfinite(value) or abs(value * scale) >= 1e9:
            errors.append(f"rules.{name}.{key}: below {1e9 / scale:g} is valid, not {value!r}")
        elif key.endswith("_s") and value < 0:
            errors.append(f"rules.{name}.{key}: 0 or more is valid, not {value!r}")
        else:
            values.append(round(value * scale))
            continue
        values.append(0)
    limit, release, delay_ms, *shed = values
    if len(errors) == before and (limit - release) * row[rules.SIDE] < 0:
        word = "at or below" if row[rules.SIDE] > 0 else "at or above"
        errors.append(
            f"rules.{name}.release{suffix}: {word} its limit {limit / factor:g} is valid, "
            f"not {release / factor:g}"
        )
    for key, value in (("delay_s", delay_ms), ("shed_s", shed[0] if shed else 0)):
        if value > 600000:
            errors.append(f"rules.{name}.{key}: 0 to 600 is valid, not {value / 1e3:g}")
    react = given.get("react_s")
    if react is not None and (isinstance(react, bool) or not isinstance(react, int | float)):
        errors.append(f"rules.{name}.react_s: a number is valid, not {react!r}")
        react = None
    rule = Rule(name, row, limit, release, delay_ms, shed[0] if shed else 0,
                None if react is None else round(react * 1e3), age_ms)  # fmt: skip
    promise = rule.promise_ms(tick_ms)
    if rule.react_ms is not None and promise > rule.react_ms:
        errors.append(
            f"rules.{name}.react_s: loop and chip can promise {promise / 1e3:g} or more "
            f"(age {age_ms} ms + delay + shed + 2 ticks), not {react}"
        )
    return rule


def _check_cell(cell: CellFile, errors: list[str]) -> None:
    where = f"cell {cell.name}"
    soc, v = cell.ocv.soc, cell.ocv.v
    if len(soc) < 2 or len(soc) != len(v):
        errors.append(f"{where}: ocv: soc and v of the same length, 2 or more, are valid")
    elif soc[0] != 0 or soc[-1] != 1 or not _rising(soc, 0) or not _rising(v, 1e-4):
        errors.append(f"{where}: ocv: soc from 0 to 1 and v rising by 0.1 mV or more are valid")
    if not all(0 <= x <= 10 for x in v):
        errors.append(f"{where}: ocv: v from 0 to 10 is valid")
    table = cell.resistance
    for key in ("r0_ohm", "r1_ohm", "r2_ohm"):
        grid = getattr(table, key)
        if len(grid) != len(table.temp_c) or any(len(r) != len(table.soc) for r in grid):
            errors.append(f"{where}: resistance.{key}: a row a temp_c, a column a soc is valid")
    if not _rising(table.temp_c, 0) or not _rising(table.soc, 0):
        errors.append(f"{where}: resistance: rising temp_c and soc are valid")
    if cell.filter and (cell.filter.ocv_soc[0] != 0 or cell.filter.ocv_soc[-1] != 1):
        errors.append(f"{where}: filter.ocv_soc: from 0 to 1 is valid")
    if cell.limits.v_min >= cell.limits.v_max:
        errors.append(f"{where}: limits.v_min: below v_max is valid")


def _rising(values: list[float], step: float) -> bool:
    return all(b - a > step for a, b in pairwise(values))


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


def _check_sense(pack_rules: list[Rule], errors: list[str]) -> None:
    """What could never trip is an error."""
    for rule in pack_rules:
        suffix, factor = unit_of(rule.row)
        signal = rule.row[rules.SIGNAL]
        most = CHARGE_MAX_MS if signal == plausible.CHARGE_TIME_MS else SENSE_MAX_MS
        if suffix == "_s" and not 0 <= rule.limit <= most:
            errors.append(f"rules.{rule.id}.limit_s: 0 to {most // 1000} is valid, "
                          f"not {rule.limit / factor:g}")  # fmt: skip
        most = ODD_STEPS_MAX if signal == plausible.ODD_STEPS else 0
        if suffix == "_count" and not 0 <= rule.limit <= most:
            valid = f"0 to {most}" if most else "0"
            errors.append(f"rules.{rule.id}.limit_count: {valid} is valid, not {rule.limit}")


def _check_order(pack_rules: list[Rule], errors: list[str]) -> None:
    """A note comes before a warning, that before a trip, and that before its cut."""
    for soft in pack_rules:
        suffix, factor = unit_of(soft.row)
        side = soft.row[rules.SIDE]
        level = ("note", "warning", "trip", "cut")[soft.row[rules.LEVEL]]
        for hard in _later(soft, pack_rules):
            past = (soft.limit - hard.limit) * side
            if not past and hard.row[rules.LEVEL] == rules.BURN:
                continue  # its delay comes after the trip's
            if soft.row[rules.LEVEL] < hard.row[rules.LEVEL] and past >= 0:
                errors.append(f"rules.{soft.id}.limit{suffix}: {'below' if side > 0 else 'above'} "
                              f"rules.{hard.id} at {hard.limit / factor:g} is valid: the {level} "
                              f"comes first, not {soft.limit / factor:g}")  # fmt: skip
            elif soft.row[rules.LEVEL] == hard.row[rules.LEVEL] and past >= 0:
                errors.append(f"rules.{hard.id}.limit{suffix}: beyond rules.{soft.id} at "
                              f"{soft.limit / factor:g} is valid: the cut comes "
                              "later")  # fmt: skip


def _later(soft: Rule, pack_rules: list[Rule]) -> list[Rule]:
    """Return the rules of this one's signal and side that must come after it.

    A row of both paths is not held against one of a single path, where it has one of both.
    """
    row = soft.row
    same = [r for r in pack_rules if all(r.row[k] == row[k] for k in (rules.SIGNAL, rules.SIDE))]
    higher = [r for r in same if r.row[rules.LEVEL] > row[rules.LEVEL]]
    path = row[rules.PATH]
    higher = [r for r in higher if r.row[rules.PATH] & path == path] or higher
    sheds = row[rules.LEVEL] == rules.TRIP and row[rules.SHED] == rules.SHEDS
    return higher + [
        r for r in same
        if r.row[rules.LEVEL] == row[rules.LEVEL] and r.row[rules.PATH] & path
        and (r.id == f"{soft.id}_cut"
             or (sheds and r.row[rules.SHED] == rules.CUT and r.row[rules.PATH] & rules.DISCHARGE))
    ]  # fmt: skip


def _check_ranges(pack_rules: list[Rule], file: PackFile, errors: list[str]) -> None:
    for rule in pack_rules:
        if rule.signal.endswith("mdegc") and not -40000 <= rule.limit <= 120000:
            errors.append(f"rules.{rule.id}.limit_c: -40 to 120 is valid, where the sensor reads")
    for key in ("charge", "discharge"):
        if not all(-60 <= t <= 150 and 0 <= f <= 1 for t, f in getattr(file.derating, key)):
            errors.append(f"derating.{key}: degC from -60 to 150 and shares from 0 to 1 are valid")


def _blob(
    file: PackFile,
    cell: CellFile,
    pack_rules: list[Rule],
    capacity_factor: float,
    reports: bool,
    errors: list[str],
) -> bytes:
    fields = _fields(file, cell, capacity_factor, reports) | watch.fields(file, cell, pack_rules)
    tables = _tables(file, cell)
    for name, (xs, ys) in tables.items():
        if not _rising(xs, 0):
            errors.append(f"{TABLE_KEYS[name]}: rising steps are valid")
        if any(abs(b - a) > DY_MAX for a, b in pairwise(ys)):
            errors.append(
                f"{TABLE_KEYS[name]}: steps of at most {DY_MAX} {name.rsplit('_', 1)[-1]} "
                "between neighbours are valid"
            )
    words = [fields[name] for name in blob_layout.FIELDS]
    by_id = {rule.id: rule for rule in pack_rules}
    for row in rules.ROWS:
        rule = by_id.get(row[rules.ID])
        if rule is None:  # a row that this pack does without: out of reach
            off = row[rules.SIDE] * rules.OFF
            words += [off, off, 0, 0]
        else:
            words += [rule.limit, rule.release, rule.delay_ms, rule.shed_ms]
    flat = {name: [*(round(x) for x in xs), *(round(y) for y in ys)]
            for name, (xs, ys) in tables.items()}  # fmt: skip
    flat |= front(file).tables(file) | celltables.tables(cell, file.soc.ocv_error_mv)
    for name in blob_layout.TABLES:
        words += [len(flat.get(name, [])), *flat.get(name, [])]
    if any(abs(word) >= 1 << 30 for word in words):
        errors.append("a number of this pack does not fit 31 bits")
        return b""
    body = blob_layout.MAGIC + array("i", [blob_layout.VERSION, len(words), *words]).tobytes()
    return body + struct.pack("<I", crc32(body))


def _fields(
    file: PackFile, cell: CellFile, capacity_factor: float, reports: bool
) -> dict[str, int]:
    ah = cell.capacity.ah * capacity_factor
    tau1_ms, tau2_ms = celltables.taus_ms(cell)
    chip = front(file)
    return {
        "rows": len(rules.ROWS),
        "cells": file.cells_in_series,
        "temps": file.thermistor.count,
        "tick_ms": file.tick_ms,
        "idle_tick_ms": file.idle_tick_ms,
        "recover_ms": round(file.recover_s * 1e3),
        "charger_ua": round(file.charger_a * 1e6),
        "frozen_step_ua": round(file.frozen_step_a * 1e6),
        "charge_max_ma": round(file.charge_a_max * 1e3),
        "discharge_max_ma": round(file.discharge_a_max * 1e3),
        "uas_per_ppm": max(1, round(ah * 3600)),
        "gain_error_ppm": round(file.soc.gain_error_pct * 1e4),
        "capacity_error_ppm": round(file.soc.capacity_error_pct * 1e4),
        "offset_error_ua": round(file.soc.offset_error_a * 1e6),
        "rest_ua": round((file.soc.rest_a or ah / 200) * 1e6),
        "rest_ms": round(file.soc.rest_s * 1e3),
        "rest_cold_ms": round(file.soc.rest_cold_s * 1e3),
        "tau1_ms": tau1_ms,
        "tau2_ms": tau2_ms,
        "isolates": int(not reports),
        "ntc_low": 1000,  # 1.5 % of the range: no NTC in its window reads so near a rail
        "ntc_high": 64500,
        "chip": chip.CHIP,
        **UNUSED,
        **chip.fields(file),
    }


def _tables(file: PackFile, cell: CellFile) -> dict[str, tuple[list[float], list[float]]]:
    charge, discharge = file.derating.charge, file.derating.discharge
    rows = range(len(cell.resistance.temp_c))
    r0_k = cell.resistance.activation_r0_k
    tables = {
        "dcir_uohm": _over_temperature(cell, ("r0_ohm",), cell.resistance.activation_r0_k),
        "polar_uohm": _over_temperature(
            cell, ("r1_ohm", "r2_ohm"), cell.resistance.activation_rc_k
        ),
        "r1s_uohm": _table(cell, [watch.answer_ohm(cell, k, 1.0) for k in rows], r0_k),
        "r10s_uohm": _table(cell, [watch.answer_ohm(cell, k, 10.0) for k in rows], r0_k),
        "charge_derate_ppm": ([t * 1e3 for t, _ in charge], [f * 1e6 for _, f in charge]),
        "discharge_derate_ppm": ([t * 1e3 for t, _ in discharge], [f * 1e6 for _, f in discharge]),
        "usable_ppm": celltables.usable(cell),
    }
    if not front(file).READS_TEMPS:
        tables["ntc_mdegc"] = _ntc(file)
    return tables


def _ntc(file: PackFile) -> tuple[list[float], list[float]]:
    """Return temperature (mdegC) over ADC code."""
    sensor = file.thermistor
    codes = sorted(
        (65536 * ntc.share(t, sensor.r25_ohm, sensor.beta_k, sensor.pullup_ohm), t * 1e3)
        for t in ADC_TEMPS_C
    )
    return [code for code, _ in codes], [t for _, t in codes]


def _over_temperature(
    cell: CellFile, keys: tuple[str, ...], activation_k: float
) -> tuple[list[float], list[float]]:
    """Return resistance (uohm) over temperature (mdegC), mean over SoC, Arrhenius outside."""
    table = cell.resistance
    ohm = [
        sum(sum(getattr(table, key)[k]) / len(table.soc) for key in keys)
        for k in range(len(table.temp_c))
    ]
    return _table(cell, ohm, activation_k)


def _table(
    cell: CellFile, ohm: list[float], activation_k: float
) -> tuple[list[float], list[float]]:
    """Return resistance (uohm) over temperature (mdegC) from one value a row of the cell's."""
    table = cell.resistance

    def at(temp_c: float) -> float:
        if temp_c <= table.temp_c[0] or temp_c >= table.temp_c[-1]:
            k = 0 if temp_c <= table.temp_c[0] else -1
            inverse = 1 / (temp_c + KELVIN) - 1 / (table.temp_c[k] + KELVIN)
            return ohm[k] * math.exp(activation_k * inverse)
        k = max(i for i, t in enumerate(table.temp_c) if t <= temp_c)
        share = (temp_c - table.temp_c[k]) / (table.temp_c[k + 1] - table.temp_c[k])
        return ohm[k] + share * (ohm[k + 1] - ohm[k])

    # 5 ohm is where the firmware's product of current and resistance ends.
    return ([t * 1e3 for t in DCIR_TEMPS_C], [min(at(t), 5.0) * 1e6 for t in DCIR_TEMPS_C])
