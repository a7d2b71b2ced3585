"""Wires the board to its pack and runs the one loop."""

import board
from bms.core.pack import Pack
from bms.loop import Bms


def beside(here, bms):
    """Run the user's program, if there is one; the pack outlives it, and warns and sheds."""
    try:
        program = here.program()
        if program is None:
            return
        program(bms)
        bms.lose("the program beside the pack has ended")
    except Exception as error:
        bms.lose(error)


def main(commit=None):
    """Run the firmware of the board that is on the path, or the user's program beside it.

    commit: see the board; None where nothing was flashed.
    """
    here = board.Board(commit)
    try:
        bms = Bms(here, Pack(here.pack_blob()))
        beside(here, bms)
        bms.run()
    finally:
        here.stopped()  # whatever ended it: nobody ticks any more


if __name__ == "__main__":
    main()
