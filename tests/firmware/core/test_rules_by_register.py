"""Every row on every pack that has it, through driver, chip and loop; see test_rules_generated.

A way is a generator: it sets codes of the chip, sensors and the clock for the next tick and yields
whether they are past the limit now. Signals that a code shows are tested to one LSB as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from bms.core import plausible as P
from bms.core import rules as R
from bms.core import switch as W
from bms.core.fixed import interp
from bms.core.protect import CLEAR
from support.packs import alone, compiled, read
from support.rig import Rig, first_above, level_codes, path_open
from support.rows import IDS, each_row, rule_of

SLOW_MS = 950  # makes ticks of 1 s of those of 50 ms


class Real:
    """One row, alone in its pack, on the whole loop: gates closed, readings calm.

    beside: rows that it needs to come about.
    """

    def __init__(self, name: str, row: int, *beside: str) -> None:
        pack = compiled(name)
        self.name, self.row = name, row
        self.file = pack.file
        self.rule = rule_of(name, row)
        self.spec = self.rule.row
        self.signal, self.side = self.spec[R.SIGNAL], self.spec[R.SIDE]
        self.promise_ms = self.rule.promise_ms(pack.file.tick_ms)
        rows = [row, *(IDS.index(name) for name in beside)]
        self.rig = Rig(alone(pack.blob, *rows), start_ms=(1 << 30) - 3000)
        self.pack: Any = self.rig.pack
        level = level_codes(self.pack, self.signal)
        if level:
            self.codes, self.value, self.input = level
            self.set_code(self.edge(self.rule.release)[0])
        elif self.signal == P.PACK_UV:
            self.rig.cell(self.rule.release // self.pack.cells)
        self.rig.close()

    def edge(self, limit: int) -> tuple[int, int]:
        """Return the last code that is not past a limit and the next one, which is."""
        codes = self.codes
        if self.side > 0:
            k = first_above(codes, self.value, limit)
            return codes[k - 1], codes[k]
        k = first_above(codes, self.value, limit - 1)
        return codes[k], codes[k - 1]

    def set_code(self, code: int) -> None:
        setattr(self.rig, self.input, code)

    @property
    def crossed(self) -> bool:
        """Whether the signal is past the limit now."""
        return (self.rig.core.plausible.v[self.signal] - self.rule.limit) * self.side > 0

    @property
    def reacted(self) -> bool:
        if self.spec[R.LEVEL] == R.BURN:
            return self.rig.blown
        if self.spec[R.LEVEL] == R.TRIP:
            gates_open = path_open(self.rig.core.switch, self.spec[R.PATH])
            return gates_open and self.rig.acted(self.row)
        return self.rig.acted(self.row)

    def until(self, deadline_ms: int) -> int:
        """Tick until it reacts; return when. Fails past the deadline."""
        while not self.reacted:
            self.rig.tick()
            assert self.rig.now_ms <= deadline_ms, "later than promised"
        return self.rig.now_ms


Way = Callable[[Real], Iterator[bool]]


def ticks(count: int, past: bool = False) -> Iterator[bool]:
    """Yield so many times."""
    yield from [past] * count


def always() -> Iterator[bool]:
    """Yield that it is past the limit, until nobody asks any more."""
    while True:
        yield True


def _stack_uv(real: Real) -> Iterator[bool]:
    for by_uv in (-10_000, 20_000):
        real.rig.cell(real.rule.limit // real.pack.cells + real.side * by_uv)
        yield from ticks(40, by_uv > 0)
    yield from always()


def _charge_over(real: Real) -> Iterator[bool]:
    real.rig.temp(25.0)
    share_ppm = interp(real.pack.charge_derate_ppm, 25_000)
    most_ua = real.pack.charge_max_ma * share_ppm // 1000 + real.rule.limit
    for by_ua in (-50_000, 50_000):
        real.rig.current(most_ua + by_ua)
        yield from ticks(250, by_ua > 0)
    yield from always()


def _board(real: Real) -> Iterator[bool]:
    for by_c in (-1.0, 1.0):
        real.rig.die_c = real.rule.limit / 1000 + by_c
        yield from ticks(150, by_c > 0)
    yield from always()


def _short(real: Real) -> Iterator[bool]:
    yield from ticks(20)
    # Only a BQ76952 has this row.
    real.rig.current(round(-1.3e6 * real.file.front_end.short_a))  # type: ignore[union-attr]
    yield from always()


def _weld(real: Real) -> Iterator[bool]:
    # Over-voltage has opened the charge gate; what the load takes goes on.
    real.rig.cell(rule_of(real.name, IDS.index("cell_ov")).limit + 20_000)
    real.rig.current(-5 * real.pack.weld_ua)
    yield from ticks(60)
    assert real.rig.commanded == (0, 1)
    real.rig.current(real.pack.weld_ua * 9 // 10)
    yield from ticks(60)
    real.rig.current(real.pack.weld_ua * 3)
    yield from always()


def _leak(real: Real) -> Iterator[bool]:
    real.rig.tick(W.OPEN)
    for tenths in (-9, -30):
        real.rig.current(real.pack.weld_ua * tenths // 10)
        yield from ticks(40, tenths < -9)
    yield from always()


def _offset(real: Real) -> Iterator[bool]:
    real.rig.tick(W.OPEN)
    for tenths in (-9, -15):
        real.rig.current(real.rule.limit * tenths // 10)
        yield from ticks(100, tenths < -9)
    yield from always()


def _fet_open(real: Real) -> Iterator[bool]:
    yield from ticks(40)
    real.rig.out_v = 1.0
    yield from always()


def _held(key: str, by_uv: int) -> Way:
    # The chip's own limit opens its FET, the pin still asks for it.
    def way(real: Real) -> Iterator[bool]:
        limit_uv = round(1e6 * getattr(real.file.front_end, key))
        for past, uv in ((False, limit_uv - by_uv), (True, limit_uv + by_uv)):
            real.rig.cell(uv)
            yield from ticks(40, past)
        yield from always()

    return way


def _pre(real: Real) -> Iterator[bool]:
    rig = real.rig
    rig.tick(W.OPEN)
    rig.tick(W.CLOSE)
    yield from ticks(20)
    assert rig.core.switch.v[W.STATE] == W.ON
    rig.tick(W.OPEN)
    rig.out_v = 0.0  # what hangs there is never charged
    yield from ticks(5)
    rig.tick(W.CLOSE)
    yield from always()


def _spread_uv(real: Real) -> Iterator[bool]:
    for by_mv in (-3, 3):
        real.rig.cell_off = {2: real.rule.limit // 1000 + by_mv}
        yield from ticks(120, by_mv > 0)
    yield from always()


def _sag(real: Real) -> Iterator[bool]:
    yield from ticks(1300)
    # The mean falls a little, too.
    most_mv = real.rule.limit // 1000 * real.pack.cells // (real.pack.cells - 1)
    for by_mv in (-4, 4):
        real.rig.cell_off = {2: -most_mv - by_mv}
        yield from ticks(20, by_mv > 0)
    yield from always()


def _wire(real: Real) -> Iterator[bool]:
    for by_mv in (-3, 3):
        off_mv = real.rule.limit // 1000 + by_mv
        real.rig.cell_off = {1: off_mv, 2: -off_mv}
        yield from ticks(20, by_mv > 0)
    yield from always()


def _stack(real: Real) -> Iterator[bool]:
    stack_v = real.rig.cell_code * real.pack.cells / 1000
    for share in (0.8, 1.3):
        real.rig.chip.stack_offset_v = share * real.rule.limit * 1e-6 * stack_v
        yield from ticks(40, share > 1)
    yield from always()


def _odd(real: Real) -> Iterator[bool]:
    # Voltage swings, the current shows nothing.
    k = 0
    for swing_uv in (20_000, 120_000):
        for _ in range(200):
            k += 1
            real.rig.cell(3_600_000 + swing_uv * (k // 25 % 2))
            yield swing_uv > 20_000
    yield from always()


def _one_answers(way: int) -> Way:
    # A load steps and every cell answers, one of them by less or by more than it used to.
    def steps(real: Real) -> Iterator[bool]:
        limit = way * real.rule.limit / 1e6
        for share, past in ((0.0, 10), (limit - way * 0.05, 10), (limit + way * 0.08, 600)):
            for k in range(past):
                loaded = k % 2
                real.rig.current(-2 * real.pack.frozen_step_ua * loaded)
                real.rig.cell(3_800_000 - 200_000 * loaded)
                real.rig.cell_off = {2: -round(200 * share) * loaded}
                yield from ticks(60, way * (share - limit) > 0)

    return steps


def _all_answer(real: Real) -> Iterator[bool]:
    # A load steps and the cells answer as they did, but the current is read at another gain.
    uohm = interp(real.pack.r1s_uohm, 25_000)
    limit = real.rule.limit / 1e6
    for off, count in ((0.0, 60), (limit - 0.05, 10), (limit + 0.1, 600)):
        for k in range(count):
            answer_uv = 200_000 * (k % 2)
            real.rig.cell(3_800_000 - answer_uv)
            real.rig.current(-round(answer_uv * 1e6 / uohm / (1 + off)))
            yield from ticks(60, off > limit)


def _spread_mdegc(real: Real) -> Iterator[bool]:
    for by in (-3, 3):
        real.rig.temp_off = {1: real.rule.limit // 100 + by}
        yield from ticks(30, by > 0)
    yield from always()


def _hot(real: Real) -> Iterator[bool]:
    for by_c in (-0.5, 0.5):
        real.rig.temp(real.rule.limit / 1000 + by_c)
        yield from ticks(150, by_c > 0)
    yield from always()


def _rise(real: Real) -> Iterator[bool]:
    temp_c = 25.0
    for rate in (0.03, 1.5 * real.rule.limit * 1e-6 + 0.05):
        for _ in range(400):
            temp_c += rate * real.pack.tick_ms / 1000
            real.rig.temp(temp_c)
            yield rate > 0.03
    yield from always()


def _stuck(real: Real) -> Iterator[bool]:
    # The cells make heat; the sensors feel it, then, after a rest, they do not.
    rig = real.rig
    rig.late_ms = SLOW_MS
    for k in range(150):
        rig.current(-900 * real.pack.discharge_max_ma)
        rig.temp(25.0 + 0.1 * k)
        yield False
    rig.current(0)
    yield from ticks(300)
    rig.current(-900 * real.pack.discharge_max_ma)
    yield from always()


def _charge_time(real: Real) -> Iterator[bool]:
    real.rig.late_ms = SLOW_MS
    real.rig.current(3 * real.pack.charger_ua)
    yield from ticks(20)
    # Hours are more than a test has time for.
    real.rig.core.plausible.v[P.CHARGE_TIME_MS] += real.rule.limit - 15_000
    yield from always()


def _overcharge(real: Real) -> Iterator[bool]:
    real.rig.late_ms = SLOW_MS
    real.rig.cell(real.pack.full_uv + 5_000)
    real.rig.current((real.pack.charger_ua + real.pack.taper_ua) // 2)
    yield from ticks(60)  # full after 30 of them
    yield from always()


def _clock(real: Real) -> Iterator[bool]:
    for fast in (1.02, 1.12):
        real.rig.fast = fast
        yield from ticks(600, fast > 1.02)
    yield from always()


def _config(real: Real) -> Iterator[bool]:
    yield from ticks(150)
    real.pack.cell_ocv_uv[0] ^= 1 << 7
    yield from always()


def _nack(real: Real) -> Iterator[bool]:
    yield from ticks(20)
    real.rig.nack = True
    yield from always()


def _cut_sensor(real: Real) -> Iterator[bool]:
    yield from ticks(20)
    real.rig.temp_code, real.rig.ntc_code = 0, 65535
    yield from always()


def _freeze(real: Real) -> Iterator[bool]:
    rig = real.rig
    yield from ticks(20)
    rig.chip.frozen = {"cells"} if rig.bq else {"vbus"}
    rig.current(-2 * real.pack.frozen_step_ua)
    yield from always()


def _late(real: Real) -> Iterator[bool]:
    yield from ticks(20)
    real.rig.late_ms = real.rule.limit + 1
    yield from always()


def _drop(real: Real) -> Iterator[bool]:
    yield from ticks(20)
    real.rig.held = True
    yield from always()


def _lose(real: Real) -> Iterator[bool]:
    def fail(*_: object) -> None:
        raise RuntimeError("asked for by the test")

    yield from ticks(20)
    setattr(real.rig.core.soc, "step", fail)  # noqa: B010 - not what the type says
    yield from always()


WAYS: dict[int, Way] = {
    P.PACK_UV: _stack_uv, P.CHARGE_OVER_UA: _charge_over, P.BOARD_MDEGC: _board, P.SHORTS: _short,
    P.WELD_MS: _weld, P.LEAK_MS: _leak, P.OFFSET_UA: _offset, P.FET_OPEN_MS: _fet_open,
    P.CHG_HELD_MS: _held("over_v", 60_000), P.DSG_HELD_MS: _held("under_v", -60_000),
    P.PRE_MS: _pre,
    P.SPREAD_UV: _spread_uv, P.SAG_UV: _sag, P.WIRE_UV: _wire, P.STACK_PPM: _stack,
    P.ODD_STEPS: _odd, P.R_LOW_PPM: _one_answers(-1), P.R_HIGH_PPM: _one_answers(1),
    P.ANSWER_PPM: _all_answer,
    P.SPREAD_MDEGC: _spread_mdegc, P.HOT_MDEGC: _hot, P.RISE_UDEGPS: _rise,
    P.STUCK_MDEGC: _stuck, P.CHARGE_TIME_MS: _charge_time, P.OVERCHARGE_MS: _overcharge,
    P.CLOCK_PPM: _clock, P.CONFIG_BAD: _config, P.FE_LOST_MS: _nack, P.FE_UNSTEADY_MS: _nack,
    P.TEMP_LOST_MS: _cut_sensor, P.FROZEN_MS: _freeze, P.OVERRUN_MS: _late,
    P.GATES_DROPPED: _drop, P.FEATURES_LOST: _lose,
}  # fmt: skip
BESIDE = {P.WELD_MS: ("cell_ov",)}


@each_row
def test_every_row_acts_as_promised_and_not_before(name: str, row: int):
    signal = R.ROWS[row][R.SIGNAL]
    way = WAYS.get(signal)
    if way is None:
        assert level_codes(read(compiled(name).blob), signal), "no way to bring it about"
        return  # the next test is for it
    real = Real(name, row, *BESIDE.get(signal, ()))
    rig, rule = real.rig, real.rule
    crossed_ms = before_ms = None
    for past in way(real):
        before_ms = rig.now_ms
        rig.tick()
        if not past:
            assert not real.crossed and rig.phase(row) == CLEAR, rig.core.plausible.v[signal]
            continue
        if crossed_ms is None and real.crossed:
            crossed_ms = rig.now_ms
        if real.reacted:
            break
        assert rig.now_ms < 2_000_000, "never"
    assert crossed_ms is not None and before_ms is not None
    took_ms = rig.now_ms - crossed_ms
    assert rule.delay_ms + rule.shed_ms <= took_ms + 1
    assert took_ms <= rule.delay_ms + rule.shed_ms + 2 * (rig.now_ms - before_ms)


@each_row
def test_one_lsb_decides(name: str, row: int):
    if level_codes(read(compiled(name).blob), R.ROWS[row][R.SIGNAL]) is None:
        return  # the test before is for these
    real = Real(name, row)
    below, beyond = real.edge(real.rule.limit)
    real.set_code(below)
    end_ms = real.rig.now_ms + real.promise_ms + 500
    while real.rig.now_ms < end_ms:
        real.rig.tick()
        assert real.rig.phase(row) == CLEAR
    real.set_code(beyond)
    start_ms = real.rig.now_ms
    took_ms = real.until(start_ms + real.promise_ms) - start_ms
    assert took_ms >= real.rule.delay_ms + real.rule.shed_ms
