"""One run: a world, a firmware on a target, a record, and what came of it."""

from __future__ import annotations

import contextlib
import errno
import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from bms.core.core import Core
from bms.core.pack import Pack

from solidbms import record as records
from solidbms.outcome import Outcome, limits_of, write_summary
from solidbms.packc import Compiled
from solidbms.report import write_report
from solidbms.scenario import Expect
from solidbms.schema import BadInput, shown
from solidbms.targets import TARGETS
from solidbms.world import SimulationFailed, World

if TYPE_CHECKING:
    from solidbms.link.server import Server

OUTPUTS = ("pack.bin", "ticks.bin", "trace.csv", "events.csv", "report.html", "summary.json")
UNFINISHED = "unfinished"  # where the results of a run grow, in the directory of its results
# A replay has no expectation to pass: it is scored.
VERDICTS = {"run": "pass", "replay": "scored"}

Progress = Callable[[float, str], None]  # share done, one live line


@dataclass
class Job:
    """What to run: everything a run needs beside its target."""

    name: str
    kind: str  # "run" or "replay"
    compiled: Compiled
    world: World
    expect: Expect
    saved: tuple[int, int] = (-1, -1)
    seed: int = 0
    score_skip_s: float = 0.0
    warning: str = ""  # to tell before it runs


def prepare(directory: Path) -> Path:
    """Return an empty directory within this one, for results to grow in; BadInput when that can't
    be. What an earlier run left stays until they are whole."""
    new = directory / UNFINISHED
    try:
        for path in (directory / name for name in OUTPUTS):
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, "Is a directory", str(path))
        _discard(new)
        new.mkdir(parents=True)
    except OSError as error:
        raise _unwritable(directory, error) from None
    return new


def _unwritable(directory: Path, error: OSError) -> BadInput:
    named = Path(error.filename).name if error.filename else ""
    what = f"{named}: " if named in OUTPUTS else ""
    return BadInput(f"{shown(directory)}: --out: {what}{error.strerror}; a directory you can "
                    "write to is valid")  # fmt: skip


def _discard(new: Path) -> None:
    if new.is_dir():
        for name in OUTPUTS:
            (new / name).unlink(missing_ok=True)
        new.rmdir()


def _put(new: Path, directory: Path) -> None:
    """Put results in place of an earlier run's."""
    for name in OUTPUTS:
        (new / name).replace(directory / name)
    new.rmdir()


