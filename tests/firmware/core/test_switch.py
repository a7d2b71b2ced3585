"""States and gates: off is what happens when nothing happens."""

from __future__ import annotations

import pytest
from bms.core import frame as F
from bms.core import plausible as P
from bms.core import rules as R
from bms.core import switch as W
from bms.core.protect import NO_SHED
from hypothesis import given
from hypothesis import strategies as st
from support.packs import NAMES, compiled, read
from support.rig import ALL_TRUSTED, Bench

PACK = read(compiled(NAMES[0]).blob)
OK = F.CODE_OK | F.CHIP_OK | F.PINS_OK


class Stub:
    """What switch takes from protect, as a test wants it."""

    blocked = 0
    latched = 0
    shed_left_ms = NO_SHED
    burn = False


class Gates:
    """Switch alone; `step` gives (state, chg, dsg)."""

    def __init__(self, boot: bool = True, pre_discharge: int = 0) -> None:
        self.switch = W.Switch(pre_discharge)
        self.frame = F.Frame(1, 1)
        self.frame.v[F.FLAGS] = OK
        self.sig = [0] * len(P.FIELDS)
        self.sig[P.TRUST] = ALL_TRUSTED
        self.protect = Stub()
        for _ in range(W.BOOT_FRAMES if boot else 0):
            self.step()

    def step(self, request: int = W.NONE, shown: int = 0, **protect) -> tuple[int, int, int]:
        for name, value in protect.items():
            setattr(self.protect, name, value)
        self.frame.v[F.FLAGS] = self.frame.v[F.FLAGS] & ~F.DSG_SHOWN | shown * F.DSG_SHOWN
        self.switch.step(self.frame, self.sig, self.protect, request)
        v = self.switch.v
        return v[W.STATE], v[W.CHG_ON], v[W.DSG_ON]


WRONG = ("code", "chip", "pins", *P.READINGS)


@given(st.lists(st.sampled_from(("good", "good", "good", *WRONG)), max_size=40))
def test_boot_wants_good_frames_in_a_row(frames: list):
    gates = Gates(boot=False)
    good = 0
    for what in frames:
        lost = {"code": F.CODE_OK, "chip": F.CHIP_OK, "pins": F.PINS_OK}.get(what, 0)
        gates.frame.v[F.FLAGS] = OK & ~lost
        gates.sig[P.TRUST] = ALL_TRUSTED & ~(1 << what) if isinstance(what, int) else ALL_TRUSTED
        was = gates.switch.v[W.STATE]
        state = gates.step(W.CLOSE)
        good = good + 1 if what == "good" else 0
        if was == W.BOOT:
            assert state == (W.OFF if good >= 5 else W.BOOT, 0, 0)


def test_every_move():
    g = Gates()
    assert g.step() == (W.OFF, 0, 0)
    for request in (W.NONE, W.OPEN, W.ACK, W.CLEAR):
        assert g.step(request) == (W.OFF, 0, 0)
    assert g.step(W.CLOSE) == (W.ON, 1, 1)
    assert g.step(W.CLEAR) == (W.ON, 1, 1)
    assert g.step(shed_left_ms=1) == (W.SHEDDING, 1, 1)
    assert g.step(shed_left_ms=NO_SHED) == (W.ON, 1, 1)
    assert g.step(blocked=R.CHARGE) == (W.ON, 0, 1)
    assert g.step(blocked=R.DISCHARGE) == (W.TRIPPED, 1, 0)
    assert g.step(blocked=0) == (W.ON, 1, 1)
    assert g.step(W.STORE) == (W.SHIP, 0, 0)
    for request in (W.NONE, W.CLOSE, W.ACK, W.CLEAR, W.STORE):
        assert g.step(request) == (W.SHIP, 0, 0)
    assert g.step(W.OPEN) == (W.OFF, 0, 0)


