"""A search for the sequence of faults, loads and requests that comes nearest to danger.

`python -m support.adversary [--examples N] [--seed N] [--write]` (PYTHONPATH=tests) searches
longer than the test does and, with --write, keeps the nearest of each kind as
hil/scenarios/adversary_KIND.toml. What it may put together: any load, ambient and requests, and
two faults, of which one at most can hide what happens (a reading, a charger or a load that ignores
limits); the other takes something away. A cell that heats by itself is left out: with fewer
sensors than cells that is not covered (docs/safety.md), and no gate ends it.
"""

from __future__ import annotations

import solidbms.stop  # noqa: F401 - first: for Ctrl-C meanwhile

# isort: split
import argparse
import json
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from bms.core import rules as R
from bms.core import switch as W
from hypothesis import HealthCheck, Phase, given, seed, settings, target
from hypothesis import strategies as st
from solidbms.campaign import notice, one
from solidbms.campaign.build import Plan
from solidbms.faults import FaultFile
from solidbms.outcome import Outcome
from solidbms.scenario import Expect, FaultUse, Request, Scenario
from solidbms.schema import HIL, check, read_toml
from solidbms.surroundings import Charge, Load, Output, Spread, Start
from support.packs import compiled

PACK = "robot_14s"
CLOSE_S = 3.0
LASTS_S = 45.0
BUS = ("bus_nack", "bus_stuck", "bus_bit_flip")
TAKES = (
    *BUS, "chip_reset", "chip_stuck", "chip_upset", "cell_wire_open", "temp_open", "temp_short",
    "fet_temp_open", "chg_fet_open", "dsg_fet_open", "chg_fet_welded", "chip_clock_fast",
)  # fmt: skip
# Faults of readings, with the values that are tried; of one cell or sensor where there are many.
READS: dict[str, tuple[float, float]] = {
    "cell_v_high": (0.05, 1.0),
    "cell_v_low": (-1.0, -0.05),
    "cell_v_stuck": (0.0, 0.0),
    "temp_high": (5.0, 40.0),
    "temp_low": (-40.0, -5.0),
    "temp_stuck": (0.0, 0.0),
    "current_gain_high": (1.1, 5.0),
    "current_gain_low": (0.1, 0.9),
    "current_stuck": (0.0, 0.0),
    "current_offset_large": (-2.0, 2.0),
    "reference_high": (0.95, 1.05),
    "stack_v_low": (0.95, 1.05),
}
KEPT = ("v_max", "v_min", "charge_a_max", "discharge_a_max", "blind")
ONE_OF = {"cell_v": 14, "cell_wire": 13, "temp_c": 3}


# Work, peaks beyond the limits, brakes.
AMPS = st.one_of(st.integers(-20, -1), st.integers(-130, -40), st.integers(1, 30))


