"""The learned factor on resistance."""

from __future__ import annotations

import numpy as np
import pytest
from bms.core import scale as G
from hypothesis import given, settings
from hypothesis import strategies as st
from support import int31

SCALE = int31.load()["bms.core.scale"].Scale


def driven(true: float, seconds: int = 6000, offset_uv: int = 0, age_ms: int = 10**6):
    """Return the scale of a cell with `true` times the table's resistance, on a random load."""
    scale = SCALE()
    rng = np.random.default_rng(3)
    table_uv = 0.0
    for k in range(seconds):
        if k % 25 == 0:  # a load that stays for a while
            table_uv = -float(rng.uniform(0, 300_000))
        drop_uv = table_uv * scale.v[G.SCALE] / G.ONE
        y = table_uv * true - drop_uv + offset_uv
        scale.see(round(y), round(drop_uv), 10_000**2, 1000, age_ms)
    return scale.v[G.SCALE] / G.ONE


@settings(max_examples=10)
@given(st.floats(0.8, 1.4))
def test_an_older_cell_is_found(true: float):
    assert driven(true) == pytest.approx(true, abs=0.2 * abs(true - 1) + 0.02)


def test_it_moves_slowly():
    assert 1.0 < driven(1.4, seconds=40) < 1.1


def test_an_offset_of_ocv_is_no_resistance():
    assert driven(1.0, offset_uv=30_000) == pytest.approx(1.0, abs=0.03)


def test_nothing_is_learned_while_the_start_is_still_in_it():
    assert driven(1.4, age_ms=199_999) == 1.0
    assert driven(1.4, age_ms=200_000) > 1.1


UV = st.integers(-4_000_000, 4_000_000)


@given(st.lists(st.tuples(UV, UV, st.integers(1, 10**13), st.integers(1, 10**8)), max_size=60))
def test_anything_leaves_words_of_31_bits(readings: list[tuple[int, int, int, int]]):
    scale = SCALE()
    for y, drop, square, dt_ms in readings:
        scale.see(y, drop, square, dt_ms, 10**6)
        assert all(-(1 << 30) <= word < 1 << 30 for word in scale.v)
        assert G.ONE // 2 <= scale.v[G.SCALE] <= 3 * G.ONE
