"""Currents between stack and terminals: pre-discharge, rush, drain, charger, resistor."""

import numpy as np
import pytest
from solidbms.plant.fet import FetPair
from solidbms.plant.outside import Outside
from solidbms.plant.terminals import Flow, Terminals
from solidbms.scenario import Scenario

BASE = {
    "name": "s", "about": "", "pack": "robot_14s", "duration_s": 100.0,
    "start": {"soc": 0.5, "temp_c": 25.0}, "ambient": [[0.0, 25.0], [1.0, 25.0]], "expect": {},
}  # fmt: skip
SPAN = {"from_s": 0, "until_s": 90}
STACK = 56.0, 0.05  # V, ohm
CHARGER = [SPAN | {"cc_a": 5.0, "cv_v": 58.8}]
FAR = (100.0, 100.0)


def terminals(capacitance_uf: float = 2000.0, leak_ohm: float | None = None, **parts) -> Terminals:
    output = {"capacitance_uf": capacitance_uf} | ({"leak_ohm": leak_ohm} if leak_ohm else {})
    scenario = Scenario.model_validate(BASE | {"output": output} | parts)
    outside = Outside(scenario)
    outside.plan(0.0)
    return Terminals(outside, scenario.output, 0.001)


def fets(*on: str) -> FetPair:
    pair = FetPair(0.002, 0.7, pre_discharge_ohm=100.0, pre_charge_ohm=80.0)
    for name in on:
        getattr(pair, name).gate = True
    return pair


BOTH = fets("charge", "discharge")
PRE = fets("charge", "pre_discharge")


def flow(at: Terminals, pair: FetPair, enabled: bool = True, dt_s: float = 0.05) -> Flow:
    return at.flow(STACK, pair, FAR, enabled, dt_s)


def test_pre_discharge_fills_as_a_resistor_does_a_capacitor():
    at = terminals()
    tau_s, moved_as = 100.05 * 2e-3, 0.0
    for k in range(1, 31):
        now = flow(at, PRE)
        moved_as -= now.mean_a * 0.05
        assert at.v == now.held_v == pytest.approx(56 * (1 - np.exp(-k * 0.05 / tau_s)))
        assert now.current_a == pytest.approx((at.v - 56) / 100.05)
        assert moved_as == pytest.approx(2e-3 * at.v)
        assert now.brief and not now.through
    flow(at, PRE, dt_s=2.0)
    now = flow(at, PRE)
    assert not now.brief and at.v == pytest.approx(56, abs=1e-4)


def test_pre_discharge_past_a_charge_fet_that_is_off_loses_the_diode():
    at = terminals()
    for _ in range(60):
        flow(at, fets("pre_discharge"))
    assert at.v == pytest.approx(55.3, abs=1e-3)


def test_a_stuck_load_keeps_it_from_filling():
    at = terminals(load=[SPAN | {"ohm": 30.0}])
    flow(at, PRE, dt_s=5.0)
    now = flow(at, PRE)
    assert at.v == pytest.approx(56 * 30 / 130.05, abs=1e-3)
    assert now.mean_a == pytest.approx(-56 / 130.05, rel=1e-4)


def test_closing_on_an_empty_capacitance_rushes():
    at = terminals(load=[SPAN | {"current_a": -3.0}])
    now = flow(at, BOTH)
    assert now.current_a == -3.0
    assert now.mean_a == pytest.approx(-3 - 2e-3 * 56 / 0.05)
    assert now.peak_a == pytest.approx(-56 / 0.055)
    assert now.brief and now.through
    at.v = at.after(now, BOTH, [55.8], 0.05)[-1]
    again = flow(at, BOTH)
    assert again.mean_a == again.current_a == again.peak_a == -3.0 and not again.brief


def test_no_rush_where_it_is_full_or_there_is_none():
    full = terminals()
    full.v = 56.0
    assert not flow(full, BOTH).brief
    assert flow(terminals(0.0), BOTH).mean_a == 0.0


