"""Heat: the hottest spot, what I2R does not explain, and a sensor that stands still."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from bms.core import plausible as P
from bms.core.fixed import interp
from support.watched import CHECKED, WARM_MDEGC, Watched

THERMAL = CHECKED["bms.core.thermal"]
LIMIT_UDEGPS = 50_000  # the row runaway of every pack
MARGIN_UDEGPS = 10_000  # surroundings and a neighbour's heat
STUCK_MDEGC = 6_000  # the row temp_stuck


class Heat(Watched):
    """The thermal signals of a pack; temperatures in degC with fractions."""

    def __init__(self, name: str = "robot_14s", **pack: int) -> None:
        super().__init__(name, **pack)
        self.thermal = THERMAL.Thermal(self.pack)
        self.temp_c = WARM_MDEGC / 1000

    def step(self) -> None:
        self.thermal.step(self.frame, self.sig)

    def said(self, field: str) -> int:
        """Return a field of its state by its name in a record."""
        if field in THERMAL.FIELDS:
            return self.thermal.v[THERMAL.FIELDS.index(field)]
        return self.thermal.last[self.thermal.names().index(field)]

    def rise(self, seconds: float, k_per_s: float, **more: Any) -> int:
        """Warm every sensor steadily; return the most that RISE_UDEGPS was. noise_k: 1 sigma."""
        noise_k, dt_ms, rng = more.get("noise_k", 0.0), more.get("dt_ms", 50), random.Random(1)
        worst = -(10**9)
        for _ in range(round(seconds * 1000 / dt_ms)):
            self.temp_c += k_per_s * dt_ms / 1000
            self.temps(round(1000 * (self.temp_c + rng.gauss(0, noise_k))))
            self.tick(dt_ms)
            worst = max(worst, self.sig[P.RISE_UDEGPS])
        return worst

    def watt(self, ua: int, slow: bool = True) -> float:
        """Return what a cell makes of a current that has flowed for long."""
        uohm = interp(self.pack.dcir_uohm, WARM_MDEGC)
        uohm += interp(self.pack.polar_uohm, WARM_MDEGC) if slow else 0
        return (ua / 1e6) ** 2 * uohm / 1e6

    @property
    def j_per_k(self) -> float:
        return self.pack.heat_mj_per_k / 1000


@pytest.fixture(params=["bench_1s", "robot_14s"])
def heat(request: Any) -> Heat:
    return Heat(request.param)


def test_spread_is_hottest_less_coldest():
    heat = Heat()
    heat.temps(WARM_MDEGC, t0=-3_000, t2=4_000)
    heat.tick()
    assert heat.sig[P.SPREAD_MDEGC] == 7_000
    heat.doubt(P.TEMP_MAX_MDEGC)
    heat.temps(WARM_MDEGC)
    heat.tick()
    assert heat.sig[P.SPREAD_MDEGC] == 7_000


def test_every_entry_of_its_state_has_a_name(heat: Heat):
    names = heat.thermal.names()
    assert len(set(names)) == len(names) == len(heat.thermal.last)
    assert (names[0], names[-1]) == ("temp0_last_mdegc", "allowed7_udegc")
    assert names[heat.pack.temps * 4] == "temp0_look0_mdegc"


def test_its_state_stands_in_a_record_by_name(heat: Heat):
    ua = 300 * heat.pack.discharge_max_ma
    heat.current(-ua)
    heat.run(20.1)
    assert (heat.said("look_ms"), heat.said("readings")) == (100, 2)
    assert (heat.said("looks"), heat.said("turn")) == (8, 20 % 8)
    assert heat.said("allowed_udegc") == 0, "until the model's next step"
    assert heat.said("model_ms") == 100
    heat.run(0.1)
    assert heat.said("model_ms") == 0
    warms_by = heat.watt(ua, slow=False) / heat.j_per_k * 0.2e6
    assert 1.5 * warms_by < heat.said("allowed_udegc") < 3 * warms_by
    assert heat.said("slow_ma") == pytest.approx(-ua / 1000 * (1 - math.exp(-20 / 30)), rel=0.01)
    heat.current(-600_000_000)
    heat.run(300, 1000)
    assert heat.said("slow_ma") == pytest.approx(-500_000, abs=100)  # at most
    for name in ("last", "look0", "look7", "moved"):
        assert heat.said(f"temp0_{name}_mdegc") == WARM_MDEGC


def test_heat_is_reckoned_five_times_a_second(heat: Heat):
    heat.current(-300 * heat.pack.discharge_max_ma)
    for _ in range(2):
        before = heat.said("excess_udegc")
        for dt_ms in (50, 100, 49):
            heat.tick(dt_ms)
            assert heat.said("excess_udegc") == before
        heat.tick(1)
        assert heat.said("excess_udegc") > before


# The hottest spot.


def test_without_current_the_hottest_spot_is_a_sensor(heat: Heat):
    heat.run(5)
    assert heat.sig[P.HOT_MDEGC] == WARM_MDEGC
    assert heat.said("excess_udegc") == heat.said("warm_udegc") == 0


@pytest.mark.parametrize("share", [0.3, -0.9])
def test_a_cell_that_makes_heat_is_warmer_than_its_sensor(heat: Heat, share: float):
    ua = round(share * 1000 * heat.pack.discharge_max_ma)
    tau_s = heat.pack.sensor_tau_ms / 1000
    heat.current(ua)
    heat.run(10 * tau_s)
    end = heat.watt(ua) / heat.j_per_k * tau_s
    assert heat.sig[P.HOT_MDEGC] == pytest.approx(WARM_MDEGC + 1000 * end, rel=0.02)
    heat.current(0)
    heat.run(tau_s)
    # The slow part of the current goes on for its own 30 s.
    left = (heat.sig[P.HOT_MDEGC] - WARM_MDEGC) / 1000 / end
    assert math.exp(-1) * 0.9 < left < 0.8
    heat.run(8 * tau_s)
    assert heat.sig[P.HOT_MDEGC] == pytest.approx(WARM_MDEGC, abs=50)


def test_one_warm_sensor_among_cool_ones_has_a_warmer_cell_beside_it():
    heat = Heat()
    heat.temps(WARM_MDEGC, t1=8_000)
    heat.tick()
    assert heat.sig[P.HOT_MDEGC] == WARM_MDEGC + 8_000 + 6_000


# The runaway precursor.


def test_a_steady_rise_is_measured_less_its_margin(heat: Heat):
    assert heat.rise(20, 0.2) == pytest.approx(200_000 - MARGIN_UDEGPS, abs=2_000)


def test_a_rise_shows_within_a_window_of_eight_seconds(heat: Heat):
    heat.rise(20, 0.0)
    assert heat.rise(3, 0.2) > LIMIT_UDEGPS
    other = Heat((heat.pack.cells > 1 and "robot_14s") or "bench_1s")
    other.rise(20, 0.0)
    assert other.rise(9, 0.08) > LIMIT_UDEGPS


def test_before_a_window_has_passed_nothing_is_said(heat: Heat):
    heat.rise(8.9, 5.0)  # the first look has none before it
    assert heat.sig[P.RISE_UDEGPS] == 0
    heat.rise(0.1, 5.0)
    assert heat.sig[P.RISE_UDEGPS] > 1_000_000


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_what_i2r_explains_is_no_runaway(heat: Heat, share: float):
    # A cell that keeps all of its heat, its sensor close to it; R half as much again.
    ua = round(share * 1000 * heat.pack.discharge_max_ma)
    heat.current(-ua)
    k_per_s = 1.45 * heat.watt(ua, slow=False) / heat.j_per_k
    assert heat.rise(60, k_per_s) < LIMIT_UDEGPS
    # And what comes on top of it shows.
    assert heat.rise(20, k_per_s + heat.watt(ua) / heat.j_per_k + 0.2) > LIMIT_UDEGPS


def test_half_as_much_again_as_i2r_is_explained(heat: Heat):
    for table in (heat.pack.dcir_uohm, heat.pack.polar_uohm):  # whatever the temperature
        uohm, half = interp(table, WARM_MDEGC), len(table) // 2
        for k in range(half, 2 * half):
            table[k] = uohm
    ua = 900 * heat.pack.discharge_max_ma
    heat.current(-ua)
    heat.run(300, 250)  # the cell is as far above its sensor as it gets
    explained = 1.5 * heat.watt(ua) / heat.j_per_k
    heat.rise(20, explained + 0.1)
    assert heat.sig[P.RISE_UDEGPS] == pytest.approx(100_000 - MARGIN_UDEGPS, abs=4_000)


def test_heat_in_one_cell_shows_at_its_sensor():
    heat = Heat()
    for k in range(400):
        heat.temps(WARM_MDEGC, t2=round(k * 0.1 * 50))
        heat.tick()
    assert heat.sig[P.RISE_UDEGPS] == pytest.approx(100_000 - MARGIN_UDEGPS, abs=2_000)


@pytest.mark.parametrize("dt_ms", [20, 45, 50, 250])
def test_noise_of_half_a_kelvin_is_no_rise(dt_ms: int):
    heat = Heat("bench_1s")
    above = 0
    for _ in range(20):
        above += heat.rise(15, 0.0, noise_k=0.5, dt_ms=dt_ms) > 2 * LIMIT_UDEGPS
    assert above == 0


def test_steps_of_a_quarter_kelvin_are_no_rise():
    heat = Heat("bench_1s")
    true_c = 25.0
    for _ in range(4000):
        true_c += 0.02 * 0.05
        heat.temps(round(true_c * 4) * 250)
        heat.tick()
        assert heat.sig[P.RISE_UDEGPS] < LIMIT_UDEGPS


@pytest.mark.parametrize("by_k", [30.0, -30.0])
def test_a_sensor_that_jumps_tells_of_no_rise(heat: Heat, by_k: float):
    heat.rise(20, 0.0)
    heat.temp_c += by_k
    assert heat.rise(30, 0.0) <= 0
    assert heat.rise(20, 0.2) > LIMIT_UDEGPS, "it is watched on from there"


@pytest.mark.parametrize("way", [1, -1])
@pytest.mark.parametrize(("dt_ms", "jump_mdegc"), [(50, 4_000), (250, 8_000)])
def test_a_jump_is_3_k_and_20_mk_a_ms(heat: Heat, dt_ms: int, jump_mdegc: int, way: int):
    heat.run(20)
    heat.temps(WARM_MDEGC + way * jump_mdegc)
    heat.tick(dt_ms)
    assert heat.said("looks") == 8
    heat.temps(WARM_MDEGC - way)
    heat.tick(dt_ms)
    assert heat.said("looks") == 0


@pytest.mark.parametrize("what", ["gap", "jump"])
def test_a_gap_or_a_jump_begins_a_window_anew(heat: Heat, what: str):
    heat.rise(20.5, 0.1)
    if what == "gap":
        heat.doubt(P.TEMP_MAX_MDEGC)
        heat.tick()
        heat.doubt()
    else:
        heat.temp_c += 5
    heat.rise(8.95, 0.2)
    assert heat.sig[P.RISE_UDEGPS] == 0
    heat.rise(0.05, 0.2)
    assert heat.sig[P.RISE_UDEGPS] == pytest.approx(200_000 - MARGIN_UDEGPS, abs=2_000)


def test_a_rise_is_a_second_s_however_ticks_fall(heat: Heat):
    assert heat.rise(30, 0.2, dt_ms=300) == pytest.approx(200_000 - MARGIN_UDEGPS, rel=0.06)


def test_a_gap_is_no_rise(heat: Heat):
    heat.rise(20, 0.0)
    heat.doubt(P.TEMP_MAX_MDEGC)
    heat.rise(5, 0.0)
    heat.doubt()
    heat.temp_c += 2.5
    assert heat.rise(30, 0.0) <= 0


def test_a_real_rise_is_no_jump_however_slow_the_ticks(heat: Heat):
    for dt_ms in (50, 250, 1000):
        assert heat.rise(20, 5.0, dt_ms=dt_ms) > 4_000_000
        heat.temp_c = 25.0
        heat.rise(12, 0.0)


# A sensor that stands still.


def certain_k(heat: Heat, ua: int, seconds: float) -> float:
    """Return how far a cell warms by R0's heat alone, cooled six times as well."""
    tau_s = heat.pack.cool_tau_s / 6
    return heat.watt(ua, slow=False) / heat.j_per_k * tau_s * (1 - math.exp(-seconds / tau_s))


