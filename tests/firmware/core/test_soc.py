"""Counting, its bound, the start, and the anchors: rest, full charge, offset."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
import pytest
from bms.core import capacity as C
from bms.core import filter as K
from bms.core import frame as F
from bms.core import plausible as P
from bms.core import soc as S
from hypothesis import given
from hypothesis import strategies as st
from support import int31
from support.packs import NAMES, compiled, read

PACK = read(compiled(NAMES[0]).blob)
ALL = P.ALL_TRUSTED
FULL = 1_000_000
SOC = int31.load()["bms.core.soc"].Soc
MOVES = st.lists(st.tuples(st.integers(-5_000_000, 5_000_000), st.integers(1, 1000)), max_size=60)
ROUND = 12  # ticks of one round of the estimator with one cell


class Model:
    """The estimate of one pack on signals that a test writes."""

    def __init__(self, saved: tuple[int, int] = (500_000, 20_000), **changed: Any) -> None:
        self.pack = read(compiled(NAMES[0]).blob)
        for name, value in changed.items():
            setattr(self.pack, name, value)
        self.soc = SOC(self.pack)
        self.frame = F.Frame(1, 1)
        self.frame.v[F.T_MS] = (1 << 30) - 30_000  # wraps on the way
        self.sig = array("i", [0] * len(P.FIELDS))
        self.sig[P.TRUST] = ALL
        self.temp(25_000)
        self.volts(3_700_000)
        self.frame.v[F.SAVED_SOC_PPM], self.frame.v[F.SAVED_BOUND_PPM] = saved

    def volts(self, uv: int) -> None:
        self.frame.v[F.CELL0] = self.sig[P.CELL_MIN_UV] = self.sig[P.CELL_MAX_UV] = uv

    def temp(self, mdegc: int) -> None:
        self.sig[P.TEMP_MIN_MDEGC] = self.sig[P.TEMP_MAX_MDEGC] = mdegc

    def blind(self) -> None:
        """Take the voltages away: what is left is counting."""
        self.sig[P.TRUST] &= ~(1 << P.CELL_MIN_UV)

    def step(self, charge_uas: int | None = 0, dt_ms: int = 50, current_ua: int = 2_000_000):
        """Run one step; None: the chip's accumulator could not be read."""
        self.frame.v[F.FLAGS] = 0 if charge_uas is None else F.CHARGE_OK
        self.frame.v[F.CHARGE_UAS] = charge_uas or 0
        self.frame.v[F.T_MS] = (self.frame.v[F.T_MS] + dt_ms) & (1 << 30) - 1
        self.sig[P.DT_MS] = dt_ms
        self.sig[P.CHARGE_UA] = current_ua
        self.soc.step(self.frame, self.sig)

    @property
    def ppm(self) -> int:
        return self.soc.v[S.SOC_PPM]

    @property
    def bound(self) -> int:
        return self.soc.v[S.BOUND_PPM]

    @property
    def corrections(self) -> int:
        return self.soc.v[S.CORRECTIONS]

    def charge_uas(self) -> int:
        """Return all charge that SoC stands for, remainder included."""
        return self.ppm * self.pack.uas_per_ppm + self.soc.v[S._CHARGE_REST_UAS]


def deaf(**changed: Any) -> dict[str, Any]:
    """Return what makes a pack whose filter learns next to nothing: only anchors move SoC."""
    return {"cell_residual_uv": array("i", [900_000] * len(PACK.cell_mdegc)), **changed}


@given(MOVES)
def test_counting_loses_nothing(moves):
    model = Model()
    model.step()
    model.blind()
    start = model.charge_uas()
    for charge_uas, dt_ms in moves:
        model.step(charge_uas, dt_ms)
    assert model.charge_uas() == start + sum(charge for charge, _ in moves)
    assert 0 <= model.soc.v[S._CHARGE_REST_UAS] < model.pack.uas_per_ppm


def share(uas: float) -> float:
    """Return a charge in ppm of the capacity."""
    return uas / PACK.uas_per_ppm


