"""The front end that a bare board makes up: the real driver and loop take it for a chip."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_loader
from typing import Any

import pytest
from bms.core import frame as F
from bms.core import soc as S
from bms.core import switch as W
from bms.core.fixed import TICKS_MAX
from bms.core.pack import Pack
from bms.drivers.ina228 import Ina228
from bms.drivers.ntc import Ntc
from bms.loop import Bms
from solidbms.packc import compile_pack
from solidbms.schema import BOARDS
from support.int31 import _Loader

NOW = 1 << 29


def checked() -> Any:
    """Return boards/pico/demo.py with every arithmetic result held within 31 bits."""
    spec = spec_from_loader("demo31", _Loader(str(BOARDS / "pico" / "demo.py")))
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Switch:
    on = 0


class Gates:
    def __init__(self) -> None:
        self.charge, self.discharge = Switch(), Switch()

    def set(self, chg_on: int, dsg_on: int) -> None:
        self.charge.on, self.discharge.on = chg_on, dsg_on

    def dropped(self) -> bool:
        return False


class Board:
    """A bare board: nothing but a clock."""

    def __init__(self) -> None:
        self.now = NOW
        self.gates = Gates()
        self.asks: list[int] = []
        self.seen: list[tuple[int, ...]] = []

    def ticks_ms(self) -> int:
        return self.now

    def drivers(self, pack: Any) -> list[Any]:
        demo = checked()
        self.cell = demo.Cell(pack, self.ticks_ms, self.gates)
        return [Ina228(demo.Bus(pack, self.cell), pack), Ntc(demo.Adc(pack, self.cell), pack)]

    def tested(self) -> int:
        return F.CODE_OK | F.PINS_OK

    def links(self, bms: Bms) -> list[Any]:
        return []

    def saved(self) -> tuple[int, int]:
        return -1, -1

    def failed(self, error: Exception) -> None:
        raise error

    def ticked(self) -> None:
        pass

    def sleep_until(self, t_ms: int, mailbox: Any) -> bool:
        self.now = t_ms & TICKS_MAX
        if self.asks:
            mailbox.put(self.asks.pop(0), 0, self.now)
        return True


@pytest.fixture
def running() -> tuple[Any, Board]:
    board = Board()
    bms: Any = Bms(board, Pack(compile_pack("demo").blob))
    while bms.core.switch.v[W.STATE] == W.BOOT:
        bms.cycle()
    assert board.now - NOW < 1000
    board.asks = [W.CLOSE]
    bms.cycle()
    bms.cycle()
    assert bms.core.switch.v[W.STATE] == W.ON
    return bms, board


def test_an_hour_of_it_trips_nothing_and_is_counted(running):
    bms, board = running
    low, high, hottest = 10**6, 0, 0
    for _ in range(72_000):
        bms.cycle()
        soc = bms.core.soc.v
        assert abs(soc[S.SOC_PPM] - board.cell.ppm) <= soc[S.BOUND_PPM]
        low, high = min(low, board.cell.ppm), max(high, board.cell.ppm)
        hottest = max(hottest, board.cell.mdegc)
    assert bms.core.switch.v[W.STATE] == W.ON
    assert not any(phase for phase in bms.core.rules.v[::3])
    assert low < 260_000 and high > 800_000  # it runs down, and its charger comes
    assert 26_000 < hottest < 45_000


def test_the_bus_shows_what_the_cell_does(running):
    bms, board = running
    for _ in range(1500):
        bms.cycle()
        f = bms.core.frame.v
        assert f[F.FLAGS] & F.VOLT_OK and f[F.FLAGS] & F.CURRENT_OK
        assert abs(f[F.CURRENT_UA] - board.cell.ma * 1000) < 700
        assert abs(f[F.PACK_UV] - board.cell.uv()) < 200
        assert abs(f[bms.core.frame.temp0] - board.cell.mdegc) < 300


def test_with_the_gates_open_nothing_flows(running):
    bms, board = running
    board.asks = [W.OPEN]
    bms.cycle()
    bms.cycle()
    assert board.gates.discharge.on == 0
    before = board.cell.ppm
    for _ in range(400):
        bms.cycle()
        assert bms.core.frame.v[F.CURRENT_UA] == 0
    assert board.cell.ppm == before


def test_another_address_does_not_answer():
    pack: Any = Pack(compile_pack("demo").blob)
    demo = checked()
    bus = demo.Bus(pack, demo.Cell(pack, lambda: 0, Gates()))
    with pytest.raises(OSError, match="5"):
        bus.readfrom_mem_into(0x41, 0x3E, bytearray(2))
    with pytest.raises(OSError, match="5"):
        bus.writeto(0x41, b"\x00\x00\x00")
