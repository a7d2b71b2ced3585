"""The host's end of the link: places, messages, a firmware that is another, a simulation's own."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bms.core import switch as W
from bms.core.rules import ID, LEVEL, ROWS, TRIP, WARN
from bms.core.status import FIELDS
from bms.links import framing as L
from bms.links.news import EVENTS, schema
from fixtures import wasm31
from hypothesis import given
from hypothesis import strategies as st
from solidbms import record
from solidbms.jobs import scenario_job
from solidbms.link import (
    Cells,
    Event,
    Hello,
    LinkError,
    Port,
    Reply,
    Status,
    Trace,
    open_port,
    places,
)
from solidbms.link.messages import decode
from solidbms.link.server import Server
from solidbms.run import execute
from solidbms.schema import ROOT
from solidbms.targets import unix
from support.frames import frame, frames
from support.packs import compiled

BLOB = compiled("bench_1s").blob
ROW = {row[ID]: k for k, row in enumerate(ROWS)}


class Wire:
    """A port whose other end is this test: `come` is read, `sent` was written."""

    def __init__(self, *come: bytes) -> None:
        self.come = list(come)
        self.sent = b""
        self.closed = False

    def read(self, timeout_s: float) -> bytes:
        data = self.come.pop(0) if self.come else b""
        if not data:
            time.sleep(min(timeout_s, 0.01))
        return data

    def write(self, data: bytes) -> None:
        self.sent += data

    def close(self) -> None:
        self.closed = True


def hello_frames(text: bytes = b"board=x\n", own: int | None = None, parts: int = 1) -> bytes:
    head = (schema() if own is None else own).to_bytes(4, "little")
    cut = [text[len(text) * k // parts : len(text) * (k + 1) // parts] for k in range(parts)]
    return b"".join(frame(L.HELLO, head + bytes((k, parts)) + part) for k, part in enumerate(cut))


def status_frame(**words: int) -> bytes:
    values = [words.get(name, 0) for name in FIELDS]
    return frame(L.STATUS, struct.pack(f"<{len(FIELDS)}i", *values))


def event_frame(number: int, kind: str, argument: int = 0) -> bytes:
    payload = struct.pack("<iHBH", 1234, number, EVENTS.index(kind), argument)
    return frame(L.EVENT, payload)


def port(*come: bytes) -> tuple[Port, Wire]:
    wire = Wire(*come)
    return Port(wire, "/dev/x"), wire


# Messages.


def test_messages_are_decoded_by_the_firmwares_declarations():
    at, _ = port(
        hello_frames()
        + status_frame(state=W.SHEDDING, soc_ppm=500000, current_ua=-5, shed_left_ms=9000,
                       acted_low=1 << ROW["hot"] | 1 << ROW["hot_warn"])
        + frame(L.CELLS, struct.pack("<BB3i", 2, 1, 3_000_000, 4_000_000, -5000))
        + event_frame(1, "state", W.ON + 256 * W.SHEDDING)
        + event_frame(2, "acted", ROW["hot"])
        + event_frame(3, "acted", ROW["hot_warn"])
        + event_frame(4, "recover", ROW["hot"])
        + event_frame(5, "request", W.CLEAR)
        + event_frame(6, "refused", W.CLOSE)
        + event_frame(7, "feature lost")
        + frame(L.TRACE, struct.pack("<3i", 7, -8, 0x3FFFFFFF))
        + frame(L.REPLY, bytes((5, 2, L.BAD)))
    )  # fmt: skip
    hello, status, *rest = at.receive()
    assert hello == Hello(schema(), {"board": "x"}) and isinstance(status, Status)
    assert (status.state, status["soc_ppm"], status["current_ua"]) == ("shedding", 500000, -5)
    assert status.acted(TRIP) == ["hot"] and status.acted(WARN) == ["hot_warn"]
    assert rest == [
        Cells((3_000_000, 4_000_000), (-5000,)),
        Event(1234, "state", "on->shedding", 1),
        Event(1234, "trip", "hot", 2),
        Event(1234, "warn", "hot_warn", 3),
        Event(1234, "recover", "hot", 4),
        Event(1234, "request", "clear", 5),
        Event(1234, "refused", "close", 6),
        Event(1234, "feature lost", "", 7),
        Trace((7, -8), 0x3FFFFFFF),
        Reply(5, 2, "bad"),
    ]


def test_rows_beyond_the_thirtieth_are_in_the_second_word(monkeypatch):
    trip = next(row for row in ROWS if row[LEVEL] == TRIP)
    rows = [(f"r{k}", *trip[1:]) for k in range(40)]
    monkeypatch.setattr("bms.core.rules.ROWS", rows)
    words = {name: 0 for name in FIELDS}
    status = Status({**words, "acted_low": 1 << 29 | 1, "acted_high": 1 | 1 << 9})
    assert status.acted(TRIP) == ["r0", "r29", "r30", "r39"]


@given(st.integers(0, 255), st.binary(max_size=L.PAYLOAD_MAX))
def test_no_payload_is_too_odd_to_decode(kind, payload):
    decode(kind, payload)
    for known in (L.STATUS, L.CELLS, L.EVENT, L.TRACE, L.REPLY):
        decode(known, payload)


@given(st.lists(st.binary(max_size=100)))
def test_noise_from_a_board_raises_nothing(noise):
    at, _ = port(*noise, b"\x7e", hello_frames())
    found = []
    for _ in range(len(noise) + 2):
        found += at.receive(0)
    assert [message for message in found if isinstance(message, Hello)]


def test_events_that_did_not_come_through_show():
    at, _ = port(hello_frames() + event_frame(65534, "alert") + event_frame(2, "alert"))
    assert [(e.kind, e.detail) for e in at.receive() if isinstance(e, Event)] == [
        ("alert", ""), ("lost", "3 events"), ("alert", ""),
    ]  # fmt: skip


def test_nothing_is_believed_before_hello():
    at, _ = port(status_frame() + event_frame(1, "alert") + frame(L.REPLY, bytes((1, 2, 0))))
    assert at.receive() == [Reply(1, 2, "taken")]


# Who answers.


def test_hello_in_parts_and_asked_until_it_comes():
    text = b"board=pico\nboot=code=ok chip=ok\npack=p\n" * 9
    lost = hello_frames(text, parts=4).split(b"\x7e\x7e")
    at, wire = port(
        b"\x7e\x7e".join(lost[::2]) + b"\x7e", *[b""] * 60, hello_frames(text, parts=4)
    )
    assert at.hello().info == {"board": "pico", "boot": "code=ok chip=ok", "pack": "p"}
    asked = [payload for kind, _, payload in frames(wire.sent) if kind == L.ASK]
    assert len(asked) >= 2 and set(asked) == {bytes((L.ASK_HELLO, 0, 0, 0, 0))}


def test_other_firmware_is_told_in_one_line():
    at, _ = port(hello_frames(own=0x1234))
    with pytest.raises(LinkError, match=r"^/dev/x: .*schema 00001234, not .*: flash again$"):
        at.hello()
    at, _ = port(frame(L.STATUS, bytes(4), version=2))
    with pytest.raises(LinkError, match=r"link version 2, not 1.*flash again"):
        at.hello()


def test_silence_says_what_was_heard():
    at, _ = port()
    with pytest.raises(LinkError, match=r"^/dev/x: no answer for 0.1 s$"):
        at.hello(0.1)
    at, _ = port(b"Traceback:\r\n", b"OSError: 5\r\n")
    with pytest.raises(LinkError, match=r"it says: OSError: 5$"):
        at.hello(0.1)
    assert at.said == "Traceback:\r\nOSError: 5\r\n"
    at, _ = port(b"MicroPython v1.26\r\n>>> ")
    with pytest.raises(LinkError, match="no firmware runs"):
        at.hello(0.1)


def test_text_between_frames_is_kept_and_bounded():
    at, _ = port(b"one\n" + hello_frames() + b"two\n", b"x" * 9000 + b"\n" + b"y" * 3000 + b"\n")
    at.receive()
    at.receive()
    assert at.said.startswith("one\ntwo\n") or at.said.endswith("y\n")
    assert len(at.said) <= 4000


def test_a_request_is_repeated_with_one_sequence_until_answered():
    at, wire = port()
    assert at.request(L.REQUEST, W.CLOSE) == "no answer"
    asked = frames(wire.sent)
    assert len(asked) == 4 and len({seq for _, seq, _ in asked}) == 1
    assert {payload for _, _, payload in asked} == {bytes((W.CLOSE, 0, 0, 0, 0))}
    seq = (asked[0][1] + 1) & 0xFF
    wrong = frame(L.REPLY, bytes((seq ^ 1, W.OPEN, 0)))
    wire.come = [hello_frames() + wrong + status_frame() + frame(L.REPLY, bytes((seq, W.OPEN, 1)))]
    heard: list[Any] = []
    assert at.request(L.REQUEST, W.OPEN, -2, heard.append) == "unknown"
    assert [type(message) for message in heard] == [Hello, Reply, Status, Reply]
    assert frames(wire.sent)[-1] == (L.REQUEST, seq, b"\x01\xfe\xff\xff\xff")
    at.close()
    assert wire.closed


def test_two_programs_in_a_row_begin_with_other_sequences():
    assert len({port()[0].send(L.ASK, 0) for _ in range(64)}) > 16


# Places.


def test_a_place_that_is_none_says_what_is(tmp_path):
    with pytest.raises(LinkError, match=r"^/dev/nope: .*valid here: .*sim:SCENARIO$"):
        open_port("/dev/nope")
    for content in (None, "{}", "[]", "x", '{"port": "x"}', '{"port": 1}'):
        if content is not None:
            (tmp_path / places.LINK_FILE).write_text(content)
        with pytest.raises(LinkError, match=r"no simulation runs there; .*--link") as said:
            open_port(tmp_path)
        assert "\n" not in str(said.value)
    for place in ("sim:nope", "sim:drive_day@x", "sim:drive_day@0", "sim:drive_day@nan"):
        with pytest.raises(LinkError) as said:
            open_port(place)
        assert "\n" not in str(said.value)


@pytest.fixture
def pty_board(tmp_path) -> Iterator[str]:
    """The real firmware on MicroPython behind a pseudo-terminal, its cell made up."""
    binary = unix.interpreter()
    if binary is None:
        pytest.skip("no MicroPython for this machine")
    (tmp_path / "pack.bin").write_bytes(compiled("demo").blob)
    master, slave = os.openpty()
    import tty

    tty.setraw(slave)
    board = Path(wasm31.__file__).with_name("fuzz_link.py")
    path = os.pathsep.join((str(ROOT / "firmware"), str(ROOT / "boards" / "pico")))
    process = subprocess.Popen(
        [binary, "-X", f"heapsize={unix.HEAP}", board, tmp_path / "pack.bin", "paced"],
        stdin=master, stdout=master, stderr=subprocess.DEVNULL,
        env={**os.environ, "MICROPYPATH": path},
    )  # fmt: skip
    try:
        yield os.ttyname(slave)
    finally:
        process.kill()
        process.wait()
        os.close(master)
        os.close(slave)


def test_a_board_on_a_serial_port(pty_board):
    at = open_port(pty_board)
    assert at.hello().info["board"] == "fuzz"
    with pytest.raises(LinkError, match="in use by another program"):
        open_port(pty_board)
    found: list[Any] = []
    assert at.request(L.REQUEST, W.OPEN, heed=found.append) == "taken"
    end = time.monotonic() + 10
    while time.monotonic() < end and not (_off(found) and _cells(found)):
        found += at.receive()
    assert _off(found) and len(_cells(found)[0].uv) == 1
    assert at.request(L.ASK, L.ASK_TRACE_ON) == "unknown"
    at.close()
    at = open_port(pty_board)  # free again
    assert at.hello(5).info["cells"] == "1"
    at.close()


def _off(found: list[Any]) -> bool:
    return any(message.state == "off" for message in found if isinstance(message, Status))


def _cells(found: list[Any]) -> list[Cells]:
    return [message for message in found if isinstance(message, Cells)]


# A simulation's own link.


def recorded(tmp_path: Path, name: str = "over_current") -> tuple[record.Record, list[bytes]]:
    execute(scenario_job(name), "cpython", tmp_path, lambda share, line: None)
    run = record.read(tmp_path)
    return run, [row.tobytes() for row in run.words]


def test_the_server_tells_what_the_record_says(tmp_path):
    run, ticks = recorded(tmp_path)
    server = Server(BLOB, lambda code: None, {"pack": "p"}, factor=1e6)
    at = Port(places.SocketWire(server.number), "x")
    told: list[Any] = []
    for k, tick in enumerate(ticks):
        server.tick(tick)
        if k == 0:
            at.send(L.ASK, L.ASK_HELLO)
            at.send(L.ASK, L.ASK_RATE, 20)
        told += at.receive(0)
    server.close()
    while True:
        try:
            told += at.receive(1)
        except OSError:
            break
    names: list[str] = list(FIELDS)
    rows = {int(row["t_ms"]): row for row in _status_rows(run, names)}
    statuses = [message for message in told if isinstance(message, Status)]
    assert len(statuses) > len(ticks) // 2
    assert all(status.words == rows[status["t_ms"]] for status in statuses)
    events = [(e.t_ms, e.kind, e.detail) for e in told if isinstance(e, Event)]
    lines = (tmp_path / "events.csv").read_text().splitlines()[1:]
    kinds = ("state", "trip", "warn", "note", "recover", "refused")
    written = [tuple(line.split(",")) for line in lines]
    assert sorted((str(t), *rest) for t, *rest in events if rest[0] in kinds) == sorted(
        line for line in written if line[1] in kinds
    )


def _status_rows(run: record.Record, names: list[str]) -> list[dict[str, int]]:
    columns = [run[f"status.{name}"] for name in names]
    return [dict(zip(names, map(int, row), strict=True)) for row in zip(*columns, strict=True)]


def test_requests_reach_the_world_and_its_load_can_be_drawn(tmp_path):
    _, ticks = recorded(tmp_path)
    asked: list[int] = []
    drawn: list[float] = []
    server = Server(BLOB, asked.append, {}, factor=1e6, draw=drawn.append)
    at = Port(places.SocketWire(server.number), "x")
    server.tick(ticks[0])
    for kind, code, argument in (
        (L.REQUEST, W.CLOSE, 0), (L.REQUEST, 99, 0), (L.INJECT, L.INJECT_DRAW, 2500),
        (L.INJECT, L.INJECT_DRAW, -1), (L.INJECT, 0, 0),
    ):  # fmt: skip
        at.send(kind, code, argument)
    told: list[Any] = []
    for tick in ticks[1:40]:
        server.tick(tick)
        told += at.receive(0)
    server.close()
    assert asked == [W.CLOSE] and drawn == [2.5]
    results = [message.result for message in told if isinstance(message, Reply)]
    assert results == ["taken", "unknown", "taken", "bad", "unknown"]


def test_several_hosts_and_one_that_does_not_read(tmp_path):
    _, ticks = recorded(tmp_path)
    server = Server(BLOB, lambda code: None, {}, factor=1e6)
    deaf = socket.create_connection((places.HERE, server.number))
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    ports = [Port(places.SocketWire(server.number), "x") for _ in range(2)]
    server.tick(ticks[0])
    for at in ports:
        at.send(L.ASK, L.ASK_HELLO)
    told: list[list[Any]] = [[], []]
    for tick in ticks[1:] * 20:
        server.tick(tick)
        for k, at in enumerate(ports):
            told[k] += at.receive(0)
        if len(ports) == 2 and len(told[1]) > 200:
            ports.pop().close()
    assert len(told[0]) > 3000 and len(told[1]) > 200
    server.close()
    deaf.close()


def test_time_runs_as_the_factor_says():
    job = scenario_job("over_current")
    job.world.end_ms = 4_000
    ticks: list[bytes] = []
    server = Server(BLOB, job.world.ask, {}, factor=8.0)
    from solidbms.targets import cpython

    def take(tick: bytes) -> None:
        ticks.append(tick)
        server.tick(tick)

    path = Path(ROOT / "build" / "unused")
    began = time.monotonic()
    cpython.run(job.world, _Blob(path), job.saved, take)  # type: ignore[arg-type] - acts as one
    took_s = time.monotonic() - began
    server.close()
    assert 0.4 < took_s < 3.9  # 4 s at 8 times; a busy machine takes longer


class _Blob:
    def __init__(self, path: Path) -> None:
        self.path = path

    def read_bytes(self) -> bytes:
        return BLOB


def test_a_run_serves_its_link_while_it_lasts(tmp_path):
    job = scenario_job("over_current")
    done: list[Any] = []

    def run() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("solidbms.run.signal.signal", lambda *_: None)  # not the main thread
            done.append(execute(job, "cpython", tmp_path, lambda share, line: None, 20.0))

    thread = threading.Thread(target=run)
    thread.start()
    link = tmp_path / places.LINK_FILE
    while not link.exists() or not link.read_text():
        time.sleep(0.01)
    assert json.loads(link.read_text())["port"] > 0
    at = open_port(tmp_path)
    assert at.hello().info["scenario"] == "over_current"
    assert at.request(L.REQUEST, W.OPEN) == "taken"
    at.close()
    job.world.stopped = True
    thread.join(30)
    assert done and not link.exists()
    assert "request,open" in (tmp_path / "events.csv").read_text()


def test_a_simulation_of_ones_own_ends_with_its_port():
    before = threading.active_count()
    at = open_port("sim:over_current@1000")
    assert at.hello().info["pack"] == "bench_1s"
    told: list[Any] = []
    with pytest.raises(OSError, match="the simulation has ended"):
        while True:
            told += at.receive()
    kinds = [message.kind for message in told if isinstance(message, Event)]
    assert "trip" in kinds
    at.close()
    at = open_port("sim:drive_day")
    at.hello()
    at.close()
    assert threading.active_count() == before
