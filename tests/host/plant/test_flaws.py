"""Spread, age, shorts, gaps and heat of single cells, against what they should come to."""

import numpy as np
import pytest
from solidbms.packc import load
from solidbms.plant.cell import Cells, load_cell
from solidbms.plant.flaws import Flaws
from solidbms.scenario import Scenario

_, CELL, _ = load("robot_14s")
DATA = load_cell(CELL.model_dump())
BASE = {
    "name": "s", "about": "", "pack": "robot_14s", "duration_s": 100.0,
    "start": {"soc": 0.5, "temp_c": 25.0}, "ambient": [[0.0, 25.0], [1.0, 25.0]], "expect": {},
}  # fmt: skip
HOUR = {"from_s": 0, "until_s": 3600}


def flawed(seed: int = 0, start: dict | None = None, **parts) -> tuple[Flaws, Cells]:
    scenario = Scenario.model_validate(BASE | {"start": BASE["start"] | (start or {})} | parts)
    cells = Cells(DATA, 1, 14, scenario.start.soc, scenario.start.temp_c)
    return Flaws(scenario, cells, CELL.limits.charge_a_max, seed), cells


def rested(flaws: Flaws, cells: Cells, hours: float, current_a: float = 0.0) -> None:
    """Let the leaks drain the cells for a time, without heat."""
    for _ in range(round(hours * 60)):
        leaked_a = cells.voltage_v(current_a) * flaws.leak_s
        cells.step(current_a - leaked_a, 60.0, 25.0)


def test_spread_is_the_same_for_the_same_seed_and_within_its_bounds():
    spread = {"capacity_pct": 2.0, "r_pct": 10.0, "soc_pct": 1.0}
    _, one = flawed(7, spread=spread)
    _, same = flawed(7, spread=spread)
    _, other = flawed(8, spread=spread)
    _, given = flawed(8, spread=spread | {"seed": 7})
    for a, b in ((one, same), (one, given)):
        assert (a.capacity_ah == b.capacity_ah).all() and (a.soc == b.soc).all()
        assert (a.r_scale == b.r_scale).all()
    assert (one.capacity_ah != other.capacity_ah).all() and (one.soc != other.soc).all()
    for value, bound in ((one.capacity_ah / 15 - 1, 0.02), (one.r_scale - 1, 0.1),
                         (one.soc - 0.5, 0.01)):  # fmt: skip
        assert bound / 4 < np.abs(value).max() <= bound
        assert value.min() < 0 < value.max()
    assert (one.r_scale[0] == one.r_scale[2]).all()
    np.testing.assert_allclose(one.r_ohm[0], 0.0033 * one.r_scale[0])


def test_age_is_of_all_and_a_weak_cell_of_its_own():
    _, cells = flawed(
        start={"capacity_factor": 0.9, "r_factor": 1.5, "branch": -1.0},
        spread={"capacity_pct": 1.0},
        cell=[{"cell": 9, "capacity_factor": 0.8, "soc": 0.4, "temp_c": 31.0},
              {"cell": 3, "r_factor": 2.0}],
    )  # fmt: skip
    capacity_ah = cells.capacity_ah[0]
    assert capacity_ah[9] == pytest.approx(15 * 0.9 * 0.8)
    assert (np.abs(np.delete(capacity_ah, 9) / 13.5 - 1) <= 0.01).all()
    assert cells.soc[0, 9] == 0.4 and cells.soc[0, 8] == 0.5
    assert cells.temp_c[0, 9] == 31.0 and cells.temp_c[0, 8] == 25.0
    assert cells.r_scale[:, 0, 3] == pytest.approx(3.0)
    assert cells.r_scale[:, 0, 4] == pytest.approx(1.5)
    assert (cells.branch == -1).all()


def test_soft_short_leaks_as_its_resistance_says():
    """10 mA in 15 Ah are 0.067 % an hour: 0.53 mV on the mean slope of this cell's OCV."""
    ohm = float(DATA.ocv_v(0.5)) / 0.01
    flaws, cells = flawed(short=[HOUR | {"cell": 4, "ohm": ohm}])
    flaws.plan(0.0, 1.0, 0.0)
    before_v = cells.ocv_v[0]
    rested(flaws, cells, 1.0)
    lost = 0.5 - cells.soc[0]
    assert lost[4] == pytest.approx(0.01 / 15, rel=1e-3)
    assert not np.delete(lost, 4).any()
    fell_mv = (before_v - cells.ocv_v[0]) * 1e3
    assert fell_mv[4] == pytest.approx(0.01 / 15 * (3.8383 - 3.8165) / 0.025 * 1e3, rel=2e-3)
    mean_mv = 0.01 / 15 * (DATA.ocv_table_v[-1] - DATA.ocv_table_v[0]) * 1e3
    assert mean_mv == pytest.approx(0.53, abs=0.07)


