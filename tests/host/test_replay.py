"""A measured cell through the chip models: the bound, every option, every layout."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from solidbms.record import Record, read
from solidbms.replay import Options, Playback, replay_job
from solidbms.run import execute
from solidbms.schema import BadInput

US06 = Path(__file__).parents[1] / "data" / "25degC_551_US06.csv.gz"
AH = 2.781  # Q25 of lg_hg2


def options(**given) -> Options:
    return Options("lg_hg2", **given)


def replayed(path: Path, out: Path, **given) -> tuple[dict, Record]:
    summary = execute(replay_job(path, options(**given)), "cpython", out, lambda share, line: None)
    return summary, read(out)


def score(record: Record) -> tuple[np.ndarray, np.ndarray]:
    return record["status.soc_ppm"] / 1e4, record["status.soc_bound_ppm"] / 1e4


@pytest.mark.parametrize(
    "given",
    [{"start_soc": 90.0}, {"start_soc": 90.0, "from_soc": 80.0}],
    ids=["10 % low", "10 % high"],
)
def test_us06_begun_10_percent_wrong(given, tmp_path):
    summary, _ = replayed(
        US06, tmp_path, start_bound_pct=12.0, gain_pct=1.0, offset_ma=50.0, **given
    )
    soc, later = summary["soc"], summary["soc_later"]
    assert 9.5 < soc["max_pct"] < 12 and soc["bound_held_pct"] >= 95
    # 2.7 standard deviations, two of them the bound that was saved, and what a start adds.
    assert soc["bound_max_pct"] < np.hypot(2.7 * 6, 12)
    assert later["rmse_pct"] < 0.6 and later["max_pct"] < 2


def test_us06_from_its_first_reading(tmp_path):
    summary, _ = replayed(US06, tmp_path, gain_pct=1.0, offset_ma=50.0)
    soc = summary["soc"]
    assert soc["max_pct"] < 2 and soc["bound_held_pct"] >= 95 and soc["bound_max_pct"] < 8
    assert summary["simulated_s"] == pytest.approx(4014, abs=1)


def table(folder: Path, header: str, rows: list[tuple], name: str = "x.csv") -> Path:
    path = folder / name
    path.write_text(header + "\n" + "".join(",".join(map(str, r)) + "\n" for r in rows))
    return path


def drive(folder: Path, seconds: int = 60, amps: float = -2.781) -> Path:
    """A drive file of steady current after a second at rest; -1 A for 10 s is 1 ppm x 1000."""
    rows = [(0, 0.0, 0.0, 3.7, 25.0, 0.0)] + [
        (t, amps, amps, 3.7, 25.0, round(amps * t / 3600, 7)) for t in range(1, seconds + 1)
    ]
    return table(folder, "t_s,i_mean_A,i_A,v_V,temp_C,ah", rows)


# A start that is known exactly: what is made up here fits no cell, and counting alone shows.
KNOWN = {"start_soc": 50.0, "start_bound_pct": 0.01}


def moved_pct(record: Record) -> float:
    soc, _ = score(record)
    started = soc[record["soc.started"] == 1]
    return float(started[-1] - started[0])


LAYOUTS = {
    # header, rows, options, charge in Ah that the file moves
    "drive": (
        "t_s,i_mean_A,i_A,v_V,temp_C,ah",
        [(t, -3.6 if t else 0, -9.9, 3.7, 25, round(-0.001 * t, 6)) for t in range(61)],
        {}, -0.060,
    ),
    "HPPC": (
        "t_s,i_A,v_V,temp_C,ah",
        [(0.0, 0, 4.0, 25, 0.0), (0.1, 0, 4.0, 25, 0.0), (10.0, -9, 3.9, 25, 0.0),
         (10.0, -9, 3.8, 25, -0.001), (20.0, -9, 3.7, 25, -0.026), (80.0, 0, 3.6, 25, -0.500),
         (80.1, 0, 3.6, 25, -0.500)],
        {}, -0.500,
    ),
    "C/20": (
        "t_s,i_A,v_V,temp_C,ah",
        [(60.0 * k, -0.15, 4.17 - 0.01 * k, 24, round(-0.0025 - 0.0025 * k, 6)) for k in range(3)],
        {}, -0.005,
    ),
    "A123": (
        "t_s,step,i_A,v_V,chg_Ah,dis_Ah",
        [(6901.0165 + t, 1, 3.6 if t else 0, 3.5, 0.5, round(0.5 + 0.001 * t, 6))
         for t in range(61)],
        {"discharge_positive": True, "temp_c": 25.0}, -0.060,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_accumulator_follows_the_counter(name, tmp_path):
    header, rows, given, ah = LAYOUTS[name]
    path = table(tmp_path, header, rows)
    _, record = replayed(path, tmp_path / "out", **KNOWN, **given)
    assert moved_pct(record) == pytest.approx(100 * ah / AH, abs=0.08)
    temp_c = dict(zip(header.split(","), rows[-1], strict=True)).get("temp_C", 25)
    assert record["status.temp_max_mdegc"][-1] == pytest.approx(1e3 * temp_c, abs=500)


def test_registers_hold_the_sample_between_rows(tmp_path):
    header, rows, _, _ = LAYOUTS["HPPC"]
    path = table(tmp_path, header, rows)
    _, record = replayed(path, tmp_path / "out")
    at = record.elapsed_ms
    amps = record["status.current_ua"] / 1e6
    volts = record["status.pack_uv"] / 1e6
    middle = (at > 11000) & (at < 19000)
    assert amps[middle] == pytest.approx(-9, abs=1e-4) and len(set(amps[middle])) == 1
    assert volts[middle] == pytest.approx(3.8, abs=2e-4)  # the last row of that time


def test_gain_and_offset_act_on_registers_and_accumulator(tmp_path):
    path = drive(tmp_path)
    _, exact = replayed(path, tmp_path / "a", **KNOWN)
    _, wrong = replayed(path, tmp_path / "b", **KNOWN, gain_pct=10.0, offset_ma=500.0)
    shown_a = wrong["status.current_ua"][-1] / 1e6
    assert shown_a == pytest.approx(-2.781 * 1.1 + 0.5, abs=1e-4)
    assert moved_pct(exact) == pytest.approx(-100 / 60, abs=0.06)
    assert moved_pct(wrong) - moved_pct(exact) == pytest.approx(
        100 * (-0.2781 + 0.5) * 60 / 3600 / AH, abs=0.02
    )


def playback(**given) -> Playback:
    plant = replay_job(US06, options(**given)).world.plant
    assert isinstance(plant, Playback)
    return plant


def test_adc_bits_are_of_5_v_and_40_a_both_ways():
    exact, coarse = np.array(playback().rows), np.array(playback(adc_bits=10).rows)
    for k, step in ((0, 5 / 1024), (1, 80 / 1024)):
        codes = coarse[:, k] / step
        assert codes == pytest.approx(np.round(codes), abs=1e-9)
        assert np.abs(coarse[:, k] - exact[:, k]).max() <= step / 2 + 1e-12
    assert np.array_equal(exact[:, 2], coarse[:, 2])


def test_thermometer_steps_and_offset():
    exact = np.array(playback().rows)[:, 2]
    stepped = np.array(playback(temp_step_c=2.0).rows)[:, 2]
    assert set(stepped % 2) == {0.0} and np.abs(stepped - exact).max() <= 1
    shifted = np.array(playback(temp_offset_c=-3.0).rows)[:, 2]
    assert shifted == pytest.approx(exact - 3)
    assert playback(temp_offset_c=-3.0).truth()[1] == playback().truth()[1]


def test_noise_is_seeded(tmp_path):
    exact = np.array(playback().rows)[:, 0]
    one = np.array(playback(noise_mv=5.0, seed=1).rows)[:, 0]
    other = np.array(playback(noise_mv=5.0, seed=2).rows)[:, 0]
    assert (one - exact).std() == pytest.approx(5e-3, rel=0.1)
    assert not np.array_equal(one, other)
    path = drive(tmp_path, 20)
    for out in ("a", "b"):
        replayed(path, tmp_path / out, noise_mv=5.0, seed=7)
    a, b = ((tmp_path / out / "ticks.bin").read_bytes() for out in ("a", "b"))
    assert a == b
    replayed(path, tmp_path / "b", noise_mv=5.0, seed=8)
    assert (tmp_path / "b" / "ticks.bin").read_bytes() != a


def test_capacity_is_what_the_firmware_believes(tmp_path):
    path = drive(tmp_path)
    summary, exact = replayed(path, tmp_path / "a", **KNOWN)
    less, wrong = replayed(path, tmp_path / "b", **KNOWN, capacity_pct=-5.0)
    assert moved_pct(wrong) / moved_pct(exact) == pytest.approx(1 / 0.95, rel=1e-3)
    # The reference knows better.
    last = [(tmp_path / x / "trace.csv").read_text().splitlines()[-1] for x in "ab"]
    assert last[0].split(",")[-2:] == last[1].split(",")[-2:]
    assert summary["soc"]["max_pct"] != less["soc"]["max_pct"]


def test_from_soc_begins_where_the_reference_first_falls_below():
    whole, part = playback(), playback(from_soc=80.0)
    assert part.soc[0] < 0.8 <= whole.soc[len(whole.soc) - len(part.soc) - 1]
    assert part.t_s[0] == 0 and part.moved_as[0] == 0
    assert part.moved_as[-1] - whole.moved_as[-1] == pytest.approx(0.2 * AH * 3600, rel=0.01)


def test_start_soc_and_bound_are_believed_at_boot(tmp_path):
    path = drive(tmp_path, 5)
    _, record = replayed(path, tmp_path / "a", start_soc=42.0, start_bound_pct=7.0)
    soc, bound = score(record)
    k = int(np.argmax(record["soc.started"]))
    assert soc[k] == pytest.approx(42, abs=0.01) and bound[k] == pytest.approx(7, abs=0.01)
    _, record = replayed(path, tmp_path / "b", start_soc=42.0)
    assert score(record)[1][k] == 100.0  # no bound given: it may be anything
    _, record = replayed(path, tmp_path / "c")
    assert 20 < score(record)[0][k] < 60  # 3.7 V at rest


def test_columns_of_another_cycler(tmp_path):
    rows = [(t, 2.0, 3.7) for t in range(20)]
    path = table(tmp_path, "Time,Amps,Volts", rows)
    given = {"columns": "t_s=Time,i_A=Amps,v_V=Volts", "discharge_positive": True, "temp_c": 10.0}
    _, record = replayed(path, tmp_path / "out", **given)
    assert record["status.current_ua"][-1] == pytest.approx(-2e6, abs=100)
    assert record["status.temp_max_mdegc"][-1] == pytest.approx(10e3, abs=200)


def test_the_estimate_goes_on_through_trips(tmp_path):
    rows = [(t, -19.0 if t > 5 else 0, -19.0 if t > 5 else 0, 2.4 if t > 30 else 3.7, 25,
             round(-19 * max(0, t - 5) / 3600, 6)) for t in range(61)]  # fmt: skip
    path = table(tmp_path, "t_s,i_mean_A,i_A,v_V,temp_C,ah", rows)
    summary, record = replayed(path, tmp_path / "out", **KNOWN)
    assert {"dsg_oc", "cell_uv_cut"} <= {trip["rule"] for trip in summary["trips"]}
    # Gates report and do not isolate: the measured current goes on.
    assert record["status.dsg_on"][-1] == 0
    assert record["status.current_ua"][-1] == pytest.approx(-19e6, abs=100)
    assert moved_pct(record) == pytest.approx(-100 * 19 * 55 / 3600 / AH, abs=0.2)
    assert summary["verdict"] == "scored"  # nothing is expected of trips
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == summary


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"start_soc": 120.0}, "--start-soc: 0 to 100 is valid, not 120"),
        ({"start_soc": float("nan")}, "--start-soc: 0 to 100 is valid, not nan"),
        ({"start_bound_pct": 5.0}, "--start-bound-pct: valid together with --start-soc"),
        ({"from_soc": -3.0}, "--from-soc: 0 to 100 is valid, not -3"),
        ({"from_soc": 1.0}, "--from-soc: the reference never falls below 1 %"),
        ({"gain_pct": float("nan")}, "--gain-pct: -50 to 50 is valid, not nan"),
        ({"offset_ma": 1e9}, "--offset-ma: -10000 to 10000 is valid"),
        ({"capacity_pct": -100.0}, "--capacity-pct: -90 to 900 is valid, not -100"),
        ({"noise_mv": float("inf")}, "--noise-mv: 0 to 1000 is valid, not inf"),
        ({"temp_step_c": -1.0}, "--temp-step-c: 0 to 50 is valid, not -1"),
        ({"pack": "nope"}, "nope.toml: no such file; there are: bench_1s"),
    ],
)
def test_refused_options(given, says, tmp_path):
    with pytest.raises(BadInput) as caught:
        replay_job(drive(tmp_path, 5), options(**given))
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_unknown_cell(tmp_path):
    with pytest.raises(BadInput, match=r"^--cell: no cell 'nope'; there are: a123_26650"):
        replay_job(drive(tmp_path, 5), Options("nope"))
