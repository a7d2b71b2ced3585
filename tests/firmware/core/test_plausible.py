"""Signals out of Frames: what is believed, how long something is lost, frozen or late."""

from __future__ import annotations

import pytest
from bms.core import frame as F
from bms.core import plausible as P
from bms.core.fixed import BIG
from bms.core.switch import BOOT_FRAMES, OFF, STATE
from hypothesis import given
from hypothesis import strategies as st
from support import int31
from support.packs import NAMES, compiled, read
from support.rig import Bench

ALL = P.ALL_TRUSTED
VOLT = 1 << P.CELL_MAX_UV | 1 << P.CELL_MIN_UV | 1 << P.PACK_UV
CURRENT = 1 << P.CHARGE_UA | 1 << P.DISCHARGE_UA | 1 << P.CHARGE_OVER_UA
FET, BOARD = 1 << P.FET_MDEGC, 1 << P.BOARD_MDEGC
TEMP = 1 << P.TEMP_MAX_MDEGC | 1 << P.TEMP_MIN_MDEGC
MASK = (1 << 30) - 1
SANE_UV = 1_000_000
PLAUSIBLE = int31.load()["bms.core.plausible"].Plausible


class Signals:
    """Plausible on a Frame that a test writes; all good to begin with."""

    def __init__(self, cells: int = 1, temps: int = 1) -> None:
        self.pack = read(compiled(NAMES[0]).blob)
        self.plausible = PLAUSIBLE(self.pack)
        self.frame = F.Frame(cells, temps)
        self.f = self.frame.v
        self.f[F.FLAGS] = F.VOLT_OK | F.CURRENT_OK | 0xFF00
        for k in range(F.CELL0, F.CELL0 + cells):
            self.f[k] = 3_600_000
        for k in range(self.frame.temp0, len(self.f)):
            self.f[k] = 25_000

    def step(self, dt_ms: int = 50, **words: int):
        """Run a step with these Frame words (flags off: `lost`)."""
        self.f[F.T_MS] = self.f[F.T_MS] + dt_ms & MASK
        self.f[F.FLAGS] ^= words.get("lost", 0)
        for name, value in words.items():
            if name != "lost":
                self.f[getattr(F, name)] = value
        self.plausible.step(self.frame, 50)
        self.f[F.FLAGS] ^= words.get("lost", 0)
        return self.plausible.v


def test_all_readings_good_is_what_the_boot_test_wants():
    assert Signals().step()[P.TRUST] == ALL
    bench = Bench(read(compiled(NAMES[0]).blob))
    for k in range(BOOT_FRAMES):
        assert bench.switch.v[STATE] != OFF, k
        bench.tick()
    assert bench.switch.v[STATE] == OFF


@given(st.lists(st.integers(SANE_UV, BIG - 1), min_size=1, max_size=16))
def test_extremes_of_the_cells(cells: list[int]):
    s = Signals(len(cells))
    for k, uv in enumerate(cells):
        s.f[F.CELL0 + k] = uv
    v = s.step()
    assert (v[P.CELL_MIN_UV], v[P.CELL_MAX_UV]) == (min(cells), max(cells))


@given(st.lists(st.integers(-199_999, 199_999), min_size=1, max_size=8), st.data())
def test_extremes_of_the_sensors_and_one_lost_is_all_lost(temps: list[int], data):
    s = Signals(temps=len(temps))
    for k, mdegc in enumerate(temps):
        s.f[s.frame.temp0 + k] = mdegc
    v = s.step()
    assert (v[P.TEMP_MIN_MDEGC], v[P.TEMP_MAX_MDEGC]) == (min(temps), max(temps))
    k = data.draw(st.integers(0, len(temps) - 1))
    assert s.step(lost=F.TEMP_OK << k)[P.TRUST] == ALL & ~TEMP
    s.f[s.frame.temp0 + k] = data.draw(st.sampled_from((-200_000, 200_000, 2**31 - 1, -(2**31))))
    assert s.step()[P.TRUST] == ALL & ~TEMP
    assert (v[P.TEMP_MIN_MDEGC], v[P.TEMP_MAX_MDEGC]) == (min(temps), max(temps)), "kept"


@pytest.mark.parametrize("value", [BIG, -BIG, 2**31 - 1, -(2**31)])
def test_beyond_any_reading(value: int):
    assert Signals().step(CURRENT_UA=value)[P.TRUST] == ALL & ~CURRENT
    assert Signals().step(CELL0=value)[P.TRUST] == ALL & ~VOLT
    s = Signals(3)
    s.f[F.CELL0 + 2] = value
    assert s.step()[P.TRUST] == ALL & ~VOLT
    inside = value - 1 if value > 0 else value + 1
    if abs(inside) < BIG:
        assert Signals().step(CURRENT_UA=inside)[P.TRUST] == ALL
    assert Signals().step(CELL0=SANE_UV - 1)[P.TRUST] == ALL & ~VOLT
    assert Signals().step(CELL0=SANE_UV)[P.TRUST] == ALL
    assert Signals().step(CELL0=BIG - 1)[P.TRUST] == ALL


def test_current_both_ways():
    v = Signals().step(CURRENT_UA=-7)
    assert (v[P.CHARGE_UA], v[P.DISCHARGE_UA]) == (-7, 7)


