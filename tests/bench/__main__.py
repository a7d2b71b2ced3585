"""`make bench`: frame to gates in cycles beside C, and the speed of the cpython target."""

from __future__ import annotations

import solidbms.stop  # noqa: F401 - first: for Ctrl-C meanwhile

# isort: split
import argparse
import os
import sys
from functools import partial
from pathlib import Path

from bench import emulated, speed
from bench.c_reference import Mismatch
from bench.figures import Line, frame_to_gates, layout
from solidbms.targets.emu import IMAGE

TICK_MS = 50
DRIVES = {"bench_1s": "drive_minute", "robot_14s": "robot_minute"}


def main() -> None:
    """Print the tables; exit status 1 when the C does other work than the Python core."""
    argparse.ArgumentParser(prog="python -m bench", description=__doc__).parse_args()
    uf2 = os.environ.get(IMAGE)
    try:
        there = partial(emulated.frame_to_gates, Path(uf2)) if uf2 else None
        lines, missing = frame_to_gates(there)
    except Mismatch as error:
        sys.exit(f"the C reference differs: {error}")
    if uf2:
        for pack, scenario in DRIVES.items():
            lines += _board(pack, emulated.costs(Path(uf2), scenario))
    else:
        print("MicroPython column skipped: UF2=path names an image (see make emu)")
    print("emulated RP2040: median of quiet driving, worst of every row acting and recovering")
    print(layout(lines))
    if missing:
        print(missing)
    print()
    speed.main()


def _board(pack: str, costs: emulated.Costs) -> list[Line]:
    """Return the lines of a pack on the emulated Pico, with the budgets of the design."""
    period = TICK_MS * emulated.CLOCK_HZ // 1000
    return [
        Line(f"{pack}: tick with bus and link, median", costs.tick_median, None, period // 4),
        Line(f"{pack}: tick, worst of a drive with a trip", costs.tick_worst, None, period // 4),
        Line(f"{pack}: of it a slice of the SoC filter, median", costs.slice_median),
        Line(f"{pack}: of it a slice of the SoC filter, worst", costs.slice_worst),
        Line(f"{pack}: of it garbage collection, worst", costs.gc_worst),
        Line(f"{pack}: boot, power-on to gates allowed", costs.boot, None, emulated.CLOCK_HZ),
        Line(f"{pack}: heap left, bytes", costs.heap_free),
    ]


if __name__ == "__main__":
    main()
