"""Where the firmware runs. One scenario, one record format; a target is a row of `TARGETS`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from solidbms.targets import cpython, emu, unix

# name -> runs the firmware with a compiled pack (a file) against a world until the world ends;
# every tick's record goes to the callback.
TARGETS: dict[str, Callable[..., Any]] = {
    "cpython": cpython.run,
    "unix": unix.run,
    "emu": emu.run,
}


def default() -> str:
    """Return the target nearest to the chip that this machine has."""
    return "unix" if unix.interpreter() else "cpython"


