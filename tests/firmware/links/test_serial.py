"""The link beside the real loop: what it tells, what it takes, and what it does not."""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import Any

import pytest
from bms.core import frame as F
from bms.core import switch as W
from bms.core.rules import ID, ROWS
from bms.core.status import FIELDS
from bms.links import framing as L
from bms.links.news import EVENTS, schema
from bms.links.serial import BYTES_IN, BYTES_OUT, RING, SerialLink
from hypothesis import given
from hypothesis import strategies as st
from support.frames import command, frame, frames
from support.packs import compiled, read
from support.rig import Rig

NAMES: list[str] = list(FIELDS)
ROW = {row[ID]: k for k, row in enumerate(ROWS)}


class Wire:
    """The stream of a link: `come` is what it reads, `got` what it wrote."""

    def __init__(self) -> None:
        self.waiting = bytearray()
        self.wrote = bytearray()
        self.takes = 1 << 30  # bytes from now on

    def come(self, data: bytes) -> None:
        self.waiting += data

    def receive(self, buffer: bytearray) -> int:
        n = min(len(buffer), len(self.waiting))
        buffer[:n] = self.waiting[:n]
        del self.waiting[:n]
        return n

    def send(self, buffer: bytearray, at: int, end: int) -> int:
        n = min(end - at, self.takes)
        self.takes -= n
        self.wrote += buffer[at : at + n]
        return at + n

    def got(self) -> list[tuple[int, bytes]]:
        found = [(kind, payload) for kind, _, payload in frames(bytes(self.wrote))]
        self.wrote.clear()
        return found


class Linked(Rig):
    """A rig with a link; `rig` as SerialLink takes it."""

    def __init__(self, rig: Any = None, name: str = "bench_1s", **key: Any) -> None:
        self.wire = Wire()
        self.rig = rig
        self.lines: tuple[Any, ...] = (("board", "rig"), ("errors", ""))
        self.failures: list[Exception] = []
        super().__init__(read(compiled(name).blob), **key)

    def links(self, bms: Any) -> list[Any]:
        self.link = SerialLink(self.wire, bms, self, self.rig)
        return [self.link]

    def info(self) -> tuple[Any, ...]:
        return self.lines

    def failed(self, error: Exception) -> None:
        self.failures.append(error)

    def sleep_until(self, t_ms: int, mailbox: Any) -> bool:
        while self.link.pump():  # as a board does while it rests
            pass
        return True

    def ticks(self, count: int) -> list[tuple[int, bytes]]:
        for _ in range(count):
            self.tick()
        return self.wire.got()

    def ask(self, data: bytes, ticks: int = 2) -> list[tuple[int, bytes]]:
        self.wire.come(data)
        return self.ticks(ticks)


@pytest.fixture
def rig() -> Linked:
    linked = Linked()
    linked.close()
    linked.ticks(20)
    return linked


def of(kind: int, got: list[tuple[int, bytes]]) -> list[bytes]:
    return [payload for one, payload in got if one == kind]


def events(got: list[tuple[int, bytes]]) -> list[tuple[str, int]]:
    told = [struct.unpack("<iHBH", payload) for payload in of(L.EVENT, got)]
    return [(EVENTS[kind], argument) for _, _, kind, argument in told]


def statuses(got: list[tuple[int, bytes]]) -> list[dict[str, int]]:
    size = struct.Struct(f"<{len(NAMES)}i")
    return [dict(zip(NAMES, size.unpack(s), strict=True)) for s in of(L.STATUS, got)]


# Out.


