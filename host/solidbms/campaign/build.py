"""A campaign's run as a scenario: what the pack does, when the fault comes, when it opens."""

from __future__ import annotations

import math
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from solidbms.campaign.cases import STEP_S, Case, temp_c
from solidbms.campaign.plant import Draft
from solidbms.packc import Compiled
from solidbms.scenario import Expect, FaultUse, Request, Scenario
from solidbms.surroundings import Charge, Load, Output, Spread, Start

ENTROPY = 20260401  # of the whole campaign; a run's seed is its child by what it tries
CLOSE_S = 6.0  # the front end has been set up, and what acted meanwhile has cleared
BEGIN_S = 9.0
AFTER_S = 8.0  # watched after the gates have been told to open
SPREAD = Spread(capacity_pct=1.0, r_pct=5.0, soc_pct=0.3)
OUTPUT = Output(capacitance_uf=1000.0)
SOC = {"rest": (0.3, 0.9), "load": (0.35, 0.9), "charge": (0.3, 0.75)}


@dataclass(frozen=True)
class Spec:
    """One run: which fault ("" for none), condition and seed on a pack."""

    pack: str
    case: str
    condition: str
    seed: int


@dataclass(frozen=True)
class Plan:
    """A run made ready; times in s."""

    scenario: Scenario
    onset_s: float
    open_s: float
    world_seed: int


def rng_of(spec: Spec) -> np.random.Generator:
    """Return the random numbers of a run: they hang on nothing but what it tries."""
    words = (spec.pack, spec.case, spec.condition)
    key = (*(crc32(word.encode()) for word in words), spec.seed)
    return np.random.default_rng(np.random.SeedSequence(ENTROPY, spawn_key=key))


def plan(spec: Spec, case: Case, compiled: Compiled) -> Plan:
    """Return the scenario of a run."""
    rng = rng_of(spec)
    activity, temp = spec.condition.split()
    warm_c = temp_c(temp, compiled) + float(rng.uniform(-2, 2))
    onset_s = round(case.single.onset_s + float(rng.uniform(0, 3)), 3)
    if case.alter is not None:
        onset_s = math.ceil(onset_s)  # tables of a scenario act at whole seconds
    if not case.single.onset_s:
        onset_s = 0.0  # broken from the start
    # What is drawn changes at whole seconds; it is even before the gates are told to open.
    open_s = math.ceil(onset_s + case.span_s(spec.condition, compiled)) + 0.5
    end_s = open_s + AFTER_S
    draft = Draft(rng, compiled, onset_s, end_s)
    draft.parts = {
        "start": Start(soc=round(float(rng.uniform(*SOC[activity])), 3), temp_c=warm_c),
        "ambient": [[0.0, warm_c], [end_s, warm_c]],
        "spread": SPREAD,
        "output": OUTPUT if compiled.file.parts.pre_discharge else Output(),
        "load": _loads(rng, compiled, open_s - 0.5, end_s) if activity == "load" else [],
        "charge": _chargers(draft) if activity == "charge" else [],
        "request": [Request(at_s=CLOSE_S, do="close"), Request(at_s=open_s, do="open")],
        "fault": _faults(rng, case, compiled, onset_s, end_s),
    }
    if case.alter is not None:
        case.alter(draft)
    scenario = Scenario(
        name="campaign", about=case.about, pack=spec.pack, duration_s=end_s,
        expect=Expect(trips=None), **draft.parts,
    )  # fmt: skip
    return Plan(scenario, onset_s, open_s, int(rng.integers(1 << 31)))


def _loads(
    rng: np.random.Generator, compiled: Compiled, even_s: float, end_s: float
) -> list[Load]:
    """Work in steps within what the pack announces, with a brake now and then; at the end an even
    draw: what still flows with open gates shows."""
    file = compiled.file
    ah = compiled.cell.capacity.ah
    least_step = 1.3 * file.frozen_step_a
    loads = []
    t = BEGIN_S
    k = 0
    while t < even_s:
        low = float(rng.uniform(0.05, 0.2)) * ah
        current = -low
        if k % 2:
            current = -min(max(float(rng.uniform(1.0, 2.0)) * ah, low + least_step),
                           0.6 * file.discharge_a_max)  # fmt: skip
        elif k % 6 == 4:
            current = 0.2 * ah
        until = min(t + STEP_S, even_s)
        loads.append(Load(from_s=t, until_s=until, current_a=current, obeys=True))
        t += STEP_S
        k += 1
    loads.append(Load(from_s=even_s, until_s=end_s, current_a=-ah, obeys=True))
    return loads


def _chargers(draft: Draft) -> list[Charge]:
    cc_a = 0.33 * draft.compiled.cell.capacity.ah
    return [Charge(from_s=BEGIN_S, until_s=draft.end_s, cc_a=cc_a, cv_v=draft.full_v())]


def _faults(
    rng: np.random.Generator, case: Case, compiled: Compiled, onset_s: float, end_s: float
) -> list[FaultUse]:
    if case.file is None:
        return []
    index = case.file.index
    count = {
        "cell_v": compiled.file.cells_in_series,
        "cell_wire": compiled.file.cells_in_series - 1,
        "temp_c": compiled.file.thermistor.count,
    }.get(case.file.where)
    if count and index is None and case.single.one:
        index = int(rng.integers(count))
    return [FaultUse(use=case.name, from_s=onset_s, until_s=end_s, index=index)]
