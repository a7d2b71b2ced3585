"""Wires the board to its pack and runs the one loop."""

import board
from bms.core.pack import Pack
from bms.loop import Bms


def main(commit=None):
    """Run the firmware of the board that is on the path, or the user's program beside it.

    commit: see the board; None where nothing was flashed.
    """
    here = board.Board(commit)
    try:
        bms = Bms(here, Pack(here.pack_blob()))
        (here.program() or Bms.run)(bms)
    finally:
        here.stopped()  # whatever ended it: nobody ticks any more


if __name__ == "__main__":
    main()
