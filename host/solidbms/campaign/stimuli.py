"""One run for each rule: what makes it act on a pack of 14 cells, and no other before it.

Readings are moved by faults of sensors, so that a run is short; chip, driver and loop are real.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from solidbms.campaign import memory, one
from solidbms.campaign.build import CLOSE_S, OUTPUT, Plan
from solidbms.faults import FaultFile
from solidbms.packc import Compiled, examine
from solidbms.scenario import Expect, FaultUse, Request, Scenario
from solidbms.schema import PackFile
from solidbms.surroundings import Charge, Gap, Heat, Load, Output, Short, Start

PREFIX = "rule "
ONSET_S = 14.0
END_S = 200.0
TIERS_V = 0.01  # beyond a limit, inside the next


@dataclass
class Stage:
    """A run in the making."""

    compiled: Compiled
    soc: float = 0.6
    temp_c: float = 25.0
    ambient_c: float | None = None
    onset_s: float = ONSET_S
    end_s: float = END_S
    parts: dict[str, Any] = field(default_factory=dict)
    faults: list[tuple[FaultUse, FaultFile]] = field(default_factory=list)
    poke: Callable[[Any], None] | None = None

    @property
    def span(self) -> dict[str, Any]:
        """The time from the onset on."""
        return {"from_s": self.onset_s, "until_s": self.end_s}

    def add(self, key: str, *items: Any) -> None:
        """Add tables of the scenario."""
        self.parts.setdefault(key, []).extend(items)

    def fault(
        self, where: str, kind: str, value: float = 0.0, index: int | None = None,
        from_s: float | None = None, until_s: float | None = None,
    ) -> None:
        """Add a fault, at the onset if not said otherwise."""
        use = FaultUse(use=where, from_s=self.onset_s if from_s is None else from_s,
                       until_s=until_s or self.end_s)  # fmt: skip
        file = FaultFile(name=where, about="", where=where, kind=kind, value=value, index=index)
        self.faults.append((use, file))

    def load(self, current_a: float, from_s: float | None = None, until_s: float | None = None,
             **more: Any) -> None:  # fmt: skip
        """Let a load draw (negative) or brake, from the onset if not said otherwise."""
        begin_s = self.onset_s if from_s is None else from_s
        end_s = until_s or self.end_s
        self.add("load", Load(from_s=begin_s, until_s=end_s, current_a=current_a, **more))

    def steps(self, low_a: float = -2.0, high_a: float = -30.0) -> None:
        """A load in steps of three seconds, the whole time."""
        for k, t in enumerate(np.arange(9.0, self.end_s, 3.0).tolist()):
            self.load(high_a if k % 2 else low_a, t, min(t + 3.0, self.end_s))

    def limit(self, rule: str) -> float:
        """Return a rule's limit in V, A, degC or s."""
        found = next(r for r in self.compiled.rules if r.id == rule)
        return found.limit / (1e3 if found.signal.endswith(("mdegc", "_ms")) else 1e6)

    def ocv_v(self) -> float:
        """Return what a cell rests at."""
        ocv = self.compiled.cell.ocv
        return float(np.interp(self.soc, ocv.soc, ocv.v))

    def shift_cells(self, to_v: float, odd_v: float | None = None) -> None:
        """Let all cells read to_v, cell 5 odd_v, and stack and terminals what those come to."""
        n = self.compiled.file.cells_in_series
        by_v = to_v - self.ocv_v()
        self.fault("cell_v", "offset", by_v)
        sum_v = n * by_v
        if odd_v is not None:
            self.fault("cell_v", "offset", odd_v - to_v, 5)
            sum_v += odd_v - to_v
        self.fault("stack_v", "offset", sum_v)
        self.fault("out_v", "offset", sum_v)

    def near(self, rule: str, side: int, by_k: float = 0.15, pull_k: float = 12.0) -> None:
        """Begin so near a limit of temperature, surroundings pulling past it."""
        limit_c = self.limit(rule)
        self.temp_c = limit_c - side * by_k
        self.ambient_c = limit_c + side * pull_k


@dataclass(frozen=True)
class Stimulus:
    """make: sets the stage. sharp: the true value passes the limit as the fault comes, so that the
    reaction counts from there. also: rules that may act before, they are nearer. pack: other
    numbers for rules that would always be first."""

    make: Callable[[Stage], None]
    sharp: bool = True
    also: tuple[str, ...] = ()
    pack: dict[str, dict[str, float]] = field(default_factory=dict)


def _cell_high(rule: str) -> Callable[[Stage], None]:
    def make(s: Stage) -> None:
        s.soc = 0.9
        s.load(-1.0, 9.0)
        s.fault("cell_v", "offset", s.limit(rule) + TIERS_V - s.ocv_v(), 5)

    return make


