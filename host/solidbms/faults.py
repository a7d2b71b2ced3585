"""What can break. `KINDS` is the one table: a fault file names a place and a kind of it.

A sensor fault changes what is seen of a value (`Senses`); every other kind is a function that is
called with the world as the fault comes and as it goes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from bms.core import rules
from pydantic import model_validator

from solidbms.model import Model, Name, NonNegative

if TYPE_CHECKING:
    from solidbms.scenario import FaultUse
    from solidbms.world import World

# As machine.I2C reports them.
EIO = 5
ETIMEDOUT = 110
BUS_ERRNO = {"nack": EIO, "stuck_bus": ETIMEDOUT}

Act = Callable[["World", "Fault", bool], None]  # the bool: it comes, or it goes


class Fault:
    """A fault file at work."""

    def __init__(self, use: FaultUse, file: FaultFile) -> None:
        self.use = use
        self.name = file.name
        self.where = file.where
        self.kind = file.kind
        self.value = file.value if use.value is None else use.value
        self.index = file.index if use.index is None else use.index  # None: every one there is
        self.active = False
        self.held: dict[int | None, float] = {}

    def hits(self, where: str, index: int | None) -> bool:
        """Return whether this value is the one, or one of those, that is changed."""
        return self.where == where and (self.index is None or self.index == index)

    def shown(
        self, value: float, index: int | None, t_s: float, rng: np.random.Generator
    ) -> float:
        """Return what this fault makes of a value at t_s."""
        if self.kind == "stuck":
            return self.held.setdefault(index, value)
        if self.kind == "offset":
            return value + self.value
        if self.kind == "scale":
            return value * self.value
        if self.kind == "noise":
            return value + self.value * rng.standard_normal()
        if self.kind == "drift":
            return value * (1 + self.value * (t_s - self.use.from_s) / 3600)
        return value


class Senses:
    """What sensors make of true values while faults lie on them; false while there are none."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.active: list[Fault] = []
        self.t_s = 0.0

    def __bool__(self) -> bool:
        return bool(self.active)

    def shown(self, where: str, value: float, index: int | None = None) -> float:
        """Return what is seen of a value, through its faults in the order of their coming."""
        for fault in self.active:
            if fault.hits(where, index):
                value = fault.shown(value, index, self.t_s, self.rng)
        return value

    def has(self, where: str, kind: str, index: int | None = None) -> bool:
        """Return whether such a fault lies there."""
        return any(f.kind == kind and f.hits(where, index) for f in self.active)


def _sensed(world: World, fault: Fault, comes: bool) -> None:
    fault.held.clear()
    active = world.senses.active
    active.append(fault) if comes else active.remove(fault)


def _bus(world: World, fault: Fault, comes: bool) -> None:
    kinds = [f.kind for f in world.faults if f.active and f.where == "bus"]
    world.bus_errno = next((BUS_ERRNO[kind] for kind in kinds if kind in BUS_ERRNO), 0)
    world.garble = next((kind for kind in kinds if kind not in BUS_ERRNO), "")
    if fault.kind != "torn":  # what comes over was measured, if not all at the same time
        _deaf(world, comes)


def _chip(world: World, fault: Fault, comes: bool) -> None:
    world.circuit.fault(fault.kind, comes, fault.value)
    _deaf(world, comes)


def _chip_within(world: World, fault: Fault, comes: bool) -> None:
    world.circuit.fault(fault.kind, comes, fault.value)


def _deaf(world: World, comes: bool) -> None:
    # While it lasts nobody can say what the firmware was told.
    world.deaf += 1 if comes else -1


def _charge_fet(world: World, fault: Fault, comes: bool) -> None:
    # KINDS has the words that a FET knows; so below.
    world.fets.charge.fault = fault.kind if comes else None  # type: ignore[assignment]


def _discharge_fet(world: World, fault: Fault, comes: bool) -> None:
    world.fets.discharge.fault = fault.kind if comes else None  # type: ignore[assignment]


def _pre_discharge_fet(world: World, fault: Fault, comes: bool) -> None:
    world.fets.pre_discharge.fault = fault.kind if comes else None  # type: ignore[assignment]


def _stall(world: World, fault: Fault, comes: bool) -> None:
    world.late_ms += round(fault.value) if comes else -round(fault.value)


