"""The BQ76952 between plant and bus: see `fronts.Circuit`."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any

from solidbms.plant import ntc
from solidbms.plant.chips import bq76952_map as m
from solidbms.plant.chips.bq76952 import Bq76952

if TYPE_CHECKING:
    from solidbms.faults import Senses
    from solidbms.schema import PackFile
    from solidbms.world import Plant

# FET Status (CHG, PCHG, DSG, PDSG) as bits of World: charge, discharge, pre-discharge, pre-charge.
FETS = tuple(
    (1 if k & m.CHG_FET else 0) | (2 if k & m.DSG_FET else 0)
    | (4 if k & m.PDSG_FET else 0) | (8 if k & m.PCHG_FET else 0)
    for k in range(16)
)  # fmt: skip
_VOLTS = struct.Struct("<16hHHHh")  # cells, stack, PACK, LD, CC2 Current
_TEMPS = struct.Struct("<10H")  # die, then the pins
_TS1 = 1 + m.PINS.index("TS1")
_HDQ = 1 + m.PINS.index("HDQ")
NO_TEMP = -1
_FREEZES = ("cells", "stack", "pack", "ld", "current", "charge", "temps", "die", "scan")
_COLD, _HOT = 2281, 4231  # 0.1 K, -45 and 150 degC: beyond, the driver takes a sensor for lost
REGISTERS = frozenset((
    "cell_max_uv", "cell_min_uv", "pack_uv", "charge_ua", "discharge_ua", "temp_max_mdegc",
    "temp_min_mdegc", "fet_mdegc", "board_mdegc", "shorts",
))  # fmt: skip
_PLACE = {name: k for k, name in enumerate((
    "cell_max_uv", "cell_min_uv", "pack_uv", "charge_ua", "temp_max_mdegc", "temp_min_mdegc",
    "fet_mdegc", "board_mdegc", "shorts",
))}  # fmt: skip


def _apart(temps_c: list[float], before_c: list[float]) -> bool:
    # A tenth of what the chip resolves.
    return any(abs(a - b) > 0.01 for a, b in zip(temps_c, before_c, strict=False))


class Circuit:
    """The chip with its cells, shunt, thermistors, FETs and the two pins that hold these off."""

    WORDS = len(_PLACE)  # of `shows`: codes, in the order of _PLACE
    LONGEST = 80  # a set of cells and its check bytes
    FAULTS = ("reset", "wrong_chip", "stuck", "clock", "upset")

    def __init__(self, file: PackFile) -> None:
        chip: Any = file.front_end
        self.chip = Bq76952(file.cells_in_series, chip.address)
        self.address = chip.address
        self.read = self.chip.read
        self.write = self.chip.write
        self.drives = self.bleeds = 0
        self._cells = file.cells_in_series
        self._temps = file.thermistor.count
        self._fet = chip.fet_thermistor
        self._sensor = file.thermistor.r25_ohm, file.thermistor.beta_k
        self._shunt_ohm = chip.shunt_ohm
        self._pins = 0
        self._world_us = self._chip_us = 0
        self._pace = 1.0
        self._sensed = False  # faults lay on what it reads
        self._ohm: tuple[float, ...] = ()
        self._at_c = [math.inf]

    @property
    def alert(self) -> bool:
        """Whether the alert pin is active, where the pack uses it."""
        return self.chip.alert_active

    def pins(self, gates: int) -> None:
        """Take the levels of CFETOFF and DFETOFF: high lets the chip drive that FET."""
        self._pins = gates

    def advance(self, now_us: int, plant: Plant, senses: Senses) -> None:
        """Convert what the plant shows up to now_us."""
        cells_v, current_a, mean_a = plant.cells_v, plant.current_a, plant.mean_a
        die_c, pack_v = plant.die_c, plant.out_v
        temps_c = [*plant.temps_c[: self._temps], plant.fet_c]
        chip = self.chip
        if senses:
            # Of the readings alone: the stack has a path of its own.
            off = ((k, senses.shown("cell_v", v, k) - v) for k, v in enumerate(cells_v))
            chip.cell_offset_v = {k: v for k, v in off if v}
            stack_v = sum(cells_v)
            chip.stack_offset_v = senses.shown("stack_v", stack_v) - stack_v
            chip.cell_gain = senses.shown("reference", 1.0)
            lines = (k + 1 for k in range(self._cells))
            chip.open_wire = {k for k in lines if senses.has("cell_wire", "open", k - 1)}
            shown_a = senses.shown("current_a", current_a)
            mean_a += shown_a - current_a
            current_a = shown_a
            die_c = senses.shown("die_c", die_c)
            pack_v = senses.shown("out_v", pack_v)
        elif self._sensed:
            chip.open_wire = set()
            chip.cell_offset_v = {}
            chip.stack_offset_v = 0.0
            chip.cell_gain = 1.0
        if senses or self._sensed or _apart(temps_c, self._at_c):
            self._at_c = temps_c
            self._ohm = self._thermistors(temps_c, senses)
        self._sensed = bool(senses)
        self._chip_us += round((now_us - self._world_us) * self._pace)
        self._world_us = now_us
        ohm = self._shunt_ohm
        pins = self._pins
        chip.advance(
            self._chip_us, cells_v, current_a * ohm, mean_a * ohm, self._ohm, die_c, pack_v,
            pack_v, bool(pins & 1), bool(pins & 2),
        )  # fmt: skip
        self.drives = FETS[chip.guard.fets]
        self.bleeds = chip.bleeding if chip.balancing else 0

    def _thermistors(self, temps_c: list[float], senses: Senses) -> tuple[float, ...]:
        """Return what hangs at TS1, TS2, TS3 and HDQ, ohm."""
        places = [("temp_c", k, t) for k, t in enumerate(temps_c[:-1])]
        ohm = [self._resistance(*place, senses) for place in places]
        ohm += [math.inf] * (3 - len(ohm))
        fet = self._resistance("fet_c", 0, temps_c[-1], senses) if self._fet else math.inf
        return (*ohm, fet)

    def _resistance(self, where: str, index: int, temp_c: float, senses: Senses) -> float:
        if senses:
            if senses.has(where, "short", index):
                return 0.0
            if senses.has(where, "lost", index):
                return math.inf
            temp_c = senses.shown(where, temp_c, index)
        return ntc.resistance_ohm(temp_c, *self._sensor)

    def fault(self, kind: str, comes: bool, value: float) -> None:
        """Let one of FAULTS come or go. upset: a bit of the data memory at address `value`."""
        chip = self.chip
        if kind == "stuck":
            chip.frozen.clear()
            chip.frozen.update(_FREEZES if comes else ())
        elif kind == "clock":
            self._pace = 1.0 + value if comes else 1.0
        elif kind == "wrong_chip":
            chip.number = 0x7694 if comes else m.NUMBER  # a BQ76942
        elif comes and kind == "upset":
            chip.upset(round(value), 1)
        elif comes:
            chip.power_on_reset()

    def shows(self) -> tuple[int, ...]:
        """Return what the registers hold now; NO_TEMP for a sensor that is open or shorted."""
        ram = self.chip.scan.ram
        volts = _VOLTS.unpack_from(ram, m.CELL_1)
        n = self._cells - 1
        cells = volts[:n] + volts[15:16]
        temps = _TEMPS.unpack_from(ram, m.INT_TEMP)
        sensors = temps[_TS1 : _TS1 + self._temps]
        high, low = max(sensors), min(sensors)
        if low < _COLD or high > _HOT:
            high = low = NO_TEMP
        return (
            max(cells), min(cells), volts[16], volts[19], high, low, temps[_HDQ], temps[0],
            ram[m.SAFETY_STATUS_A],
        )  # fmt: skip


def seen(signal: str, words: list[int], pack: Any) -> int | None:
    """Return one of REGISTERS in firmware units, as `Circuit.shows` had it; None for none yet."""
    if not words[_PLACE["pack_uv"]]:
        return None
    if signal == "discharge_ua":
        return -(words[_PLACE["charge_ua"]] * pack.ua_num // pack.ua_den)
    code = words[_PLACE[signal]]
    if signal == "charge_ua":
        return code * pack.ua_num // pack.ua_den
    if signal == "shorts":
        return int(bool(code & m.SCD))
    if signal == "pack_uv":
        return code * 10000
    if signal.endswith("_uv"):
        return code * 1000
    return code * 100 - 273150 if _COLD <= code <= _HOT else None
