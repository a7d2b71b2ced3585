"""The loop on a board of plain Python: order, failures, requests, and the period."""

from itertools import pairwise
from typing import Any

import pytest
from bms.core import frame as F
from bms.core.pack import Pack
from bms.core.rules import ID, ROWS
from bms.core.status import FIELDS
from bms.core.switch import (
    ACK,
    BOOT,
    CHG_ON,
    CLEAR,
    CLOSE,
    DSG_ON,
    OFF,
    ON,
    OPEN,
    SHEDDING,
    SHIP,
    STATE,
    STORE,
    TRIPPED,
)
from bms.links.record import Record
from bms.loop import Bms
from bms.mailbox import Mailbox
from solidbms.packc import compile_pack

TICKS_MAX = (1 << 30) - 1
GOOD = F.VOLT_OK | F.CURRENT_OK | F.CHARGE_OK | F.CHIP_OK | F.TEMP_OK


@pytest.fixture(scope="module")
def pack() -> Pack:
    return Pack(compile_pack("bench_1s").blob)


class Sensor:
    """A driver that reads what it is told, or raises."""

    def __init__(self):
        self.flags = GOOD
        self.uv, self.ua, self.mdegc = 3_700_000, 0, 25_000
        self.error: BaseException | None = None

    def read(self, frame):
        if self.error is not None:
            raise self.error
        v = frame.v
        v[F.FLAGS] |= self.flags
        v[F.PACK_UV] = v[F.CELL0] = self.uv
        v[F.CURRENT_UA] = self.ua
        v[frame.temp0] = self.mdegc


class Gates:
    def __init__(self, board):
        self.board = board
        self.error: BaseException | None = None

    def dropped(self):
        return self.board.held

    def set(self, chg_on, dsg_on):
        self.board.log.append("gates")
        self.board.commands.append((chg_on, dsg_on))
        if self.error is not None and chg_on | dsg_on:
            raise self.error


class Board:
    """Writes down what the loop does; every hook can be made to raise or to take time."""

    def __init__(self, start_ms=0, saved=(-1, -1)):
        self.log = []
        self.commands = []
        self.wakes = []
        self.failures: list[Exception] = []
        self.records = 0
        self.now = start_ms
        self.late_ms = 0
        self.work_ms = 0
        self.asks = []  # requests that arrive during the next sleeps
        self.record_error: Exception | None = None
        self.held = False
        self.flags = F.CODE_OK | F.PINS_OK
        self._saved = saved
        self.sensor = Sensor()
        self.gates = Gates(self)

    def drivers(self, pack):
        return [self.sensor]

    def ticks_ms(self):
        return self.now

    def saved(self):
        return self._saved

    def tested(self):
        return self.flags

    def links(self, bms):
        return [Record(bms.core, self.record)]

    def ticked(self):
        pass

    def pump(self):
        self.log.append("pump")

    def record(self, parts, digest):
        self.log.append("record")
        self.records += 1
        if self.record_error is not None:
            raise self.record_error

    def failed(self, error):
        self.failures.append(error)

    def sleep_until(self, t_ms, mailbox):
        self.log.append("sleep")
        self.wakes.append(t_ms)
        if self.asks:
            mailbox.put(self.asks.pop(0), 0, self.now)
        if (t_ms - self.now) & TICKS_MAX < 1 << 29:  # not in the past
            self.now = t_ms
        self.now = (self.now + self.late_ms + self.work_ms) & TICKS_MAX
        return True


def started(pack, **key) -> tuple[Any, Any]:
    """A loop past its boot test and closed."""
    board: Any = Board(**key)
    bms = Bms(board, pack)
    for _ in range(6):
        bms.cycle()
    assert state(bms) == OFF
    board.asks = [CLOSE]
    bms.cycle()
    bms.cycle()
    assert state(bms) == ON
    return board, bms


def state(bms):
    return bms.core.switch.v[STATE]


def gates(bms):
    return bms.core.switch.v[CHG_ON], bms.core.switch.v[DSG_ON]


def phase(bms, rule):
    r = [row[ID] for row in ROWS].index(rule)
    return bms.core.rules.v[3 * r]


# One tick.


