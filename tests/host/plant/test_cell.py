"""The plant's cells: charge, RC pairs, heat, packs side by side, tangents between look-ups."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solidbms.plant.cell import KELVIN, CellData, Cells, load_cell

CELLS = Path(__file__).parents[3] / "boards" / "cells"
NAMES = ["lg_hg2", "solid_state_15ah", "a123_26650"]


def plain(ocv: dict[str, object] | None = None, **changes: object) -> CellData:
    """A cell with constant parameters, so that the answers are formulas."""
    flat = {"soc": [0.0, 1.0], "temp_c": [25.0]}
    r = {"r0_ohm": [[0.02, 0.02]], "r1_ohm": [[0.01, 0.01]], "r2_ohm": [[0.03, 0.03]]}
    taus = {"tau1_s": 2.0, "tau2_s": 50.0, "activation_r0_k": 0.0, "activation_rc_k": 0.0}
    thermal = {"heat_capacity_j_per_k": 40.0, "to_ambient_w_per_k": 0.1}
    return load_cell(
        {
            "name": "plain",
            "capacity": {"ah": 2.0},
            "ocv": {"soc": [0.0, 1.0], "v": [3.0, 4.0]} | (ocv or {}),
            "resistance": flat | r | taus,
            "thermal": thermal | changes,
        }
    )


def exact_v(cell: CellData, plant: Cells, current_a: float) -> np.ndarray:
    """Terminal voltage with the parameters looked up in the tables at the present state."""
    r0 = cell.resistance_ohm(plant.soc, plant.temp_c)[0] * plant.r_scale[0]
    ocv_v = cell.ocv_v(plant.soc, plant.temp_c, plant.branch)
    sag_v = plant.sag * cell.sag_at_v(plant.temp_c)
    return ocv_v + r0 * current_a + plant.v1_v + plant.v2_v + sag_v


steps = st.lists(
    st.tuples(st.floats(-20, 20), st.sampled_from([0.05, 0.25, 1.0, 0.137])),
    min_size=1,
    max_size=100,
)


@given(steps)
@settings(deadline=None, max_examples=50)
def test_charge_is_conserved(profile: list[tuple[float, float]]) -> None:
    plant = Cells(plain(), packs=2, cells=3, soc=0.5)
    plant.capacity_ah[1, 2] = 1.5
    plant.refresh()
    for current_a, dt_s in profile:
        plant.step(current_a, dt_s, 25.0)
    charge_ah = sum(i * dt for i, dt in profile) / 3600
    np.testing.assert_allclose(plant.soc, 0.5 + charge_ah / plant.capacity_ah, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dt_s", [0.05, 1.0, 10.0])
def test_step_response_is_the_analytic_one(dt_s: float) -> None:
    plant = Cells(plain(), soc=0.5)
    for k in range(1, int(100 / dt_s) + 1):
        plant.step(-5.0, dt_s, 25.0)
        t_s = k * dt_s
        assert plant.v1_v[0, 0] == pytest.approx(-5 * 0.01 * (1 - np.exp(-t_s / 2)), abs=1e-9)
        assert plant.v2_v[0, 0] == pytest.approx(-5 * 0.03 * (1 - np.exp(-t_s / 50)), abs=1e-9)
        ocv_v = 3.5 - 5 * t_s / 7200
        expected_v = ocv_v - 0.1 + plant.v1_v[0, 0] + plant.v2_v[0, 0]
        assert plant.voltage_v(-5.0)[0, 0] == pytest.approx(expected_v, abs=1e-9)


def test_heat_without_loss_is_the_electrical_loss() -> None:
    """Work put in = energy stored by the OCV + heat + what the RC pairs hold (C v^2 / 2)."""
    cell = plain(to_ambient_w_per_k=0.0)
    plant = Cells(cell, soc=0.5)
    rng = np.random.default_rng(1)
    loss_j = 0.0
    for current_a in rng.uniform(-10, 10, 400):
        v1, v2 = plant.v1_v[0, 0], plant.v2_v[0, 0]
        # integral of I (V - OCV) over 1 s of constant current, pair by pair
        m1, m2 = (tau * (1 - np.exp(-1 / tau)) for tau in cell.tau_s)
        steady = current_a * (0.01 * (1 - m1) + 0.03 * (1 - m2))
        loss_j += current_a * (current_a * 0.02 + m1 * v1 + m2 * v2 + steady)
        plant.step(float(current_a), 1.0, 25.0)
    assert 40 * (plant.temp_c[0, 0] - 25) == pytest.approx(loss_j, rel=1e-9)


def test_heat_from_outside_and_to_ambient_settle() -> None:
    plant = Cells(plain(), temp_c=20.0)
    plant.step(0.0, 400.0, 20.0, heat_w=2.0)  # one time constant: 40 J/K over 0.1 W/K
    assert plant.temp_c[0, 0] == pytest.approx(20 + 20 * (1 - np.exp(-1)))
    for _ in range(20):
        plant.step(0.0, 400.0, 20.0, heat_w=2.0)
    assert plant.temp_c[0, 0] == pytest.approx(40.0, abs=1e-6)


def test_packs_and_cells_side_by_side_equal_each_alone() -> None:
    cell = load_cell(CELLS / "lg_hg2.toml")
    rng = np.random.default_rng(2)
    shape = (3, 4)
    soc, temp_c = rng.uniform(0.1, 0.95, shape), rng.uniform(-30, 60, shape)
    many = Cells(cell, *shape, soc=soc, temp_c=temp_c)
    alone = [[Cells(cell, soc=soc[p, c], temp_c=temp_c[p, c]) for c in range(4)] for p in range(3)]
    for p, c in np.ndindex(shape):
        for plant, at in ((many, (p, c)), (alone[p][c], (0, 0))):
            plant.r_scale[:, *at] = 1 + 0.1 * p
            plant.capacity_ah[at] = cell.capacity_ah * (1 - 0.01 * c)
    for plant in (many, *(x for row in alone for x in row)):
        plant.refresh()
    heat_w = rng.uniform(0, 3, shape)
    current_a = np.zeros(3)
    for _ in range(300):
        current_a = rng.uniform(-8, 4, 3)
        many.step(current_a, 0.25, 10.0, heat_w)
        for p, c in np.ndindex(shape):
            alone[p][c].step(float(current_a[p]), 0.25, 10.0, float(heat_w[p, c]))
    for p, c in np.ndindex(shape):
        one = alone[p][c]
        assert many.soc[p, c] == pytest.approx(one.soc[0, 0], abs=1e-12)
        assert many.temp_c[p, c] == pytest.approx(one.temp_c[0, 0], abs=1e-3)
        v = many.voltage_v(current_a)[p, c]
        assert v == pytest.approx(one.voltage_v(float(current_a[p]))[0, 0], abs=2e-4)


def worst_mv(cell: CellData, soc: float, temp_c: float, rate: float) -> float:
    """Largest distance of a stretch's voltages from steps of 25 ms that look up everything."""
    rng = np.random.default_rng(3)
    plant, fine = (Cells(cell, soc=soc, temp_c=temp_c) for _ in range(2))
    worst_v = 0.0
    for current_a in (rng.uniform(-1.0, 0.67, 12) * rate * cell.capacity_ah).tolist():
        left = 20
        while left:
            steps = plant.hold(current_a, 25.0, 0.0, 0.05, left)
            for v in plant.volts(steps)[:, 0]:
                for _ in range(2):
                    fine.refresh()
                    fine.step(current_a, 0.025, 25.0)
                worst_v = max(worst_v, abs(float(v - exact_v(cell, fine, current_a)[0, 0])))
            plant.advance(steps)
            left -= steps
    assert plant.soc[0, 0] == pytest.approx(fine.soc[0, 0], abs=1e-9)
    return worst_v * 1e3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("soc", "temp_c", "rate", "most_mv"),
    [(0.6, 22.0, 1.5, 0.05), (0.3, 45.0, 1.5, 0.05), (0.05, 0.0, 1.5, 0.05),
     (0.95, -15.0, 1.5, 0.3), (0.6, 22.0, 5.0, 0.2), (0.05, 0.0, 5.0, 1.0)],
)  # fmt: skip
def test_stretches_stay_near_the_tables(name, soc, temp_c, rate, most_mv) -> None:
    assert worst_mv(load_cell(CELLS / f"{name}.toml"), soc, temp_c, rate) < most_mv


