"""Shifts without a fault: work, rests, brakes and charges, from cold to hot, and no trip."""

from __future__ import annotations

from typing import Any

import numpy as np

from solidbms.campaign import one
from solidbms.campaign.build import BEGIN_S, CLOSE_S, OUTPUT, Plan, Spec, rng_of
from solidbms.packc import Compiled
from solidbms.scenario import Expect, Request, Scenario
from solidbms.surroundings import Charge, Load, Output, Spread, Start

SEEDS = 10
HOURS = 2.0  # of each seed: 20 in all
TEMPS_C = (-10.0, 45.0)  # seeds are spread over this


def specs(pack: str, seeds: int = SEEDS, hours: float = HOURS) -> list[Spec]:
    """Return the shifts of a pack; the condition says how long and how warm."""
    low, high = TEMPS_C
    temps = [low + (high - low) * k / max(seeds - 1, 1) for k in range(seeds)]
    return [Spec(pack, "", f"shift {hours:g} h {t:.0f} degC", k) for k, t in enumerate(temps)]


def run(spec: Spec, compiled: Compiled) -> dict[str, Any]:
    """Run a shift; return what it showed."""
    _, hours, _, temp_c, _ = spec.condition.split()
    scenario = shift(rng_of(spec), compiled, spec.pack, float(hours) * 3600, float(temp_c))
    ready = Plan(scenario, 0.0, scenario.duration_s, spec.seed)
    done = one.Run(ready, compiled, []).go()
    shown = one.measure(done)
    return shown | {"simulated_s": done.world.elapsed_ms / 1000}


def shift(
    rng: np.random.Generator, compiled: Compiled, pack: str, span_s: float, temp_c: float
) -> Scenario:
    """Return a shift: work in bouts under a motor's ripple, rests between, a charge when it is
    low: now and then to the end, so that brakes meet a pack that is nearly full."""
    ah = compiled.cell.capacity.ah
    file = compiled.file
    full_v = (file.charging.full_v or compiled.cell.limits.v_max) * file.cells_in_series
    loads: list[Load] = []
    charges: list[Charge] = []
    t = BEGIN_S
    soc = start = float(rng.uniform(0.5, 0.97))

    def put(seconds: float, current_a: float) -> None:
        nonlocal t, soc
        until = min(t + seconds, span_s)
        if until > t:
            ripple_a = 0.1 * ah if current_a < 0 else 0.0
            loads.append(Load(
                from_s=t, until_s=until, current_a=current_a, obeys=True, ripple_a=ripple_a,
                ripple_hz=16000.0,
            ))  # fmt: skip
            soc += current_a * (until - t) / 3600 / ah
        t = until

    while t < span_s:
        bout_end = t + float(rng.uniform(200, 900))
        while t < min(bout_end, span_s):
            put(float(rng.integers(2, 20)), -float(rng.uniform(0.05, 0.6)) * ah)  # walking
            if rng.random() < 0.4:
                put(float(rng.integers(1, 5)), -float(rng.uniform(0.8, 3.0)) * ah)  # lifting
            if rng.random() < 0.3:
                put(float(rng.integers(1, 4)), float(rng.uniform(0.05, 0.4)) * ah)  # brakes
        t += float(rng.uniform(30, 180))
        if soc < 0.4 and t < span_s:
            target = float(rng.choice((0.6, 0.97)))
            until = min(t + 3600 * (target - soc) / 0.33, span_s)
            charges.append(Charge(from_s=t, until_s=until, cc_a=0.33 * ah, cv_v=full_v))
            soc += (until - t) / 3600 * 0.33
            t = until + float(rng.uniform(10, 60))
    return Scenario(
        name="shift",
        about="a shift without a fault",
        pack=pack,
        duration_s=span_s,
        start=Start(soc=round(start, 3), temp_c=temp_c),
        spread=Spread(capacity_pct=2.0, r_pct=10.0, soc_pct=1.0),
        output=OUTPUT if file.parts.pre_discharge else Output(),
        ambient=[[0.0, temp_c], [span_s, temp_c]],
        load=loads,
        charge=charges,
        request=[Request(at_s=CLOSE_S, do="close")],
        expect=Expect(trips=None),
    )
