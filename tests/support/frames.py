"""Both ends of the link in a test: frames as bytes, bytes as frames."""

from __future__ import annotations

from bms.links import framing as L


def frame(kind: int, payload: bytes, seq: int = 0, version: int = L.VERSION) -> bytes:
    """Return one frame, whole and sound whatever it holds; written apart from the encoder."""
    import binascii

    body = bytes((version, kind, seq)) + payload
    body += binascii.crc32(body).to_bytes(4, "little")
    stuffed = b"".join(
        bytes((0x7D, byte ^ 0x20)) if byte < 0x20 or byte in (0x7D, 0x7E) else bytes((byte,))
        for byte in body
    )
    return b"\x7e" + stuffed + b"\x7e"


def command(kind: int, code: int, argument: int = 0, seq: int = 0) -> bytes:
    """Return a REQUEST, ASK or INJECT."""
    return frame(kind, bytes((code,)) + (argument & 0xFFFFFFFF).to_bytes(4, "little"), seq)


def frames(data: bytes) -> list[tuple[int, int, bytes]]:
    """Return (type, sequence, payload) of every frame in these bytes."""
    decoder = L.Decoder()
    found = []
    at = 0
    while at < len(data):
        at = decoder.feed(data, at, len(data))
        if decoder.size >= 0:
            body = decoder.body
            found.append((body[1], body[2], bytes(body[L.HEAD : L.HEAD + decoder.size])))
    return found
