"""The campaign as a command: the same again, kept when stopped, one line for wrong input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner
from solidbms.campaign import command, pool, shifts, stimuli
from solidbms.campaign.build import Spec, plan
from solidbms.campaign.cases import CONDITIONS, cases
from solidbms.cli import main
from support.packs import NAMES, compiled

NAME = "bench_1s"
PACK = compiled(NAME)
SPEC = Spec(NAME, "bus_nack", "load mild", 1)


def quietly(done: int, total: int, line: str) -> None:
    """Show no progress."""


def test_a_run_is_the_same_again():
    assert pool.run_spec(SPEC) == pool.run_spec(SPEC)


def test_runs_differ_by_what_they_try():
    case = cases()["bus_nack"]
    plans = [plan(Spec(NAME, "bus_nack", c, s), case, PACK) for c in CONDITIONS for s in range(3)]
    assert len({p.world_seed for p in plans}) == len(plans)
    assert len({p.onset_s for p in plans}) == len(plans)


def test_everything_is_tried():
    specs = command.all_specs("robot_14s", compiled("robot_14s"), quick=False)
    assert len(set(specs)) == len(specs)
    for name, case in cases().items():
        tried = [s for s in specs if s.case == name]
        assert len(tried) == command.SEEDS * len(case.conditions)
    rules = {s.case.removeprefix(stimuli.PREFIX) for s in specs if s.case.startswith("rule ")}
    assert rules == set(stimuli.names(compiled("robot_14s")))
    assert [s for s in specs if not s.case] == shifts.specs("robot_14s")


@pytest.fixture
def few(monkeypatch):
    """Three short runs in place of all."""
    specs = [SPEC, Spec(NAME, "bus_nack", "rest mild", 0), Spec(NAME, "ram_limit", "rest hot", 0)]
    monkeypatch.setattr(command, "all_specs", lambda *_: specs)


@pytest.mark.usefixtures("few")
def test_stopped_it_keeps_what_was_done(tmp_path, monkeypatch):
    real, count = pool.run_spec, 0

    def stopping(spec):
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        return real(spec)

    monkeypatch.setattr(pool, "run_spec", stopping)
    done = CliRunner().invoke(main, ["campaign", NAME, "--out", str(tmp_path), "--jobs", "1"])
    assert done.exit_code == 1
    assert "2 runs, interrupted" in done.output
    found = json.loads((tmp_path / "campaign.json").read_text())
    assert not found["whole"] and len(found["runs"]) == 2


@pytest.mark.usefixtures("few")
def test_the_same_in_several_processes(tmp_path):
    one = command.campaign(NAME, tmp_path / "one", False, 1, quietly)
    two = command.campaign(NAME, tmp_path / "two", False, 2, quietly)
    assert one == two and one["whole"]
    assert (tmp_path / "one" / "campaign.json").read_text() == (
        tmp_path / "two" / "campaign.json"
    ).read_text()


@pytest.mark.parametrize("words", [["campaign", "nope"], ["campaign", NAME, "--jobs", "0"]])
def test_wrong_input_is_one_line(words, tmp_path):
    done = CliRunner().invoke(main, [*words, "--out", str(tmp_path / "x")])
    assert done.exit_code == 2
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_directory_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    done = CliRunner().invoke(main, ["campaign", NAME, "--out", str(tmp_path / "file" / "x")])
    assert done.exit_code == 2
    assert "--out: " in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_each_pack_has_a_mark_of_its_own():
    marks = {command.pack_crc(compiled(name)) for name in NAMES}
    assert len(marks) == len(NAMES)


@pytest.mark.usefixtures("few")
def test_what_was_done_is_kept_on_the_way(tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "KEEP_EVERY", 2)
    seen = []
    (tmp_path / "campaign.json").write_text('{"runs": [0, 0, 0]}')  # of an earlier one

    def look(done: int, total: int, line: str) -> None:
        text = (tmp_path / "campaign.json").read_text()
        seen.append(len(json.loads(text)["runs"]))

    command.campaign(NAME, tmp_path, False, 1, look)
    assert seen == [3, 3, 2]


def test_ctrl_c_ends_it_at_once_and_keeps_what_was_done(tmp_path):
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from solidbms.campaign import command, shifts, pool; "
        "from solidbms.campaign.build import Spec; "
        "specs = [Spec('bench_1s', 'bus_nack', 'rest mild', 0), *shifts.specs('bench_1s')]; "
        "command.all_specs = lambda *_: specs; "
        "say = lambda done, total, line: print('one', flush=True); "
        "from pathlib import Path; "
        "found = command.campaign('bench_1s', Path(sys.argv[1]), False, 2, say); "
        "print(len(found['runs']), found['whole'])"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )  # fmt: skip
    assert run.stdout is not None and run.stdout.readline() == "one\n"
    run.send_signal(signal.SIGINT)
    out, _ = run.communicate(timeout=60)  # two shifts of two hours take longer
    assert out == "1 False\n"
    assert len(json.loads((tmp_path / "campaign.json").read_text())["runs"]) == 1