@pytest.mark.parametrize("cut", [1, 7, 20])
def test_a_stretch_may_be_cut_anywhere(cut: int) -> None:
    """Its voltages are those of the state after it, and of a stretch begun there."""
    cell = load_cell(CELLS / "solid_state_15ah.toml")
    plant, other = (Cells(cell, 1, 3, soc=[[0.31, 0.5, 0.52]], temp_c=10.0) for _ in range(2))
    assert plant.hold(-8.0, 5.0, 0.0, 0.05, 20) == 20
    rows = plant.volts(20)
    plant.advance(cut)
    np.testing.assert_allclose(plant.voltage_v(-8.0)[0], rows[cut - 1], rtol=0, atol=2e-6)
    for _ in range(cut):
        other.step(-8.0, 0.05, 5.0)
    np.testing.assert_allclose(other.voltage_v(-8.0), plant.voltage_v(-8.0), rtol=0, atol=2e-6)
    np.testing.assert_allclose(other.temp_c, plant.temp_c, rtol=0, atol=2e-6)


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_stretch_ends_where_the_tables_bend(sign: int) -> None:
    """14 A over 15 Ah: 0.5 s before the node of SoC 0.5 there are 10 steps left."""
    cell = load_cell(CELLS / "solid_state_15ah.toml")
    plant = Cells(cell, 1, 2, soc=[[0.5 - sign * 7.0 / 54000, 0.35]])
    assert plant.hold(sign * 14.0, 25.0, 0.0, 0.05, 20) == 10
    plant.advance(10)
    assert plant.hold(sign * 14.0, 25.0, 0.0, 0.05, 20) == 20
    plant.advance(20)
    ocv_v = cell.ocv_v(plant.soc)
    np.testing.assert_allclose(plant.ocv_v, ocv_v, rtol=0, atol=1e-7)


