"""Packs for tests: those of the project, changed ones, and any that packc accepts."""

from __future__ import annotations

from array import array
from functools import lru_cache
from typing import Any

from bms.core import rules as R
from bms.core.pack import RULE_SIZE, Pack
from hypothesis import assume
from hypothesis import strategies as st
from solidbms.packc import Compiled, examine, load, unit_of
from solidbms.schema import BOARDS, CellFile, PackFile

NAMES = sorted(path.stem for path in (BOARDS / "packs").glob("*.toml"))
FAR = 10**9


@lru_cache
def compiled(name: str) -> Compiled:
    """Return a pack of boards/packs; `name@45` is the same with ticks of 45 ms."""
    name, _, tick = name.partition("@")
    file, cell, _ = load(name)
    if tick:
        file = file.model_copy(update={"tick_ms": int(tick)})
    pack, errors = examine(file, cell)
    assert not errors, errors
    return pack


def alone(blob: bytes, row: int) -> Pack:
    """Return the pack with every rule but one out of reach, to see that one by itself."""
    pack = Pack(blob)
    for k, other in enumerate(R.ROWS):
        if k != row:
            far = other[R.SIDE] * FAR
            pack._rules[RULE_SIZE * k : RULE_SIZE * (k + 1)] = array("i", [far, far, FAR, 0])
    return pack


def _some(low: float, high: float) -> st.SearchStrategy[float]:
    return st.one_of(st.floats(low, high), st.sampled_from((low, high)))


@st.composite
def packs(draw: st.DrawFn) -> Compiled:
    """Any pack that packc accepts, from bench_1s on another cell with other numbers."""
    file, cell, _ = load("bench_1s")
    data = file.model_dump()
    cell_data = cell.model_dump()
    _vary_cell(draw, cell_data)
    limits = cell_data["limits"]
    data["tick_ms"] = draw(st.integers(20, 50))
    data["idle_tick_ms"] = draw(st.integers(20, 1000))
    data["recover_s"] = draw(st.sampled_from((0.1, 0.5, 3.0, 3600.0)))
    data["charger_a"] = draw(_some(1e-6, 1000.0))
    data["frozen_step_a"] = draw(_some(1e-6, 1000.0))
    data["charge_a_max"] = draw(st.sampled_from((0.001, 4.0, limits["charge_a_max"])))
    data["discharge_a_max"] = draw(st.sampled_from((0.001, 18.0, limits["discharge_a_max"])))
    data["front_end"]["shunt_ohm"] = draw(st.sampled_from((0.00016, 0.0003, 0.001, 0.004, 0.009)))
    data["thermistor"]["count"] = draw(st.integers(1, 8))
    data["soc"] = {
        "gain_error_pct": draw(_some(0.0, 10.0)),
        "offset_error_a": draw(_some(0.0, 1.0)),
        "ocv_error_mv": draw(st.sampled_from((None, 0.1, 50.0, 1e3, 1e5, 1e6))),
        "rest_a": draw(st.sampled_from((None, 1e-6, 1000.0))),
        "rest_s": draw(st.sampled_from((60.0, 61.0, 86400.0))),
        "rest_cold_s": draw(st.sampled_from((60.0, 7200.0))),
    }
    for key in ("charge", "discharge"):
        if draw(st.booleans()):
            data["derating"][key] = _derating(draw)
    for row in R.ROWS:
        _vary_rule(draw, row, data["rules"][row[R.ID]])
    return accepted(data, cell_data)


def accepted(data: dict[str, Any], cell_data: dict[str, Any]) -> Compiled:
    """Return the pack, or discard the example when schema or packc refuse it."""
    try:
        file, cell = PackFile.model_validate(data), CellFile.model_validate(cell_data)
    except ValueError:
        assume(False)
        raise
    pack, errors = examine(file, cell)
    assume(not errors)
    return pack


def _vary_cell(draw: st.DrawFn, cell: dict[str, Any]) -> None:
    cell["capacity"]["ah"] = draw(st.sampled_from((1e-4, 0.01, 2.781, 250.0)))
    if draw(st.booleans()):
        cell["limits"]["discharge_a_max"] = draw(st.sampled_from((20.0, 800.0, 1e4, 1e6)))
    if draw(st.booleans()):
        share = draw(st.sampled_from((1e-3, 1e3, 1e6)))
        for key in ("r0_ohm", "r1_ohm", "r2_ohm"):
            rows = cell["resistance"][key]
            cell["resistance"][key] = [[share * x for x in row] for row in rows]
    if draw(st.booleans()):
        low = draw(st.sampled_from((-1000.0, 0.0, 2.0)))
        cell["ocv"] = {"soc": [0.0, 1.0], "v": [low, draw(st.sampled_from((2.1, 4.0, 1000.0)))]}


def _derating(draw: st.DrawFn) -> list[list[float]]:
    temps = draw(st.lists(_some(-1e6, 1e6), min_size=2, max_size=4, unique=True))
    return [[t, draw(st.sampled_from((-1.0, 0.0, 0.5, 1.0, 2.0)))] for t in temps]


def _vary_rule(draw: st.DrawFn, row: tuple[Any, ...], given: dict[str, Any]) -> None:
    """Move a limit toward the safe side, its release anywhere inside, its times anywhere."""
    suffix, factor = unit_of(row)
    limit, release, side = "limit" + suffix, "release" + suffix, row[R.SIDE]
    step = 10 / factor if factor == 1 else 0.5
    given[limit] -= side * draw(st.sampled_from((0.0, 0.0, step, 1 / factor)))
    wide = 0.9e9 / factor - abs(given[limit])
    given[release] = given[limit] - side * draw(
        st.sampled_from((0.0, 1 / factor, 0.1, wide))
    )
    given["delay_s"] = draw(st.sampled_from((0.0, 0.001, 0.07, 0.5, 2.0, 600.0)))
    if row[R.SHED] == R.SHEDS:
        given["shed_s"] = draw(st.sampled_from((0.0, 0.001, 0.33, 2.0, 600.0)))
