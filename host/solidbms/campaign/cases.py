"""What a campaign tries: every fault file with a `[single]` table, and what memory can lose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from bms.core import rules

from solidbms import watch
from solidbms.campaign import memory, plant
from solidbms.faults import ACTIVITIES, FaultFile, Single
from solidbms.fronts import front
from solidbms.packc import Compiled
from solidbms.schema import HIL, PackFile, check, read_toml

TEMPS = ("cold", "mild", "hot")
CONDITIONS = tuple(f"{activity} {temp}" for activity in ACTIVITIES for temp in TEMPS)
COLD_K, HOT_K = 6.0, 7.0  # inside what the pack still charges at
MILD_C, HOT_C = 25.0, 42.0
MARGIN_S = 5.0
STEP_S = 3.0  # between two steps of the load's current


@dataclass(frozen=True)
class Case:
    """One fault: of hil/faults (`file`), of the firmware's memory (`poke`), or of cells and what
    hangs on the terminals (`alter`)."""

    name: str
    about: str
    single: Single
    file: FaultFile | None = None
    poke: Callable[[Any], None] | None = None
    alter: Callable[[plant.Draft], None] | None = None

    @property
    def conditions(self) -> tuple[str, ...]:
        """The conditions that the fault can have."""
        only = self.single.only or ACTIVITIES
        return tuple(c for c in CONDITIONS if c.split()[0] in only)

    def missing(self, file: PackFile) -> str | None:
        """Return why this pack's hardware cannot have the fault, None where it can."""
        if self.file is None:
            return None
        if self.file.where == "chip" and self.file.kind not in front(file).Circuit(file).FAULTS:
            return f"a front end {file.front_end.chip} has no such fault"
        return None

    def why_not(self, condition: str, compiled: Compiled) -> str | None:
        """Return why nothing need tell in a condition, None where something must."""
        words = {"all", compiled.file.name, *condition.split()}
        for key, why in self.single.not_covered.items():
            if words.issuperset(key.split()):
                return why
        present = {rule.id for rule in compiled.rules}
        if self.single.closes and present.isdisjoint(self.single.by):
            return "; ".join(_absent(name, compiled.file) for name in self.single.by)
        return None

    def allowed_ms(self, rule: str, compiled: Compiled) -> int:
        """Return how long a rule may take from the fault, or what shows it, to the gate."""
        file = compiled.file
        found = next(r for r in compiled.rules if r.id == rule)
        detect_ms = round(1000 * self.single.detect_s)
        if found.signal.endswith("_ms"):  # a time itself: it has to pass as well
            detect_ms = max(detect_ms, found.limit)
        tick_ms = file.idle_tick_ms if self.single.opening else file.tick_ms
        return detect_ms + round(1000 * self.single.steps * STEP_S) + found.promise_ms(tick_ms)

    def span_s(self, condition: str, compiled: Compiled) -> float:
        """Return how long after the fault the gates are told to open."""
        if self.single.opening or not self.single.closes:
            return 3 * MARGIN_S
        if self.why_not(condition, compiled) is not None:
            return self.single.watched_s
        present = {rule.id for rule in compiled.rules}
        waits = [self.allowed_ms(r, compiled) for r in self.single.by if r in present]
        return max(waits) / 1000 + MARGIN_S


@cache
def cases() -> dict[str, Case]:
    """Return every case by its name; BadInput for a fault file that is not valid."""
    found = {}
    for path in sorted((HIL / "faults").glob("*.toml")):
        file = check(FaultFile, read_toml(path), path)
        if file.single is not None:
            found[file.name] = Case(file.name, file.about, file.single, file)
    for flaw in plant.FLAWS:
        found[flaw.name] = Case(flaw.name, flaw.about, flaw.single, alter=flaw.alter)
    for poke in memory.POKES:
        found[poke.name] = Case(poke.name, poke.about, poke.single, poke=poke.act)
    return found


def temp_c(temp: str, compiled: Compiled) -> float:
    """Return how warm a condition is on a pack, degC."""
    by_id = {rule.id: rule.limit / 1e3 for rule in compiled.rules}
    if temp == "cold":
        return by_id["charge_cold"] + COLD_K
    return min(HOT_C, by_id["charge_hot"] - HOT_K) if temp == "hot" else MILD_C


def _absent(name: str, file: PackFile) -> str:
    row = next(row for row in rules.ROWS if row[rules.ID] == name)
    return f"without {name}: {watch.absent(row, file)}"
