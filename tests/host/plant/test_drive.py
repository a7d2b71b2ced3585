"""The plant of a scenario: load, limits, charger, ambient, heat and gates."""

import pytest
from solidbms.packc import load
from solidbms.plant.drive import Drive
from solidbms.plant.fet import Fet, FetPair
from solidbms.scenario import Scenario, read_profile

FILE, CELL, _ = load("bench_1s")
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
