"""The cells made from measurements, held against measurements they were not made from."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from solidbms.cli import main
from solidbms.identify import Options, fit
from solidbms.identify.fit import Load, lag
from solidbms.identify.ocv import SOC, Ocv, branch_of
from solidbms.identify.predict import predicted_v, rms_mv
from solidbms.identify.reading import Notes, Record, read_files
from solidbms.plant.cell import CellData, Cells, load_cell
from solidbms.schema import BOARDS, ROOT
from support import campaign as c

US06 = ROOT / "tests" / "data" / "25degC_551_US06.csv.gz"


def us06() -> Record:
    """LG US06 at 25 degC: `identify` made lg_hg2 without it."""
    return read_files([US06], Options(), Notes()).loads[0]


def plant_v(cell: CellData, r: Record) -> np.ndarray:
    """The plant's voltage, step by step, held at the record's charge and temperature."""
    plant = Cells(cell, soc=1.0, temp_c=float(r.temp_c[0]))
    plant.branch[...] = 1.0
    plant.refresh()
    v = np.zeros(len(r.t_s))
    for k, dt_s in enumerate(np.diff(r.t_s, prepend=r.t_s[0])):
        if dt_s > 0:
            plant.step(float(r.mean_a[k]), float(dt_s), float(r.temp_c[k]))
        plant.soc[...] = 1 + (r.ah[k] - r.ah[0]) / cell.capacity_ah
        plant.temp_c[...] = r.temp_c[k]
        plant.refresh()
        v[k] = plant.voltage_v(float(r.last_a[k]))[0, 0]
    return v


def test_plant_of_the_lg_cell_reproduces_us06_within_20_mv():
    r = us06()
    error_mv = 1e3 * (plant_v(load_cell(BOARDS / "cells" / "lg_hg2.toml"), r) - r.v)
    assert float(np.sqrt(np.mean(error_mv**2))) < 20


@pytest.mark.parametrize("name", ["lg_hg2", "a123_26650"])
def test_prediction_is_what_the_plant_does(name):
    cell = load_cell(BOARDS / "cells" / f"{name}.toml")
    table = c.drive(cell, 20.0, until_soc=0.5)
    columns = (table.t_s, table.i_a, table.i_a, table.v, table.temp_c, table.ah)
    r = Record(Path("x.csv"), 20.0, *columns)
    load = Load(r, 1 + r.ah / cell.capacity_ah, 1.0)
    assert predicted_v(cell, load)[5:] == pytest.approx(r.v[5:], abs=2e-3)
    assert rms_mv(cell, [load]) < 1


def test_lag_in_blocks_is_the_lag_row_by_row():
    rng = np.random.default_rng(3)
    dt_s = rng.choice([0.0, 0.1, 1.0, 60.0, 4000.0], 400)
    drive = rng.normal(size=(400, 3))
    state, slow = np.zeros(3), []
    for row, dt in zip(drive, dt_s, strict=True):
        state = state + (row - state) * -np.expm1(-dt / 7.0)
        slow.append(state)
    np.testing.assert_allclose(lag(drive, dt_s, 7.0), np.array(slow), atol=1e-9)


def test_branch_is_the_plants():
    gap = {"hysteresis_v": [0.02] * len(c.SOC), "hysteresis_soc": 0.1}
    cell = c.known_cell(**gap)
    plant = Cells(cell, soc=0.5)
    plant.branch[...] = -1.0
    soc, branch = [0.5], [-1.0]
    for i_a in np.random.default_rng(4).uniform(-2, 2, 200):
        plant.step(float(i_a), 60.0, 25.0)
        soc.append(float(plant.soc[0, 0]))
        branch.append(float(plant.branch[0, 0]))
    assert branch_of(np.array(soc), 0.1, -1.0) == pytest.approx(branch, abs=1e-6)


def laid(t: c.Table, temp_c: np.ndarray | None = None) -> Load:
    """A table as the fit takes it, of a cell whose OCV is known."""
    temp_c = t.temp_c if temp_c is None else temp_c
    r = Record(Path("x.csv"), 25.0, t.t_s, t.i_a, t.i_a, t.v, temp_c, t.ah)
    none = np.zeros(len(SOC))
    return fit.load(r, Ocv(c.AH, c.known_cell().ocv_v(SOC), none, none), 1.0)


def test_rows_of_the_wrong_temperature_are_left_out():
    t = c.drive(c.known_cell(), 25.0, until_soc=0.5)
    warm = np.where(t.ah < -0.5, 25.0 + fit.SPAN_C + 1, 25.0)
    assert laid(t, warm).record.ah.min() >= -0.5
    assert laid(t).record.ah.min() < -0.9


def test_charge_after_the_discharge_is_left_out():
    cell = c.known_cell()
    t = c.run(cell, [(0.0, 60.0), *[(-1.0, 1.0)] * 3600, *[(2.0, 1.0)] * 900], 25.0, 1.0)
    kept = laid(t).record
    assert kept.t_s[-1] == 3660.0 and kept.ah[-1] == t.ah.min()


def test_a_poor_fit_is_said(tmp_path):
    """The drive is that of a cell with another OCV."""
    cell, other = c.known_cell(), c.known_cell(v=(c.OCV_V + 0.3 * c.SOC * (1 - c.SOC)).tolist())
    c.write(tmp_path, "slow.csv", c.slow_test(cell).text())
    table = c.drive(other, 25.0)
    noise = 0.08 * np.sign(np.sin(np.arange(len(table.v)) / 40))
    table.v = table.v + noise * (table.i_a != 0)
    c.write(tmp_path, "drive.csv", table.text())
    args = ["identify", str(tmp_path / "slow.csv"), str(tmp_path / "drive.csv"), "--name", "mine",
            "--out", str(tmp_path / "mine.toml")]  # fmt: skip
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 0, result.output
    assert "not known: why the fit is poor" in result.output
    assert "why the fit is poor" in (tmp_path / "mine.toml").read_text()


class Page(HTMLParser):
    """Open tags that nothing closed, and how many drawings there are."""

    VOID = ("meta", "br", "path", "rect")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.drawings = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.drawings += tag == "svg"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_page_and_columns_of_another_cycler(tmp_path):
    """Names of BDF in one file, a map for the other; a page with every file, whole and small."""
    cell = c.known_cell()
    bdf = "Test Time / s,Current / A,Voltage / V,Surface Temperature / degC,Net Capacity / Ah"
    c.write(tmp_path, "slow.csv", c.slow_test(cell).text(bdf))
    c.write(tmp_path, "drive.csv", c.drive(cell, 25.0).text())
    args = ["identify", str(tmp_path / "slow.csv"), str(tmp_path / "drive.csv"), "--name", "mine",
            "--out", str(tmp_path / "mine.toml")]  # fmt: skip
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 0, result.output
    assert "mine.html" in result.output and "25 degC:" in result.output
    text = (tmp_path / "mine.html").read_text()
    page = Page()
    page.feed(text)
    assert not page.open
    assert page.drawings == 1 + 3 + 2  # OCV; R0, R1, R2; voltage and error of the drive
    assert "nan" not in text.lower() and len(text) < 400_000
    assert re.search(r"<summary>drive, 25 degC: [\d.]+ mV RMS", text)
    assert load_cell(tmp_path / "mine.toml").name == "mine"


def test_column_map(tmp_path):
    cell = c.known_cell()
    names = "Zeit,Strom,Spannung,Temp,Ladung"
    for name, table in (("slow", c.slow_test(cell)), ("drive", c.drive(cell, 25.0))):
        c.write(tmp_path, f"{name}.csv", table.text(names))
    out = tmp_path / "mine.toml"
    args = ["identify", str(tmp_path / "slow.csv"), str(tmp_path / "drive.csv"), "--name", "mine",
            "--out", str(out), "--columns",
            "t_s=Zeit,i_A=Strom,v_V=Spannung,temp_C=Temp,ah=Ladung"]  # fmt: skip
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 0, result.output
    assert load_cell(out).capacity_ah == pytest.approx(c.AH, rel=0.005)
