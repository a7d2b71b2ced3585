"""Any Frames on any pack: no exception, 31 bits, and no gate closed that must be open.

The oracle below says from the table alone which gates must be open; it shares nothing with
protect and switch but the signals, which test_plausible holds.
"""

from __future__ import annotations

from array import array
from typing import Any

import pytest
from bms.core import frame as F
from bms.core import plausible as P
from bms.core import rules as R
from bms.core import switch as W
from hypothesis import example, given, settings
from hypothesis import strategies as st
from solidbms.packc import Compiled
from support import int31
from support.packs import NAMES, Drawn, compiled, packs, read

CHECKED = int31.load()
BIG = 10**9
SANE_UV = 10**6
INT32 = st.sampled_from((-(2**31), -(2**30), -BIG, 1 - BIG, 0, BIG - 1, BIG, 2**30, 2**31 - 1))
GOOD = 0xFF00 | F.VOLT_OK | F.CURRENT_OK | F.CHARGE_OK | F.CODE_OK | F.CHIP_OK | F.PINS_OK


def near(*values: int) -> st.SearchStrategy[int]:
    """Values with a little around them, and now and then anything of 32 bits."""
    some = st.builds(int.__add__, st.sampled_from(values), st.integers(-1, 1))
    return st.one_of(some, some, some, INT32, st.integers(-(2**31), 2**31 - 1))


def good_flags(pack: Any) -> int:
    """Flags of a Frame where all is well."""
    beside = F.FET_TEMP_OK * pack.has_fet | F.BOARD_TEMP_OK * pack.has_board
    shown = F.FETS_OK | F.CHG_SHOWN | F.DSG_SHOWN | F.OUT_OK | F.FE_TIME_OK
    return GOOD | beside | shown * pack.pre_discharge


def limits(pack: Any, *signals: int) -> list[int]:
    """Limits and releases of the rows that watch a signal."""
    rows = [k for k, row in enumerate(R.ROWS) if row[R.SIGNAL] in signals]
    return [x for k in rows for x in pack.rule(k)[:2]]


@st.composite
def moves(draw: st.DrawFn, pack: Any) -> list[tuple[dict[int, int], int, int]]:
    """Return (Frame words that change, time step, how often it repeats), after a plain start."""
    cell = near(3_600_000, *limits(pack, P.CELL_MAX_UV, P.CELL_MIN_UV))
    currents = limits(pack, P.CHARGE_UA) + [-x for x in limits(pack, P.DISCHARGE_UA)]
    current = near(0, 0, pack.charger_ua, pack.rest_ua, *currents)
    temp = near(25_000, *limits(pack, P.TEMP_MAX_MDEGC, P.TEMP_MIN_MDEGC))
    good = good_flags(pack)
    flags = st.one_of(
        st.just(good), st.just(good), st.sampled_from([good ^ 1 << k for k in range(28)]), INT32
    )
    stack_uv = pack.cells * 3_600_000
    word = {
        F.FLAGS: flags,
        F.PACK_UV: near(stack_uv, 0, BIG, *limits(pack, P.PACK_UV)),
        F.CURRENT_UA: current,
        F.CHARGE_UAS: near(0, 1000, -1000),
        F.FE_RESETS: near(0),
        F.REQ_CODE: st.one_of(st.integers(0, 6), INT32),
        F.REQ_ARG: near(0),
        F.REQ_AGE_MS: near(0, 0, W.REQUEST_MAX_MS),
        F.SAVED_SOC_PPM: near(-1, 0, 500_000, 1_000_000),
        F.SAVED_BOUND_PPM: near(-1, 0, 20_000, 1_000_000),
        F.OUT_UV: near(stack_uv, 0),
        F.FET_MDEGC: near(25_000, *limits(pack, P.FET_MDEGC)),
        F.BOARD_MDEGC: near(25_000, *limits(pack, P.BOARD_MDEGC)),
        F.FE_TIME_MS: near(0, 2**30 - 1),
        F.FE_ALERTS: near(0),
    }
    word |= {F.CELL0 + k: cell for k in range(pack.cells)}
    word |= {F.CELL0 + pack.cells + k: temp for k in range(pack.temps)}
    keys = st.lists(st.sampled_from(sorted(word)), max_size=4)
    step = st.one_of(
        st.just(pack.tick_ms),
        st.just(pack.tick_ms),
        st.sampled_from((0, 1, -1, 999, 1000, 1001, 2**29 - 1, 2**29, -(2**29), 2**30 - 1)),
        st.integers(0, 2**30),
    )
    times = st.sampled_from((1, 1, 1, 2, 7, 50))
    count = draw(st.integers(1, 12))
    return [
        ({k: draw(word[k]) for k in draw(keys)} | _request(draw), draw(step), draw(times))
        for _ in range(count)
    ]