def _cells_low(others_v: float, odd_v: float) -> Callable[[Stage], None]:
    def make(s: Stage) -> None:
        s.load(-1.0, 9.0)
        s.shift_cells(others_v, odd_v)

    return make


def _pack_ov(s: Stage) -> None:
    s.load(-1.0, 9.0)
    s.shift_cells(s.limit("cell_ov") - 1.5 * TIERS_V)
    s.fault("stack_v", "offset", 0.2)


def _pack_uv(s: Stage) -> None:
    s.load(-1.0, 9.0)
    s.shift_cells(s.limit("pack_uv") / s.compiled.file.cells_in_series - TIERS_V)


def _imbalance(s: Stage) -> None:
    s.fault("cell_v", "offset", s.limit("imbalance") + TIERS_V, 5)


def _imbalance_cut(s: Stage) -> None:
    # Not neighbours, whose sum stays: neither a wire nor the stack.
    half_v = s.limit("imbalance_cut") / 2 + TIERS_V
    s.fault("cell_v", "offset", half_v, 2)
    s.fault("cell_v", "offset", -half_v, 9)


def _charger(current_a: float) -> Callable[[Stage], None]:
    def make(s: Stage) -> None:
        s.add("charge", Charge(**s.span, cc_a=current_a, cv_v=80.0, obeys=False))

    return make


def _load(current_a: float) -> Callable[[Stage], None]:
    return lambda s: s.load(current_a)


def _short(s: Stage) -> None:
    s.add("load", Load(**s.span, ohm=0.05))


def _near(rule: str, side: int) -> Callable[[Stage], None]:
    return lambda s: s.near(rule, side)


def _hot_cut(s: Stage) -> None:
    s.temp_c = s.limit("hot") - 0.5
    s.fault("temp_c", "offset", s.limit("hot_cut") - s.temp_c + 1.0)


def _core_hot(s: Stage) -> None:
    # One sensor below the others: the model puts the hottest spot beyond by three quarters of it.
    s.fault("temp_c", "offset", -5.0, 0, from_s=0.0)
    s.temp_c = s.limit("core_hot") - 0.75 * 5.0 - 0.2
    s.ambient_c = s.temp_c + 15.0


def _one_cold(by_k: float) -> Callable[[Stage], None]:
    return lambda s: s.fault("temp_c", "offset", by_k, 0)


def _temp_stuck(s: Stage) -> None:
    s.temp_c = -4.0
    s.load(-15.0, 9.0)
    s.fault("temp_c", "stuck")


def _all_heat(w: float) -> Callable[[Stage], None]:
    return lambda s: s.add("heat", Heat(**s.span, w=w))


def _heat_at(at: Any, w: float) -> Callable[[Stage], None]:
    return lambda s: s.add("heat", Heat(**s.span, w=w, at=at))


def _cell_sag(s: Stage) -> None:
    s.onset_s = 80.0
    s.add("short", Short(**s.span, cell=5, ohm=0.25))


def _one_heats(w: float) -> Callable[[Stage], None]:
    def make(s: Stage) -> None:
        s.steps()
        s.onset_s = 45.0  # its usual answer is known by then
        s.add("heat", Heat(**s.span, w=w, cell=5))

    return make


def _gap(s: Stage) -> None:
    s.steps()
    s.onset_s = 45.0
    s.add("gap", Gap(**s.span, cell=5, pct=200.0, pct_per_h=0.0))


def _current_gain(s: Stage) -> None:
    s.steps()
    s.onset_s = 45.0
    s.fault("current_a", "scale", 1.6)


def _pre_failed(s: Stage) -> None:
    s.onset_s = 0.0
    s.add("load", Load(from_s=0.0, until_s=s.end_s, ohm=5.0))


def _chg_welded(s: Stage) -> None:
    # Too cold to charge: the charge gate is open while the load is served, and brakes.
    s.temp_c = s.limit("charge_cold") - 3.0
    s.fault("chg_fet", "welded")
    s.load(3.0)


def _dsg_welded(s: Stage) -> None:
    # An over-current opens the discharge gate alone; the load draws on.
    s.fault("dsg_fet", "welded", from_s=10.0)
    s.load(-80.0)


def _fet_open(s: Stage) -> None:
    s.load(-5.0, 9.0)
    s.fault("chg_fet", "open")


def _dsg_held(s: Stage) -> None:
    s.load(-1.0, 9.0)
    s.shift_cells(2.97, 2.5)


def _open_wire(s: Stage) -> None:
    s.fault("cell_v", "offset", 0.13, 5)
    s.fault("cell_v", "offset", -0.13, 6)


def _stack_odd(s: Stage) -> None:
    s.fault("stack_v", "scale", 0.992)
    s.fault("out_v", "scale", 0.992)


def _current_odd(s: Stage) -> None:
    s.steps()
    s.fault("current_a", "scale", 0.2)