def test_a_sensor_that_does_not_feel_its_cells_heat(heat: Heat):
    ua = 900 * heat.pack.discharge_max_ma
    heat.current(-ua)
    for seconds in (50, 50, 50):
        heat.run(seconds)
    wanted = 1000 * certain_k(heat, ua, 150)
    assert heat.sig[P.STUCK_MDEGC] == pytest.approx(wanted, rel=0.05)
    assert wanted > STUCK_MDEGC


def test_a_sensor_that_follows_however_little_is_alive(heat: Heat):
    ua = 900 * heat.pack.discharge_max_ma
    heat.current(-ua)
    for _ in range(20):
        heat.temp_c += 0.31
        heat.rise(10, 0.0)
        assert heat.sig[P.STUCK_MDEGC] < STUCK_MDEGC / 2


def test_a_sensor_that_moves_by_0_3_k_is_alive(heat: Heat):
    heat.current(-900 * heat.pack.discharge_max_ma)
    heat.run(100)
    for way in (1, -1):
        heat.temps(WARM_MDEGC + way * 299)
        heat.run(1)
        assert heat.sig[P.STUCK_MDEGC] > 2_000
        heat.temps(WARM_MDEGC + way * 300)
        heat.run(1)
        assert heat.sig[P.STUCK_MDEGC] == 0
        heat.temps(WARM_MDEGC)
        heat.run(100)


