"""Arithmetic: wrapping time, clamping, interpolation."""

from __future__ import annotations

from bms.core.fixed import DY_MAX, TICKS_MAX, clamp, interp, ticks_diff
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
