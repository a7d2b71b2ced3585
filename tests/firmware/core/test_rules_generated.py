"""Every row of the table on every pack that has it: a new row is tested as it stands.

Each row is alone in its pack (`support.packs.alone`): what others do at the same time is the
business of test_anything. All here write the signal, so that they hold for a signal nobody has
thought of yet; test_rules_by_register goes through driver, chip and loop.
"""

from __future__ import annotations

from typing import Any

import pytest
from bms.core import frame as F
from bms.core import plausible as P
from bms.core import rules as R
from bms.core import switch as W
from bms.core.protect import ACTED, CLEAR, NO_SHED, RELEASING
from hypothesis import given, settings
from hypothesis import strategies as st
from support.packs import alone, compiled, read
from support.rig import ALL_TRUSTED, Bench, path_open
from support.rows import IDS, each_row, rule_of

MADE = ALL_TRUSTED & ~sum(1 << s for s in P.READINGS)  # signals that the firmware makes itself


# What each recovery needs; the others must not do.
STIMULI = ("nothing", "charger", "load gone", "clear")
RECOVERS_BY = {
    R.SELF: STIMULI,
    R.CHARGER: ("charger",),
    R.LOAD_GONE: ("load gone", "clear"),
    R.HAND: ("clear",),
}


class Case:
    """One row, alone in its pack, gates closed, its signal inside the release."""

    def __init__(self, name: str, row: int, closed: bool = True) -> None:
        pack = compiled(name)
        self.row = row
        self.rule = rule_of(name, row)
        self.tick_ms = pack.file.tick_ms
        self.promise_ms = self.rule.promise_ms(self.tick_ms)
        self.pack: Any = alone(pack.blob, row)
        spec = self.rule.row
        self.side, self.path, self.signal = spec[R.SIDE], spec[R.PATH], spec[R.SIGNAL]
        self.trips = spec[R.LEVEL] == R.TRIP
        self.burns = spec[R.LEVEL] == R.BURN
        self.sheds = spec[R.SHED] == R.SHEDS
        self.recovery = spec[R.RECOVERY]
        self.bench = Bench(self.pack)
        self.put(self.rule.release)
        if closed:
            self.bench.close()

    def put(self, value: int) -> None:
        self.bench.sig[self.signal] = value

    @property
    def beyond(self) -> int:
        return self.rule.limit + self.side

    @property
    def gate_open(self) -> bool:
        return path_open(self.bench.switch, self.path)

    @property
    def reacted(self) -> bool:
        if self.burns:
            return bool(self.bench.switch.v[W.FUSE])
        return self.gate_open if self.trips else self.bench.acted(self.row)

    def doubt(self) -> bool:
        """Let the signal be untrusted; return whether that can be."""
        self.bench.sig[P.TRUST] = MADE
        return self.signal in P.READINGS

    def trip(self) -> int:
        """Cross the limit and run until the reaction; return how long it took."""
        start_ms = self.bench.now_ms
        self.put(self.beyond)
        while not self.reacted:
            self.bench.tick()
            assert self.bench.now_ms - start_ms <= self.promise_ms, "later than promised"
        return self.bench.now_ms - start_ms

    def recover(self, stimulus: str, span_ms: int, value: int) -> int | None:
        """Hold a value and a stimulus; return when the row became clear, None if it did not."""
        bench = self.bench
        self.put(value)
        if stimulus == "charger":
            bench.sig[P.CHARGE_UA] = self.pack.charger_ua + 1
        if stimulus == "load gone":
            bench.flags |= F.LOAD_GONE
        start_ms = bench.now_ms
        while bench.now_ms - start_ms < span_ms:
            bench.tick(W.CLEAR if stimulus == "clear" else W.NONE)
            if bench.phase(self.row) == CLEAR:
                return bench.now_ms - start_ms
        return None


@each_row
def test_row_fits_the_table(name: str, row: int):
    spec = R.ROWS[row]
    assert IDS.count(spec[R.ID]) == 1
    assert len(spec) == R.SHED + 1
    assert 0 <= spec[R.SIGNAL] < P.SIGNALS
    assert spec[R.SIDE] in (R.ABOVE, R.BELOW)
    assert spec[R.LEVEL] in range(len(R.LEVELS))
    assert spec[R.PATH] in range(1, len(R.PATHS))
    assert spec[R.RECOVERY] in RECOVERS_BY
    assert spec[R.WHEN] in (R.ALWAYS, R.CLOSED)
    assert spec[R.UNTRUSTED] in (R.HOLD, R.CROSSED)
    assert spec[R.SHED] == R.CUT or spec[R.LEVEL] == R.TRIP, "only a trip can be announced"
    rule = rule_of(name, row)
    numbers = rule.limit, rule.release, rule.delay_ms, rule.shed_ms
    assert tuple(read(compiled(name).blob).rule(row)) == numbers


@each_row
def test_at_its_limit_nothing_happens_by_signal(name: str, row: int):
    case = Case(name, row)
    case.put(case.rule.limit)
    case.bench.ticks(case.promise_ms + 1000)
    assert case.bench.phase(row) == CLEAR
    assert case.bench.switch.v[W.STATE] == W.ON


