"""The plant of a scenario, one cell and a robot's pack: what flows, what shows, what warms."""

import numpy as np
import pytest
from solidbms.packc import load
from solidbms.plant.drive import Drive
from solidbms.plant.fet import Fet, FetPair
from solidbms.scenario import Scenario, read_profile

FILE, CELL, _ = load("bench_1s")
ROBOT, ROBOT_CELL, _ = load("robot_14s")
FAR = (100.0, 100.0)
BASE = {
    "name": "s", "about": "", "pack": "bench_1s", "duration_s": 100.0,
    "start": {"soc": 0.5, "temp_c": 20.0}, "ambient": [[0.0, 20.0], [100.0, 40.0]], "expect": {},
}  # fmt: skip


def drive(**parts) -> Drive:
    return Drive(Scenario.model_validate(BASE | parts), FILE, CELL)


def fets(charge: bool = True, discharge: bool = True) -> FetPair:
    return FetPair(0.004, 0.7, Fet(charge), Fet(discharge))


def after(plant: Drive, seconds: int, switch: FetPair, limits=FAR, begin: int = 0) -> Drive:
    for t in range(begin, begin + seconds):
        plant.step(float(t), 1.0, switch, limits)
    return plant


def test_constant_load_moves_the_charge_it_draws():
    plant = after(drive(load=[{"from_s": 0, "until_s": 50, "current_a": -2.0}]), 40, fets())
    assert plant.current_a == plant.mean_a == -2.0
    assert plant.truth()[0] == pytest.approx(0.5 - 80 / 3600 / 2.781, abs=1e-9)
    assert after(plant, 20, fets(), begin=50).current_a == 0.0


def test_loads_add_up_and_profiles_repeat():
    us06 = read_profile("us06")
    plant = drive(load=[
        {"from_s": 0, "until_s": 90, "profile": "us06", "scale": 0.5},
        {"from_s": 0, "until_s": 90, "current_a": -1.0},
    ])  # fmt: skip
    for t in (0, 17, 80):
        plant.step(float(t), 1.0, fets(), FAR)
        assert plant.current_a == pytest.approx(0.5 * us06[t] - 1.0)


@pytest.mark.parametrize(("asked", "limits", "drawn"), [
    (-5.0, (1.0, 2.0), -2.0), (5.0, (1.0, 2.0), 1.0), (-1.0, (1.0, 2.0), -1.0),
])  # fmt: skip
def test_a_load_that_obeys_keeps_to_the_limits(asked, limits, drawn):
    span = {"from_s": 0, "until_s": 9, "current_a": asked}
    assert after(drive(load=[span | {"obeys": True}]), 1, fets(), limits).current_a == drawn
    assert after(drive(load=[span]), 1, fets(), limits).current_a == asked


@pytest.mark.parametrize(("charge", "discharge", "asked", "flows"), [
    (True, True, -2.0, True), (False, True, -2.0, True), (True, False, -2.0, False),
    (False, True, 2.0, False), (True, False, 2.0, True), (False, False, -2.0, False),
])  # fmt: skip
def test_gates_decide_what_flows(charge, discharge, asked, flows):
    plant = drive(load=[{"from_s": 0, "until_s": 9, "current_a": asked}])
    after(plant, 1, fets(charge, discharge))
    assert plant.current_a == (asked if flows else 0.0)


def test_charger_goes_from_current_to_voltage():
    charge = {"from_s": 0, "until_s": 99, "cc_a": 2.0, "cv_v": 4.0}
    plant = drive(charge=[charge])
    after(plant, 1, fets())
    assert plant.current_a == 2.0
    high = drive(charge=[charge], start={"soc": 0.75, "temp_c": 20.0})
    after(high, 9, fets())
    assert 0 < high.current_a < 2.0 and high.bus_v < 4.0
    full = drive(charge=[charge], start={"soc": 1.0, "temp_c": 20.0})
    after(full, 1, fets())
    assert full.current_a == 0.0  # a charger does not discharge


def test_charger_obeys_or_not():
    charge = {"from_s": 0, "until_s": 9, "cc_a": 2.0, "cv_v": 4.2}
    assert after(drive(charge=[charge]), 1, fets(), (0.5, 9.0)).current_a == 0.5
    wild = drive(charge=[charge | {"obeys": False}])
    assert after(wild, 1, fets(), (0.5, 9.0)).current_a == 2.0