def _request(draw: st.DrawFn) -> dict[int, int]:
    # Half of all moves ask for the gates, or nothing would ever close.
    if draw(st.booleans()):
        return {}
    return {F.REQ_SEQ: draw(near(0, 1, 2)), F.REQ_CODE: W.CLOSE, F.REQ_AGE_MS: 0}


class Oracle:
    """Which gates must be open, from the table and the pack alone."""

    def __init__(self, pack: Any) -> None:
        self.pack = pack
        self.good_frames = 0
        self.booted = False
        self.last_seq = 0
        self.rows = [{"for": None, "stands": False, "shed": 0, "inside": None} for _ in R.ROWS]

    def request(self, f: array[int]) -> int:
        """Return a request that counts: new, and no older than it may be."""
        code = f[F.REQ_CODE] if f[F.REQ_SEQ] != self.last_seq else W.NONE
        self.last_seq = f[F.REQ_SEQ]
        return code if code == W.OPEN or 0 <= f[F.REQ_AGE_MS] <= 2000 else W.NONE

    def believable(self, f: array[int]) -> int:
        """Return the trusted signals of a Frame as bits."""
        first = F.CELL0 + self.pack.cells
        trust = sum(1 << s for s in range(30) if s not in P.READINGS)
        for signal, word, flag, has in (
            (P.FET_MDEGC, F.FET_MDEGC, F.FET_TEMP_OK, self.pack.has_fet),
            (P.BOARD_MDEGC, F.BOARD_MDEGC, F.BOARD_TEMP_OK, self.pack.has_board),
        ):
            if not has or (f[F.FLAGS] & flag and -200_000 < f[word] < 200_000):
                trust |= 1 << signal
        stack = 0 <= f[F.PACK_UV] < BIG
        cells = all(SANE_UV <= x < BIG for x in f[F.CELL0 : first])
        if f[F.FLAGS] & F.VOLT_OK and cells and stack:
            trust |= 1 << P.CELL_MAX_UV | 1 << P.CELL_MIN_UV | 1 << P.PACK_UV
        if f[F.FLAGS] & F.CURRENT_OK and -BIG < f[F.CURRENT_UA] < BIG:
            trust |= 1 << P.CHARGE_UA | 1 << P.DISCHARGE_UA | 1 << P.CHARGE_OVER_UA
        if all(
            f[F.FLAGS] & F.TEMP_OK << k and -200_000 < x < 200_000 for k, x in enumerate(f[first:])
        ):
            trust |= 1 << P.TEMP_MAX_MDEGC | 1 << P.TEMP_MIN_MDEGC
        return trust

    def must_be_open(self, f: array[int], sig: array[int], closed: bool, loaded: bool) -> int:
        """Return the paths that this Frame allows no gate of.

        closed, loaded: a gate, the discharge gate was closed as it arrived.
        """
        request = self.request(f)
        trust = self.believable(f)
        assert sig[P.TRUST] == trust
        tested = F.CODE_OK | F.CHIP_OK | F.PINS_OK
        good = f[F.FLAGS] & tested == tested and trust == (1 << 30) - 1
        was_booted = self.booted
        self.good_frames = self.good_frames + 1 if good else 0
        self.booted |= self.good_frames >= 5
        open_paths = 0
        for k, row in enumerate(R.ROWS):
            open_paths |= self._row(k, row, sig, trust, (closed, loaded), request, f[F.FLAGS])
        if not was_booted or request in (W.OPEN, W.STORE):
            return R.BOTH
        return open_paths

    def _row(self, k: int, row: Any, sig: Any, trust: int, gates: Any, req: int, fl: int) -> int:
        closed, loaded = gates
        nobody_to_warn = req == W.ACK or not loaded
        limit, release, delay_ms, shed_ms = self.pack.rule(k)
        side, state, dt_ms = row[R.SIDE], self.rows[k], sig[P.DT_MS]
        crossed = inside = False
        if row[R.WHEN] == R.CLOSED and not closed:
            inside = True
        elif row[R.SIGNAL] not in P.READINGS or trust >> row[R.SIGNAL] & 1:
            x = sig[row[R.SIGNAL]]
            crossed = x > limit if side == R.ABOVE else x < limit
            inside = x <= release if side == R.ABOVE else x >= release
        else:
            crossed = row[R.UNTRUSTED] == R.CROSSED or state["for"] is not None
        if state["stands"]:
            state["shed"] = shed_ms if nobody_to_warn else state["shed"] + dt_ms
            first = state["inside"] is None
            state["inside"] = (0 if first else state["inside"] + dt_ms) if inside else None
            waited = inside and state["inside"] >= self.pack.recover_ms
            if waited and self._helped(row[R.RECOVERY], sig, trust, req, fl):
                state.update(stands=False, inside=None, shed=0)
                state["for"] = None
        elif crossed:
            state["for"] = 0 if state["for"] is None else state["for"] + dt_ms
            if state["for"] >= delay_ms:
                late_ms = state["for"] - delay_ms  # the shed runs from the end of the delay
                state.update(stands=True, inside=None, shed=shed_ms if nobody_to_warn else late_ms)
                state["for"] = None
        else:
            state["for"] = None
        over = row[R.SHED] == R.CUT or state["shed"] >= shed_ms
        return row[R.PATH] if state["stands"] and over and row[R.LEVEL] == R.TRIP else 0

    def _helped(self, recovery: int, sig: Any, trust: int, request: int, flags: int) -> bool:
        charger = trust >> P.CHARGE_UA & 1 and sig[P.CHARGE_UA] > self.pack.charger_ua
        return bool(
            recovery == R.SELF
            or (recovery == R.CHARGER and charger)
            or (recovery == R.LOAD_GONE and flags & F.LOAD_GONE)
            or (recovery in (R.LOAD_GONE, R.HAND) and request == W.CLEAR)
        )


