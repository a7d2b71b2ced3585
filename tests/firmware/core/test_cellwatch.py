"""Cells against each other, the stack and the current."""

from __future__ import annotations

import math
import random
from array import array
from typing import Any

import pytest
from bms.core import frame as F
from bms.core import plausible as P
from bms.core.fixed import interp
from support.watched import CELL_UV, CHECKED, WARM_MDEGC, Watched

WATCH = CHECKED["bms.core.cellwatch"]


class Cells(Watched):
    """The cell signals of a pack; `load` lets the cells answer as their resistance says."""

    def __init__(self, name: str = "robot_14s", **pack: int) -> None:
        super().__init__(name, **pack)
        self.watch = WATCH.CellWatch(self.pack)

    def step(self) -> None:
        self.watch.step(self.frame, self.sig)

    def said(self, field: str) -> int:
        """Return a field of its state by its name in a record."""
        return self.watch.v[WATCH.FIELDS.index(field)]

    def load(self, ua: int, share: float = 1.0, shows: float = 1.0) -> None:
        """Let a current flow: share of R that answers, and how much of the current is read."""
        uohm = interp(self.pack.dcir_uohm, self.sig[P.TEMP_MIN_MDEGC])
        self.cells(CELL_UV + round(share * ua * uohm / 1e6))
        self.current(round(ua * shows))


# Frozen.


@pytest.fixture(params=["bench_1s", "robot_14s"])
def cells(request: Any) -> Cells:
    return Cells(request.param)


@pytest.mark.parametrize("way", [1, -1])
@pytest.mark.parametrize("base_ua", [0, 7_000_000, -12_000_000])
def test_frozen_counts_from_where_the_voltage_last_moved(cells: Cells, base_ua: int, way: int):
    step_ua = cells.pack.frozen_step_ua
    cells.current(base_ua)
    cells.run(300)  # what polarisation follows has come to it
    cells.cells(CELL_UV - 1000)
    cells.tick()
    cells.current(base_ua + way * (step_ua - 2))
    cells.run(1)
    assert cells.sig[P.FROZEN_MS] == 0
    cells.current(base_ua + way * step_ua)
    for k in range(1, 20):
        cells.tick()
        assert cells.sig[P.FROZEN_MS] == 50 * k
    cells.cells(CELL_UV)
    cells.tick()
    assert cells.sig[P.FROZEN_MS] == 0
    cells.run(1)
    assert cells.sig[P.FROZEN_MS] == 0, "from the new voltage on the current has not moved"
    cells.current(base_ua + 2 * way * step_ua)
    cells.tick()
    assert cells.sig[P.FROZEN_MS] == 50, "and it counts anew"


def test_one_frozen_cell_of_many_is_noticed():
    cells = Cells()
    cells.tick()
    cells.current(-2 * cells.pack.frozen_step_ua)
    for k in range(1, 30):
        cells.cells(CELL_UV - 500 * (k % 3))
        cells.f[F.CELL0 + 6] = CELL_UV
        cells.tick()
    assert cells.sig[P.FROZEN_MS] == 29 * 50


def test_a_charger_that_holds_the_voltage_freezes_nothing(cells: Cells):
    # The current tapers from much to little, the voltage stands to the last bit.
    ua = 4.0 * cells.pack.frozen_step_ua
    cells.cells(4_160_000)
    cells.current(round(ua))
    cells.run(300)
    for _ in range(2000):
        ua *= 1 - 1 / 600
        cells.current(round(ua))
        cells.tick(1000)
        assert cells.sig[P.FROZEN_MS] == 0


def test_a_frame_without_voltage_or_current_tells_nothing():
    for signal in (P.CELL_MIN_UV, P.CHARGE_UA):
        cells = Cells()
        cells.tick()
        cells.current(-2 * cells.pack.frozen_step_ua)
        cells.run(0.5)
        held = cells.sig[P.FROZEN_MS]
        assert held == 500
        cells.doubt(signal)
        cells.run(1)
        assert cells.sig[P.FROZEN_MS] == held


