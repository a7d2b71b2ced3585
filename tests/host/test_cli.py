"""The command line as a new user meets it: what is wrong, in one line, and nothing lost."""

from __future__ import annotations

import csv
import errno
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from solidbms.cli import IMAGE, main
from solidbms.plant.drive import Drive
from solidbms.record import read
from solidbms.run import OUTPUTS as FILES
from solidbms.run import UNFINISHED
from solidbms.schema import PLACEHOLDERS, ROOT
from solidbms.targets import TARGETS, unix

OUTPUTS = {"ticks.bin", "trace.csv", "events.csv", "summary.json", "report.html"}
needs_unix = pytest.mark.skipif(unix.interpreter() is None, reason="no MicroPython here")


def solidbms(*args: object) -> Result:
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def refused(*args: object) -> str:
    """Return the one line of an invocation that must end with status 2."""
    result = solidbms(*args)
    assert result.exit_code == 2, result.output
    assert result.output.count("\n") == 1, result.output
    return result.output


@pytest.fixture
def short(tmp_path: Path) -> Path:
    path = tmp_path / "short.csv"
    rows = [f"{t},-1.0,3.7,25.0,{-t / 3600:.6f}" for t in range(8)]
    path.write_text("\n".join(["t_s,i_A,v_V,temp_C,ah", *rows, ""]))
    return path


def replay(path: Path, *args: object) -> tuple[object, ...]:
    return ("replay", path, "--cell", "lg_hg2", "--target", "cpython", *args)


def test_a_replay_leaves_everything(short, tmp_path):
    out = tmp_path / "deep" / "out"
    result = solidbms(*replay(short, "--out", out))
    assert result.exit_code == 0, result.output
    assert {path.name for path in out.iterdir()} >= OUTPUTS
    summary = json.loads((out / "summary.json").read_text())
    assert summary["verdict"] == "scored" and not summary["interrupted"]
    assert solidbms("compare", out, out).output == f"identical: {summary['ticks']} ticks\n"
    (out / "report.html").unlink()
    assert solidbms("report", out).exit_code == 0
    assert (out / "report.html").is_file()


