"""Packs for tests: those of the project, changed ones, and any that packc accepts."""

from __future__ import annotations

from array import array
from functools import lru_cache
from typing import Any, NamedTuple

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
    """Return a pack of boards/packs; name@45: with ticks of 45 ms, name@fuse: one to be blown."""
    name, _, change = name.partition("@")
    file, cell, _ = load(name)
    if change == "fuse":
        burn = {"limit_s": 2.0, "release_s": 0.0, "delay_s": 0.1}
        parts = file.parts.model_copy(update={"commanded_fuse": True})
        file = file.model_copy(update={"parts": parts, "rules": {**file.rules, "chg_burn": burn}})
    elif change:
        file = file.model_copy(update={"tick_ms": int(change)})
    pack, errors = examine(file, cell)
    assert not errors, errors
    return pack


def read(blob: bytes) -> Any:
    """Return the Pack of a blob; its attributes are named by the blob's layout alone."""
    return Pack(blob)


def alone(blob: bytes, *rows: int) -> Any:
    """Return the pack with every rule but these out of reach, to see one by itself."""
    pack = Pack(blob)
    for k, other in enumerate(R.ROWS):
        if k not in rows:
            far = other[R.SIDE] * FAR
            pack._rules[RULE_SIZE * k : RULE_SIZE * (k + 1)] = array("i", [far, far, FAR, 0])
    return pack


class Drawn(NamedTuple):
    """A pack that packc accepted and what it was compiled from; short when printed."""

    blob: bytes
    file: PackFile
    cell: CellFile

    def __repr__(self) -> str:
        file = self.file.model_dump(exclude={"about", "fets", "parts", "front_end", "thermistor"})
        cell = {"ocv": self.cell.ocv.v[:: len(self.cell.ocv.v) - 1], "ah": self.cell.capacity.ah}
        return f"Drawn({file} {cell} {self.cell.limits!r})"


# What a file may say and hardly ever should: at most one of them in a pack, often refused.
WILD = (
    ("soc", "ocv_error_mv", (1e3, 1e5, 1e6)),
    ("soc", "rest_a", (1e-6, 1000.0, 1073.74)),
    ("cell", "capacity", ({"ah": 1e-4}, {"ah": 250.0})),
    ("cell", "ocv", ({"soc": [0.0, 1.0], "v": [-1000.0, 1000.0]},
                     {"soc": [0.0, 1.0], "v": [2.0, 2.001]})),
    ("cell", "accuracy", ({"ocv_mv": 1e6},)),
    ("derating", "charge", ([[-1e6, 0.0], [1e6, 1.0]], [[0.0, -1.0], [9.0, 2.0]])),
    ("derating", "discharge", ([[-1e6, 0.0], [1e6, 1.0]], [[0.0, -1.0], [9.0, 2.0]])),
    ("pack", "discharge_a_max", (999.0, 2000.0, 1e6)),
    ("pack", "charge_a_max", (999.0, 2000.0, 1e6)),
    ("pack", "frozen_step_a", (1e-6, 1000.0)),
    ("pack", "charger_a", (1e-6, 1000.0)),
    ("front_end", "shunt_ohm", (1e-9, 1e-4, 1.0, 1e3)),
)  # fmt: skip


@st.composite
def packs(draw: st.DrawFn) -> Drawn:
    """Any pack that packc accepts, from bench_1s on another cell with other numbers."""
    file, cell, _ = load("bench_1s")
    data = file.model_dump()
    cell_data = cell.model_dump()
    data["tick_ms"] = draw(st.integers(20, 50))
    data["idle_tick_ms"] = draw(st.integers(20, 1000))
    data["recover_s"] = draw(st.sampled_from((0.1, 0.5, 3.0, 3600.0)))
    data["front_end"]["shunt_ohm"] = draw(st.sampled_from((0.00016, 0.0003, 0.001, 0.004, 0.009)))
    data["thermistor"]["count"] = draw(st.integers(1, 8))
    data["soc"]["gain_error_pct"] = draw(st.sampled_from((0.0, 0.005, 1.0, 10.0)))
    data["soc"]["offset_error_a"] = draw(st.sampled_from((0.0, 0.0005, 0.05, 1.0)))
    data["soc"]["rest_s"] = draw(st.sampled_from((60.0, 61.0, 1800.0, 86400.0)))
    data["soc"]["rest_cold_s"] = draw(st.sampled_from((60.0, 7200.0)))
    temps = sorted(draw(st.sets(st.integers(-40, 120), min_size=2, max_size=4)))
    data["derating"]["charge"] = [[t, draw(st.sampled_from((0.0, 0.3, 1.0)))] for t in temps]
    for key in ("r0_ohm", "r1_ohm", "r2_ohm"):
        share = draw(st.sampled_from((1e-3, 1.0, 1e6)))
        rows = cell_data["resistance"][key]
        cell_data["resistance"][key] = [[share * x for x in row] for row in rows]
    for row in R.ROWS:
        if row[R.ID] in data["rules"]:
            _vary_rule(draw, row, data["rules"][row[R.ID]])
    if draw(st.integers(0, 3)) == 3:
        part, key, values = draw(st.sampled_from(WILD))
        if key.endswith("charge_a_max"):
            cell_data["limits"][key] = 1e9
        place = {"cell": cell_data, "pack": data}.get(part) or data[part]
        place[key] = draw(st.sampled_from(values))
    return accepted(data, cell_data)


def accepted(data: dict[str, Any], cell_data: dict[str, Any]) -> Drawn:
    """Return the pack, or discard the example when schema or packc refuse it."""
    try:
        file, cell = PackFile.model_validate(data), CellFile.model_validate(cell_data)
    except ValueError:
        assume(False)
        raise
    pack, errors = examine(file, cell)
    assume(not errors)
    return Drawn(pack.blob, file, cell)


def _vary_rule(draw: st.DrawFn, row: tuple[Any, ...], given: dict[str, Any]) -> None:
    """Move a limit toward the safe side, its release anywhere inside, its times anywhere."""
    suffix, factor = unit_of(row)
    limit, release, side = "limit" + suffix, "release" + suffix, row[R.SIDE]
    if suffix == "_s":
        given[limit] += draw(st.sampled_from((0.0, 0.001, 1.0)))
        given[release] = draw(st.sampled_from((0.0, given[limit])))
    else:
        given[limit] -= side * draw(
            st.sampled_from((0.0, 0.0, 0.5 if factor > 1 else 9, 1 / factor))
        )
        wide = 0.9e9 / factor - abs(given[limit])
        given[release] = given[limit] - side * draw(st.sampled_from((0.0, 1 / factor, 1.0, wide)))
    given["delay_s"] = draw(st.sampled_from((0.0, 0.001, 0.07, 0.5, 2.0, 600.0)))
    if row[R.SHED] == R.SHEDS:
        given["shed_s"] = draw(st.sampled_from((0.0, 0.001, 0.33, 2.0, 600.0)))