def test_frozen_from_one_end_of_current_to_the_other_and_no_further():
    cells = Cells("bench_1s")
    cells.current(999_999_999)
    cells.tick()
    cells.current(-999_999_999)
    cells.tick()
    assert cells.sig[P.FROZEN_MS] == 50
    for k in range(2200):
        cells.current((-1) ** k * 999_999_999)
        cells.tick(1000)
    assert cells.sig[P.FROZEN_MS] == P.LOST_MAX_MS


def test_every_entry_of_its_state_has_a_name(cells: Cells):
    names = cells.watch.names()
    assert len(set(names)) == len(names) == len(cells.watch.last)
    assert names[0] == "cell0_last_uv"
    assert names[-1] == f"cell{cells.pack.cells - 1}_rest_uv"


def test_its_state_stands_in_a_record_by_name():
    cells = Cells()
    cells.cells(CELL_UV, c0=13 * 16)  # less than 16 uV a cell
    cells.current(-200_000)
    cells.run(1.4)
    assert cells.said("quiet_ms") == cells.said("steady_ms") == 1400
    assert cells.said("looked") == 0
    assert cells.said("mean_uv") == CELL_UV
    cells.run(0.2)
    assert (cells.said("looked"), cells.said("since_ms"), cells.said("odd_ms")) == (1, 100, 1600)
    assert (cells.said("step_ma"), cells.said("step_uv")) == (-200, CELL_UV)
    cells.current(-30_000_000)
    cells.run(30)
    assert (cells.said("quiet_ms"), cells.said("steady_ua")) == (0, -30_000_000)
    assert cells.said("slow_ma") == pytest.approx(-30_000 * (1 - math.exp(-1)), rel=0.01)


# At rest.


def test_rest_begins_when_the_current_goes_and_ends_with_a_gap():
    for gap in (False, True):
        cells = Cells()
        cells.current(0 if gap else cells.pack.quiet_ua + 1)
        cells.run(4.95)
        cells.cells(CELL_UV, c2=50_000)
        if gap:
            cells.doubt(P.CELL_MIN_UV)
            cells.tick()
            cells.doubt()
        cells.current(0)
        for dt_ms in (1000, 1000, 1000, 1000, 999):
            cells.tick(dt_ms)
        assert cells.sig[P.SPREAD_UV] == 0
        cells.tick(1)
        assert cells.sig[P.SPREAD_UV] == 50_000


def test_spread_is_looked_at_once_the_current_has_gone():
    cells = Cells()
    cells.current(cells.pack.quiet_ua + 1)
    cells.cells(CELL_UV, c2=30_000, c7=-20_000)
    cells.run(10)
    assert cells.sig[P.SPREAD_UV] == 0
    cells.current(-cells.pack.quiet_ua)
    cells.run(4.9)
    assert cells.sig[P.SPREAD_UV] == 0
    cells.run(0.1)
    assert cells.sig[P.SPREAD_UV] == 50_000
    cells.current(10 * cells.pack.quiet_ua)
    cells.cells(CELL_UV, c2=90_000)
    cells.run(1)
    assert cells.sig[P.SPREAD_UV] == 50_000, "as it was at rest"


def test_sag_is_one_cell_that_falls_at_rest():
    cells = Cells()
    for offset in (0, -3_000, -9_000):  # while polarisation decays anything goes
        cells.cells(CELL_UV, c4=offset)
        cells.run(19)
    cells.run(4)
    assert cells.sig[P.SAG_UV] == 0
    cells.cells(CELL_UV - 40_000, c4=-9_000)  # together: self-discharge, temperature
    cells.run(1)
    assert cells.sig[P.SAG_UV] == 0
    cells.cells(CELL_UV - 40_000, c4=-9_000 - 14_000)
    cells.run(1)
    assert cells.sig[P.SAG_UV] == pytest.approx(14_000 * 13 / 14, abs=20)
    cells.current(-2 * cells.pack.quiet_ua)
    cells.tick()
    assert cells.sig[P.SAG_UV] == 0


