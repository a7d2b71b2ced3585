"""Announced current limits: derated by the coldest and the hottest sensor, none when blocked."""

from __future__ import annotations

from array import array
from types import SimpleNamespace

import pytest
from bms.core import plausible as P
from bms.core import rules as R
from bms.core.limits import CHARGE_MA, DISCHARGE_MA, Limits
from bms.core.protect import NO_SHED
from hypothesis import given
from hypothesis import strategies as st
from support.packs import NAMES, compiled, read
from support.rig import ALL_TRUSTED

PACK = read(compiled(NAMES[0]).blob)
FILE = compiled(NAMES[0]).file
TEMP = st.integers(-60_000, 100_000)


def limits_at(
    cold: int, hot: int, trust: int = ALL_TRUSTED, blocked: int = 0, left: int = NO_SHED
):
    limits = Limits(PACK)
    sig = array("i", [0] * len(P.FIELDS))
    sig[P.TRUST], sig[P.TEMP_MIN_MDEGC], sig[P.TEMP_MAX_MDEGC] = trust, cold, hot
    limits.step(sig, SimpleNamespace(blocked=blocked, shed_left_ms=left))
    return limits.v[CHARGE_MA], limits.v[DISCHARGE_MA]


@pytest.mark.parametrize(("at", "key"), [(CHARGE_MA, "charge"), (DISCHARGE_MA, "discharge")])
def test_at_every_point_of_the_table(at: int, key: str):
    most_ma = getattr(FILE, f"{key}_a_max") * 1000
    for temp_c, share in getattr(FILE.derating, key):
        t = round(temp_c * 1000)
        assert limits_at(t, t)[at] == pytest.approx(most_ma * share, abs=most_ma / 1000 + 1)


@given(TEMP, TEMP)
def test_the_stricter_end_wins(a: int, b: int):
    cold, hot = sorted((a, b))
    both = limits_at(cold, hot)
    for k in (CHARGE_MA, DISCHARGE_MA):
        assert both[k] == min(limits_at(cold, cold)[k], limits_at(hot, hot)[k])
        assert 0 <= both[k] <= (PACK.charge_max_ma, PACK.discharge_max_ma)[k]


def test_blocked_is_zero_and_charge_stops_where_discharge_goes_on():
    assert min(limits_at(25_000, 25_000)) > 0
    assert limits_at(25_000, 25_000, blocked=R.CHARGE) == (0, PACK.discharge_max_ma)
    assert limits_at(25_000, 25_000, blocked=R.DISCHARGE) == (PACK.charge_max_ma, 0)
    assert limits_at(25_000, 25_000, blocked=R.BOTH) == (0, 0)
    # A load that shuts down, a temperature nobody knows: no charge, but current to sit down with.
    assert limits_at(25_000, 25_000, left=0) == limits_at(25_000, 25_000, left=1)
    assert limits_at(25_000, 25_000, left=0) == (0, PACK.discharge_max_ma)
    unknown = ALL_TRUSTED & ~(1 << P.TEMP_MAX_MDEGC)
    assert limits_at(25_000, 25_000, trust=unknown) == (0, PACK.discharge_max_ma)
