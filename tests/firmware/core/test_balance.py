"""Which cells bleed: the highest, at rest or near full, no two neighbours."""

from __future__ import annotations

from itertools import pairwise

import pytest
from bms.core import plausible as P
from bms.core.balance import MASK
from bms.core.charging import CHARGING, FULL, NONE, PRECHARGE
from hypothesis import given, settings
from hypothesis import strategies as st
from support.watched import CHECKED, Watched

BALANCE = CHECKED["bms.core.balance"].Balance
OVER_UV = 40_000
MINUTE_LESS_1_MS = (*[1000] * 59, 999)


class Bleed(Watched):
    """The bleed of a pack; `allowed` and `stage` are the test's."""

    def __init__(self, name: str = "robot_14s") -> None:
        super().__init__(name)
        self.balance = BALANCE(self.pack)
        self.allowed, self.stage = True, NONE
        self.base_uv = self.pack.balance_from_uv
        self.cells(self.base_uv, c3=OVER_UV)

    def step(self) -> None:
        self.balance.step(self.frame, self.sig, self.allowed, self.stage)

    @property
    def mask(self) -> int:
        return self.balance.v[MASK]

    def chosen(self, **by_cell: int) -> int:
        """Return who bleeds with these cells, once they have been calm for long enough."""
        self.cells(self.base_uv, **by_cell)
        self.run(75)
        return self.mask


def test_a_cell_above_the_others_bleeds_after_a_minute_of_calm():
    bleed = Bleed()
    for dt_ms in MINUTE_LESS_1_MS:
        bleed.tick(dt_ms)
        assert bleed.mask == 0
    bleed.tick(1)
    assert bleed.mask == 1 << 3


@pytest.mark.parametrize(
    ("stage", "ua", "high_uv", "bleeds"),
    [
        (NONE, 0, 0, True),
        (NONE, 1, 0, False),
        (CHARGING, 1, -1, False),
        (CHARGING, 1, 0, True),
        (FULL, 1, -100_000, True),
        (PRECHARGE, 1, 0, False),
    ],
)
def test_at_rest_or_near_full(stage: int, ua: int, high_uv: int, bleeds: bool):
    # ua: beyond the quiet current; high_uv: highest cell against where a charge begins anew.
    bleed = Bleed()
    bleed.stage = stage
    bleed.current(bleed.pack.quiet_ua + ua if ua else -bleed.pack.quiet_ua)
    bleed.base_uv = bleed.pack.refill_uv + high_uv - OVER_UV
    assert bleed.chosen(c3=OVER_UV) == (1 << 3) * bleeds


@pytest.mark.parametrize("what", ["load", "shed", "hot", *(f"doubt {s}" for s in P.READINGS)])
def test_whatever_ends_the_calm_ends_the_bleed_at_once(what: str):
    bleed = Bleed()
    bleed.run(75)
    assert bleed.mask
    if what == "load":
        bleed.current(-2 * bleed.pack.quiet_ua)
    elif what == "shed":
        bleed.allowed = False
    elif what == "hot":
        bleed.sig[P.BOARD_MDEGC] = bleed.pack.balance_board_mdegc
    else:
        bleed.doubt(int(what.split()[1]))
    bleed.tick()
    assert bleed.mask == 0
    bleed.current(0)
    bleed.allowed, bleed.sig[P.BOARD_MDEGC] = True, bleed.pack.balance_board_mdegc - 1
    bleed.doubt()
    for dt_ms in MINUTE_LESS_1_MS:
        bleed.tick(dt_ms)
        assert bleed.mask == 0
    bleed.tick(1)
    assert bleed.mask


def test_below_where_voltage_tells_charge_nobody_bleeds():
    bleed = Bleed()
    bleed.base_uv -= 1
    assert bleed.chosen(c3=OVER_UV) == 0


def test_it_begins_above_its_start_and_goes_on_until_close():
    bleed = Bleed()
    start = bleed.pack.balance_start_uv
    assert bleed.chosen(c3=start) == 0
    assert bleed.chosen(c3=start + 1) == 1 << 3
    assert bleed.chosen(c3=2_001) == 1 << 3
    assert bleed.chosen(c3=2_000) == 0
    assert bleed.chosen(c3=start) == 0


def test_it_chooses_anew_every_ten_seconds():
    bleed = Bleed()
    bleed.run(60)
    for k in (8, 3):
        before = bleed.mask
        bleed.cells(bleed.base_uv, **{f"c{k}": OVER_UV})
        for dt_ms in (*[1000] * 9, 999):
            bleed.tick(dt_ms)
            assert bleed.mask == before
        bleed.tick(1)
        assert bleed.mask == 1 << k


@settings(max_examples=60)
@given(st.lists(st.integers(0, 60_000), min_size=14, max_size=14))
def test_the_highest_bleed_no_neighbours_and_no_more_than_may(over: list[int]):
    bleed = Bleed()
    mask = bleed.chosen(**{f"c{k}": uv for k, uv in enumerate(over)})
    lowest, start = min(over), bleed.pack.balance_start_uv
    on = [k for k in range(14) if mask >> k & 1]
    assert mask >> 14 == 0 and len(on) <= bleed.pack.balance_cells
    assert all(b - a > 1 for a, b in pairwise(on))
    assert all(over[k] - lowest > start for k in on)
    # Whoever does not bleed is close enough, beside one that does, or lower than all that do.
    full = len(on) == bleed.pack.balance_cells
    for k in set(range(14)) - set(on):
        beside = {k - 1, k + 1} & set(on)
        lower = full and all(over[k] <= over[j] for j in on)
        assert over[k] - lowest <= start or beside or lower
    if max(over) - lowest > start:
        assert on and max(over[k] for k in on) == max(over)


@pytest.mark.parametrize("highest", [0, 1, 7, 13])
def test_where_one_may_bleed_the_highest_does(highest: int):
    bleed = Bleed()
    bleed.pack.balance_cells = 1
    over = {f"c{k}": OVER_UV - 5_000 for k in range(14)}
    over["c4"] = 0
    over[f"c{highest}"] = OVER_UV
    assert bleed.chosen(**over) == 1 << highest


def test_a_pack_that_does_not_balance_never_does():
    bleed = Bleed("bench_1s")
    bleed.run(200)
    assert bleed.mask == 0
