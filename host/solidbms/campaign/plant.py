"""Single faults of cells, charger and what hangs on the terminals: tables of a scenario."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from solidbms.faults import Single
from solidbms.packc import Compiled
from solidbms.surroundings import Charge, Gap, Heat, Load, Short, Start


@dataclass
class Draft:
    """A scenario in the making: tables by name, as `Scenario` takes them."""

    rng: np.random.Generator
    compiled: Compiled
    onset_s: float
    end_s: float
    parts: dict[str, Any] = field(default_factory=dict)

    @property
    def span(self) -> dict[str, Any]:
        """The time of the fault."""
        return {"from_s": self.onset_s, "until_s": self.end_s}

    def cell(self) -> int:
        """Return a cell by lot."""
        return int(self.rng.integers(self.compiled.file.cells_in_series))

    def full_v(self) -> float:
        """Return what a charger is set to."""
        file = self.compiled.file
        full_v = file.charging.full_v or self.compiled.cell.limits.v_max
        return full_v * file.cells_in_series


@dataclass(frozen=True)
class Flaw:
    """alter: puts the fault into a draft."""

    name: str
    about: str
    single: Single
    alter: Callable[[Draft], None]


def _overheats(draft: Draft) -> None:
    # 0.13 K/s of a robot cell alone; a smaller cell gets its share.
    heat_w = 15.0 * draft.compiled.cell.thermal.heat_capacity_j_per_k / 115.0
    draft.parts["heat"] = [Heat(**draft.span, w=heat_w, cell=draft.cell())]


def _short(share: float) -> Callable[[Draft], None]:
    """A short whose current is this share of the capacity an hour."""

    def alter(draft: Draft) -> None:
        ohm = 3.8 / (share * draft.compiled.cell.capacity.ah)
        draft.parts["short"] = [Short(**draft.span, cell=draft.cell(), ohm=ohm, dip_mv=15.0)]

    return alter


def _gap(draft: Draft) -> None:
    draft.parts["gap"] = [Gap(**draft.span, cell=draft.cell(), pct=200.0, pct_per_h=0.0)]


def _charger(draft: Draft, **more: Any) -> None:
    span = draft.span
    cc_a = 0.33 * draft.compiled.cell.capacity.ah
    whole = draft.parts["charge"][0]
    before = Charge(from_s=whole.from_s, until_s=span["from_s"], cc_a=cc_a, cv_v=whole.cv_v)
    wrong = {"cc_a": cc_a, "cv_v": whole.cv_v, "obeys": False, **more}
    draft.parts["charge"] = [before, Charge(**span, **wrong)]


def _no_end(draft: Draft) -> None:
    """Its voltage limit is gone, and the pack nearly full."""
    _charger(draft, cv_v=1.2 * draft.full_v())
    start: Start = draft.parts["start"]
    draft.parts["start"] = start.model_copy(update={"soc": 0.965})


def _too_much(draft: Draft) -> None:
    """It gives twice what the cell may have."""
    most_a = draft.compiled.cell.limits.charge_a_max
    _charger(draft, cc_a=2 * most_a, cv_v=1.2 * draft.full_v())


def _jumper(ohm_share: float) -> Callable[[Draft], None]:
    def alter(draft: Draft) -> None:
        volts = 3.8 * draft.compiled.file.cells_in_series
        ohm = ohm_share * volts / draft.compiled.file.discharge_a_max
        load = Load(**draft.span, ohm=ohm)
        draft.parts["load"] = [*draft.parts["load"], load]

    return alter


def _dead_load(draft: Draft) -> None:
    """What hangs on the terminals draws more than the pre-discharge resistor lets through."""
    draft.parts["load"] = [Load(from_s=0.0, until_s=draft.end_s, ohm=5.0)]


_FAR = ("fewer sensors than cells: its heat reaches the next one after minutes, and no step of "
        "current shows what it answers")
FLAWS = (
    Flaw("cell_overheats", "a cell makes heat of its own, 0.13 K/s were it alone",
         Single(row="runaway precursor", steps=40, watched_s=300.0,
                by=["runaway", "runaway_cut", "cell_r_warn", "cell_r_low", "spread_warn",
                    "temp_spread", "core_hot", "hot", "hot_cut", "hot_warn"],
                not_covered={"rest": _FAR, "charge": _FAR}), _overheats),
    Flaw("soft_short_hard", "a dendrite: a cell loses a quarter of its charge an hour",
         Single(row="soft short", detect_s=600.0, by=["cell_sag", "imbalance", "cell_r_warn"],
                onset_s=80.0, not_covered={"charge": "cells are compared at rest, and in steps "
                                                     "of current"}),
         _short(0.25)),
    Flaw("soft_short", "a dendrite of 100 ohm: 38 mA out of 15 Ah",
         Single(row="soft short", by=["cell_sag", "imbalance"],
                not_covered={"all": "2 mV an hour: `imbalance` tells after a day; coulombic "
                                    "efficiency and slow drift are not evaluated"}),
         _short(0.0025)),
    Flaw("interface_gap", "voids at the interface of a cell: R1 three times what it was",
         Single(row="interface gap",
                by=["cell_r_high"], steps=20, not_covered={
                    "rest": "no step of current", "charge": "no step of current"}), _gap),
    Flaw("charger_no_end", "a charger without a voltage limit that ignores what the pack says",
         Single(row="charger that does not stop", detect_s=300.0, only=["charge"],
                by=["cell_ov", "cell_ov_cut", "pack_ov", "overcharge"]), _no_end),
    Flaw("charger_too_much", "the charger gives twice the current that the cell may have",
         Single(row="charger that does not stop", only=["charge"],
                by=["charge_rate", "charge_oc", "charge_oc_cut", "chg_held"]), _too_much),
    Flaw("short_circuit", "the load is a short circuit",
         Single(row="short circuit", only=["rest", "load"],
                by=["short", "dsg_oc_cut", "dsg_held", "gate_dropped"]),
         _jumper(0.01)),
    Flaw("over_current", "the load draws half as much again as the cells may give",
         Single(row="short circuit", by=["dsg_oc", "dsg_oc_cut", "dsg_held"],
                detect_s=1.0, only=["rest", "load"], not_covered={
                    "cold": "resistance of the cells keeps it below, and `cell_uv_cut` is first"}),
         _jumper(0.55)),
    Flaw("dead_load", "the load does not let the terminals come up before the FETs close",
         Single(row="pre-discharge fails", onset_s=0.0, by=["pre_failed"], detect_s=7.5,
                only=["rest"]),
         _dead_load),
)  # fmt: skip