@each_row
def test_acts_between_its_delay_and_its_promise_by_signal(name: str, row: int):
    case = Case(name, row)
    took_ms = case.trip()
    # The tick that first sees the crossing comes one tick after it here, at best right with it.
    assert took_ms - case.tick_ms >= case.rule.delay_ms + case.rule.shed_ms
    assert case.bench.acted(row)
    if case.trips:
        other = (R.CHARGE | R.DISCHARGE) & ~case.path
        assert not path_open(case.bench.switch, other) or not other, "the other path stays"
        assert case.bench.protect.blocked == case.path
    else:
        assert case.bench.protect.blocked == 0
        assert case.bench.switch.v[W.STATE] == W.ON
    assert case.bench.protect.burn == case.burns == case.bench.switch.v[W.FUSE]
    assert case.bench.protect.warned == (R.ROWS[row][R.LEVEL] == R.WARN)


@each_row
def test_one_tick_short_of_its_delay_it_starts_again(name: str, row: int):
    case = Case(name, row)
    for _ in range(3):
        case.put(case.beyond)
        seen_ms = 0
        while seen_ms < case.rule.delay_ms:  # this many ms after the tick that saw it
            case.bench.tick()
            assert not case.bench.acted(row)
            seen_ms += case.tick_ms
        case.put(case.rule.limit)
        case.bench.tick()
        while IDS[row] in R.RUN_BACK and case.bench.phase(row) != CLEAR:
            case.bench.tick()
        assert case.bench.phase(row) == CLEAR