@pytest.mark.parametrize(
    ("lost", "signal"),
    [(F.VOLT_OK, P.FE_LOST_MS), (F.CURRENT_OK, P.FE_LOST_MS), (F.TEMP_OK, P.TEMP_LOST_MS)],
)
def test_lost_counts_from_the_last_good_frame(lost: int, signal: int):
    s = Signals()
    s.step()
    for k in range(1, 20):
        assert s.step(lost=lost)[signal] == 50 * k
    assert s.step()[signal] == 0
    for _ in range(1100):
        s.step(1000, lost=lost)
    assert s.plausible.v[signal] == P.LOST_MAX_MS


def test_what_is_lost_keeps_its_last_value():
    s = Signals()
    s.step(CURRENT_UA=5)
    v = s.step(CURRENT_UA=6, CELL0=1_500_000, lost=F.CURRENT_OK | F.VOLT_OK)
    assert (v[P.CHARGE_UA], v[P.CELL_MIN_UV], v[P.CELL_MAX_UV]) == (5, 3_600_000, 3_600_000)


def test_the_stack_must_be_a_voltage():
    assert Signals().step(PACK_UV=BIG - 1)[P.PACK_UV] == BIG - 1
    for value in (-1, BIG, 2**31 - 1, -(2**31)):
        assert Signals().step(PACK_UV=value)[P.TRUST] == ALL & ~VOLT


def test_charge_beyond_what_the_temperature_allows():
    s = Signals()
    s.plausible.v[P.CHARGE_LIMIT_UA] = 300
    assert s.step(CURRENT_UA=1000)[P.CHARGE_OVER_UA] == 700
    assert s.step(CURRENT_UA=-1000)[P.CHARGE_OVER_UA] == -300, "discharge is no charge"
    s.plausible.v[P.CHARGE_LIMIT_UA] = 0
    assert s.step(CURRENT_UA=1)[P.CHARGE_OVER_UA] == 1
    assert s.step(CURRENT_UA=BIG - 1)[P.CHARGE_OVER_UA] >= BIG // 2


def test_a_short_is_what_the_front_end_says():
    s = Signals()
    assert s.step()[P.SHORTS] == 0
    assert s.step(lost=F.SHORTED)[P.SHORTS] == 1
    assert s.step()[P.SHORTS] == 0


@pytest.mark.parametrize(
    ("signal", "word", "flag", "bit"),
    [("FET_MDEGC", "FET_MDEGC", F.FET_TEMP_OK, FET),
     ("BOARD_MDEGC", "BOARD_MDEGC", F.BOARD_TEMP_OK, BOARD)],
)  # fmt: skip
def test_a_sensor_beside_the_cells(signal: str, word: str, flag: int, bit: int):
    at = getattr(P, signal)
    s = Signals()  # a pack without it: not missed, whatever its word says
    assert s.step(**{word: 77_000})[P.TRUST] == ALL
    assert s.plausible.v[at] == 0
    s.plausible.has_fet, s.plausible.has_board = bit == FET, bit == BOARD
    s.f[F.FLAGS] |= flag
    v = s.step(**{word: 77_000})
    assert v[P.TRUST] == ALL and v[at] == 77_000 and v[P.TEMP_LOST_MS] == 0
    for value in (200_000, -200_000, 2**31 - 1):
        v = s.step(**{word: value})
        assert v[P.TRUST] == ALL & ~bit and v[at] == 77_000
    assert v[P.TEMP_LOST_MS] == 150
    assert s.step(**{word: 78_000}, lost=flag)[P.TRUST] == ALL & ~bit
    assert s.step()[P.TEMP_LOST_MS] == 0 and s.plausible.v[at] == 78_000


def test_signals_of_the_slack_and_readings_are_told_apart():
    slack = {s for s in range(P.SIGNALS) if P.slack_signal(s)}
    assert slack.isdisjoint(P.READINGS) and P.FROZEN_MS in slack
    assert P.OVERRUN_MS not in slack and P.SHORTS not in slack
    assert all(s < P.TRUST_BITS for s in P.READINGS)


def test_a_front_end_that_has_yet_to_start_is_not_lost():
    s = Signals()
    waits = [s.step(lost=F.VOLT_OK)[P.FE_LOST_MS] for _ in range(22)]
    assert waits[:2] == [-950, -900] and waits[-1] == 100
    s.step()
    assert s.step(lost=F.VOLT_OK)[P.FE_LOST_MS] == 50


@given(st.integers(0, MASK), st.integers(-(2**29), 2**29 - 1))
def test_time_that_jumps_counts_as_what_it_may(start: int, dt_ms: int):
    s = Signals()
    s.step(start)
    assert s.plausible.v[P.DT_MS] == 50 and s.plausible.v[P.OVERRUN_MS] == 0, "the first tick"
    v = s.step(dt_ms)
    assert v[P.DT_MS] == (min(dt_ms, 1000) if dt_ms > 0 else 50)
    assert v[P.OVERRUN_MS] == min(max(dt_ms - 50, 0), P.LOST_MAX_MS)


def test_a_lost_feature():
    s = Signals()
    assert s.step()[P.FEATURES_LOST] == 0
    assert s.step(lost=F.FEATURE_LOST)[P.FEATURES_LOST] == 1


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=300))
def test_unsteady_weighs_loss_and_resets_and_forgets_slowly(ticks: list[tuple[bool, bool]]):
    s = Signals()
    s.step()
    weight = 0.0
    for lost, reset in ticks:
        s.f[F.FE_RESETS] += reset
        v = s.step(lost=F.VOLT_OK if lost else 0)
        weight = max(0.0, weight + 1000 * reset + (50 if lost else -12.5))
        assert abs(v[P.FE_UNSTEADY_MS] - weight) <= len(ticks) / 2
