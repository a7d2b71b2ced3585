"""docs/safety.md is what the code makes of docs/safety.json, and that of the packs as they are."""

from __future__ import annotations

import functools
import json
import re

import pytest
from solidbms import safety
from solidbms.campaign import command, pool, stimuli
from solidbms.campaign.build import Spec
from solidbms.campaign.cases import cases
from solidbms.schema import BadInput
from support.packs import compiled

MADE = safety.DATA.is_file()
DATA = json.loads(safety.DATA.read_text()) if MADE else {}
COMMAND = "run `make campaign`, which writes both files"
each_pack = pytest.mark.parametrize("name", sorted(DATA))
once_made = pytest.mark.skipif(not MADE, reason=f"docs/safety.json is not made yet: {COMMAND}")


@once_made
def test_the_page_is_what_the_code_makes():
    assert safety.PAGE.read_text() == safety.page(DATA), COMMAND


@once_made
def test_the_robot_pack_is_among_them():
    assert "robot_14s" in DATA


@each_pack
def test_of_the_pack_as_it_is(name):
    assert not safety.stale(name, DATA[name]), f"{name} has changed since its campaign: {COMMAND}"


@each_pack
def test_every_fault_and_every_rule_appears(name):
    found = DATA[name]
    assert set(found["faults"]) == set(cases()), COMMAND
    part = safety.page({name: found})
    for rule in compiled(name).rules:
        assert f"| {rule.id} |" in part
    for fault in cases():
        assert f"`{fault}`" in part


@each_pack
def test_nothing_came_that_no_run_may_show(name):
    assert DATA[name]["wrong"] == []
    assert DATA[name]["shifts"]["trips"] == []
    assert DATA[name]["shifts"]["hours"] >= 20
    assert command.missed(DATA[name]) == []


@each_pack
def test_no_rule_was_later_than_its_promise(name):
    late = {rule: m for rule, m in DATA[name]["rules"].items()
            if m["measured_ms"] > m["promise_ms"]}  # fmt: skip
    assert late == {}


SPECS = [Spec("robot_14s", "bus_nack", "load mild", 2),
         Spec("robot_14s", "cell_v_stuck", "rest mild", 0),
         Spec("robot_14s", stimuli.PREFIX + "cell_ov", "", 0),
         Spec("robot_14s", "", "shift 0.01 h 20 degC", 0)]  # fmt: skip


@functools.cache
def ran() -> tuple[dict, list[dict]]:
    """Return a campaign of a few runs."""
    runs = [pool.run_spec(spec) for spec in SPECS]
    return command.summary("robot_14s", compiled("robot_14s"), runs), runs


def campaign(**more) -> dict:
    summary, runs = ran()
    return {**summary, "quick": False, "whole": True, "runs": runs, **more}


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setattr(safety, "DATA", tmp_path / "safety.json")
    monkeypatch.setattr(safety, "PAGE", tmp_path / "safety.md")
    return tmp_path


def test_the_page_says_what_came(files):
    path = files / "campaign.json"
    path.write_text(json.dumps(campaign()))
    safety.take([path])
    text = safety.PAGE.read_text()
    assert re.search(r"\| `bus_nack`: .* \| fe_lost \| 0\.\d\d \| .* \| everywhere \|", text)
    assert re.search(r"^- `cell_v_stuck`, rest: at rest a sound reading stands still", text, re.M)
    assert re.search(r"^\| cell_ov \| trip \| charge \| .* \| 1 \|$", text, re.M)
    assert "0.01 simulated hours of shifts in 1 seeds, -10 to 45 degC: no trip" in text
    assert "lacks fuse that firmware can blow: stands in: the charger-inhibit line" in text
    assert not safety.stale("robot_14s", campaign())
    assert safety.stale("robot_14s", campaign(crc="00000000"))


def test_a_campaign_is_taken_in(files):
    path = files / "campaign.json"
    path.write_text(json.dumps(campaign()))
    safety.take([path])
    data = json.loads(safety.DATA.read_text())
    assert data["robot_14s"]["seeds"] == 3 and "runs" not in data["robot_14s"]
    assert safety.PAGE.read_text() == safety.page(data)
    safety.take([])  # again from what is there
    assert safety.PAGE.read_text() == safety.page(data)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no campaign; what `campaign` wrote is valid"),
        ("{", "no campaign"),
        ("{}", "no campaign"),
        ({"whole": False}, "a part of a campaign; a whole one is valid"),
        ({"quick": True}, "a part of a campaign"),
    ],
)
def test_what_is_no_whole_campaign_is_refused_in_a_line(files, content, says):
    path = files / "campaign.json"
    if isinstance(content, dict):
        content = json.dumps(campaign(**content))
    if content is not None:
        path.write_text(content)
    with pytest.raises(BadInput, match=says) as caught:
        safety.take([path])
    assert "\n" not in str(caught.value)
    assert not safety.PAGE.exists()
