"""`make bench`: frame to gates in cycles beside C, and the speed of the cpython target."""

from __future__ import annotations

import sys

from bench import speed
from bench.c_reference import Mismatch
from bench.figures import frame_to_gates, layout


def main() -> None:
    """Print the tables; exit status 1 when the C does other work than the Python core."""
    try:
        lines, missing = frame_to_gates()
    except Mismatch as error:
        sys.exit(f"the C reference differs: {error}")
    print("emulated RP2040: median of quiet driving, worst of every row acting and recovering")
    print(layout(lines))
    if missing:
        print(missing)
    print()
    speed.main()


if __name__ == "__main__":
    main()