def test_placeholders_in_a_cell_are_told(short, tmp_path):
    cell = (ROOT / "boards" / "cells" / "lg_hg2.toml").read_text()
    cell = cell.replace("[limits]\n", "[limits]\nplaceholders = true\n")
    (tmp_path / "cell.toml").write_text(cell)
    args = ("replay", short, "--cell", tmp_path / "cell.toml", "--target", "cpython")
    told = solidbms(*args, "--out", tmp_path).output
    assert f"  limits of cell lg_hg2: {PLACEHOLDERS}\n" in told
    assert PLACEHOLDERS in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["run", "nope"], r"nope\.toml: no such file; there are: .*drive_day"),
        (["run", "no/such.toml"], r"no/such\.toml: no such file; there are: none"),
        (["run", "."], "no such file"),
        (["run"], "Missing argument 'SCENARIO'"),
        (["run", "drive_day", "--target", "esp32"], "'cpython', 'unix', 'emu'"),
        (["run", "drive_minute", "--target", "emu"], "no RP2040 image; get one from https"),
        (["run", "drive_minute", "--target", "emu", "--uf2", "no.uf2"], "no file no.uf2; a Mic"),
        (["run", "drive_minute", "--link", "0"], "--link"),
        (["flash", "--board", "nope"], "no board 'nope'; there are: pico"),
        (["flash", "--pack", "nope"], r"nope\.toml: no such file"),
        (["flash"], "no board with USB id 2E8A:0005: plug it in"),
        (["run", "drive_day", "--seed", "-1"], "--seed"),
        (["run", "drive_day", "--out", ""], "'--out': a path is valid, not ''"),
        (["campaign", "bench_1s", "--out", ""], "'--out': a path is valid, not ''"),
        (["monitor", "sim:robot_warned"], "monitor: a terminal is valid, not a pipe or a file"),
        (["frobnicate"], "No such command 'frobnicate'"),
        (["explain", "nope"], r"nope\.toml: no such file; there are: bench_1s"),
        (["explain", "."], "no such file"),
        (["replay", "no.csv", "--cell", "lg_hg2", "--out", "o"], "no.csv: no such file"),
        (["replay", "no.csv", "--out", "o"], "Missing option '--cell'"),
        (["compare", "no_a", "no_b"], "no_a.*: .*a run's directory is valid"),
        (["report", "no_dir"], "no_dir.*: missing; the directory of a run is valid"),
    ],
)
def test_refused_in_one_line(args, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(IMAGE, "")
    monkeypatch.setattr("solidbms.mpboard.comports", list)
    assert re.search(says, refused(*args))
    assert list(tmp_path.iterdir()) == []


def test_bad_measurements_write_nothing(short, tmp_path):
    good = short.read_text()
    out = tmp_path / "out"
    for text in ("", good[:-25], good.replace("3.7", "nan"), good.replace(",", ";")):
        short.write_text(text)
        assert "short.csv: " in refused(*replay(short, "--out", out))
    short.write_text(good)
    assert "--adc-bits" in refused(*replay(short, "--out", out, "--adc-bits", 3))
    assert "--gain-pct" in refused(*replay(short, "--out", out, "--gain-pct", "nan"))
    assert "--cell: no cell 'nope'" in refused("replay", short, "--cell", "nope", "--out", out)
    for pack in ("robot_14s", "bench_4s"):
        line = refused(*replay(short, "--out", out, "--pack", pack))
        assert line.startswith("--pack: a pack of one cell is valid")
    assert not out.exists()


def test_measurements_that_leave_something_open(short, tmp_path):
    good = short.read_text()
    out = ("--out", tmp_path / "out")
    assert "WARNING" not in solidbms(*replay(short, *out)).output
    short.write_text(good + "900,-1.0,3.7,25.0,-0.25\n")
    result = solidbms(*replay(short, *out))
    assert result.exit_code == 0
    assert result.stderr == (f"WARNING: {short}: t_s: no rows for 893 s after 7 s, under current; "
                             "its last row is held there\n")  # fmt: skip
    short.write_text(good.replace(",-0.", ",0."))
    line = refused(*replay(short, *out))
    assert "short.csv: i_A: the counter of charge goes against the current; current and" in line


def test_several_wrong_options_have_a_line_each(short, tmp_path):
    wrong = ("--noise-mv", "-1", "--temp-c", 999)
    result = solidbms(*replay(short, "--out", tmp_path / "o", *wrong))
    assert result.exit_code == 2
    lines = result.output.splitlines()
    assert [line.split(":")[0] for line in lines] == ["--noise-mv", "--temp-c"]


def test_a_bad_pack_says_all_and_runs_nothing(tmp_path):
    pack = tmp_path / "p.toml"
    pack.write_text('base = "bench_1s"\nname = "p"\n[rules.cell_ov]\nlimit_mv = 4200\n')
    scenario = (ROOT / "hil" / "scenarios" / "drive_day.toml").read_text()
    (tmp_path / "s.toml").write_text(scenario.replace('"bench_1s"', f'"{pack}"'))
    out = tmp_path / "out"
    assert "limit_mv: unknown key; valid here" in refused("run", tmp_path / "s.toml", "--out", out)
    assert not out.exists()
    result = solidbms("explain", pack)
    assert result.exit_code == 2 and "limit_mv: unknown key" in result.output.splitlines()[-1]


def test_places_where_nothing_can_be_written(short, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    for out in (file, file / "below", Path("/proc/solidbms")):
        if out.parent.exists():
            line = refused(*replay(short, "--out", out))
            assert "--out: " in line and "a directory you can write to is valid" in line
    assert file.read_text() == "mine"
    (tmp_path / "odd" / "ticks.bin").mkdir(parents=True)
    (tmp_path / "odd" / "trace.csv").write_text("mine")
    assert "ticks.bin: Is a dir" in refused(*replay(short, "--out", tmp_path / "odd"))
    assert (tmp_path / "odd" / "trace.csv").read_text() == "mine"


def test_the_input_is_not_overwritten(short):
    trace = short.rename(short.with_name("trace.csv"))
    before = trace.read_text()
    assert "trace.csv would be overwritten" in refused(*replay(trace, "--out", trace.parent))
    assert trace.read_text() == before


@pytest.fixture
def done(short, tmp_path) -> Path:
    assert solidbms(*replay(short, "--out", tmp_path / "done")).exit_code == 0
    return tmp_path / "done"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def full(*args: object, **more) -> str:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("what", ["record.Writer.add", "record.Writer.close", "run.write_report"])
def test_a_full_disk_leaves_the_earlier_run(what, short, done, monkeypatch):
    before = contents(done)
    monkeypatch.setattr(f"solidbms.{what}", full)
    said = refused(*replay(short, "--out", done))
    assert "done: --out: No space left on device; a directory you can write to is valid" in said
    assert contents(done) == before


def test_the_results_of_an_earlier_run_are_replaced_at_the_end(short, done):
    (done / UNFINISHED).mkdir()  # as a run that was killed leaves it
    (done / UNFINISHED / "ticks.bin").write_bytes(b"old")
    before = contents(done)
    assert solidbms(*replay(short, "--out", done, "--gain-pct", 1)).exit_code == 0
    after = contents(done)
    assert set(after) == set(FILES) and after["ticks.bin"] != before["ticks.bin"]


def test_ctrl_c_leaves_a_finished_earlier_run(short, done, monkeypatch):
    def stopped(*args: object) -> None:
        raise KeyboardInterrupt

    before = contents(done)
    monkeypatch.setitem(TARGETS, "cpython", stopped)
    result = solidbms(*replay(short, "--out", done))
    assert result.exit_code == 1, result.output
    assert f"interrupted: what was simulated is kept in {done / UNFINISHED}\n" in result.output
    after = contents(done)
    assert set(after) - set(before) == {f"{UNFINISHED}/{name}" for name in FILES}
    assert {name: after[name] for name in before} == before


def test_compare_with_what_is_no_run(done, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    assert "a run's directory is valid" in refused("compare", done, other)
    whole = (done / "ticks.bin").read_bytes()
    for data in (b"", whole[:500], b"x" * 5000, whole[:12] + os.urandom(9000)):
        (other / "ticks.bin").write_bytes(data)
        assert "ticks.bin: " in refused("compare", done, other)
    (other / "ticks.bin").write_bytes(whole[:-5])
    result = solidbms("compare", done, other)
    assert result.exit_code == 1 and "then one ends" in result.output


@pytest.mark.parametrize("name", ["summary.json", "trace.csv", "events.csv"])
def test_report_of_damaged_files(done, name):
    path = done / name
    whole = path.read_bytes()
    path.unlink()
    assert f"{name}: missing" in refused("report", done)
    path.write_bytes(bytes(range(128, 256)) * 9)
    assert str(done) in refused("report", done)
    if name == "summary.json":
        for text in ("{", "[]", ""):
            path.write_text(text)
            assert f"{name}: " in refused("report", done)
    path.write_bytes(whole[: len(whole) // 2])
    assert solidbms("report", done).exit_code in (0, 2)  # half a CSV is still drawn
    path.write_bytes(whole)
    assert solidbms("report", done).exit_code == 0


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        ("summary.json", None, "{}", "scenario: a text, as `run` wrote it, is valid"),
        ("summary.json", '"limits": {', '"limits": 3, "x": {', "limits: an object, as `run`"),
        ("trace.csv", None, "", "no column t_s, state, soc_pct, "),
        ("trace.csv", "soc_pct", "soc", "no column soc_pct; the header that `run` wrote is"),
        ("trace.csv", "\n0,", "\nnought,", "row 1, t_s: 'nought' is not a number"),
        ("events.csv", None, "", "no column t_ms, event, detail; the header"),
    ],
)
def test_a_report_of_what_no_run_wrote_leaves_the_old_one(name, old, new, says, done):
    before = (done / "report.html").read_bytes()
    text = (done / name).read_text()
    (done / name).write_text(new if old is None else text.replace(old, new, 1))
    assert f"{name}: {says}" in refused("report", done)
    assert (done / "report.html").read_bytes() == before


def start(*args: object, **more) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "solidbms", *map(str, args)]
    return subprocess.Popen(
        command,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Where the suite runs in the background Ctrl-C is ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(  # noqa: PLW1509 - no threads here
            signal.SIGINT, signal.default_int_handler
        ),
        **more,
    )


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("no_such", "no_such: No such file or directory; valid here: "),
        (".", ".: no simulation runs there; `solidbms run SCENARIO --link` starts one"),
        ("sim:nope", "nope.toml: no such file; there are: "),
    ],
)
def test_the_monitor_of_what_is_no_pack_is_one_line(place, says, tmp_path):
    ours, theirs = pty.openpty()
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    run = subprocess.run(
        [sys.executable, "-m", "solidbms", "monitor", place], stdin=theirs, stdout=theirs,
        stderr=subprocess.PIPE, text=True, env=env, cwd=tmp_path, timeout=60,
    )  # fmt: skip
    os.close(ours)
    os.close(theirs)
    assert run.returncode == 2 and says in run.stderr and run.stderr.count("\n") == 1


