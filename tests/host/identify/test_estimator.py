"""The tables that the estimator works with, as they come back from a plant's files."""

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from solidbms.identify import Options, estimator
from solidbms.identify.command import run
from solidbms.identify.fit import Load
from solidbms.identify.ocv import SOC, Ocv
from solidbms.identify.reading import Record
from solidbms.plant.cell import load_cell
from solidbms.schema import BOARDS, CellFile, check
from support import campaign as c

MEASURED = ("lg_hg2", "panasonic_pf", "a123_26650")


def made(folder: Path, tables: dict[str, str]) -> dict[str, Any]:
    """Identify from files of these names and texts; return the cell file."""
    paths = [c.write(folder, name, text) for name, text in tables.items()]
    out = folder / "known.toml"
    run(paths, "known", out, Options(), lambda text: None)
    return tomllib.loads(out.read_text())


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> dict[str, Any]:
    cell = c.known_cell()
    return made(tmp_path_factory.mktemp("two"), {
        "slow.csv": c.slow_test(cell).text(),
        "drive_25.csv": c.drive(cell, 25.0).text(),
        "drive_5.csv": c.drive(cell, 5.0, seed=2).text(),
    })  # fmt: skip


def test_ocv_and_resistance_come_back(two):
    """Within 6 mV and 12 %: the plant's lags are 4 and 100 s, these 10 and 100 s."""
    got = two["filter"]
    assert got["temp_c"] == [5, 25] and (got["tau1_s"], got["tau2_s"]) == estimator.TAU_S
    soc = np.linspace(0.15, 0.9, 16)
    for temp_c, ocv_v, *r in zip(
        got["temp_c"], got["ocv_v"], got["r0_ohm"], got["r1_ohm"], got["r2_ohm"], strict=True
    ):
        off_v = np.interp(soc, got["ocv_soc"], ocv_v) - c.known_cell().ocv_v(soc)
        assert np.abs(off_v).max() < 0.006, temp_c
        true = c.known_cell().resistance_ohm(soc, np.full(16, float(temp_c))).sum(0)
        ohm = np.interp(soc, got["soc"], np.sum(r, 0))
        assert ohm == pytest.approx(true, rel=0.12), temp_c


def test_errors_are_small_where_the_model_is_right(two):
    got = two["filter"]
    assert max(got["residual_mv"]) < 8  # the cliff below SoC 0.1 is in it
    assert got["ocv_error_mv"] == [estimator.LEAST_MV] * 2


def test_a_cell_that_warms_up_counts_at_the_temperature_it_had(two):
    """Rows that `fit` leaves out: OCV and SoC of a load reach its emptiest row."""
    table = c.drive(c.known_cell(), 25.0)
    warm_c = np.linspace(25.0, 45.0, len(table.t_s))
    r = Record(Path("x.csv"), 25.0, table.t_s, table.i_a, table.i_a, table.v, warm_c, table.ah)
    none = np.zeros(len(SOC))
    flat = Ocv(c.AH, c.known_cell().ocv_v(SOC), none, none)
    kept = estimator._whole(r, flat)
    assert kept.record.temp_c.max() > 44 and kept.soc.min() == pytest.approx(
        1 + table.ah.min() / c.AH
    )


def test_branch_is_turned_as_the_firmware_does():
    """A thirtieth of the capacity turns it round, but for 1/e."""
    ah = np.array([0.0, -1.0, -1.0 + 2.0 / 30])
    r = Record(Path("x.csv"), 25.0, np.arange(3.0), ah, ah, ah, ah, ah)
    branch = estimator.branch_of(Load(r, 1 + ah / 2, 1.0), 2.0)
    assert branch == pytest.approx([1.0, -1.0, 1 - 2 / np.e], abs=1e-4)


def test_hysteresis_goes_into_the_error_and_not_into_ocv(tmp_path):
    """The plant's branch turns in a straight line, the firmware's by an exponential."""
    gap = {"hysteresis_v": [0.02] * len(c.SOC), "hysteresis_soc": 0.1}
    cell = c.known_cell(**gap)
    got = made(tmp_path, {
        "slow.csv": c.slow_test(cell).text(), "drive.csv": c.drive(cell, 25.0).text(),
    })["filter"]  # fmt: skip
    assert got["temp_c"] == [25] and 20 < got["ocv_error_mv"][0] < 26
    soc = np.linspace(0.15, 0.9, 16)
    assert np.interp(soc, got["ocv_soc"], got["ocv_v"][0]) == pytest.approx(
        cell.ocv_v(soc, 25.0, 0.0), abs=0.015
    )


def test_without_a_rest_the_error_is_assumed(tmp_path):
    """And the file says so."""
    cell = c.known_cell()
    steps = [(i_a, 1.0) for i_a in (-4.0, -1.0, 2.0, -2.0) * 38 for _ in range(30)]
    drive = c.run(cell, [(0.0, 1.0)] * 90 + steps, 25.0, 1.0)
    tables = {"slow.csv": c.slow_test(cell).text(), "drive.csv": drive.text()}
    got = made(tmp_path, tables)["filter"]
    assert got["ocv_error_mv"] == [estimator.NO_REST_MV]
    text = " ".join((tmp_path / "known.toml").read_text().replace("# ", "").split())
    assert "ocv_error_mv: assumed, as no rest of 17 min" in text


def test_errors_grow_where_there_are_slow_tests_alone(tmp_path):
    """And the file says so."""
    cell = c.known_cell()
    got = made(tmp_path, {
        "slow_25.csv": c.slow_test(cell).text(), "slow_5.csv": c.slow_test(cell, 5.0).text(),
        "drive.csv": c.drive(cell, 25.0).text(),
    })["filter"]  # fmt: skip
    assert got["temp_c"] == [5, 25]
    assert got["residual_mv"][0] == pytest.approx(1.5 * got["residual_mv"][1], abs=0.1)
    assert got["ocv_error_mv"][0] >= got["ocv_error_mv"][1]
    assert "both grow with the distance at 5 degC" in " ".join(
        (tmp_path / "known.toml").read_text().replace("# ", "").split()
    )


@pytest.mark.parametrize("name", MEASURED)
def test_measured_cells_have_them(name):
    """Of a cell's own temperatures, and no more than the file elsewhere says of OCV's size."""
    path = BOARDS / "cells" / f"{name}.toml"
    file = check(CellFile, tomllib.loads(path.read_text()), path)
    assert file.filter and set(file.resistance.temp_c) <= set(file.filter.temp_c)
    cell = load_cell(path)
    soc = np.linspace(0.2, 0.95, 16)
    for temp_c, row in zip(file.filter.temp_c, file.filter.ocv_v, strict=True):
        off_v = np.interp(soc, file.filter.ocv_soc, row) - cell.ocv_v(soc, temp_c)
        assert np.abs(off_v).max() < 0.1, temp_c
