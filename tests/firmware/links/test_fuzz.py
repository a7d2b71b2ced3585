"""A million bytes of noise into the console of a board at work, on MicroPython's Unix port.

The real loop, link and console, gates closed: no exception, no gate moves, no tick is late; and a
valid request is heard afterwards. Proven by breaking the decoder: each break is noticed.
"""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest
from bms.core import switch as W
from bms.links import framing as L
from bms.links.serial import BYTES_IN
from fixtures import wasm31
from solidbms.schema import ROOT
from solidbms.targets import unix
from support.frames import command, frame, frames
from support.packs import compiled

BOARD = Path(wasm31.__file__).with_name("fuzz_link.py")
MILLION = 1_000_000

pytestmark = pytest.mark.skipif(
    unix.interpreter() is None, reason="no MicroPython for this machine"
)


def corrupted(rng: random.Random, whole: bytes) -> bytes:
    """Return a frame with something wrong: a byte changed, lost, added, or its end cut off."""
    at = rng.randrange(1, len(whole) - 1)
    byte = bytes((rng.choice([b for b in range(256) if b != whole[at]]),))
    ways = (whole[:at] + byte + whole[at + 1 :], whole[:at] + whole[at + 1 :],
            whole[:at] + byte + whole[at:], whole[:at])  # fmt: skip
    return rng.choice([way for way in ways if frames(way) == []] or [b"\x7e"])


def sound(rng: random.Random) -> bytes:
    """Return a frame of right form that asks for nothing the pack should do."""
    while True:
        kind = rng.choice((L.REQUEST, L.REQUEST, L.ASK, L.INJECT, L.STATUS, rng.randrange(256)))
        version = rng.choice((L.VERSION, L.VERSION, L.VERSION + 1, rng.randrange(256)))
        payload = rng.randbytes(rng.choice((0, 1, 4, 5, 5, 5, 5, 5, 6, rng.randrange(260))))
        payload = bytes((rng.randrange(9),)) + payload[1:] if payload else b""
        asks = version == L.VERSION and kind == L.REQUEST and len(payload) == 5
        if not asks or not 0 < payload[0] < len(W.REQUESTS):
            return frame(kind, payload, rng.randrange(256), version)
        argument = rng.choice((1 << 30, (1 << 31) - 1, -(1 << 31), -(1 << 30)))
        return command(L.REQUEST, payload[0], argument, rng.randrange(256))


def piece(rng: random.Random) -> bytes:
    """Return some noise of one kind."""
    span, kind = rng.randrange(1, 200), rng.randrange(5)
    if kind == 0:
        return rng.randbytes(span)
    if kind == 1:
        return bytes(rng.choice(b"\x7e\x7d\x5e\x5d\x20\x01Q") for _ in range(span))
    if kind == 2:
        return rng.choice((b"\x03", b"\x04", b"\x01", b"\r\n", b"A")) * span
    if kind == 3:
        code = rng.randrange(1, len(W.REQUESTS))
        return corrupted(rng, command(L.REQUEST, code, seq=code))
    return sound(rng)


def noise(size: int, seed: int) -> bytes:
    """Return bytes that hold no valid request."""
    rng = random.Random(seed)
    out = bytearray()
    while len(out) < size:
        out += piece(rng)
    return bytes(out)


