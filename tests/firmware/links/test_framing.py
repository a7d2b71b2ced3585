"""Frames: what goes in comes out, whatever stands in between, and nothing else does."""

from __future__ import annotations

import os
import subprocess
from binascii import crc32

import pytest
from bms.links import framing as L
from fixtures import wasm31
from hypothesis import given
from hypothesis import strategies as st
from solidbms.schema import ROOT
from solidbms.targets import unix
from support.frames import frame, frames

ROOM = L.PAYLOAD_MAX + 8  # of the longest frame
# Bytes that mean something, and any others.
TRICKY = st.sampled_from([0x7E, 0x7D, 0x5E, 0x5D, 0x03, 0x04, 0x00, 0x20, 0x0A, 0xFF])
NOISE = st.lists(TRICKY | st.integers(0, 255), max_size=300).map(bytes)
PAYLOAD = st.lists(TRICKY | st.integers(0, 255), max_size=L.PAYLOAD_MAX).map(bytes)
FRAME = st.tuples(st.integers(0, 255), PAYLOAD)


def encoded(kind: int, payload: bytes, seq: int = 0) -> bytes:
    encoder = L.Encoder(ROOM)
    encoder.seq = seq
    assert encoder.put(kind, payload)
    return drained(encoder)


def drained(encoder: L.Encoder, size: int = 1000, most: int = 1000) -> bytes:
    """Take out what waits, `size` bytes at a time, about `most` bytes in all."""
    stream = bytearray()
    buffer = bytearray(size)
    while len(stream) < most and (n := encoder.fill(buffer)):
        stream += buffer[:n]
    return bytes(stream)


@given(FRAME, st.integers(0, 255))
def test_a_frame_is_what_rfc_1662_makes_of_it(sent, seq):
    kind, payload = sent
    assert encoded(kind, payload, seq) == frame(kind, payload, seq)


@given(st.lists(FRAME, max_size=6), st.data())
def test_frames_come_through_whatever_stands_between(sent, data):
    stream = b"".join(data.draw(NOISE) + encoded(*one) for one in sent) + data.draw(NOISE)
    assert [(kind, payload) for kind, _, payload in frames(stream)] == sent


@given(FRAME)
def test_nothing_in_a_frame_stops_a_console(sent):
    assert min(encoded(*sent)) >= 0x20


@given(FRAME, FRAME, st.data())
def test_a_corrupt_frame_is_dropped_and_the_next_one_is_not(sent, after, data):
    good = bytearray(encoded(*sent))
    at = data.draw(st.integers(0, len(good) - 1))
    good[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != good[at]))
    assert frames(bytes(good) + encoded(*after)) == [(after[0], 0, after[1])]


@given(FRAME, FRAME, st.data())
def test_a_frame_cut_short_is_dropped_and_the_next_one_is_not(sent, after, data):
    good = encoded(*sent)
    cut = good[: data.draw(st.integers(0, len(good) - 2))]
    assert frames(cut + encoded(*after)) == [(after[0], 0, after[1])]


@given(NOISE)
def test_noise_is_no_frame_and_never_more_than_one_loss_a_flag(noise):
    decoder = L.Decoder()
    assert decoder.feed(noise, 0, len(noise)) == len(noise) and decoder.size == -1
    assert decoder.bad <= len(noise)


@pytest.mark.parametrize(
    "stream",
    [
        b"\x7e\x7e\x7e\x7e",
        b"\x7e" + b"A" * 5000 + b"\x7e",
        b"\x7e" + b"\x7d" * 500 + b"\x7e",
        frame(1, bytes(L.PAYLOAD_MAX + 1)),
        b"\x7e\x7d\x7e",
        frame(1, b"x")[:-1] + b"\x7d\x7e",  # whole, and then aborted
        frame(1, b"xy").replace(b"y", b"y\x0d"),  # a console that adds to it
        b"\x7e\x7d\x20\x7d\x20\x7d\x20\x7d\x20\x7e",  # the CRC of nothing
        b"\x7e\x7d\x21" + crc32(b"\x01").to_bytes(4, "little") + b"\x7e",
    ],
    ids=[
        "flags",
        "long",
        "escapes",
        "payload",
        "abort",
        "late abort",
        "carriage return",
        "empty",
        "one byte",
    ],
)
def test_what_is_no_frame_is_passed_over(stream):
    assert frames(stream + frame(7, b"still there")) == [(7, 0, b"still there")]


