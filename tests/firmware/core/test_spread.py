"""Every cell against the mean: SoC and resistance found, the pack's SoC from the two ends."""

from __future__ import annotations

from array import array
from typing import Any

import pytest
from bms.core import spread as D
from hypothesis import given, settings
from hypothesis import strategies as st
from support import int31
from support.packs import compiled, read

SPREAD = int31.load()["bms.core.spread"].Spread
SLOPE = 65536 * 7 // 10  # 0.7 uV a ppm
RESIDUAL_UV = 10_000
CELLS = 4


class Cell:
    """OCV of two slopes, and no error."""

    residual_uv = RESIDUAL_UV
    knee_ppm = 400_000

    def __init__(self, slope: int = SLOPE, low_slope: int = SLOPE) -> None:
        self.slopes = low_slope, slope

    def ocv(self, ppm: int) -> tuple[int, int]:
        slope = self.slopes[ppm >= self.knee_ppm]
        return 3_500_000 + ((ppm - self.knee_ppm) * slope >> 16), slope


class String:
    """Four cells whose SoC and resistance a test sets, under loads that come and go."""

    def __init__(self, deltas: list[int], ratios: list[float], cell: Cell | None = None) -> None:
        self.cell = cell or Cell()
        self.spread: Any = SPREAD(read(compiled("bench_4s").blob), self.cell)
        assert self.spread.n == CELLS
        self.deltas, self.ratios = deltas, ratios
        self.mean = 600_000
        self.second = 0
        self.spread.start(self.mean)

    def run(self, rounds: int, drops: tuple[int, ...] = (0, -80_000, -20_000, -150_000)) -> None:
        for k in range(rounds):
            drop = drops[k % len(drops)]
            self.second += 1
            offsets = [self.cell.ocv(self.mean + d)[0] + drop * (r - 1)
                       for d, r in zip(self.deltas, self.ratios, strict=True)]  # fmt: skip
            mean = sum(offsets) / CELLS
            self.spread.begin(self.mean)
            for offset in offsets:
                assert self.spread.busy()
                self.spread.slice(3_700_000 + round(offset - mean), 3_700_000, drop, self.second)
            assert not self.spread.busy()

    def delta(self, k: int) -> int:
        return self.spread.v[len(D.FIELDS) * k] >> 8


@settings(max_examples=25)
@given(st.lists(st.integers(-80_000, 80_000), min_size=CELLS, max_size=CELLS))
def test_differences_are_found(deltas: list[int]):
    string = String(deltas, [1.0] * CELLS)
    string.run(1500)
    mean = sum(deltas) / CELLS
    found = [string.delta(k) for k in range(CELLS)]
    assert found == pytest.approx([d - mean for d in deltas], abs=3_000)
    assert string.spread.low_ppm == min(found) and string.spread.high_ppm == max(found)
    assert string.spread.low_sd_ppm < 6_000


def test_a_cell_far_below_is_looked_up_where_it_lies():
    # Past the knee OCV falls four times as fast: not 90 % lower but 36 %.
    cell = Cell(low_slope=4 * SLOPE)
    string = String([-360_000, 0, 0, 0], [1.0] * CELLS, cell)
    string.run(300)
    mean = sum(cell.ocv(600_000 + d)[0] for d in string.deltas) / CELLS
    shared = 600_000 - (mean - 3_500_000) / (SLOPE / 65536) - 400_000
    found = [string.delta(k) for k in range(CELLS)]
    # The mean that it was told belongs to another voltage: that much the cells have in common.
    assert found[1:] == pytest.approx([shared] * 3, abs=3_000)
    assert found[0] == pytest.approx(-200_000 - (160_000 * 4 - shared) / 4, abs=5_000)


def test_a_start_at_rest_takes_the_ends_and_puts_the_others_between():
    spread = SPREAD(read(compiled("bench_4s").blob), Cell())
    uvs = [0, 3_400_000, 3_650_000, 3_700_000, 3_850_000]
    spread.spans(uvs, 1, 3_650_000, -300_000, 80_000)
    deltas = [spread.v[len(D.FIELDS) * k] >> 8 for k in range(CELLS)]
    assert deltas == [-300_000, 0, 20_000, 80_000]
    assert (spread.low_ppm, spread.high_ppm) == (-300_000, 80_000)
    spread.spans([0] + [3_650_000] * CELLS, 1, 3_650_000, 5_000, -5_000)
    assert (spread.low_ppm, spread.high_ppm) == (0, 0), "less apart than noise"


