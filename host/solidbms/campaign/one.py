"""One run of a campaign in this process: world, firmware, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from bms.core import limits, rules
from bms.core.pack import Pack
from bms.core.protect import ACTED, STRIDE
from bms.loop import Bms

from solidbms.campaign import notice, truth
from solidbms.campaign.build import Plan
from solidbms.jobs import job_of
from solidbms.outcome import Outcome
from solidbms.packc import Compiled, compile_pack
from solidbms.record import Record, column_names
from solidbms.targets import cpython

SETTLE_MS = 5000  # a run ends so long after its fault was answered

compiled_pack = lru_cache(compile_pack)


class Run:
    """A plan at work. `poke`: called with the `Bms` at the onset; `rows`: rules that end it."""

    def __init__(
        self,
        plan: Plan,
        compiled: Compiled,
        faults: list[tuple[Any, Any]],
        poke: Callable[[Any], None] | None = None,
        rows: tuple[int, ...] = (),
        settle_ms: int = SETTLE_MS,
    ) -> None:
        self.plan = plan
        self.compiled = compiled
        job = job_of(plan.scenario, faults, plan.world_seed, compiled)
        self.world = job.world
        self.poke = poke
        self.rows = rows
        self.settle_ms = settle_ms
        self.ticks = bytearray()
        self.truth = truth.Log(job.world)
        self.chip_ms: int | None = None
        self.died = ""
        self._end_ms: int | None = None
        self._onset_ms = round(plan.onset_s * 1000)
        board = cpython.Board(self.world, job.saved, self._take)
        self.bms = Bms(board, Pack(compiled.blob))

    def go(self) -> Run:
        """Run to the end; an error of the firmware ends it and is kept."""
        try:
            self.bms.run()
        except Exception as error:  # it is what is looked for
            self.died = repr(error)
        return self

    def outcome(self) -> Outcome:
        """Return what came of it."""
        names = column_names(Pack(self.compiled.blob))
        words = np.frombuffer(self.ticks, "<i4").reshape(-1, len(names))
        return Outcome(Record({}, self.compiled.blob, names, words), self.compiled, self.world)

    def _take(self, tick: bytes) -> None:
        world, core = self.world, self.bms.core
        self.ticks += tick
        self.truth.add()
        v = core.limits.v
        world.limits_a = (v[limits.CHARGE_MA] / 1e3, v[limits.DISCHARGE_MA] / 1e3)
        if world.elapsed_ms < self._onset_ms:
            return
        if self.poke is not None:
            self.poke(self.bms)
            self.poke = None
            return
        self._chip()
        if self._end_ms is None:
            if self._answered(core.rules.v):
                self._end_ms = world.elapsed_ms + self.settle_ms
        elif world.elapsed_ms >= self._end_ms:
            world.stopped = True

    def _chip(self) -> None:
        """Note when the front end opens what the discharge pin allows."""
        world = self.world
        pins = world.gate_log[-1][1]
        if self.chip_ms is None and pins & rules.DISCHARGE:
            open_s = world.elapsed_ms - self._settled_ms() > SETTLE_MS
            if open_s and not world.circuit.drives & rules.DISCHARGE:
                self.chip_ms = world.elapsed_ms

    def _settled_ms(self) -> int:
        return self.world.gate_log[-1][0]

    def _answered(self, v: Any) -> bool:
        pins = self.world.gate_log[-1][1]
        answered = False
        for k in self.rows:
            if v[STRIDE * k] >= ACTED:
                row = rules.ROWS[k]
                if row[rules.LEVEL] == rules.TRIP and pins & row[rules.PATH]:
                    return False  # announced: its shed still runs
                answered = True
        return answered


def measure(run: Run) -> dict[str, Any]:
    """Return what a run showed, ready for JSON; times in ms."""
    outcome = run.outcome()
    onset_ms = round(run.plan.onset_s * 1000)
    trips = outcome.trip_table()
    keys = ("rule", "level", "crossed_ms", "acted_ms", "gate_ms", "promise_ms", "measured_ms")
    return {
        "onset_ms": onset_ms,
        "open_ms": round(run.plan.open_s * 1000),
        "trips": [{key: t[key] for key in keys} for t in trips if t["acted_ms"] >= onset_ms],
        "early": [t["rule"] for t in trips if t["acted_ms"] < onset_ms and t["level"] == "trip"],
        "drops": notice.unannounced(outcome),
        "chip_ms": run.chip_ms,
        "closed": any(pins for _, pins in run.world.gate_log),
        "truth": run.truth.beyond(run.compiled.cell.limits),
        "died": run.died,
    }


def rows_of(names: list[str]) -> tuple[int, ...]:
    """Return the places of rules in the table."""
    return tuple(k for k, row in enumerate(rules.ROWS) if row[rules.ID] in names)
