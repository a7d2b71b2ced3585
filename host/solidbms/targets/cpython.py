"""The firmware in this process: the same loop, drivers and core, pins tied to the world."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bms.core import frame as F
from bms.core.pack import Pack
from bms.drivers.front import drivers
from bms.links.record import Record
from bms.loop import Bms
from bms.mailbox import Mailbox

from solidbms.world import SimulationFailed, World


class _Bus:
    def __init__(self, world: World) -> None:
        self.readfrom_mem = world.read
        self._write = world.write

    def readfrom_mem_into(self, address: int, register: int, buffer: bytearray) -> None:
        buffer[:] = self.readfrom_mem(address, register, len(buffer))

    def writeto(self, address: int, buffer: bytearray) -> None:
        self._write(address, buffer[0], bytes(buffer[1:]))


class _Adc:
    def __init__(self, world: World, channel: int) -> None:
        self.world = world
        self.channel = channel

    def read_u16(self) -> int:
        return self.world.adc(self.channel)


class _Gates:
    def __init__(self, world: World) -> None:
        self.world = world
        self.set = world.gates
        self.blow = world.blow

    def dropped(self) -> bool:
        return self.world.dropped


class Board:
    """See `bms.loop.Bms` for what a board offers."""

    def __init__(
        self, world: World, saved: tuple[int, int], record: Callable[[bytes], None]
    ) -> None:
        self.world = world
        self.gates = _Gates(world)
        self._saved = saved
        self._record = record
        self.said: list[str] = []

    def drivers(self, pack: Any) -> list[Any]:
        """Return what fills the Frame."""
        return drivers(_Bus(self.world), pack, lambda k: _Adc(self.world, k))

    def ticks_ms(self) -> int:
        """Return the simulated time."""
        return self.world.now_ms

    def saved(self) -> tuple[int, int]:
        """Return SoC and bound in ppm as the last boot left them, -1 for none."""
        return self._saved

    def tested(self) -> int:
        """Return what the boot test found: nothing here can be broken."""
        return F.CODE_OK | F.PINS_OK

    def links(self, bms: Bms) -> list[Record]:
        """Return who hears of the pack: whoever keeps the record."""
        return [Record(bms.core, self._take)]

    def ticked(self) -> None:
        """Do nothing: nobody watches."""

    def pump(self) -> None:
        """Do nothing: nobody talks."""

    def _take(self, parts: list[array[int]], digest: int) -> None:
        self._record(b"".join([*parts, digest.to_bytes(4, "little")]))

    def failed(self, error: Exception) -> None:
        """Tell why a feature was lost."""
        self.said.append(f"feature lost: {error!r}")

    def sleep_until(self, t_ms: int, mailbox: Mailbox) -> bool:
        """Let simulated time pass; return False when the simulation is over."""
        code, again = self.world.sleep_until(t_ms)
        if code:
            mailbox.put(code, 0, self.world.now_ms)
        return again


def run(
    world: World, pack_path: Path, saved: tuple[int, int], record: Callable[[bytes], None]
) -> None:
    """Run the firmware until the world ends; RuntimeError when it dies."""
    board = Board(world, saved, record)
    try:
        Bms(board, Pack(pack_path.read_bytes())).run()
    except SimulationFailed:
        raise
    except Exception as error:
        raise RuntimeError(f"firmware died: {error!r}") from error
    finally:
        world.events += [(world.elapsed_ms, "said", line) for line in board.said]