def test_one_tick_in_order(pack):
    board: Any = Board()
    Bms(board, pack).cycle()
    assert board.log == ["gates", "record", "sleep"]


def test_runs_until_the_board_says_stop(pack):
    board: Any = Board()
    left = iter([True, True, True, False])
    board.sleep_until = lambda t_ms, mailbox: next(left)
    Bms(board, pack).run()
    assert board.records == 4


def test_boot_takes_five_good_frames_in_a_row(pack):
    board: Any = Board()
    bms = Bms(board, pack)
    good = board.sensor.flags
    for flags in (good, good, 0, *[good] * 5):
        assert state(bms) == BOOT
        board.sensor.flags = flags
        bms.cycle()
    assert state(bms) == OFF


def test_one_closed_gate_is_closed(pack):
    board, bms = started(pack)
    for chg_on, dsg_on in ((1, 0), (0, 1), (1, 1)):
        bms.core.switch.v[CHG_ON], bms.core.switch.v[DSG_ON] = chg_on, dsg_on
        assert bms.core.switch.closed()
    board.sensor.uv = 4_250_000  # charge opens, discharge goes on, and so does the fast tick
    for _ in range(40):
        bms.cycle()
    assert gates(bms) == (0, 1)
    assert board.wakes[-1] - board.wakes[-2] == pack.tick_ms


def test_boots_off_and_stays_off(pack):
    board: Any = Board()
    bms = Bms(board, pack)
    for _ in range(100):
        bms.cycle()
    assert state(bms) == OFF
    assert set(board.commands) == {(0, 0)}


@pytest.mark.parametrize("failed", [F.CODE_OK, F.PINS_OK])
def test_a_board_that_failed_its_test_never_boots(pack, failed):
    board: Any = Board()
    board.flags &= ~failed
    bms = Bms(board, pack)
    board.asks = [CLOSE] * 100
    for _ in range(100):
        bms.cycle()
    assert state(bms) == BOOT
    assert set(board.commands) == {(0, 0)}


def test_saved_soc_reaches_the_estimate(pack):
    bms = Bms(Board(saved=(640_000, 30_000)), pack)
    bms.cycle()
    f = bms.core.frame.v
    assert (f[F.SAVED_SOC_PPM], f[F.SAVED_BOUND_PPM]) == (640_000, 30_000)
    assert bms.core.soc.v[0] == 640_000


def test_charge_and_flags_do_not_outlive_their_frame(pack):
    board, bms = started(pack)
    bms.core.frame.v[F.CHARGE_UAS] = 77
    board.sensor.flags = 0
    bms.cycle()
    assert bms.core.frame.v[F.CHARGE_UAS] == 0
    assert bms.core.frame.v[F.FLAGS] == F.CODE_OK | F.PINS_OK


def test_the_frame_carries_the_time_of_its_readings(pack):
    board: Any = Board(start_ms=12345)
    bms = Bms(board, pack)
    bms.cycle()
    assert bms.core.frame.v[F.T_MS] == 12345
    bms.cycle()
    assert bms.core.frame.v[F.T_MS] == board.wakes[0]


# Failures.


@pytest.mark.parametrize(
    "error", [ValueError("x"), MemoryError(), KeyboardInterrupt(), SystemExit()]
)
def test_exception_before_the_gates_opens_them_and_rises(pack, error):
    board, bms = started(pack)
    assert board.commands[-1] == (1, 1)
    board.sensor.error = error
    with pytest.raises(type(error)):
        bms.cycle()
    assert board.commands[-1] == (0, 0)


def test_exception_in_setting_the_gates_opens_them_and_rises(pack):
    board, bms = started(pack)
    board.gates.error = RuntimeError("half set")
    with pytest.raises(RuntimeError):
        bms.cycle()
    assert board.commands[-1] == (0, 0)


@pytest.mark.parametrize("where", ["core", "mailbox"])
def test_exception_in_the_logic_opens_the_gates(pack, where):
    board, bms = started(pack)

    def fail(*_):
        raise ArithmeticError

    if where == "core":
        bms.core.switch.step = fail
    else:
        bms.mailbox.take = fail
    with pytest.raises(ArithmeticError):
        bms.cycle()
    assert board.commands[-1] == (0, 0)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), RuntimeError()])