@given(st.sampled_from((0, 5_000, 50_000, 500_000)), st.integers(300, 7200))
def test_without_readings_the_bound_grows_by_what_the_offset_may_move(offset_ua: int, span: int):
    model = Model((500_000, 20_000), offset_error_ua=offset_ua)
    model.step()
    model.blind()
    model.soc.filter.bound.anchored()  # what a start adds fades in time
    last = 0
    for k in range(span // 30):
        model.step(0, 30_000)
        if k > 2 * ROUND:
            assert model.bound >= last
            last = model.bound
    # What has not been through the filter yet is at most two rounds old.
    moved = share(0.4 * offset_ua * 30 * max(span // 30 - 2 * ROUND, 0))
    assert model.bound >= min(np.hypot(26_900, 2.69 * moved) - 10, FULL)
    most = share(0.45 * offset_ua * span + 20_000 * span**0.5) + span**0.5
    assert model.bound <= min(np.hypot(28_000, 2.8 * most) + 10, FULL)


@given(st.sampled_from((1_000, 10_000, 100_000)), st.integers(1, 40))
def test_the_bound_grows_with_charge_by_gain_and_capacity(error_ppm: int, tenths: int):
    errors = {"gain_error_ppm": error_ppm, "capacity_error_ppm": error_ppm, "offset_error_ua": 0}
    model = Model((500_000, 2_000), **errors)
    model.step()
    model.blind()
    for k in range(4 * ROUND * tenths):  # a tenth of the capacity in every four rounds
        uas = 100_000 * PACK.uas_per_ppm // (4 * ROUND)
        model.step(uas if k // (4 * ROUND) % 2 else -uas, 1000)
    for _ in range(2 * ROUND):
        model.step(0, 1000)
    expected = 2.69 * error_ppm * 0.1 * tenths**0.5
    assert model.bound >= min(0.95 * expected, FULL)
    assert model.bound <= 1.05 * expected + 7_000


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=50))
def test_charge_that_nobody_saw_is_doubt_until_the_chip_tells(spans: list[int]):
    model = Model()
    model.step()
    model.blind()
    worst_ma = max(model.pack.charge_max_ma, model.pack.discharge_max_ma)
    model.sig[P.TRUST] &= ~(1 << P.CHARGE_UA)
    for dt_ms in spans:
        model.step(None, dt_ms)
    assert model.ppm == 500_000
    assert model.bound >= 19_000 + int(share(worst_ma * sum(spans)))
    model.sig[P.TRUST] |= 1 << P.CHARGE_UA
    model.step(-1_000, 50)
    # The bound of the filter and that of the start, in quadrature.
    assert model.bound <= np.hypot(27_500, 20_000), "the chip counted on while nobody asked it"


@given(st.sampled_from((5_000, 50_000)), st.sampled_from((200, 900)), st.integers(100, 1000))
def test_what_the_offset_may_move_is_kept_for_the_capacity(offset_ua: int, dt_ms: int, ticks: int):
    model = Model(offset_error_ua=offset_ua)
    model.step()
    model.blind()
    for _ in range(ticks):
        model.step(0, dt_ms)
    expected = share(0.4 * offset_ua * ticks * dt_ms / 1000)
    under_way = share(0.4 * offset_ua * 5)  # what has not been through the filter yet: 5 s
    drift_ppm = model.soc.capacity.v[C._DRIFT_PPM]
    assert drift_ppm == pytest.approx(expected, rel=0.05, abs=under_way + 1)


def test_a_count_that_is_gone_stays_in_the_bound():
    model = Model()
    model.step()
    model.sig[P.TRUST] &= ~(1 << P.CHARGE_UA)
    for _ in range(60):
        model.step(None, 1000)
    lost = share(60_000 * model.pack.discharge_max_ma)
    model.sig[P.TRUST] = ALL
    model.blind()
    model.soc.capacity.rest(500_000, 10_000)
    assert model.soc.capacity.v[0] == 1
    model.step(None, 50)  # it answers, without a count: it was reset
    assert model.soc.capacity.v[0] == 0, "what was counted from the last rest on is worth nothing"
    for _ in range(4 * ROUND):
        model.step(0, 50)
        assert model.bound >= lost
    assert model.bound <= 1.2 * lost + 40_000


@given(st.integers(1001, 900_000))
def test_a_long_gap_counts_whole(gap_ms: int):
    model = Model((500_000, 0), offset_error_ua=1_000_000)
    model.step()
    model.blind()
    model.frame.v[F.T_MS] = (model.frame.v[F.T_MS] + gap_ms - 1000) & (1 << 30) - 1
    model.step(0, 1000)
    for _ in range(ROUND):
        model.step(0, 1)
    assert model.bound >= 1.9 * share(gap_ms * 400) - 1


def test_it_ends_at_empty_and_full():
    for saved, move in ((0, -500_000_000), (FULL, 500_000_000)):
        model = Model((saved, FULL))
        model.step()
        model.step(move)
        assert (model.ppm, model.bound) == (saved, FULL)
        model.step(-move)
        back_ppm = abs(model.ppm - saved)
        assert abs(back_ppm - share(abs(move))) <= 1, "no charge is owed from beyond an end"


@pytest.mark.parametrize(
    ("saved", "found"),
    [
        ((0, 0), (0, 0)),
        ((432_100, 12_300), (432_100, 12_300)),
        ((FULL + 5, FULL + 5), (FULL, FULL)),
        ((432_100, -1), (432_100, FULL)),  # a bound that was not saved is none
    ],
)
def test_what_was_saved_is_the_start(saved: tuple[int, int], found: tuple[int, int]):
    model = Model(saved)
    model.step()
    assert (model.ppm, model.bound) == found


@pytest.mark.parametrize("missing", [P.CELL_MIN_UV, P.CHARGE_UA, P.TEMP_MIN_MDEGC])
def test_no_start_without_readings(missing: int):
    model = Model((-1, -1))
    model.sig[P.TRUST] &= ~(1 << missing)
    model.step()
    assert (model.soc.v[S.STARTED], model.bound) == (0, FULL)
    model.sig[P.TRUST] = ALL
    model.step()
    assert model.soc.v[S.STARTED] == 1 and model.bound < FULL


def at(axis: Any, table: Any, ppm: float, mdegc: float, pack: Any = PACK) -> float:
    """Return what a table of the pack's cell says: lines along both axes."""
    grid = np.array(table, float).reshape(len(pack.cell_mdegc), len(axis))
    row = [np.interp(mdegc, pack.cell_mdegc, column) for column in grid.T]
    return float(np.interp(ppm, axis, row))


def ocv_uv(ppm: float, mdegc: float = 25_000) -> float:
    return at(PACK.cell_ocv_ppm, PACK.cell_ocv_uv, ppm, mdegc)


def error_uv(mdegc: float) -> float:
    return float(np.interp(mdegc, PACK.cell_mdegc, PACK.cell_ocv_error_uv))


ERROR = st.floats(-1, 1)
TEMPS = st.sampled_from((-20_000, 0, 25_000, 33_333))


@given(st.integers(0, FULL), ERROR, TEMPS)
def test_a_rested_first_reading_is_inside_its_bound(true_ppm: int, error: float, mdegc: int):
    model = Model((-1, -1))
    model.temp(mdegc)
    model.volts(round(ocv_uv(true_ppm, mdegc) + 0.99 * error * error_uv(mdegc)))
    model.step(current_ua=0)
    assert abs(model.ppm - true_ppm) <= model.bound <= 600_000


@given(st.integers(200_000, FULL), ERROR, st.floats(0, 1), st.integers(-3000, 2000), TEMPS)
def test_a_loaded_first_reading_is_inside_its_bound(
    true_ppm: int, error: float, polarised: float, current_ma: int, mdegc: int
):
    # Below a fifth R rises faster than OCV falls: a load there has more than one SoC.
    model = Model((-1, -1))
    model.temp(mdegc)
    r0, r1, r2 = (
        at(PACK.cell_r_ppm, table, true_ppm, mdegc)
        for table in (PACK.cell_r0_uohm, PACK.cell_r1_uohm, PACK.cell_r2_uohm)
    )
    drop_uv = current_ma * (r0 + polarised * (r1 + r2)) / 1000
    model.volts(round(ocv_uv(true_ppm, mdegc) + 0.9 * error * error_uv(mdegc) + drop_uv))
    model.step(current_ua=current_ma * 1000)
    assert abs(model.ppm - true_ppm) <= model.bound


@pytest.mark.parametrize("mdegc", [25_000, 0, -1, None])
def test_rest_is_believed_after_its_time(mdegc: int | None):
    model = Model((500_000, 300_000), **deaf())
    model.step()  # starts from what was saved
    if mdegc is None:
        model.sig[P.TRUST] &= ~(1 << P.TEMP_MIN_MDEGC)
    else:
        model.temp(mdegc)
    cold = mdegc is None or mdegc < 0
    need_ms = PACK.rest_cold_ms if cold else PACK.rest_ms
    model.volts(round(ocv_uv(620_000, 25_000 if mdegc is None else mdegc)))
    for _ in range(need_ms // 1000 - 1):
        model.step(dt_ms=1000, current_ua=-PACK.rest_ua)
        assert model.corrections == 0
    for _ in range(ROUND + 1):
        model.step(dt_ms=1000, current_ua=PACK.rest_ua)
    assert model.corrections == 1
    assert abs(model.ppm - 620_000) <= 15_000
    for _ in range(2 * ROUND):
        model.step(dt_ms=1000, current_ua=0)
    assert model.bound < 100_000


def test_a_current_or_a_lost_reading_ends_the_rest():
    for current_ua, lost in ((PACK.rest_ua + 1, None), (-PACK.rest_ua - 1, None),
                             (0, P.CELL_MIN_UV), (0, P.CHARGE_UA)):  # fmt: skip
        model = Model((500_000, 300_000), **deaf())
        for k in range(3 * PACK.rest_ms // 1000):
            disturbed = k % 1700 == 1000
            model.sig[P.TRUST] = ALL & ~(1 << lost) if disturbed and lost is not None else ALL
            model.step(dt_ms=1000, current_ua=current_ua if disturbed else 0)
        assert model.corrections == 0


def test_a_lump_of_charge_is_no_end_of_a_rest():
    model = Model((500_000, 300_000), **deaf())
    model.volts(round(ocv_uv(620_000)))
    for k in range(20 * (PACK.rest_ms // 1000 + 30)):
        lump = k % 5 == 0  # a quarter of a second's charge at once
        model.step(PACK.rest_ua // 4 if lump else 0, dt_ms=50, current_ua=PACK.rest_ua - 1)
    assert model.corrections == 1


def test_a_rest_tells_nothing_to_who_knows_better():
    model = Model((500_000, 3_000), **deaf())
    model.volts(round(ocv_uv(620_000)))
    for _ in range(2000):
        model.step(dt_ms=1000, current_ua=0)
    assert model.corrections == 0
    assert abs(model.ppm - 500_000) < 300


def test_a_rest_that_goes_on_is_looked_at_each_minute():
    model = Model((500_000, 300_000), **deaf())
    model.step(dt_ms=1000)
    model.volts(round(ocv_uv(620_000)))
    for _ in range(PACK.rest_ms // 1000 + ROUND):
        model.step(dt_ms=1000, current_ua=0)
    assert model.corrections == 1
    model.soc.filter.doubt(200_000)
    for _ in range(60 - 2 * ROUND):
        model.step(dt_ms=1000, current_ua=0)
    assert model.corrections == 1
    for _ in range(4 * ROUND):
        model.step(dt_ms=1000, current_ua=0)
    assert model.corrections == 2


def test_a_full_charge_is_an_anchor():
    def charged(ua: int, uv: int) -> Model:
        model = Model((900_000, 200_000), **deaf())
        model.volts(uv)
        for _ in range(60):
            model.step(dt_ms=1000, current_ua=ua)
        return model

    full = charged(PACK.taper_ua, PACK.full_uv)
    assert full.corrections == 1 and full.ppm > 970_000
    for ua, uv in ((PACK.taper_ua + 1, PACK.full_uv), (PACK.taper_ua, PACK.full_uv - 1),
                   (-1, PACK.full_uv)):  # fmt: skip
        model = charged(ua, uv)
        assert model.corrections == 0 and model.ppm < 910_000


@pytest.mark.parametrize("isolates", [0, 1])
def test_current_past_open_gates_is_offset_where_they_isolate(isolates: int):
    offset_ua = 20_000
    model = Model((500_000, 20_000), isolates=isolates, **deaf())
    model.sig[P.OFFSET_UA] = offset_ua
    for _ in range(130):
        model.step(offset_ua, 1000, offset_ua)
    assert abs((model.soc.filter.bias >> 16) - offset_ua * isolates) <= offset_ua * 0.1
    before = model.ppm
    model.sig[P.OFFSET_UA] = 0
    for _ in range(3600):
        model.step(offset_ua, 1000, offset_ua)
    drifted = abs(model.ppm - before)
    assert drifted > 0.9 * share(3600 * offset_ua) if not isolates else drifted < 1_000


def test_a_load_before_the_gates_opened_is_no_offset():
    model = Model((500_000, 20_000), **deaf())
    for _ in range(200):
        model.step(-2_000_000, 1000, -2_000_000)
    for _ in range(59):
        model.sig[P.OFFSET_UA] = 1_000
        model.step(1_000, 1000, 1_000)
        assert abs(model.soc.filter.bias >> 16) < 1_000
    for _ in range(3 * ROUND):
        model.step(1_000, 1000, 1_000)
    assert abs((model.soc.filter.bias >> 16) - 1_000) < 200


@pytest.mark.parametrize("dt_ms", [50, 1000])
def test_a_known_offset_is_no_end_of_a_rest(dt_ms: int):
    model = Model((500_000, 300_000), **deaf())
    offset_ua = 2 * PACK.rest_ua
    model.sig[P.OFFSET_UA] = offset_ua
    for _ in range((PACK.rest_ms + 300_000) // dt_ms):
        model.step(offset_ua * dt_ms // 1000, dt_ms, offset_ua)
    assert model.corrections == 1


@pytest.mark.parametrize(("dt_ms", "fewest"), [(50, 40), (250, 50)])
def test_the_filter_steps_about_once_a_second_whatever_the_tick(dt_ms: int, fewest: int):
    model = Model()
    for _ in range(60_000 // dt_ms):
        model.step(0, dt_ms)
    assert fewest <= model.soc.filter.v[K.STEPS] <= 60
