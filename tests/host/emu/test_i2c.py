"""machine.I2C of the real image against register chips, and the faults of the wires."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.emulated import pico, said

pytest.importorskip("rp2040py", reason="emu: no emulator of the RP2040 on this system")

from solidbms.emu.i2c import Bus

PROGRAM = """
import time
from machine import I2C, Pin
step = Pin(14, Pin.OUT, value=0)
def make():
    return I2C(0, scl=Pin(5), sda=Pin(4), freq=400_000, timeout=3000)
i2c = make()
def get(n=2, address=0x40):
    b = bytearray(n)
    t = time.ticks_us()
    try:
        i2c.readfrom_mem_into(address, 7, b)
        got = b.hex()
    except OSError as error:
        got = 'E%d' % error.errno
    print(got, time.ticks_diff(time.ticks_us(), t) // 1000)
def put():
    try:
        i2c.writeto(0x40, b'\\x07\\xab\\xcd')
    except OSError as error:
        print('E%d' % error.errno)
"""


class Chips:
    """One chip at 0x40 with one register, 7."""

    longest = 80

    def __init__(self) -> None:
        self.value = b"\x12\x34\x56"
        self.error = 0

    def probe(self, address: int) -> None:
        """Answer to 0x40, unless told to fail."""
        if self.error or address != 0x40:
            raise OSError(self.error or 5)

    def read(self, address: int, register: int, length: int) -> bytes:
        """Give the value."""
        return self.value if register == 7 else bytes(length)

    def write(self, address: int, register: int, data: bytes) -> None:
        """Take the value."""
        self.value = data


def talk(uf2: Path, program: str, *faults: str) -> tuple[list[str], Chips, Bus]:
    """Run the program; `step` toggling has the next fault set as NAME=VALUE or called as NAME."""
    board, chips = pico(uf2, PROGRAM + program + "\nprint('end')"), Chips()
    bus = Bus(board, 0, 5, 4, chips)
    waiting = iter(faults)

    def step(t_ns: float, level: bool) -> None:
        name, _, value = next(waiting, "").partition("=")
        if name == "hold":
            bus.hold(int(value) if value else None)
        elif name == "release":
            bus.release()
        elif name:
            setattr(chips if name == "error" else bus, name, int(value))

    board.chip.pads[14].on_edge.append(step)
    return said(board), chips, bus


def test_reads_and_writes(uf2: Path) -> None:
    lines, chips, _ = talk(uf2, "get(3)\nget(5)\nput()\nget()")
    assert lines == ["123456 0", "123456ffff 0", "abcd 0"]
    assert chips.value == b"\xab\xcd"


def test_blocks_of_a_front_end_with_many_cells(uf2: Path) -> None:
    block = bytes(range(80))
    program = """
i2c.writeto(0x40, bytes([7]) + bytes(range(80)))
b = bytearray(80)
i2c.readfrom_mem_into(0x40, 7, b)
print(b.hex())
get(2)
"""
    lines, chips, _ = talk(uf2, program)
    assert chips.value == block
    assert lines == [block.hex(), "0001 0"]


def test_nobody_answers(uf2: Path) -> None:
    assert talk(uf2, "get(2, 0x41)\nget()")[0] == ["E5 0", "1234 0"]


def test_chip_falls_silent_within_a_block(uf2: Path) -> None:
    assert talk(uf2, "step.on()\nget(3)\nget(3)", "cut_after=1")[0] == ["12ffff 0", "123456 0"]


def test_chip_holds_the_clock_within_a_block(uf2: Path) -> None:
    lines, _, _ = talk(uf2, "step.on()\nget(3)\nget(3)", "stretch_after=1")
    assert lines == ["E110 3", "123456 0"]


def test_held_bus_times_out_and_comes_back(uf2: Path) -> None:
    lines, _, _ = talk(uf2, "step.on()\nget()\nput()\nstep.off()\nget()", "hold", "release")
    assert lines == ["E110 3", "E110", "1234 0"]


def test_nine_clocks_free_a_held_bus(uf2: Path) -> None:
    recover = """
step.on()
put()
sda = Pin(4, Pin.IN, Pin.PULL_UP)
scl = Pin(5, Pin.OPEN_DRAIN, Pin.PULL_UP, value=1)
print(sda())
n = 0
while not sda():
    scl(0)
    scl(1)
    n += 1
print(n)
i2c = make()
get()
"""
    lines, _, bus = talk(uf2, recover, "hold=9")
    assert lines == ["E110", "0", "9", "1234 0"]
    assert not bus.held
