"""Wires the board to its pack and runs the one loop."""

import board
from bms.core.pack import Pack
from bms.loop import Bms


def main():
    """Run the firmware of the board that is on the path."""
    here = board.Board()
    Bms(here, Pack(here.pack_blob())).run()


if __name__ == "__main__":
    main()