def test_terminals_follow_the_stack_with_the_drop_of_the_fets():
    at = terminals(load=[SPAN | {"current_a": -10.0}])
    now = flow(at, BOTH)
    assert at.after(now, BOTH, [55.0, 54.0], 0.05) == pytest.approx([54.96, 53.96])
    half = fets("discharge")
    assert at.after(flow(at, half), half, [55.0], 0.05) == pytest.approx([54.28])


def test_load_drains_it_once_the_fets_are_off():
    at = terminals(leak_ohm=1000.0)
    at.v = 56.0
    v = at.after(flow(at, fets()), fets(), [56.0] * 20, 0.05)
    assert v[-1] == pytest.approx(56 * np.exp(-1.0 / 2.0))
    drawing = terminals(load=[SPAN | {"current_a": -0.5}])
    drawing.v = 56.0
    v = drawing.after(flow(drawing, fets()), fets(), [56.0] * 20, 0.05)
    assert v[:3] == pytest.approx([56 - 12.5, 56 - 25, 56 - 37.5]) and v[-1] == 0.0
    bare = terminals(0.0)
    bare.v = 56.0
    assert bare.after(flow(bare, fets()), fets(), [56.0] * 2, 0.05) == [0.0, 0.0]


def test_a_resistor_draws_by_ohms_law():
    at = terminals(load=[SPAN | {"ohm": 5.0}], leak_ohm=20.0)
    now = flow(at, BOTH)
    assert now.current_a == pytest.approx(-56 / (4 + 0.055))
    assert now.watched and flow(at, fets("charge")).current_a == 0.0


def test_charger_constant_current_then_constant_voltage():
    near = terminals(charge=CHARGER)
    assert flow(near, BOTH).current_a == 5.0
    high = near.flow((58.7, 0.05), BOTH, FAR, True, 0.05)
    assert high.current_a == pytest.approx(0.1 / 0.055) and high.watched
    assert 58.7 + high.current_a * 0.055 == pytest.approx(58.8)
    low = near.flow((50.0, 0.05), BOTH, FAR, True, 0.05)
    assert low.current_a == 5.0 and not low.watched


def test_charger_feeds_the_load_too():
    at = terminals(charge=CHARGER, load=[SPAN | {"current_a": -2.0}])
    assert flow(at, BOTH).current_a == 3.0
    held = at.flow((58.7, 0.05), BOTH, FAR, True, 0.05)
    assert held.current_a == pytest.approx(0.1 / 0.055)


@pytest.mark.parametrize(("heeds", "enabled", "charges"), [
    (True, True, True), (True, False, False), (False, False, True),
])  # fmt: skip
def test_charger_heeds_the_inhibit_line_or_not(heeds, enabled, charges):
    at = terminals(charge=[CHARGER[0] | {"heeds_inhibit": heeds}])
    assert (flow(at, BOTH, enabled).current_a == 5.0) == charges
    assert flow(at, fets(), enabled).held_v == (58.8 if charges else None)


def test_charger_past_the_small_fet_or_not_at_all():
    at = terminals(charge=CHARGER)
    slow = flow(at, fets("pre_charge"))
    assert slow.current_a == pytest.approx((58.8 - 56 - 0.7) / 80.05)
    assert slow.held_v == 58.8 and not slow.through
    pair = fets("discharge", "pre_charge")
    slow = flow(at, pair)
    assert slow.current_a == pytest.approx((58.8 - 56) / 80.05)
    assert at.after(slow, pair, [56.1], 0.05) == [58.8]
    kept_out = flow(at, fets("discharge"))
    assert kept_out.current_a == 0.0 and kept_out.held_v == 58.8
    diode = flow(at, fets("charge"))
    assert diode.current_a == 5.0 and diode.through


def test_brakes_stop_at_a_charge_fet_that_is_off():
    at = terminals(load=[SPAN | {"current_a": 4.0}])
    assert flow(at, BOTH).current_a == 4.0
    held = flow(at, fets("discharge"))
    assert held.current_a == 0.0 and held.through
