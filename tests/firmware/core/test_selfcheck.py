"""The processor's clock against the front end's, which counts whole seconds."""

from __future__ import annotations

from array import array
from types import SimpleNamespace
from typing import Any

import pytest
from bms.core import frame as F
from bms.core import plausible as P
from bms.core import switch as W
from bms.core.frame import Frame
from bms.core.protect import Protect
from bms.core.selfcheck import SelfCheck
from bms.core.switch import Switch
from support.packs import compiled, read

PACK: Any = read(compiled("robot_14s").blob)
LIMIT_PPM = 50_000


class Clocks:
    """Ticks of one pack; the front end's clock runs at `pace` and shows its last whole second."""

    def __init__(self, start_ms: int = 0) -> None:
        self.check = SelfCheck(PACK, Protect(PACK))
        self.switch = Switch(0)
        self.frame = Frame(PACK.cells, PACK.temps)
        self.sig = array("i", [0] * len(P.FIELDS))
        self.start_ms, self.now_ms, self.fe_ms = start_ms, 0, 317.0
        self.flags = F.FE_TIME_OK

    def run(self, seconds: float, tick_ms: int = 50, pace: float = 1.0) -> int:
        """Return the furthest that the signal went."""
        worst = 0
        for _ in range(round(seconds * 1000 / tick_ms)):
            self.now_ms += tick_ms
            self.fe_ms += tick_ms * pace
            f = self.frame.v
            f[F.FLAGS] = self.flags
            f[F.T_MS] = (self.start_ms + self.now_ms) & (1 << 30) - 1
            f[F.FE_TIME_MS] = int(self.fe_ms // 1000 * 1000)
            self.check.step(self.frame, self.sig, self.switch)
            worst = max(worst, self.sig[P.CLOCK_PPM])
        return worst


@pytest.mark.parametrize("phase_ms", range(0, 1000, 130))
@pytest.mark.parametrize("start_ms", [0, (1 << 30) - 25_000])
def test_clocks_that_agree_are_never_told_apart(phase_ms, start_ms):
    clocks = Clocks(start_ms)
    clocks.fe_ms = phase_ms
    for tick_ms in (50, 250, 20, 125):  # gates open and close
        assert clocks.run(70, tick_ms) < 20_000


@pytest.mark.parametrize("pace", [0.0, 0.9, 0.94, 1.06, 1.2])
def test_a_clock_that_is_off_shows_within_two_comparisons(pace):
    clocks = Clocks()
    clocks.run(60)
    assert clocks.run(2 * 23, pace=pace) > LIMIT_PPM
    clocks.run(60)
    assert clocks.sig[P.CLOCK_PPM] < LIMIT_PPM


def test_a_front_end_that_was_reset_is_compared_anew():
    clocks = Clocks()
    clocks.run(10)
    for _ in range(40):  # every few seconds: never long enough
        clocks.frame.v[F.FE_RESETS] += 1
        clocks.fe_ms = 0.0
        assert clocks.run(7.3) == 0
    clocks.frame.v[F.FE_RESETS] += 1
    clocks.fe_ms = 0.0
    assert clocks.run(100) < LIMIT_PPM


def jump(clocks: Clocks, own_ms: int, fe_ms: int) -> int:
    """Let the next tick be this much later by either clock; return the signal."""
    clocks.start_ms += own_ms - 50
    clocks.fe_ms += fe_ms - 50
    clocks.run(0.05)
    return clocks.sig[P.CLOCK_PPM]


@pytest.mark.parametrize(
    ("own_ms", "fe_ms", "ppm"),
    [
        (20_000, 22_000, 100_000), (19_999, 22_000, 0),  # where it has just counted
        (23_000, 0, 1_000_000), (22_999, 0, 0),  # where it counts no more
        (59_999, 30_000, 508_457), (60_000, 30_000, 0),  # readings were missed
        (20_000, 119_000, 4_950_000), (20_000, 120_000, 0),
    ],
)  # fmt: skip
def test_the_clocks_are_compared_after_twenty_seconds(own_ms: int, fe_ms: int, ppm: int):
    clocks = Clocks()
    clocks.fe_ms = 0.0
    clocks.run(1)  # it has just counted
    assert jump(clocks, own_ms, fe_ms) == ppm


def test_a_time_that_the_front_end_did_not_tell_is_not_compared():
    clocks = Clocks()
    clocks.run(1)
    clocks.flags = F.VOLT_OK
    assert clocks.run(60, pace=0.0) == 0


def test_the_comparison_begins_with_the_reset_itself():
    clocks = Clocks()
    clocks.run(1)
    clocks.frame.v[F.FE_RESETS] += 1
    clocks.fe_ms = -50.0
    clocks.run(0.05)
    assert jump(clocks, 20_000, 22_000) == 100_000


def test_a_processor_whose_clock_jumps_is_not_compared_over_the_jump():
    for jump_ms in (70_000, 1 << 29):
        clocks = Clocks(start_ms=100_000)
        clocks.run(10)
        clocks.start_ms = (clocks.start_ms + jump_ms) & (1 << 30) - 1
        assert clocks.run(100) < LIMIT_PPM


def broken(pack: Any, protect: Protect) -> list[tuple[str, Any]]:
    """Return (what, a function that flips one of its bits), for all that is looked at."""
    found = []
    for k, table in enumerate(pack.tables()):
        for at in {0, len(table) // 2, len(table) - 1} if len(table) else ():
            found.append((f"table {k}, {at}", lambda t=table, at=at: flip(t, at)))
    for g in range(protect.count()):
        found.append((f"group {g}", lambda g=g: lower(protect, g)))
    return found


def flip(table: Any, at: int) -> None:
    table[at] ^= 1 << 4


def lower(protect: Protect, g: int) -> None:
    signal, low, high, bit, rows = protect.groups[g]
    protect.groups[g] = signal, low, high ^ 1 << 8, bit, rows


@pytest.mark.parametrize("which", range(0, 60, 3))
def test_a_bit_lost_anywhere_is_found_within_one_round(which: int):
    pack = read(compiled("robot_14s").blob)
    protect = Protect(pack)
    check = SelfCheck(pack, protect)
    switch, frame = Switch(0), Frame(pack.cells, pack.temps)
    sig = array("i", [0] * len(P.FIELDS))
    rounds = len(pack.tables()) + protect.count()
    for _ in range(2 * rounds):
        check.step(frame, sig, switch)
    assert sig[P.CONFIG_BAD] == 0
    faults = broken(pack, protect)
    faults[which % len(faults)][1]()
    for _ in range(rounds):
        check.step(frame, sig, switch)
    assert sig[P.CONFIG_BAD] == 1, faults[which % len(faults)][0]
    for _ in range(2 * rounds):
        check.step(frame, sig, switch)
    assert sig[P.CONFIG_BAD] == 1, "it stays"


@pytest.mark.parametrize(("tables", "groups"), [(3, 3), (4, 2), (3, 2), (1, 1)])
def test_a_round_looks_at_every_table_and_group_once(tables: int, groups: int):
    made = [bytearray(8) for _ in range(tables)]
    seen: list[int] = []
    rules: Any = SimpleNamespace(count=lambda: groups, as_compiled=lambda g: not seen.append(g))
    check = SelfCheck(SimpleNamespace(tables=lambda: made), rules)
    switch, frame = Switch(0), Frame(PACK.cells, PACK.temps)
    for k in range(tables):
        sig = array("i", [0] * len(P.FIELDS))
        seen.clear()
        made[k][3] ^= 1
        for _ in range(tables + groups):
            check.step(frame, sig, switch)
        made[k][3] ^= 1
        assert sorted(seen) == list(range(groups))
        assert sig[P.CONFIG_BAD] == 1


def test_a_latch_that_lost_a_bit_is_found_at_once():
    clocks = Clocks()
    clocks.run(1)
    clocks.switch.v[W.LATCHED] ^= 1
    clocks.run(0.05)
    assert clocks.sig[P.CONFIG_BAD] == 1