def test_losses_are_counted_once():
    decoder = L.Decoder()
    damaged = frame(1, b"x").replace(b"x", b"y")
    stream = b"noise before any flag" + damaged + damaged + frame(1, b"x")
    assert decoder.feed(stream, 0, len(stream)) == len(stream) and decoder.size == 1
    assert decoder.bad == 2


@given(st.lists(FRAME, max_size=4), st.data())
def test_it_does_not_matter_in_which_pieces_bytes_come(sent, data):
    stream = b"".join(data.draw(NOISE) + encoded(*one) for one in sent)
    decoder = L.Decoder()
    found = []
    at = 0
    while at < len(stream):
        end = min(at + data.draw(st.integers(1, 40)), len(stream))
        while at < end:
            at = decoder.feed(stream, at, end)
            if decoder.size >= 0:
                found.append((decoder.body[1], decoder.size))
    assert found == [(kind, len(payload)) for kind, payload in sent]


def test_sequence_counts_frames_that_found_no_room_too():
    encoder = L.Encoder(30)
    room = [encoder.put(1, b"fifteen letters") for _ in range(3)]
    assert room == [True, False, False]
    first = drained(encoder)
    assert encoder.put(1, b"")
    again = drained(encoder)
    assert [seq for _, seq, _ in frames(first + again)] == [0, 3]


@given(st.lists(st.tuples(FRAME, st.integers(0, 400), st.integers(3, 40)), max_size=30))
def test_a_ring_that_is_full_spoils_nothing(sent):
    encoder = L.Encoder(ROOM + 50)
    stream = b""
    kept = []
    for one, most, size in sent:
        if encoder.put(*one):
            kept.append(one)
        assert 0 <= encoder.used <= ROOM + 50
        stream += drained(encoder, size, most)
    stream += drained(encoder, 3, 10**6)
    assert [(kind, payload) for kind, _, payload in frames(stream)] == kept
    assert encoder.used == 0 and encoder.put(1, b"more")


def test_a_payload_too_long_is_refused():
    assert not L.Encoder(4096).put(1, bytes(L.PAYLOAD_MAX + 1))
    assert L.Encoder(ROOM).put(1, bytes(L.PAYLOAD_MAX))


ON_A_BOARD = """
from bms.links.framing import Decoder, Encoder
encoder, decoder, chunk = Encoder(500), Decoder(), bytearray(16)
for k in range(40):
    assert encoder.put(k, bytes([k * j & 255 for j in range(5 * k)]))
    while encoder.used:
        n = encoder.fill(chunk)
        print("".join("%02x" % byte for byte in chunk[:n]), end="")
        assert decoder.feed(chunk, 0, n) == n
    print(" ", decoder.body[1], decoder.size)
assert decoder.bad == 0
"""


@pytest.mark.parametrize("kind", ["unix", "wasm31"])
def test_the_same_bytes_on_micropython(kind, tmp_path):
    binary = unix.interpreter()
    if kind == "unix" and binary is None:
        pytest.skip("no MicroPython for this machine")
    script = tmp_path / "board.py"
    script.write_text(ON_A_BOARD)
    command = wasm31.command(script) if kind == "wasm31" else [str(binary), str(script)]
    path = {**os.environ, "MICROPYPATH": str(ROOT / "firmware")}
    run = subprocess.run(command, env=path, capture_output=True, text=True, timeout=60)
    lines = [
        f"{frame(k, bytes(k * j & 255 for j in range(5 * k)), k).hex()}  {k} {5 * k}"
        for k in range(40)
    ]
    assert run.stdout.split("\n") == [*lines, ""], run.stderr
