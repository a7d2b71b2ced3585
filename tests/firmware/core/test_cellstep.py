"""Each cell's answer to a step of the current, against the others'; and of all, against R."""

from __future__ import annotations

from array import array

import pytest
from bms.core import frame as F
from bms.core import plausible as P
from bms.core.fixed import interp
from hypothesis import given
from hypothesis import strategies as st
from support.watched import CELL_UV, CHECKED, WARM_MDEGC, Watched

CELLSTEP = CHECKED["bms.core.cellstep"]
WATCH = CHECKED["bms.core.cellwatch"]
STEP_UV = 100_000


class Stepped(Watched):
    """Cells that a load steps up and down; a look comes with every change."""

    def __init__(self, name: str = "robot_14s", **pack: int) -> None:
        super().__init__(name, **pack)
        self.watch = CELLSTEP.CellStep(self.pack)
        self.seen = array("i", [0] * len(WATCH.FIELDS))
        self.seen[WATCH.LOOK] = WATCH.FIRST
        self.high = False
        self.tick()

    def step(self) -> None:
        self.watch.step(self.frame, self.sig, self.seen)
        self.seen[WATCH.LOOK] = WATCH.NO_LOOK

    def steps(
        self, count: int, step_uv: int = STEP_UV, gain: float = 1.0, **shares: float
    ) -> None:
        """Let the load step; c3=0.8: cell 3 answers by so much of the others' answer.

        gain: of what is read of the current.
        """
        ma = step_uv * 1000 / interp(self.pack.r1s_uohm, WARM_MDEGC)
        for _ in range(count):
            self.high = not self.high
            uv = step_uv if self.high else 0
            off = {cell: round((share - 1) * uv) for cell, share in shares.items()}
            self.cells(CELL_UV + uv, **off)
            self.seen[WATCH.LOOK] = WATCH.ANSWERED
            self.seen[WATCH.MOVED_MA] = round(gain * ma) * (1 if self.high else -1)
            self.run(1.0)

    def said(self, field: str) -> int:
        """Return a field of its state by its name in a record."""
        return self.watch.v[CELLSTEP.FIELDS.index(field)]

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
    cells.steps(1, c2=0.3)
    assert cells.off_ppm[0] == pytest.approx(125_000, rel=0.02), "an eighth at most"


def test_a_cell_that_answered_nothing_comes_back_by_a_64th_a_step():
    cells = Stepped()
    cells.steps(20)
    cells.steps(60, c2=0.0)
    assert cells.off_ppm[0] == pytest.approx(1_000_000, abs=100)
    cells.steps(1)
    assert cells.off_ppm[0] == pytest.approx(1e6 - 1e6 / 64 / 0.8, abs=1000)  # 0.8: as it was


def test_small_steps_say_nothing():
    cells = Stepped()
    cells.steps(20)
    cells.steps(20, 39_000, c2=0.2)
    assert cells.off_ppm == (0, 0)


def test_an_answer_of_40_mv_is_the_least_that_counts():
    for step_uv, told in ((39_999, False), (40_000, True)):
        cells = Stepped()
        cells.steps(20)
        cells.steps(12, step_uv, gain=2.0)
        assert (cells.sig[P.ANSWER_PPM] > 100_000) == told


def test_a_cell_is_held_against_others_that_answer_by_20_mv_at_least():
    # One cell's answer makes the mean large enough, the others' is too small or is not.
    for step_uv, high_ppm in ((19_999, 0), (20_000, 2_200_000)):
        cells = Stepped("bench_4s")
        cells.steps(1, step_uv, c0=5.0006)
        assert cells.off_ppm[1] == high_ppm  # no more than four times the others', against 1.25


def test_of_two_cells_each_is_held_against_the_other():
    cells = Stepped("bench_4s", cells=2)
    cells.steps(20)
    cells.steps(12, c1=0.5)
    assert cells.off_ppm[0] > 400_000 and cells.off_ppm[1] > 400_000


