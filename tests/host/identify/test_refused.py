"""Files that cannot be used: one line each, naming the file and what would be valid, status 2."""

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from solidbms.cli import main
from support import campaign as c

HEAD = "t_s,i_A,v_V,temp_C,ah"


@pytest.fixture(scope="module")
def tables() -> dict[str, c.Table]:
    cell = c.known_cell()
    return {"slow": c.slow_test(cell), "drive": c.drive(cell, 25.0)}


def refused(folder: Path, texts: dict[str, str], *options: str) -> str:
    """Run the command on files of these texts; return the one line that it must end with."""
    paths = [str(c.write(folder, name, text)) for name, text in texts.items()]
    out = folder / "known.toml"
    before = {p.name for p in folder.iterdir()}
    result = CliRunner().invoke(
        main, ["identify", *paths, "--name", "known", "--out", str(out), *options]
    )
    assert result.exit_code == 2, result.output
    assert {p.name for p in folder.iterdir()} == before
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and "valid" in lines[0], lines
    return lines[0]


def test_missing_column_is_named(tables, tmp_path):
    texts = {"slow.csv": tables["slow"].text("t_s,i_A,volts,temp_C,ah"),
             "drive.csv": tables["drive"].text()}  # fmt: skip
    line = refused(tmp_path, texts)
    assert "slow.csv: v_V: no column 'v_V' among 't_s, i_A, volts" in line


def test_no_temperature_anywhere(tables, tmp_path):
    head = "t_s,i_A,v_V"
    texts = {"drive.csv": tables["drive"].text(head), "slow.csv": tables["slow"].text()}
    assert "drive.csv: temp_C: no such column; --temp-c" in refused(tmp_path, texts)


def test_time_that_runs_back(tables, tmp_path):
    rows = np.arange(len(tables["drive"].t_s))
    rows[100:200] = rows[100:200][::-1]
    texts = {"slow.csv": tables["slow"].text(), "drive.csv": tables["drive"].text(keep=rows)}
    line = refused(tmp_path, texts)
    assert "drive.csv: line 103: t_s: time runs back" in line and "rising time is valid" in line


def test_current_that_goes_with_no_voltage(tables, tmp_path):
    """Half of the file turned round: neither way is right."""
    t = tables["drive"]
    half = len(t.t_s) // 2
    wrong = c.Table(t.t_s, np.where(np.arange(len(t.t_s)) < half, t.i_a, -t.i_a), t.v, t.temp_c,
                    -t.ah)  # fmt: skip
    texts = {"slow.csv": tables["slow"].text(), "drive.csv": wrong.text()}
    line = refused(tmp_path, texts)
    assert "drive.csv: i_A: " in line and "turned round it is no better" in line


def test_gap_that_no_counter_bridges(tables, tmp_path):
    t = tables["drive"]
    busy = int(np.flatnonzero(t.i_a < 0)[500])
    keep = np.r_[0:busy, np.flatnonzero((t.t_s > t.t_s[busy] + 600) & (t.i_a < 0))[0]:len(t.t_s)]
    head = "t_s,i_A,v_V,temp_C"
    texts = {"slow.csv": tables["slow"].text(), "drive.csv": t.text(head, keep=keep)}
    line = refused(tmp_path, texts)
    assert "drive.csv: t_s: no rows for" in line and "a counter (ah, or chg_Ah and dis_Ah)" in line


def test_no_slow_test(tables, tmp_path):
    line = refused(tmp_path, {"drive.csv": tables["drive"].text()})
    assert "drive.csv: no slow test here nor in the other files" in line and "C/14" in line


def test_no_pulses(tables, tmp_path):
    line = refused(tmp_path, {"slow.csv": tables["slow"].text()})
    assert "slow.csv: no pulses or drives here nor in the other files" in line


def test_only_a_slow_charge(tables, tmp_path):
    t = tables["slow"]
    up = slice(int(np.argmin(t.ah)), None)
    texts = {"slow.csv": t.text(keep=up), "drive.csv": tables["drive"].text()}
    assert "slow.csv: no discharge among the slow tests" in refused(tmp_path, texts)


def test_drive_that_starts_where_voltage_does_not_tell(tmp_path):
    """On a plateau, as of LFP: half full could be anything."""
    flat = [2.6, 3.2, *np.linspace(3.28, 3.32, len(c.SOC) - 4), 3.35, 3.6]
    cell = c.known_cell(v=flat)
    drive = c.drive(cell, 25.0)
    long = np.flatnonzero((drive.ah < -0.6) & (np.diff(drive.t_s, prepend=0) > 5))
    slow = c.slow_test(cell).text()
    half = drive.text(keep=slice(int(long[0]), None))
    line = refused(tmp_path, {"slow.csv": slow, "half.csv": half})
    assert "half.csv: starts at 3.3" in line and "starting at rest, full" in line
    short = np.flatnonzero((drive.ah < -1.0) & (drive.i_a == 0))
    half = drive.text(keep=slice(int(short[0]), None))
    line = refused(tmp_path, {"slow.csv": slow, "half.csv": half})
    assert "half.csv: starts neither full nor with 60 s of rest" in line