def test_a_cell_of_more_resistance_is_no_cell_of_less_charge():
    string = String([0] * CELLS, [1.5, 1.0, 1.0, 1.0])
    string.run(4000)
    ratios = [string.spread.v[len(D.FIELDS) * k + 2] / 16384 for k in range(CELLS)]
    assert ratios[0] - ratios[1] == pytest.approx(0.5, abs=0.1)
    assert abs(string.delta(0)) < 3_000


def test_charge_that_moved_opens_the_differences_again():
    """Capacities differ: what was known of a cell at 60 % is less sure at 20 %."""
    string = String([0] * CELLS, [1.0] * CELLS)
    string.run(2000)
    sure = string.spread.low_sd_ppm
    string.mean = 200_000
    string.run(1)
    assert string.spread.low_sd_ppm > 1.5 * sure


@given(st.integers(0, 1_000_000), st.integers(-500_000, 0), st.integers(0, 500_000))
def test_the_pack_is_empty_with_its_weakest_and_full_with_its_fullest(
    mean: int, low: int, high: int
):
    spread = SPREAD(read(compiled("bench_4s").blob), Cell())
    spread.low_ppm, spread.high_ppm = low, high
    spread.settle(mean)
    ppm = mean + spread.off_ppm
    left, room = mean + low, 1_000_000 - mean - high
    if left <= 0:
        assert ppm == 0
    elif room <= 0:
        assert ppm == 1_000_000
    else:
        assert ppm == pytest.approx(1e6 * left / (left + room), abs=1)


def test_one_cell_has_no_neighbours():
    spread = SPREAD(read(compiled("bench_1s").blob), Cell())
    spread.begin(500_000)
    assert not spread.busy() and spread.v == array("i")
    spread.settle(123_456)
    assert spread.off_ppm == spread.unlike_ppm == 0


@given(st.lists(st.tuples(st.integers(0, 10_000_000), st.integers(0, 10_000_000),
                          st.integers(-4_000_000, 4_000_000), st.integers(0, 1_000_000)),
                min_size=CELLS, max_size=40), st.integers(1, 1 << 30))  # fmt: skip
def test_any_readings_leave_words_of_31_bits(readings: list[tuple[int, ...]], slope: int):
    spread = SPREAD(read(compiled("bench_4s").blob), Cell(slope))
    for second, (uv, mean_uv, drop_uv, mean_ppm) in enumerate(readings):
        if not spread.busy():
            spread.begin(mean_ppm)
        spread.slice(uv, mean_uv, drop_uv, second)
        assert all(-(1 << 30) <= word < 1 << 30 for word in spread.v)
    spread.settle(500_000)
    assert 0 <= 500_000 + spread.off_ppm <= 1_000_000


@given(st.integers(0, 100), st.integers(0, 80), st.floats(0.92, 1.0), st.floats(0.92, 1.0))
def test_cells_of_unlike_capacity_are_within_what_it_says(
    mean_pct: int, off: int, weak: float, full: float
):
    # A weak cell that lies low by `off` thousandths, one that lies high by as much.
    mean, apart = 10_000 * mean_pct, 1000 * min(off, 10 * mean_pct, 1000 - 10 * mean_pct)
    spread = SPREAD(read(compiled("bench_4s").blob), Cell())
    spread.low_ppm, spread.high_ppm = -apart, apart
    spread.settle(mean)
    cells = ((mean - apart, weak), (mean + apart, full), (mean, 1.0))
    left = min(z * capacity for z, capacity in cells)
    room = min((1e6 - z) * capacity for z, capacity in cells)
    true = 1e6 * left / (left + room)
    assert abs(mean + spread.off_ppm - true) <= spread.unlike_ppm + 2


@given(st.integers(300_000, 700_000), st.integers(0, 290_000), st.integers(0, 290_000),
       st.integers(-9_000, 9_000), st.integers(-9_000, 9_000))  # fmt: skip
def test_an_error_weighs_more_where_cells_are_apart(
    mean: int, below: int, above: int, mean_off: int, low_off: int
):
    def soc() -> float:
        spread.settle(mean)
        return mean + spread.off_ppm

    spread = SPREAD(read(compiled("bench_4s").blob), Cell())
    spread.low_ppm, spread.high_ppm = -below, above
    before, whole = soc(), spread.whole_ppm
    assert whole == 1_000_000 - below - above
    mean += mean_off
    spread.low_ppm += low_off
    allowed = (abs(mean_off) + abs(low_off)) * 1e6 / min(whole, whole + low_off)
    assert abs(soc() - before) <= allowed + 3
