"""Every scenario file, on every target: as it expects, and the same bit for bit.

A new file in hil/scenarios is tested without a new test. Each run is made once a session by
whichever test process asks first.
"""

import fcntl
import functools
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from bms.core.core import Core
from bms.core.pack import Pack
from fixtures import wasm31
from solidbms import record
from solidbms.campaign.cases import cases
from solidbms.compare import compare
from solidbms.jobs import scenario_job
from solidbms.run import execute, replay_frames
from solidbms.schema import HIL, ROOT
from solidbms.targets import TARGETS, unix

FILES = sorted((HIL / "scenarios").glob("*.toml"), key=lambda path: -path.stat().st_size)
SCENARIOS = [path.stem for path in FILES]  # the longest first: it sets the time of the suite
TEXTS = ("trace.csv", "events.csv")
HEAP = ("-X", f"heapsize={unix.HEAP}")
REPLAY = Path(wasm31.__file__).with_name("replay_frames.py")

every_scenario = pytest.mark.parametrize("name", SCENARIOS)
on_unix = pytest.mark.skipif(unix.interpreter() is None, reason="no MicroPython for this machine")


@pytest.fixture(scope="session")
def ran(tmp_path_factory):
    """Return a function that runs (scenario, target) once and gives its directory."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    main = wasm31.command(*HEAP, wasm31.MAIN)
    targets = {**TARGETS, "wasm31": functools.partial(unix.run, command=main)}

    def run(name: str, target: str) -> Path:
        out = shared / "runs" / name / target
        out.mkdir(parents=True, exist_ok=True)
        with (out / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (out / "done").exists():
                with pytest.MonkeyPatch.context() as patch:
                    patch.setitem(TARGETS, target, targets[target])
                    execute(scenario_job(name), target, out, lambda share, line: None)
                (out / "done").touch()
        return out

    return run


def failed(directory: Path) -> list[dict]:
    """Return what a run did not do as its scenario expects."""
    summary = json.loads((directory / "summary.json").read_text())
    lines = [line for line in summary["expected"] if not line["ok"]]
    assert summary["expected"] and (summary["verdict"] == "pass") == (not lines)
    return lines


@every_scenario
@pytest.mark.parametrize(
    "target", [pytest.param("unix", marks=on_unix), "cpython", "wasm31"]
)
def test_ends_as_it_expects(ran, name, target):
    # On `unix` this is the shipped main.py, on `wasm31` its loop: any allocation from frame to
    # gates, and on `wasm31` any integer beyond 31 bits there, would have ended it.
    assert failed(ran(name, target)) == []


@every_scenario
@pytest.mark.parametrize("target", [pytest.param("unix", marks=on_unix), "wasm31"])
def test_the_same_on_every_target(ran, name, target):
    one, other = ran(name, "cpython"), ran(name, target)
    assert compare(one, other)[0] is None
    assert (one / "ticks.bin").read_bytes() == (other / "ticks.bin").read_bytes()
    for text in TEXTS:
        assert (one / text).read_text() == (other / text).read_text()


@every_scenario
def test_recorded_frames_replay_to_the_same_states(ran, name, tmp_path):
    run = record.read(ran(name, "cpython"))
    assert len(run.words) > 1
    assert np.array_equal(replay_frames(run), run["hash"])
    assert np.array_equal(hashes_on_wasm31(run, tmp_path), run["hash"])


def hashes_on_wasm31(run: record.Record, directory: Path) -> np.ndarray:
    """Return the hash of every tick, as the core with 31-bit integers makes it of the Frames."""
    size = len(Core(Pack(run.blob)).frame.v)
    files = [directory / name for name in ("pack.bin", "frames.bin", "hashes.bin")]
    files[0].write_bytes(run.blob)
    files[1].write_bytes(np.ascontiguousarray(run.words[:, :size], "<i4").tobytes())
    done = subprocess.run(
        wasm31.command(*HEAP, REPLAY, *files),
        env={**os.environ, "MICROPYPATH": str(ROOT / "firmware")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.split() == [str(len(run.words))], done.stderr
    return np.fromfile(files[2], "<i4")


def test_every_fault_file_is_used():
    used = {use.use for name in SCENARIOS for use in _scenario(name).fault}
    assert used | set(cases()) >= {path.stem for path in (HIL / "faults").glob("*.toml")}


def test_every_name_is_its_files():
    for path in FILES:
        assert _scenario(path.stem).name == path.stem


def _scenario(name: str):
    from solidbms.scenario import load_scenario

    return load_scenario(name)[0]