@st.composite
def sequences(draw: st.DrawFn) -> Scenario:
    """Any sequence that the search may put together."""
    temp_c = draw(st.integers(-15, 55))
    ambient_c = min(max(temp_c + draw(st.integers(-15, 15)), -20), 60)
    hides = draw(st.sampled_from(("load", "charger", "reading", "nothing")))
    faults = []
    if hides == "reading":
        name = draw(st.sampled_from(sorted(READS)))
        low, high = READS[name]
        value = round(draw(st.floats(low, high)), 3) if low < high else None
        faults.append(_use(draw, name, value))
    if draw(st.booleans()):
        faults.append(_use(draw, draw(st.sampled_from(TAKES)), None))
    obeys = hides != "load"
    loads, t = [], CLOSE_S + 2
    while t < LASTS_S:
        until_s = min(t + draw(st.integers(1, 12)), LASTS_S)
        amps = draw(AMPS)
        loads.append(Load(from_s=t, until_s=until_s, current_a=float(amps), obeys=obeys))
        t = until_s + draw(st.integers(0, 3))
    charges = []
    if hides == "charger" or draw(st.booleans()):
        begin_s = float(draw(st.integers(5, 35)))
        charger: dict[str, Any] = {"cc_a": 7.0, "cv_v": 58.8}
        if hides == "charger":
            charger = {"cc_a": float(draw(st.integers(1, 40))), "obeys": False,
                       "cv_v": float(draw(st.integers(56, 90)))}  # fmt: skip
        charges.append(Charge(from_s=begin_s, until_s=LASTS_S, **charger))
    words = st.sampled_from(("close", "clear", "ack", "open"))
    asked = draw(st.lists(st.tuples(st.integers(6, 44), words), max_size=3))
    return Scenario(
        name="adversary",
        about="found by the search for the nearest to danger",
        pack=PACK,
        duration_s=LASTS_S,
        start=Start(soc=draw(st.integers(0, 99)) / 100, temp_c=float(temp_c)),
        ambient=[[0.0, float(temp_c)], [LASTS_S, float(ambient_c)]],
        spread=Spread(capacity_pct=1.0, r_pct=10.0, soc_pct=0.5, seed=draw(st.integers(0, 9))),
        output=Output(capacitance_uf=1000.0),
        load=loads,
        charge=charges,
        request=[Request(at_s=CLOSE_S, do="close"),
                 *(Request(at_s=float(at), do=do) for at, do in sorted(asked))],
        fault=faults,
        expect=Expect(trips=None),
    )  # fmt: skip


def _use(draw: st.DrawFn, name: str, value: float | None) -> FaultUse:
    count = ONE_OF.get(fault_file(name).where)
    index = None if count is None else draw(st.integers(0, count - 1))
    from_s = float(draw(st.integers(5, 35)))
    until_s = min(from_s + draw(st.sampled_from((0.2, 1.0, 5.0, 60.0))), LASTS_S)
    return FaultUse(use=name, from_s=from_s, until_s=until_s, value=value, index=index)


def fault_file(name: str) -> FaultFile:
    """Return a fault of hil/faults."""
    path = HIL / "faults" / f"{name}.toml"
    return check(FaultFile, read_toml(path), path)


@dataclass
class Danger:
    """How near a sequence came. near: 1 is as far as promises let it go, by kind; expect: what
    came of it."""

    scenario: Scenario
    near: dict[str, float] = field(default_factory=dict)
    said: str = ""
    expect: Expect = field(default_factory=Expect)


def allowed_ms() -> dict[str, int]:
    """Return for how long the current that a limit of the cell is about may flow past it."""
    pack = compiled(PACK)
    promise = {rule.id: rule.promise_ms(pack.file.tick_ms) for rule in pack.rules}
    lag_ms = round(pack.file.watch.sensor_tau_s * 1000)
    return {
        "v_max": promise["cell_ov"],
        "v_min": promise["cell_uv_cut"],
        "charge_a_max": promise["charge_oc"],
        "discharge_a_max": promise["dsg_oc"],
        "charge_temp_min_c": promise["charge_cold"] + lag_ms,
        "charge_temp_max_c": promise["charge_hot"] + lag_ms,
        "discharge_temp_min_c": promise["dsg_cold"] + lag_ms,
        "discharge_temp_max_c": promise["hot_cut"] + lag_ms,
        "blind": promise["fe_lost"],
    }


def meet(scenario: Scenario) -> Danger:
    """Run a sequence; return how near to danger it came."""
    pack = compiled(PACK)
    faults = [(use, fault_file(use.use)) for use in scenario.fault]
    run = one.Run(Plan(scenario, 0.0, LASTS_S, 0), pack, faults).go()
    found = Danger(scenario)
    limits = allowed_ms()
    if any(use.use in BUS for use in scenario.fault):
        # Nobody sees a limit passed while the bus is silent: the notice of that runs. What acts
        # meanwhile is the chip, by limits of its own.
        limits = {key: max(ms, limits["blind"]) for key, ms in limits.items()}
    for key, look in run.truth.beyond(pack.cell.limits).items():
        found.near[key] = look["past_ms"] / limits[key] or _below(look)
    found.near["blind"] = _blind_ms(run.world, scenario) / limits["blind"]
    outcome = run.outcome()
    drops = notice.unannounced(outcome)
    found.near["dropped"] = float(len(drops))
    found.said = f"{found.near} {drops} {run.died}"
    if run.died:
        found.near["died"] = 2.0
    found.expect = _came(outcome)
    return found