def test_status_is_every_word_as_declared(rig):
    rig.shunt_code = -20000
    told = statuses(rig.ticks(10))
    assert told[-1] == dict(zip(NAMES, rig.core.status.v, strict=True)) or len(told) > 1
    assert {status["current_ua"] for status in told} >= {-20000 * 78125 // 1000}


def test_status_comes_every_200_ms_and_at_every_change(rig):
    times = [status["t_ms"] for status in statuses(rig.ticks(40))]
    assert {b - a for a, b in pairwise(times)} == {200}
    rig.tick(W.OPEN)
    (told,) = statuses(rig.wire.got())
    assert (told["state"], told["dsg_on"], told["t_ms"]) == (W.OFF, 0, rig.now_ms)


def test_status_comes_as_often_as_asked(rig):
    got = rig.ask(command(L.ASK, L.ASK_RATE, 1000))
    assert of(L.REPLY, got) == [bytes((0, L.ASK_RATE, L.TAKEN))]
    rig.ticks(20)
    assert len(statuses(rig.ticks(100))) == 5
    for argument in (0, 19, 60001, -5):
        got = rig.ask(command(L.ASK, L.ASK_RATE, argument))
        assert of(L.REPLY, got) == [bytes((0, L.ASK_RATE, L.BAD))]
    assert len(statuses(rig.ticks(100))) == 5


def test_a_status_goes_out_though_the_clock_runs_back(rig):
    rig.start_ms -= 60_000
    assert len(statuses(rig.ticks(20))) >= 5


def test_cells_and_temperatures_come_twice_a_second(rig):
    told = of(L.CELLS, rig.ticks(40))
    v = rig.core.frame.v
    assert len(told) in (4, 5)
    assert told[-1] == struct.pack("<BB2i", 1, 1, v[F.CELL0], v[rig.core.frame.temp0])


def test_events_tell_what_changed_and_count_up():
    rig = Linked()
    rig.close()
    got = rig.ticks(10)
    numbers = [struct.unpack_from("<H", payload, 4)[0] for payload in of(L.EVENT, got)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert events(got) == [
        ("state", W.BOOT + 256 * W.OFF),
        ("request", W.CLOSE),
        ("state", W.OFF + 256 * W.ON),
    ]
    rig.nack = True
    assert events(rig.ticks(10)) == [
        ("acted", ROW["fe_lost"]),
        ("state", W.ON + 256 * W.SHEDDING),
    ]
    rig.nack = False
    rig.chip.power_on_reset()
    got = events(rig.ticks(100))
    assert got[:1] == [("reset", 1)] and ("recover", ROW["fe_lost"]) in got


def test_a_refused_close_and_a_dropped_gate_are_told(rig):
    rig.held = True
    got = events(rig.ticks(3))
    assert got[0] == ("acted", ROW["gate_dropped"]) and ("gate dropped", 0) in got
    rig.tick(W.CLOSE)
    assert ("refused", W.CLOSE) in events(rig.ticks(2))
    rig.held = False
    assert ("gate back", 0) in events(rig.ticks(2))


def test_a_lost_feature_is_told_and_its_shed_too(rig, monkeypatch):
    def broken(frame: Any, sig: Any) -> None:
        raise ValueError("soc")

    with monkeypatch.context() as patch:
        patch.setattr(rig.core.soc, "step", broken)
        got = events(rig.ticks(3))
    assert {("feature lost", 0), ("acted", ROW["feature_lost"])} <= set(got)
    rig.tick(W.CLEAR)
    assert ("feature back", 0) in events(rig.ticks(3))


def test_an_alert_of_the_front_end_is_told_once(rig):
    rig.chip.write(0x0C, b"\x00\x01")  # SOVL
    rig.shunt_code = 2000
    got = events(rig.ticks(2))
    assert ("alert", 0) in got or ("reset", 1) in got


def hello(got: list[tuple[int, bytes]]) -> dict[str, str]:
    parts = of(L.HELLO, got)
    assert [part[4:6] for part in parts] == [bytes((k, len(parts))) for k in range(len(parts))]
    assert {part[:4] for part in parts} == {schema().to_bytes(4, "little")}
    text = b"".join(part[6:] for part in parts).decode()
    return dict(line.split("=", 1) for line in text.splitlines())


def test_hello_tells_what_this_is(rig):
    rig.lines = (("board", "pico"), ("boot", "code=ok chip=ok"), ("errors", "a\nb"))
    told = hello(rig.ask(command(L.ASK, L.ASK_HELLO), 20))
    assert told == {
        "rules": str(len(ROWS)),
        "cells": "1",
        "cell_min_uv": "2800000",
        "cell_max_uv": "4200000",
        "temp_min_mdegc": "-20000",
        "temp_max_mdegc": "60000",
        "charge_ua": "4000000",
        "discharge_ua": "18000000",
        "board": "pico",
        "boot": "code=ok chip=ok",
        "errors": "a b",
    }


def test_however_much_a_board_has_to_say_hello_ends(rig):
    rig.lines = (("board", "pico"), ("errors", "x" * 5000))
    got = rig.ask(command(L.ASK, L.ASK_HELLO), 100)
    assert hello(got)["board"] == "pico" and statuses(got)
    # Asked again half-way it begins anew.
    rig.ask(command(L.ASK, L.ASK_HELLO), 5)
    assert hello(of_last_hello(rig.ask(command(L.ASK, L.ASK_HELLO), 100)))["board"] == "pico"


def of_last_hello(got: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    firsts = [k for k, (kind, payload) in enumerate(got) if kind == L.HELLO and not payload[4]]
    return got[firsts[-1] :]


def test_the_schema_is_of_every_name(monkeypatch):
    before = schema()
    monkeypatch.setattr("bms.core.switch.STATES", ("boot", "off", "on", "shed", "trip", "ship"))
    assert schema() != before and 0 <= before < 1 << 32


# The port does as it likes.


def test_a_bounded_number_of_bytes_a_call(rig):
    rig.wire.come(bytes(1000))
    rig.link.pump()
    assert len(rig.wire.waiting) == 1000 - BYTES_IN
    rig.link._hello = [bytes(200)] * 5
    rig.wire.wrote.clear()
    assert rig.link.pump()
    assert len(rig.wire.wrote) == BYTES_OUT
    rig.link.bytes_out = 7
    rig.link.pump()
    assert len(rig.wire.wrote) == BYTES_OUT + 7


def test_pump_says_whether_there_is_more_to_do(rig):
    rig.wire.waiting.clear()
    rig.ticks(20)
    while rig.link.pump():
        pass
    assert not rig.link.out.used
    assert not rig.link.pump()
    rig.wire.come(bytes(BYTES_IN))
    assert rig.link.pump()
    assert not rig.link.pump()
    rig.wire.takes = 0
    rig.wire.come(command(L.ASK, L.ASK_HELLO))
    assert not rig.link.pump(), "a port that takes nothing is nothing to wait for"


def test_a_port_that_takes_nothing_costs_nothing(rig):
    rig.wire.takes = 0
    for _ in range(200):
        rig.tick(W.OPEN)
        rig.tick(W.CLOSE)
    assert rig.wire.wrote == b"" and rig.link.out.used <= RING
    assert rig.bms.links == [rig.link] and rig.commanded == (1, 1)
    rig.wire.takes = 1 << 30
    rig.shunt_code = -5000
    got = rig.ticks(40)
    told = statuses(got)
    fresh = [status for status in told if status["t_ms"] >= rig.now_ms - 40 * 50]
    assert len(told) - len(fresh) <= 1, "the newest Status wins"
    assert fresh[0]["t_ms"] <= rig.now_ms - 20 * 50
    numbers = [struct.unpack_from("<H", payload, 4)[0] for payload in of(L.EVENT, got)]
    rig.tick(W.OPEN)
    (last, *_) = [struct.unpack_from("<H", p, 4)[0] for p in of(L.EVENT, rig.wire.got())]
    assert last - numbers[-1] > 100, "losses show in the numbers"


@given(st.lists(st.integers(0, 50), min_size=20, max_size=60))
def test_a_port_may_take_any_number_of_bytes(takes):
    rig = Linked()
    for k, most in enumerate(takes):
        rig.wire.takes = most
        rig.tick(W.OPEN if k & 1 else W.CLOSE)
    rig.wire.takes = 1 << 30
    for _ in range(60):
        rig.tick()
    wrote = bytes(rig.wire.wrote)
    decoder = L.Decoder()
    at = 0
    while at < len(wrote):
        at = decoder.feed(wrote, at, len(wrote))
    assert decoder.bad == 0 and frames(wrote)


# In.


def test_a_request_goes_through_the_mailbox_into_the_next_frame(rig):
    got = rig.ask(command(L.REQUEST, W.OPEN, 5, seq=9))
    assert of(L.REPLY, got) == [bytes((9, W.OPEN, L.TAKEN))]
    assert rig.commanded == (0, 0) and rig.core.frame.v[F.REQ_ARG] == 5
    assert rig.core.frame.v[F.REQ_CODE] == W.OPEN
    rig.ask(command(L.REQUEST, W.CLOSE, -3, seq=10))
    assert rig.commanded == (1, 1) and rig.core.frame.v[F.REQ_ARG] == -3


def test_requests_run_on_the_boards_own_time():
    rig = Linked(start_ms=(1 << 30) - 5000)
    rig.close()
    rig.ticks(200)  # over the wrap
    rig.ask(command(L.REQUEST, W.OPEN))
    assert rig.commanded == (0, 0)


def test_a_repeat_acts_once_and_is_answered_again(rig):
    before = rig.bms.mailbox.seq
    sent = command(L.REQUEST, W.ACK, seq=7)
    got = rig.ask(sent, 3) + rig.ask(sent, 3)
    assert of(L.REPLY, got) == [bytes((7, W.ACK, L.TAKEN))] * 2
    assert rig.bms.mailbox.seq == before + 1
    rig.ask(command(L.REQUEST, W.ACK, seq=8))  # another sequence,
    rig.ask(command(L.REQUEST, W.CLEAR, seq=8))  # another code,
    rig.ticks(41)
    rig.ask(command(L.REQUEST, W.CLEAR, seq=8))  # the same, but 2 s later
    assert rig.bms.mailbox.seq == before + 4


def test_an_open_acts_however_often_it_comes(rig):
    before = rig.bms.mailbox.seq
    rig.ask(command(L.REQUEST, W.OPEN, seq=7))
    rig.ask(command(L.REQUEST, W.OPEN, seq=7))  # of another program, by chance
    assert rig.bms.mailbox.seq == before + 2


def test_a_close_behind_a_backlog_is_refused_and_an_open_is_not(rig):
    rig.tick(W.OPEN)
    backlog = b"x" * (6 * rig.link.bytes_in)
    got = rig.ask(backlog + command(L.REQUEST, W.CLOSE, seq=1), 20)
    assert of(L.REPLY, got) == [bytes((1, W.CLOSE, L.BAD))]
    assert rig.commanded == (0, 0)
    got = rig.ask(command(L.REQUEST, W.CLOSE, seq=2), 3)
    assert of(L.REPLY, got) == [bytes((2, W.CLOSE, L.TAKEN))]
    assert rig.commanded == (1, 1)
    rig.ask(backlog + command(L.REQUEST, W.OPEN, seq=3), 20)
    assert rig.commanded == (0, 0)


WORD = (1 << 31) - 1
NOTHING: list[tuple[str, bytes, tuple[int, int] | None]] = [
    ("code 0", command(L.REQUEST, 0), (0, L.UNKNOWN)),
    ("code beyond", command(L.REQUEST, len(W.REQUESTS)), (len(W.REQUESTS), L.UNKNOWN)),
    ("code 255", command(L.REQUEST, 255), (255, L.UNKNOWN)),
    ("argument of 32 bits", command(L.REQUEST, W.OPEN, WORD), (W.OPEN, L.BAD)),
    ("argument below", command(L.REQUEST, W.OPEN, -WORD - 1), (W.OPEN, L.BAD)),
    ("argument of 31 bits", command(L.REQUEST, W.OPEN, 1 << 30), (W.OPEN, L.BAD)),
    ("no payload", frame(L.REQUEST, b""), (0, L.BAD)),
    ("code alone", frame(L.REQUEST, bytes((W.OPEN,))), (0, L.BAD)),
    ("too long", frame(L.REQUEST, bytes((W.OPEN, 0, 0, 0, 0, 0))), (0, L.BAD)),
    ("ask beyond", command(L.ASK, 5), (5, L.UNKNOWN)),
    ("trace", command(L.ASK, L.ASK_TRACE_ON), (L.ASK_TRACE_ON, L.UNKNOWN)),
    ("go", command(L.ASK, L.ASK_GO), (L.ASK_GO, L.UNKNOWN)),
    ("inject", command(L.INJECT, 0, 5), (0, L.UNKNOWN)),
    ("version", frame(L.REQUEST, bytes((W.OPEN, 0, 0, 0, 0)), version=2), None),
    ("its own kind", frame(L.STATUS, bytes(100)), None),
    ("no kind", frame(0, bytes((W.OPEN, 0, 0, 0, 0))), None),
    ("corrupt", command(L.REQUEST, W.OPEN)[:-2] + b"?\x7e", None),
    ("text", b"\r\n>>> import machine\r\n\x03\x04\x01\x02", None),
]


@pytest.mark.parametrize(
    ("sent", "answer"), [row[1:] for row in NOTHING], ids=[row[0] for row in NOTHING]
)
def test_what_is_no_valid_request_changes_nothing(rig, sent, answer):
    before = rig.bms.mailbox.seq
    got = rig.ask(sent, 4)
    replies = [(payload[1], payload[2]) for payload in of(L.REPLY, got)]
    assert replies == ([answer] if answer else [])
    assert rig.bms.mailbox.seq == before and rig.commanded == (1, 1)
    assert not rig.link.go and events(got) == []
    rig.ask(command(L.REQUEST, W.OPEN, seq=77))
    assert rig.commanded == (0, 0), "a valid one is heard afterwards"


def test_the_largest_arguments_fit_the_core(rig):
    for argument in (0x3FFFFFFF, -0x3FFFFFFF):
        got = rig.ask(command(L.REQUEST, W.ACK, argument, seq=argument > 0))
        assert of(L.REPLY, got)[0][2] == L.TAKEN
        assert rig.core.frame.v[F.REQ_ARG] == argument


GARBAGE = st.lists(
    st.binary(max_size=60)
    | st.builds(frame, st.integers(0, 255), st.binary(max_size=20), st.integers(0, 255)).filter(
        lambda data: not data.startswith(b"\x7e\x7d!Q")
    )
    | st.sampled_from([row[1] for row in NOTHING]),
    max_size=20,
)


@given(GARBAGE)
def test_garbage_opens_no_gate_and_loses_no_link(pieces):
    garbage = b"".join(pieces)
    rig = Linked()
    rig.close()
    rig.wire.come(garbage)
    rig.ticks(len(garbage) // BYTES_IN + 3)
    assert rig.failures == [] and rig.commanded == (1, 1) and rig.core.status.overruns == 0
    assert rig.bms.mailbox.seq == 1


# Rigs.


class Injected:
    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def inject(self, code: int, argument: int) -> int:
        self.seen.append((code, argument))
        return L.TAKEN if code < 9 else L.UNKNOWN


def test_a_rig_traces_every_tick_and_takes_faults():
    injected = Injected()
    rig = Linked(injected)
    rig.link.bytes_out = 1000
    assert of(L.TRACE, rig.ticks(3)) == []
    got = rig.ask(command(L.ASK, L.ASK_TRACE_ON) + command(L.ASK, L.ASK_GO, seq=1), 1)
    assert [payload[2] for payload in of(L.REPLY, got)] == [L.TAKEN] * 2 and rig.link.go
    for _ in range(5):
        (told,) = of(L.TRACE, rig.ticks(1))
        assert told == rig.core.frame.v.tobytes() + rig.core.hash.to_bytes(4, "little")
    got = rig.ask(command(L.INJECT, 3, -4) + command(L.INJECT, 9, 0, seq=1))
    assert [payload[2] for payload in of(L.REPLY, got)] == [L.TAKEN, L.UNKNOWN]
    assert injected.seen == [(3, -4), (9, 0)]
    rig.ask(command(L.ASK, L.ASK_TRACE_OFF))
    assert of(L.TRACE, rig.ticks(3)) == []


def test_a_traced_rig_counts_the_digest_from_its_first_tick():
    rig, other = Linked(Injected()), Rig(read(compiled("bench_1s").blob))
    parts = other.core.parts()
    for _ in range(20):
        rig.tick()
        other.tick()
        other.core.digest(parts)
    assert rig.core.hash == other.core.hash