def test_whoever_leaves_the_loop_leaves_the_gates_open(pack, error):
    # In the slack too: nobody watches a pack whose loop has ended.
    board, bms = started(pack)

    def leave(t_ms, mailbox):
        raise error

    board.sleep_until = leave
    with pytest.raises(type(error)):
        bms.run()
    assert board.commands[-1] == (0, 0)


def breaks(bms, error):
    """Make the estimate raise; return a function that heals it."""
    estimate = bms.core.estimate

    def fail():
        raise error

    bms.core.estimate = fail
    return lambda: setattr(bms.core, "estimate", estimate)


def test_a_lost_estimate_sheds_and_never_drops(pack):
    board, bms = started(pack)
    error = OSError(28)
    breaks(bms, error)
    bms.cycle()  # fails after the gates were set
    assert board.commands[-1] == (1, 1)
    assert board.failures == [error]
    bms.cycle()
    assert phase(bms, "feature_lost") == 2
    assert state(bms) == SHEDDING
    assert board.commands[-1] == (1, 1)
    began = board.now
    while board.commands[-1] == (1, 1):
        bms.cycle()
    assert 10_000 - 150 <= board.now - began <= 10_000 + 300  # the last sleep is idle
    assert state(bms) == TRIPPED
    assert board.failures == [error]  # told once, not a tick


def test_gates_opened_by_an_error_wait_for_a_person(pack):
    board, bms = started(pack)
    board.sensor.error = RuntimeError("once")
    with pytest.raises(RuntimeError):
        bms.step()
        board.now += 50
        bms.step()
    board.sensor.error = None
    board.commands.clear()
    for _ in range(100):
        bms.cycle()
    assert set(board.commands) == {(0, 0)}
    assert state(bms) == TRIPPED
    board.asks = [CLEAR, CLOSE]
    for _ in range(4):
        bms.cycle()
    assert state(bms) == ON


def test_a_program_that_ends_warns_and_sheds(pack):
    board, bms = started(pack)
    bms.lose("the program has ended")
    for _ in range(3):
        bms.cycle()
    assert state(bms) == SHEDDING and gates(bms) == (1, 1)
    assert board.failures == ["the program has ended"]


def test_step_looks_at_the_links_between_ticks(pack):
    board, bms = started(pack)
    bms.step()
    board.log.clear()
    wait_ms = bms.step()
    assert 0 < wait_ms <= 50 and board.log == ["pump"]


@pytest.mark.parametrize("code, arg", [(0, 0), (6, 0), ("close", 0), (CLOSE, 1 << 30)])
def test_a_request_that_would_stop_a_tick_is_refused(code, arg):
    box = Mailbox()
    with pytest.raises(ValueError, match="31 bits are valid"):
        box.put(code, arg, 0)
    box.put(CLOSE, 0, 1 << 31)
    assert (box.seq, box.t_ms) == (1, 0)


def test_status_goes_on_when_a_feature_is_lost(pack):
    board, bms = started(pack)

    def broken(*_: object) -> None:
        raise RuntimeError("asked for by the test")

    bms.core.soc.step = broken
    before = bms.core.status.v[0]
    for _ in range(3):
        bms.cycle()
    assert len(board.failures) == 1
    named = dict(zip(FIELDS, bms.core.status.v, strict=True))
    assert named["t_ms"] == bms.core.frame.v[F.T_MS] > before
    assert named["state"] == SHEDDING and 0 < named["shed_left_ms"] < 10_000


def test_a_lost_estimate_stays_lost_until_a_person_clears_it(pack):
    board, bms = started(pack)
    heal = breaks(bms, OSError(28))
    bms.cycle()
    heal()
    for _ in range(100):
        bms.cycle()
    assert bms.core.frame.v[F.FLAGS] & F.FEATURE_LOST
    board.asks = [CLEAR]
    for _ in range(3):
        bms.cycle()
    assert not bms.core.frame.v[F.FLAGS] & F.FEATURE_LOST
    assert len(board.failures) == 1


def test_what_is_still_broken_after_a_clear_is_lost_again(pack):
    board, bms = started(pack)
    breaks(bms, OSError(28))
    bms.cycle()
    board.asks = [CLEAR]
    for _ in range(5):
        bms.cycle()
    assert len(board.failures) == 2
    assert bms.core.frame.v[F.FLAGS] & F.FEATURE_LOST


