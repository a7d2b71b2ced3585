"""Arithmetic: wrapping time, clamping, products past 31 bits, lags, interpolation."""

from __future__ import annotations

from fractions import Fraction

from bms.core.fixed import BIG, DY_MAX, TICKS_MAX, clamp, interp, lag, mul_div, ticks_diff
from hypothesis import example, given
from hypothesis import strategies as st
from support import int31

TIME = st.integers(0, TICKS_MAX)
CHECKED = int31.load()["bms.core.fixed"]


@given(TIME, st.integers(-(2**29), 2**29 - 1))
@example(TICKS_MAX, 1)
@example(0, -1)
@example(5, -(2**29))
@example(5, 2**29 - 1)
def test_ticks_diff_undoes_a_wrapping_step(t: int, step: int):
    assert ticks_diff((t + step) & TICKS_MAX, t) == step
    assert CHECKED.ticks_diff((t + step) & TICKS_MAX, t) == step


@given(st.integers(-9, 9), st.integers(-9, 9), st.integers(0, 9))
def test_clamp(x: int, low: int, more: int):
    assert clamp(x, low, low + more) == sorted((low, x, low + more))[1]


SIGNED = st.one_of(st.integers(-(2**30), 2**30 - 1), st.integers(-40_000, 40_000))


@given(SIGNED, SIGNED, st.one_of(st.integers(1, 2**30 - 1), st.integers(1, 40_000)))
@example(-(2**30), -(2**30), 1)
@example(-(2**30), 2**30 - 1, 2**30 - 1)
@example(BIG, BIG, BIG)
@example(30_000, 30_001, 30_001)
@example(-1, 1, 2**30 - 1)
@example(-31_621, -31_623, 1)
def test_mul_div_is_near_and_held(a: int, b: int, d: int):
    exact = Fraction(a * b, d)
    found = CHECKED.mul_div(a, b, d)
    assert found == mul_div(a, b, d)
    assert abs(found) <= BIG
    held = max(-BIG, min(BIG, exact))
    assert abs(found - held) <= abs(held) / 3900 + 1


@given(st.integers(-30_000, 30_000), st.integers(-30_000, 30_000), st.integers(1, 30_000))
def test_mul_div_of_small_numbers_floors(a: int, b: int, d: int):
    assert mul_div(a, b, d) == a * b // d


HALF = 500_000


@given(
    st.integers(-HALF, HALF),
    st.lists(st.tuples(st.integers(-HALF, HALF), st.integers(1, 1000)), max_size=60),
    st.integers(1000, 60_000),
)
def test_lag_follows_an_exact_one(start: int, steps: list[tuple[int, int]], tau_ms: int):
    v = [0, start, 0, 0]
    exact = Fraction(start)
    for x, dt_ms in steps:
        CHECKED.lag(v, 1, x, dt_ms, tau_ms)
        exact += (x - exact) * dt_ms / tau_ms
        # Whole units, and the remainder is not lost: no drift however many steps.
        assert abs(v[1] + Fraction(v[2], tau_ms) - exact) < 1
        assert 0 <= v[2] < tau_ms
    assert (v[0], v[3]) == (0, 0)


def test_a_lag_arrives():
    for end in (1, -1, 77, -HALF):
        v = [0, 0]
        for _ in range(100_000):
            lag(v, 0, end, 50, 30_000)
        assert abs(v[0] - end) <= 1


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    count = draw(st.integers(2, 20))
    xs = sorted(draw(st.sets(st.integers(-500_000_000, 500_000_000), min_size=count,
                             max_size=count)))  # fmt: skip
    ys = [draw(st.integers(-500_000_000, 500_000_000))]
    for _ in xs[1:]:
        ys.append(ys[-1] + draw(st.integers(-DY_MAX, DY_MAX)))
    return xs, ys


@given(tables(), st.data())
def test_interp_passes_through_every_point_and_stays_near_the_line(table, data):
    xs, ys = table
    flat = [*xs, *ys]
    assert [interp(flat, x) for x in xs] == ys
    assert interp(flat, xs[0] - 1) == ys[0] and interp(flat, xs[-1] + 1) == ys[-1]
    x = data.draw(st.integers(xs[0], xs[-1]))
    k = max(k for k, x0 in enumerate(xs[:-1]) if x0 <= x)
    dy = ys[k + 1] - ys[k]
    line = ys[k] + (x - xs[k]) * dy / (xs[k + 1] - xs[k])
    y = CHECKED.interp(flat, x)
    assert y == interp(flat, x)
    assert min(ys[k : k + 2]) <= y <= max(ys[k : k + 2])
    # Both ends of the division lose less than one of 512 steps, and the rest is floored.
    assert abs(y - line) <= abs(dy) / 511 + 1


def test_interp_at_its_widest():
    flat = [0, 1023, 0, DY_MAX]
    assert CHECKED.interp(flat, 1022) == 1022 * DY_MAX // 1023
    assert CHECKED.interp([0, 2, 0, -1], 1) == -1  # floors