def test_sag_is_told_from_the_end_of_the_first_minute_on():
    cells = Cells("bench_4s", cells=2)
    cells.run(59.95)
    cells.cells(CELL_UV, c1=-20_000)
    cells.tick()
    assert cells.sig[P.SAG_UV] == 10_000  # half of it is the mean's


def test_cells_that_rise_together_do_not_sag():
    cells = Cells()
    cells.run(70)
    cells.cells(CELL_UV + 15)  # within what the mean resolves
    cells.tick()
    assert cells.sig[P.SAG_UV] == 0


# Against the stack and each other.


@pytest.mark.parametrize("way", [1, -1])
def test_the_sum_of_the_cells_against_the_stack(way: int):
    cells = Cells()
    for ppm in (0, 2_000, 5_000, 20_000):
        cells.sig[P.PACK_UV] = cells.f[F.PACK_UV] + way * cells.f[F.PACK_UV] // 1000 * ppm // 1000
        cells.run(1)
        assert cells.sig[P.STACK_PPM] == pytest.approx(ppm, rel=0.03, abs=101)
    for uv in (0, 999_999_999):
        cells.sig[P.PACK_UV] = uv
        cells.run(1)
        assert cells.sig[P.STACK_PPM] > 40_000
    cells.sig[P.PACK_UV] = 0
    cells.run(1)
    assert cells.sig[P.STACK_PPM] == 1_000_000, "no more than all of it"


def test_the_stack_waits_for_a_current_that_stands():
    cells = Cells()
    cells.run(1)
    for k in range(60):  # cells and stack are scans apart
        cells.current((-1) ** k * cells.pack.frozen_step_ua)
        cells.sig[P.PACK_UV] = cells.f[F.PACK_UV] * 9 // 10
        cells.tick()
    assert cells.sig[P.STACK_PPM] == 0
    cells.tick(499)
    assert cells.sig[P.STACK_PPM] == 0
    cells.tick(1)
    assert cells.sig[P.STACK_PPM] == pytest.approx(100_000, rel=0.15)


def test_a_current_stands_within_half_of_the_step_that_frozen_looks_for():
    cells = Cells()
    cells.sig[P.PACK_UV] = cells.f[F.PACK_UV] * 9 // 10
    half_ua = cells.pack.frozen_step_ua // 2
    for ua, told in ((half_ua + 2, 0), (half_ua, 1)):
        for k in range(20):
            cells.current(ua * (k % 2))
            cells.tick()
        assert (cells.sig[P.STACK_PPM] > 0) == told


@pytest.mark.parametrize("first", [0, 6, 12])
def test_an_open_wire_takes_from_one_what_it_gives_to_its_neighbour(first: int):
    cells = Cells()
    for off_uv in (0, 70_000, -200_000):
        cells.cells(CELL_UV, **{f"c{first}": off_uv, f"c{first + 1}": -off_uv})
        cells.tick()
        assert cells.sig[P.WIRE_UV] == pytest.approx(abs(off_uv), abs=20)
    cells.cells(CELL_UV, **{f"c{first}": -150_000, f"c{first + 1}": 90_000})
    cells.tick()
    assert cells.sig[P.WIRE_UV] == pytest.approx(90_000, abs=10_000)


def test_cells_off_the_same_way_or_apart_are_no_open_wire():
    cells = Cells()
    cells.tick()
    assert cells.sig[P.WIRE_UV] == 0
    for off in ({"c3": -90_000, "c4": -80_000}, {"c0": 90_000}, {"c13": 90_000}):
        cells.cells(CELL_UV, **off)
        cells.tick()
        assert cells.sig[P.WIRE_UV] < 15_000
    cells.cells(CELL_UV, c3=-90_000, c9=90_000)
    cells.tick()
    assert cells.sig[P.WIRE_UV] == 0