def test_one_stuck_sensor_of_three():
    heat = Heat()
    heat.current(-900 * heat.pack.discharge_max_ma)
    for k in range(150):
        heat.temps(WARM_MDEGC, t0=100 * k, t2=100 * k)
        heat.tick(1000)
    assert heat.sig[P.STUCK_MDEGC] > STUCK_MDEGC


def test_of_sensors_that_stand_still_the_longest_counts():
    stuck = []
    for moved in ({}, {"t0": 1_000}, {"t2": 1_000}):
        heat = Heat()
        heat.current(-900 * heat.pack.discharge_max_ma)
        heat.run(20)
        heat.temps(WARM_MDEGC, **moved)
        heat.run(80)
        stuck.append(heat.sig[P.STUCK_MDEGC])
    assert stuck[1] == stuck[2] == pytest.approx(stuck[0], rel=0.06)  # R is less where it is warm


def test_what_warms_and_cools_again_adds_up_to_nothing(heat: Heat):
    for _ in range(20):
        heat.current(-300 * heat.pack.discharge_max_ma)
        heat.run(30, 1000)
        heat.current(0)
        heat.run(400, 1000)
    assert heat.sig[P.STUCK_MDEGC] < 100


def test_an_unknown_current_makes_no_heat(heat: Heat):
    heat.current(-900 * heat.pack.discharge_max_ma)
    heat.doubt(P.CHARGE_UA)
    heat.run(100)
    assert heat.sig[P.STUCK_MDEGC] == 0 and heat.sig[P.HOT_MDEGC] == WARM_MDEGC
    assert heat.said("excess_udegc") == heat.said("warm_udegc") == 0


@pytest.mark.parametrize("seed", range(10))
def test_anything_stays_within_31_bits(seed: int):
    rng = random.Random(seed)
    heat = Heat(
        heat_mj_per_k=rng.choice((1, 47_000, 2**30 - 1)),
        cool_tau_s=rng.choice((1, 783, 2**30 - 1)),
        sensor_tau_ms=rng.choice((1, 30_000, 600_000)),
    )
    for _ in range(300):
        heat.current(rng.choice((0, 999_999_999, -999_999_999, 5_000_000)))
        if rng.random() < 0.3:
            heat.temps(rng.randrange(-199_999, 200_000))
        heat.tick(rng.choice((1, 50, 1000)))
        assert heat.sig[P.STUCK_MDEGC] >= 0


def test_from_one_end_of_current_to_the_other_in_one_long_step():
    heat = Heat()
    heat.current(999_999_999)
    heat.run(300, 1000)
    heat.current(-999_999_999)
    for dt_ms in (50, 50, 50, 1000):  # the model steps after the last
        heat.tick(dt_ms)
