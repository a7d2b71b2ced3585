"""The core's own block: what MicroPython asks all the time is answered first.

rp2040py finds the divider at the end of a long list, and adds 8 cycles to the core's count for
each operand: a program waits for the result itself, so the count came out 5 % too high.
"""

from __future__ import annotations

from rp2040py import sio
from rp2040py.sio import RPSIO

_DIRTY = 2  # of DIV_CSR; its other bit says that the result is there, as it always is here


class Sio(RPSIO):
    """RPSIO with a divider of integers."""

    def __init__(self, rp2040: object) -> None:
        super().__init__(rp2040)  # pyright: ignore[reportArgumentType] - stands in for theirs
        self._signed: bool | None = None  # of a division still to be done

    def read_uint32(self, offset: int) -> int:
        """Read a register."""
        if offset == sio.DIV_CSR:
            return self.div_csr
        if offset in (sio.DIV_QUOTIENT, sio.DIV_REMAINDER):
            if self._signed is not None:
                self._divide(self._signed)
            if offset == sio.DIV_REMAINDER:
                return int(self.div_remainder)
            self.div_csr &= ~_DIRTY
            return int(self.div_quotient)
        if offset == sio.CPUID:
            return 0
        return int(super().read_uint32(offset))

    def write_uint32(self, offset: int, value: int) -> None:
        """Write a register."""
        if sio.DIV_UDIVIDEND <= offset <= sio.DIV_SDIVISOR:
            if offset in (sio.DIV_UDIVIDEND, sio.DIV_SDIVIDEND):
                self.div_dividend = value
            else:
                self.div_divisor = value
            self._signed = offset in (sio.DIV_SDIVIDEND, sio.DIV_SDIVISOR)
            self.div_csr = 3
            return
        if offset in (sio.DIV_QUOTIENT, sio.DIV_REMAINDER):
            self._signed = None
        super().write_uint32(offset, value)

    def _divide(self, signed: bool) -> None:
        self._signed = None
        a, b = self.div_dividend & 0xFFFFFFFF, self.div_divisor & 0xFFFFFFFF
        if signed:
            a, b = a - (a >> 31 << 32), b - (b >> 31 << 32)
        if b == 0:  # data sheet, 2.3.1.5
            self.div_quotient, self.div_remainder = (1 if a < 0 else -1), a
            return
        quotient = abs(a) // abs(b)  # toward zero
        if (a < 0) != (b < 0):
            quotient = -quotient
        self.div_quotient, self.div_remainder = quotient, a - b * quotient
