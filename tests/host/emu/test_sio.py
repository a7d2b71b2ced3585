"""The divider divides as the data sheet has it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

pytest.importorskip("rp2040py", reason="emu: no emulator of the RP2040 on this system")

from solidbms.emu.sio import Sio

WORD = st.integers(0, 0xFFFFFFFF)


def divide(a: int, b: int, signed: bool) -> tuple[int, int]:
    """Return quotient and remainder as 32-bit words."""
    block = Sio(None)
    at = 0x68 if signed else 0x60
    block.write_uint32(at, a)
    block.write_uint32(at + 4, b)
    assert block.read_uint32(0x78) == 3
    remainder, quotient = block.read_uint32(0x74), block.read_uint32(0x70)
    assert block.read_uint32(0x78) == 1
    return quotient & 0xFFFFFFFF, remainder & 0xFFFFFFFF


@given(a=WORD, b=WORD)
@example(a=0xFFFFFFFF, b=0)
@example(a=0xFFFFFFFF, b=1)
def test_unsigned(a: int, b: int) -> None:
    assert divide(a, b, False) == (divmod(a, b) if b else (0xFFFFFFFF, a))


@given(a=WORD, b=WORD)
@example(a=0x80000000, b=0xFFFFFFFF)
@example(a=0x80000000, b=0)
def test_signed(a: int, b: int) -> None:
    quotient, remainder = divide(a, b, True)
    if b:
        assert (quotient * b + remainder) & 0xFFFFFFFF == a
        assert not remainder or remainder >> 31 == a >> 31  # it goes with the dividend
    else:
        assert (quotient, remainder) == (1 if a >> 31 else 0xFFFFFFFF, a)