def test_neighbours_share_heat_and_lose_none() -> None:
    """Two cells of 40 J/K over 0.5 W/K and no way out: 40 / (2 x 0.5) = 40 s."""
    cell = plain(to_ambient_w_per_k=0.0, to_neighbour_w_per_k=0.5)
    two = Cells(cell, 1, 2, temp_c=[[20.0, 60.0]])
    for _ in range(10):
        two.step(0.0, 8.0, -40.0)
    half_k = 20 * np.exp(-2)
    np.testing.assert_allclose(two.temp_c[0], [40 - half_k, 40 + half_k])
    row = Cells(cell, 2, 14, soc=0.5, temp_c=25.0)
    heat_w = np.zeros((2, 14))
    heat_w[0, 4] = 3.0
    for _ in range(60):
        row.step(0.0, 1.0, 25.0, heat_w)
    np.testing.assert_allclose(row.temp_c.sum(1) - 14 * 25, [180 / 40, 0], atol=1e-9)
    assert (np.diff(row.temp_c[0, :5]) > 0).all() and (np.diff(row.temp_c[0, 4:]) < 0).all()


def test_heated_cell_settles_as_a_row_of_fins_does() -> None:
    """14 cells, the first heated: the discrete fin, T_k = A cosh(m (14 - k - 1/2))."""
    cell = plain(to_ambient_w_per_k=0.1, to_neighbour_w_per_k=0.4)
    row = Cells(cell, 1, 14, soc=0.5, temp_c=20.0)
    heat_w = np.zeros((1, 14))
    heat_w[0, 0] = 2.0
    for _ in range(20):
        row.step(0.0, 600.0, 20.0, heat_w)
    m = np.arccosh(1 + 0.1 / (2 * 0.4))
    shape = np.cosh(m * (13.5 - np.arange(14)))
    np.testing.assert_allclose(row.temp_c[0] - 20, 2.0 / 0.1 * shape / shape.sum(), rtol=1e-6)


