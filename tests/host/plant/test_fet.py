import pytest
from hypothesis import given
from hypothesis import strategies as st
from solidbms.plant.fet import Fet, FetPair

FETS = st.builds(Fet, gate=st.booleans(), fault=st.sampled_from([None, "welded", "open"]))


def pair(charge: bool, discharge: bool) -> FetPair:
    return FetPair(0.01, 0.7, Fet(charge), Fet(discharge))


def test_both_on_drops_two_channels():
    assert pair(True, True).drop_v(5.0) == pytest.approx(0.1)
    assert pair(True, True).drop_v(-5.0) == pytest.approx(-0.1)
    assert pair(True, True).loss_w(-5.0) == pytest.approx(0.5)


def test_charge_off_lets_discharge_through_its_body_diode():
    switch = pair(False, True)
    assert not switch.conducts(1)
    assert switch.conducts(-1)
    assert switch.path(2.0) == 0.0
    assert switch.path(-2.0) == -2.0
    assert switch.drop_v(-5.0) == pytest.approx(-0.75)
    assert switch.loss_w(-5.0) == pytest.approx(3.75)


def test_discharge_off_lets_charge_through_its_body_diode():
    switch = pair(True, False)
    assert switch.conducts(1)
    assert not switch.conducts(-1)
    assert switch.drop_v(5.0) == pytest.approx(0.75)


def test_both_off_blocks():
    switch = pair(False, False)
    assert not switch.conducts(1) and not switch.conducts(-1) and not switch.conducts(0)
    assert switch.drop_v(0.0) == 0.0
    with pytest.raises(ValueError, match="charge FET is off"):
        switch.drop_v(1.0)
    with pytest.raises(ValueError, match="discharge FET is off"):
        switch.loss_w(-1.0)


def test_welded_conducts_whatever_the_gate():
    switch = pair(False, False)
    switch.charge.fault = "welded"
    assert switch.conducts(1) and not switch.conducts(-1)


def test_open_kills_the_channel_and_leaves_the_diode():
    switch = pair(True, True)
    switch.charge.fault = "open"
    assert not switch.conducts(1)
    assert switch.drop_v(-1.0) == pytest.approx(-0.71)


def test_body_diode_caps_a_channel():
    assert pair(True, True).drop_v(100.0) == pytest.approx(1.0 + 0.7)


@given(FETS, FETS, st.floats(-200.0, 200.0))
def test_whatever_flows_heats(charge, discharge, want_a):
    switch = FetPair(0.005, 0.7, charge, discharge)
    current_a = switch.path(want_a)
    assert current_a in (0.0, want_a)
    assert switch.loss_w(current_a) >= 0.0
    assert switch.conducts(1) == charge.on
    assert switch.conducts(-1) == discharge.on


def test_small_fets_lie_beside_the_large_ones():
    switch = pair(False, False)
    switch.pre_discharge.gate = True
    assert switch.ways == (False, False, True, False)
    assert not switch.conducts(0)
    switch.pre_charge.fault = "welded"
    switch.pre_discharge.fault = "open"
    assert switch.ways == (False, False, False, True)