def test_heat_and_ambient_warm_the_cell():
    still, heated = drive(), drive(heat=[{"from_s": 0, "until_s": 60, "w": 14.0}])
    after(still, 60, fets())
    after(heated, 60, fets())
    assert 20.0 < still.temp_c < 32.0
    capacity = CELL.thermal.heat_capacity_j_per_k
    assert heated.temp_c - still.temp_c == pytest.approx(14 * 60 / capacity, rel=0.06)
    assert still.die_c == pytest.approx(20 + 59 * 0.2)


def test_voltage_is_the_rested_one_at_the_start():
    plant = drive()
    assert plant.bus_v == pytest.approx(float(plant.cells.voltage_v(0.0).sum()))
    assert plant.truth() == (0.5, 20.0)


def robot(seed: int = 0, **parts) -> Drive:
    return Drive(Scenario.model_validate(BASE | {"pack": "robot_14s"} | parts), ROBOT, ROBOT_CELL,
                 seed)  # fmt: skip


def ticks(plant: Drive, seconds: float, switch: FetPair, limits=FAR, begin_s: float = 0.0):
    """Step by 50 ms; yield the time after each step."""
    for ms in range(round(begin_s * 1000), round((begin_s + seconds) * 1000), 50):
        plant.step(ms * 1e-3, 0.05, switch, limits)
        yield (ms + 50) * 1e-3


def run(plant: Drive, seconds: float, switch: FetPair, limits=FAR, begin_s: float = 0.0) -> Drive:
    for _ in ticks(plant, seconds, switch, limits, begin_s):
        pass
    return plant


SPAN = {"from_s": 0, "until_s": 5000}
SPREAD = {"capacity_pct": 2.0, "r_pct": 10.0, "soc_pct": 1.0}


def test_one_pack_for_each_seed():
    same, again, other = (robot(seed, spread=SPREAD).cells_v for seed in (1, 1, 2))
    assert same == again and same != other and len(set(same)) == 14
    assert len(set(robot().cells_v)) == 1


def test_it_does_not_matter_where_a_stretch_is_broken_off():
    """`truth` ends the stretch: here after every step, there every second."""
    parts = {
        "spread": SPREAD,
        "load": [SPAN | {"profile": "us06", "scale": 1.5}],
        "ambient": [[0.0, 5.0], [20.0, 0.0]],
        "start": {"soc": 0.6, "temp_c": 5.0},
    }
    whole, cut = robot(**parts), robot(**parts)
    for _, _ in zip(ticks(whole, 20, fets()), ticks(cut, 20, fets()), strict=True):
        cut.truth()
        assert whole.mean_a == cut.mean_a
        np.testing.assert_allclose(whole.cells_v, cut.cells_v, rtol=0, atol=1e-5)
        np.testing.assert_allclose(whole.temps_c, cut.temps_c, rtol=0, atol=1e-4)
    assert whole.truth() == pytest.approx(cut.truth(), abs=1e-4)
    np.testing.assert_allclose(whole.cells.soc, cut.cells.soc, rtol=0, atol=1e-12)


def test_a_pack_with_an_empty_and_a_full_cell_is_empty():
    cells = [{"cell": 5, "soc": 0.0}, {"cell": 6, "soc": 1.0}]
    assert robot(cell=cells).truth()[0] == 0.0
    assert robot(cell=cells[:1]).truth()[0] == 0.0 and robot(cell=cells[1:]).truth()[0] == 1.0


def test_a_pack_drawn_beyond_empty_has_none_left():
    plant = robot(load=[SPAN | {"current_a": -50.0}], start={"soc": 0.001, "temp_c": 20.0})
    run(plant, 20, fets())
    assert plant.truth()[0] == 0.0 and max(plant.cells_v) < 2.9
    assert plant.cells.soc[0, 0] == pytest.approx(0.001 - 1000 / 54000)


def test_bleeding_takes_charge_from_its_cells_and_warms_the_chip():
    plant = robot()
    assert ROBOT.balance is not None
    plant.bleeds = 0b10_0000_0000_0101
    run(plant, 100, fets(False, False)).truth()
    lost = 0.5 - plant.cells.soc[0]
    bled_a = plant.cells_v[0] / ROBOT.balance.bleed_ohm
    expected = np.zeros(14)
    expected[[0, 2, 13]] = bled_a * 100 / 54000
    np.testing.assert_allclose(lost, expected, rtol=1e-3, atol=1e-12)
    assert plant.die_c - 20 - 100 / 5 == pytest.approx(66 * 3 * bled_a**2 * 28, rel=0.02)
    assert plant.current_a == 0.0
    plant.bleeds = 0
    run(plant, 100, fets(False, False), begin_s=100).truth()
    assert plant.die_c == pytest.approx(40, abs=0.2)
    np.testing.assert_allclose(0.5 - plant.cells.soc[0], lost, rtol=0, atol=1e-12)