def test_a_latched_trip_waits_for_a_request():
    g = Gates()
    g.step(W.CLOSE)
    assert g.step(blocked=R.DISCHARGE, latched=R.DISCHARGE) == (W.TRIPPED, 1, 0)
    assert g.step(blocked=0, latched=0) == (W.TRIPPED, 1, 0)  # charging goes on
    assert g.switch.v[W.LATCHED] == R.DISCHARGE
    assert g.step(W.CLOSE) == (W.ON, 1, 1)
    assert g.switch.v[W.LATCHED] == 0
    assert g.step(blocked=R.BOTH, latched=R.BOTH) == (W.TRIPPED, 0, 0)
    assert g.step(W.CLOSE) == (W.TRIPPED, 0, 0)
    assert g.switch.v[W.REFUSED] == 1
    assert g.step(blocked=R.DISCHARGE, latched=0) == (W.TRIPPED, 0, 0), "charge stays latched too"
    assert g.step(blocked=0, latched=0) == (W.OFF, 0, 0)
    assert g.switch.v[W.LATCHED] == 0
    assert g.step() == (W.OFF, 0, 0)


def test_close_while_blocked():
    g = Gates()
    assert g.step(W.CLOSE, blocked=R.BOTH) == (W.OFF, 0, 0)
    assert g.switch.v[W.REFUSED] == 1
    assert g.step(blocked=0) == (W.OFF, 0, 0), "a refused request is not remembered"
    assert g.step(W.CLOSE, blocked=R.DISCHARGE) == (W.TRIPPED, 1, 0)
    g.step(W.OPEN)
    assert g.step(W.CLOSE, blocked=R.CHARGE) == (W.ON, 0, 1)
    assert g.switch.v[W.REFUSED] == 2, "an empty pack did not close for its load"


def test_pre_discharge_comes_before_on():
    g = Gates(pre_discharge=1)
    assert g.step() == (W.OFF, 0, 0)
    # Discharge is commanded, charge waits until the front end shows the discharge FET.
    assert g.step(W.CLOSE) == (W.PRE, 0, 1)
    assert g.step() == (W.PRE, 0, 1)
    assert g.step(W.CLOSE) == (W.PRE, 0, 1)
    assert g.switch.v[W.REFUSED] == 0
    assert g.step(shed_left_ms=5) == (W.PRE, 0, 1)
    assert g.step(shown=1) == (W.SHEDDING, 1, 1)
    assert g.step(shown=1, shed_left_ms=NO_SHED) == (W.ON, 1, 1)
    assert g.step(shown=0) == (W.ON, 1, 1), "what opens later is not brought up again"
    assert g.step(W.OPEN) == (W.OFF, 0, 0)


def test_pre_discharge_again_after_every_trip():
    g = Gates(pre_discharge=1)
    g.step(W.CLOSE)
    assert g.step(blocked=R.BOTH, latched=R.BOTH) == (W.TRIPPED, 0, 0), "it failed"
    assert g.step(blocked=0, latched=0) == (W.OFF, 0, 0)
    assert g.step(W.CLOSE, blocked=R.DISCHARGE) == (W.TRIPPED, 1, 0), "an empty pack is charged"
    assert g.step(blocked=0, shown=1) == (W.PRE, 0, 1), "shown from before says nothing"
    assert g.step(shown=1) == (W.ON, 1, 1)
    assert g.step(blocked=R.DISCHARGE, latched=R.DISCHARGE) == (W.TRIPPED, 1, 0)
    assert g.step(blocked=0, latched=0) == (W.TRIPPED, 1, 0)
    assert g.step(W.CLOSE) == (W.PRE, 0, 1)
    assert g.step(shown=1) == (W.ON, 1, 1)


@pytest.mark.parametrize("request_", [W.NONE, W.OPEN, W.CLOSE, W.CLEAR, W.STORE])
def test_a_fuse_told_to_blow_stays_told(request_: int):
    g = Gates()
    g.step(W.CLOSE)
    assert not g.switch.v[W.FUSE]
    g.step(burn=True)
    assert g.switch.v[W.FUSE] == 1
    g.step(burn=False)
    g.step(request_)
    assert g.switch.v[W.FUSE] == 1 and g.switch.sound()


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=20))
def test_the_complement_follows_latches_and_fuse(moves):
    g = Gates()
    g.step(W.CLOSE)
    for latched, burn in moves:
        g.step(blocked=latched, latched=latched, burn=burn)
        v = g.switch.v
        assert g.switch.sound()
        assert v[W.KEPT] & 7 == 7 - v[W.LATCHED] - 4 * v[W.FUSE]
        for word in (W.LATCHED, W.FUSE, W.KEPT):
            v[word] ^= 1
            assert not g.switch.sound()
            v[word] ^= 1


