"""Speed of the cpython target, and how it grows with cells and with packs.

Times are the best of several rounds on one core; they belong to the machine that ran them.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from bms.core import frame as F
from bms.core.core import Core
from bms.core.pack import Pack
from solidbms.jobs import scenario_job
from solidbms.packc import compile_pack
from solidbms.plant.cell import Cells, load_cell
from solidbms.schema import BOARDS
from solidbms.targets import cpython

ROUNDS = 5
TICK_S = 0.05


def best(work: Callable[[], int]) -> float:
    """Return seconds for each unit of work, best of ROUNDS; work returns how many it did."""
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        units = work()
        times.append((time.perf_counter() - began) / units)
    return min(times)


def whole_target(blob: Path) -> float:
    """Return simulated seconds a second of bench_1s with everything: plant, chip, firmware."""

    def run() -> int:
        job = scenario_job("drive_day")
        job.world.end_ms = 120_000
        count = 0

        def take(tick: bytes) -> None:
            nonlocal count
            count += 1

        cpython.run(job.world, blob, job.saved, take)
        return 120

    return 1 / best(run)


def core_tick(cells: int) -> float:
    """Return seconds for a tick of the core alone: Frame to gates, estimate, hash."""
    pack = Pack(compile_pack("bench_1s").blob)
    pack.cells = cells  # type: ignore[attr-defined] - the blob's layout
    core = Core(pack)
    f = core.frame.v
    f[F.FLAGS] = F.VOLT_OK | F.CURRENT_OK | F.CHARGE_OK | F.CODE_OK | F.CHIP_OK | F.TEMP_OK
    f[F.FLAGS] |= F.PINS_OK
    f[core.frame.temp0] = 25000
    parts = core.parts()

    def run() -> int:
        for k in range(2000):
            f[F.T_MS] += 50
            for cell in range(cells):
                f[F.CELL0 + cell] = 3700000 + 195 * (k + cell & 15)
            core.protect()
            core.estimate()
            core.digest(parts)
        return 2000

    return best(run)


def plant_step(packs: int, cells: int, held: int) -> float:
    """Return seconds for a plant step of all packs where current stays for `held` steps."""
    plant = Cells(load_cell(BOARDS / "cells" / "lg_hg2.toml"), packs, cells, 0.8)
    current = np.full(packs, -1.0)

    def run() -> int:
        done = 0
        while done < max(20, 4000 // packs):
            steps = plant.hold(current, 25.0, 0.0, TICK_S, held)
            plant.volts(steps)
            plant.advance(steps)
            done += steps
        return done

    return best(run)


def main() -> None:
    """Print the tables."""
    with tempfile.TemporaryDirectory() as folder:
        blob = Path(folder) / "pack.bin"
        blob.write_bytes(compile_pack("bench_1s").blob)
        print(f"bench_1s on cpython, driving: {whole_target(blob):.0f} times real time")
    print("\ncore alone, one tick (50 ms)\n  cells     us  times real time")
    for cells in (1, 4, 8, 14, 16):
        cost = core_tick(cells)
        print(f"  {cells:5} {cost * 1e6:6.1f}  {TICK_S / cost:.0f}")
    print("\nplant, one step (50 ms) with its voltages; current as in a profile of 1 Hz, or new\n"
          "  each step\n  packs x cells      us  us a cell  pack-seconds a second  us if new")
    for packs, cells in ((1, 1), (1, 4), (1, 14), (10, 14), (100, 14), (1000, 1), (1000, 14)):
        cost, alone = plant_step(packs, cells, 20), plant_step(packs, cells, 1)
        print(f"  {packs:5} x {cells:<5} {cost * 1e6:9.1f} {cost * 1e6 / packs / cells:10.3f}"
              f"  {packs * TICK_S / cost:21.0f} {alone * 1e6:10.1f}")  # fmt: skip
