"""The runs of a campaign, one by one or several at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from solidbms.campaign import one, shifts, stimuli
from solidbms.campaign.build import Spec, plan
from solidbms.campaign.cases import cases
from solidbms.parallel import do_all
from solidbms.scenario import FaultUse

KEEP_EVERY = 100  # runs


def run_spec(spec: Spec) -> dict[str, Any]:
    """Run one spec; return what it showed, with the spec itself."""
    compiled = one.compiled_pack(spec.pack)
    shown = {"case": spec.case, "condition": spec.condition, "seed": spec.seed}
    if not spec.case:
        return shown | shifts.run(spec, compiled)
    if spec.case.startswith(stimuli.PREFIX):
        return shown | stimuli.run(spec.case.removeprefix(stimuli.PREFIX), compiled)
    case = cases()[spec.case]
    ready = plan(spec, case, compiled)
    faults: list[tuple[FaultUse, Any]] = [(use, case.file) for use in ready.scenario.fault]
    run = one.Run(ready, compiled, faults, case.poke, one.rows_of(case.single.by))
    return shown | one.measure(run.go())


def run_all(
    specs: Sequence[Spec],
    jobs: int,
    progress: Callable[[int, int, str], None],
    keep: Callable[[list[dict[str, Any]]], Any] = lambda results: None,
) -> tuple[list[dict[str, Any]], bool]:
    """Run specs; return what they showed in their order, and whether all were run.

    keep: takes what has come so far, now and then.
    """
    found: dict[int, dict[str, Any]] = {}

    def so_far() -> list[dict[str, Any]]:
        return [found[at] for at in sorted(found)]

    def came(at: int, result: dict[str, Any]) -> None:
        found[at] = result
        spec = specs[at]
        progress(len(found), len(specs), f"{spec.case or 'no fault'}, {spec.condition}")
        if len(found) % KEEP_EVERY == 0:
            keep(so_far())

    whole = do_all([(run_spec, (spec,)) for spec in specs], jobs, came)
    return so_far(), whole
