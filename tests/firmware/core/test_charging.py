"""The stage of a charge, its length, and a charger that does not stop."""

from __future__ import annotations

import pytest
from bms.core import plausible as P
from bms.core.charging import CHARGING, FULL, NONE, PRECHARGE, STAGE, STAGES
from support.watched import CHECKED, Watched

CHARGER = CHECKED["bms.core.charging"].Charging


class Charge(Watched):
    """Charging of a pack that takes what a test gives."""

    def __init__(self, name: str = "robot_14s") -> None:
        super().__init__(name)
        self.charging = CHARGER(self.pack)
        self.flows_ua = self.pack.charger_ua + 1

    def step(self) -> None:
        self.charging.step(self.sig)

    @property
    def stage(self) -> int:
        return self.charging.v[STAGE]

    def full(self) -> None:
        """Charge to the end."""
        self.cells(self.pack.full_uv)
        self.current(self.pack.taper_ua)
        self.run(31)
        assert self.stage == FULL


def test_a_charger_is_there_after_ten_seconds_and_gone_after_ten():
    charge = Charge()
    charge.current(charge.pack.charger_ua)
    charge.run(30)
    assert charge.stage == NONE, "not more than a charger's least"
    charge.current(charge.flows_ua)
    charge.run(9.9)
    assert (charge.stage, charge.sig[P.CHARGE_TIME_MS]) == (NONE, 0), "brakes are shorter"
    charge.run(0.1)
    assert charge.stage == CHARGING
    charge.run(5)
    assert charge.sig[P.CHARGE_TIME_MS] == 5000 + charge.tick_ms
    charge.current(0)
    charge.run(9.9)
    assert charge.stage == CHARGING
    charge.run(0.1)
    assert (charge.stage, charge.sig[P.CHARGE_TIME_MS]) == (NONE, 0)


def test_brakes_now_and_then_are_no_charger():
    charge = Charge()
    for _ in range(20):
        charge.current(charge.flows_ua)
        charge.run(9)
        charge.current(-charge.flows_ua)
        charge.run(1)
    assert charge.stage == NONE


def test_a_deeply_discharged_cell_is_pre_charged():
    charge = Charge()
    charge.current(charge.flows_ua)
    charge.cells(charge.pack.precharge_uv, c3=-1)
    charge.run(10)
    assert charge.stage == PRECHARGE
    charge.cells(charge.pack.precharge_uv)
    charge.tick()
    assert charge.stage == CHARGING
    assert charge.sig[P.CHARGE_TIME_MS] > 0, "it counts on"


@pytest.mark.parametrize(
    ("by_uv", "by_ua", "ends"), [(0, 0, True), (-1, 0, False), (0, 1, False), (99_999, -1, True)]
)
def test_full_is_the_end_voltage_with_the_current_tapered_off(by_uv: int, by_ua: int, ends: bool):
    charge = Charge()
    charge.cells(charge.pack.full_uv - 50_000, c5=50_000 + by_uv)  # the highest cell decides
    charge.current(charge.pack.taper_ua + by_ua)
    charge.run(29.9)
    assert charge.stage == CHARGING
    charge.run(0.1)
    assert charge.stage == (FULL if ends else CHARGING)


def test_a_load_at_the_end_voltage_is_no_taper():
    charge = Charge()
    charge.cells(charge.pack.full_uv)
    charge.current(-1)
    charge.run(60)
    assert charge.stage == NONE


def test_full_until_it_has_fallen():
    charge = Charge()
    charge.full()
    charge.current(0)
    charge.run(60)
    charge.cells(charge.pack.refill_uv)
    charge.run(60)
    assert charge.stage == FULL
    charge.cells(charge.pack.refill_uv - 1)
    charge.tick()
    assert charge.stage == NONE


def test_a_charger_that_goes_on_though_it_is_full():
    charge = Charge()
    charge.full()
    charge.current(charge.pack.charger_ua)
    charge.run(5)
    assert charge.sig[P.OVERCHARGE_MS] == 0
    charge.current(charge.flows_ua)
    charge.run(5)
    assert charge.sig[P.OVERCHARGE_MS] == 5000
    charge.current(0)
    charge.tick()
    assert charge.sig[P.OVERCHARGE_MS] == 0


def test_what_is_not_believed_moves_nothing():
    for signal in (P.CHARGE_UA, P.CELL_MAX_UV):
        charge = Charge()
        charge.current(charge.flows_ua)
        charge.run(20)
        before = list(charge.charging.v), charge.sig[P.CHARGE_TIME_MS]
        charge.doubt(signal)
        charge.current(0)
        charge.run(60)
        assert (list(charge.charging.v), charge.sig[P.CHARGE_TIME_MS]) == before


def test_counters_stop_and_names_stand_for_stages():
    charge = Charge()
    charge.current(charge.flows_ua)
    charge.run(20)
    charge.sig[P.CHARGE_TIME_MS] = 899_999_000
    charge.run(5, 1000)
    assert charge.sig[P.CHARGE_TIME_MS] == 900_000_000
    assert list(STAGES) == ["none", "charging", "full", "pre-charge"]
    assert list(range(4)) == [NONE, CHARGING, FULL, PRECHARGE]
