"""Runs in several processes; Ctrl-C keeps what was done."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from solidbms.campaign import one, shifts, stimuli
from solidbms.campaign.build import Spec, plan
from solidbms.campaign.cases import cases
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
    found: dict[Spec, dict[str, Any]] = {}
    whole = True
    try:
        for spec, result in _each(specs, jobs):
            found[spec] = result
            progress(len(found), len(specs), f"{spec.case or 'no fault'}, {spec.condition}")
            if len(found) % KEEP_EVERY == 0:
                keep([found[spec] for spec in specs if spec in found])
    except (KeyboardInterrupt, BrokenProcessPool):  # stopped, or a process was killed
        whole = False
    return [found[spec] for spec in specs if spec in found], whole


def _each(specs: Sequence[Spec], jobs: int) -> Iterator[tuple[Spec, dict[str, Any]]]:
    if jobs == 1:
        for spec in specs:
            yield spec, run_spec(spec)
        return
    waiting = list(reversed(specs))
    with ProcessPoolExecutor(jobs, initializer=_quiet) as pool:
        running = {}
        try:
            while waiting or running:
                while waiting and len(running) < 2 * jobs:
                    spec = waiting.pop()
                    running[pool.submit(run_spec, spec)] = spec
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield running.pop(future), future.result()
        finally:
            # Stopped early: nobody waits for a shift of two hours.
            for process in list((pool._processes or {}).values()) if running else ():
                process.terminate()


def _quiet() -> None:
    """The process that asked hears Ctrl-C; this one ends with it. And it leaves others room."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(5)
