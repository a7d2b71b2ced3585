"""The plant against the PyPI package thevenin, which solves the same circuit as a stiff ODE."""

from __future__ import annotations

import functools
import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from solidbms.plant.cell import KELVIN, CellData, Cells, load_cell

thevenin = pytest.importorskip("thevenin", reason="no thevenin, the peer it is held against")

ROOT = Path(__file__).parents[3]
SECONDS = 200


def drive_a() -> np.ndarray:
    """Measured US06 current at 1 Hz, charge positive."""
    with gzip.open(ROOT / "hil" / "profiles" / "us06.csv.gz", "rt") as file:
        rows = (line for line in file if line[0].isdigit())
        return np.loadtxt(rows, delimiter=",")[:SECONDS, 1]


def other_model(cell: CellData, soc: float, ambient_c: float) -> Any:
    """The same parameters in thevenin, whose discharge current is positive."""

    @functools.lru_cache(maxsize=16)  # the solver asks for all five at one state
    def r_ohm(soc: float, temp_k: float) -> np.ndarray:
        return cell.resistance_ohm(soc, temp_k - KELVIN)

    def resistance(k: int):
        return lambda soc, temp_k: r_ohm(soc, temp_k)[k]

    def capacitance(k: int):
        return lambda soc, temp_k: cell.tau_s[k - 1] / r_ohm(soc, temp_k)[k]

    return thevenin.Prediction(
        {
            "num_RC_pairs": 2,
            "soc0": soc,
            "capacity": cell.capacity_ah,
            "gamma": 0.0,
            "ce": 1.0,
            "mass": 1.0,
            "isothermal": False,
            "Cp": cell.heat_capacity_j_per_k,
            "T_inf": ambient_c + KELVIN,
            "h_therm": cell.to_ambient_w_per_k,
            "A_therm": 1.0,
            "ocv": cell.ocv_v,
            "M_hyst": lambda soc: 0.0,
            "R0": resistance(0),
            "R1": resistance(1),
            "C1": capacitance(1),
            "R2": resistance(2),
            "C2": capacitance(2),
        }
    )


@pytest.mark.parametrize(
    ("name", "soc", "start_c", "ambient_c"),
    [
        ("lg_hg2", 0.9, 0.0, 0.0),
        ("lg_hg2", 0.35, 38.0, 25.0),
        ("solid_state_15ah", 0.8, 10.0, 5.0),
    ],
)
def test_drive_agrees_within_1_mv_and_0_1_k(
    name: str, soc: float, start_c: float, ambient_c: float
) -> None:
    cell = load_cell(ROOT / "boards" / "cells" / f"{name}.toml")
    # what thevenin does not know: OCV by temperature, sag
    cell = replace(cell, ocv_off_v=np.zeros((1, 1)), sag_v=np.zeros(1))
    plant = Cells(cell, soc=soc, temp_c=start_c)
    model = other_model(cell, soc, ambient_c)
    state = thevenin.TransientState(soc=soc, T_cell=start_c + KELVIN, hyst=0.0, eta_j=np.zeros(2))
    worst_v = worst_k = 0.0
    for current_a in drive_a() * cell.capacity_ah / 2.781:
        for _ in range(20):
            plant.step(float(current_a), 0.05, ambient_c)
        state = model.take_step(state, -float(current_a), 1.0)
        worst_v = max(worst_v, abs(float(plant.voltage_v(float(current_a))[0, 0]) - state.voltage))
        worst_k = max(worst_k, abs(float(plant.temp_c[0, 0]) + KELVIN - state.T_cell))
    print(f"{name} {start_c} degC: {worst_v * 1e3:.3f} mV, {worst_k * 1e3:.2f} mK")
    assert worst_v < 1e-3
    assert worst_k < 0.1
    assert plant.soc[0, 0] == pytest.approx(state.soc, abs=1e-6)