def test_short_grows_in_stages():
    stages = [(10e3, 0, 100), (100.0, 100, 200), (1.0, 200, 300)]
    flaws, cells = flawed(
        short=[{"cell": 2, "ohm": ohm, "from_s": a, "until_s": b, "r0_factor": 1 - a / 1000}
               for ohm, a, b in stages]
    )  # fmt: skip
    for ohm, begin, _ in stages:
        flaws.plan(begin + 50.0, 1.0, 0.0)
        assert flaws.leaks and flaws.leak_s[0, 2] == pytest.approx(1 / ohm)
        assert flaws.leak_s.sum() == flaws.leak_s[0, 2]
        assert cells.r_ohm[0, 0, 2] == pytest.approx(0.0033 * (1 - begin / 1000))
        assert cells.r_ohm[1, 0, 2] == pytest.approx(0.002)
    flaws.plan(301.0, 1.0, 0.0)
    assert not flaws.leaks and cells.r_ohm[0, 0, 2] == pytest.approx(0.0033)


def test_short_dips_while_charging_only():
    short = HOUR | {"cell": 6, "ohm": 1e4, "dip_mv": 20.0}

    def dips_mv(current_a: float, seed: int) -> np.ndarray:
        flaws, cells = flawed(seed, short=[short])
        found = []
        for second in range(600):
            flaws.plan(float(second), 1.0, current_a)
            drop_a = cells.ocv_v[0, 6] * (flaws.leak_s[0, 6] - 1e-4)
            found.append(drop_a * 0.0053 * 1e3)
        return np.array(found)

    for current_a in (0.0, -5.0):
        assert np.abs(dips_mv(current_a, 1)).max() < 1e-9
    charging = dips_mv(5.0, 1)
    there = charging > 1e-6
    assert 80 < there.sum() < 160  # one in five seconds
    assert 18 < charging.max() <= 20 and 0.9 < charging[there].min() < 3
    assert (charging == dips_mv(5.0, 1)).all() and (charging != dips_mv(5.0, 2)).any()


def gap_r1(current_a: float, hours: float, temp_c: float = 25.0, **keys) -> float:
    """R1 of a cell with a gap over that of its neighbour, after hours of one current."""
    gap = {"from_s": 0, "until_s": 1e6, "cell": 5, "pct_per_h": 50.0}
    flaws, cells = flawed(start={"temp_c": temp_c}, gap=[gap | keys])
    for k in range(round(hours * 60)):
        flaws.plan(k * 60.0, 60.0, current_a)
    assert cells.r_ohm[0, 0, 5] == cells.r_ohm[0, 0, 4]
    return float(cells.r_ohm[1, 0, 5] / cells.r_ohm[1, 0, 4])


def test_gap_grows_with_the_square_of_charge_current_over_its_limit():
    assert gap_r1(7.5, 2.0) == pytest.approx(2.0, abs=2e-3)
    assert gap_r1(3.75, 2.0) == pytest.approx(1.25, abs=2e-3)
    assert gap_r1(-7.5, 2.0) == gap_r1(0.0, 2.0) == 1.0
    assert gap_r1(7.5, 12.0, pct_max=150.0) == pytest.approx(2.5, abs=2e-3)
    # C/8.3 is what the interface takes at 0 degC by 0.40 eV
    assert gap_r1(15 / 8.33, 2.0, 0.0) == pytest.approx(2.0, abs=0.02)
    assert gap_r1(7.5, 1.0, until_s=1800.0) == pytest.approx(1.25, abs=5e-3)


def test_gap_heals_at_rest_and_sooner_in_the_heat():
    old = {"pct": 200.0, "pct_per_h": 0.0, "heals_pct": 75.0, "heal_h": 4.0}
    assert gap_r1(0.0, 4.0, **old) == pytest.approx(1 + 0.5 + 1.5 * np.exp(-1), abs=5e-3)
    assert gap_r1(-3.0, 4.0, **old) == pytest.approx(3.0, abs=5e-3)  # no rest
    assert gap_r1(0.0, 40.0, **old) == pytest.approx(1.5, abs=5e-3)  # scars stay
    warm = np.exp(4642 * (1 / 298.15 - 1 / 328.15))
    assert gap_r1(0.0, 1.0, 55.0, **old) == pytest.approx(
        1.5 + 1.5 * np.exp(-warm / 4), abs=5e-3
    )


def test_heat_goes_where_it_is_told():
    flaws, _ = flawed(heat=[{"from_s": 0, "until_s": 10, "w": 2.0},
                            {"from_s": 5, "until_s": 15, "w": 3.0, "cell": 13},
                            {"from_s": 0, "until_s": 15, "w": 9.0, "at": "fets"}])  # fmt: skip
    for t_s, rest_w, last_w in ((0.0, 2, 2), (7.0, 2, 5), (12.0, 0, 3), (15.0, 0, 0)):
        flaws.plan(t_s, 1.0, 0.0)
        assert flaws.heat_w[0].tolist() == [rest_w] * 13 + [last_w]