class Run:
    """The checked core of one pack beside the oracle."""

    def __init__(self, pack: Drawn | Compiled) -> None:
        self.core = CHECKED["bms.core.core"].Core(CHECKED["bms.core.pack"].Pack(pack.blob))
        self.pack = read(pack.blob)
        self.oracle = Oracle(self.pack)
        self.parts = self.core.parts()
        self.closings = 0
        f = self.core.frame.v
        f[F.FLAGS] = good_flags(self.pack)
        f[F.PACK_UV] = f[F.OUT_UV] = self.pack.cells * 3_600_000
        f[F.FET_MDEGC] = f[F.BOARD_MDEGC] = 25_000
        for k in range(F.CELL0, self.core.frame.temp0):
            f[k] = 3_600_000
        for k in range(self.core.frame.temp0, len(f)):
            f[k] = 25_000

    def tick(self, step_ms: int) -> None:
        """Run one tick, step_ms after the last, and hold the gates against the oracle."""
        core = self.core
        f = core.frame.v
        f[F.T_MS] = (f[F.T_MS] + step_ms) & 2**30 - 1
        loaded = core.switch.v[W.DSG_ON]
        was = core.switch.v[W.CHG_ON] | loaded
        core.protect()
        seen = core.plausible.v[:]  # the slack writes what the next tick sees
        core.estimate()
        core.digest(self.parts)
        chg, dsg = core.switch.v[W.CHG_ON], core.switch.v[W.DSG_ON]
        open_paths = self.oracle.must_be_open(f, seen, bool(was), bool(loaded))
        assert not (chg and open_paths & R.CHARGE)
        assert not (dsg and open_paths & R.DISCHARGE)
        self.closings += (chg | dsg) > was
        # The frame's charge is since the last Frame; SoC and limits stay what they may be.
        assert 0 <= core.soc.v[0] <= 1_000_000 and 0 <= core.soc.v[1] <= 1_000_000
        assert min(core.limits.v) >= 0


@settings(max_examples=60)
@given(st.data())
@pytest.mark.parametrize("base", ["bench_1s", "robot_14s"])
def test_any_frames_on_any_pack(base: str, data: st.DataObject):
    run = Run(data.draw(packs(base)))
    for _ in range(6):
        run.tick(run.pack.idle_tick_ms)
    f = run.core.frame.v
    f[F.REQ_SEQ], f[F.REQ_CODE] = 1, W.CLOSE
    for words, step_ms, times in data.draw(moves(run.pack)):
        for _ in range(times):
            run.tick(step_ms)
        for at, word in words.items():
            f[at] = word
    run.tick(run.pack.tick_ms)


