"""One identification, from the files to the cell and its plots."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from solidbms.identify import fit as fits
from solidbms.identify import ocv as ocvs
from solidbms.identify.estimator import Tables, fit_tables
from solidbms.identify.finish import Rest, finished, rests
from solidbms.identify.fit import Fit, Load
from solidbms.identify.ocv import SOC, Branches, Ocv
from solidbms.identify.predict import rms_mv
from solidbms.identify.reading import Data, Notes, Options, Record, read_files
from solidbms.identify.sheets import SHEETS, Sheet
from solidbms.identify.thermal import by_size, fit_heat
from solidbms.plant.celldata import CellData
from solidbms.schema import BadInput, shown

Array = NDArray[np.float64]
Tell = Callable[[str], None]

CLIFF_SOC, LOADED_PER_H = 0.1, 0.05
LEAST_SAG_V = 0.002  # less is none
POOR_MV = 40.0  # at the reference; measured cells come out at 4 to 12


@dataclass(frozen=True)
class Result:
    """Everything that cell file, plots and command line say."""

    name: str
    cell: CellData
    chemistry: str
    sheet: Sheet | None
    data: Data
    branches: list[Branches]
    ocv: Ocv
    fit: Fit
    loads: list[Load]
    rests: list[Rest]
    heat: tuple[float, float] | None
    notes: Notes
    tables: Tables  # the cell as the estimator sees it

    def residual_mv(self, row_c: float) -> float:
        """RMS at a temperature while current flows, above where OCV falls off a cliff."""
        loads = [x for x in self.loads if x.record.row_c == row_c]
        return rms_mv(self.cell, loads, CLIFF_SOC, LOADED_PER_H)

    def usable_ah(self, row_c: float) -> tuple[float, str]:
        """Most charge that one discharge from full took at a temperature, and in which file."""
        slow = [(b.out_ah, "slow test") for b in self.branches if b.row_c == row_c]
        drives = [
            (-float(x.record.ah.min() - x.record.ah[0]), x.record.name)
            for x in self.loads
            if x.record.row_c == row_c and x.soc[0] == 1.0
        ]
        return max(slow or drives, default=(0.0, ""))


def identify(paths: list[Path], name: str, options: Options, tell: Tell) -> Result:
    """Read, fit and check; BadInput names files that cannot be used and what would be valid."""
    _scipy()
    notes = Notes()
    data = read_files(paths, options, notes)
    _enough(data)
    tell(f"read {len(paths)} files: {len(data.slow)} slow, {len(data.loads)} pulses or drives")
    capacity_ah, branches = ocvs.slow_branches(data.slow, notes)
    ocv, fit, loads = _fitted(ocvs.first_ocv(capacity_ah, branches, notes), branches, data, tell)
    tell("fitting: tables for the estimator")
    tables = fit_tables(data.loads, ocv, branches, fit.activation_k)
    return _result(name, data, branches, ocv, fit, loads, notes, tables)


def _scipy() -> None:
    try:
        import scipy.optimize  # noqa: F401 - only whether it is there
    except ImportError:
        raise BadInput("identify: needs scipy, which is not installed; `pip install scipy` in "
                       "the same environment is valid") from None  # fmt: skip


def _enough(data: Data) -> None:
    first = shown(next(iter([*data.loads, *data.slow, *data.unused])).path)
    if not data.slow:
        raise BadInput(f"{first}: no slow test here nor in the other files; one discharge from "
                       "full to empty slower than C/14, at 25 degC if there is but one, is "
                       "valid")  # fmt: skip
    if not data.loads:
        raise BadInput(f"{first}: no pulses or drives here nor in the other files; a file whose "
                       "current steps, from full on, is valid")  # fmt: skip


def _fitted(
    first: Ocv, branches: list[Branches], data: Data, tell: Tell
) -> tuple[Ocv, Fit, list[Load]]:
    """Fit twice: the first time finds the time constants, the drop in the slow test and the law
    over temperature that the second one uses."""
    loads = _loads(data.loads, first)
    tell("fitting: time constants")
    fit = fits.fit_all(loads, first, fits.START_K)
    ocv = ocvs.with_drop(first, branches, fit.total_ohm(first.at_c))
    if ocv.half_gap_v.any():
        tell("fitting: hysteresis")
        tries = [
            (fits.fit_all(loads, replace(ocv, gap_soc=g), fit.activation_k, fit.tau_s).cost, g)
            for g in fits.GAPS_SOC
        ]
        ocv = replace(ocv, gap_soc=min(tries)[1])
    tell("fitting: resistances")
    loads = _loads(data.loads, ocv)
    fit = fits.fit_all(loads, ocv, fit.activation_k, fit.tau_s)
    last = ocvs.with_drop(first, branches, fit.total_ohm(first.at_c))
    return replace(last, gap_soc=ocv.gap_soc), fit, loads


def _loads(records: list[Record], ocv: Ocv) -> list[Load]:
    loads, errors = [], []
    for record in records:
        try:
            loads.append(fits.load(record, ocv, ocvs.start_soc(record, ocv)))
        except BadInput as error:
            errors.append(str(error))
    if errors:
        raise BadInput("\n".join(errors))
    return loads


def _result(
    name: str,
    data: Data,
    branches: list[Branches],
    ocv: Ocv,
    fit: Fit,
    loads: list[Load],
    notes: Notes,
    tables: Tables,
) -> Result:
    final, off_v = finished(ocv, fit)
    sheet = SHEETS.get(name)
    chemistry = sheet.chemistry if sheet else _chemistry(final, notes)
    if len(fit.temp_c) == 1:
        notes.missing.append(
            f"R over temperature, as pulses and drives are all at {fit.temp_c[0]:g} degC: its law "
            "is assumed, that of a common lithium-ion cell"
        )
    else:
        off_v = np.where(np.abs(off_v) < 5e-5, 0.0, off_v)
    has_gap = bool(final.half_gap_v.any())
    cell = CellData(
        name=name,
        chemistry=chemistry,
        capacity_ah=final.capacity_ah,
        ocv_soc=SOC,
        ocv_table_v=final.v,
        hysteresis_v=final.half_gap_v,
        hysteresis_soc=final.gap_soc if has_gap else 1.0,
        ocv_off_v=off_v,
        r_soc=fits.R_SOC,
        r_temp_c=fit.temp_c,
        r_ohm=fit.r_ohm,
        tau_s=fit.tau_s,
        activation_k=fit.activation_k[[0, 1, 1]],
        sag_v=np.where(fit.sag_v > LEAST_SAG_V, fit.sag_v, 0.0),
        sag_a=round(fits.SAG_PER_H * final.capacity_ah, 3),
        sag_tau_s=fits.SAG_S,
        heat_capacity_j_per_k=1.0,
        to_ambient_w_per_k=1.0,
    )
    near = [x for x in loads if x.record.row_c == fit.temp_c[fit.reference]]
    poor_mv = rms_mv(cell, near, CLIFF_SOC, LOADED_PER_H)
    if poor_mv > POOR_MV:
        notes.missing.append(f"why the fit is poor, {poor_mv:.0f} mV RMS: are all files of one "
                             "cell, and in V, A, Ah and degC? The plots may tell")  # fmt: skip
    heat = fit_heat(cell, loads)
    own = (sheet.heat_capacity_j_per_k[0], sheet.to_ambient_w_per_k[0]) if sheet else None
    capacity, loss = own or by_size(cell, chemistry)
    cell = replace(cell, heat_capacity_j_per_k=capacity, to_ambient_w_per_k=loss)
    return Result(
        name, cell, chemistry, sheet, data, branches, final, fit, loads, rests(loads), heat,
        notes, tables,
    )  # fmt: skip


def _chemistry(ocv: Ocv, notes: Notes) -> str:
    guess = "lfp" if np.interp(0.5, SOC, ocv.v) < 3.45 else "nmc"
    notes.assume(f"chemistry {guess}, from the voltage at half charge")
    return guess


def lithium_ocv(path: Path, charged: float, discharged: float, soc: Array) -> Array:
    """OCV of a cathode against lithium: half-cell `stoichiometry,V` rows (comments with #) taken
    between the two stoichiometries. Lithium's own potential is 0 V at every SoC."""
    rows = np.loadtxt(path, delimiter=",", comments="#")
    return np.interp(discharged + (charged - discharged) * soc, rows[:, 0], rows[:, 1])