def run(sent: bytes, directory: Path, **changed: str) -> tuple[dict[str, str], bytes]:
    """Return what the board told, and what it wrote; `changed`: a module of links, other text."""
    links = directory / "bms" / "links"
    for module, text in changed.items():
        links.mkdir(parents=True, exist_ok=True)
        (links / f"{module}.py").write_text(text)
    if changed:
        for path in (ROOT / "firmware").rglob("*.py"):
            copy = directory / path.relative_to(ROOT / "firmware")
            copy.parent.mkdir(parents=True, exist_ok=True)
            if not copy.exists():
                copy.write_bytes(path.read_bytes())
    files = {name: directory / name for name in ("pack.bin", "in", "out")}
    files["pack.bin"].write_bytes(compiled("demo").blob)
    files["in"].write_bytes(sent)
    firmware = directory if changed else ROOT / "firmware"
    path = os.pathsep.join((str(firmware), str(ROOT / "boards" / "pico")))
    with files["in"].open("rb") as into, files["out"].open("wb") as out:
        told = subprocess.run(
            [str(unix.interpreter()), "-X", f"heapsize={unix.HEAP}", str(BOARD),
             str(files["pack.bin"])],
            stdin=into, stdout=out, stderr=subprocess.PIPE, text=True, timeout=300,
            env={**os.environ, "MICROPYPATH": path},
        ).stderr  # fmt: skip
    lines = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
    return lines, files["out"].read_bytes()


def complaints(told: dict[str, str], wrote: bytes, size: int) -> list[str]:
    """Return what a board did that it must not: `size` bytes of noise, then a valid open."""
    said = []
    if told.get("errors") or told.get("links") != "1":
        said.append(f"lost: {told.get('errors', 'no word')}")
    if told.get("overruns") != "0":
        said.append(f"{told.get('overruns')} ticks late, worst {told.get('worst_ms')} ms")
    if told.get("requests") != "2":  # to close, before the noise, and to open, after it
        said.append(f"requests taken: {told.get('requests')}")
    if int(told.get("most", 0)) > BYTES_IN:
        said.append(f"{told['most']} bytes read in one tick")
    changes = [int(word) for word in told.get("gates", "").split()]
    if changes[:2] != [3, 0] or changes[2:3] != [0] or not changes[3] > size or changes[4:]:
        said.append(f"gates (both = 3) and bytes read by then: {changes}")
    decoder = L.Decoder()
    at = 0
    while at < len(wrote):
        at = decoder.feed(wrote, at, len(wrote))
    if decoder.bad:
        said.append(f"it wrote {decoder.bad} broken frames")
    return said


OPEN = command(L.REQUEST, W.OPEN, seq=200)


def test_a_million_bytes_of_noise_change_nothing(tmp_path):
    sent = noise(MILLION, 1)
    told, wrote = run(b"\x7e" + sent + b"\x7e" + OPEN + bytes(64 * 40), tmp_path)
    assert complaints(told, wrote, len(sent)) == []
    assert int(told["read"]) > MILLION and int(told["bad"]) > 1000
    replies = [payload for kind, _, payload in frames(wrote) if kind == L.REPLY]
    assert bytes((200, W.OPEN, L.TAKEN)) in replies
    assert {payload[2] for payload in replies} == {L.TAKEN, L.UNKNOWN, L.BAD}
    times = [payload[:4] for kind, _, payload in frames(wrote) if kind == L.STATUS]
    assert len(set(times)) == len(times) > 1000, "Status goes on"


BREAKS = [
    ("framing", "crc32(memoryview(body)[:n]) == _GOOD", "n"),
    ("framing", "elif n == _BODY_MAX:", "elif n == -2:"),
    ("serial", "W.NONE < code < len(W.REQUESTS)", "W.NONE < code"),
    ("serial", "self.decoder.size == 5", "True"),
    ("serial", "-_ARG_MAX <= argument <= _ARG_MAX", "True"),
    ("serial", "body[0] != L.VERSION or ", ""),
    ("serial", "            left -= n\n", ""),
]


@pytest.mark.parametrize(("module", "text", "broken"), BREAKS, ids=[row[1] for row in BREAKS])
def test_a_broken_decoder_is_noticed(module, text, broken, tmp_path):
    source = (ROOT / "firmware" / "bms" / "links" / f"{module}.py").read_text()
    assert source.count(text) == 1
    sent = noise(100_000, 2)
    whole = b"\x7e" + sent + b"\x7e" + OPEN + bytes(64 * 40)
    told, wrote = run(whole, tmp_path, **{module: source.replace(text, broken)})
    assert complaints(told, wrote, len(sent))
