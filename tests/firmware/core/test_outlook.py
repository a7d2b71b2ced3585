"""Usable energy, time to empty and to full: against charge and OCV of the pack's own tables."""

from __future__ import annotations

from array import array
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bms.core import outlook as O
from bms.core import plausible as P
from bms.core.celltable import CellTable
from hypothesis import given
from hypothesis import strategies as st
from support import int31
from support.packs import compiled, read

OUTLOOK = int31.load()["bms.core.outlook"].Outlook


class View:
    """The outlook of a pack whose cells stand where a test says."""

    def __init__(self, low: int, high: int, mdegc: int = 25_000, name: str = "bench_1s") -> None:
        self.pack: Any = read(compiled(name).blob)
        self.cell = CellTable(self.pack)
        self.cell.warm(mdegc)
        self.soc = SimpleNamespace(
            cell=self.cell,
            uas_per_ppm=self.pack.uas_per_ppm,
            low_ppm=lambda: low,
            high_ppm=lambda: high,
            filter=SimpleNamespace(mdegc=mdegc, known_ua=lambda sd_ua: 0),
        )
        self.outlook = OUTLOOK(self.pack)
        self.sig = array("i", [0] * len(P.FIELDS))
        self.sig[P.TRUST] = P.ALL_TRUSTED
        self.sig[P.DT_MS] = 1000

    def flow(self, current_ua: int, seconds: int = 600) -> Any:
        self.sig[P.CHARGE_UA] = current_ua
        for _ in range(seconds):
            self.outlook.step(self.sig, self.soc)
        return self.outlook.v

    def usable_ppm(self, mdegc: int) -> float:
        table = list(self.pack.usable_ppm)
        n = len(table) // 2
        return float(np.interp(mdegc, table[:n], table[n:]))


@given(st.integers(0, 1_000_000), st.sampled_from((-20_000, 0, 25_000)),
       st.sampled_from(("bench_1s", "bench_4s", "robot_14s")))  # fmt: skip
def test_energy_is_charge_times_ocv_down_to_where_the_cell_ends(low: int, mdegc: int, name: str):
    view = View(low, low, mdegc, name)
    least = 1_000_000 - view.usable_ppm(mdegc)
    left = max(low - least, 0)
    ppm = np.linspace(least, least + left, 400)
    volts = np.array([view.cell.ocv(round(x))[0] for x in ppm]) / 1e6
    wh = left * view.pack.uas_per_ppm * 1e-6 / 3600 * volts.mean() * view.pack.cells
    energy_wh = view.flow(0)[O.ENERGY_MWH] / 1e3
    assert energy_wh == pytest.approx(wh, rel=0.015, abs=0.003)


def test_a_load_leaves_less_energy_and_a_charge_no_more():
    idle, loaded, charged = (View(600_000, 600_000).flow(ua)[O.ENERGY_MWH]
                             for ua in (0, -5_000_000, 5_000_000))  # fmt: skip
    assert idle == charged
    cell = View(600_000, 600_000).cell
    cell.resist(300_000)
    drop_v = 5 * (cell.r0_uohm + cell.r1_uohm + cell.r2_uohm) / 1e6
    lost_wh = drop_v * 0.6 * 2.781
    assert (idle - loaded) / 1e3 == pytest.approx(lost_wh, rel=0.1)


@given(st.integers(0, 1_000_000), st.integers(0, 1_000_000), st.integers(100, 15_000))
def test_times_are_charge_over_mean_current(one: int, other: int, ma: int):
    low, high = min(one, other), max(one, other)
    view = View(low, high)
    hours = (low - 1e6 + view.usable_ppm(25_000)) * 1e-6 * 2.781 / (ma / 1e3)
    v = view.flow(-ma * 1000)
    assert v[O.EMPTY_S] == pytest.approx(max(hours, 0) * 3600, rel=0.02, abs=2)
    assert v[O.FULL_S] == O.NEVER
    v = View(low, high).flow(ma * 1000)
    hours = (1e6 - high) * 1e-6 * 2.781 / (ma / 1e3)
    assert v[O.FULL_S] == pytest.approx(hours * 3600, rel=0.02, abs=2)
    assert v[O.EMPTY_S] == O.NEVER


def test_a_pack_at_rest_never_empties_nor_fills():
    v = View(500_000, 500_000).flow(0)
    assert (v[O.EMPTY_S], v[O.FULL_S]) == (O.NEVER, O.NEVER)


def test_the_cold_leaves_less():
    warm, cold = (View(500_000, 500_000, mdegc).flow(-2_000_000) for mdegc in (25_000, -20_000))
    assert cold[O.ENERGY_MWH] < 0.9 * warm[O.ENERGY_MWH]
    assert cold[O.EMPTY_S] < 0.9 * warm[O.EMPTY_S]


def test_a_current_that_nobody_believes_changes_nothing():
    view = View(500_000, 500_000)
    before = view.flow(-2_000_000)[O.MEAN_MA]
    view.sig[P.TRUST] &= ~(1 << P.CHARGE_UA)
    assert view.flow(5_000_000)[O.MEAN_MA] == before


@given(st.integers(-(2**31), 2**31 - 1), st.integers(0, 1_000_000))
def test_any_current_leaves_words_of_31_bits(current_ua: int, low: int):
    view = View(low, low, name="robot_14s")
    assert all(-(1 << 30) <= x < 1 << 30 for x in view.flow(current_ua, 80))
