"""Counting, its bound, the start and the correction at rest."""

from __future__ import annotations

from array import array

import pytest
from bms.core import frame as F
from bms.core import plausible as P
from bms.core import soc as S
from bms.core.fixed import interp
from hypothesis import given
from hypothesis import strategies as st
from support import int31
from support.packs import NAMES, compiled, read

PACK = read(compiled(NAMES[0]).blob)
ALL = P.ALL_TRUSTED
FULL = 1_000_000
SOC = int31.load()["bms.core.soc"].Soc
MOVES = st.lists(st.tuples(st.integers(-5_000_000, 5_000_000), st.integers(1, 1000)), max_size=60)


class Model:
    """The estimate of one pack on signals that a test writes."""

    def __init__(self, saved: tuple[int, int] = (500_000, 20_000), **changed: int) -> None:
        self.pack = read(compiled(NAMES[0]).blob)
        for name, value in changed.items():
            setattr(self.pack, name, value)
        self.soc = SOC(self.pack)
        self.frame = F.Frame(1, 1)
        self.frame.v[F.T_MS] = (1 << 30) - 30_000  # wraps on the way
        self.sig = array("i", [0] * len(P.FIELDS))
        self.sig[P.TRUST] = ALL
        self.sig[P.CELL_MIN_UV] = 3_700_000
        self.sig[P.TEMP_MIN_MDEGC] = 25_000
        self.frame.v[F.SAVED_SOC_PPM], self.frame.v[F.SAVED_BOUND_PPM] = saved

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

    def charge_uas(self) -> int:
        """Return all charge that SoC stands for, remainder included."""
        return self.ppm * self.pack.uas_per_ppm + self.soc.v[S._CHARGE_REST_UAS]


@given(MOVES)
def test_counting_loses_nothing(moves):
    model = Model()
    model.step()
    start = model.charge_uas()
    for charge_uas, dt_ms in moves:
        model.step(charge_uas, dt_ms)
    assert model.charge_uas() == start + sum(charge for charge, _ in moves)
    assert 0 <= model.soc.v[S._CHARGE_REST_UAS] < model.pack.uas_per_ppm


def share(uas: float) -> float:
    """Return a charge in ppm of the capacity."""
    return uas / PACK.uas_per_ppm


@given(MOVES, st.sampled_from((0, 50, 10_000, 100_000)), st.sampled_from((0, 500, 50_000)),
       st.sampled_from((0, 10_000)))  # fmt: skip
def test_the_bound_holds_what_gain_capacity_and_offset_may_do(moves, gain, offset_ua, capacity):
    errors = {"gain_error_ppm": gain, "offset_error_ua": offset_ua, "capacity_error_ppm": capacity}
    model = Model((500_000, 20_000), **errors)
    model.step()
    net = elapsed = reach = 0
    last = 0
    for charge_uas, dt_ms in moves:
        model.step(charge_uas, dt_ms)
        net += charge_uas
        elapsed += dt_ms
        reach = max(reach, abs(net))
        honest = share(reach) * (gain + capacity) / 1e6 + share(elapsed * offset_ua / 1e3)
        assert model.bound - 20_000 >= int(honest)
        # What rounds up: 1000 ppm of reach, a mA of offset, a ppm here and there.
        slack = 1000 * (gain + capacity) / 1e6 + share(elapsed) + 3
        assert model.bound - 20_000 <= honest + slack
        assert model.bound >= last, "counting never shrinks the bound"
        last = model.bound


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=50))
def test_charge_that_nobody_saw_is_doubt_until_the_chip_tells(spans: list[int]):
    model = Model()
    model.step()
    worst_ma = max(model.pack.charge_max_ma, model.pack.discharge_max_ma)
    model.sig[P.TRUST] &= ~(1 << P.CHARGE_UA)
    for dt_ms in spans:
        model.step(None, dt_ms)
    assert model.ppm == 500_000
    grown = model.bound - 20_000
    assert grown >= int(share(worst_ma * sum(spans)))
    model.sig[P.TRUST] = ALL
    model.step(-1_000, 50)
    # What is left: the offset, and the share of the least charge that counts, 1000 ppm.
    share_ppm = model.pack.gain_error_ppm + model.pack.capacity_error_ppm
    left = share(50 * sum(spans)) + share_ppm / 1000 + 5
    assert model.bound - 20_000 <= left, "the chip counted on while nobody asked it"


def test_a_count_that_is_gone_stays_in_the_bound():
    model = Model()
    model.step()
    model.step(None, 1000)  # it answers, without a count: it was reset
    grown = model.bound - 20_000
    assert grown >= share(1000 * model.pack.discharge_max_ma)
    model.step(0, 50)
    assert model.bound - 20_000 >= grown


