"""The ledger: which protection parts a pack lacks, what stands in, what that costs."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from solidbms.schema import PackFile


@dataclass(frozen=True)
class Part:
    """A protection part: its key in `[parts]`; what stands in for it and what remains when it is
    missing; the rules that stand in; for one that only holds on a condition, what to say when it
    is there; and the part without which nothing stands in."""

    key: str
    name: str
    stands_in: str
    cost: str
    rules: tuple[str, ...] = ()
    rests_on: str = ""
    by: str = ""


PARTS = (
    Part("fuse", "fuse",
         "both gates", "a short through welded FETs is not interrupted",
         ("short", "dsg_oc_cut", "charge_oc_cut")),
    Part("commanded_fuse", "fuse that firmware can blow",
         "the charger-inhibit line, where there is one",
         "a welded charge FET is not cut off inside the pack",
         ("chg_welded",), by="charger_inhibit"),
    Part("charger_inhibit", "charger-inhibit line",
         "the fuse that firmware can blow, where there is one",
         "a charger's current through a welded charge FET goes on until the charger ends it",
         ("chg_welded", "chg_burn"), by="commanded_fuse"),
    Part("second_protector", "secondary protector",
         "rules on one measurement, held against stack voltage and current",
         "one measurement, one processor",
         ("cell_ov_cut", "cell_uv_cut", "hot_cut", "stack_odd", "frozen")),
    Part("comparators", "comparators that act without the MCU",
         "the rules, one tick late", "a short circuit is seen after one conversion and one tick",
         ("dsg_oc_cut", "charge_oc_cut")),
    Part("second_fets", "second pair of FETs",
         "the welded gate is noticed and charge inhibited; a load is not",
         "a welded discharge FET feeds the load until it is empty", ("dsg_welded", "chg_welded")),
    Part("thermistor_per_cell", "thermistor on every cell",
         "thermistors between cells, the hottest spot by a model",
         "a hot spot is seen late: by the heat that reaches the next sensor",
         ("core_hot", "runaway", "temp_spread", "temp_stuck")),
    Part("ideal_diode", "diode that bypasses an open charge FET",
         "the FET's own sensor, where there is one",
         "discharge with charging blocked heats the charge FET's body diode",
         ("fet_hot", "fet_hot_cut")),
    Part("pre_discharge", "pre-discharge path",
         "nothing", "what hangs at the terminals is charged at once, through the FETs"),
    Part("dead_man", "dead-man gate drive",
         "gates opened by any exception", "a hung processor keeps its gates", (),
         "a capacitor at the terminals: without it a chopping load holds the charge pumps up "
         "(boards/pico/parts.md, C5)"),
)  # fmt: skip

# What a power cut or a reset takes with it.
LOST = (
    "SoC since boot (nothing is saved yet): the next start reads rested voltage, and says so",
    "trips that want a person: gates are open then, but `close` is all it takes",
    "stage of a charge and what the model knew of heat: a hot cell starts as its sensors read",
)

# What a bench pack gives up for arming without an answer to a welded FET: (rule, key of the cell,
# tightened value from it). The trip must not lie beyond.
BENCH = (
    ("hot_cut", "discharge_temp_max_c", -10.0, "10 K below the cell's own limit"),
    ("dsg_oc", "discharge_a_max", 0.9, "90 % of the cell's own limit"),
)


def missing(file: PackFile) -> list[Part]:
    """Return the parts that this pack lacks."""
    return [part for part in PARTS if not _has(file, part)]


def _has(file: PackFile, part: Part) -> bool:
    if part.key == "thermistor_per_cell" and file.cells_in_series == 1:
        return True  # no pack is without a thermistor
    return getattr(file.parts, part.key)


def stand_ins(part: Part, file: PackFile, present: Container[str]) -> str:
    """Return what stands in for a missing part, with those of its rules that the pack has."""
    names = [name for name in part.rules if name in present]
    alone = part.key == "ideal_diode" and not names  # no sensor at the FETs
    if alone or (part.by and not getattr(file.parts, part.by)):
        return "nothing"
    return f"{part.stands_in} ({', '.join(names)})" if names else part.stands_in


def having(file: PackFile) -> list[Part]:
    """Return the parts that this pack has."""
    return [part for part in PARTS if _has(file, part)]


def errors(file: PackFile) -> list[str]:
    """Return why a pack must not arm: nobody answers a welded charge FET."""
    answered = file.parts.commanded_fuse or file.parts.charger_inhibit
    if answered or file.use == "bench":
        return []
    return [
        f"parts: use {file.use!r} does not arm without commanded_fuse or charger_inhibit: a "
        'welded charge FET could not be answered; valid: one of them, or use = "bench"'
    ]


def tightened(file: PackFile, limits: dict[str, float]) -> list[tuple[str, float, str]]:
    """Return (rule, highest valid limit in V, A or degC, why) for a bench pack; else nothing.

    limits: the cell's `[limits]`.
    """
    if file.use != "bench" or file.parts.commanded_fuse or file.parts.charger_inhibit:
        return []
    return [
        (rule, limits[key] + by if by < 0 else limits[key] * by, why)
        for rule, key, by, why in BENCH
    ]