def test_before_a_first_look_nothing_is_said():
    for name in ("bench_1s", "robot_14s"):
        cells = Stepped(name)
        cells.watch = CELLSTEP.CellStep(cells.pack)
        cells.run(1.0)
        assert cells.off_ppm == (0, 0) and cells.sig[P.ANSWER_PPM] == 0


def test_a_look_without_one_before_ends_what_the_last_one_began():
    cells = Stepped()
    cells.steps(20)
    cells.seen[WATCH.LOOK] = WATCH.ANSWERED
    cells.cells(CELL_UV + STEP_UV)
    cells.run(0.2)
    cells.seen[WATCH.LOOK] = WATCH.FIRST
    cells.cells(CELL_UV + 2 * STEP_UV, c13=STEP_UV)
    cells.run(1.0)
    assert cells.off_ppm == (0, 0)


def test_a_look_without_one_before_says_nothing():
    cells = Stepped()
    cells.steps(20)
    for k in range(20):
        cells.cells(CELL_UV, c2=30_000 * (k % 2))
        cells.seen[WATCH.LOOK] = WATCH.FIRST
        cells.run(1.0)
    assert cells.off_ppm == (0, 0)


def test_it_is_forgotten_after_ten_minutes_without_a_step():
    cells = Stepped()
    cells.steps(20)
    cells.steps(10, gain=2.0, c2=0.6)
    before = cells.off_ppm
    assert cells.sig[P.ANSWER_PPM] > 300_000
    # Idle from the ticks after the last answer on: a tick for the look, one for each cell.
    used = 1 + cells.pack.cells
    cells.run(600 - (20 - used + 1) * cells.tick_ms / 1000)
    assert cells.off_ppm == before
    cells.tick()
    assert cells.off_ppm == (0, 0) and cells.sig[P.ANSWER_PPM] == 0
    cells.run(60)
    assert cells.said("idle_ms") == 600_000
    cells.steps(1)
    assert max(*cells.off_ppm, cells.sig[P.ANSWER_PPM]) < 50_000  # each begins at its own mean


def test_its_state_stands_in_a_record_by_name():
    cells = Stepped("bench_4s")
    cells.steps(4)
    cells.steps(10, gain=2.0, c1=0.6)
    assert (cells.said("next"), cells.said("total_uv")) == (4, -360_000)
    assert cells.said("idle_ms") == 15 * 50  # a tick took the look, four took a cell each
    assert (cells.said("low_ppm"), cells.said("high_ppm")) == cells.off_ppm
    assert cells.said("answers") == 4
    assert 0.45 < cells.said("answer") / 2**20 < 0.6  # of 0.9 in the end, of twice the current
    assert 0.9 < cells.said("slow_answer") / 2**20 < 1


def test_every_entry_of_its_state_has_a_name():
    watch = Stepped().watch
    assert len(set(watch.names())) == len(watch.last) > 0
    assert watch.names()[:2] == ["cell0_look_uv", "cell1_look_uv"]
    assert watch.names()[-1] == "cell13_slow_share"


def test_one_cell_has_nobody_to_be_held_against():
    cells = Stepped("bench_1s")
    cells.steps(5)
    assert cells.off_ppm == (0, 0)


@pytest.mark.parametrize("name", ["robot_14s", "bench_1s"])
@pytest.mark.parametrize("way", [1, -1])
@pytest.mark.parametrize("gain", [0.5, 0.7, 1.5, 4.0])
def test_a_current_read_otherwise_than_before_is_told(name: str, way: int, gain: float):
    cells = Stepped(name)
    cells.steps(20, way * STEP_UV)
    assert cells.sig[P.ANSWER_PPM] < 5000
    cells.steps(12, way * STEP_UV, gain)
    assert 0.7 < cells.sig[P.ANSWER_PPM] / abs(1e6 / gain - 1e6) < 1
    cells.steps(30, way * STEP_UV)
    assert cells.sig[P.ANSWER_PPM] < 200_000  # less what it has made its own meanwhile


