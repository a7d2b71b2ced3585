"""Every way in which the firmware can stop feeding ends in open gates, and they stay open."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

pytest.importorskip("rp2040py", reason="emu: no emulator of the RP2040 on this system")

from solidbms.emu.gates import PUMP_EDGES
from support.emulated import Closed

HELD_MS = 150.0  # from the last feed, pump's decay and all; see the design


class Seen(NamedTuple):
    """What one fault came to."""

    after_ms: float  # last edge of the run of edges that held the gates, since the fault
    since_fed_ms: float  # the same since the last feed
    closed_again: bool
    resets: list[str]


def _watch(board: Closed, span_ms: float) -> Seen:
    """Let time pass from a fault on and look at both gates."""
    pico, pumps = board.pico, (board.wired.charge, board.wired.discharge)
    at_ns = pico.now_ns
    held = [pump.bursts[-1] for pump in pumps]
    puts = [list(puts_ns) for puts_ns in pico.chip.pio[1].puts_ns[:2]]
    pico.run_until(at_ns + span_ms * 1e6)
    since_fed = []
    for k, burst in enumerate(held):
        fed = [t for t in (*puts[k], *pico.chip.pio[1].puts_ns[k]) if t <= burst.last_ns]
        since_fed.append(burst.last_ns - max(fed))
    return Seen(
        max(burst.last_ns - at_ns for burst in held) / 1e6,
        max(since_fed) / 1e6,
        board.closed() or any(p.bursts[-1] is not b and p.bursts[-1].edges >= PUMP_EDGES
                              for p, b in zip(pumps, held, strict=True)),
        [reset.cause for reset in pico.resets[1:]],
    )  # fmt: skip


# name, argument, ms to watch, most ms from the request to the last edge
FAULTS = [
    ("hang", 0, 300, 145),
    ("irq_off", 0, 300, 145),
    ("feeds", 0, 300, 155),  # the rig takes 3 ms to get there; five feeds last 5 edges longer
    ("exception", 0, 300, 60),  # a tick, and it cuts
    ("soft_reset", 0, 1000, 10),
    ("reset", 0, 1000, 10),
    ("late", 300, 600, 145),
]


@pytest.mark.parametrize(("fault", "argument", "span_ms", "most_ms"), FAULTS)
def test_gates_open(
    closed: Closed, fault: str, argument: int, span_ms: int, most_ms: float
) -> None:
    def act() -> Seen:
        closed.break_it(fault, argument)
        return _watch(closed, span_ms)

    seen = closed.in_child(act)
    assert seen.after_ms <= most_ms
    assert seen.since_fed_ms + 1 <= HELD_MS
    assert not seen.closed_again


def test_erase_of_400_ms(closed: Closed) -> None:
    def act() -> Seen:
        closed.pico.chip.flash_ns[0x20] = 400e6
        closed.break_it("erase")
        return _watch(closed, 800)

    seen = closed.in_child(act)
    assert seen.since_fed_ms + 1 <= HELD_MS
    assert not seen.closed_again


def test_lightsleep(closed: Closed) -> None:
    def act() -> Seen:
        closed.break_it("lightsleep", 300)
        return _watch(closed, 800)

    seen = closed.in_child(act)
    assert seen.after_ms <= 10
    assert not seen.closed_again


def test_sleep_past_the_guard_is_cut_by_the_next_tick(closed: Closed) -> None:
    def act() -> tuple[list[float], bool]:
        pumps = (closed.wired.charge, closed.wired.discharge)
        before = [len(pump.bursts) for pump in pumps]
        closed.break_it("raw_sleep", 300)
        closed.pico.run_for(800e6)
        closed.pico.chip.settle_pio()
        after = [b for pump, n in zip(pumps, before, strict=True) for b in pump.bursts[n:]]
        return [(b.last_ns - b.first_ns) / 1e6 for b in after], closed.closed()

    spans_ms, still_closed = closed.in_child(act)
    # Edges are left to make when the clock comes back: the one case in which gates close again.
    assert len(spans_ms) == 2 and max(spans_ms) <= 10
    assert not still_closed


def test_run_pin(closed: Closed) -> None:
    def act() -> Seen:
        closed.pico.reset()
        return _watch(closed, 1000)

    seen = closed.in_child(act)
    assert seen.after_ms <= 0.001
    assert not seen.closed_again
    assert seen.resets == ["run pin"]


def test_a_stopped_clock(closed: Closed) -> None:
    def act() -> Seen:
        for block in closed.pico.chip.pio:
            block.sleep(True)
        closed.pico.stall(1e12)
        return _watch(closed, 300)

    seen = closed.in_child(act)
    assert seen.after_ms <= 0
    assert not seen.closed_again


def test_alert_cuts_without_the_processor(closed: Closed) -> None:
    def act() -> Any:
        closed.pico.stall(1e12)
        alert = closed.wired.alert
        closed.wired._show = lambda: None
        alert.drive(False)
        first = _watch(closed, 1)
        alert.drive(None)
        return first, _watch(closed, 50)

    first, later = closed.in_child(act)
    assert first.after_ms <= 0.001
    assert not later.closed_again


def test_watchdog_resets_a_hung_processor(closed: Closed) -> None:
    def act() -> Seen:
        closed.pico.stall(1e12)
        return _watch(closed, 2500)

    seen = closed.in_child(act)
    assert seen.resets == ["watchdog"]
    assert not seen.closed_again
