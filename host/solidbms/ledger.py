"""The ledger: which protection parts a pack lacks, what stands in, what that costs."""

from __future__ import annotations

from dataclasses import dataclass

from solidbms.schema import PackFile


@dataclass(frozen=True)
class Part:
    """A protection part: its key in `[parts]`, what to say when it is missing, and, for one that
    only holds on a condition, what to say when it is there."""

    key: str
    name: str
    stands_in: str
    cost: str
    rests_on: str = ""


PARTS = (
    Part("fuse", "fuse",
         "dsg_oc, charge_oc open the gates", "a short through a welded FET is not interrupted"),
    Part("commanded_fuse", "fuse the firmware can blow",
         "nothing", "a welded charge FET cannot be answered"),
    Part("charger_inhibit", "charger-inhibit line",
         "nothing", "a welded charge FET cannot be answered"),
    Part("second_protector", "secondary protector",
         "cell_ov, cell_uv_cut, hot_cut", "one measurement, one processor"),
    Part("comparators", "comparators that act without the MCU",
         "the rules, one tick late", "a short circuit is seen after one conversion and one tick"),
    Part("thermistor_per_cell", "thermistor on every cell",
         "thermistors between cells", "a hot spot is seen late"),
    Part("ideal_diode", "diode that bypasses an open charge FET",
         "nothing", "discharge with charging blocked heats the charge FET's body diode"),
    Part("dead_man", "dead-man gate drive",
         "gates opened by any exception", "a hung processor keeps its gates",
         "a capacitor at the terminals: without it a chopping load holds the charge pumps up "
         "(boards/pico/parts.md, C5)"),
)  # fmt: skip

# What a bench pack gives up for arming without an answer to a welded FET: (rule, key of the cell,
# tightened value from it). The trip must not lie beyond.
BENCH = (
    ("hot_cut", "discharge_temp_max_c", -10.0, "10 K below the cell's own limit"),
    ("dsg_oc", "discharge_a_max", 0.9, "90 % of the cell's own limit"),
)


def missing(file: PackFile) -> list[Part]:
    """Return the parts that this pack lacks."""
    return [part for part in PARTS if not getattr(file.parts, part.key)]


def conditional(file: PackFile) -> list[Part]:
    """Return the parts that this pack has and that hold on a condition."""
    return [part for part in PARTS if getattr(file.parts, part.key) and part.rests_on]


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
