"""The work that is measured, the same for Python, MicroPython and C: a pack, rules, and Frames.

Frames come from a drive that knows the table: boot, `QUIET` ticks of plain driving, then every
signal past the limits of its rows until they have acted, shed and recovered, every request, and
all at once. What the slack writes comes with each Frame: the words of `SLACK`.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from zlib import crc32

import bms.core.pack as layout
from bms.core import frame as F
from bms.core import limits
from bms.core import plausible as P
from bms.core import rules as R
from bms.core import switch as W
from bms.core.core import Core
from bms.core.protect import ACTED, STRIDE
from solidbms.packc import compile_pack
from solidbms.record import part_names

QUIET = 200
BASES = {1: "bench_1s"}  # pack of so many cells; robot_14s elsewhere
TEMPS = {1: 1, 14: 3, 16: 4}  # sensors of a pack of so many cells; as many as fit elsewhere
SLACK = (*(s for s in range(P.SIGNALS) if P.slack_signal(s)), P.CHARGE_LIMIT_UA)
_DELAY_TICKS = 3  # delays, sheds and recoveries are cut to this or a little more: the work of a
_SHED_TICKS = 6  # tick is the same, and a short series goes through every phase
_RECOVER_TICKS = 4
_PATIENCE = 400  # ticks for rows to act or to recover
_GOOD = (F.VOLT_OK | F.CURRENT_OK | F.CHARGE_OK | F.CODE_OK | F.CHIP_OK | F.PINS_OK
         | 0xFF * F.TEMP_OK | F.FET_TEMP_OK | F.BOARD_TEMP_OK | F.FETS_OK | F.CHG_SHOWN
         | F.DSG_SHOWN | F.OUT_OK)  # fmt: skip


class Work(NamedTuple):
    """Frames for one pack, and the ticks among them where nothing is past a limit.

    A Frame here is its words, then those of `SLACK`. On MicroPython: run `prelude` before anything
    imports bms.core.pack, then `Core(Pack(blob))`, and for each Frame copy its words to their
    places, see `put`, and call `core.protect()`.
    """

    name: str
    blob: bytes
    rules: int
    frames: list[array[int]]
    quiet: range

    @property
    def prelude(self) -> str:
        """Source that gives the firmware a table of this length: its own, once more or cut."""
        times = -(-self.rules // len(R.ROWS))
        return f"import bms.core.rules as R\nR.ROWS = (R.ROWS * {times})[:{self.rules}]\n"


@contextmanager
def table(rules: int) -> Iterator[None]:
    """Give the firmware a table of so many rows while it is constructed: see `Work.prelude`."""
    own = R.ROWS
    longer = (own * -(-rules // len(own)))[:rules]
    R.ROWS = layout.ROWS = limits.ROWS = longer  # type: ignore[misc] - longer for a while
    try:
        yield
    finally:
        R.ROWS = layout.ROWS = limits.ROWS = own  # type: ignore[misc] - longer for a while


def work(cells: int, rules: int | None = None) -> Work:
    """Return the work of a pack with so many cells and rules; all rules by default."""
    rules = rules or len(R.ROWS)
    drive = _Drive(blob(cells, TEMPS.get(cells, min(cells, 8)), rules), rules)
    drive.on()
    start = len(drive.frames)
    for _ in range(QUIET):
        drive.tick()
    drive.every_signal()
    drive.requests()
    drive.all_at_once()
    used = sum(len(drive.watching(push)) for push in drive.pushes)
    name = f"{cells} cell{'s' * (cells > 1)}, {used} rules"
    return Work(name, drive.blob, rules, drive.frames, range(start, start + QUIET))


def put(frame: array[int], core: Any) -> None:
    """Copy a Frame and what the slack wrote before it to their places, and look as it does."""
    size = len(core.frame.v)
    core.frame.v[:] = frame[:size]
    for k, s in enumerate(SLACK):
        core.plausible.v[s] = frame[size + k]
    core.rules.look(core.plausible.v)


def blob(cells: int, temps: int, rules: int) -> bytes:
    """Return a pack compiled for so many cells, sensors and rules, its times cut short."""
    words = array("i", compile_pack(BASES.get(cells, "robot_14s")).blob[4:-4])
    head = 2 + len(layout.FIELDS)
    end = head + layout.RULE_SIZE * len(R.ROWS)
    field = dict(zip(layout.FIELDS, words[2:head], strict=True))
    tick_ms = field["tick_ms"]
    were = field["cells"]
    field |= {"rows": rules, "cells": cells, "temps": temps}
    field["recover_ms"] = _RECOVER_TICKS * tick_ms
    numbers = []
    for r in range(rules):
        at = head + layout.RULE_SIZE * (r % len(R.ROWS))
        limit, release, delay_ms, shed_ms = words[at : at + layout.RULE_SIZE]
        if R.ROWS[r % len(R.ROWS)][R.SIGNAL] == P.PACK_UV and abs(limit) != R.OFF:
            limit, release = limit // were * cells, release // were * cells
        numbers += [limit, release, min(delay_ms, _DELAY_TICKS * tick_ms)]
        numbers += [min(shed_ms, _SHED_TICKS * tick_ms)]
    body = [*field.values(), *numbers, *words[end:]]
    whole = layout.MAGIC + array("i", [layout.VERSION, len(body), *body]).tobytes()
    return whole + crc32(whole).to_bytes(4, "little")


def core_of(w: Work) -> Core:
    """Return the Python core for this work."""
    with table(w.rules):
        return Core(layout.Pack(w.blob))


def states_of(w: Work) -> list[array[int]]:
    """Return what the Python core holds after each Frame, in the order of `state_names`."""
    core = core_of(w)
    states = []
    for frame in w.frames:
        put(frame, core)
        core.protect()
        rules = core.rules
        outcome = (rules.blocked, rules.shed_left_ms, rules.latched)
        last = array("i", [*outcome, int(rules.warned), int(rules.burn), core.request])
        states.append(core.plausible.v + core.rules.v + core.switch.v + last)
    return states


def state_names(w: Work) -> list[str]:
    """Return the name of every word of a state."""
    with table(w.rules):
        parts = part_names(Core(layout.Pack(w.blob)))[1:4]
    names = [f"{part}.{name}" for part, fields in parts for name in fields]
    return [*names, "blocked", "shed_left_ms", "latched", "warned", "burn", "request"]


Push = tuple[int, int]  # a signal, and to which side


class _Drive:
    """Writes Frames and runs the Python core on them, to know what happens."""

    def __init__(self, pack: bytes, rules: int) -> None:
        self.blob = pack
        with table(rules):
            self.core = Core(layout.Pack(pack))
            self.rows = R.ROWS
        self.pack: Any = self.core.pack
        self.frames: list[array[int]] = []
        # What can be pushed: by rows that the pack has.
        self.pushes: list[Push] = list(
            dict.fromkeys(
                (row[R.SIGNAL], row[R.SIDE])
                for r, row in enumerate(self.rows)
                if abs(self.pack.rule(r)[0]) != R.OFF
            )
        )

    def tick(self, *pushed: Push, request: int = W.NONE, charging: bool = False) -> None:
        """Add a Frame, plain but for the signals that are pushed past the limits of their rows."""
        core, f = self.core, self.core.frame.v
        k = len(self.frames)
        # Recovering with the gates open may take long steps: nothing is late then.
        f[F.T_MS] += P.DT_MAX_MS if charging and not core.switch.closed() else core.period_ms()
        f[F.FLAGS] = _GOOD | F.LOAD_GONE * charging
        f[F.CURRENT_UA] = 2 * self.pack.charger_ua if charging else -1_000_000 - 390 * (k & 7)
        for cell in range(self.pack.cells):
            f[F.CELL0 + cell] = 3_700_000 + 195 * ((7 * k + 5 * cell) & 15)
        f[F.PACK_UV] = sum(f[F.CELL0 : core.frame.temp0])
        f[F.FET_MDEGC] = f[F.BOARD_MDEGC] = 25_000
        for at in range(core.frame.temp0, len(f)):
            f[at] = 25_000 + 10 * (at & 3)
        slack = dict.fromkeys(SLACK, 0)
        slack[P.HOT_MDEGC], slack[P.CHARGE_LIMIT_UA] = 26_000, 1000 * self.pack.charge_max_ma
        f[F.REQ_CODE] = request
        f[F.REQ_SEQ] += request != W.NONE
        for signal, side in pushed:
            self._push(f, slack, signal, side)
        frame = f + array("i", slack.values())
        self.frames.append(frame)
        put(frame, core)
        core.protect()

    def _push(self, f: array[int], slack: dict[int, int], signal: int, side: int) -> None:
        temp0 = self.core.frame.temp0
        place = {P.CELL_MAX_UV: temp0 - 1, P.CELL_MIN_UV: F.CELL0, P.CHARGE_UA: F.CURRENT_UA,
                 P.DISCHARGE_UA: F.CURRENT_UA, P.TEMP_MAX_MDEGC: len(f) - 1,
                 P.TEMP_MIN_MDEGC: temp0, P.PACK_UV: F.PACK_UV, P.CHARGE_OVER_UA: F.CURRENT_UA,
                 P.FET_MDEGC: F.FET_MDEGC, P.BOARD_MDEGC: F.BOARD_MDEGC}  # fmt: skip
        bits = {P.FE_LOST_MS: F.VOLT_OK, P.TEMP_LOST_MS: F.TEMP_OK, P.SHORTS: F.SHORTED,
                P.FEATURES_LOST: F.FEATURE_LOST, P.GATES_DROPPED: F.GATE_DROPPED}  # fmt: skip
        if signal in bits:
            f[F.FLAGS] ^= bits[signal]
        elif signal == P.FE_UNSTEADY_MS:
            f[F.FE_RESETS] += 1
        elif signal == P.OVERRUN_MS:
            f[F.T_MS] += P.DT_MAX_MS
        else:
            x = side * max(side * self.pack.rule(r)[0] for r in self.watching((signal, side)))
            x += side * 10_000
            if signal == P.CHARGE_OVER_UA:
                slack[P.CHARGE_LIMIT_UA] = 0
            if signal in slack:
                slack[signal] = x
            else:
                f[place[signal]] = -x if signal == P.DISCHARGE_UA else x

    def watching(self, push: Push) -> list[int]:
        """Return the rows that watch a signal to this side, of those that the pack has."""
        return [r for r, row in enumerate(self.rows)
                if (row[R.SIGNAL], row[R.SIDE]) == push
                and abs(self.pack.rule(r)[0]) != R.OFF]  # fmt: skip

    def on(self) -> None:
        """Boot, recover whatever stands, and close the gates."""
        rules, switch = self.core.rules.v, self.core.switch.v
        for k in range(_PATIENCE):
            if switch[W.STATE] != W.BOOT and not any(rules[::STRIDE]):
                break
            # The load goes before anybody clears: a row that wants a person waits on.
            self.tick(request=W.NONE if k % 8 else W.CLEAR, charging=True)
        self.tick(request=W.CLOSE)
        if switch[W.STATE] == W.PRE:
            self.tick()
        assert switch[W.STATE] == W.ON, W.STATES[switch[W.STATE]]

    def every_signal(self) -> None:
        """Push signal after signal until all its rows have acted and shed, then recover."""
        rules = self.core.rules.v
        for push in self.pushes:
            rows = self.watching(push)
            for _ in range(_PATIENCE):
                self.tick(push)
                if all(rules[STRIDE * r] >= ACTED and rules[STRIDE * r + 2] >= self.pack.rule(r)[3]
                       for r in rows):  # fmt: skip
                    break
            self.on()

    def requests(self) -> None:
        """Make every request, among them one that comes too late and an ACK to a shed."""
        self.tick(request=W.OPEN)
        f = self.core.frame.v
        f[F.REQ_AGE_MS] = W.REQUEST_MAX_MS + 1
        self.tick(request=W.CLOSE)
        f[F.REQ_AGE_MS] = 0
        for request in (W.CLOSE, W.STORE, W.CLOSE, W.OPEN, W.CLOSE):
            self.tick(request=request)
        self.tick()
        rows = self.rows
        shed = next(push for push in self.pushes
                    if all(rows[r][R.SHED] == R.SHEDS for r in self.watching(push)))  # fmt: skip
        for _ in range(_PATIENCE):
            if self.core.switch.v[W.STATE] == W.SHEDDING:
                break
            self.tick(shed)
        self.tick(shed, request=W.ACK)
        self.on()

    def all_at_once(self) -> None:
        """Push everything that can be read, then what the slack makes, then everything."""
        readable = [push for push in self.pushes if push[0] in P.READINGS]
        slack = [push for push in self.pushes if P.slack_signal(push[0])]
        for pushed in (readable, [*readable, *slack], self.pushes):
            for _ in range(_DELAY_TICKS + _SHED_TICKS + 3):
                self.tick(*pushed)
        for _ in range(2 * _RECOVER_TICKS):
            self.tick()