REQUESTS = st.integers(W.NONE, W.STORE)


@given(st.lists(st.tuples(REQUESTS, st.integers(0, 3), st.integers(0, 3),
                          st.sampled_from((NO_SHED, 1, 5000)), st.integers(0, 1)), max_size=60),
       st.integers(0, 1))  # fmt: skip
def test_off_unless_asked_and_never_what_is_blocked(moves, pre_discharge):
    g = Gates(pre_discharge=pre_discharge)
    for request, blocked, latched, left_ms, shown in moves:
        was = g.switch.v[W.STATE]
        state, chg, dsg = g.step(request, shown, blocked=blocked, latched=latched,
                                 shed_left_ms=left_ms)  # fmt: skip
        assert state != W.PRE or (pre_discharge and not chg)
        if pre_discharge and state in (W.ON, W.SHEDDING):
            assert was in (W.ON, W.SHEDDING) or (was == W.PRE and shown)
        assert not (chg and blocked & R.CHARGE) and not (dsg and blocked & R.DISCHARGE)
        if request in (W.OPEN, W.STORE):
            assert state in (W.OFF, W.SHIP) and not chg and not dsg
        if was in (W.OFF, W.SHIP) and (chg or dsg):
            assert was == W.OFF and request == W.CLOSE
        if state in (W.BOOT, W.OFF, W.SHIP):
            assert not chg and not dsg


@given(st.integers(-(2**31), 2**31 - 1), REQUESTS)
def test_a_request_acts_once_and_expires_but_open_wins(age_ms: int, code: int):
    g = Gates()
    f = g.frame.v
    f[F.REQ_SEQ], f[F.REQ_CODE], f[F.REQ_AGE_MS] = 1, code, age_ms
    fresh = 0 <= age_ms <= W.REQUEST_MAX_MS
    assert g.switch.request(g.frame) == (code if fresh or code == W.OPEN else W.NONE)
    f[F.REQ_AGE_MS] = 0
    assert g.switch.request(g.frame) == W.NONE, "the same request, seen again"


@pytest.mark.parametrize("age_ms", [-1, 0, W.REQUEST_MAX_MS, W.REQUEST_MAX_MS + 1])
def test_the_ends_of_a_requests_life(age_ms: int):
    frame = F.Frame(1, 1)
    frame.v[F.REQ_SEQ], frame.v[F.REQ_CODE], frame.v[F.REQ_AGE_MS] = 1, W.CLOSE, age_ms
    alive = age_ms in (0, W.REQUEST_MAX_MS)
    assert W.Switch(0).request(frame) == (W.CLOSE if alive else W.NONE)


def test_a_whole_pack_stays_off_by_itself():
    bench = Bench(PACK)
    bench.sig[P.CELL_MAX_UV] = bench.sig[P.CELL_MIN_UV] = 3_600_000
    bench.sig[P.TEMP_MAX_MDEGC] = bench.sig[P.TEMP_MIN_MDEGC] = 25_000
    bench.ticks(60_000)
    assert bench.switch.v[W.STATE] == W.OFF
    assert list(W.STATES) == ["boot", "off", "on", "shedding", "tripped", "ship", "pre-discharge"]
    states = [W.BOOT, W.OFF, W.ON, W.SHEDDING, W.TRIPPED, W.SHIP, W.PRE]
    assert list(range(len(W.STATES))) == states
    assert list(range(len(W.REQUESTS))) == [W.NONE, W.OPEN, W.CLOSE, W.ACK, W.CLEAR, W.STORE]
