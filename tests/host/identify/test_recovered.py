"""What the plant was given comes back from files that it made, within stated tolerances."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
from solidbms.identify import Options
from solidbms.identify.command import run
from solidbms.plant.cell import CellData, load_cell
from solidbms.schema import CellFile, check
from support import campaign as c


def made(folder: Path, tables: dict[str, str], name: str = "known") -> tuple[CellData, str, str]:
    """Identify from files of these names and texts; return cell, its text, what was told."""
    paths = [c.write(folder, name, text) for name, text in tables.items()]
    told: list[str] = []
    out = folder / f"{name}.toml"
    run(paths, name, out, Options(), told.append)
    text = out.read_text()
    check(CellFile, tomllib.loads(text), out)
    return load_cell(out), text, "\n".join(told)


@pytest.fixture(scope="module")
def two_temperatures(tmp_path_factory) -> tuple[CellData, str, str]:
    cell = c.known_cell()
    return made(tmp_path_factory.mktemp("two"), {
        "slow.csv": c.slow_test(cell).text(),
        "drive_25.csv": c.drive(cell, 25.0).text(),
        "drive_5.csv": c.drive(cell, 5.0, seed=2).text(),
    })  # fmt: skip


def test_ocv_within_6_mv_and_capacity_within_half_a_percent(two_temperatures):
    got, _, _ = two_temperatures
    assert got.capacity_ah == pytest.approx(c.AH, rel=0.005)
    soc = np.linspace(0.1, 0.95, 30)
    for temp_c in (25.0, 5.0):
        off_mv = 1e3 * (got.ocv_v(soc, temp_c) - c.known_cell().ocv_v(soc))
        assert np.abs(off_mv).max() < 6, temp_c


def test_r0_within_5_percent_and_all_within_10(two_temperatures):
    got, _, _ = two_temperatures
    assert got.tau_s == (4.0, 100.0)
    soc = np.linspace(0.15, 0.9, 16)
    for temp_c, rel in ((25.0, 0.05), (5.0, 0.05), (15.0, 0.08)):  # a chord between the rows
        true = c.known_cell().resistance_ohm(soc, np.full(16, temp_c))
        ohm = got.resistance_ohm(soc, np.full(16, temp_c))
        assert ohm[0] == pytest.approx(true[0], rel=rel), temp_c
        assert ohm.sum(0) == pytest.approx(true.sum(0), rel=0.10), temp_c


def test_one_arrhenius_law_within_6_percent(two_temperatures):
    got, _, _ = two_temperatures
    assert got.activation_k[0] == pytest.approx(c.ACTIVATION_R0_K, rel=0.06)
    assert got.activation_k[1] == pytest.approx(c.ACTIVATION_RC_K, rel=0.06)


def test_what_the_file_says_of_itself(two_temperatures):
    _, text, told = two_temperatures
    data = tomllib.loads(text)
    assert data["accuracy"]["temp_c"] == [5, 25] and max(data["accuracy"]["residual_mv"]) < 3
    assert data["accuracy"]["ocv_mv"] < 10
    assert data["capacity"]["temp_c"] == [5, 25]
    assert data["capacity"]["usable_ah"][1] == pytest.approx(2.0, rel=0.005)
    assert data["limits"]["placeholders"] is True and "NOT KNOWN" in text
    assert "limits; the file has placeholders" in told
    assert "hysteresis_v" not in data["ocv"]  # the plant has none


def test_hysteresis_within_3_mv(tmp_path):
    gap = {"hysteresis_v": [0.02] * len(c.SOC), "hysteresis_soc": 0.1}
    cell = c.known_cell(**gap)
    got, text, _ = made(tmp_path, {
        "slow.csv": c.slow_test(cell).text(), "drive.csv": c.drive(cell, 25.0).text(),
    })  # fmt: skip
    inner = (got.ocv_soc > 0.14) & (got.ocv_soc < 0.9)
    assert got.hysteresis_v[inner] == pytest.approx(0.02, abs=0.003)
    assert got.hysteresis_soc == 0.1
    soc = np.linspace(0.15, 0.9, 16)
    for branch in (-1.0, 1.0):
        off_v = got.ocv_v(soc, 25.0, branch) - cell.ocv_v(soc, 25.0, branch)
        assert np.abs(off_v).max() < 0.006
    assert "either branch" in text
    assert tomllib.loads(text)["accuracy"]["ocv_mv"] > 20


def test_temperature_of_ocv_from_slow_tests(tmp_path):
    """0.2 mV/K between 5 and 45 degC, as the middles of slow tests show it."""
    rows = [[2e-4 * (t - 25)] * len(c.SOC) for t in (5, 25, 45)]
    cell = c.known_cell(off_v=rows)
    r = cell.r_ohm.repeat(3, 1)
    inverse = 1 / (np.array([5.0, 25, 45]) + 273.15) - 1 / 298.15
    r *= np.exp(np.multiply.outer(cell.activation_k, inverse))[:, :, None]
    cell = CellData(**{**vars(cell), "r_temp_c": np.array([5.0, 25, 45]), "r_ohm": r})
    tables = {f"slow_{t}.csv": c.slow_test(cell, t).text() for t in (5, 25, 45)}
    tables |= {f"drive_{t}.csv": c.drive(cell, t, seed=t).text() for t in (5, 25, 45)}
    got, _, told = made(tmp_path, tables)
    inner = (got.ocv_soc > 0.15) & (got.ocv_soc < 0.9)
    for row, expected_v in zip(got.ocv_off_v, (-0.004, 0.0, 0.004), strict=True):
        assert row[inner] == pytest.approx(expected_v, abs=0.0025)
    assert "temperature coefficient" not in told


def test_one_temperature_is_said_and_its_law_assumed(tmp_path):
    cell = c.known_cell()
    got, text, told = made(tmp_path, {
        "slow.csv": c.slow_test(cell).text(), "drive.csv": c.drive(cell, 25.0).text(),
    })  # fmt: skip
    assert "not known: R over temperature" in told
    assert "Not known: R over temperature" in text and "assumed: one temperature" in text
    assert got.activation_k.tolist() == [2500, 3000, 3000] and not got.ocv_off_v.any()


def test_slow_test_elsewhere_and_without_charge_are_said(tmp_path):
    cell = c.known_cell()
    slow = c.slow_test(cell, 10.0)
    _, text, _ = made(tmp_path, {
        "slow.csv": slow.text(keep=slice(0, int(np.argmin(slow.ah)) + 1)),
        "drive.csv": c.drive(cell, 10.0).text(),
    })  # fmt: skip
    flat = " ".join(text.replace("# ", "").split())
    assert "capacity and OCV at 25 degC: they are from a slow test at 10 degC" in flat
    assert "hysteresis, as there is no slow charge" in flat


@pytest.mark.parametrize("what", ["current", "counter too"])
def test_discharge_positive_is_seen_and_said(tmp_path, what):
    """Slow test and drive count opposite ways: no option could say so for both."""
    cell = c.known_cell()
    table = c.drive(cell, 25.0)
    if what == "current":  # chg_Ah and dis_Ah have no sign of their own
        table.ah = -table.ah
    turned = table.text(sign=-1.0)
    straight = c.drive(cell, 25.0).text()
    slow = c.slow_test(cell).text()
    if what == "current":
        head = "t_s,i_A,v_V,temp_C,chg_Ah,dis_Ah"
        rows = [line.split(",") for line in turned.splitlines()[1:]]
        turned = "\n".join([head, *(",".join([*r[:4], r[4], "0"]) for r in rows)]) + "\n"
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    got, text, told = made(tmp_path / "a", {"slow.csv": slow, "drive.csv": turned})
    same, _, _ = made(tmp_path / "b", {"slow.csv": slow, "drive.csv": straight})
    assert "discharge counts positive" in told and "discharge counts positive" in text
    assert got.r_ohm == pytest.approx(same.r_ohm, rel=1e-6)
    assert got.ocv_table_v == pytest.approx(same.ocv_table_v, abs=1e-6)
