"""Every rule of the robot pack, through chip model, driver and loop, to the pin: `stimuli` makes
it act and no other before it, within its promise and not before its delay and shed time."""

from __future__ import annotations

import pytest
from bms.core import rules as R
from solidbms.campaign import stimuli
from support.packs import compiled

PACK = compiled("robot_14s")
RULES = {rule.id: rule for rule in PACK.rules}
TICK_MS = PACK.file.tick_ms


def test_every_rule_has_a_run_or_a_reason():
    ids = {row[R.ID] for row in R.ROWS}
    assert set(stimuli.STIMULI) | set(stimuli.WITHOUT) == ids
    assert not set(stimuli.STIMULI) & set(stimuli.WITHOUT)


@pytest.mark.parametrize("name", stimuli.names(PACK))
def test_acts_alone_and_within_its_promise(name):
    shown = stimuli.run(name, PACK)
    rule = RULES[name]
    own = next(t for t in shown["trips"] if t["rule"] == name)
    assert shown["others"] == [] and shown["early"] == []
    assert shown["drops"] == [] and shown["died"] == ""
    took_ms = own["measured_ms"]
    if own["level"] != "trip" and not stimuli.STIMULI[name].sharp:
        took_ms = own["acted_ms"] - own["crossed_ms"]
    assert took_ms is not None
    # The promise is for closed gates; with all open (current_zero) ticks are longer.
    assert took_ms <= own["promise_ms"]
    if name != "gate_dropped":  # the dead-man is there before its row
        assert took_ms >= rule.delay_ms + rule.shed_ms
