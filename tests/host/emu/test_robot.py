"""robot_14s on an emulated board: one rule of each kind, from what sensors show to the pin."""

from __future__ import annotations

from typing import NamedTuple

import pytest

pytest.importorskip("rp2040py", reason="emu: no emulator of the RP2040 on this system")

from bms.core import rules as R
from bms.core import switch as W
from bms.links import framing as L
from solidbms.faults import FaultFile
from solidbms.packrules import Rule
from solidbms.reaction import Witness
from solidbms.scenario import FaultUse
from solidbms.schema import HIL, check, read_toml
from support.emulated import Closed

END_S = 1e6
STATUS_MS = 200
TICK_MS = 50
ACK_MS = 2 * TICK_MS + 60  # two ticks, and the way there and back by 20 ms looks


class Kind(NamedTuple):
    """A rule that opens the gates, and what brings it about."""

    rule: str
    fault: str = ""
    cell: int | None = None
    load_a: float | None = None
    acks: bool = False  # the robot sits down and says so, at the first Status that tells of a shed


KINDS = {
    "a cell, as the chip scans it": Kind("cell_ov_cut", "cell_v_high", cell=3),
    "current": Kind("dsg_oc_cut", load_a=-95.0),
    "temperature": Kind("hot_cut", "temp_high"),
    "the chip's comparator": Kind("short", load_a=-400.0),
    "a silent bus, the whole notice": Kind("fe_lost", "bus_nack"),
    "out of the slack, acknowledged": Kind("stack_odd", "stack_v_low", acks=True),
}


class Seen(NamedTuple):
    """What a fault came to; times in ms of the world."""

    began_ms: int
    crossed_ms: int | None  # None: no sensor shows it
    told_ms: int | None  # first Status that says how long until the cut
    opened_ms: int | None
    tripped: list[str]


def _break(board: Closed, kind: Kind) -> None:
    world = board.world
    if kind.load_a is not None:
        world.plant.scenario.load[0].current_a = kind.load_a  # type: ignore[attr-defined] - driven
    if kind.fault:
        file = HIL / "faults" / f"{kind.fault}.toml"
        use = FaultUse(use=kind.fault, index=kind.cell, from_s=world.elapsed_ms / 1000,
                       until_s=END_S)  # fmt: skip
        world.put(use, check(FaultFile, read_toml(file), file))


def _until_open(board: Closed, rule: Rule, acks: bool, limit_s: float) -> Seen:
    """Serve until no gate of the rule's path is closed; see what came of it."""
    world, began_ms = board.world, board.world.elapsed_ms
    board.session.send(L.ASK, L.ASK_RATE, STATUS_MS)
    path = rule.row[R.PATH]
    told_ms = None
    while world.elapsed_ms < began_ms + limit_s * 1000 and world.gate_log[-1][1] & path:
        board.session.serve(0.02)
        if told_ms is None and board.statuses[-1].state == "shedding":
            told_ms = world.elapsed_ms
            if acks:
                board.session.send(L.REQUEST, W.ACK)
    opened_ms = None if world.gate_log[-1][1] & path else world.gate_log[-1][0]
    board.serve_for(0.5)
    witness = Witness(world, board.compiled.blob)
    crossed_ms = witness.crossed_ms(rule, opened_ms) if opened_ms is not None else None
    return Seen(began_ms, crossed_ms, told_ms, opened_ms, board.statuses[-1].acted(R.TRIP))


@pytest.mark.parametrize("what", KINDS)
def test_the_gate_opens_in_time(walking: Closed, what: str) -> None:
    kind = KINDS[what]
    rule = next(rule for rule in walking.compiled.rules if rule.id == kind.rule)
    promise_ms = rule.promise_ms(TICK_MS)

    def act() -> Seen:
        _break(walking, kind)
        return _until_open(walking, rule, kind.acks, promise_ms / 1000 + 1)

    seen = walking.in_child(act)
    assert kind.rule in seen.tripped
    assert seen.opened_ms is not None
    since_ms = seen.began_ms if seen.crossed_ms is None else seen.crossed_ms
    assert seen.opened_ms - since_ms <= promise_ms
    if rule.shed_ms and kind.acks:
        assert seen.told_ms is not None and seen.opened_ms - seen.told_ms <= ACK_MS
    elif rule.shed_ms:
        # What a Status takes to the host is part of the notice.
        assert seen.told_ms is not None and seen.opened_ms - seen.told_ms >= rule.shed_ms - TICK_MS


def test_terminals_that_do_not_come_up(walking: Closed) -> None:
    rule = next(rule for rule in walking.compiled.rules if rule.id == "pre_failed")

    def act() -> Seen:
        world, serve = walking.world, walking.serve_until
        walking.session.send(L.REQUEST, W.OPEN)
        serve(lambda: not world.gate_log[-1][1])
        _break(walking, Kind(rule.id, "pre_fet_open"))
        walking.session.send(L.REQUEST, W.CLOSE)
        serve(lambda: bool(world.gate_log[-1][1] & R.DISCHARGE))
        return _until_open(walking, rule, False, 5.0)

    seen = walking.in_child(act)
    assert seen.tripped == ["pre_failed"]
    assert seen.opened_ms is not None
    closed_ms = seen.began_ms  # up to a look of the host after the pin
    assert rule.limit - TICK_MS <= seen.opened_ms - closed_ms
    assert seen.opened_ms - closed_ms <= rule.limit + rule.promise_ms(TICK_MS)
