"""PIO blocks that run when somebody looks, with the CPU asleep or not.

rp2040py steps a state machine at most once a CPU instruction: asleep, with the next alarm 1 ms
away, a 10 MHz program runs at 1 kHz. Here a block is brought up to the present whenever its
registers are touched, a pin that it may see changes, or the host asks; every instruction is
executed by rp2040py's own state machine at the cycle it is due. Where a program only counts down
while it repeats itself (see `counts_only`), whole repetitions are skipped.

Limits: the state machines of a block run one after the other over a span, so none may wait for
another; PIO interrupts and DMA requests come late, when the block is looked at.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from rp2040py.irq import IRQ
from rp2040py.peripherals.pio import RPPIO
from rp2040py.peripherals.pio_registers import TXF0, TXF3

if TYPE_CHECKING:
    from solidbms.emu.chip import Chip

_State = tuple[int, int, int, int]  # when due, X, Y, OSR

_FP_PER_NS = 32  # rp2040py's times: 1/256 of a system clock of 8 ns
_PUTS = 64
_KEPT = 8  # pin changes remembered: a repetition that is skipped may have as many


class Pio(RPPIO):
    """A PIO block; see the module.

    edge_ns: time of the instruction that just runs, else None. puts_ns: when something was put
    into the FIFO of each state machine, the last few times.
    """

    def __init__(self, chip: Chip, name: str, irq: IRQ, index: int) -> None:
        self.chip = chip
        self.edge_ns: float | None = None
        self.puts_ns = [deque[float](maxlen=_PUTS) for _ in self.machines]
        self._asleep_fp = 0  # time that its clock stood still
        self._stopped_at: int | None = None
        self._runners = [_Runner(self, machine) for machine in self.machines]

    def _clock_fp(self) -> int:
        return int(self.chip.clock.nanos * _FP_PER_NS)

    def ns(self, due_fp: int) -> float:
        """Return the emulated time of a state machine's time."""
        return (due_fp + self._asleep_fp) / _FP_PER_NS

    def sleep(self, asleep: bool) -> None:
        """Stop its clock (deep sleep), or let it run on."""
        if asleep and self._stopped_at is None:
            self.settle()
            self._stopped_at = self._clock_fp()
        elif not asleep and self._stopped_at is not None:
            self._asleep_fp += self._clock_fp() - self._stopped_at
            self._stopped_at = None

    def read_uint32(self, offset: int) -> int:
        """Read a register as of now."""
        self.settle()
        return super().read_uint32(offset)

    def write_uint32(self, offset: int, value: int) -> None:
        """Write a register as of now."""
        self.settle()
        if TXF0 <= offset <= TXF3:
            self.puts_ns[(offset - TXF0) // 4].append(self.chip.clock.nanos)
        super().write_uint32(offset, value)
        self.stopped = True  # for rp2040py's loop: `settle` steps in its place
        self.check_changed_pins()  # an instruction put into SMx_INSTR acts at once
        counting = counts_only(self.instructions)
        for runner in self._runners:
            runner.counting = counting
        self.forget()

    def forget(self) -> None:
        """Look for repetitions anew: what was will not go on alike."""
        for runner in self._runners:
            runner.visits.clear()

    def reset(self) -> None:
        """Reset the block."""
        super().reset()
        self._asleep_fp = 0
        self._stopped_at = None

    def settle(self) -> None:
        """Run every state machine up to now."""
        if self.edge_ns is not None:  # asked for by a pin that one of them has just changed
            return
        now = self._clock_fp() if self._stopped_at is None else self._stopped_at
        now -= self._asleep_fp
        for runner in self._runners:
            machine = runner.machine
            if machine.enabled and not machine.waiting and machine.next_due_fp <= now:
                runner.run(now)
        self.edge_ns = None
        self.cycle_fp = now


class _Visit(NamedTuple):
    """A state machine at the head of a loop, and what it lost since the visit before."""

    at: _State
    lost: _State


class _Runner:
    """Runs one state machine."""

    def __init__(self, pio: Pio, machine: Any) -> None:
        self.pio = pio
        self.machine = machine
        self.counting = False
        self.visits: dict[tuple[int, ...], _Visit] = {}  # by all that does not count down
        self.changes: list[tuple[int, int]] = []  # time and pins, the last few

    def run(self, now: int) -> None:
        """Run up to now."""
        pio, machine = self.pio, self.machine
        while machine.enabled and not machine.waiting:
            due, pc, pins = machine.next_due_fp, machine.pc, pio.pin_values
            if due > now:
                return
            pio.cycle_fp = due
            pio.edge_ns = pio.ns(due)
            machine.step()
            pio.check_changed_pins()
            if pins != pio.pin_values:
                self.changes = [*self.changes[1 - _KEPT :], (due, pins ^ pio.pin_values)]
            if machine.pc <= pc and self.counting:
                self._skip(now)

    def _skip(self, now: int) -> None:
        """Pass over whole repetitions, once two in a row have done the same."""
        machine = self.machine
        loop = (
            machine.pc, machine.input_shift_reg, machine.input_shift_count,
            machine.output_shift_count, machine.tx_fifo.item_count, machine.rx_fifo.item_count,
            self.pio.pin_values, self.pio.pin_directions,
        )  # fmt: skip
        here = machine.next_due_fp, machine.x, machine.y, machine.output_shift_reg
        last = self.visits.get(loop)
        lost = _less(last.at, here, 1) if last else (0, 0, 0, 0)
        self.visits[loop] = _Visit(here, lost)
        if last is None or last.lost != lost or min(lost[1:]) < 0:
            return
        count = (now - here[0]) // -lost[0]
        for left, less in ((here[1], lost[1]), (here[2], lost[2])):
            if less:
                count = min(count, left // less - 1)
        if count < 1:
            return
        self._repeat(last.at[0], count, lost)
        there = self.visits[loop].at
        machine.next_due_fp, machine.x, machine.y, machine.output_shift_reg = there

    def _repeat(self, since_fp: int, count: int, lost: _State) -> None:
        """Let what happened since then happen `count` times more."""
        for loop, visit in self.visits.items():
            if visit.at[0] > since_fp:
                self.visits[loop] = _Visit(_less(visit.at, lost, count), visit.lost)
        period = -lost[0]
        again = [change for change in self.changes if change[0] >= since_fp]
        if not again:
            return
        for pad in self.pio.chip.pads:
            times = [due for due, pins in again if pins >> pad.index & 1]
            if times:
                last_ns = self.pio.ns(times[-1] + count * period)
                for hear in pad.on_repeat:
                    hear(last_ns, period / len(times) / _FP_PER_NS, count * len(times))
        moved = [(due + count * period, pins) for due, pins in again]
        self.changes[len(self.changes) - len(again) :] = moved


def _less(a: _State, b: _State, count: int) -> _State:
    return (a[0] - count * b[0], a[1] - count * b[1], a[2] - count * b[2], a[3] - count * b[3])


def counts_only(instructions: list[int]) -> bool:
    """Return whether X and Y only ever count down to 0 and rest in OSR meanwhile.

    Then what a repetition took off them the next will take off, too, until one is used up.
    """
    return all(_counts(word >> 13, word >> 5 & 7, word & 0x1F) for word in instructions)


def _counts(op: int, middle: int, low: int) -> bool:
    counters = (1, 2, 7)  # X, Y, OSR as source or destination
    if op == 0:  # jmp: not on !x, !y nor x != y
        return middle not in (1, 3, 5)
    if op == 2:  # in
        return middle not in counters
    if op == 5:  # mov: as they are, to each other
        return low & 7 not in counters or (middle in counters and not low >> 3)
    return op in (1, 4, 7)  # wait, push and pull, set; not out, not irq
