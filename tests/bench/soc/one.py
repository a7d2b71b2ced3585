"""One run: the firmware through `solidbms replay`, then everybody else on the same readings."""

from __future__ import annotations

import tempfile
import time
from array import array
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench.soc import filters, peers
from bench.soc.cases import BOUND_PCT, RIGHT_PCT, Run, replay_options
from bench.soc.score import Score, Series, score
from bms.core.pack import Pack
from solidbms.record import Record, column_names
from solidbms.replay import Options, Playback, replay_job
from solidbms.run import Job
from solidbms.schema import BadInput
from solidbms.targets import TARGETS

OURS = "solidbms"
KEPT = ("frame.t_ms", "soc.started", "status.soc_ppm", "status.soc_bound_ppm")
PLOTTED = 400  # points of a series that the page keeps
FIRST_SD = 0.03


@dataclass(frozen=True)
class Result:
    """Scores by scheme, series thinned for the page (% SoC; bound of ours), and what it took."""

    run: Run
    scores: dict[str, Score]
    t_s: np.ndarray
    true_pct: np.ndarray
    error_pct: dict[str, np.ndarray]
    bound_pct: np.ndarray
    simulated_s: float
    wall_s: float


def attempt(run: Run, cell: str) -> Result | str:
    """Do a run; return what is wrong with its files, where they cannot be used."""
    try:
        return do(run, cell)
    except BadInput as error:
        return str(error)


def do(run: Run, cell: str) -> Result:
    """Do a run with a cell (name or file); BadInput for a file that cannot be read."""
    began = time.perf_counter()
    job = replay_job(run.path, Options(cell=cell, **replay_options(run)))
    ours = replayed(job)
    plant = job.world.plant
    assert isinstance(plant, Playback)
    readings = readings_of(job, plant, run)
    found = {OURS: ours}
    for name, scheme in peers.SCHEMES.items():
        found[name] = Series(readings.t_s, scheme(readings), plant.soc)
    for name, filter_ in filters.SCHEMES.items():
        soc = filter_(readings, job.compiled.cell)
        found[name] = Series(readings.t_s, soc, plant.soc)
    t_s = np.linspace(0, ours.t_s[-1], PLOTTED)
    assert ours.bound is not None
    return Result(
        run,
        {name: score(series) for name, series in found.items()},
        t_s,
        100 * np.interp(t_s, ours.t_s, ours.true_soc),
        {name: 100 * np.interp(t_s, s.t_s, s.error) for name, s in found.items()},
        100 * np.interp(t_s, ours.t_s, ours.bound),
        float(ours.t_s[-1]),
        time.perf_counter() - began,
    )


def replayed(job: Job) -> Series:
    """Run the firmware in this process, as `solidbms replay --target cpython` does, and keep of
    its record what is scored."""
    names = column_names(Pack(job.compiled.blob))
    at = [names.index(name) for name in KEPT]
    kept = array("i")

    def keep(tick: bytes) -> None:
        words = memoryview(tick).cast("i")
        kept.extend([words[k] for k in at])

    with tempfile.TemporaryDirectory() as folder:
        blob = Path(folder) / "pack.bin"
        blob.write_bytes(job.compiled.blob)
        TARGETS["cpython"](job.world, blob, job.saved, keep)
    record = Record({}, b"", list(KEPT), np.array(kept, np.int32).reshape(-1, len(KEPT)))
    t_ms = record.elapsed_ms
    begin_ms = t_ms[np.flatnonzero(record["soc.started"])[0]]
    truth = np.array(job.world.truth, float).reshape(-1, 3)
    truth = truth[(truth[:, 0] >= begin_ms) & (truth[:, 0] <= t_ms[-1])]
    rows = np.searchsorted(t_ms, truth[:, 0], side="right") - 1
    return Series(
        (truth[:, 0] - begin_ms) / 1e3,
        record["status.soc_ppm"][rows] / 1e6,
        truth[:, 1],
        record["status.soc_bound_ppm"][rows] / 1e6,
    )


def readings_of(job: Job, plant: Playback, run: Run) -> peers.Readings:
    """Return what the same sensors show to the others."""
    v, i_a, temp_c = np.array(plant.rows).T
    cell = job.compiled.cell
    believed_ah = cell.capacity.ah * (1 + run.options.get("capacity_pct", 0.0) / 100)
    start = job.saved[0] / 1e6 if job.saved[0] >= 0 else None
    sd = {"first": FIRST_SD, "right": RIGHT_PCT / 200}.get(run.start, BOUND_PCT / 200)
    model = filters.Model(cell)
    return peers.Readings(
        plant.t_s, i_a, v, temp_c, plant.moved_as, believed_ah * 3600,
        np.array(model.ocv_soc), np.array(model.at(25.0).ocv_v), start, sd,
    )  # fmt: skip