def _came(outcome: Outcome) -> Expect:
    acted = [[t.rule.id for t in outcome.trips if t.rule.row[R.LEVEL] == level]
             for level in (R.TRIP, R.WARN, R.NOTE)]  # fmt: skip
    trips, warns, notes = (list(dict.fromkeys(names)) for names in acted)
    lines = {line["what"]: line["ok"] for line in outcome.check(Expect(trips=trips))}
    state: Any = W.STATES[outcome.state[-1]]
    return Expect(
        state=state, trips=trips, warns=warns, notes=notes,
        within_promise=lines["every trip within its promise"],
        soc_bound_holds=lines["SoC bound holds"],
    )  # fmt: skip


def _below(look: dict[str, Any]) -> float:
    """Return 0 at a limit, less the further inside."""
    return -abs(look["worst"] - look["limit"]) / max(abs(look["limit"]), 1.0)


def _blind_ms(world: Any, scenario: Scenario) -> float:
    """Return the longest time for which a gate was closed on a bus that gave nothing true."""
    spans = [(u.from_s * 1000, u.until_s * 1000) for u in scenario.fault if u.use in BUS]
    longest = 0.0
    log = [*world.gate_log, (world.elapsed_ms, 0)]
    for begin, end in spans:
        for (t, gates), (until, _) in pairwise(log):
            if gates:
                longest = max(longest, min(end, until) - max(begin, t))
    return longest


def search(examples: int, at_random: int | None = None) -> dict[str, Danger]:
    """Search; return the nearest of each kind. AssertionError for one that is past."""
    best: dict[str, Danger] = {}

    @settings(
        max_examples=examples, derandomize=at_random is None, database=None, deadline=None,
        phases=(Phase.generate, Phase.target, Phase.shrink),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )  # fmt: skip
    @given(sequences())
    def hunt(scenario: Scenario) -> None:
        found = meet(scenario)
        for key, value in found.near.items():
            if key not in ("dropped", "died"):
                target(value, label=key)
            if key not in best or value > best[key].near[key]:
                best[key] = found
        past = {key: value for key, value in found.near.items() if value > 1.0}
        past |= {"dropped": 1.0} if found.near["dropped"] else {}
        assert not past, found.said

    (hunt if at_random is None else seed(at_random)(hunt))()
    return best


def write(kind: str, found: Danger) -> Path:
    """Keep a sequence as a scenario; return its file."""
    name = f"adversary_{kind}"
    about = f"the nearest that a search came to danger by {kind}: faults, loads, requests at once"
    data = found.scenario.model_dump(exclude_defaults=True, exclude={"expect"})
    data |= {"name": name, "about": about}
    data["expect"] = found.expect.model_dump(exclude_none=True)
    plain = {k: v for k, v in data.items() if not isinstance(v, dict) and not _tables(v)}
    lines = [f"{key} = {_toml(value)}" for key, value in plain.items()]
    for key, value in data.items():
        if key in plain:
            continue
        for table in value if isinstance(value, list) else [value]:
            lines += ["", f"[[{key}]]" if isinstance(value, list) else f"[{key}]"]
            lines += [f"{k} = {_toml(v)}" for k, v in table.items()]
    path = HIL / "scenarios" / f"{name}.toml"
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
    return path


def _tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _toml(value: Any) -> str:
    # Strings, numbers, truth and lists of them are the same as in JSON.
    return json.dumps(value)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"1 or more is valid, not {text!r}")
    return int(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=_count, default=500)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    for key, found in sorted(search(arguments.examples, arguments.seed).items()):
        kept = arguments.write and key in KEPT
        print(f"{key}: {found.near[key]:.3f}", write(key, found) if kept else "")
