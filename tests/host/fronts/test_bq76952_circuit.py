"""What faults of sensors make of a BQ76952's readings: each on the path that it is about."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from solidbms.faults import Fault, FaultFile, Senses
from solidbms.fronts.bq76952_circuit import Circuit
from solidbms.packc import load
from solidbms.plant.chips import bq76952_map as m
from solidbms.scenario import FaultUse

FILE, _, _ = load("robot_14s")
CELLS = FILE.cells_in_series


class Still:
    """A plant at rest."""

    cells_v = [3.8] * CELLS
    bus_v = out_v = 3.8 * CELLS
    current_a = mean_a = 0.0
    temps_c = [25.0] * 3
    fet_c = die_c = 25.0


class Seen:
    """A circuit on a still plant; `run` lets time pass."""

    def __init__(self) -> None:
        self.circuit = Circuit(FILE)
        self.senses = Senses(np.random.default_rng(1))
        self.now_ms = 0
        self.run()

    def run(self, ms: int = 6000) -> None:  # unconfigured it sleeps, and measures every 5 s
        for _ in range(ms // 50):
            self.now_ms += 50
            # Acts as a plant.
            self.circuit.advance(self.now_ms * 1000, Still(), self.senses)  # type: ignore[arg-type]

    def put(self, where: str, kind: str, value: float = 0.0, index: int | None = None) -> None:
        use = FaultUse(use="x", from_s=0.0, until_s=99.0, index=index)
        data = {"name": "x", "about": "", "where": where, "kind": kind, "value": value}
        self.senses.active.append(Fault(use, FaultFile.model_validate(data)))
        self.run()

    def over(self) -> None:
        self.senses.active.clear()
        self.run()

    @property
    def cells_mv(self) -> list[int]:
        ram = self.circuit.chip.scan.ram
        words = struct.unpack_from("<16h", ram, m.CELL_1)
        return [words[pin] for pin in self.circuit.chip.inputs]

    @property
    def stack_mv(self) -> int:
        return struct.unpack_from("<h", self.circuit.chip.scan.ram, m.STACK)[0]


def test_a_cell_that_is_read_wrongly_leaves_the_stack_alone():
    seen = Seen()
    stack_mv = seen.stack_mv
    assert seen.cells_mv == [3800] * CELLS
    seen.put("cell_v", "offset", 0.25, 3)
    assert seen.cells_mv == [4050 if k == 3 else 3800 for k in range(CELLS)]
    assert seen.stack_mv == stack_mv
    seen.over()
    assert seen.cells_mv == [3800] * CELLS


def test_a_stack_that_is_read_wrongly_leaves_the_cells_alone():
    seen = Seen()
    before = seen.stack_mv
    seen.put("stack_v", "scale", 0.99)
    assert seen.stack_mv == pytest.approx(before * 0.99, abs=1)
    assert seen.cells_mv == [3800] * CELLS
    seen.over()
    assert seen.stack_mv == before


def test_a_reference_that_drifts_moves_every_cell():
    seen = Seen()
    before = seen.stack_mv
    seen.put("reference", "scale", 1.01)
    assert seen.cells_mv == [3838] * CELLS
    assert seen.stack_mv == before
    seen.over()
    assert seen.cells_mv == [3800] * CELLS


def test_its_own_protections_see_what_it_reads():
    seen = Seen()
    chip = seen.circuit.chip
    assert max(chip.scan.seen(chip.scan.pins)) == pytest.approx(3.8)
    seen.put("cell_v", "offset", 0.5, 3)
    assert max(chip.scan.seen(chip.scan.pins)) == pytest.approx(4.3)
    assert chip.scan.seen(chip.scan.pins)[chip.inputs[3]] == pytest.approx(4.3)