def test_a_lost_record_is_told_once_and_costs_nothing_else(pack):
    board, bms = started(pack)
    board.record_error = OSError(28)
    records = board.records
    for _ in range(300):
        bms.cycle()
    assert board.records == records + 1
    assert board.failures == [board.record_error]
    assert state(bms) == ON and gates(bms) == (1, 1)
    assert not bms.core.frame.v[F.FLAGS] & F.FEATURE_LOST


def test_the_load_may_end_the_shed_early(pack):
    board, bms = started(pack)
    breaks(bms, OSError(28))
    for _ in range(3):
        bms.cycle()
    assert gates(bms) == (1, 1)
    board.asks = [ACK]
    bms.cycle()
    bms.cycle()
    assert gates(bms) == (0, 0)


def test_heap_is_unlocked_again_however_the_tick_ends(pack, monkeypatch):
    from bms import loop

    depth = []
    monkeypatch.setattr(loop, "heap_lock", lambda: depth.append(1))
    monkeypatch.setattr(loop, "heap_unlock", depth.pop)
    board: Any = Board()
    bms = Bms(board, pack)
    read, sleep = board.sensor.read, board.sleep_until
    seen = []
    board.sensor.read = lambda frame: (seen.append(("read", len(depth))), read(frame))
    board.gates.set = lambda chg, dsg: seen.append(("gates", len(depth)))
    board.sleep_until = lambda t, m: (seen.append(("sleep", len(depth))), sleep(t, m))[1]
    bms.cycle()
    assert seen == [("read", 1), ("gates", 1), ("sleep", 0)]
    board.sensor.read = lambda frame: 1 // 0
    with pytest.raises(ZeroDivisionError):
        bms.cycle()
    assert not depth


def test_garbage_is_collected_in_the_slack_alone(pack, monkeypatch):
    from bms import loop

    board: Any = Board()
    monkeypatch.setattr(loop, "collect", lambda: board.log.append("collect"))
    bms = Bms(board, pack)
    for _ in range(40):
        bms.cycle()
    assert board.log.count("collect") == 2
    for k, word in enumerate(board.log):
        if word == "collect":
            assert board.log[k - 1 : k + 2] == ["record", "collect", "sleep"]


# Requests.


@pytest.mark.parametrize("first", [OPEN, CLOSE, CLEAR, ACK, STORE])
def test_an_open_not_yet_taken_stays(first):
    box = Mailbox()
    box.put(first, 0, 0)
    box.put(OPEN, 0, 5)
    box.put(CLOSE, 0, 6)
    frame = taken(box, 7)
    assert frame[F.REQ_CODE] == OPEN


def taken(box, now_ms):
    from bms.core.frame import Frame

    frame = Frame(1, 1)
    box.take(frame, now_ms)
    return frame.v


def test_a_request_that_was_taken_can_be_replaced():
    box = Mailbox()
    box.put(OPEN, 0, 0)
    first = taken(box, 0)
    box.put(CLOSE, 9, 0x3FFFFFF0)
    second = taken(box, 0x10)
    assert second[F.REQ_CODE] == CLOSE and second[F.REQ_ARG] == 9
    assert second[F.REQ_SEQ] != first[F.REQ_SEQ]
    assert second[F.REQ_AGE_MS] == 0x20  # across the wrap


def test_sequence_wraps_within_31_bits():
    box = Mailbox()
    box.seq = TICKS_MAX
    box.put(CLOSE, 0, 0)
    assert box.seq == 0


def test_open_wins_over_a_close_of_the_same_slack(pack):
    board, bms = started(pack)
    for order in ([OPEN, CLOSE], [CLOSE, OPEN]):
        for code in order:
            bms.mailbox.put(code, 0, board.now)
        bms.cycle()
        assert state(bms) == OFF and gates(bms) == (0, 0)


@pytest.mark.parametrize("age_ms, acts", [(0, True), (2000, True),
                                          (2001, False), (-1, False)])  # fmt: skip
