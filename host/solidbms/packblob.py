"""What a checked pack compiles to: `bms.core.pack` says how the firmware reads it."""

from __future__ import annotations

import math
import struct
from array import array
from itertools import pairwise
from zlib import crc32

from bms.core import pack as blob_layout
from bms.core import rules
from bms.core.fixed import DY_MAX

from solidbms import celltables, watch
from solidbms.fronts import UNUSED, front
from solidbms.packrules import Rule
from solidbms.plant import ntc
from solidbms.schema import CellFile, PackFile

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


def rising(values: list[float], step: float) -> bool:
    """Return whether each value is more than a step above the one before."""
    return all(b - a > step for a, b in pairwise(values))


def blob_of(
    file: PackFile,
    cell: CellFile,
    pack_rules: list[Rule],
    capacity_factor: float,
    reports: bool,
    errors: list[str],
) -> bytes:
    """Return the blob; with errors in the tables, which are added to those there are, an unusable
    one."""
    fields = _fields(file, cell, capacity_factor, reports) | watch.fields(file, cell, pack_rules)
    tables = _tables(file, cell)
    for name, (xs, ys) in tables.items():
        if not rising(xs, 0):
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
