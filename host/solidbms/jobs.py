"""Scenario files to jobs."""

from __future__ import annotations

from solidbms.faults import FaultFile
from solidbms.packc import Compiled, compile_pack
from solidbms.plant.drive import Drive
from solidbms.run import Job
from solidbms.scenario import FaultUse, Scenario, load_scenario
from solidbms.schema import BadInput
from solidbms.world import SimulationFailed, World


def scenario_job(name: str, seed: int = 0) -> Job:
    """Return the job of a scenario; BadInput for a bad scenario, fault, pack or cell."""
    scenario, faults, _ = load_scenario(name)
    return job_of(scenario, faults, seed, compile_pack(scenario.pack))


def job_of(
    scenario: Scenario, faults: list[tuple[FaultUse, FaultFile]], seed: int, compiled: Compiled
) -> Job:
    """Return the job of a scenario that was read, or made up; BadInput as above."""
    start = scenario.start
    try:
        world = World(
            compiled.file,
            Drive(scenario, compiled.file, compiled.cell, seed),
            scenario.duration_s,
            faults,
            scenario.request,
            start.t_ms,
            seed,
        )
    except SimulationFailed as error:
        raise BadInput(f"scenario {scenario.name}: {error}; milder values are valid") from None
    saved = (-1, -1)
    if start.saved_soc_pct is not None:
        saved = round(start.saved_soc_pct * 1e4), round(start.saved_bound_pct * 1e4)
    return Job(scenario.name, "run", compiled, world, scenario.expect, saved, seed)
