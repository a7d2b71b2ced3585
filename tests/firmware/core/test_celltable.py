"""The cell's tables: lines between their points, ends held, and back from voltage to SoC."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bms.core.celltable import CellTable, place
from hypothesis import given
from hypothesis import strategies as st
from support.packs import compiled, read

PACKS = st.sampled_from(("bench_1s", "bench_4s", "robot_14s"))
PPM = st.integers(0, 1_000_000)
TEMPS = st.integers(-60_000, 90_000)


def warmed(name: str, mdegc: int) -> tuple[CellTable, Any]:
    pack = read(compiled(name).blob)
    cell = CellTable(pack)
    cell.warm(mdegc)
    return cell, pack


def expected(pack: Any, axis: str, table: str, mdegc: int, ppm: int) -> float:
    grid = np.array(getattr(pack, table), float).reshape(len(pack.cell_mdegc), -1)
    row = [np.interp(mdegc, pack.cell_mdegc, column) for column in grid.T]
    return float(np.interp(ppm, getattr(pack, axis), row))


@given(st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=12, unique=True).map(sorted),
       st.integers(-(2**30), 2**30))  # fmt: skip
def test_a_place_lies_between_its_neighbours(axis: list[int], x: int):
    k, share = place(axis, x)
    if len(axis) == 1:
        assert (k, share) == (0, 0)
        return
    assert 0 <= k < len(axis) - 1 and 0 <= share <= 1024
    held = min(max(x, axis[0]), axis[-1])
    exact = (held - axis[k]) / (axis[k + 1] - axis[k])
    assert exact - 1 / 1024 <= share / 1024 <= exact


@given(PACKS, TEMPS, PPM)
def test_lines_between_the_points(name: str, mdegc: int, ppm: int):
    cell, pack = warmed(name, mdegc)
    uv, slope = cell.ocv(ppm)
    found = expected(pack, "cell_ocv_ppm", "cell_ocv_uv", mdegc, ppm)
    assert uv == pytest.approx(found, abs=600)  # a thousandth of a step of the table
    k = min(sum(x <= ppm for x in pack.cell_ocv_ppm), len(pack.cell_ocv_ppm) - 1)
    a, b = pack.cell_ocv_ppm[k - 1], pack.cell_ocv_ppm[k]
    rise = [expected(pack, "cell_ocv_ppm", "cell_ocv_uv", mdegc, x) for x in (a, b)]
    assert slope / 65536 == pytest.approx((rise[1] - rise[0]) / (b - a), abs=0.01)
    cell.resist(ppm)
    for key, got in (("r0", cell.r0_uohm), ("r1", cell.r1_uohm), ("r2", cell.r2_uohm)):
        ohm = expected(pack, "cell_r_ppm", f"cell_{key}_uohm", mdegc, ppm)
        assert got == pytest.approx(ohm, rel=0.01, abs=50)


@given(PACKS, TEMPS)
def test_what_the_tables_promise_follows_the_temperature(name: str, mdegc: int):
    cell, pack = warmed(name, mdegc)
    for got, table in ((cell.residual_uv, pack.cell_residual_uv),
                       (cell.ocv_error_uv, pack.cell_ocv_error_uv)):  # fmt: skip
        assert got == pytest.approx(np.interp(mdegc, pack.cell_mdegc, table), abs=50)


@given(PACKS, TEMPS, PPM)
def test_from_ocv_back_to_its_soc(name: str, mdegc: int, ppm: int):
    cell, _ = warmed(name, mdegc)
    uv, slope = cell.ocv(ppm)
    assert cell.find_ppm(uv, 0) == pytest.approx(ppm, abs=1000 + 1200 * 65536 / max(slope, 1))
    assert cell.find_ppm(10_000_000, 0) == 1_000_000 and cell.find_ppm(0, 0) == 0


@given(PACKS, st.integers(20_000, 40_000), st.integers(200_000, 1_000_000),
       st.integers(-5_000_000, 3_000_000))  # fmt: skip
def test_under_load_the_highest_soc_that_fits(name: str, mdegc: int, ppm: int, ua: int):
    cell, _ = warmed(name, mdegc)
    cell.resist(ppm)
    uv = cell.ocv(ppm)[0] + cell.r0_uohm * ua // 1_000_000
    found = cell.find_ppm(uv, ua)
    cell.resist(found)
    back = cell.ocv(found)[0] + cell.r0_uohm * ua // 1_000_000
    assert back == pytest.approx(uv, abs=3000) or found in (0, 1_000_000)
    assert found >= ppm - 5_000


def test_hysteresis_only_where_the_cell_has_it():
    assert warmed("bench_1s", 25_000)[0].hysteresis_uv(500_000) == 0
    cell, pack = warmed("bench_4s", 25_000)
    half = np.interp(500_000, pack.cell_ocv_ppm, pack.cell_hysteresis_uv)
    assert cell.hysteresis_uv(500_000) == pytest.approx(half, abs=50) and half > 1000