def _finished(directory: Path) -> bool:
    """Return whether a run that was not interrupted left its results here."""
    try:
        summary = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
        return not summary["interrupted"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def execute(
    job: Job, target: str, directory: Path, progress: Progress, link: float | None = None
) -> dict[str, Any]:
    """Run a job on a target, write every output, return the summary.

    link: serve the link of a board meanwhile, in real time times this. Ctrl-C ends the run early:
    what was simulated is kept, and the summary says so; beside an earlier run that was finished,
    in `UNFINISHED`. BadInput where nothing can be written, with the earlier results as they were.
    """
    new = prepare(directory)
    try:
        return _execute(job, target, directory, new, progress, link)
    except OSError as error:
        with contextlib.suppress(OSError):
            _discard(new)
        raise _unwritable(directory, error) from None


def _execute(
    job: Job, target: str, directory: Path, new: Path, progress: Progress, link: float | None
) -> dict[str, Any]:
    pack_path = new / "pack.bin"
    pack_path.write_bytes(job.compiled.blob)
    meta = {"scenario": job.name, "pack": job.compiled.file.name, "seed": job.seed,
            "kind": job.kind}  # fmt: skip
    writer = records.Writer(new / "ticks.bin", job.compiled.blob, meta)
    server = _server(job, directory, link) if link else None
    watch = _Watch(job, writer, progress, server)
    began = time.perf_counter()
    interrupted, died = False, {}
    try:
        TARGETS[target](job.world, pack_path, job.saved, watch.add)
    except KeyboardInterrupt:
        interrupted = True
    except (RuntimeError, OSError) as error:
        who = "simulation" if isinstance(error, SimulationFailed) else "firmware"
        died = {"what": f"the {who} runs to the end", "ok": False, "got": str(error)}
    # From here on a second Ctrl-C would lose what the first one asked to keep.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        if server is not None:
            server.close()
        writer.close()
        if watch.failed is not None:
            raise watch.failed
        summary = _conclude(job, target, new, began, interrupted, died, progress)
        if not (interrupted and _finished(directory)):
            _put(new, directory)
        return summary
    finally:
        signal.signal(signal.SIGINT, before)


def _server(job: Job, directory: Path, factor: float) -> Server:
    from solidbms.link.server import Server
    from solidbms.link.simulation import drawer

    info = {"pack": job.compiled.file.name, "scenario": job.name}
    draw = drawer(job.world)
    return Server(job.compiled.blob, job.world.ask, info, directory, factor, draw)


class _Watch:
    """Takes every tick's record: to the file, the announced limits to the load, a live line."""

    def __init__(
        self, job: Job, writer: records.Writer, progress: Progress, server: Server | None = None
    ) -> None:
        self.world = job.world
        self.server = server
        self.writer = writer
        self.progress = progress
        names = writer.names
        self.limits = slice(4 * names.index("limit.charge_ma"),
                            4 * names.index("limit.discharge_ma") + 4)  # fmt: skip
        self.live = [names.index(f"status.{name}") for name in
                     ("state", "soc_ppm", "soc_bound_ppm", "pack_uv", "current_ua",
                      "temp_max_mdegc")]  # fmt: skip
        self.next = 0.0
        self.failed: OSError | None = None  # a disk that is full: the firmware cannot know

    def add(self, tick: bytes) -> None:
        if self.failed is not None:
            return
        try:
            self.writer.add(tick)
        except OSError as error:
            self.failed, self.world.stopped = error, True
        limits = tick[self.limits]
        if limits != self._last:
            self._last = limits
            charge_ma, discharge_ma = np.frombuffer(limits, "<i4")
            self.world.limits_a = (charge_ma / 1e3, discharge_ma / 1e3)
        if time.monotonic() >= self.next:
            self.next = time.monotonic() + 0.2
            self.progress(*self._line(tick))
        if self.server is not None:
            self.server.tick(tick)

    _last = b""

    def _line(self, tick: bytes) -> tuple[float, str]:
        from bms.core.switch import STATES

        words = np.frombuffer(tick, "<i4")
        state, soc, bound, volt, current, temp = (int(words[k]) for k in self.live)
        elapsed_s = self.world.elapsed_ms // 1000
        line = (
            f"{elapsed_s // 3600}:{elapsed_s // 60 % 60:02}:{elapsed_s % 60:02} "
            f"{STATES[state]:8} {volt / 1e6:6.3f} V {current / 1e6:7.2f} A "
            f"{temp / 1e3:5.1f} degC  SoC {soc / 1e4:5.1f} +-{bound / 1e4:4.1f} %"
        )
        return self.world.elapsed_ms / max(self.world.end_ms, 1), line


def _conclude(
    job: Job,
    target: str,
    directory: Path,
    began: float,
    interrupted: bool,
    died: dict[str, Any],
    progress: Progress,
) -> dict[str, Any]:
    wall_s = time.perf_counter() - began
    progress(1.0, "writing the report")
    record = records.read(directory / "ticks.bin")
    outcome = Outcome(record, job.compiled, job.world)
    outcome.write_trace(directory / "trace.csv")
    outcome.write_events(directory / "events.csv")
    expected = [] if interrupted else outcome.check(job.expect)
    if died:
        expected.append(died)
    ticks = len(record.words)
    ok = ticks > 0 and all(line["ok"] for line in expected)
    verdict = "interrupted" if interrupted else VERDICTS[job.kind] if ok else "fail"
    summary = {
        "scenario": job.name,
        "kind": job.kind,
        "target": target,
        "pack": job.compiled.file.name,
        "cell": job.compiled.cell.name,
        "placeholders": job.compiled.cell.limits.placeholders,
        "seed": job.seed,
        "simulated_s": job.world.elapsed_ms / 1000,
        "wall_s": round(wall_s, 2),
        "ticks": ticks,
        "hash": f"{int(record['hash'][-1]):08x}" if ticks else "",
        "interrupted": interrupted,
        "verdict": verdict,
        "expected": expected,
        "soc": outcome.soc_score(),
        "soc_later": outcome.soc_score(job.score_skip_s) if job.score_skip_s else {},
        "trips": outcome.trip_table(),
        "limits": limits_of(job.compiled),
    }
    write_summary(directory / "summary.json", summary)
    write_report(directory)
    return summary


def replay_frames(record: records.Record) -> np.ndarray:
    """Run the core in this process on a record's Frames; return the hash of every tick."""
    core = Core(Pack(record.blob))
    size = len(core.frame.v)
    first = record.names.index("frame.t_ms")
    frames = record.words[:, first : first + size]
    parts = core.parts()
    hashes = np.empty(len(frames), np.int32)
    for k, row in enumerate(frames.tolist()):
        for at, value in enumerate(row):
            core.frame.v[at] = value
        core.protect()
        core.estimate()
        hashes[k] = core.digest(parts)
    return hashes