def test_neighbours_apart_are_no_open_wire_where_others_lie_further_out():
    cells = Cells()
    pair = {"c1": -140_000, "c2": 140_000}
    cells.cells(CELL_UV, **pair)
    cells.tick()
    assert cells.sig[P.WIRE_UV] == pytest.approx(140_000, abs=20)
    for out in ({"c9": -400_000}, {"c9": 160_000}):  # going empty, or fuller
        cells.cells(CELL_UV, **pair, **out)
        cells.tick()
        assert cells.sig[P.WIRE_UV] == 0


@pytest.mark.parametrize("at", range(4))
def test_one_low_cell_among_four_is_no_open_wire(at: int):
    cells = Cells("bench_4s")
    cells.cells(CELL_UV, **{f"c{at}": -400_000})
    cells.tick()
    assert cells.sig[P.WIRE_UV] <= 16


def test_two_cells_are_a_stack():
    cells = Cells("bench_4s", cells=2)
    cells.cells(CELL_UV, c0=-70_000, c1=70_000)
    cells.sig[P.PACK_UV] = cells.f[F.PACK_UV] * 9 // 10
    cells.run(1)
    assert cells.sig[P.WIRE_UV] == 0  # against which others would it show?
    assert cells.sig[P.STACK_PPM] == pytest.approx(110_000, rel=0.02)


def test_one_cell_has_no_neighbour():
    cells = Cells("bench_1s")
    cells.sig[P.PACK_UV] = 1
    cells.cells(CELL_UV + 15)
    cells.run(70)
    cells.cells(3_000_000)
    cells.sig[P.PACK_UV] = 1
    cells.run(5)
    assert not any(cells.sig[s] for s in (P.WIRE_UV, P.STACK_PPM, P.SAG_UV, P.SPREAD_UV))


# Voltage against current.

STROKES = (0.0, -0.7, -0.2, 0.3, -0.5, 0.1)  # of the pack's most current


def drive(cells: Cells, strokes: int = 40, hold_s: float = 2.0, **how: float) -> int:
    """Let loads come and go; return the most that ODD_STEPS became."""
    most_ua = cells.pack.discharge_max_ma * 1000
    worst = 0
    for k in range(strokes):
        cells.load(round(STROKES[k % len(STROKES)] * most_ua), **how)
        for _ in range(round(hold_s * 1000 / cells.tick_ms)):
            cells.tick()
            worst = max(worst, cells.sig[P.ODD_STEPS])
    return worst


@pytest.mark.parametrize("temp", [-10_000, 0, WARM_MDEGC, 45_000])
@pytest.mark.parametrize("share", [0.5, 1.0, 1.8])
def test_cells_that_answer_as_they_should_are_not_odd(cells: Cells, temp: int, share: float):
    cells.temps(temp)
    assert drive(cells, share=share) == 0


@pytest.mark.parametrize("shows", [0.0, 0.05])
def test_a_current_that_does_not_show_is_odd(cells: Cells, shows: float):
    assert drive(cells, shows=shows) > 3


def test_cells_that_answer_ten_times_as_much_are_odd(cells: Cells):
    assert drive(cells, share=10.0) > 3


def test_a_current_that_never_stands_is_not_judged(cells: Cells):
    assert drive(cells, 100, hold_s=0.5, share=10.0) == 0


def test_readings_a_second_apart_in_time_are_not_held_against_the_cells(cells: Cells):
    # Current and voltage of different moments, held for a second each.
    rng = random.Random(1)
    most_ua = cells.pack.discharge_max_ma * 1000
    last = 0
    for _ in range(300):
        ua = round(rng.uniform(-0.8, 0.2) * most_ua)
        cells.load(last)
        cells.current(ua)
        last = ua
        cells.run(1)
        assert cells.sig[P.ODD_STEPS] <= 1


