"""The C that the bench measures does the Python core's work, word for word."""

from __future__ import annotations

import random
import shutil
from array import array
from pathlib import Path
from typing import Any

import pytest
from bench import c_reference
from bench.c_reference import Mismatch, build, compare, cycles_of, run_native
from bench.figures import Line, layout
from bench.work import SLACK, Work, blob, core_of, put, state_names, states_of, work
from bms.core import frame as F
from bms.core import plausible as P
from bms.core import rules as R
from bms.core import switch as W
from bms.core.core import Core
from bms.core.protect import ACTED, CLEAR, PENDING, RELEASING, STRIDE
from solidbms.jobs import scenario_job
from solidbms.targets import cpython
from support.packs import read

needs_cc = pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler (cc)")
needs_cross = pytest.mark.skipif(not shutil.which(c_reference.CROSS), reason=c_reference.HOW)


def natively(w: Work, folder: Path) -> None:
    """Run the C on this machine and hold it against the Python core."""
    compare(w, run_native(build(w, folder, cross=False), w))


WORDS = {  # of a Frame: the signals made of it
    F.CURRENT_UA: (P.CHARGE_UA, P.DISCHARGE_UA, P.CHARGE_OVER_UA),
    F.PACK_UV: (P.PACK_UV,),
    F.FET_MDEGC: (P.FET_MDEGC,),
    F.BOARD_MDEGC: (P.BOARD_MDEGC,),
}


def edges(core: Core, k: int) -> list[int]:
    """Return the values of word k of a Frame, and of the slack, around which something changes."""
    pack: Any = core.pack
    size = len(core.frame.v)
    if k >= size:
        signals, more = (SLACK[k - size],), (0, 10**6)
    elif k >= core.frame.temp0:
        signals, more = (P.TEMP_MAX_MDEGC, P.TEMP_MIN_MDEGC), (-200_000, 200_000)
    elif k >= F.CELL0:
        signals, more = (P.CELL_MAX_UV, P.CELL_MIN_UV), (10**6, 10**9)
    else:
        signals = WORDS.get(k, ())
        more = pack.charger_ua, -(10**9), 10**9, 0, -200_000, 200_000
    rows = [(r, row[R.SIGNAL]) for r, row in enumerate(R.ROWS) if row[R.SIGNAL] in signals]
    sign = {P.DISCHARGE_UA: -1}
    limits = [sign.get(s, 1) * x for r, s in rows for x in pack.rule(r)[:2] if abs(x) != R.OFF]
    return limits + list(more)


