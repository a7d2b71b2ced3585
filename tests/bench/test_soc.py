"""What `make bench-soc` makes of a run: scores, schemes and tables, on small data."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from bench.soc import __main__ as command
from bench.soc import cases, filters, one, peers, table
from bench.soc.score import Score, Series, mean, score
from click.testing import CliRunner
from solidbms.cli import main as solidbms
from solidbms.packc import load
from solidbms.parallel import do_all
from solidbms.replay import Options, replay_job
from solidbms.schema import ROOT

US06 = ROOT / "tests" / "data" / "25degC_551_US06.csv.gz"


def series(error_pct: np.ndarray, bound_pct: float = 2.0) -> Series:
    """An estimate a second apart with these errors."""
    true = np.linspace(1, 0.5, len(error_pct))
    return Series(np.arange(float(len(true))), true + error_pct / 100, true,
                  np.full(len(true), bound_pct / 100))  # fmt: skip


class TestScore:
    def test_errors_count_from_20_minutes_on(self):
        error = np.where(np.arange(3601) < 1200, 30.0, -1.0)
        error[1200] = 3.0
        s = score(series(error))
        assert s.rmse_pct == pytest.approx(np.sqrt((9 + 2400) / 2401))
        assert s.max_pct == pytest.approx(3.0) and s.end_pct == pytest.approx(-1.0)

    def test_the_bound_counts_from_the_first_second_on(self):
        error = np.where(np.arange(3601) < 361, 30.0, 1.0)
        s = score(series(error))
        assert s.held_pct == pytest.approx(100 * 3240 / 3601) and s.bound_pct == pytest.approx(2)

    def test_within_5_percent_is_for_good(self):
        error = np.zeros(3601)
        error[[0, 40, 90]] = 30.0, -6.0, 5.01
        assert score(series(error)).close_s == 91
        assert score(series(np.zeros(3601))).close_s == 0
        error[-1] = 6.0
        assert score(series(error)).close_s == float("inf")

    def test_a_short_series_counts_by_its_second_half(self):
        error = np.where(np.arange(601) < 300, 8.0, 2.0)
        assert score(series(error)).rmse_pct == pytest.approx(2.0)

    def test_mean_of_files_and_the_worst(self):
        m = mean([Score(1.0, 2.0, -4.0, 10.0, 90.0, 3.0), Score(3.0, 8.0, 1.0, 0.0, 100.0, 5.0)])
        assert (m.rmse_pct, m.max_pct, m.held_pct, m.ratio) == (2.0, 5.0, 95.0, 2.0)
        assert (m.worst_rmse_pct, m.worst_max_pct, m.worst_end_pct) == (3.0, 8.0, 4.0)
        assert (m.worst_close_s, m.worst_held_pct) == (10.0, 90.0)


def readings(i_a: np.ndarray, v: np.ndarray, start: float | None = 0.5) -> peers.Readings:
    """A row a second; OCV from 3 V empty to 4 V full."""
    t_s = np.arange(float(len(i_a)))
    moved_as = np.append(0.0, np.cumsum(i_a[1:]))
    line = np.array([0.0, 1.0])
    return peers.Readings(t_s, i_a, v, np.full(len(t_s), 25.0), moved_as, 3600.0, line, 3 + line,
                          start, 0.05)  # fmt: skip


class TestPeers:
    def test_counting_starts_where_it_is_told_and_holds_at_full(self):
        soc = peers.counting(readings(np.full(3601, 1.0), np.full(3601, 3.5)))
        assert soc[0] == 0.5 and soc[900] == pytest.approx(0.75) and soc[-1] == 1.0
        soc = peers.counting(readings(np.full(11, 0.0), np.full(11, 3.8), None))
        assert soc[-1] == pytest.approx(0.8)

    def test_libre_solar_looks_up_at_boot_whatever_was_saved(self):
        soc = peers.libre_solar(readings(np.full(901, -1.0), np.full(901, 3.9)))
        assert soc[0] == pytest.approx(0.9) and soc[-1] == pytest.approx(0.65)

    def test_foxbms_looks_up_after_ten_minutes_of_rest(self):
        i_a = np.where(np.arange(2000) < 100, -1.0, -0.1)
        soc = peers.foxbms(readings(i_a, np.full(2000, 3.9)))
        assert soc[698] < 0.5 and soc[700] == pytest.approx(0.9)
        busy = np.where(np.arange(2000) % 590 == 0, -0.3, 0.0)
        assert peers.foxbms(readings(busy, np.full(2000, 3.9))).max() == pytest.approx(0.5)

    def test_vesc_follows_the_voltage_under_load(self):
        v = np.where(np.arange(200) < 100, 3.9, 3.4)
        soc = peers.vesc(readings(np.zeros(200), v))
        assert soc[99] == pytest.approx(0.9) and soc[-1] == pytest.approx(0.4, abs=1e-3)
        assert 0.4 < soc[104] < 0.9


@pytest.mark.parametrize("scheme", filters.SCHEMES.values(), ids=list(filters.SCHEMES))
def test_filters_find_a_start_20_percent_off(scheme):
    """On readings of their own model."""
    cell = load("bench_1s", "lg_hg2")[1]
    m = filters.Model(cell)
    rng = np.random.default_rng(1)
    i_a = np.repeat(rng.uniform(-4, 1, 180), 20)
    r = readings(i_a, np.full(3600, 3.9), 0.7)
    capacity_as = cell.capacity.ah * 3600
    soc = 0.9 + r.moved_as / capacity_as
    row = m.at(25.0)
    v, u = np.empty(3600), 0.0
    keep = np.exp(-1 / m.tau_s)
    for k, (z, i) in enumerate(zip(soc, i_a, strict=True)):
        u = keep * u + (1 - keep) * filters.line(m.r_soc, row.r1_ohm, z)[0] * i
        v[k] = (filters.line(m.ocv_soc, row.ocv_v, z)[0]
                + filters.line(m.r_soc, row.r0_ohm, z)[0] * i + u)  # fmt: skip
    r = peers.Readings(**{**vars(r), "v": v, "capacity_as": capacity_as, "start_sd": 0.15})
    error = scheme(r, cell) - soc
    assert abs(error[0]) == pytest.approx(0.2)
    assert np.abs(error[1200:]).max() < 0.03 and abs(error[-1]) < 0.003


@pytest.fixture(scope="module")
def short(tmp_path_factory) -> Path:
    """The first 15 minutes of US06, in a folder as the campaign's."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "lg_hg2").mkdir()
    with gzip.open(US06, "rt") as file:
        lines = file.readlines()[:900]
    (folder / "lg_hg2" / "25degC_551_US06.csv").write_text("".join(lines))
    return folder


