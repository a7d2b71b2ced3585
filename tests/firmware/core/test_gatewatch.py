"""Gates that do not do as they are told: past open ones, across closed ones, held open."""

from __future__ import annotations

import random

import pytest
from bms.core import frame as F
from bms.core import plausible as P
from bms.core import switch as W
from bms.core.gatewatch import SETTLE_MS
from support.watched import CHECKED, Watched

GATEWATCH = CHECKED["bms.core.gatewatch"].GateWatch
OFF, CHARGE, DISCHARGE, BOTH = 0, 1, 2, 3
SHOWN = F.FETS_OK | F.CHG_SHOWN | F.DSG_SHOWN | F.OUT_OK


class Gates(Watched):
    """Gate signals of a pack whose switch a test sets."""

    def __init__(self, on: int = BOTH, name: str = "robot_14s") -> None:
        super().__init__(name)
        self.watch = GATEWATCH(self.pack)
        self.switch = W.Switch(0).v
        self.f[F.FLAGS] = SHOWN
        self.set(on)
        self.f[F.OUT_UV] = self.f[F.PACK_UV]
        self.run(3)
        self.least = self.pack.weld_ua

    def set(self, on: int, state: int = W.ON) -> None:
        self.switch[W.CHG_ON], self.switch[W.DSG_ON] = on & CHARGE, on >> 1 & 1
        self.switch[W.STATE] = state

    def step(self) -> None:
        self.watch.step(self.frame, self.sig, self.switch)


# Which way current may flow, and past which gate it then flows. The body diode of an open FET
# lets the other direction through.
@pytest.mark.parametrize(
    ("on", "way", "signal"),
    [
        (BOTH, 1, None), (BOTH, -1, None), (DISCHARGE, -1, None), (CHARGE, 1, None),
        (DISCHARGE, 1, P.WELD_MS), (CHARGE, -1, P.LEAK_MS), (OFF, 1, P.WELD_MS),
        (OFF, -1, P.LEAK_MS),
    ],
)  # fmt: skip
def test_current_past_an_open_gate(on: int, way: int, signal: int | None):
    gates = Gates(on)
    gates.current(way * 3 * gates.least)
    gates.run(1)
    for each in (P.WELD_MS, P.LEAK_MS):
        # Twice the least on top of it counts two for one.
        assert gates.sig[each] == (2000 if each == signal else 0)
    gates.set(BOTH)
    gates.run(0.1)
    assert gates.sig[P.WELD_MS] == gates.sig[P.LEAK_MS] == 0


def test_the_least_current_is_none_and_what_adds_up_goes_down_again():
    gates = Gates(OFF)
    gates.current(gates.least)
    gates.run(60)
    assert gates.sig[P.WELD_MS] == 0
    gates.current(2 * gates.least)
    gates.run(1)
    assert gates.sig[P.WELD_MS] == 1000
    gates.current(0)
    gates.run(0.5)
    assert gates.sig[P.WELD_MS] == 500
    gates.current(-gates.least)
    gates.run(0.25)
    assert gates.sig[P.WELD_MS] == 0


@pytest.mark.parametrize("seed", range(5))
def test_noise_of_twice_the_least_current_is_no_weld(seed: int):
    rng = random.Random(seed)
    gates = Gates(OFF, "bench_1s")
    worst = 0
    for _ in range(400):  # a hundred seconds with the gates open
        gates.current(round(rng.gauss(0, 2 * gates.least)))
        gates.tick(250)
        worst = max(worst, gates.sig[P.WELD_MS], gates.sig[P.LEAK_MS])
    assert worst < 10_000


