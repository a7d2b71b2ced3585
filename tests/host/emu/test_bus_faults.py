"""Faults of bus and chip while 5 A flow: noticed, bounded in time, survived."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import pytest

pytest.importorskip("rp2040py", reason="emu: no emulator of the RP2040 on this system")

from bms.core import frame as F
from solidbms.plant.chips.ina228 import DIAG_ALRT, SOVL
from solidbms.scenario import load_scenario
from support.emulated import Closed

TICK_MS = 50
READ = F.VOLT_OK | F.CURRENT_OK


class Seen(NamedTuple):
    """Frames from the fault on, and whether the gates are still closed."""

    frames: list[tuple[int, ...]]
    closed: bool

    def unread(self) -> int:
        """Return how many ticks had no reading."""
        return sum(frame[F.FLAGS] & READ != READ for frame in self.frames)

    def latest_ms(self) -> int:
        """Return the longest time from one tick to the next."""
        times = [frame[F.T_MS] for frame in self.frames]
        return max(b - a for a, b in pairwise(times))


def _watch(board: Closed, span_s: float) -> Seen:
    board.serve_for(span_s)
    return Seen(board.frames, board.closed())


def _use(board: Closed, name: str, span_s: float) -> None:
    """Put a scenario's first fault to work from now on."""
    use, file = load_scenario(name)[1][0]
    now_s = board.world.elapsed_ms / 1000
    use = use.model_copy(update={"from_s": now_s, "until_s": now_s + span_s})
    board.world.put(use, file)


def test_nack_for_150_ms(closed: Closed) -> None:
    def act() -> Seen:
        closed.trace()
        _use(closed, "bus_nack", 0.15)
        return _watch(closed, 0.6)

    seen = closed.in_child(act)
    assert 2 <= seen.unread() <= 4
    assert seen.latest_ms() <= TICK_MS + 20
    assert seen.frames[-1][F.FLAGS] & READ == READ
    assert seen.closed


def test_held_bus_that_clocks_free(closed: Closed) -> None:
    def act() -> Seen:
        closed.trace()
        closed.wired.bus.hold(30)  # more than MicroPython's own stop gives: a recovery or two
        return _watch(closed, 0.6)

    seen = closed.in_child(act)
    assert 1 <= seen.unread() <= 3
    assert seen.latest_ms() <= TICK_MS + 20
    assert seen.frames[-1][F.FLAGS] & READ == READ
    assert seen.closed


def test_held_bus_for_150_ms(closed: Closed) -> None:
    def act() -> Seen:
        closed.trace()
        _use(closed, "bus_stuck", 0.15)
        return _watch(closed, 0.6)

    seen = closed.in_child(act)
    assert 2 <= seen.unread() <= 4
    assert seen.latest_ms() <= TICK_MS + 20
    assert seen.frames[-1][F.FLAGS] & READ == READ
    assert seen.closed


def test_chip_reset_is_noticed_within_two_ticks(closed: Closed) -> None:
    def act() -> tuple[Seen, bytes, bytes]:
        closed.trace()
        chip = closed.world.circuit.chip
        chip.power_on_reset()
        seen = _watch(closed, 0.6)
        return seen, chip.read(SOVL, 2), chip.read(DIAG_ALRT, 2)

    seen, limit, diag = closed.in_child(act)
    resets = [frame[F.FE_RESETS] for frame in seen.frames]
    assert max(resets[:2]) == 1 and resets[-1] == 1
    assert seen.unread() <= 3
    assert limit != b"\x7f\xff" and diag[0] & 0x80  # configured anew
    assert seen.closed


def test_chip_that_resets_within_a_block_shows_no_torn_reading(closed: Closed) -> None:
    def act() -> Seen:
        closed.trace()
        closed.wired.bus.cut_after = 1
        closed.wired.bus.on_cut = closed.world.circuit.chip.power_on_reset
        return _watch(closed, 0.5)

    seen = closed.in_child(act)
    volts = {frame[F.PACK_UV] for frame in seen.frames if frame[F.FLAGS] & READ == READ}
    assert max(volts) - min(volts) < 20_000
    assert seen.frames[-1][F.FE_RESETS] >= 1
    assert seen.closed


def test_chip_that_holds_the_clock_within_a_block(closed: Closed) -> None:
    def act() -> Seen:
        closed.trace()
        closed.wired.bus.stretch_after = 1
        return _watch(closed, 0.5)

    seen = closed.in_child(act)
    assert seen.unread() == 1
    volts = {frame[F.PACK_UV] for frame in seen.frames if frame[F.FLAGS] & READ == READ}
    assert max(volts) - min(volts) < 20_000
    assert seen.latest_ms() <= TICK_MS + 20
    assert seen.closed


def test_another_chip_is_not_written_to(closed: Closed) -> None:
    def act() -> tuple[Seen, bytes]:
        closed.trace()
        _use(closed, "chip_wrong", 60)
        closed.world.circuit.chip.power_on_reset()
        return _watch(closed, 0.5), closed.world.circuit.chip.read(SOVL, 2)

    seen, limit = closed.in_child(act)
    assert all(not frame[F.FLAGS] & (READ | F.CHIP_OK) for frame in seen.frames[1:])
    assert limit == b"\x7f\xff"  # as after its reset
    assert seen.latest_ms() <= TICK_MS + 20