def _current_zero(s: Stage) -> None:
    s.add("request", Request(at_s=9.0, do="open"))
    s.fault("current_a", "offset", s.limit("current_zero") + 0.1)


def _frozen(s: Stage) -> None:
    s.steps()
    s.fault("cell_v", "stuck", 0.0, 5)


def _fe_unsteady(s: Stage) -> None:
    t = s.onset_s
    while t < s.end_s:
        s.fault("bus", "nack", from_s=t, until_s=t + 0.2)
        t += 0.4


def _late(ms: float) -> Callable[[Stage], None]:
    return lambda s: s.fault("clock", "stall", ms)


def _feature_lost(s: Stage) -> None:
    def act(bms: Any) -> None:
        def fail(*_: object) -> None:
            raise RuntimeError("asked for")

        bms.core.soc.step = fail

    s.poke = act


def _config(s: Stage) -> None:
    s.poke = memory.POKES[0].act


def _charge_long(s: Stage) -> None:
    s.add("charge", Charge(**s.span, cc_a=5.0, cv_v=58.8))


def _overcharge(s: Stage) -> None:
    s.soc = 0.957
    s.load(0.5)


SLOW = False  # the limit is passed later
_COLD = ("charge_cold",)  # a temperature that nobody knows is too cold to charge
_WARM = ("charge_hot",)
STIMULI = {
    "cell_ov_warn": Stimulus(_cell_high("cell_ov_warn")),
    "cell_ov": Stimulus(_cell_high("cell_ov")),
    "cell_ov_cut": Stimulus(_cell_high("cell_ov_cut")),
    "cell_uv": Stimulus(_cells_low(3.1, 2.89)),
    "cell_uv_cut": Stimulus(_cells_low(2.97, 2.69)),
    "pack_ov": Stimulus(_pack_ov),
    "pack_uv": Stimulus(_pack_uv),
    "imbalance": Stimulus(_imbalance),
    "imbalance_cut": Stimulus(_imbalance_cut),
    "charge_oc": Stimulus(_charger(8.5), pack={"charge_rate": {"delay_s": 60.0}}),
    "charge_oc_cut": Stimulus(_charger(10.0)),
    "charge_rate": Stimulus(_charger(8.5)),
    "dsg_oc_warn": Stimulus(_load(-73.5)),
    "dsg_oc": Stimulus(_load(-80.0)),
    "dsg_oc_cut": Stimulus(_load(-95.0)),
    "short": Stimulus(_short),
    "charge_hot": Stimulus(_near("charge_hot", 1), SLOW),
    "charge_cold": Stimulus(_near("charge_cold", -1), SLOW),
    "hot_note": Stimulus(_near("hot_note", 1), SLOW),
    "hot_warn": Stimulus(_near("hot_warn", 1), SLOW),
    "hot": Stimulus(_near("hot", 1), SLOW, also=_WARM),
    "hot_cut": Stimulus(_hot_cut, also=_WARM),
    "core_hot": Stimulus(_core_hot, SLOW, also=_WARM),
    "dsg_cold": Stimulus(_near("dsg_cold", -1), SLOW, also=_COLD),
    "spread_warn": Stimulus(_one_cold(-9.0)),
    "temp_spread": Stimulus(_one_cold(-14.0)),
    "temp_stuck": Stimulus(_temp_stuck, SLOW, pack={"temp_stuck": {"limit_c": 3.0}}),
    "runaway": Stimulus(_all_heat(18.0), SLOW),
    "runaway_cut": Stimulus(_all_heat(200.0), SLOW, also=("runaway",)),
    "cell_sag": Stimulus(_cell_sag),
    "cell_r_warn": Stimulus(_one_heats(15.0), SLOW),
    "cell_r_low": Stimulus(_one_heats(20.0), SLOW),
    "cell_r_high": Stimulus(_gap, SLOW),
    "fet_hot": Stimulus(_heat_at("fets", 40.0), SLOW),
    "fet_hot_cut": Stimulus(_heat_at("fets", 120.0), SLOW, also=("fet_hot",)),
    "board_hot": Stimulus(_heat_at("board", 1.0), SLOW),
    "pre_failed": Stimulus(_pre_failed, SLOW),
    "chg_welded": Stimulus(_chg_welded, SLOW, also=(*_COLD, "charge_rate")),
    "dsg_welded": Stimulus(_dsg_welded, SLOW, also=("dsg_oc",)),
    "fet_open": Stimulus(_fet_open),
    "chg_held": Stimulus(_charger(13.0)),
    "dsg_held": Stimulus(_dsg_held, SLOW, pack={"cell_uv_cut": {"delay_s": 3.0}}),
    "open_wire": Stimulus(_open_wire),
    "stack_odd": Stimulus(_stack_odd),
    "current_odd": Stimulus(_current_odd, SLOW, pack={"current_gain": {"delay_s": 150.0}}),
    "current_gain": Stimulus(_current_gain, SLOW),
    "current_zero": Stimulus(_current_zero, SLOW),
    "frozen": Stimulus(_frozen, SLOW, pack={"cell_r_low": {"delay_s": 60.0}}),
    "fe_lost": Stimulus(
        lambda s: s.fault("bus", "nack"), also=(*_COLD, "temp_lost", "fe_unsteady")
    ),
    "fe_unsteady": Stimulus(_fe_unsteady, SLOW, also=(*_COLD, "temp_lost")),
    "temp_lost": Stimulus(lambda s: s.fault("temp_c", "lost", 0.0, 1), also=_COLD),
    "overrun": Stimulus(_late(70.0), SLOW),
    "clock": Stimulus(lambda s: s.fault("chip", "clock", 0.1), SLOW),
    "feature_lost": Stimulus(_feature_lost),
    "config": Stimulus(_config, SLOW),
    "gate_dropped": Stimulus(_late(200.0)),
    "charge_long": Stimulus(_charge_long, SLOW, pack={"charge_long": {"limit_s": 20.0}}),
    "overcharge": Stimulus(_overcharge, SLOW, pack={"overcharge": {"limit_s": 10.0}}),
}
# Rows that no run here can make act, and why.
WITHOUT = {
    "stalled": "a stall so long is the dead-man's: gate_dropped",
    "chg_burn": "no pack here has a fuse to blow",
}