@given(st.integers(1001, 900_000))
def test_a_long_gap_counts_whole(gap_ms: int):
    model = Model(offset_error_ua=1_000_000)
    model.step()
    model.frame.v[F.T_MS] = (model.frame.v[F.T_MS] + gap_ms - 1000) & (1 << 30) - 1
    model.step(0, 1000)
    assert model.bound - 20_000 >= share(gap_ms * 1000) - 1


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


def ocv_uv(soc_ppm: float) -> float:
    """Return the voltage of the pack's own table at a SoC."""
    table = PACK.ocv_uv_ppm
    n = len(table) // 2
    x, y = table[:n], table[n:]
    k = max(k for k in range(n - 1) if y[k] <= soc_ppm)
    return x[k] + (soc_ppm - y[k]) * (x[k + 1] - x[k]) / (y[k + 1] - y[k])


ERROR = st.floats(-1, 1)


@given(st.integers(0, FULL), ERROR)
def test_a_rested_first_reading_is_inside_its_bound(true_ppm: int, error: float):
    model = Model((-1, -1))
    model.sig[P.CELL_MIN_UV] = round(ocv_uv(true_ppm) + error * PACK.ocv_error_uv)
    model.step(current_ua=0)
    assert abs(model.ppm - true_ppm) <= model.bound <= 500_000 + 2000


@given(st.integers(0, FULL), ERROR, st.floats(0, 1), st.integers(-4000, 4000),
       st.sampled_from((-20_000, 0, 25_000)))  # fmt: skip
def test_a_loaded_first_reading_is_inside_its_bound(
    true_ppm: int, error: float, polarised: float, current_ma: int, temp_mdegc: int
):
    model = Model((-1, -1))
    r0_uohm = interp(PACK.dcir_uohm, temp_mdegc)
    polar_uohm = interp(PACK.polar_uohm, temp_mdegc)
    drop_uv = current_ma * (r0_uohm + polarised * polar_uohm) / 1000
    model.sig[P.TEMP_MIN_MDEGC] = temp_mdegc
    model.sig[P.CELL_MIN_UV] = round(ocv_uv(true_ppm) + 0.99 * error * PACK.ocv_error_uv + drop_uv)
    model.step(current_ua=current_ma * 1000)
    assert abs(model.ppm - true_ppm) <= model.bound


@pytest.mark.parametrize("temp_mdegc", [25_000, 0, -1, None])
def test_rest_is_believed_after_its_time(temp_mdegc: int | None):
    model = Model((500_000, 300_000))
    model.step()  # starts from what was saved
    if temp_mdegc is None:
        model.sig[P.TRUST] &= ~(1 << P.TEMP_MIN_MDEGC)
    else:
        model.sig[P.TEMP_MIN_MDEGC] = temp_mdegc
    cold = temp_mdegc is None or temp_mdegc < 0
    need_ms = PACK.rest_cold_ms if cold else PACK.rest_ms
    model.sig[P.CELL_MIN_UV] = round(ocv_uv(620_000))
    for _ in range(need_ms // 1000 - 1):
        model.step(dt_ms=1000, current_ua=-PACK.rest_ua)
        assert model.soc.v[S.CORRECTIONS] == 0
    model.step(dt_ms=1000, current_ua=PACK.rest_ua)
    assert model.soc.v[S.CORRECTIONS] == 1
    assert abs(model.ppm - 620_000) <= model.bound < 100_000


def test_a_current_or_a_lost_reading_ends_the_rest():
    for current_ua, lost in ((PACK.rest_ua + 1, None), (-PACK.rest_ua - 1, None),
                             (0, P.CELL_MIN_UV), (0, P.CHARGE_UA)):  # fmt: skip
        model = Model((500_000, 300_000))
        for k in range(3 * PACK.rest_ms // 1000):
            disturbed = k % 1700 == 1000
            model.sig[P.TRUST] = ALL & ~(1 << lost) if disturbed and lost is not None else ALL
            model.step(dt_ms=1000, current_ua=current_ua if disturbed else 0)
        assert model.soc.v[S.CORRECTIONS] == 0


def test_a_correction_never_widens_the_bound():
    model = Model((500_000, 3_000))
    model.sig[P.CELL_MIN_UV] = round(ocv_uv(620_000))
    for _ in range(2000):
        model.step(dt_ms=1000, current_ua=0)
    assert model.soc.v[S.CORRECTIONS] == 0 or model.bound < 3_000
    assert abs(model.ppm - 500_000) < 10


def test_a_rest_that_goes_on_is_looked_at_each_minute():
    model = Model((500_000, 300_000))
    model.step(dt_ms=1000)
    for _ in range(PACK.rest_ms // 1000):
        model.step(dt_ms=1000, current_ua=0)
    assert model.soc.v[S.CORRECTIONS] == 1
    bound = model.bound
    for _ in range(60):
        model.step(dt_ms=1000, current_ua=0)
    assert model.soc.v[S.CORRECTIONS] == 2 and model.bound == bound