def test_a_run_is_what_replay_does(short, tmp_path):
    """The same estimate at the same time as in the outputs of the command."""
    run = next(g for g in cases.groups(short) if g.name.endswith("30 % low")).runs[0]
    options = cases.replay_options(run)
    given = [x for k, v in options.items() for x in ("--" + k.replace("_", "-"), str(v))]
    out = tmp_path / "out"
    args = ["replay", str(run.path), "--cell", "lg_hg2", *given, "--out", str(out)]
    assert CliRunner().invoke(solidbms, args).exit_code == 0
    soc = json.loads((out / "summary.json").read_text())["soc"]
    ours = one.replayed(replay_job(run.path, Options(cell="lg_hg2", **options)))
    assert ours.bound is not None
    assert 100 * np.abs(ours.error).max() == pytest.approx(soc["max_pct"], abs=1e-3)
    assert 100 * ours.error[-1] == pytest.approx(soc["end_pct"], abs=1e-3)
    held = 100 * np.mean(np.abs(ours.error) <= ours.bound)
    assert held == pytest.approx(soc["bound_held_pct"], abs=1e-2)


def test_starts_and_errors_are_the_issues(short):
    found = {g.name: g for g in cases.groups(short)}
    low = cases.replay_options(found["LG 25, 40 degC, 30 % low"].runs[0])
    assert low == {"adc_bits": 12, "noise_mv": 2.0, "temp_step_c": 0.25, "gain_pct": 1.0,
                   "offset_ma": 50.0, "start_soc": 70.0, "start_bound_pct": 35.0}  # fmt: skip
    high = cases.replay_options(found["LG 25, 40 degC, 30 % high, from 70"].runs[0])
    assert (high["from_soc"], high["start_soc"], high["start_bound_pct"]) == (70.0, 100.0, 35.0)
    first = cases.replay_options(found["LG 25, 40 degC, from the first reading"].runs[0])
    assert "start_soc" not in first
    off = found["LG US06 40 to -20 degC, right, temperature +5 K"].runs[0]
    assert cases.replay_options(off)["temp_offset_c"] == 5.0


