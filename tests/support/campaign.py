"""Files as a cycler would leave them, of a cell whose parameters are known: the plant's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from solidbms.plant.cell import CellData, Cells, load_cell

SOC = np.linspace(0, 1, 21)
OCV_V = 3.1 + 0.75 * SOC + 0.25 * SOC**8 - 0.5 * np.exp(-SOC / 0.03)
AH = 2.0
ACTIVATION_R0_K, ACTIVATION_RC_K = 2200.0, 3000.0


def known_cell(**ocv: object) -> CellData:
    """2 Ah, 20 + 10 + 15 mohm at 25 degC, Arrhenius; a little more R towards empty."""
    more = [1.5, 1.0, 1.0]
    return load_cell({
        "name": "known",
        "capacity": {"ah": AH},
        "ocv": {"soc": SOC.tolist(), "v": OCV_V.tolist()} | ocv,
        "resistance": {
            "soc": [0.0, 0.3, 1.0], "temp_c": [25.0],
            "r0_ohm": [[0.020 * k for k in more]], "r1_ohm": [[0.010 * k for k in more]],
            "r2_ohm": [[0.015 * k for k in more]], "tau1_s": 4.0, "tau2_s": 100.0,
            "activation_r0_k": ACTIVATION_R0_K, "activation_rc_k": ACTIVATION_RC_K,
        },
        "thermal": {"heat_capacity_j_per_k": 40.0, "to_ambient_w_per_k": 0.1},
    })  # fmt: skip


@dataclass
class Table:
    """Rows of one file; charge current positive."""

    t_s: np.ndarray
    i_a: np.ndarray
    v: np.ndarray
    temp_c: np.ndarray
    ah: np.ndarray

    def text(
        self,
        head: str = "t_s,i_A,v_V,temp_C,ah",
        sign: float = 1.0,
        keep: slice | np.ndarray = slice(None),
    ) -> str:
        """CSV with the columns of `head`, in this order: time, current, voltage and so on."""
        columns = [self.t_s, sign * self.i_a, self.v, self.temp_c, sign * self.ah]
        columns = [c[keep] for c in columns[: head.count(",") + 1]]
        rows = [",".join(f"{x:.6g}" if k else f"{x:.1f}" for k, x in enumerate(row))
                for row in zip(*columns, strict=True)]  # fmt: skip
        return "\n".join([head, *rows]) + "\n"


def run(cell: CellData, profile: list[tuple[float, float]], temp_c: float, soc: float) -> Table:
    """Drive a cell held at a temperature through (current, seconds), a row a step."""
    plant = Cells(cell, soc=soc, temp_c=temp_c)
    plant.branch[...] = 1.0 if soc > 0.5 else -1.0
    plant.refresh()
    rows, t_s = [], 0.0
    for i_a, dt_s in profile:
        t_s += dt_s
        plant.step(i_a, dt_s, temp_c)
        plant.temp_c[...] = temp_c
        plant.refresh()
        v = float(plant.voltage_v(i_a)[0, 0])
        rows.append((t_s, i_a, v, temp_c, cell.capacity_ah * (float(plant.soc[0, 0]) - soc)))
    return Table(*np.array(rows).T)


def slow_test(cell: CellData, temp_c: float = 25.0, per_h: float = 0.05) -> Table:
    """From full to empty and back to full, a row in two minutes."""
    rows = int(30 / per_h)
    i_a = cell.capacity_ah * per_h
    return run(cell, [(0.0, 60.0)] + [(-i_a, 120.0)] * rows + [(0.0, 120.0)] * 30
               + [(i_a, 120.0)] * rows, temp_c, 1.0)  # fmt: skip


def drive(cell: CellData, temp_c: float, seed: int = 1, until_soc: float = 0.06) -> Table:
    """Steps of changing length and size, charge among them, with a rest of 35 min now and then."""
    rng = np.random.default_rng(seed)
    profile: list[tuple[float, float]] = [(0.0, 1.0)] * 90
    left, since = 1.0 - until_soc, 0.0
    while left > 0:
        i_a = round(float(rng.choice([-6, -4, -2, -1, 0, 2], p=[.1, .15, .25, .2, .2, .1])), 2)
        seconds = int(rng.integers(3, 40))
        profile += [(i_a, 1.0)] * seconds
        moved = -i_a * seconds / 3600 / cell.capacity_ah
        left, since = left - moved, since + moved
        if since > 0.15:
            profile += [(0.0, 10.0)] * 210
            since = 0.0
    return run(cell, profile, temp_c, 1.0)


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path
