"""Packs for tests: those of the project, changed ones, and any that packc accepts."""

from __future__ import annotations

from array import array
from functools import lru_cache
from typing import Any, NamedTuple

from bms.core import rules as R
from bms.core.pack import RULE_SIZE, Pack
from hypothesis import assume
from hypothesis import strategies as st
from solidbms.packc import Compiled, examine, load
from solidbms.packrules import unit_of
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
    ("cell", "thermal", ({"heat_capacity_j_per_k": 1e-6, "to_ambient_w_per_k": 1e3},
                         {"heat_capacity_j_per_k": 1e6, "to_ambient_w_per_k": 1e-6})),
    ("watch", "sensor_tau_s", (1e-4, 600.0)),
    ("watch", "weld_a", (1e-6, 1000.0)),
    ("watch", "quiet_a", (1e-6, 1000.0)),
    ("watch", "vds_v", (1e-6, 5.0)),
    ("charging", "precharge_a", (1e-6, 1000.0)),
    ("charging", "taper_a", (1e-6, 1000.0)),
)  # fmt: skip


@st.composite
def packs(draw: st.DrawFn, base: str = "bench_1s") -> Drawn:
    """Any pack that packc accepts, from this one on another cell with other numbers."""
    file, cell, _ = load(base)
    data = file.model_dump()
    cell_data = cell.model_dump()
    data["tick_ms"] = draw(st.integers(20, 50))
    data["idle_tick_ms"] = draw(st.integers(20, 1000))
    data["recover_s"] = draw(st.sampled_from((0.1, 0.5, 3.0, 3600.0)))
    if base == "bench_1s":
        shunts = (0.00016, 0.0003, 0.001, 0.004, 0.009)
        data["front_end"]["shunt_ohm"] = draw(st.sampled_from(shunts))
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
    if data["thermistor"]["count"] > 1:
        more = load("robot_14s")[0].rules  # rows that one sensor does without
        data["rules"] |= {name: dict(more[name]) for name in ("spread_warn", "temp_spread")}
    _vary_rules(draw, data["rules"])
    for key, name in (("charge_a_max", "charge_oc"), ("discharge_a_max", "dsg_oc")):
        # Announced with the sensor's error below the trip.
        soc = data["soc"]
        most = data["rules"][name]["limit_a"] - soc["offset_error_a"]
        most /= 1 + soc["gain_error_pct"] / 100
        data[key] = min(data[key], max(0.9 * most, 0.001))
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


def _vary_rules(draw: st.DrawFn, rules: dict[str, dict[str, Any]]) -> None:
    """Move limits toward the safe side, releases anywhere inside, times anywhere."""
    shifts: dict[tuple[Any, ...], float] = {}  # rows of one signal keep their order
    for row in R.ROWS:
        given = rules.get(row[R.ID])
        if given is None or draw(st.integers(0, 2)) == 2:
            continue
        suffix, factor = unit_of(row)
        limit, release, side = "limit" + suffix, "release" + suffix, row[R.SIDE]
        if suffix in ("_s", "_k_per_s"):
            given[limit] = max(given[limit] - draw(st.sampled_from((0.0, 0.001))), 0.0)
            given[release] = draw(st.sampled_from((0.0, given[limit])))
        elif suffix != "_count":
            place = row[R.SIGNAL], side
            if place not in shifts:
                shifts[place] = draw(st.sampled_from((0.0, 0.0, 0.3, 1 / factor)))
            given[limit] -= side * shifts[place]
            wide = 0.9e9 / factor - abs(given[limit])
            steps = 0.0, 1 / factor, 1.0, wide
            given[release] = given[limit] - side * draw(st.sampled_from(steps))
        given["delay_s"] = draw(st.sampled_from((0.0, 0.001, 0.07, 0.5, 2.0, 600.0)))
        if row[R.SHED] == R.SHEDS:
            given["shed_s"] = draw(st.sampled_from((0.0, 0.001, 0.33, 2.0, 600.0)))