def test_a_close_expires(pack, age_ms, acts):
    board: Any = Board(start_ms=100)
    bms = Bms(board, pack)
    for _ in range(6):
        bms.cycle()
    bms.mailbox.put(CLOSE, 0, (board.now - age_ms) & TICKS_MAX)
    bms.cycle()
    assert (state(bms) == ON) is acts


def test_an_open_never_expires(pack):
    board, bms = started(pack)
    bms.mailbox.put(OPEN, 0, (board.now - 60_000) & TICKS_MAX)
    bms.cycle()
    assert gates(bms) == (0, 0)


def test_a_close_acts_once(pack):
    board, bms = started(pack)
    board.asks = [OPEN]
    bms.cycle()
    bms.cycle()
    for _ in range(20):  # the close before it still stands in no mailbox
        bms.cycle()
    assert state(bms) == OFF


def test_a_refused_close_does_not_wait_for_the_trip_to_go(pack):
    board: Any = Board()
    bms = Bms(board, pack)
    for _ in range(6):
        bms.cycle()
    board.sensor.mdegc = 70_000
    for _ in range(20):
        bms.cycle()
    board.asks = [CLOSE]
    bms.cycle()
    bms.cycle()
    assert state(bms) == OFF and bms.core.switch.v[6] == 1
    board.sensor.mdegc = 25_000
    for _ in range(40):
        bms.cycle()
    assert state(bms) == OFF and gates(bms) == (0, 0)


def test_a_close_is_not_kept_over_a_boot(pack):
    _, bms = started(pack)
    again = Bms(Board(), pack)
    for _ in range(20):
        again.cycle()
    assert state(bms) == ON and state(again) == OFF


def test_ship_stays_off_until_opened(pack):
    board, bms = started(pack)
    board.asks = [STORE, CLOSE, CLEAR]
    for _ in range(5):
        bms.cycle()
    assert state(bms) == SHIP and gates(bms) == (0, 0)
    board.asks = [OPEN, CLOSE]
    for _ in range(4):
        bms.cycle()
    assert state(bms) == ON


# The period.


def test_fixed_period_without_drift(pack):
    board, bms = started(pack)
    board.work_ms = 7  # every wake a little late: the next is not
    bms.cycle()
    first = board.wakes[-1]
    for _ in range(200):
        bms.cycle()
    assert board.wakes[-1] - first == 200 * pack.tick_ms
    assert {b - a for a, b in pairwise(board.wakes[-200:])} == {pack.tick_ms}


def test_slower_when_off(pack):
    board: Any = Board()
    bms = Bms(board, pack)
    for _ in range(10):
        bms.cycle()
    steps = [b - a for a, b in pairwise([0, *board.wakes])]
    assert steps == [pack.tick_ms] * 4 + [pack.idle_tick_ms] * 6  # the fifth good frame ends boot


@pytest.mark.parametrize("late_ms, resync", [(0, False), (50, False), (51, True), (400, True)])
def test_late_ticks_resynchronise(pack, late_ms, resync):
    board, bms = started(pack)
    bms.cycle()
    due = board.wakes[-1]
    board.late_ms = late_ms
    bms.cycle()  # wakes late
    assert board.now == due + pack.tick_ms + late_ms
    board.late_ms = 0
    bms.cycle()
    wanted = due + pack.tick_ms + (late_ms if resync else 0)
    assert board.wakes[-1] == wanted + pack.tick_ms
    for _ in range(3):
        bms.cycle()
    assert board.wakes[-1] == wanted + 4 * pack.tick_ms


def test_the_period_goes_on_across_the_wrap_of_time(pack):
    board, bms = started(pack, start_ms=TICKS_MAX - 1000)
    for _ in range(40):
        bms.cycle()
    steps = {(b - a) & TICKS_MAX for a, b in pairwise(board.wakes[-39:])}
    assert steps == {pack.tick_ms}
    assert board.wakes[-1] < 10_000
    assert state(bms) == ON and not phase(bms, "overrun")


def test_a_stall_that_lasts_sheds(pack):
    board, bms = started(pack)
    board.late_ms = 200
    for _ in range(8):
        bms.cycle()
    assert phase(bms, "overrun") == 2 and state(bms) == SHEDDING
    board.late_ms = 0
    for _ in range(100):
        bms.cycle()
    assert state(bms) == ON
