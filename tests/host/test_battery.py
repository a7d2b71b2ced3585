"""Battery: what robot code sees, on simulations and on a pack that comes and goes."""

from __future__ import annotations

import importlib.util
import math
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from bms.core import switch as W
from solidbms.battery import Battery, Event, Limits, LinkError
from solidbms.schema import ROOT
from support.served import ServedPack, acted, until


@pytest.fixture
def pack(tmp_path: Path) -> Iterator[ServedPack]:
    made = ServedPack(
        tmp_path, state=W.ON, shed_left_ms=-1, soc_ppm=500000, soc_bound_ppm=50000,
        pack_uv=3_700_000, current_ua=-2_500_000, charge_limit_ma=3000, discharge_limit_ma=17000,
        temp_max_mdegc=31_500,
    )  # fmt: skip
    yield made
    made.end()


def test_what_the_pack_says(pack, tmp_path):
    with Battery(tmp_path) as battery:
        assert battery.connected and not battery.stale and battery.age_s < 1
        assert (battery.state, battery.soc, battery.bound) == ("on", 0.5, 0.05)
        assert (battery.voltage_v, battery.current_a, battery.temp_c) == (3.7, -2.5, 31.5)
        assert battery.limits == Limits(charge_a=3.0, discharge_a=17.0)
        assert battery.shed_left_s is None and not battery.warned
        assert battery.trips == [] and battery.warnings == []
        assert battery.info["pack"] == "p" and battery.error == ""
        assert until(lambda: battery.cells_v == [0.0] and battery.temps_c == [0.0])
        pack.words.update(state=W.TRIPPED, warned=1, **acted("hot", "hot_warn"))
        assert battery.wait_for("tripped")
        assert battery.trips == ["hot"] and battery.warnings == ["hot_warn"] and battery.warned
        assert not battery.wait_for("ship", timeout_s=0.05)
    assert not battery.connected and battery.error == "closed"


def test_requests_reach_the_pack_and_say_so(pack, tmp_path):
    with Battery(tmp_path) as battery:
        for ask in (battery.request_on, battery.request_off, battery.clear, battery.ack):
            assert ask()
        assert pack.asked == [W.CLOSE, W.OPEN, W.CLEAR, W.ACK]
        assert not battery.draw(1.0), "this one has nothing to draw from"
    assert not battery.request_on() and len(pack.asked) == 4


def test_leaving_asks_nothing(pack, tmp_path):
    Battery(tmp_path).close()
    assert pack.asked == []


def test_a_shed_is_told_once_with_what_is_left(pack, tmp_path):
    told: list[float] = []
    late: list[float] = []
    with Battery(tmp_path) as battery:
        battery.on_shed(told.append)
        pack.words.update(state=W.SHEDDING, shed_left_ms=10_000)
        assert until(lambda: told)
        pack.words["shed_left_ms"] = 9_000
        assert until(lambda: battery.shed_left_s == 9.0)
        battery.on_shed(late.append)  # it has begun already
        assert until(lambda: late)
        pack.words["shed_left_ms"] = -1
        assert until(lambda: battery.shed_left_s is None)
        pack.words["shed_left_ms"] = 5_000
        assert until(lambda: len(told) == 2 and len(late) == 2)
    assert told == [10.0, 5.0] and late == [9.0, 5.0]


def test_a_callback_may_ask_and_what_it_raises_is_logged(pack, tmp_path, caplog):
    acked: list[bool] = []

    def wrong(left_s: float) -> None:
        raise ValueError("my motors")

    with Battery(tmp_path) as battery:
        battery.on_shed(wrong)
        battery.on_shed(lambda left_s: acked.append(battery.ack()))
        pack.words.update(shed_left_ms=10_000)
        assert until(lambda: acked)
        assert acked == [True] and pack.asked == [W.ACK]
        assert battery.connected
    assert "my motors" in caplog.text


def test_silence_makes_it_stale_and_a_word_fresh_again(pack, tmp_path):
    with Battery(tmp_path) as battery:
        pack.quiet = True
        assert until(lambda: battery.stale)
        assert battery.age_s > 1 and battery.connected and battery.soc == 0.5
        assert not battery.request_on(), "nobody answers"
        pack.quiet = False
        assert until(lambda: not battery.stale)


