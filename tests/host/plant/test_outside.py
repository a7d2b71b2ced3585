"""Loads and charger: what they ask for, second by second, and what swings about it."""

import numpy as np
import pytest
from solidbms.plant.outside import SAMPLE_S, Outside
from solidbms.scenario import Scenario, read_profile

BASE = {
    "name": "s", "about": "", "pack": "robot_14s", "duration_s": 100.0,
    "start": {"soc": 0.5, "temp_c": 25.0}, "ambient": [[0.0, 25.0], [1.0, 25.0]], "expect": {},
}  # fmt: skip
SPAN = {"from_s": 0, "until_s": 90}
FAR = (100.0, 100.0)


def outside(t_s: float = 0.0, **parts) -> Outside:
    found = Outside(Scenario.model_validate(BASE | parts))
    found.plan(t_s)
    return found


def ripple(*swings: tuple[float, float]) -> Outside:
    return outside(load=[SPAN | {"current_a": -1.0, "ripple_a": a, "ripple_hz": hz}
                         for a, hz in swings])  # fmt: skip


def test_loads_add_up_and_profiles_repeat():
    us06 = read_profile("us06")
    both = outside(load=[SPAN | {"profile": "us06", "scale": 0.5}, SPAN | {"current_a": -1.0}])
    for t_s in (0, 17, 80):
        both.plan(float(t_s))
        assert both.load_a(FAR) == pytest.approx(0.5 * us06[t_s] - 1.0)
    late = outside(700.0, load=[{"from_s": 50, "until_s": 900, "profile": "us06"}])
    assert late.load_a(FAR) == pytest.approx(us06[50])
    both.plan(90.0)
    assert both.load_a(FAR) == 0.0


def test_resistors_are_a_conductance():
    both = outside(load=[SPAN | {"ohm": 20.0}, SPAN | {"ohm": 5.0}])
    assert both.siemens == pytest.approx(0.25) and both.load_a(FAR) == 0.0
    both.plan(95.0)
    assert both.siemens == 0.0


@pytest.mark.parametrize("hz", [37.0, 60.0, 333.3, 16000.0])
def test_ripple_means_are_exact(hz):
    """Mean over each step and sample over its last 3 ms against a sum of fine slices."""
    mean, sample = ripple((8.0, hz), (3.0, 2 * hz)).ripple(1950, 0.05, 3)
    fine = np.linspace(0, 0.05, 400_001)
    fine = (fine[1:] + fine[:-1]) / 2
    for k in range(3):
        w = 2 * np.pi * hz * (1.95 + 0.05 * k + fine)
        amps = 8 * np.cos(w) + 3 * np.cos(2 * w)
        assert mean[k] == pytest.approx(amps.mean(), abs=1e-4)
        assert sample[k] == pytest.approx(amps[fine > 0.05 - SAMPLE_S].mean(), abs=1e-3)


def test_a_sampled_current_misses_what_the_mean_holds():
    """At a multiple of the tick's rate every sample falls on the same place of the wave."""
    mean, sample = ripple((8.0, 60.0)).ripple(0, 0.05, 20)
    assert np.abs(mean).max() < 1e-9
    assert (sample > 6).all() and np.ptp(sample) < 1e-9
    mean, sample = ripple((8.0, 37.0)).ripple(0, 0.05, 20)
    assert mean.sum() == pytest.approx(0, abs=1e-9)  # 37 whole periods
    assert np.abs(mean).max() > 0.1 and np.ptp(sample) > 10


def test_charger_ends_when_its_current_has_tapered():
    charge = {"cc_a": 5.0, "cv_v": 58.8}
    plan = outside(charge=[SPAN | charge | {"stop_a": 0.5}])
    charger = plan.charger
    assert charger is not None
    assert plan.charge_a(charger, 9.0, 12.0) == 5.0
    for hold_a in (12.0, 0.3):
        assert plan.charge_a(charger, 0.2, hold_a) == 0.2  # held down by the pack: no end
    assert plan.charge_a(charger, 9.0, 0.6) == 0.6 and plan.charger is charger
    assert plan.charge_a(charger, 9.0, 0.4) == 0.0 and plan.charger is None
    plan.plan(1.0)
    assert plan.charger is None
    floats = outside(charge=[SPAN | charge])
    assert floats.charger is not None
    assert floats.charge_a(floats.charger, 9.0, 0.01) == 0.01
    assert floats.charge_a(floats.charger, 9.0, -3.0) == 0.0 and floats.charger is not None
