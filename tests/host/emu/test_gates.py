"""Edges close a gate; few of them, slow ones, or a level do not."""

from __future__ import annotations

import pytest

pytest.importorskip("rp2040py", reason="emu: no emulator of the RP2040 on this system")

from solidbms.emu.chip import Chip
from solidbms.emu.gates import DECAY_NS, PUMP_EDGES, Pump


def pumped(count: int, gap_ns: float) -> tuple[Pump, float]:
    """Return a pump after so many edges, and the time of the last."""
    chip = Chip(lambda span_ns: None, lambda: None)
    pad = chip.pads[14]
    pump = Pump(pad)
    for k in range(count):
        chip.clock.tick(gap_ns)
        pad.drive(not k % 2)
    return pump, chip.clock.nanos


def test_edges_hold_it_for_the_decay() -> None:
    pump, last_ns = pumped(100, 6700)
    assert pump.last_ns == last_ns
    assert pump.closed(last_ns + DECAY_NS)
    assert not pump.closed(last_ns + DECAY_NS + 1)


def test_few_or_slow_edges_do_not() -> None:
    for count, gap_ns in ((PUMP_EDGES - 1, 6700), (100, DECAY_NS + 1)):
        pump, last_ns = pumped(count, gap_ns)
        assert not pump.closed(last_ns)


def test_repeated_edges_count_as_edges() -> None:
    pump, last_ns = pumped(1, 6700)
    pump._edges(last_ns + 1000 * 6700, 6700.0, 1000)
    assert [burst.edges for burst in pump.bursts] == [1001]
    pump._edges(last_ns + 5 * DECAY_NS * 100, DECAY_NS * 2, 100)
    assert not pump.closed(last_ns + 5 * DECAY_NS * 100)