def test_ripple_heats_and_moves_no_charge() -> None:
    plant = Cells(plain(to_ambient_w_per_k=0.0), soc=0.5)
    plant.hold(0.0, 25.0, 0.0, 1.0, 1, ripple_a2=50.0)  # 10 A peak
    plant.advance(1)
    assert plant.soc[0, 0] == 0.5
    assert 40 * (plant.temp_c[0, 0] - 25) == pytest.approx(50 * 0.02)


def test_the_tables_mean_what_they_say() -> None:
    cell = load_cell(CELLS / "lg_hg2.toml")
    at = cell.resistance_ohm(cell.r_soc[3], cell.r_temp_c[2])
    np.testing.assert_allclose(at, cell.r_ohm[:, 2, 3])
    top_c = cell.r_temp_c[-1]
    end, beyond = cell.resistance_ohm(0.5, top_c), cell.resistance_ohm(0.5, top_c + 20)
    inverse_k = 1 / (top_c + 20 + KELVIN) - 1 / (top_c + KELVIN)
    np.testing.assert_allclose(beyond, end * np.exp(cell.activation_k * inverse_k))
    plant = Cells(cell, 1, 5, soc=[[0.0, 0.0125, 0.5, 0.993, 1.0]], temp_c=-27.0)
    expected_v = cell.ocv_v(plant.soc, plant.temp_c)
    np.testing.assert_allclose(plant.ocv_v, expected_v, rtol=0, atol=1e-12)
    r0 = cell.resistance_ohm(plant.soc, plant.temp_c)[0]
    np.testing.assert_allclose(plant.r_ohm[0], r0, rtol=1e-12)


@pytest.mark.parametrize(("name", "down_v", "up_v"), [
    ("solid_state_15ah", 30.0, 5.0), ("lg_hg2", 30.0, 5.0), ("a123_26650", 56.0, 9.9),
])  # fmt: skip
def test_beyond_its_tables_a_cell_falls_and_rises_steeply(name, down_v, up_v) -> None:
    """30 V and 5 V over SoC, or as steep as the tables end; down to 0 V, where it stays."""
    cell = load_cell(CELLS / f"{name}.toml")
    for temp_c in (-27.0, 25.0):
        low, high = cell.ocv_v(np.array([0.0, 1.0]), temp_c)
        plant = Cells(cell, 1, 5, soc=[[-0.02, -0.01, 0.0, 1.0, 1.03]], temp_c=temp_c)
        over_v = plant.ocv_v[0] - [low, low, low, high, high]
        rel = 0.15 if cell.ocv_off_v.any() else 0.01  # the ends lie otherwise in the cold
        np.testing.assert_allclose(
            over_v, np.array([-0.02 * down_v, -0.01 * down_v, 0, 0, 0.03 * up_v]),
            rtol=rel, atol=1e-9,
        )  # fmt: skip
        empty = Cells(cell, 1, 2, soc=[[-0.2, -5.0]], temp_c=temp_c)
        assert abs(empty.ocv_v).max() < 0.2 and np.ptp(empty.ocv_v) < 1e-9


def test_charge_is_counted_below_empty_and_comes_back() -> None:
    """15 Ah: 1 % is 108 s of 5 A, 0.3 V."""
    plant = Cells(load_cell(CELLS / "solid_state_15ah.toml"), soc=0.01)
    plant.step(-5.0, 216.0, 25.0)
    assert plant.soc[0, 0] == pytest.approx(-0.01)
    assert plant.ocv_v[0, 0] == pytest.approx(3.5653 - 0.3, abs=2e-3)
    plant.step(5.0, 216.0, 25.0)
    assert plant.soc[0, 0] == pytest.approx(0.01)
    assert plant.ocv_v[0, 0] == pytest.approx(plant.cell.ocv_v(0.01), abs=2e-3)


