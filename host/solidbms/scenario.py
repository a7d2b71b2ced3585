"""Scenarios and faults: what is drawn, how warm it is, what breaks, and what must come of it."""

from __future__ import annotations

import csv
import gzip
import itertools
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from bms.core import rules, switch
from pydantic import Field, field_validator

from solidbms import packc
from solidbms.faults import FaultFile
from solidbms.model import Model, Name, NonNegative, Positive, Table
from solidbms.schema import BOARDS, HIL, BadInput, check, find, read_toml, refer, shown
from solidbms.surroundings import (
    Charge,
    Gap,
    Heat,
    Index,
    Load,
    OneCell,
    Output,
    Short,
    Span,
    Spread,
    Start,
)

CELL_KEYS = ("cell", "heat", "short", "gap")  # tables that may name one cell


class Request(Model):
    """What somebody asks the pack."""

    at_s: NonNegative
    do: Literal["open", "close", "ack", "clear", "ship"]


class FaultUse(Span):
    """A fault at work; `value` and `index` replace the file's."""

    use: str
    value: float | None = None
    index: Index | None = None


class Expect(Model):
    """What must come of it; every line is checked and shown."""

    state: Literal["boot", "off", "on", "shedding", "tripped", "ship"] | None = None
    # Rows that act, in the order of their first time; None (replay) expects nothing.
    trips: list[str] | None = []
    warns: list[str] | None = []
    notes: list[str] | None = []
    within_promise: bool = True  # every trip's measured reaction
    soc_error_pct_max: Positive | None = None
    soc_bound_holds: bool = True


class Scenario(Model):
    """hil/scenarios/NAME.toml."""

    name: Name
    about: str
    pack: str
    duration_s: Annotated[float, Field(gt=0, le=1e7)]  # 115 days
    start: Start
    ambient: Table
    spread: Spread = Spread()
    output: Output = Output()
    cell: list[OneCell] = []
    load: list[Load] = []
    charge: list[Charge] = []
    heat: list[Heat] = []
    short: list[Short] = []
    gap: list[Gap] = []
    request: list[Request] = []
    fault: list[FaultUse] = []
    expect: Expect

    @field_validator("ambient")
    @classmethod
    def _rising(cls, ambient: list[list[float]]) -> list[list[float]]:
        times, temps = zip(*ambient, strict=True)
        if any(b <= a for a, b in itertools.pairwise(times)):
            raise ValueError("rising times are valid")
        if not all(-60 <= t <= 150 for t in temps):
            raise ValueError("-60 to 150 degC is valid")
        return ambient


def load_scenario(name: str) -> tuple[Scenario, list[tuple[FaultUse, FaultFile]], Path]:
    """Return a scenario, its faults and its file; BadInput for anything that is not valid."""
    path = find(name, HIL / "scenarios")
    scenario = check(Scenario, read_toml(path), path)
    errors: list[str] = []
    faults = []
    for k, use in enumerate(scenario.fault):
        try:
            file = refer(use.use, HIL / "faults", f"{shown(path)}: fault.{k}.use")
            faults.append((use, check(FaultFile, read_toml(file), file)))
        except BadInput as error:
            errors.append(str(error))
    errors += [f"{shown(path)}: {line}" for line in _beyond(scenario)]
    try:
        refer(scenario.pack, BOARDS / "packs", f"{shown(path)}: pack")
        cells = packc.load(scenario.pack)[0].cells_in_series
        errors += [f"{shown(path)}: {line}" for line in _no_such_cell(scenario, cells)]
    except BadInput as error:
        errors.append(str(error))
    profiles = sorted(p.name[:-7] for p in (HIL / "profiles").glob("*.csv.gz"))
    for k, load in enumerate(scenario.load):
        if load.profile is not None and load.profile not in profiles:
            errors.append(
                f"{shown(path)}: load.{k}.profile: no profile {load.profile!r}; there are: "
                + ", ".join(profiles)
            )
    known = {row[rules.ID] for row in rules.ROWS}
    for key in ("trips", "warns", "notes"):
        errors += [
            f"{shown(path)}: expect.{key}: no rule {rule!r}; there are: {', '.join(sorted(known))}"
            for rule in getattr(scenario.expect, key) or []
            if rule not in known
        ]
    if errors:
        raise BadInput("\n".join(errors))
    return scenario, faults, path


def _beyond(scenario: Scenario) -> list[str]:
    """Return what would begin only after the scenario's end."""
    found = []
    for key in ("load", "charge", "heat", "short", "gap", "fault", "request"):
        for k, item in enumerate(getattr(scenario, key)):
            name = "at_s" if isinstance(item, Request) else "from_s"
            at_s = getattr(item, name)
            if at_s >= scenario.duration_s:
                found.append(f"{key}.{k}.{name}: below duration_s {scenario.duration_s:g} is "
                             f"valid, not {at_s:g}")  # fmt: skip
    return found


def _no_such_cell(scenario: Scenario, cells: int) -> list[str]:
    return [
        f"{key}.{k}.cell: 0 to {cells - 1} is valid for pack {scenario.pack}, not {item.cell}"
        for key in CELL_KEYS
        for k, item in enumerate(getattr(scenario, key))
        if item.cell is not None and item.cell >= cells
    ]


def profile_path(name: str) -> Path:
    """Return the file of a measured load profile."""
    return HIL / "profiles" / f"{name}.csv.gz"


def read_profile(name: str) -> np.ndarray:
    """Return a profile's current in A, one value a second, charge positive."""
    with gzip.open(profile_path(name), "rt", encoding="ascii") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        return np.array([float(row["current_a"]) for row in rows])


def request_code(word: str) -> int:
    """Return the firmware's code of a request."""
    return switch.REQUESTS.index(word)