def test_a_gate_that_was_just_opened_may_settle():
    gates = Gates(BOTH)
    gates.current(20 * gates.least)
    gates.set(DISCHARGE)
    for _ in range(1 + SETTLE_MS // gates.tick_ms):
        gates.tick()
        assert gates.sig[P.WELD_MS] == 0
    gates.tick()
    assert gates.sig[P.WELD_MS] == 19 * gates.tick_ms


def test_what_flows_in_a_pre_discharge_is_meant_to():
    gates = Gates(OFF)
    gates.current(-40 * gates.least)
    gates.set(DISCHARGE, W.PRE)
    gates.tick(250)  # the gates were open until now
    assert gates.sig[P.PRE_MS] == 0
    gates.run(1)
    assert gates.sig[P.LEAK_MS] == 0 and gates.sig[P.PRE_MS] == 1000
    gates.set(BOTH)  # the front end has closed; this Frame shows what flows since
    gates.run(1)
    assert gates.sig[P.LEAK_MS] == 0 and gates.sig[P.PRE_MS] == 0


def test_a_pre_discharge_that_was_given_up_may_settle():
    gates = Gates(OFF)
    gates.set(DISCHARGE, W.PRE)
    gates.run(2)
    gates.current(-2 * gates.least)
    gates.set(OFF, W.OFF)
    gates.run(SETTLE_MS / 1000)
    assert gates.sig[P.LEAK_MS] == 0
    gates.run(2 * gates.tick_ms / 1000)
    assert gates.sig[P.LEAK_MS] == 2 * gates.tick_ms


def test_the_least_of_all_currents_is_a_milliampere():
    gates = Gates(OFF)
    gates.pack.weld_ua = 999
    gates.current(2000)
    gates.run(1)
    assert gates.sig[P.WELD_MS] == 1000


def test_an_unknown_current_tells_nothing():
    gates = Gates(OFF)
    gates.current(3 * gates.least)
    gates.run(0.5)
    held = gates.sig[P.WELD_MS]
    gates.doubt(P.CHARGE_UA)
    gates.run(1)
    assert gates.sig[P.WELD_MS] == held == 1000


@pytest.mark.parametrize("way", [1, -1])
def test_offset_is_the_mean_of_what_is_read_with_both_gates_open(way: int):
    gates = Gates(OFF)
    gates.run(5)
    assert gates.sig[P.OFFSET_UA] == 0
    for _ in range(400):
        for ua in (300_000, -100_000):
            gates.current(way * ua)
            gates.tick()
    assert gates.sig[P.OFFSET_UA] == pytest.approx(100_000, rel=0.03)
    for on in (CHARGE, DISCHARGE, BOTH):
        gates.set(on)
        gates.run(0.1)
        assert gates.sig[P.OFFSET_UA] == 0
        gates.set(OFF)
        gates.run(1.9)
        assert gates.sig[P.OFFSET_UA] == 0, "what was switched may settle"
        gates.run(1)
        assert gates.sig[P.OFFSET_UA] > 0


def test_an_offset_beyond_any_is_half_an_ampere():
    gates = Gates(OFF)
    gates.current(900_000_000)
    gates.run(100)
    assert gates.sig[P.OFFSET_UA] == 500_000


def test_voltage_across_closed_gates():
    gates = Gates(BOTH)
    vds = gates.pack.vds_uv
    for off_uv, counts in ((vds, False), (vds + 1, True), (-vds, False), (-vds - 1, True)):
        gates.f[F.OUT_UV] = gates.f[F.PACK_UV] - off_uv
        gates.run(1)
        assert gates.sig[P.FET_OPEN_MS] == 1000 * counts
        gates.f[F.OUT_UV] = gates.f[F.PACK_UV]
        gates.tick()
        assert gates.sig[P.FET_OPEN_MS] == 0
    gates.f[F.OUT_UV] = 0
    for on in (OFF, CHARGE, DISCHARGE):
        gates.set(on)
        gates.run(1)
        assert gates.sig[P.FET_OPEN_MS] == 0
    gates.set(BOTH)
    gates.run(0.6)
    assert gates.sig[P.FET_OPEN_MS] == 0
    gates.run(3 * gates.tick_ms / 1000)  # the one that sees the command, and two that count
    held = gates.sig[P.FET_OPEN_MS]
    assert held == 2 * gates.tick_ms
    gates.f[F.FLAGS] &= ~F.OUT_OK
    gates.run(1)
    assert gates.sig[P.FET_OPEN_MS] == held
    gates.f[F.FLAGS] |= F.OUT_OK
    gates.doubt(P.PACK_UV)
    gates.run(1)
    assert gates.sig[P.FET_OPEN_MS] == held


@pytest.mark.parametrize(
    ("flag", "signal", "other"),
    [(F.CHG_SHOWN, P.CHG_HELD_MS, P.DSG_HELD_MS), (F.DSG_SHOWN, P.DSG_HELD_MS, P.CHG_HELD_MS)],
)
def test_a_fet_that_the_front_end_holds_open(flag: int, signal: int, other: int):
    gates = Gates(BOTH)
    gates.f[F.FLAGS] &= ~flag
    gates.run(0.5)
    assert (gates.sig[signal], gates.sig[other]) == (500, 0)
    gates.f[F.FLAGS] &= ~F.FETS_OK
    gates.run(0.5)
    assert gates.sig[signal] == 500, "while it does not tell"
    gates.f[F.FLAGS] |= SHOWN
    gates.tick()
    assert gates.sig[signal] == 0
    gates.set(OFF)
    gates.f[F.FLAGS] &= ~flag
    gates.run(1)
    assert gates.sig[signal] == 0, "open as commanded"
    gates.set(BOTH)
    gates.run(SETTLE_MS / 1000)
    assert gates.sig[signal] == 0
    gates.run(3 * gates.tick_ms / 1000)  # the one that sees the command, and two that count
    held = gates.sig[signal]
    assert held == 2 * gates.tick_ms
    gates.f[F.FLAGS] &= ~F.FETS_OK
    for on in (CHARGE, DISCHARGE):
        gates.set(on)
        gates.run(0.1)
        assert gates.sig[signal] == held
    gates.set(OFF)
    gates.run(0.1)
    assert gates.sig[signal] == 0, "nothing is held once both are open"


@pytest.mark.parametrize("out_uv", [-(2**31), -1, 2**31 - 1])
def test_terminals_beyond_any_reading_are_far_off(out_uv: int):
    gates = Gates(BOTH)
    gates.f[F.OUT_UV] = out_uv
    gates.run(1)
    assert gates.sig[P.FET_OPEN_MS] == 1000


def test_counters_stop():
    gates = Gates(OFF)
    gates.current(900_000_000)
    gates.run(1500, 1000)
    assert gates.sig[P.WELD_MS] == P.LOST_MAX_MS
    gates.set(DISCHARGE, W.PRE)
    gates.run(1500, 1000)
    assert gates.sig[P.PRE_MS] == P.LOST_MAX_MS