def processes_with(text: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line:
            found.append(line)
    return found


@pytest.mark.parametrize("target", ["cpython", pytest.param("unix", marks=needs_unix)])
def test_ctrl_c_keeps_what_was_simulated(target, tmp_path):
    out = tmp_path / "out"
    process = start("run", "drive_day", "--target", target, "--out", out)
    record = out / UNFINISHED / "ticks.bin"
    until = time.monotonic() + 60
    while time.monotonic() < until and not (record.is_file() and record.stat().st_size > 1 << 20):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 1, text
    assert "Traceback" not in text
    assert f"interrupted: what was simulated is kept in {out}" in text
    assert {path.name for path in out.iterdir()} >= OUTPUTS
    summary = json.loads((out / "summary.json").read_text())
    assert summary["interrupted"] and summary["verdict"] == "interrupted"
    assert "INTERRUPTED, " in text and "FAIL" not in text
    page = (out / "report.html").read_text()
    assert "Interrupted: expectations were not checked." in page and "expects nothing" not in page
    ticks = len(read(out).words)
    assert ticks == summary["ticks"] > 100
    rows = list(csv.DictReader((out / "trace.csv").open()))
    assert float(rows[-1]["t_s"]) == pytest.approx(summary["simulated_s"], abs=2)
    assert solidbms("report", out).exit_code == 0
    if Path("/proc/self/cmdline").exists():
        assert processes_with(str(out)) == []


@pytest.mark.parametrize("module", ["solidbms.cli", "bench.__main__", "support.adversary"])
def test_ctrl_c_while_modules_load_is_one_line(module):
    code = (
        "import sys, importlib\n"
        "class Stop:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('click', 'numpy'): raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Stop())\n"
        f"importlib.import_module({module!r})\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert run.returncode in (-signal.SIGINT, 130) and run.stderr == "stopped\n"


def test_without_micropython_it_goes_on_loudly(short, tmp_path):
    """A bare interpreter, with neither the binary beside it nor on PATH."""
    real = Path(sys.executable).resolve()
    if (real.parent / "micropython").exists():
        pytest.skip("MicroPython beside the bare interpreter")
    paths = [path for path in sys.path if path]
    result = subprocess.run(
        [real, "-m", "solidbms", "replay", short, "--cell", "lg_hg2", "--target", "unix",
         "--out", tmp_path / "out"],
        env={"PYTHONPATH": os.pathsep.join(paths), "PATH": str(tmp_path)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stderr.startswith("WARNING: no MicroPython for this machine")
    assert " on cpython: SCORED" in result.stdout


@pytest.mark.parametrize("target", ["cpython", pytest.param("unix", marks=needs_unix)])
def test_a_simulation_that_fails_is_not_the_firmwares_death(target, tmp_path, monkeypatch):
    step = Drive.step

    def fail(self: Drive, t_s: float, *more: Any) -> None:
        if t_s > 2:
            raise ValueError("no such current")
        step(self, t_s, *more)

    monkeypatch.setattr(Drive, "step", fail)
    result = solidbms("run", "drive_minute", "--target", target, "--out", tmp_path / "o")
    assert result.exit_code == 1
    assert ("  FAIL the simulation runs to the end, got: the simulation failed: "
            "ValueError('no such current')\n") in result.output  # fmt: skip


@needs_unix
def test_a_firmware_that_dies_is_told_and_kept(short, tmp_path, monkeypatch):
    false = shutil.which("false")
    assert false
    monkeypatch.setattr(unix, "interpreter", lambda: Path(false))
    out = tmp_path / "o"
    result = solidbms("replay", short, "--cell", "lg_hg2", "--target", "unix", "--out", out)
    assert result.exit_code == 1
    assert "FAIL the firmware runs to the end, got: firmware died with status 1" in result.output
    assert {path.name for path in out.iterdir()} >= OUTPUTS