def test_a_status_that_stands_still_is_stale_too(pack, tmp_path):
    with Battery(tmp_path) as battery:
        pack.stuck = True
        assert until(lambda: battery.stale)
        assert battery.connected
        pack.stuck = False
        assert until(lambda: not battery.stale)


def test_a_pack_that_goes_and_comes_back(tmp_path):
    events: list[Event] = []
    first = ServedPack(tmp_path, state=W.ON, shed_left_ms=4000)
    sheds: list[float] = []
    with Battery(tmp_path) as battery:
        battery.on_event(events.append)
        battery.on_shed(sheds.append)
        first.end()
        assert until(lambda: not battery.connected)
        assert battery.stale and battery.state == "on" and battery.error
        assert not battery.request_on()
        second = ServedPack(tmp_path, state=W.OFF, shed_left_ms=4000)
        assert until(lambda: battery.connected)
        assert battery.wait_for("off") and battery.error == ""
        assert until(lambda: len(sheds) == 2), "a shed that goes on is told again"
        second.end()
    kinds = [event.kind for event in events]
    assert kinds[:2] == ["disconnected", "connected"]


def test_nobody_there_is_one_line(tmp_path):
    began = threading.active_count()
    for place in (tmp_path, "/dev/nope", "sim:nope"):
        with pytest.raises(LinkError) as said:
            Battery(place)
        assert "\n" not in str(said.value)
    assert until(lambda: threading.active_count() == began)


def test_it_can_be_made_before_there_is_a_pack(tmp_path):
    battery = Battery(tmp_path, wait=False)
    assert battery.state == "" and math.isnan(battery.soc) and battery.stale
    assert battery.shed_left_s is None and battery.cells_v == [] and battery.trips == []
    assert until(lambda: "no simulation runs there" in battery.error)
    pack = ServedPack(tmp_path, state=W.ON)
    assert battery.wait_for("on")
    battery.close()
    pack.end()


def test_other_firmware_is_told(pack, tmp_path, monkeypatch):
    monkeypatch.setattr("solidbms.link.schema", lambda: 1)
    with pytest.raises(LinkError, match="flash again"):
        Battery(tmp_path)


def test_a_failure_of_its_own_ends_no_thread(pack, tmp_path, monkeypatch, caplog):
    with Battery(tmp_path) as battery:
        with monkeypatch.context() as patch:
            patch.setattr(battery, "_heard", None)
            assert until(lambda: not battery.connected)
        assert until(lambda: battery.connected)
    assert "NoneType" in caplog.text


def test_a_simulation_of_its_own():
    with Battery("sim:over_current@200") as battery:
        assert battery.wait_for("tripped") and battery.trips == ["dsg_oc"]
        assert until(lambda: not battery.connected, 20)
        assert battery.error == "the simulation has ended"


def test_light_enough_for_a_robot():
    heavy = ("numpy", "pydantic", "textual", "serial", "solidbms.world")
    code = f"import sys, solidbms.battery; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.strip() == "[]", run.stderr


# The example: warned, sat down, acknowledged, and cut after that.


def test_the_robot_sits_down_before_the_cut():
    command = [sys.executable, str(ROOT / "examples" / "robot.py"), "sim:robot_warned@50"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    steps = re.findall(r"([\d.]+) s  (.*)", run.stdout)
    assert [words.partition(":")[0] for _, words in steps] == [
        "pack", "on", "warned", "sat down", "acknowledged", "cut",
    ], run.stdout + run.stderr  # fmt: skip
    times = {words.partition(":")[0]: float(t_s) for t_s, words in steps}
    assert times["warned"] < times["sat down"] <= times["acknowledged"] <= times["cut"]
    assert times["cut"] < times["warned"] + 9.9, "before its time was over: it had acknowledged"
    told = dict(words.split(": ", 1) for _, words in steps if ": " in words)
    assert told["warned"].startswith("10.0 s left") and "hot" in told["warned"]
    assert told["sat down"] == "0.2 A" and told["cut"].startswith("tripped")


def test_the_robot_without_a_pack_says_so():
    spec = importlib.util.spec_from_file_location("robot", ROOT / "examples" / "robot.py")
    assert spec is not None and spec.loader is not None
    robot = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(robot)
    with pytest.raises(SystemExit, match=r"/dev/nope"):
        robot.main("/dev/nope")