@each_row
def test_what_is_chopped_adds_up_where_the_delay_runs_back(name: str, row: int):
    """Past the limit for `on` ticks of every `on` + `off`."""
    case = Case(name, row)
    ticks = case.rule.delay_ms // case.tick_ms
    if ticks < 8:
        return  # a part of it is not much of a delay
    for on, off in ((ticks // 2, ticks), (ticks // 2, ticks // 2)):
        case = Case(name, row)
        for _ in range(5):
            for value, count in ((case.beyond, on), (case.rule.limit, off)):
                case.put(value)
                for _ in range(count):
                    case.bench.tick()
        # More than a third of the time, and not more.
        assert case.bench.acted(row) == (IDS[row] in R.RUN_BACK and off < ticks)


@each_row
def test_a_shed_is_announced_and_ends_with_the_acknowledgement(name: str, row: int):
    case = Case(name, row)
    if not case.sheds:
        case.trip()
        assert case.bench.protect.shed_left_ms == NO_SHED
        return
    case.put(case.beyond)
    while not case.bench.acted(row):
        case.bench.tick()
    left_ms = case.bench.protect.shed_left_ms
    assert 0 < case.rule.shed_ms - case.tick_ms < left_ms <= case.rule.shed_ms
    assert case.bench.protect.warned
    assert case.bench.switch.v[W.STATE] == W.SHEDDING
    assert not case.gate_open
    case.bench.tick()
    assert case.bench.protect.shed_left_ms == left_ms - case.tick_ms
    assert not case.gate_open
    case.bench.tick(W.ACK)
    assert case.gate_open
    case.bench.ticks(1000)
    assert case.gate_open


@each_row
def test_one_unit_decides_whether_it_releases(name: str, row: int):
    case = Case(name, row)
    case.put(case.beyond)
    while not case.bench.acted(row):
        case.bench.tick()
    # Gates that it opened at once would end the watch of a row watched while closed.
    if R.ROWS[row][R.WHEN] == R.CLOSED and not case.bench.switch.closed():
        return
    for value, phase in ((0, RELEASING), (1, ACTED), (0, RELEASING)):
        case.put(case.rule.release + value * case.side)
        case.bench.tick()
        assert case.bench.phase(row) == phase


@each_row
def test_with_gates_open_it_acts_without_a_shed_or_is_not_watched(name: str, row: int):
    case = Case(name, row, closed=False)
    case.put(case.beyond)
    case.bench.ticks(case.rule.delay_ms + 3 * case.pack.idle_tick_ms)
    watched = R.ROWS[row][R.WHEN] == R.ALWAYS
    assert case.bench.acted(row) == watched
    assert case.bench.protect.blocked == (case.path if watched and case.trips else 0)


@each_row
def test_a_row_watched_while_closed_recovers_open(name: str, row: int):
    case = Case(name, row)
    case.trip()
    case.bench.tick(W.OPEN)
    at_once = R.ROWS[row][R.WHEN] == R.CLOSED
    case.bench.tick()
    assert (case.bench.phase(row) == RELEASING) == at_once


@each_row
@pytest.mark.parametrize("stimulus", STIMULI)
def test_recovers_as_its_row_says(name: str, row: int, stimulus: str):
    case = Case(name, row)
    if stimulus == "charger" and case.signal == P.CHARGE_UA:
        pytest.skip("the row watches the charge current itself")
    case.trip()
    recover_ms = case.pack.recover_ms
    idle_ms = case.pack.idle_tick_ms
    if R.ROWS[row][R.WHEN] == R.ALWAYS:
        # Outside the release, be it by one unit, nothing helps.
        outside = case.rule.release + case.side
        assert case.recover(stimulus, 3 * recover_ms, outside) is None
    took_ms = case.recover(stimulus, 3 * recover_ms, case.rule.release)
    if stimulus not in RECOVERS_BY[case.recovery]:
        assert took_ms is None
        assert case.bench.acted(row)
        assert case.gate_open or not case.trips
        return
    assert took_ms is not None
    assert took_ms <= recover_ms + 2 * idle_ms
    if R.ROWS[row][R.WHEN] == R.ALWAYS:
        assert took_ms >= recover_ms
    latched = case.sheds or case.recovery >= R.LOAD_GONE
    case.bench.ticks(1000)
    if case.trips and case.path & R.DISCHARGE and latched:
        assert case.gate_open, "cut or wants a person: stays open until asked"
        case.bench.tick(W.CLOSE)
        case.bench.ticks(100)
    assert case.bench.switch.v[W.FUSE] == case.burns, "it stays blown"
    assert case.bench.switch.v[W.STATE] == W.ON
    assert case.bench.switch.v[W.CHG_ON] and case.bench.switch.v[W.DSG_ON]


@each_row
def test_charger_current_must_exceed_the_threshold(name: str, row: int):
    case = Case(name, row)
    if case.recovery != R.CHARGER:
        return
    case.trip()
    case.bench.sig[P.CHARGE_UA] = case.pack.charger_ua
    assert case.recover("nothing", 3 * case.pack.recover_ms, case.rule.release) is None
    case.bench.sig[P.CHARGE_UA] = case.pack.charger_ua + 1
    case.bench.sig[P.TRUST] &= ~(1 << P.CHARGE_UA)
    assert case.recover("nothing", 1000, case.rule.release) is None


@each_row
def test_clear_must_come_after_the_wait(name: str, row: int):
    case = Case(name, row)
    if case.recovery not in (R.HAND, R.LOAD_GONE):
        return
    case.trip()
    case.put(case.rule.release)
    case.bench.tick(W.CLEAR)
    assert case.recover("nothing", 3 * case.pack.recover_ms, case.rule.release) is None
    case.bench.tick(W.CLEAR)
    assert case.bench.phase(row) == CLEAR


@each_row
def test_an_untrusted_signal_does_as_the_row_says(name: str, row: int):
    case = Case(name, row)
    crossed = R.ROWS[row][R.UNTRUSTED] == R.CROSSED or not case.doubt()
    case.put(case.beyond)  # a reading that is not believed does not start a row
    case.bench.ticks(case.rule.delay_ms + case.rule.shed_ms + 500)
    assert case.bench.acted(row) == crossed


@each_row
def test_what_was_pending_goes_on_untrusted_and_what_acted_stays(name: str, row: int):
    case = Case(name, row)
    case.put(case.beyond)
    case.bench.tick()
    if not case.doubt():
        return
    case.put(case.rule.release)
    case.bench.ticks(case.rule.delay_ms + case.rule.shed_ms + case.tick_ms)
    assert case.reacted
    span_ms = 3 * case.pack.recover_ms
    assert case.recover("clear", span_ms, case.rule.release) is None


@each_row
def test_crossing_back_and_forth_never_chatters(name: str, row: int):
    case = Case(name, row)
    ticks = st.integers(1, 40)
    inside_max = -(-case.pack.recover_ms // case.tick_ms)  # one tick less than recovers

    @settings(max_examples=8)
    @given(st.lists(st.tuples(st.sampled_from("bloi"), ticks), min_size=1, max_size=20))
    def swing(moves: list[tuple[str, int]]) -> None:
        case = Case(name, row)
        bench = case.bench
        where = {
            "b": case.beyond,
            "l": case.rule.limit,
            "o": case.rule.release + case.side,  # outside the release, by one unit
            "i": case.rule.release,
        }
        case.trip()
        inside = entries = closings = 0
        was_acted, was_open = True, case.gate_open
        for place, count in moves:
            case.put(where[place])
            for _ in range(count):
                beyond_release = (where[place] - case.rule.release) * case.side > 0
                inside = 0 if beyond_release else inside + 1
                if not was_acted or inside > inside_max or not bench.switch.closed():
                    case.put(case.beyond)
                    inside = 0
                bench.tick(W.CLEAR)
                entries += bench.acted(row) and not was_acted
                closings += was_open and not case.gate_open
                was_acted, was_open = bench.acted(row), case.gate_open
        assert (entries, closings) == (0, 0)

    swing()


@each_row
def test_swinging_round_the_limit_acts_once_at_most(name: str, row: int):
    case = Case(name, row)
    entries = 0
    for k in range(400):
        was = case.bench.acted(row)
        case.put(case.beyond if k % 2 else case.rule.limit)
        case.bench.tick()
        entries += case.bench.acted(row) and not was
    at_once = case.rule.delay_ms == 0 and case.rule.limit != case.rule.release
    assert entries <= 1
    assert entries == 1 or not at_once