def anything(pack: bytes, seed: int, ticks: int) -> Work:
    """Return Frames that wander around every limit, with wild words and times among them."""
    draw = random.Random(seed)
    w = Work(f"seed {seed}", pack, len(R.ROWS), [], range(ticks))
    core = core_of(w)
    size = len(core.frame.v)
    f = core.frame.v + array("i", [0] * len(SLACK))
    good = 0xFF * F.TEMP_OK | F.VOLT_OK | F.CURRENT_OK | F.CODE_OK | F.CHIP_OK | F.PINS_OK
    good |= F.FET_TEMP_OK | F.BOARD_TEMP_OK | F.FETS_OK | F.DSG_SHOWN
    f[F.FLAGS] = good
    f[F.CELL0 : core.frame.temp0] = array("i", [3_700_000] * (core.frame.temp0 - F.CELL0))
    f[F.PACK_UV] = sum(f[F.CELL0 : core.frame.temp0])
    f[F.FET_MDEGC] = f[F.BOARD_MDEGC] = 25_000
    for k in range(core.frame.temp0, size):
        f[k] = 25_000
    f[size + SLACK.index(P.HOT_MDEGC)] = 25_000
    f[size + SLACK.index(P.CHARGE_LIMIT_UA)] = 1000 * core.pack.charge_max_ma
    plain = f[:]
    f[F.FLAGS] ^= draw.choice((F.CODE_OK, F.CHIP_OK, F.PINS_OK))  # it stays in boot for a while
    w.frames.extend(f[:] for _ in range(7))
    # What the slack makes is whole: its words are no 32 bits of a bus.
    wild = 1 << 31, (1 << 30) - 1
    while len(w.frames) < ticks:
        # By turns a while to recover in, and one with up to three words changed.
        calm = draw.random() < 0.5
        t_ms, seq = f[F.T_MS], f[F.REQ_SEQ]
        f[:] = plain
        f[F.T_MS], f[F.REQ_SEQ] = t_ms, seq
        for k in draw.sample(range(1, len(f)), 0 if calm else draw.randrange(4)):
            edge = draw.choice(edges(core, k))
            most = wild[k >= size]
            anywhere = draw.randrange(-most, most)
            f[k] = draw.choice((edge - 1, edge, edge + 1, anywhere))
        f[F.FLAGS] = good ^ (0 if calm else draw.choice((0, 0, 1 << draw.randrange(27))))
        if calm:
            f[F.CURRENT_UA] = core.pack.charger_ua + draw.randrange(2)
        for _ in range(draw.randrange(1, 30)):
            step = draw.choice((50, 50, 50, 50, 250) if calm or draw.random() < 0.9 else
                               (0, -1, 1000, 1001, 1 << 29, draw.randrange(1 << 30)))  # fmt: skip
            f[F.T_MS] = f[F.T_MS] + step & 0x3FFFFFFF
            if not calm and draw.random() < 0.01:
                f[F.T_MS] = draw.randrange(-(1 << 31), 1 << 31)
            if draw.random() < 0.3:
                f[F.REQ_SEQ] = (f[F.REQ_SEQ] + 1) & 0xFFFF
                f[F.REQ_CODE] = draw.choice((W.CLEAR, W.CLOSE, W.CLOSE, draw.randrange(7)))
                f[F.REQ_AGE_MS] = draw.choice((0, 0, 2000, 2001, -1))
            w.frames.append(f[:])
    return w


def recorded(name: str, seconds: int, folder: Path) -> Work:
    """Return the Frames of a scenario, on the pack as it is, the slack's words as they were."""
    job = scenario_job(name)
    job.world.end_ms = 1000 * seconds
    pack = job.compiled.blob
    path = folder / "pack.bin"
    path.write_bytes(pack)
    core = Core(read(pack))
    size = len(core.frame.v)
    before = array("i", [core.plausible.v[s] for s in SLACK])
    frames: list[array[int]] = []

    def take(tick: bytes) -> None:
        nonlocal before
        words = array("i", tick)
        frames.append(words[:size] + before)
        before = array("i", [words[size + s] for s in SLACK])

    cpython.run(job.world, path, job.saved, take)
    return Work(name, pack, len(R.ROWS), frames, range(len(frames)))


@needs_cc
@pytest.mark.parametrize(("cells", "rules"), [(1, None), (14, None), (16, 30)])
def test_native(tmp_path: Path, cells: int, rules: int | None):
    natively(work(cells, rules), tmp_path)


@needs_cc
@pytest.mark.parametrize(("seed", "cells", "temps"), [(1, 1, 1), (2, 3, 8), (3, 16, 4)])
def test_native_on_anything(tmp_path: Path, seed: int, cells: int, temps: int):
    w = anything(blob(cells, temps, len(R.ROWS)), seed, 10_000)
    names = state_names(w)
    seen = {state[names.index("switch.state")] for state in states_of(w)}
    assert seen >= set(range(len(W.STATES))) - {W.PRE}  # it is not all off
    assert (W.PRE in seen) == bool(core_of(w).pack.pre_discharge)
    natively(w, tmp_path)


@needs_cc
def test_native_on_a_recorded_trip(tmp_path: Path):
    w = recorded("cell_v_stuck", 60, tmp_path)
    states = states_of(w)
    names = state_names(w)
    seen = {W.STATES[state[names.index("switch.state")]] for state in states}
    assert {"boot", "on", "tripped"} <= seen
    natively(w, tmp_path)