def test_count_of_the_mean_is_right_under_ripple_and_of_samples_is_not():
    load = SPAN | {"current_a": -20.0, "ripple_a": 15.0, "ripple_hz": 60.0}
    plant = robot(load=[load], start={"soc": 0.9, "temp_c": 20.0})
    mean_as = sampled_as = 0.0
    for _ in ticks(plant, 600, fets()):
        mean_as += plant.mean_a * 0.05
        sampled_as += plant.current_a * 0.05
    assert mean_as == pytest.approx(-20 * 600, rel=1e-9)
    assert abs(sampled_as / mean_as - 1) > 0.3
    assert plant.truth()[0] == pytest.approx(0.9 - 12000 / 54000, abs=1e-9)
    assert plant.peak_a == -35.0


def test_voltage_answers_the_current_that_is_sampled_with_it():
    load = SPAN | {"current_a": -20.0, "ripple_a": 15.0, "ripple_hz": 37.0}
    plant, plain = robot(load=[load]), robot(load=[SPAN | {"current_a": -20.0}])
    for _, _ in zip(ticks(plant, 3, fets()), ticks(plain, 3, fets()), strict=True):
        dv, di = plant.cells_v[3] - plain.cells_v[3], plant.current_a - plain.current_a
        assert dv == pytest.approx(di * plain.cells.r_ohm[0, 0, 3], rel=5e-3, abs=1e-4)
    assert plant.temp_c > plain.temp_c + 1e-4


def test_load_hears_limits_every_200_ms():
    plant = robot(load=[SPAN | {"current_a": -50.0, "obeys": True}])
    run(plant, 1.05, fets(), (5.0, 40.0))
    assert plant.current_a == -40.0
    seen = [plant.current_a for _ in ticks(plant, 0.3, fets(), (5.0, 30.0), 1.05)]
    assert seen == [-40.0] * 3 + [-30.0] * 3
    wild = robot(load=[SPAN | {"current_a": -50.0}])
    assert run(wild, 1, fets(), (5.0, 30.0)).current_a == -50.0


def test_gates_and_fuse_act_within_the_step():
    plant = run(robot(load=[SPAN | {"current_a": -5.0}]), 0.5, fets())
    run(plant, 0.05, fets(True, False), begin_s=0.5)
    assert plant.current_a == plant.mean_a == 0.0
    run(plant, 0.05, fets(), begin_s=0.55)
    assert plant.current_a == -5.0
    plant.fuse_blown = True
    run(plant, 0.05, fets(), begin_s=0.6)
    assert (plant.current_a, plant.out_v) == (0.0, 0.0)


def test_charge_tapers_and_stops():
    charge = SPAN | {"cc_a": 7.0, "cv_v": 58.8, "stop_a": 0.75}
    plant = robot(charge=[charge], start={"soc": 0.82, "temp_c": 25.0},
                  ambient=[[0.0, 25.0], [1.0, 25.0]], spread=SPREAD)  # fmt: skip
    amps, out_v = [], []
    for _ in ticks(plant, 2600, fets()):
        amps.append(plant.current_a)
        out_v.append(plant.out_v)
    assert amps[10] == 7.0 and amps[-1] == 0.0
    tapering = [a for a in amps if 0 < a < 7]
    assert len(tapering) > 2000 and min(tapering) >= 0.75 and tapering[-1] < 0.8
    assert len(set(tapering)) == pytest.approx(len(tapering) / 4, rel=0.01)  # every 200 ms
    assert 58.8 - 0.005 < max(out_v) < 58.8 + 0.005


def test_charger_that_does_not_stop_stops_at_the_inhibit_line_if_it_heeds_it():
    charge = SPAN | {"cc_a": 7.0, "cv_v": 64.0, "obeys": False}
    for heeds, amps in ((True, 0.0), (False, 7.0)):
        full = {"soc": 0.99, "temp_c": 25.0}
        plant = robot(charge=[charge | {"heeds_inhibit": heeds}], start=full)
        run(plant, 1, fets(), (0.0, 0.0))
        assert plant.current_a == 7.0
        plant.charger_enabled = False
        run(plant, 1, fets(), (0.0, 0.0), 1)
        assert plant.current_a == amps