@settings(max_examples=40)
@given(st.data())
@pytest.mark.parametrize("name", ["bench_1s", "robot_14s@fuse"])
def test_any_frames_from_the_first_on(name: str, data: st.DataObject):
    run = Run(compiled(name))
    f = run.core.frame.v
    for words, step_ms, times in data.draw(moves(run.pack)):
        for at, word in words.items():
            f[at] = word
        for _ in range(times):
            run.tick(step_ms)


@pytest.mark.parametrize("name", NAMES)
def test_the_gates_do_close_in_these_runs(name: str):
    run = Run(compiled(name))
    for _ in range(6):
        run.tick(250)
    run.core.frame.v[F.REQ_SEQ], run.core.frame.v[F.REQ_CODE] = 1, W.CLOSE
    run.tick(250)
    assert run.closings == 1


class Bytes:
    """A bus that answers with whatever bytes it is given, OSError for None."""

    def __init__(self) -> None:
        self.script: list[bytes | None] = []
        self.honest = {0x3E: b"\x54\x49", 0x3F: b"\x22\x81", 0x0B: b"\x80\x03"}

    def readfrom_mem_into(self, address: int, register: int, buffer: bytearray) -> None:
        data = self.script.pop() if self.script else bytes(5)
        if data is None:
            raise OSError(5)
        buffer[:] = self.honest.get(register, data)[: len(buffer)]

    def writeto(self, address: int, buffer: bytes) -> None:
        register, data = buffer[0], bytes(buffer[1:])
        self.honest[register] = bytes(data)
        self.honest[0x0B] = b"\x80\x03"

    def read_u16(self) -> int:
        data = self.script.pop() if self.script else b"\x80\x00"
        return int.from_bytes((data or b"\x00\x00")[:2], "big")


WORDS = st.one_of(
    st.binary(min_size=5, max_size=5),
    st.sampled_from(
        (b"\x7f\xff\xff\xff\xff", b"\x80" + bytes(4), b"\x07\xff\xff\xff\xff", bytes(5))
    ),
    st.none(),
)


@settings(max_examples=60)
@given(packs(), st.lists(st.lists(WORDS, max_size=6), max_size=40))
@example(compiled("bench_1s"), [[b"\x07\xff\xff\xff\xff", bytes(5)] * 4] * 40)
def test_any_register_bytes(compiled_pack: Drawn | Compiled, ticks: list[list[bytes | None]]):
    pack = CHECKED["bms.core.pack"].Pack(compiled_pack.blob)
    core = CHECKED["bms.core.core"].Core(pack)
    bus = Bytes()
    ina = CHECKED["bms.drivers.ina228"].Ina228(bus, pack)
    sensors = [CHECKED["bms.drivers.ntc"].Ntc(bus, pack, k) for k in range(pack.temps)]
    f = core.frame.v
    measured = slice(F.PACK_UV, F.CHARGE_UAS + 1)
    for script in ticks:
        bus.script = list(script)
        f[F.FLAGS] = F.CODE_OK
        f[F.T_MS] = f[F.T_MS] + 50 & 2**30 - 1
        before = f[measured] + f[F.CELL0 : core.frame.temp0]
        ina.read(core.frame)
        whole = f[F.FLAGS] & (F.VOLT_OK | F.CURRENT_OK)
        assert whole in (0, F.VOLT_OK | F.CURRENT_OK)
        if not whole:
            assert f[measured] + f[F.CELL0 : core.frame.temp0] == before, "a torn reading is used"
        for sensor in sensors:
            sensor.read(core.frame)
        for x in f:
            int31.fits(x)
        core.protect()
        core.estimate()


@pytest.mark.parametrize("value", [2**30, -(2**30) - 1])
def test_the_check_itself(value: int):
    assert int31.fits(value - 1 if value > 0 else value + 1)
    with pytest.raises(int31.Overflow):
        int31.fits(value)
    with pytest.raises(int31.Overflow):
        CHECKED["bms.core.fixed"].interp([-(2**29), 2**29, 0, 1], 0)
