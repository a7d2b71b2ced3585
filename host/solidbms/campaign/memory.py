"""What the firmware's own memory can lose while it runs; the world has no hand in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bms.core import switch

from solidbms.faults import Single

ROW = "RAM"
BIT = 1 << 14


@dataclass(frozen=True)
class Poke:
    """act: called with the running `Bms` as the fault comes."""

    name: str
    about: str
    single: Single
    act: Callable[[Any], None]


def _limit(bms: Any) -> None:
    """The limit of the first row in use, as the evaluation holds it."""
    groups = bms.core.rules.groups
    s, low, high, bit, rows = groups[0]
    (k, limit, rest), *others = rows
    groups[0] = (s, low, high, bit, ((k, limit ^ BIT, rest), *others))


def _table(bms: Any) -> None:
    bms.core.pack.discharge_derate_ppm[-1] ^= BIT


def _latch(bms: Any) -> None:
    bms.core.switch.v[switch.LATCHED] ^= 1


def _fuse(bms: Any) -> None:
    bms.core.switch.v[switch.FUSE] ^= 1


# A slice a tick: every table and row is looked at within this.
_ROUND_S = 3.0
_BY = {"row": ROW, "by": ["config"]}
POKES = (
    Poke("ram_limit", "a bit flips in a rule's limit as it is evaluated",
         Single(**_BY, detect_s=_ROUND_S), _limit),
    Poke("ram_table", "a bit flips in a table of the pack",
         Single(**_BY, detect_s=_ROUND_S), _table),
    Poke("ram_latch", "a bit flips in the latches of the switch",
         Single(**_BY, detect_s=0.0), _latch),
)  # fmt: skip
