"""Each cell's answer to a step of the current, against the others'."""

from __future__ import annotations

import pytest
from bms.core import frame as F
from bms.core import plausible as P
from hypothesis import given
from hypothesis import strategies as st
from support.watched import CELL_UV, CHECKED, Watched

CELLSTEP = CHECKED["bms.core.cellstep"].CellStep
WATCH = CHECKED["bms.core.cellwatch"]
STEP_UV = 100_000


class Stepped(Watched):
    """Cells that a load steps up and down; a look comes with every change."""

    def __init__(self, name: str = "robot_14s") -> None:
        super().__init__(name)
        self.watch = CELLSTEP(self.pack)
        self.look = WATCH.FIRST
        self.high = False
        self.tick()

    def step(self) -> None:
        self.watch.step(self.frame, self.sig, self.look)
        self.look = WATCH.NO_LOOK

    def steps(self, count: int, step_uv: int = STEP_UV, **shares: float) -> None:
        """Let the load step; c3=0.8: cell 3 answers by so much of the others' answer."""
        for _ in range(count):
            self.high = not self.high
            uv = step_uv if self.high else 0
            off = {cell: round((share - 1) * uv) for cell, share in shares.items()}
            self.cells(CELL_UV + uv, **off)
            self.look = WATCH.ANSWERED
            self.run(1.0)

    @property
    def off_ppm(self) -> tuple[int, int]:
        return self.sig[P.R_LOW_PPM], self.sig[P.R_HIGH_PPM]


@pytest.mark.parametrize("name", ["robot_14s", "bench_4s"])
@pytest.mark.parametrize("cell", [0, 3])
@pytest.mark.parametrize("way", [1, -1])
def test_a_cell_that_changes_is_told_within_ten_steps(name: str, cell: int, way: int):
    cells = Stepped(name)
    cells.steps(20, way * STEP_UV)
    assert cells.off_ppm == (0, 0)
    cells.steps(10, way * STEP_UV, **{f"c{cell}": 0.7})
    low, high = cells.off_ppm
    others = cells.pack.cells - 1
    assert low == pytest.approx(300_000, rel=0.1)
    assert high < 400_000 / others  # the odd one is among the others of each other
    cells.steps(20, way * STEP_UV, **{f"c{cell}": 1.5})
    low, high = cells.off_ppm
    assert high == pytest.approx(500_000, rel=0.15)
    assert low < 600_000 / others


def test_the_rest_stay_what_they_are():
    # The mean of the others has the odd one in it: with four cells, a third of what it is off.
    cells = Stepped("bench_4s")
    cells.steps(20)
    cells.steps(10, c1=0.4)
    assert cells.off_ppm[1] == pytest.approx(250_000, rel=0.1)


def test_unequal_cells_are_no_fault():
    cells = Stepped()
    cells.steps(200, c2=0.85, c7=1.2)
    assert max(cells.off_ppm) < 10_000


def test_a_cell_far_off_from_the_start_is_told():
    cells = Stepped()
    cells.steps(10, c2=0.5)
    assert cells.off_ppm[0] == pytest.approx(375_000, rel=0.02)  # 0.5 against 0.8
    cells = Stepped()
    cells.steps(10, c2=1.75)
    assert cells.off_ppm[1] == pytest.approx(400_000, rel=0.02)  # 1.75 against 1.25


def test_what_changes_slowly_is_made_one_s_own():
    cells = Stepped()
    for k in range(100):
        cells.steps(20, c2=1 - 0.002 * k)
    assert cells.off_ppm[0] < 30_000


def test_one_odd_step_is_not_enough():
    cells = Stepped()
    cells.steps(20)
    cells.steps(2, c2=0.6)
    assert 50_000 < cells.off_ppm[0] < 210_000
    cells.steps(20)
    assert cells.off_ppm[0] < 2000


def test_small_steps_say_nothing():
    cells = Stepped()
    cells.steps(20)
    cells.steps(20, 39_000, c2=0.2)
    assert cells.off_ppm == (0, 0)


def test_a_look_without_one_before_says_nothing():
    cells = Stepped()
    cells.steps(20)
    for k in range(20):
        cells.cells(CELL_UV, c2=30_000 * (k % 2))
        cells.look = WATCH.FIRST
        cells.run(1.0)
    assert cells.off_ppm == (0, 0)


def test_it_is_forgotten_after_ten_minutes_without_a_step():
    cells = Stepped()
    cells.steps(20)
    cells.steps(10, c2=0.6)
    before = cells.off_ppm
    # Idle from the ticks after the last answer on: a tick for the look, one for each cell.
    used = 1 + cells.pack.cells
    cells.run(600 - (20 - used + 1) * cells.tick_ms / 1000)
    assert cells.off_ppm == before
    cells.tick()
    assert cells.off_ppm == (0, 0)
    cells.steps(3)
    assert max(cells.off_ppm) < 50_000  # it begins at the cell's own mean


def test_every_entry_of_its_state_has_a_name():
    watch = Stepped().watch
    assert len(set(watch.names())) == len(watch.last) > 0
    assert watch.names()[:2] == ["cell0_look_uv", "cell1_look_uv"]
    assert watch.names()[-1] == "cell13_slow_share"


def test_one_cell_has_nobody_to_be_held_against():
    cells = Stepped("bench_1s")
    cells.steps(5)
    assert cells.off_ppm == (0, 0)
    assert not cells.watch.last


@given(st.lists(st.lists(st.integers(1_000_000, 10**9 - 1), min_size=14, max_size=14),
                min_size=2, max_size=6))  # fmt: skip
def test_any_voltages_are_within_31_bits(looks: list[list[int]]):
    cells = Stepped()
    for uvs in looks:
        for k, uv in enumerate(uvs):
            cells.f[F.CELL0 + k] = uv
        cells.look = WATCH.ANSWERED
        cells.run(1.0)
        assert all(0 <= x <= 4_000_000 for x in cells.off_ppm)
