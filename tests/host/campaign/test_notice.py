"""A load that was dropped: by whom, and with how much notice."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bms.core import protect, switch
from solidbms.campaign.notice import unannounced
from support.packs import compiled

PACK = compiled("bench_1s")
TICK_MS = PACK.file.tick_ms
FALLS = 400  # the tick in which the gate opens
SHED_MS = next(rule.shed_ms for rule in PACK.rules if rule.id == "fe_lost")


def outcome(
    acted: dict[str, int] | None = None, request: int = 0, short_ms: int = 0
) -> Any:
    """acted: the tick in which a rule acted; short_ms: what its own count lacks at the end."""
    n = 500
    words = {name: np.zeros(n, int) for name in ("frame.req_seq", "frame.req_code")}
    words["status.dsg_on"] = (np.arange(n) < FALLS).astype(int)
    if request:
        words["frame.req_seq"][FALLS:] = 1
        words["frame.req_code"][FALLS:] = request
    phases = {}
    for rule in PACK.rules:
        phase = phases[rule.id] = np.zeros(n, int)
        shed = words[f"rule.{rule.id}.shed_ms"] = np.zeros(n, int)
        if rule.id in (acted or {}):
            phase[(acted or {})[rule.id] :] = protect.ACTED
            shed[FALLS:] = rule.shed_ms - short_ms
    return SimpleNamespace(record=words, compiled=PACK, phases=phases,
                           t_ms=np.arange(n) * TICK_MS)  # fmt: skip


FULL = FALLS - SHED_MS // TICK_MS


@pytest.mark.parametrize("request_code", [switch.OPEN, switch.STORE, switch.ACK])
def test_somebody_asked(request_code):
    assert unannounced(outcome(request=request_code)) == []


def test_nobody_asked_and_no_rule():
    (drop,) = unannounced(outcome())
    assert drop == {"t_ms": FALLS * TICK_MS, "rules": [], "notice_ms": 0, "shed_ms": 0}
    assert unannounced(outcome(request=switch.CLEAR)) != []


def test_a_rule_without_shed_time_owes_no_notice():
    assert unannounced(outcome({"hot_cut": FALLS})) == []
    assert unannounced(outcome({"cell_ov_cut": FALLS})) != [], "charge alone: not its business"


@pytest.mark.parametrize("ticks", [0, 1])
def test_notice_runs_from_acting_to_the_gate(ticks):
    drops = unannounced(outcome({"fe_lost": FULL + ticks}))
    assert bool(drops) == bool(ticks)
    if drops:
        assert drops[0]["rules"] == ["fe_lost"]
        assert drops[0]["notice_ms"] == SHED_MS - TICK_MS * ticks


def test_a_shed_that_still_runs_is_no_reason():
    assert unannounced(outcome({"fe_lost": 0}, short_ms=1)) != []