def test_a_recorded_run_comes_to_the_same_states(tmp_path: Path):
    w = recorded("cell_v_stuck", 60, tmp_path)
    core = core_of(w)
    whole = Core(read(w.blob))  # makes its slack's words itself
    for frame in w.frames:
        put(frame, core)
        core.protect()
        whole.frame.v[:] = frame[: len(whole.frame.v)]
        whole.protect()
        assert (core.plausible.v, core.rules.v, core.switch.v) == (
            whole.plausible.v, whole.rules.v, whole.switch.v)  # fmt: skip
        whole.estimate()


@needs_cross
@pytest.mark.parametrize(("cells", "rules"), [(1, None), (16, 30)])
def test_on_the_emulated_core(cells: int, rules: int | None):
    w = work(cells, rules)
    cycles = cycles_of(w)
    assert len(cycles.each) == len(w.frames)
    assert 300 < min(cycles.each) <= cycles.median < cycles.worst < 20_000
    assert cycles.worst == max(cycles.each)


@needs_cc
@pytest.mark.parametrize("word", ["limit", "release", "delay_ms", "shed_ms", "side"])
def test_another_table_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str):
    true = c_reference.declared(work(1))
    changed = "\n".join(
        line.replace(f".{word} = ", f".{word} = 1 + ") if "{.at" in line else line
        for line in true.splitlines()
    )
    assert changed != true.rstrip("\n")
    monkeypatch.setattr(c_reference, "declared", lambda w: changed)
    with pytest.raises(Mismatch, match=r"1 cell, \d+ rules: tick \d+, .*: Python -?\d+, C -?\d+"):
        natively(work(1), tmp_path)


def test_every_difference_is_named():
    w = work(1)
    states = states_of(w)
    compare(w, states)
    for k, name in enumerate(state_names(w)):
        states[7][k] += 1
        with pytest.raises(Mismatch, match=f"tick 7, {name}: "):
            compare(w, states)
        states[7][k] -= 1
    with pytest.raises(Mismatch, match=r"\d+ ticks in Python, \d+ in C$"):
        compare(w, states[:-1])


@pytest.mark.parametrize(("cells", "rules"), [(1, None), (16, 30)])
def test_the_work_has_every_phase_state_and_request(cells: int, rules: int | None):
    w = work(cells, rules)
    states, names = states_of(w), state_names(w)
    first = f"rule.{R.ROWS[0][R.ID]}.phase"
    rows = range(names.index(first), names.index("switch.state"), STRIDE)
    assert len(rows) == w.rules
    pack = core_of(w).pack
    used = [r for r in range(w.rules) if abs(pack.rule(r)[0]) != R.OFF]
    assert len(used) == int(w.name.split()[2])
    for r, at in enumerate(rows):
        if r not in used:
            assert not any(state[at] for state in states)
            continue
        phases = {state[at] for state in states}
        assert phases - {PENDING} == {CLEAR, ACTED, RELEASING}, names[at]
        assert PENDING in phases or not pack.rule(r)[2], names[at]
        assert max(state[at + 2] for state in states) >= pack.rule(r)[3], names[at]
    seen = {state[names.index("switch.state")] for state in states}
    assert seen == set(range(len(W.STATES))) - ({W.PRE} if not pack.pre_discharge else set())
    assert {f[F.REQ_CODE] for f in w.frames} == set(range(len(W.REQUESTS)))
    quiet = [states[k] for k in w.quiet]
    assert {state[names.index("switch.state")] for state in quiet} == {W.ON}
    assert not any(state[at] for state in quiet for at in rows)


def test_the_prelude_makes_the_table(monkeypatch: pytest.MonkeyPatch):
    own = R.ROWS
    w = work(1, 30)
    assert R.ROWS is own
    monkeypatch.setattr(R, "ROWS", own)
    exec(w.prelude)
    assert (own + own)[:30] == R.ROWS


def test_layout():
    lines = [
        Line("frame to gates", 76_123, 1_312, 100_000),
        Line("boot", 125_000_001, None, 125_000_000),
        Line("collection", None),
    ]
    assert layout(lines).splitlines() == [
        "what            MicroPython cycles  C cycles  ratio              budget",
        "frame to gates              76,123     1,312     58             100,000",
        "boot                   125,000,001         -      -  125,000,000 missed",
        "collection                       -         -      -                   -",
    ]
