"""Announced current limits: what temperature, voltage and charge allow, none when blocked."""

from __future__ import annotations

from array import array
from types import SimpleNamespace

import pytest
from bms.core import limits as L
from bms.core import plausible as P
from bms.core import rules as R
from bms.core.charging import CHARGING, FULL, NONE, PRECHARGE
from bms.core.limits import CHARGE_MA, DISCHARGE_MA
from bms.core.protect import NO_SHED
from hypothesis import given, settings
from hypothesis import strategies as st
from support import int31
from support.packs import compiled, read
from support.rig import ALL_TRUSTED

NAME = "bench_1s"
PACK = read(compiled(NAME).blob)
FILE = compiled(NAME).file
TEMP = st.integers(-60_000, 100_000)
LIMITS = int31.load()["bms.core.limits"].Limits
MIDDLE_UV = (PACK.high_uv + PACK.low_uv) // 2
# Cells in the middle of their window take and give what the temperature allows: where R is small.
RESISTANCES = ("dcir_uohm", "r1s_uohm", "r10s_uohm")


def easy_pack():
    """The pack with next to no resistance: voltage does not bind."""
    pack = read(compiled(NAME).blob)
    for name in RESISTANCES:
        table = getattr(pack, name)
        for k in range(len(table) // 2, len(table)):
            table[k] = 1
    return pack


def settled(pack, sig, blocked=0, left=NO_SHED, stage=NONE, soc_ppm=500_000):
    """Return the limits once they have risen as far as they go."""
    limits = LIMITS(pack)
    for _ in range(4 * 20):
        limits.step(sig, SimpleNamespace(blocked=blocked, shed_left_ms=left), stage, soc_ppm)
    return limits.v


def signals(cold: int, hot: int, trust: int = ALL_TRUSTED, uv: int = MIDDLE_UV, ua: int = 0):
    sig = array("i", [0] * len(P.FIELDS))
    sig[P.TRUST], sig[P.TEMP_MIN_MDEGC], sig[P.TEMP_MAX_MDEGC] = trust, cold, hot
    sig[P.HOT_MDEGC] = hot
    sig[P.CELL_MIN_UV] = sig[P.CELL_MAX_UV] = uv
    sig[P.CHARGE_UA] = ua
    return sig


def limits_at(cold: int, hot: int, trust: int = ALL_TRUSTED, **more):
    v = settled(easy_pack(), signals(cold, hot, trust), **more)
    return v[CHARGE_MA], v[DISCHARGE_MA]


@pytest.mark.parametrize(("at", "key"), [(CHARGE_MA, "charge"), (DISCHARGE_MA, "discharge")])
def test_at_every_point_of_the_table(at: int, key: str):
    most_ma = getattr(FILE, f"{key}_a_max") * 1000
    for temp_c, share in getattr(FILE.derating, key):
        t = round(temp_c * 1000)
        assert limits_at(t, t)[at] == pytest.approx(most_ma * share, abs=most_ma / 1000 + 1)


@settings(max_examples=30)
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


@pytest.mark.parametrize("stage", [NONE, CHARGING, PRECHARGE, FULL])
def test_a_stage_of_charging_has_its_own_limit(stage: int):
    charge_ma, discharge_ma = limits_at(25_000, 25_000, stage=stage)
    assert discharge_ma == PACK.discharge_max_ma
    wanted = {PRECHARGE: PACK.precharge_ma, FULL: 0}.get(stage, PACK.charge_max_ma)
    assert charge_ma == wanted


def test_the_hottest_spot_derates_before_a_sensor_does():
    table = sorted(FILE.derating.discharge)
    end_c = table[-1][0]
    sig = signals(25_000, 25_000)
    sig[P.HOT_MDEGC] = round(end_c * 1000)
    v = settled(easy_pack(), sig)
    assert v[DISCHARGE_MA] == pytest.approx(PACK.discharge_max_ma * table[-1][1], rel=0.01)


@pytest.mark.parametrize(
    ("at", "table"),
    [(CHARGE_MA, "dcir_uohm"), (L.CHARGE_1S_MA, "r1s_uohm"), (L.CHARGE_10S_MA, "r10s_uohm")],
)
def test_by_voltage_the_cells_come_to_their_ends_and_no_further(at: int, table: str):
    t = PACK.dcir_uohm[6]
    r_uohm = getattr(PACK, table)[len(getattr(PACK, table)) // 2 + 6]
    for ua in (0, 500_000, -500_000):
        over_uv, under_uv = PACK.high_uv - 2_000, PACK.low_uv + 20_000
        v = settled(PACK, signals(t, t, uv=over_uv, ua=ua))
        assert v[at] == pytest.approx(max(2_000 / r_uohm * 1000 + ua / 1000, 0), rel=0.02, abs=2)
        v = settled(PACK, signals(t, t, uv=under_uv, ua=ua))
        wanted = max(20_000 / r_uohm * 1000 - ua / 1000, 0)
        assert v[at + 1] == pytest.approx(wanted, rel=0.02, abs=2)
        v = settled(PACK, signals(t, t, uv=PACK.high_uv + 50_000))
        assert v[at] == 0
        v = settled(PACK, signals(t, t, uv=PACK.low_uv - 50_000))
        assert v[at + 1] == 0


@pytest.mark.parametrize("unknown", [P.CELL_MIN_UV, P.CHARGE_UA])
def test_without_voltage_or_current_temperature_alone_decides(unknown: int):
    for uv in (PACK.low_uv, PACK.high_uv):
        believed = settled(PACK, signals(25_000, 25_000, uv=uv))
        assert min(believed[CHARGE_MA], believed[DISCHARGE_MA]) == 0
        v = settled(PACK, signals(25_000, 25_000, ALL_TRUSTED & ~(1 << unknown), uv=uv))
        assert (v[CHARGE_MA], v[DISCHARGE_MA]) == (PACK.charge_max_ma, PACK.discharge_max_ma)


def test_charge_left_and_room_left_bind_over_ten_seconds():
    sig = signals(25_000, 25_000)
    mas = PACK.uas_per_ppm  # mAs in 0.1 %
    empty = settled(easy_pack(), sig, soc_ppm=1_000)
    assert empty[L.DISCHARGE_10S_MA] == pytest.approx(mas / 10, abs=2)
    assert empty[DISCHARGE_MA] == PACK.discharge_max_ma
    full = settled(easy_pack(), sig, soc_ppm=999_000)
    assert full[L.CHARGE_10S_MA] == pytest.approx(mas / 10, abs=2)


def test_limits_fall_at_once_and_rise_over_seconds():
    pack, sig = easy_pack(), signals(25_000, 25_000)
    limits = LIMITS(pack)
    free = SimpleNamespace(blocked=0, shed_left_ms=NO_SHED)
    charge, discharge = pack.charge_max_ma, pack.discharge_max_ma
    for k in range(1, 17):
        for _ in range(4):  # a part of them a tick
            limits.step(sig, free, NONE, 500_000)
        for at in (CHARGE_MA, L.CHARGE_1S_MA, L.CHARGE_10S_MA):
            assert limits.v[at] == min(k * (charge // 16 + 1), charge)
            assert limits.v[at + 1] == min(k * (discharge // 16 + 1), discharge)
    limits.step(sig, SimpleNamespace(blocked=R.BOTH, shed_left_ms=NO_SHED), NONE, 500_000)
    assert list(limits.v[: L.DISCHARGE_10S_MA + 1]) == [0] * (L.DISCHARGE_10S_MA + 1)


@pytest.mark.parametrize("turn", range(4))
def test_a_blocked_path_has_none_whatever_part_is_due(turn: int):
    pack, sig = easy_pack(), signals(25_000, 25_000)
    limits = LIMITS(pack)
    free = SimpleNamespace(blocked=0, shed_left_ms=NO_SHED)
    for _ in range(80 + turn):
        limits.step(sig, free, NONE, 500_000)
    for blocked, left, stage in ((R.CHARGE, NO_SHED, NONE), (0, 0, NONE), (0, NO_SHED, FULL)):
        limits.step(sig, SimpleNamespace(blocked=blocked, shed_left_ms=left), stage, 500_000)
        assert [limits.v[k] for k in (CHARGE_MA, L.CHARGE_1S_MA, L.CHARGE_10S_MA)] == [0] * 3
        assert limits.v[DISCHARGE_MA] > 0
    for _ in range(4):
        blocked = SimpleNamespace(blocked=R.DISCHARGE, shed_left_ms=NO_SHED)
        limits.step(sig, blocked, NONE, 500_000)
        assert limits.v[DISCHARGE_MA] == limits.v[L.DISCHARGE_1S_MA] == 0


@pytest.mark.parametrize(
    ("at", "blocked", "left", "stage"),
    [
        (CHARGE_MA, R.CHARGE, NO_SHED, NONE),
        (CHARGE_MA, 0, 0, NONE),
        (CHARGE_MA, 0, NO_SHED, FULL),
        (DISCHARGE_MA, R.DISCHARGE, NO_SHED, NONE),
    ],
)
def test_a_path_that_opens_again_waits_for_what_the_temperature_allows(
    at: int, blocked: int, left: int, stage: int
):
    limits, sig = LIMITS(easy_pack()), signals(25_000, 25_000)
    free = SimpleNamespace(blocked=0, shed_left_ms=NO_SHED)
    for _ in range(80):
        limits.step(sig, free, NONE, 500_000)
    limits.step(sig, SimpleNamespace(blocked=blocked, shed_left_ms=left), stage, 500_000)
    for _ in range(4):
        limits.step(sig, free, NONE, 500_000)
        assert limits.v[at] == 0
    for _ in range(4):
        limits.step(sig, free, NONE, 500_000)
    assert limits.v[at] > 0


def test_what_the_temperature_allows_is_told_to_the_rules():
    for temp_c, share in FILE.derating.charge:
        t = round(temp_c * 1000)
        sig = signals(t, t)
        settled(PACK, sig, blocked=R.BOTH)
        wanted = FILE.charge_a_max * share * 1e6
        assert sig[P.CHARGE_LIMIT_UA] == pytest.approx(wanted, rel=0.002, abs=4000)
    sig = signals(25_000, 25_000)
    settled(PACK, sig)
    assert sig[P.CHARGE_LIMIT_UA] == 1000 * PACK.charge_max_ma


def test_hot_mosfets_leave_less_to_give_and_a_fifth_at_their_limit():
    pack = read(compiled("robot_14s").blob)
    for name in RESISTANCES:
        table = getattr(pack, name)
        for k in range(len(table) // 2, len(table)):
            table[k] = 1
    sig = signals(25_000, 25_000, uv=(pack.high_uv + pack.low_uv) // 2)
    most = pack.discharge_max_ma
    for fet_c, share in ((0, 1.0), (70, 1.0), (75, 0.8), (80, 0.6), (90, 0.2), (150, 0.2)):
        sig[P.FET_MDEGC] = fet_c * 1000
        v = settled(pack, sig)
        assert v[DISCHARGE_MA] == pytest.approx(share * most, rel=0.002), fet_c
        assert v[CHARGE_MA] == pack.charge_max_ma


@pytest.mark.parametrize("release_mdegc", [90_000, -899_820_000])
def test_any_release_of_the_mosfets_row_will_do(release_mdegc: int):
    pack = read(compiled("robot_14s").blob)
    r = [row[R.ID] for row in R.ROWS].index("fet_hot")
    pack._rules[4 * r + 1] = release_mdegc
    most = pack.discharge_max_ma
    for fet_c, wanted_ma in ((-40, most), (29, most), (91, most // 5), (400, most // 5)):
        sig = signals(25_000, 25_000, uv=(pack.high_uv + pack.low_uv) // 2)
        sig[P.FET_MDEGC] = fet_c * 1000
        for name in RESISTANCES:
            table = getattr(pack, name)
            for k in range(len(table) // 2, len(table)):
                table[k] = 1
        assert settled(pack, sig)[DISCHARGE_MA] == pytest.approx(wanted_ma, abs=1), fet_c


def test_a_pack_that_does_without_the_row_has_no_such_limit():
    sig = signals(25_000, 25_000)
    sig[P.FET_MDEGC] = 150_000
    assert settled(easy_pack(), sig)[DISCHARGE_MA] == PACK.discharge_max_ma
