"""Every row of the table on every pack that has it."""

from __future__ import annotations

import pytest
from bms.core import rules as R
from solidbms.packrules import Rule
from support.packs import NAMES, compiled

# Delays and sheds that are no multiple of the tick, and a fuse to be blown, on top of what there
# is. A pack with the rules of another adds nothing.
PACKS = [*{str(compiled(name).rules): name for name in reversed(NAMES)}.values(), "bench_1s@45",
         "robot_14s@fuse"]  # fmt: skip
IDS = [row[R.ID] for row in R.ROWS]
each_row = pytest.mark.parametrize(
    ("name", "row"),
    [
        pytest.param(pack, IDS.index(rule.id), id=f"{pack}-{rule.id}")
        for pack in PACKS
        for rule in compiled(pack).rules
    ],
)


def rule_of(name: str, row: int) -> Rule:
    """Return a row with the numbers of a pack."""
    return next(rule for rule in compiled(name).rules if rule.id == IDS[row])
