"""What measurements do not tell: limits, mass and size, from the makers' data sheets.

Of the cells that this project ships. Any other cell gets what its files showed, marked as such.
"""

from __future__ import annotations

from dataclasses import dataclass

from solidbms.schema import CellLimits


@dataclass(frozen=True)
class Sheet:
    """One cell's data sheet: `limits` by key with a remark, `sources` in the order to cite."""

    chemistry: str
    sources: tuple[str, ...]
    limits: CellLimits
    remarks: dict[str, str]
    heat_capacity_j_per_k: tuple[float, str]
    to_ambient_w_per_k: tuple[float, str]


SHEETS = {
    "lg_hg2": Sheet(
        "nmc",
        (
            "Kollmeyer et al., LG 18650HG2 data, doi 10.17632/cp3473x7xv.3, CC BY 4.0",
            "LG Chem product specification INR18650HG2 (limits)",
        ),
        CellLimits(
            v_max=4.2, v_min=2.5, charge_a_max=4.0, discharge_a_max=20.0,
            charge_temp_min_c=0.0, charge_temp_max_c=50.0,
            discharge_temp_min_c=-20.0, discharge_temp_max_c=75.0,
        ),
        {
            "v_max": "charge, +-0.05 V",
            "v_min": "end of discharge",
            "charge_a_max": "standard charge is 1.5 A",
            "discharge_temp_max_c": "cell surface",
        },
        (47.0, "45 g x 1040 J/kgK (18650 NMC, batterydesign.net)"),
        (0.06, "assumed: still air, 14 W/m2K over the 42 cm2 of an 18650"),
    ),
    "panasonic_pf": Sheet(
        "nca",
        (
            "Kollmeyer, Panasonic 18650PF data, doi 10.17632/wykht8y7tg.1, CC BY 4.0",
            "Panasonic NCR18650PF specification sheet (limits)",
        ),
        CellLimits(
            v_max=4.2, v_min=2.5, charge_a_max=1.375, discharge_a_max=10.0,
            charge_temp_min_c=0.0, charge_temp_max_c=45.0,
            discharge_temp_min_c=-20.0, discharge_temp_max_c=60.0,
        ),
        {
            "v_min": "end of discharge",
            "charge_a_max": "standard charge; the sheet names no faster one",
        },
        (48.0, "47 g x 1030 J/kgK (18650 NCA, assumed; 48 g at most)"),
        (0.06, "assumed: still air, 14 W/m2K over the 42 cm2 of an 18650"),
    ),
    "a123_26650": Sheet(
        "lfp",
        (
            "Plett, Battery Management Systems ESC toolbox data, as in batterysim/"
            "esctoolbox-python, MIT (the toolbox CC BY-SA 4.0)",
            "A123 ANR26650M1-B data sheet, 2012 (limits); the cell measured is the older 2.3 Ah",
        ),
        CellLimits(
            v_max=3.6, v_min=2.0, charge_a_max=10.0, discharge_a_max=50.0,
            charge_temp_min_c=0.0, charge_temp_max_c=55.0,
            discharge_temp_min_c=-30.0, discharge_temp_max_c=55.0,
        ),
        {
            "v_max": "charge",
            "v_min": "end of discharge, as in the tests",
            "charge_a_max": "fast charge, to 80 %; standard charge is 2.5 A",
            "discharge_a_max": "continuous; 120 A for 10 s",
            "charge_temp_min_c": "assumed: the sheet says -30 to 55 for operation",
        },
        (80.0, "76 g x 1050 J/kgK (assumed: LFP in a can)"),
        (0.09, "assumed: still air, 14 W/m2K over the 64 cm2 of a 26650"),
    ),
}  # fmt: skip
