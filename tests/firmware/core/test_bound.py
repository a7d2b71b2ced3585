"""The bound: its square term by term, and the square root."""

from __future__ import annotations

import math

import pytest
from bms.core import bound as B
from hypothesis import given
from hypothesis import strategies as st
from support import int31

CHECKED = int31.load()["bms.core.bound"]
SLOPE = 65536  # 1 uV a ppm
ERROR_UV = 20_000
SDS = 2.7  # standard deviations, to a third of a percent
FLOOR_PPM = 5_000


def bound(sd: int = 10_000, rested: bool = True, residual: int = 10_000):
    b = CHECKED.Bound()
    b.start(sd, rested, residual)
    return b


def published(b, sd: int, residual: int = 10_000, age_ms: int = 0, told: float = 0) -> int:
    b.publish(sd * sd, residual, SLOPE, age_ms, round(told * (1 << 24)), ERROR_UV)
    return b.v[B.BOUND_PPM]


@given(st.integers(0, 1 << 62), st.integers(0, 1 << 31))
def test_the_root_is_whole_and_whatever_the_guess(x: int, near: int):
    assert CHECKED.root(x, near) == math.isqrt(x)


@given(st.integers(0, 500_000))
def test_2_7_standard_deviations_and_a_floor(sd: int):
    got = published(bound(), sd)
    assert got == pytest.approx(min(math.hypot(SDS * sd, FLOOR_PPM), 1e6), rel=4e-3)


def test_a_start_is_twice_its_standard_deviation():
    assert bound(sd=80_000).v[B.BOUND_PPM] == 160_000
    assert bound(sd=600_000).v[B.BOUND_PPM] == 1_000_000


@given(st.integers(0, 3_000_000), st.integers(0, 700_000))
def test_a_start_under_load_fades_in_40_minutes_and_half_a_capacity(age_ms: int, ppm: int):
    b = bound(rested=False)
    for part in range(7):
        b.moved((ppm + part) // 7 << 8)
    got = published(b, 5_000, age_ms=age_ms)
    left = max(1 - age_ms / 2_400_000, 1 - ppm / 500_000, 0)
    start = 20_000 * left  # twice 10 mV over 1 uV a ppm
    assert got == pytest.approx(math.hypot(SDS * 5_000, FLOOR_PPM, start), rel=0.01)
    assert published(bound(rested=True), 5_000, age_ms=age_ms) < 14_500


def test_a_start_adds_no_more_than_it_began_with():
    got = published(bound(sd=1_000, rested=False), 1_000)
    assert got == pytest.approx(math.hypot(SDS * 1_000, FLOOR_PPM, 2_000), rel=0.01)


@given(st.integers(-200_000, 200_000), st.integers(1, 120))
def test_it_grows_with_innovations_beyond_the_promise(y: int, tens: int):
    b = bound()
    for _ in range(tens):
        b.see(y, 10_000)
    share = (1 - 10 / 600) ** tens
    kappa = math.sqrt(max((share * 1e8 + (1 - share) * y * y) / 1e8, 1))
    expected = min(kappa * math.hypot(SDS * 10_000, FLOOR_PPM), 1e6)
    assert published(b, 10_000) == pytest.approx(expected, rel=0.01)
    assert all(-(1 << 30) <= word < 1 << 30 for word in b.v)


def test_doubt_counts_at_once_and_an_anchor_ends_it():
    b = bound()
    before = published(b, 10_000)
    b.doubt(50_000)
    assert b.v[B.BOUND_PPM] == before + 50_000
    assert published(b, 10_000) > before
    b.anchored()
    assert published(b, 10_000) == before


@given(st.integers(0, 1_200_000), st.floats(0, 1))
def test_what_a_reading_at_rest_left_open_is_in_it_until_forgotten(ppm: int, told: float):
    b = bound()
    b.told(ppm)
    assert b.v[B.BOUND_PPM] == max(20_000, min(ppm, 1_000_000))
    least = math.hypot(SDS * 10_000, FLOOR_PPM)
    expected = max(least, told * min(ppm, 1_000_000))
    assert published(b, 10_000, told=told) == pytest.approx(expected, rel=0.01)
    b.start(10_000, False, 10_000)
    b.moved(500_000 << 8)
    assert published(b, 10_000, age_ms=2_400_000, told=told) == pytest.approx(least, rel=0.01)


def test_the_error_of_ocv_is_promised_where_a_rested_reading_has_told_soc():
    b = bound()
    for _ in range(100):
        b.see(ERROR_UV, 600_000)
    once = published(b, 10_000)
    assert once == pytest.approx(2 * math.hypot(SDS * 10_000, FLOOR_PPM), rel=0.01)
    assert published(b, 10_000, told=1) == pytest.approx(once / 2, rel=0.01)


def test_a_start_that_has_faded_does_not_come_back_with_a_doubt():
    b = bound(sd=150_000, rested=False)
    b.moved(500_000 << 8)
    before = published(b, 2_000, age_ms=2_400_000)
    b.doubt(10)
    assert published(b, 2_000) <= before + 10