def test_odd_steps_are_forgotten_slowly_or_by_good_answers():
    cells = Cells("bench_1s")
    swing(cells, 3)
    assert cells.sig[P.ODD_STEPS] == 3
    cells.run(55)
    assert cells.sig[P.ODD_STEPS] == 3
    cells.run(130)
    assert cells.sig[P.ODD_STEPS] == 0
    swing(cells, 3)
    for ua in (0, -16_000_000, 0, -16_000_000, 0):  # the first is odd, too
        cells.load(ua)
        cells.run(2.5)
    assert cells.sig[P.ODD_STEPS] == 0
    swing(cells, 60)
    assert cells.sig[P.ODD_STEPS] == 20, "and no more than so many are kept"


def swing(cells: Cells, times: int) -> None:
    """Let the voltage move so often while the current stands at none."""
    cells.load(0)
    cells.run(120)
    for k in range(times):
        cells.cells(CELL_UV - 150_000 * (1 - k % 2))
        cells.run(2)
    cells.cells(CELL_UV - 150_000 * (times % 2))


def test_old_looks_and_unknown_temperatures_judge_nothing(cells: Cells):
    most_ua = cells.pack.discharge_max_ma * 1000
    for k in range(20):
        cells.doubt()
        cells.load(-most_ua * (k % 2) // 2)
        cells.run(2)
        cells.doubt(P.CELL_MIN_UV)  # a gap
        cells.current(0)
        cells.tick()
    assert cells.sig[P.ODD_STEPS] == 0
    cells.doubt(P.TEMP_MIN_MDEGC)
    for k in range(20):
        cells.cells(CELL_UV - 150_000 * (k % 2))
        cells.run(2)
    assert cells.sig[P.ODD_STEPS] == 0


def test_a_look_comes_once_the_current_stands_and_then_every_second():
    cells = Cells()
    looks = []
    for k in range(70):
        if k == 50:
            cells.doubt(P.CHARGE_UA)
        cells.tick()
        cells.doubt()
        looks.append(cells.said("look"))
    wanted = {29: 1, 49: 2}  # a first one after 1.5 s, one with another before it a second later
    assert looks == [wanted.get(k, 0) for k in range(70)]
    for dt_ms in (500, 49):
        cells.tick(dt_ms)
        assert cells.said("look") == 0
    cells.tick(1)
    assert cells.said("look") == 1, "a gap begins anew"
    cells.tick(999)
    assert cells.said("look") == 0
    cells.tick(1)
    assert cells.said("look") == 2
    cells.current(-2 * cells.pack.frozen_step_ua)
    for dt_ms in (50, 1000, 499):
        cells.tick(dt_ms)
        assert cells.said("look") == 0
    cells.tick(1)
    assert cells.said("look") == 2


@pytest.mark.parametrize(("ticks", "look"), [(60, 2), (61, 1)])
def test_a_look_more_than_three_seconds_ago_is_too_old(ticks: int, look: int):
    cells = Cells()
    cells.run(1.5)
    for k in range(ticks - 30):
        cells.current((-1) ** k * cells.pack.frozen_step_ua)
        cells.tick()
    cells.run(1.5)
    assert cells.said("look") == look


def test_a_look_tells_how_far_the_current_moved_and_what_may_settle():
    cells = Cells()
    cells.current(3_000_000)
    cells.run(300)
    cells.current(-17_000_000)
    cells.run(1.55)
    assert (cells.said("look"), cells.said("moved_ma")) == (2, -20_000)
    at = cells.pack.r10s_uohm, cells.pack.dcir_uohm
    settles_uohm = interp(at[0], WARM_MDEGC) - interp(at[1], WARM_MDEGC)
    wanted_uv = 20 * math.exp(-1.55 / 30) * settles_uohm
    assert cells.said("settle_uv") == pytest.approx(wanted_uv, rel=0.005)
    cells.run(1)
    assert cells.said("moved_ma") == 0
    assert cells.said("settle_uv") == pytest.approx(wanted_uv, rel=0.005), "since the look before"
    cells.run(1)
    assert cells.said("settle_uv") < 0.98 * wanted_uv


def test_beyond_500_a_a_current_counts_as_500_a():
    cells = Cells()
    cells.run(1.5)
    cells.current(-600_000_000)
    cells.run(1.55)
    assert cells.said("moved_ma") == -500_000


# Coldest and hottest sensor, and the resistance there: now, after 1 s and after 10 s.
TEMPS, DCIR, R1S, R10S = (0, 50_000), (8_000, 4_000), (10_000, 5_000), (9_000, 7_000)


def unequally_warm() -> Cells:
    """Return cells with two temperatures and the resistances above."""
    cells = Cells()
    tables = {"dcir_uohm": DCIR, "r1s_uohm": R1S, "r10s_uohm": R10S}
    for name, uohm in tables.items():
        setattr(cells.pack, name, array("i", [*TEMPS, *uohm]))
    cells.temps(TEMPS[0], t1=TEMPS[1])
    return cells


def answer(cells: Cells, ua: int, uv: int) -> int:
    """Let a current come that the cells answer by so much; return what ODD_STEPS became."""
    cells.cells(CELL_UV)
    cells.current(0)
    cells.run(1.55)
    cells.cells(CELL_UV + uv)
    cells.current(ua)
    cells.run(1.55)
    assert cells.said("look") == 2
    return cells.sig[P.ODD_STEPS]


@pytest.mark.parametrize("way", [1, -1])
def test_an_answer_lies_between_a_quarter_of_warm_and_twice_cold_resistance(way: int):
    # 100 A: at least 100 mV of 4 mOhm, at most 2 V of 10 mOhm, 50 mV either way and what settles.
    settles_uv = 0
    for uv, odd in ((100_000, 0), (2_000_000, 0)):
        cells = unequally_warm()
        assert answer(cells, way * 100_000_000, way * uv) == odd
        settles_uv = cells.said("settle_uv")
    assert 90_000 < settles_uv < 100_000
    most_uv = 2_050_000 + settles_uv
    for uv, odd in ((most_uv // 16 * 16, 0), (most_uv // 16 * 16 + 16, 1)):
        assert answer(unequally_warm(), way * 100_000_000, way * uv) == odd
    least_uv = 50_000 - settles_uv
    for uv, odd in ((-(-least_uv // 16) * 16, 0), (-(-least_uv // 16) * 16 - 16, 1)):
        assert answer(unequally_warm(), way * 100_000_000, way * uv) == odd


@pytest.mark.parametrize(("uv", "odd"), [(50_000, 0), (49_984, 1)])
def test_resistance_that_does_not_grow_with_time_settles_nothing(uv: int, odd: int):
    cells = unequally_warm()
    cells.pack.r10s_uohm = array("i", [*TEMPS, 1000, 1000])
    assert answer(cells, 100_000_000, uv) == odd
    assert cells.said("settle_uv") == 0


def test_an_odd_step_is_forgotten_after_a_minute_to_the_millisecond():
    cells = Cells()
    cells.current(200_000)
    cells.run(29.5)
    for uv in (-100_000, 0, -100_000):
        cells.cells(CELL_UV + uv)
        cells.run(1)  # a look ends it
    left = cells.sig[P.ODD_STEPS]
    assert left == 3
    while left:
        for dt_ms in (*[1000] * 59, 999):
            cells.tick(dt_ms)
            assert cells.sig[P.ODD_STEPS] == left
        cells.tick(1)
        left -= 1
        assert cells.sig[P.ODD_STEPS] == left
    cells.run(61, 1000)
    assert cells.sig[P.ODD_STEPS] == 0


def test_a_step_too_small_to_tell_takes_no_odd_one_back():
    # A quarter of 4 mOhm must answer by more than 50 mV.
    for ua, left in ((50_000_000, 1), (50_010_000, 0)):
        cells = unequally_warm()
        assert answer(cells, ua, -500_000) == 1
        cells.cells(CELL_UV - 800_000)
        cells.current(0)
        cells.run(1.55)
        assert cells.sig[P.ODD_STEPS] == left