def test_hysteresis_is_a_play_that_turns_anywhere() -> None:
    """2 Ah, 40 mV half distance, from branch to branch over 10 % SoC: 0.2 Ah."""
    gap = {"hysteresis_v": [0.04, 0.04], "hysteresis_soc": 0.1}
    plant = Cells(plain(gap), soc=0.5)
    plant.branch[...] = -1.0
    plant.refresh()
    middle = plain()

    def off_mv() -> float:
        return 1e3 * float((plant.ocv_v - middle.ocv_v(plant.soc))[0, 0])

    assert off_mv() == pytest.approx(-40)
    for ah, expected_mv in ((0.05, -20), (-0.025, -30), (0.025, -20), (0.1, 20), (0.1, 40)):
        plant.step(ah, 3600.0, 25.0)
        assert off_mv() == pytest.approx(expected_mv)
    plant.step(1.0, 1800.0, 25.0)  # beyond the branch there is no more of it
    plant.step(-0.1, 3600.0, 25.0)
    assert off_mv() == pytest.approx(0, abs=1e-9)


def test_a_pulse_within_the_play_leaves_no_trace() -> None:
    """What a drive cycle does: charge pulses do not pull the cell off its discharge branch."""
    gap = {"hysteresis_v": [0.04, 0.04], "hysteresis_soc": 0.1}
    plant = Cells(plain(gap), soc=0.5)
    plant.branch[...] = -1.0
    for _ in range(50):
        plant.step(5.0, 10.0, 25.0)
        plant.step(-5.0, 11.0, 25.0)
    assert plant.branch[0, 0] == pytest.approx(-1.0)


def test_ocv_follows_temperature_as_far_as_the_table_of_r() -> None:
    cell = load_cell(CELLS / "a123_26650.toml")
    assert cell.has_hysteresis and not cell.ocv_off_v[1].any()  # rows 5, 25, 45 degC
    k = int(np.argmax(np.abs(cell.ocv_off_v[2])))
    soc, v, (cold_v, _, hot_v) = cell.ocv_soc[k], cell.ocv_table_v[k], cell.ocv_off_v[:, k]
    assert abs(hot_v) > 1e-4
    plant = Cells(cell, 1, 3, soc=soc, temp_c=[[15.0, 45.0, 70.0]])
    expected_v = [v + cold_v / 2, v + hot_v, v + hot_v]
    np.testing.assert_allclose(plant.ocv_v[0], expected_v, rtol=0, atol=1e-9)


@pytest.mark.parametrize("dt_s", [0.25, 30.0])
def test_sag_is_a_lag_that_hardly_knows_the_current(dt_s: float) -> None:
    """50 mV at 15 degC, half of it at 0.2 A, 600 s: under load, growing load, and at rest."""
    sag = {"temp_c": [10.0, 20.0], "sag_v": [0.06, 0.04], "sag_a": 0.2, "sag_tau_s": 600.0}
    two = {f"r{k}_ohm": [[0.01, 0.01]] * 2 for k in range(3)}
    flat = {"soc": [0.0, 1.0], "tau1_s": 2.0, "tau2_s": 50.0}
    law = {"activation_r0_k": 0.0, "activation_rc_k": 0.0}
    cell = load_cell({
        "name": "sags", "capacity": {"ah": 500.0}, "ocv": {"soc": [0.0, 1.0], "v": [3.0, 4.0]},
        "resistance": flat | two | law | sag,
        "thermal": {"heat_capacity_j_per_k": 1e9, "to_ambient_w_per_k": 0.1},
    })  # fmt: skip
    plant = Cells(cell, soc=0.5, temp_c=15.0)
    share = 0.0
    for current_a, until_s in ((-1.0, 600.0), (-19.8, 1200.0), (0.0, 900.0)):
        for _ in range(int(until_s / dt_s)):
            plant.step(current_a, dt_s, 15.0)
        target = current_a / (abs(current_a) + 0.2)
        share = target + (share - target) * np.exp(-until_s / 600)
        sagged_v = float((plant.ocv_v - cell.ocv_v(plant.soc))[0, 0])
        assert sagged_v == pytest.approx(0.05 * share, abs=2e-4)