def test_every_sign_is_tried_and_the_goals_own_run_once(short):
    found = {g.name: g for g in cases.groups(short)}
    goal = found["LG 25, 40 degC, 30 % low"]
    runs = found[f"{goal.name}, {cases.EVERY_SIGN}"].runs
    signs = {(r.options["gain_pct"], r.options["offset_ma"]) for r in runs}
    assert signs == {(1.0, 50.0), (1.0, -50.0), (-1.0, 50.0), (-1.0, -50.0)}
    assert len(runs) == 4 and len(dict.fromkeys([*goal.runs, *runs])) == 4
    done = table.done(found.values(), [result(run, 0.5) for run in runs])
    assert {len(rs) for g, rs in done if g.goal} == {1}
    assert f"| {goal.name}, {cases.EVERY_SIGN} (1 file, 4 runs) |" in table.bounds(done)


def test_a123_is_scored_on_a_pack_that_states_its_sensor(tmp_path):
    (tmp_path / "a123").mkdir()
    for name in cases.A123_FILES.values():
        (tmp_path / "a123" / f"{name}.csv").touch()
    packs: dict[str, set[float]] = {}
    for run in (run for g in cases.groups(tmp_path) for run in g.runs):
        options = cases.replay_options(run)
        packs.setdefault(options.get("pack", "bench_1s"), set()).add(abs(options["offset_ma"]))
    assert packs == {"bench_1s": {5.0}, "bench_1s_lfp": {5.0}}
    stated = load("bench_1s_lfp", "a123_26650")[0].soc.offset_error_a
    assert stated == pytest.approx(5e-3)


def test_nothing_scored_was_fitted():
    """Mixed1 and Mixed2 made lg_hg2, LA92 panasonic_pf; A123's folds leave out what they score."""
    names = ["25degC_551_Mixed1", "25degC_551_HPPC", "25degC_549_C20DisCh"]
    folder = Path("x")
    assert not [p for p in cases._lg(folder, 25) if p.stem in names]
    for temp_c, name in cases.A123_FILES.items():
        assert f"P{temp_c:02}" in name


def result(run: cases.Run, rmse_pct: float) -> one.Result:
    s = Score(rmse_pct, 2 * rmse_pct, 0.1, 100.0, 94.0, 4.0 * rmse_pct)
    t_s = np.linspace(0, 2000, 50)
    errors = {name: np.zeros(50) for name in table.SCHEMES}
    worse = {name: Score(9.0, 20.0, 9.0, 0.0) for name in table.SCHEMES}
    return one.Result(run, {**worse, one.OURS: s}, t_s, t_s, errors, np.ones(50), 2000.0, 1.0)


def test_tables_say_what_is_met_and_what_is_not(short):
    found = [g for g in cases.groups(short) if g.goal]
    group = found[0]
    for rmse_pct, word in ((0.5, "yes"), (0.7, "NO")):
        done = table.done(found, [result(run, rmse_pct) for run in group.runs])
        row = table.goals(done).splitlines()[2]
        assert f"| {rmse_pct:.2f} / {2 * rmse_pct:.2f} |" in row and f"| {word} |" in row
        assert "94.0 **below 95**" in row and "4.0 **over 3**" in row
        assert f"**{rmse_pct:.2f} / {2 * rmse_pct:.1f}**" in table.beside(done)
    text = table.whole(done, "Stopped: 1 of 3 runs.")
    assert text.startswith("Stopped: 1 of 3 runs.") and "Without a goal" not in text


