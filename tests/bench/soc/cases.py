"""What is run: files never used to fit or tune, by groups, with the goal of each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

# Sensors of every run: 12 bit over 0 to 5 V and +-40 A, 2 mV rms of noise, temperature to 0.25 K.
SENSORS: dict[str, Any] = {
    "adc_bits": 12, "noise_mv": 2.0, "temp_step_c": 0.25, "gain_pct": 1.0, "offset_ma": 50.0,
}  # fmt: skip
A123 = {"offset_ma": 5.0}  # ten hours at 50 mA would be a quarter of the cell
A123_STATED = {"pack": "bench_1s_lfp"}  # bench_1s states 50 mA
SIGNS = ((1, 1), (1, -1), (-1, 1), (-1, -1))  # of gain and offset
EVERY_SIGN = "every sign"
LOW, HIGH, FROM_SOC, BOUND_PCT = -30.0, 30.0, 70.0, 35.0
RIGHT_PCT = 1.0
STARTS = {
    "first": "from the first reading",
    "right": "right",
    "low": "30 % low",
    "high": "30 % high, from SoC 70",
}
DATA = (
    "LG 18650HG2: doi 10.17632/cp3473x7xv.3; Panasonic NCR18650PF: doi 10.17632/wykht8y7tg.1 "
    "(Kollmeyer et al., Mendeley Data, CC BY 4.0), thinned to a row a second; A123 26650: Plett's "
    "ESC toolbox, as in github.com/batterysim/esctoolbox-python"
)
_LG = {t: f"{'n' if t < 0 else ''}{abs(t)}degC" for t in (40, 25, 10, 0, -10, -20)}
_PANASONIC = {25: "25degC", 10: "10degC", 0: "0degC"}
A123_FILES = {5: "A123_DYN_45_P05_s1", 25: "A123_DYN_50_P25_s1", 45: "A123_DYN_50_P45_s1"}


@dataclass(frozen=True)
class Goal:
    """At most this, in % SoC; None where there is none."""

    rmse_pct: float | None = None
    max_pct: float | None = None
    end_pct: float | None = None
    close_s: float | None = None


@dataclass(frozen=True)
class Run:
    """One file, one start, one set of errors. cell: a name, or a fold to be made ("a123-25").

    Two groups may share a run."""

    cell: str
    path: Path
    temp_c: int
    start: str
    options: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        """File without its endings."""
        return self.path.name.removesuffix(".gz").removesuffix(".csv")

    @property
    def about(self) -> str:
        """File, temperature, sensor and pack."""
        off = f"gain {self.options['gain_pct']:+g} %, offset {self.options['offset_ma']:+g} mA"
        pack = f", {self.options['pack']}" if "pack" in self.options else ""
        return f"{self.name}, {self.temp_c} degC, {off}{pack}"


@dataclass(frozen=True)
class Group:
    """Runs that are averaged."""

    name: str
    runs: tuple[Run, ...]
    goal: Goal | None = None


def _lg(data: Path, temp_c: int, kinds: tuple[str, ...] = ("US06", "LA92")) -> list[Path]:
    folder = data / "lg_hg2"
    return [p for k in kinds for p in sorted(folder.glob(f"{_LG[temp_c]}_*{k}.csv*"))]


def _group(
    name: str, cell: str, files: list[tuple[int, Path]], start: str, goal: Goal | None = None,
    **options: Any,
) -> Group:  # fmt: skip
    runs = [Run(cell, p, t, start, {**SENSORS, **options}) for t, p in files]
    return Group(name, tuple(runs), goal)


def groups(data: Path) -> list[Group]:
    """Return the groups of which there are files."""
    lg = {t: [(t, p) for p in _lg(data, t)] for t in _LG}
    warm, cool = lg[25] + lg[40], lg[0] + lg[10]
    panasonic = [(t, p) for t, stem in _PANASONIC.items()
                 for p in sorted((data / "panasonic").glob(f"{stem}_US06.csv*"))]  # fmt: skip
    found = [
        _group("LG 25, 40 degC, 30 % low", "lg_hg2", warm, "low", Goal(0.6, 2.0, None, 120.0)),
        _group("LG 25, 40 degC, 30 % high, from 70", "lg_hg2", warm, "high",
               Goal(0.6, 2.0, None, 120.0)),
        _group("LG 0, 10 degC, from the first reading", "lg_hg2", cool, "first", Goal(0.6, 2.0)),
        _group("LG 0, 10 degC, 30 % low", "lg_hg2", cool, "low", Goal(1.5, 5.0)),
        _group("LG 0, 10 degC, 30 % high, from 70", "lg_hg2", cool, "high", Goal(1.5, 5.0)),
        _group("LG -10 degC, from the first reading", "lg_hg2", lg[-10], "first", Goal(1.2, 3.4)),
        _group("LG -20 degC, from the first reading", "lg_hg2", lg[-20], "first", Goal(2.0, 5.0)),
        _group("Panasonic 25, 10, 0 degC, 30 % low", "panasonic_pf", panasonic, "low",
               Goal(1.0, 2.8)),
        *_a123(data, "5, 25, 45 degC, right", (5, 25, 45), "right", Goal(2.0, 4.0)),
        *_a123(data, "25, 45 degC, 30 % low", (25, 45), "low", Goal(end_pct=5.0)),
    ]  # fmt: skip
    return [g for g in [*found, *map(_every_sign, found), *_beside(data)] if g.runs]


def _every_sign(group: Group) -> Group:
    """Return the runs of a group with each sign of the sensor's errors: those of the goals, both
    plus, nearly cancel under a discharge."""
    runs = [
        replace(run, options={
            **run.options,
            "gain_pct": gain * run.options["gain_pct"],
            "offset_ma": offset * run.options["offset_ma"],
        })
        for run in group.runs for gain, offset in SIGNS
    ]  # fmt: skip
    return Group(f"{group.name}, {EVERY_SIGN}", tuple(runs))


def _a123(data: Path, what: str, temps: tuple[int, ...], start: str, goal: Goal) -> list[Group]:
    """Return the group on a pack that states ten times the sensor's offset, and on one that
    states it."""
    files = [(t, p) for t in temps for p in sorted((data / "a123").glob(f"{A123_FILES[t]}.csv*"))]
    found = []
    for word, pack in (("", {}), (", pack states 5 mA", A123_STATED)):
        options = {**SENSORS, **A123, **pack, "discharge_positive": True}
        runs = [Run(f"a123-{t}", p, t, start, {**options, "temp_c": float(t)}) for t, p in files]
        found.append(Group(f"A123 LFP {what}{word}", tuple(runs), goal))
    return found


def _beside(data: Path) -> list[Group]:
    """Groups without a goal: every temperature, and errors turned round one at a time."""
    us06 = [(t, p) for t in (40, 25, 10, 0, -10, -20) for p in _lg(data, t, ("US06",))]
    found = [_group("LG 25, 40 degC, from the first reading", "lg_hg2",
                    [(t, p) for t in (25, 40) for p in _lg(data, t)], "first"),
             _group("LG -10, -20 degC, 30 % low", "lg_hg2",
                    [(t, p) for t in (-10, -20) for p in _lg(data, t)], "low")]  # fmt: skip
    for start in ("right", "low"):
        for what, options in (
            ("", {}),
            ("gain -1 %", {"gain_pct": -1.0}),
            ("offset -50 mA", {"offset_ma": -50.0}),
            ("gain -1 %, offset -50 mA", {"gain_pct": -1.0, "offset_ma": -50.0}),
            ("temperature +5 K", {"temp_offset_c": 5.0}),
            ("capacity 5 % low", {"capacity_pct": -5.0}),
        ):
            word = f", {what}" if what else ""
            name = f"LG US06 40 to -20 degC, {STARTS[start]}{word}"
            found.append(_group(name, "lg_hg2", us06, start, None, **options))
    found.append(
        _group("LG US06 40 to -20 degC, 30 % high, from 70", "lg_hg2", us06, "high")
    )
    return found


def replay_options(run: Run, full_soc: float = 1.0) -> dict[str, Any]:
    """Return the options of `solidbms replay` for a run; full_soc: the reference at its start."""
    options = dict(run.options)
    if run.start == "high":
        options["from_soc"] = FROM_SOC
        options |= {"start_soc": FROM_SOC + HIGH, "start_bound_pct": BOUND_PCT}
    elif run.start == "low":
        options |= {"start_soc": 100 * full_soc + LOW, "start_bound_pct": BOUND_PCT}
    elif run.start == "right":
        options |= {"start_soc": 100 * full_soc, "start_bound_pct": RIGHT_PCT}
    return options