def test_other_temperatures_answer_otherwise_and_are_no_fault():
    cells = Stepped()
    cells.steps(20)
    for _ in range(40):
        cells.temps(cells.sig[P.TEMP_MIN_MDEGC] + 500)
        ratio = interp(cells.pack.r1s_uohm, cells.sig[P.TEMP_MIN_MDEGC])
        ratio /= interp(cells.pack.r1s_uohm, WARM_MDEGC)
        cells.steps(4, round(2 * STEP_UV * ratio), 1 / ratio)
    assert cells.sig[P.ANSWER_PPM] < 10_000


def test_sensors_that_all_read_colder_are_told():
    cells = Stepped()
    cells.steps(20)
    cells.temps(WARM_MDEGC - 15_000)
    cells.steps(12)
    assert cells.sig[P.ANSWER_PPM] > 400_000


def test_without_a_temperature_or_with_too_little_current_nothing_is_said():
    cells = Stepped()
    cells.steps(20)
    cells.doubt(P.TEMP_MIN_MDEGC)
    cells.steps(12, gain=3.0)
    cells.doubt()
    cells.steps(12, gain=0.0999)
    assert cells.sig[P.ANSWER_PPM] < 5000
    cells.steps(40, gain=0.1001)  # R says 10 mV
    assert cells.said("answer") == pytest.approx(4 * 2**20, rel=0.01), "at most four times of R"


def test_answers_that_older_currents_hide_are_passed_over():
    cells = Stepped()
    cells.steps(20)
    cells.seen[WATCH.SETTLE_UV] = STEP_UV * 94 // 100
    cells.steps(12, gain=1.9)
    assert cells.sig[P.ANSWER_PPM] > 200_000  # 190 mV are expected, twice what may settle
    cells = Stepped()
    cells.steps(20)
    cells.seen[WATCH.SETTLE_UV] = STEP_UV * 96 // 100
    cells.steps(12, gain=1.9)
    assert cells.sig[P.ANSWER_PPM] < 5000


def test_nothing_is_said_before_the_fourth_answer():
    cells = Stepped()
    cells.steps(2)
    cells.steps(2, gain=2.0)
    assert cells.sig[P.ANSWER_PPM] == 0
    cells.steps(1, gain=2.0)
    assert cells.sig[P.ANSWER_PPM] > 50_000


def test_a_lasting_change_is_made_its_own_within_some_hundred_answers():
    cells = Stepped()
    cells.steps(20)
    cells.steps(74, gain=0.5)
    assert cells.sig[P.ANSWER_PPM] == pytest.approx(220_000, rel=0.1)


def test_resistance_off_from_the_start_is_the_packs_own():
    cells = Stepped()
    cells.steps(50, gain=1.6)
    assert cells.sig[P.ANSWER_PPM] < 5000
    cells = Stepped()
    cells.steps(50, gain=0.34)  # aged to three times of R
    assert cells.sig[P.ANSWER_PPM] < 5000
    cells = Stepped()
    cells.steps(50, gain=0.25)  # beyond that it is told
    assert cells.sig[P.ANSWER_PPM] == pytest.approx(333_000, rel=0.05)
    cells = Stepped()
    cells.steps(50, gain=5.0)  # and below a quarter
    assert cells.sig[P.ANSWER_PPM] == pytest.approx(200_000, rel=0.05)


@given(
    st.lists(st.lists(st.integers(1_000_000, 10**9 - 1), min_size=14, max_size=14), min_size=2,
             max_size=6),
    st.integers(-1_000_000, 1_000_000),
)  # fmt: skip
def test_any_voltages_are_within_31_bits(looks: list[list[int]], moved_ma: int):
    cells = Stepped()
    for uvs in looks:
        for k, uv in enumerate(uvs):
            cells.f[F.CELL0 + k] = uv
        cells.seen[WATCH.LOOK] = WATCH.ANSWERED
        cells.seen[WATCH.MOVED_MA] = moved_ma
        cells.run(1.0)
        assert all(0 <= x <= 4_000_000 for x in cells.off_ppm)
        assert 0 <= cells.sig[P.ANSWER_PPM] <= 16_000_000
