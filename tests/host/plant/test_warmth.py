"""Thermistors between cells, and parts that warm."""

import numpy as np
import pytest
from solidbms.plant.warmth import Rise, Sensors

STILL = np.zeros(14)


def test_three_of_a_row_of_fourteen_lie_between_cells():
    temp_c = np.arange(14.0) + 20
    assert Sensors(3, 14, 30.0).begin(temp_c) == [22.5, 26.5, 30.5]
    assert Sensors(2, 4, 30.0).begin(temp_c[:4]) == [20.5, 22.5]
    assert Sensors(4, 4, 30.0).begin(temp_c[:4]) == [20.0, 21.0, 22.0, 23.0]


def test_one_alone_follows_the_hottest_at_once():
    sensors = Sensors(1, 14, 30.0)
    temp_c, change_k = np.full(14, 20.0), np.zeros(14)
    temp_c[5], change_k[5] = 30.0, 2.0
    assert sensors.begin(temp_c) == [30.0]
    felt = sensors.felt_c([0.0], temp_c, change_k, 0.5, 3)
    assert np.array(felt)[:, 0] == pytest.approx([31, 32, 33])


def test_others_lag():
    sensors = Sensors(3, 14, 30.0)
    before = sensors.begin(np.full(14, 20.0))
    step = sensors.felt_c(before, np.full(14, 50.0), STILL, 10.0, 6)
    expected = 50 - 30 * np.exp(-np.arange(1, 7) / 3)
    np.testing.assert_allclose(step, np.repeat(expected[:, None], 3, 1))
    # behind a ramp of 0.1 K/s by 0.1 x 30 s in the end
    ramp = sensors.felt_c(before, np.full(14, 20.0), STILL + 0.1, 1.0, 300)
    assert ramp[-1] == pytest.approx([20 + 30 - 3] * 3, abs=1e-3)


def test_lag_does_not_depend_on_how_time_is_cut():
    sensors = Sensors(3, 14, 30.0)
    temp_c, change_k = np.linspace(20, 40, 14), np.linspace(0, 0.3, 14)
    whole = sensors.felt_c([15.0, 30.0, 40.0], temp_c, change_k, 0.05, 20)
    felt = [15.0, 30.0, 40.0]
    for k in range(4):
        felt = sensors.felt_c(felt, temp_c + change_k * 0.25 * k, change_k, 0.05, 5)[-1]
    assert felt == pytest.approx(whole[-1], abs=1e-12)


def test_rise_settles_at_what_it_is_heated_to():
    part = Rise(3.0, 40.0)
    part.w = 8.0
    for dt_s in (0.05, 19.95, 20.0):
        part.step(dt_s)
    assert part.k == pytest.approx(24 * (1 - np.exp(-1)))
    assert part.step(1e4) == pytest.approx(24)
    part.w = 0.0
    assert part.step(40.0) == pytest.approx(24 * np.exp(-1))