def test_terminals_come_up_through_the_resistor_and_join_without_a_rush():
    plant = robot(output={"capacitance_uf": 2000.0})
    pre = fets(True, False)
    pre.pre_discharge.gate = True
    at_s = [t for t in ticks(plant, 2, pre) if plant.out_v > plant.bus_v - 2.0]
    ohm = 100 + 14 * plant.cells.r_ohm[0, 0, 0]
    assert at_s[0] == pytest.approx(ohm * 2e-3 * np.log(plant.bus_v / 2), abs=0.05)
    drawn_v = 54000 * (0.5 - plant.truth()[0]) / 2e-3
    assert drawn_v == pytest.approx(plant.out_v, rel=1e-3)
    run(plant, 0.05, fets(), begin_s=2)
    assert plant.out_v == plant.bus_v and -0.1 < plant.mean_a <= 0.0
    empty = run(robot(output={"capacitance_uf": 2000.0}), 0.05, fets())
    assert empty.mean_a == pytest.approx(-2e-3 * empty.bus_v / 0.05, rel=1e-2)
    assert empty.peak_a < -500 and empty.current_a == 0.0
    assert run(empty, 0.05, fets(), begin_s=0.05).mean_a == 0.0


def test_terminals_fall_while_the_gates_are_open_and_fill_again():
    plant = run(robot(output={"capacitance_uf": 2000.0, "leak_ohm": 1000.0}), 1, fets())
    full_v = plant.out_v
    run(plant, 1.3, fets(False, False), begin_s=1)
    assert plant.out_v == pytest.approx(full_v * np.exp(-1.3 / 2), rel=1e-4)
    gap_v = plant.bus_v - plant.out_v
    run(plant, 0.05, fets(), begin_s=2.3)
    leak_a = plant.bus_v / 1000
    assert plant.mean_a == pytest.approx(-2e-3 * gap_v / 0.05 - leak_a, rel=1e-3)


def test_a_hot_cell_shows_late_and_faint_at_the_sensors():
    """12 W in cell 7, beside the sensor between cells 6 and 7."""
    plant = robot(heat=[SPAN | {"w": 12.0, "cell": 7}], ambient=[[0.0, 20.0], [1.0, 20.0]])
    hottest_c = run(plant, 100, fets(False, False)).temp_c
    temp_c = plant.cells.temp_c[0]
    assert temp_c[7] - 20 == pytest.approx(12 * 100 / 115, rel=0.25)
    assert temp_c[7] == hottest_c and temp_c[6] > temp_c[5] > temp_c[4] > 20
    touched_c = (temp_c[6] + temp_c[7]) / 2
    assert temp_c[7] - 3 > touched_c > plant.temps_c[1] + 1 > plant.temps_c[0] + 2
    stored_j = 115 * (temp_c - 20).sum()
    assert stored_j == pytest.approx(1200, rel=0.06)  # the rest went to ambient


def test_fets_and_board_warm():
    parts = {"load": [SPAN | {"current_a": -70.0}], "ambient": [[0.0, 20.0], [1.0, 20.0]]}
    plant = run(robot(**parts), 400, FetPair(0.0008, 0.8, Fet(True), Fet(True)))
    assert plant.fet_c - 20 == pytest.approx(3 * 70**2 * 0.0016, rel=1e-3)
    assert plant.die_c == 20.0
    heat = [SPAN | {"w": 10.0, "at": "fets"}, SPAN | {"w": 0.5, "at": "board"}]
    hot = run(robot(heat=heat, ambient=[[0.0, 20.0], [1.0, 20.0]]), 400, fets())
    assert (hot.fet_c, hot.die_c) == pytest.approx((50, 53), abs=0.01)
    assert hot.temp_c == pytest.approx(20)


def test_a_short_and_a_gap_show_in_their_cells():
    plant = robot(
        short=[SPAN | {"cell": 3, "ohm": 1.0}],
        gap=[SPAN | {"cell": 8, "pct": 200.0, "pct_per_h": 0.0}],
        load=[{"from_s": 50, "until_s": 60, "current_a": -30.0}],
        ambient=[[0.0, 20.0], [1.0, 20.0]],
    )
    run(plant, 50, fets()).truth()
    rest_v, soc = plant.cells_v, plant.cells.soc[0]
    assert 0.5 - soc[3] == pytest.approx(3.83 * 50 / 54000, rel=0.01) and soc[4] == 0.5
    heat_j = 3.83**2 * 50  # V^2 / R, within the cell
    assert plant.cells.temp_c[0, 3] - 20 == pytest.approx(heat_j / 115, rel=0.15)
    assert rest_v[8] == pytest.approx(rest_v[9], abs=1e-6)
    run(plant, 3, fets(), begin_s=50)
    r1_ohm = float(plant.cells.r_ohm[1, 0, 9])
    assert plant.cells_v[9] - plant.cells_v[8] == pytest.approx(30 * 2 * r1_ohm, rel=0.02)
