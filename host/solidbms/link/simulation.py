"""`sim:SCENARIO[@FACTOR]`: a simulation in a thread of this process, for programs under test."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from bms.core.limits import CHARGE_MA, DISCHARGE_MA

from solidbms.link.places import LinkError
from solidbms.link.server import Server
from solidbms.world import World


def start(what: str) -> Simulation:
    """Start SCENARIO[@FACTOR]; it waits for its first host. LinkError when there is no such."""
    from solidbms.schema import BadInput

    name, _, times = what.partition("@")
    try:
        factor = float(times or 1.0)
        if not 0 < factor <= 1e6:
            raise ValueError
    except ValueError:
        raise LinkError(f"sim:{what}: factor {times!r}; sim:{name}@20 is valid") from None
    try:
        return Simulation(name, factor)
    except BadInput as error:
        raise LinkError(str(error).partition("\n")[0]) from None


def drawer(world: World) -> Callable[[float], None] | None:
    """Return what makes somebody's current (A) the load in place of the scenario's; None where
    nothing can be drawn. It counts from the next second on."""
    from solidbms.plant.drive import Drive
    from solidbms.scenario import Load

    plant = world.plant
    if not isinstance(plant, Drive):
        return None

    def draw(current_a: float) -> None:
        load = Load(from_s=0.0, until_s=1e9, current_a=-current_a)
        plant.scenario.load[:] = [load] if current_a else []

    return draw


class Simulation:
    """One scenario on the `cpython` target, paced."""

    def __init__(self, name: str, factor: float) -> None:
        from solidbms.jobs import scenario_job

        job = scenario_job(name)
        self.world = job.world
        self.died = ""
        self._blob = job.compiled.blob
        self._saved = job.saved
        info = {"pack": job.compiled.file.name, "scenario": job.name}
        self.server = Server(
            self._blob, job.world.ask, info, factor=factor, draw=drawer(job.world), wait=True
        )
        self.number = self.server.number
        self._thread = threading.Thread(target=self._run, name=f"sim:{name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        from solidbms.targets import cpython

        try:
            with tempfile.TemporaryDirectory() as directory:
                path = Path(directory) / "pack.bin"
                path.write_bytes(self._blob)
                cpython.run(self.world, path, self._saved, self._take)
        except (RuntimeError, OSError) as error:
            self.died = str(error)
        finally:
            self.server.close()

    def _take(self, tick: bytes) -> None:
        self.server.tick(tick)
        limits = self.server.core.limits.v
        self.world.limits_a = limits[CHARGE_MA] / 1e3, limits[DISCHARGE_MA] / 1e3

    def stop(self) -> None:
        """End it, wherever it is."""
        self.world.stopped = True
        self.server.closed = True
        self._thread.join(5)