@pytest.mark.parametrize(("args", "says"), [
    ([], "no data; DATA=folder"),
    (["nowhere"], "nowhere: no such files; DATA=folder"),
])  # fmt: skip
def test_without_data_one_line_says_where_to_get_it(args, says, capsys):
    assert command.main(args) == 2
    err = capsys.readouterr().err
    assert says in err and "cp3473x7xv" in err and "esctoolbox" in err and err.count("\n") == 1


def test_the_command_writes_tables_page_and_results(short, tmp_path, capsys):
    out = tmp_path / "out"
    args = [str(short), "--out", str(out), "--jobs", "1", "--only", "25, 40 degC, from the first"]
    assert command.main(args) == 0
    text = (out / "table.md").read_text()
    assert "LG 25, 40 degC, from the first reading (1 file)" in text
    assert text in capsys.readouterr().out
    page = (out / "index.html").read_text()
    assert page.count("<svg") == 1
    assert "25degC_551_US06, 25 degC, gain +1 %, offset +50 mA:" in page
    assert "nan" not in page.lower()
    kept = json.loads((out / "results.json").read_text())[0]
    assert kept["groups"] == ["LG 25, 40 degC, from the first reading"]
    assert set(kept["scores"]) == set(table.SCHEMES)


def test_a_shared_run_stands_under_every_group_of_its(short):
    found = cases.groups(short)
    goal = found[0]
    kept = command._plain(result(goal.runs[0], 0.5), found)
    beside = "LG US06 40 to -20 degC, 30 % low"
    assert kept["groups"] == [goal.name, f"{goal.name}, {cases.EVERY_SIGN}", beside]


def test_tables_go_between_the_marks_of_a_page(tmp_path):
    path = tmp_path / "page.md"
    begin, end = command.MARKS
    path.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    command.put_into(path, "new\n")
    assert path.read_text() == f"before\n{begin}\n\nnew\n\n{end}\nafter\n"
    path.write_text("no marks\n")
    with pytest.raises(command.BadInput, match=r"page\.md: --into: a page with"):
        command.put_into(path, "new\n")
    assert all(mark in (ROOT / "docs" / "soc.md").read_text() for mark in command.MARKS)


@pytest.mark.parametrize("part", [["--goals"], ["--only", "LG"]])
def test_a_part_never_replaces_the_tables_of_a_page(part, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main(["x", "--into", str(tmp_path / "page.md"), *part])
    assert stopped.value.code == 2 and "without --only and --goals" in capsys.readouterr().err


def test_a_file_that_cannot_be_used_costs_no_other_run(short, tmp_path, capsys):
    folder = tmp_path / "lg_hg2"
    folder.mkdir()
    (folder / "25degC_551_US06.csv").write_bytes(
        (short / "lg_hg2" / "25degC_551_US06.csv").read_bytes()
    )
    (folder / "40degC_556_US06.csv").write_text("t_s,i_A\n")
    out = tmp_path / "out"
    args = [str(tmp_path), "--out", str(out), "--jobs", "1", "--only", "from the first"]
    assert command.main(args) == 1
    assert "40degC_556_US06: " in capsys.readouterr().err
    text = (out / "table.md").read_text()
    assert "1 of 2 runs cannot be done." in text and "(1 of 2 runs)" in text


def add(a: int, b: int) -> int:
    return a + b


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_result_comes_with_its_place(jobs):
    came: dict[int, int] = {}
    assert do_all([(add, (k, 10)) for k in range(5)], jobs, came.__setitem__)
    assert came == {k: k + 10 for k in range(5)}


STOPPED = """
import signal, sys, time
from solidbms.parallel import do_all
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
came = []
def take(at, result):
    came.append(at)
    print("one", flush=True)
whole = do_all([(time.sleep, (s,)) for s in (0.01, 600, 600)], 2, take)
print("whole" if whole else "stopped", came, flush=True)
"""


def test_ctrl_c_ends_it_at_once_and_keeps_what_came():
    path = os.pathsep.join(str(ROOT / p) for p in ("tests", "host", "firmware"))
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert process.stdout
    assert process.stdout.readline() == "one\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert out == "stopped [0]\n" and process.returncode == 0