SENSED: dict[str, Act] = dict.fromkeys(("stuck", "offset", "scale", "noise", "drift"), _sensed)
SENSOR = {**SENSED, "lost": _sensed, "short": _sensed}
KINDS: dict[str, dict[str, Act]] = {
    "cell_v": SENSED,  # one cell as the front end sees it, or all
    "cell_wire": {"open": _sensed},  # the wire to the top of a cell
    "stack_v": SENSED,
    "out_v": SENSED,  # terminals
    "reference": SENSED,  # of the front end: everything that it compares with it
    "current_a": SENSED,
    "temp_c": SENSOR,  # one thermistor on the cells, or all
    "fet_c": SENSOR,
    "die_c": SENSED,
    "bus": {
        "nack": _bus,
        "stuck_bus": _bus,  # SDA held low: every transfer times out
        "bit_flip": _bus,  # one bit of every answer
        "torn": _bus,  # the first half of an answer is that of the last time
    },
    "chip": {
        "reset": _chip,
        "wrong_chip": _chip,
        "stuck": _chip,
        "clock": _chip_within,  # runs fast by this share
        "upset": _chip_within,  # a bit of its settings, at address `value`
    },
    "chg_fet": {"welded": _charge_fet, "open": _charge_fet},
    "dsg_fet": {"welded": _discharge_fet, "open": _discharge_fet},
    "pre_fet": {"welded": _pre_discharge_fet, "open": _pre_discharge_fet},  # of pre-discharge
    "clock": {"stall": _stall},
}


ACTIVITIES = ("rest", "load", "charge")
SINGLES = (  # the list of single faults
    "cell voltage stuck", "charger that does not stop", "clock", "current offset",
    "current stuck or wrong gain", "FET welded or failed open", "flash, configuration",
    "front end lost or stale", "interface gap", "open sense wire", "overrun, stall",
    "pre-discharge fails", "RAM", "runaway precursor", "short circuit", "soft short",
    "temperature drift", "temperature open, short, stuck", "voltage or reference drift",
    "wrong configuration",
)  # fmt: skip


class Single(Model):
    """`[single]` of a fault file: what the single-fault campaign may expect of it.

    not_covered: why nothing tells in a condition ("rest", "cold", "load hot"; "all": in none), or
    on one pack alone ("bench_1s mild").
    """

    row: str  # of SINGLES
    by: list[str] = []  # rules: one of them must act
    detect_s: NonNegative = 0.0  # until their signal shows it; their promise comes on top
    steps: int = 0  # of the load's current, that it takes to show
    opening: bool = False  # shows only once the gates have been told to open
    one: bool = True  # one of the cells or sensors, drawn by lot; else all of them
    only: list[str] = []  # activities that can have it; else all
    closes: bool = True  # False: the answer is that no gate closes
    onset_s: NonNegative = 30.0
    watched_s: NonNegative = 60.0  # for something to tell where nothing need
    not_covered: dict[str, str] = {}


class FaultFile(Model):
    """hil/faults/NAME.toml: what breaks and how."""

    name: Name
    about: str
    where: str
    kind: str
    value: float = 0.0
    index: int | None = None  # which cell or sensor, from 0; all of them where it is not said
    single: Single | None = None

    @model_validator(mode="after")
    def _fits(self) -> FaultFile:
        if self.where not in KINDS:
            raise ValueError(f"where {', '.join(KINDS)} is valid, not {self.where!r}")
        valid = KINDS[self.where]
        if self.kind not in valid:
            raise ValueError(f"kind {', '.join(valid)} is valid for where {self.where!r}")
        if self.single is not None:
            self._known(self.single)
        return self

    def _known(self, single: Single) -> None:
        ids = [row[rules.ID] for row in rules.ROWS]
        for name in single.by:
            if name not in ids:
                raise ValueError(f"single.by: no rule {name!r}; there are: {', '.join(ids)}")
        for key, words, valid in (("row", [single.row], SINGLES),
                                  ("only", single.only, ACTIVITIES)):  # fmt: skip
            for word in words:
                if word not in valid:
                    raise ValueError(f"single.{key}: one of {'; '.join(valid)} is valid, not "
                                     f"{word!r}")  # fmt: skip


def act(fault: Fault, world: Any, comes: bool) -> None:
    """Let a fault come or go."""
    KINDS[fault.where][fault.kind](world, fault, comes)
