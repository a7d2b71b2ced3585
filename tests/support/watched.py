"""What a module of the slack is given in its tests: signals, a Frame and a pack."""

from __future__ import annotations

from array import array
from types import ModuleType
from typing import Any

from bms.core import frame as F
from bms.core import plausible as P
from support import int31
from support.packs import compiled, read

CHECKED: dict[str, ModuleType] = int31.load()
CELL_UV = 3_700_000
WARM_MDEGC = 25_000


class Watched:
    """A pack at rest, warm, everything believed; tests change `sig`, cells and temperatures."""

    def __init__(self, name: str = "robot_14s", **pack: int) -> None:
        self.pack: Any = read(compiled(name).blob)
        for key, value in pack.items():
            setattr(self.pack, key, value)
        self.frame = F.Frame(self.pack.cells, self.pack.temps)
        self.f = self.frame.v
        self.sig = array("i", [0] * len(P.FIELDS))
        self.sig[P.TRUST] = P.ALL_TRUSTED
        self.tick_ms = self.pack.tick_ms
        self.cells(CELL_UV)
        self.temps(WARM_MDEGC)

    def cells(self, uv: int, **by_cell: int) -> None:
        """Write every cell and the stack; c3=5 adds 5 uV to cell 3."""
        for k in range(self.pack.cells):
            self.f[F.CELL0 + k] = uv + by_cell.get(f"c{k}", 0)
        cells = self.f[F.CELL0 : self.frame.temp0]
        self.sig[P.CELL_MIN_UV], self.sig[P.CELL_MAX_UV] = min(cells), max(cells)
        self.f[F.PACK_UV] = self.sig[P.PACK_UV] = sum(cells)

    def temps(self, mdegc: int, **by_sensor: int) -> None:
        """Write every sensor; t1=5 adds 5 mdegC to sensor 1."""
        for k in range(self.pack.temps):
            self.f[self.frame.temp0 + k] = mdegc + by_sensor.get(f"t{k}", 0)
        temps = self.f[self.frame.temp0 :]
        self.sig[P.TEMP_MIN_MDEGC], self.sig[P.TEMP_MAX_MDEGC] = min(temps), max(temps)

    def current(self, ua: int) -> None:
        """Write the current."""
        self.f[F.CURRENT_UA] = ua
        self.sig[P.CHARGE_UA], self.sig[P.DISCHARGE_UA] = ua, -ua

    def doubt(self, *signals: int) -> None:
        """Let these not be believed; none for all believed again."""
        self.sig[P.TRUST] = P.ALL_TRUSTED & ~sum(1 << s for s in signals)

    def tick(self, dt_ms: int | None = None) -> None:
        """Let one tick pass, then `step`."""
        self.sig[P.DT_MS] = self.tick_ms if dt_ms is None else dt_ms
        self.step()

    def run(self, seconds: float, dt_ms: int | None = None) -> None:
        """Let ticks pass."""
        for _ in range(round(seconds * 1000 / (dt_ms or self.tick_ms))):
            self.tick(dt_ms)

    def step(self) -> None:
        """What the module under test does in a tick."""
        raise NotImplementedError
