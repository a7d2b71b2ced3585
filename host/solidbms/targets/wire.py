"""The other end of boards/sim: answers the firmware's requests out of a world.

A request has 12 bytes: op, a, b, n and a payload of 8; an answer has 9: a status and 8 bytes. What
moves on the bus comes beside them, as it is.

| op | request | answer |
| --- | --- | --- |
| H | hello | 0, time in ms (4 bytes) |
| V | saved SoC? | 0, SoC ppm, bound ppm (4 bytes each) |
| R | read n bytes of register b at address a | 0 and n bytes, or errno alone |
| W | write n bytes to address a, register first; they follow | errno or 0, alone |
| A | ADC channel a | 0, code (2 bytes) |
| G | gates: charge a, discharge b | none |
| F | blow the fuse | none |
| T | digest in the payload; the record's words follow | none |
| S | sleep until the time in the payload | 1 to go on, time (4 bytes), request code, |
| | | whether the dead-man holds a gate open |
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from io import RawIOBase
from typing import IO, Any

from solidbms.world import World

REQUEST = 12


class _Reader:
    """Whole messages out of a pipe, as few system calls as can be."""

    def __init__(self, pipe: IO[bytes] | RawIOBase | Any) -> None:
        self.pipe = pipe
        self.buffer = b""
        self.at = 0

    def rest(self) -> bytes:
        """Return everything up to the end."""
        return self.buffer[self.at :] + b"".join(iter(lambda: self.pipe.read(65536), b""))

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer at the end."""
        while len(self.buffer) - self.at < size:
            more = self.pipe.read(65536)
            if not more:
                return b""
            self.buffer = self.buffer[self.at :] + more
            self.at = 0
        self.at += size
        return self.buffer[self.at - size : self.at]


def serve(
    world: World,
    requests: Any,
    answers: Any,
    saved: tuple[int, int],
    record: Callable[[bytes], None],
    tick_bytes: int,
) -> bool:
    """Answer until the firmware leaves; return whether the world had ended by then.

    tick_bytes: size of one tick's record, its digest (4 bytes) included.
    """
    reader = _Reader(requests)
    read = reader.take
    again = True
    size = tick_bytes - 4
    while request := read(REQUEST):
        op, a, b, n = request[0], request[1], request[2], request[3]
        if op == 0x52:  # R
            try:
                answer = b"\0" + world.read(a, b, n)
            except OSError as error:
                answer = bytes(error.args[:1])
            answers.write(answer)
        elif op == 0x41:  # A
            answers.write(struct.pack("<BH6x", 0, world.adc(a)))
        elif op == 0x47:  # G
            world.gates(a, b)
        elif op == 0x54 and not (a or b or n):  # T; a "Traceback" begins with one too
            record(read(size) + request[4:8])
        elif op == 0x53:  # S
            code, again = world.sleep_until(struct.unpack_from("<i", request, 4)[0])
            answers.write(struct.pack("<BiBB2x", again, world.now_ms, code, world.dropped))
        elif op == 0x57:  # W
            data = read(n)
            status = 0
            try:
                world.write(a, data[0], data[1:])
            except OSError as error:
                status = error.args[0]
            answers.write(bytes((status,)))
        elif op == 0x46:  # F
            world.blow()
        elif op == 0x48:  # H
            answers.write(struct.pack("<Bi4x", 0, world.now_ms))
        elif op == 0x56:  # V
            answers.write(struct.pack("<Bii", 0, *saved))
        else:
            # An uncaught exception prints its traceback where the requests go.
            words = (request + reader.rest()).decode(errors="replace").strip().splitlines()
            raise RuntimeError(f"firmware died: {words[-1] if words else 'no word'}")
    return not again