def names(compiled: Compiled) -> list[str]:
    """Return the rules of a pack that a run can make act."""
    if compiled.file.cells_in_series < 2:
        return []
    return [rule.id for rule in compiled.rules if rule.id in STIMULI]


def variant(compiled: Compiled, rule: str) -> Compiled:
    """Return the pack with the numbers that a rule's run wants."""
    changed = STIMULI[rule].pack
    if not changed:
        return compiled
    file: PackFile = compiled.file
    tables = {name: {**file.rules[name], **changed.get(name, {})} for name in file.rules}
    pack, errors = examine(file.model_copy(update={"rules": tables}), compiled.cell)
    assert not errors, errors
    return pack


def plan(rule: str, compiled: Compiled) -> tuple[Plan, Stage]:
    """Return the run of a rule on its variant of a pack."""
    stage = Stage(compiled)
    STIMULI[rule].make(stage)
    ambient_c = stage.temp_c if stage.ambient_c is None else stage.ambient_c
    stage.add("request", Request(at_s=CLOSE_S, do="close"))
    scenario = Scenario(
        name="rule", about=rule, pack=compiled.file.name, duration_s=stage.end_s,
        start=Start(soc=stage.soc, temp_c=stage.temp_c),
        ambient=[[0.0, ambient_c], [stage.end_s, ambient_c]],
        output=OUTPUT if compiled.file.parts.pre_discharge else Output(),
        expect=Expect(trips=None), **stage.parts,
    )  # fmt: skip
    return Plan(scenario, stage.onset_s, stage.end_s, 0), stage


def run(rule: str, compiled: Compiled) -> dict[str, Any]:
    """Run what makes a rule act; return what it showed."""
    pack = variant(compiled, rule)
    ready, stage = plan(rule, pack)
    done = one.Run(ready, pack, stage.faults, stage.poke, one.rows_of([rule]), settle_ms=1000)
    shown = one.measure(done.go())
    shown["early"] = [name for name in shown["early"] if name not in STIMULI[rule].also]
    own = next((t for t in shown["trips"] if t["rule"] == rule), None)
    if own is not None and STIMULI[rule].sharp:
        own["measured_ms"] = _since(shown["onset_ms"], own, pack)
    return shown | {"others": others(rule, shown["trips"])}


def _since(onset_ms: int, trip: dict[str, Any], compiled: Compiled) -> int | None:
    """Return the reaction from the fault on, less the limit of a signal that is a time itself."""
    end_ms = trip["gate_ms"] if trip["level"] == "trip" else trip["acted_ms"]
    rule = next(r for r in compiled.rules if r.id == trip["rule"])
    passed_ms = rule.limit if rule.signal.endswith("_ms") else 0
    return None if end_ms is None else end_ms - onset_ms - passed_ms


def others(rule: str, trips: list[dict[str, Any]]) -> list[str]:
    """Return the trips that acted before the rule had opened its gates, though they should not."""
    own = next((t for t in trips if t["rule"] == rule), None)
    end_ms = None if own is None else own["gate_ms"] or own["acted_ms"]
    return sorted({
        t["rule"] for t in trips
        if t["level"] == "trip" and t["rule"] != rule and t["rule"] not in STIMULI[rule].also
        and (end_ms is None or t["acted_ms"] < end_ms)
    })  # fmt: skip