def test_counter_in_another_unit(tables, tmp_path):
    t = tables["drive"]
    milli = c.Table(t.t_s, t.i_a, t.v, t.temp_c, t.ah * 1000)
    texts = {"slow.csv": tables["slow"].text(), "drive.csv": milli.text()}
    line = refused(tmp_path, texts)
    assert "drive.csv: ah: the counter moves 99" in line and "A and Ah are valid" in line


def test_charge_beyond_the_cell(tables, tmp_path):
    """Started at 15 %, but taken for a file that starts full: its voltage is that of another."""
    t = tables["drive"]
    low = c.Table(t.t_s, t.i_a, t.v - 0.9, t.temp_c, t.ah)
    texts = {"slow.csv": tables["slow"].text(), "drive.csv": low.text()}
    line = refused(tmp_path, texts)
    assert "drive.csv: " in line and "its charge goes to -0." in line


def test_drive_that_starts_under_load(tables, tmp_path):
    t = tables["drive"]
    busy = int(np.flatnonzero(t.i_a < -3)[0])
    texts = {"slow.csv": tables["slow"].text(), "drive.csv": t.text(keep=slice(busy, None))}
    assert "drive.csv: starts under -" in refused(tmp_path, texts)


def test_every_file_has_its_line(tables, tmp_path):
    c.write(tmp_path, "a.csv", "x,y\n1,2\n")
    args = ["identify", str(tmp_path / "a.csv"), str(tmp_path / "b.csv"), "--name", "k", "--out",
            str(tmp_path / "k.toml")]  # fmt: skip
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 2
    first, second = result.stderr.splitlines()
    assert "a.csv: t_s: no column" in first and "b.csv: no such file" in second


@pytest.mark.parametrize(("options", "says"), [
    (["--name", "a b", "--out", "x.toml"], "--name: letters, digits, _ . - are valid, not 'a b'"),
    (["--name", "k", "--out", "x.txt"], "--out: a name that ends in .toml is valid"),
    (["--name", "k", "--out", "no/such/x.toml"], "--out: no such directory"),
    (["--name", "k", "--out", "x.toml", "--temp-c", "300"], "--temp-c: -60 to 150 is valid"),
    (["--name", "k", "--out", "drive.toml"], "--out: would be overwritten"),
    (["--name", "k", "--out", "x.toml", "--columns", "i=I"], "--columns: 'i=I'"),
])  # fmt: skip
def test_what_was_asked(options, says, tables, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    c.write(tmp_path, "drive.toml", tables["drive"].text())
    result = CliRunner().invoke(main, ["identify", "drive.toml", *options])
    assert result.exit_code == 2 and result.stderr.count("\n") == 1, result.output
    assert says in result.stderr


def test_same_file_twice(tables, tmp_path):
    path = str(c.write(tmp_path, "slow.csv", tables["slow"].text()))
    args = ["identify", path, path, "--name", "k", "--out", str(tmp_path / "k.toml")]
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 2 and "slow.csv: named twice" in result.stderr


def test_without_scipy(tables, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    line = refused(tmp_path, {"slow.csv": tables["slow"].text()})
    assert line.startswith("identify: needs scipy")


@pytest.mark.parametrize("at", range(3))
def test_ctrl_c_leaves_no_half_file(at, tables, tmp_path, monkeypatch):
    """Stopped at every write and replacement: the old files are whole, and there are no others."""
    texts = {"slow.csv": tables["slow"].text(), "drive.csv": tables["drive"].text()}
    paths = [str(c.write(tmp_path, name, text)) for name, text in texts.items()]
    out = c.write(tmp_path, "known.toml", "old = 1\n")
    before = {p.name for p in tmp_path.iterdir()}
    steps = itertools.count()

    def stopping(work):
        def step(*args, **kwargs):
            if next(steps) == at:
                if args[1:] and isinstance(args[1], str):
                    work(args[0], args[1][:99])
                raise KeyboardInterrupt
            return work(*args, **kwargs)

        return step

    monkeypatch.setattr(Path, "write_text", stopping(Path.write_text))
    monkeypatch.setattr(Path, "replace", stopping(Path.replace))
    args = ["identify", *paths, "--name", "known", "--out", str(out)]
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 1 and result.stderr == "stopped\n"
    assert {p.name for p in tmp_path.iterdir()} == before
    assert out.read_text() == "old = 1\n"
