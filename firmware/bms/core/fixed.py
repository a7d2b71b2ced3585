"""Arithmetic that stays within 31 bits. One rounding rule: everything floors (`//`, `>>`)."""

from bms.compat import const

TICKS_MAX = const(0x3FFFFFFF)  # ticks_ms wraps here, as MicroPython's does (2^30)
_TICKS_HALF = const(0x20000000)
BIG = const(1000000000)  # largest magnitude a reading may have: 1000 V, 1000 A
_SPAN = const(1023)  # interp: finest step is 1/1023 of a segment, so dx * dy fits 31 bits
_FACTOR = const(30000)
_ROOM = const(0x1FFFFFFF)
DY_MAX = const(0xFFFFF)  # interp: largest |y[i+1] - y[i]|; packc refuses more


def ticks_diff(a_ms, b_ms):
    """Return a - b for wrapping times, -2^29 .. 2^29 - 1."""
    d = (a_ms - b_ms) & TICKS_MAX
    return d - _TICKS_HALF - _TICKS_HALF if d >= _TICKS_HALF else d


def clamp(x, low, high):
    """Return x held within low .. high."""
    return low if x < low else high if x > high else x


def mul_div(a, b, d):
    """Return about a * b // d, d above 0, held within +-BIG, all steps within 31 bits.

    Numbers above 30000 lose their low bits: all in all it is precise to 1 in 3900.
    """
    shift = 0
    while not -_FACTOR <= a <= _FACTOR:
        a >>= 1
        shift += 1
    while not -_FACTOR <= b <= _FACTOR:
        b >>= 1
        shift += 1
    while d > _FACTOR:
        d >>= 1
        shift -= 1
    product = a * b
    while shift > 0 and -_ROOM <= product <= _ROOM:
        product <<= 1
        shift -= 1
    quotient = product // d
    if shift <= 0:
        return clamp(quotient >> -shift, -BIG, BIG)
    if quotient > BIG >> shift:
        return BIG
    if quotient < -(BIG >> shift):
        return -BIG
    return quotient << shift


def lag(v, at, x, dt_ms, tau_ms):
    """Let v[at] follow x as a first-order lag does; v[at + 1] keeps the remainder.

    Both within +-500000, dt_ms up to 1000, tau_ms up to 50000000.
    """
    part = (x - v[at]) * dt_ms + v[at + 1]
    v[at] += part // tau_ms
    v[at + 1] = part % tau_ms


def below(axis, n, x):
    """Return k, axis[k] <= x < axis[k + 1], of the first n entries, ascending; x lies inside."""
    low = 0
    high = n - 1
    while high - low > 1:
        mid = (low + high) >> 1
        if axis[mid] <= x:
            low = mid
        else:
            high = mid
    return low


def interp(table, x):
    """Return y at x on a table [x0, x1, ..., y0, y1, ...], x ascending; flat beyond its ends.

    Steps of y between neighbours are at most DY_MAX; packc checks it.
    """
    n = len(table) >> 1
    if x <= table[0]:
        return table[n]
    if x >= table[n - 1]:
        return table[n + n - 1]
    low = below(table, n, x)
    dx = x - table[low]
    span = table[low + 1] - table[low]
    while span > _SPAN:
        dx >>= 1
        span >>= 1
    return table[n + low] + dx * (table[n + low + 1] - table[n + low]) // span
