"""Rigs that run the firmware of one pack on readings that a test chooses.

`Bench` steps protect and switch on signals; `Rig` runs the whole loop on register codes of the
pack's front end, and ADC codes where sensors hang on pins, time running by the pack's period.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from bms.core import frame as F
from bms.core import plausible as P
from bms.core import rules as R
from bms.core import switch as W
from bms.core.fixed import interp
from bms.core.protect import ACTED, STRIDE, Protect
from bms.drivers.front import BQ76952, drivers
from bms.loop import Bms
from bms.mailbox import Mailbox
from solidbms.plant import ntc
from solidbms.plant.chips.bq76952 import Bq76952
from solidbms.plant.chips.ina228 import Ina228

ALL_TRUSTED = P.ALL_TRUSTED
TICKS_MASK = (1 << 30) - 1
BUS_UV = 195.3125  # a code of VBUS and of the shunt, table 8-1 of the data sheet
SHUNT_NV = 312.5


def path_open(switch: W.Switch, path: int) -> bool:
    """Return whether every gate of a path is commanded open."""
    chg, dsg = switch.v[W.CHG_ON], switch.v[W.DSG_ON]
    return not (path & R.CHARGE and chg) and not (path & R.DISCHARGE and dsg)


class Bench:
    """Protect and switch of one pack on signals written by the test: `sig`, `flags`."""

    def __init__(self, pack: Any) -> None:
        self.pack = pack
        self.protect = Protect(pack)
        self.switch = W.Switch(pack.pre_discharge)
        self.frame = F.Frame(pack.cells, pack.temps)
        self.sig = array("i", [0] * len(P.FIELDS))
        self.sig[P.TRUST] = ALL_TRUSTED
        # A front end that tells of its FETs tells that they are on.
        shown = F.FETS_OK | F.CHG_SHOWN | F.DSG_SHOWN if pack.pre_discharge else 0
        self.flags = F.CODE_OK | F.CHIP_OK | F.PINS_OK | shown
        self.now_ms = 0

    def tick(self, request: int = W.NONE) -> None:
        """Let a period pass, then run one tick on the signals as they stand."""
        closed = self.switch.closed()
        period_ms = self.pack.tick_ms if closed else self.pack.idle_tick_ms
        self.now_ms += period_ms
        self.sig[P.DT_MS] = period_ms
        self.frame.v[F.FLAGS] = self.flags
        loaded, clear, ack = self.switch.v[W.DSG_ON], request == W.CLEAR, request == W.ACK
        self.protect.step(self.sig, self.flags, closed, loaded, clear, ack)
        self.switch.step(self.frame, self.sig, self.protect, request)

    def ticks(self, span_ms: int, request: int = W.NONE) -> None:
        """Run ticks until span_ms have passed."""
        end_ms = self.now_ms + span_ms
        while self.now_ms < end_ms:
            self.tick(request)

    def close(self) -> None:
        """Pass the boot test and close both gates."""
        for _ in range(W.BOOT_FRAMES):
            self.tick()
        self.tick(W.CLOSE)
        if self.pack.pre_discharge:
            self.tick()
        assert self.switch.v[W.CHG_ON] and self.switch.v[W.DSG_ON]

    def phase(self, row: int) -> int:
        """Return the phase of a row."""
        return self.protect.v[STRIDE * row]

    def acted(self, row: int) -> bool:
        """Return whether a row has acted and not recovered."""
        return self.phase(row) >= ACTED


class Rig:
    """The whole loop of one pack; the test sets codes, `nack` and `late_ms`.

    Codes of an INA228 pack are bus_code, shunt_code, ntc_code; of a BQ76952 pack cell_code (every
    cell), current_code, temp_code (every sensor on cells), fet_code. See `level_codes`. In a
    BQ76952 pack cell_off and temp_off add to the codes of single cells and sensors, out_v is at
    the terminals in place of what the FETs let through, and the chip's clock may be fast.
    """

    def __init__(self, pack: Any, start_ms: int = 0) -> None:
        self.pack = pack
        self.chip: Any = Ina228(pack.chip_address)
        self.advance = self._advance_ina228
        if pack.chip == BQ76952:
            self.chip = Bq76952(pack.cells, pack.chip_address)
            self.advance = self._advance_bq76952
        self.bus_code = 18432  # 3.6 V
        self.shunt_code = 0
        self.ntc_code = 32768
        self.cell_code = 3600
        self.current_code = 0
        self.temp_code = self.fet_code = 2982  # 25 degC
        self.cell_off: dict[int, int] = {}
        self.temp_off: dict[int, int] = {}
        self.out_v: float | None = None
        self.die_c = 25.0
        self.fast = 1.0
        self.nack = False
        self.held = False  # the dead-man holds the gates open
        self.late_ms = 0
        self.start_ms = start_ms
        self.now_ms = 0
        self.commanded = (0, 0)
        self.blown = False
        self.bms = Bms(self, pack)
        self.core = self.bms.core

    @property
    def bq(self) -> bool:
        """Whether the front end is a BQ76952."""
        return self.pack.chip == BQ76952

    def current(self, ua: int) -> None:
        """Let this current show, rounded up to the next code."""
        code = -(-ua * self.pack.ua_den // self.pack.ua_num)
        setattr(self, "current_code" if self.bq else "shunt_code", code)

    def cell(self, uv: int) -> None:
        """Let this voltage show for every cell, rounded up to the next code."""
        if self.bq:
            self.cell_code = -(-uv // 1000)
        else:
            self.bus_code = -(-uv * 16 // 3125)

    def temp(self, temp_c: float) -> None:
        """Let this temperature show at every sensor on a cell."""
        if self.bq:
            self.temp_code = round((temp_c + 273.15) * 10)
        else:
            self.ntc_code = round(65536 * ntc.share(temp_c, 1e4, 3950.0, 1e4))

    # What bms.loop.Bms expects of a board.
    @property
    def gates(self) -> Rig:
        """The gates: this rig takes their commands."""
        return self

    def set(self, chg_on: int, dsg_on: int) -> None:
        """Take the gate commands."""
        self.commanded = (chg_on, dsg_on)

    def blow(self) -> None:
        """Take the command to blow the fuse."""
        self.blown = True

    def drivers(self, pack: Any) -> list[Any]:
        """Return the real drivers on this rig as bus and ADC."""
        return drivers(self, pack, lambda k: self)

    def readfrom_mem_into(self, address: int, register: int, buffer: bytearray) -> None:
        """Answer as machine.I2C."""
        if self.nack or address != self.chip.address:
            raise OSError(5)
        buffer[:] = self.chip.read(register, len(buffer))

    def writeto(self, address: int, buffer: bytes) -> None:
        """Answer as machine.I2C."""
        register, data = buffer[0], bytes(buffer[1:])
        if self.nack or address != self.chip.address:
            raise OSError(5)
        self.chip.write(register, bytes(data))

    def read_u16(self) -> int:
        """Answer as machine.ADC."""
        return self.ntc_code

    def ticks_ms(self) -> int:
        """Return the time, wrapping."""
        return (self.start_ms + self.now_ms) & TICKS_MASK

    def saved(self) -> tuple[int, int]:
        """Nothing was saved."""
        return -1, -1

    def tested(self) -> int:
        """Return what the boot test found."""
        return F.CODE_OK | F.PINS_OK

    def dropped(self) -> bool:
        """Return what the test says of the dead-man."""
        return self.held

    def links(self, bms: Bms) -> list[Any]:
        """Nobody hears of this pack."""
        return []

    def ticked(self) -> None:
        """Nobody watches."""

    def pump(self) -> None:
        """Nobody talks."""

    def failed(self, error: Exception) -> None:
        """Hear of the lost feature."""

    def sleep_until(self, t_ms: int, mailbox: Mailbox) -> bool:
        """Return at once: `tick` lets time pass."""
        return True

    # What tests use.
    def tick(self, request: int = W.NONE) -> None:
        """Let a period pass, then run one tick: what was set before happened just after the last.

        request: put in the mailbox in between.
        """
        self.now_ms += self.core.period_ms() + self.late_ms
        self.advance(self.now_ms * 1000)
        if request:
            self.bms.mailbox.put(request, 0, self.ticks_ms())
        self.bms.cycle()

    def _advance_ina228(self, now_us: int) -> None:
        bus_v = self.bus_code * BUS_UV * 1e-6
        self.chip.advance(now_us, self.shunt_code * SHUNT_NV * 1e-9, bus_v, 25.0)

    def _advance_bq76952(self, now_us: int) -> None:
        chip = self.chip
        off = self.cell_off
        cells_v = [(self.cell_code + off.get(k, 0)) / 1000 for k in range(self.pack.cells)]
        shunt_v = self.current_code / chip.scan.user_per_v
        ohm = (ntc.resistance_ohm(code / 10 - 273.15, 1e4, 3435.0) if code else 0.0
               for code in (*[self.temp_code + self.temp_off.get(k, 0) for k in range(3)],
                            self.fet_code))  # fmt: skip
        feeds = chip.chg_driven or chip.dsg_driven or chip.pdsg_driven
        out_v = sum(cells_v) if feeds else 0.0
        out_v = out_v if self.out_v is None else self.out_v
        chg_on, dsg_on = self.commanded
        chip.advance(round(now_us * self.fast), cells_v, shunt_v, shunt_v, tuple(ohm), self.die_c,
                     out_v, out_v, bool(chg_on), bool(dsg_on))  # fmt: skip

    def close(self) -> None:
        """Boot on believable readings and close both gates."""
        for _ in range(300):
            booted = self.core.switch.v[W.STATE] != W.BOOT
            if booted and not self.core.rules.blocked:  # a front end may take a while to answer
                break
            self.tick()
        self.tick(W.CLOSE)
        for _ in range(40):
            if self.commanded == (1, 1):
                break
            self.tick()
        assert self.commanded == (1, 1)

    def phase(self, row: int) -> int:
        """Return the phase of a row."""
        return self.core.rules.v[STRIDE * row]

    def acted(self, row: int) -> bool:
        """Return whether a row has acted and not recovered."""
        return self.phase(row) >= ACTED


Levels = tuple[range, Callable[[int], int], str]


def level_codes(pack: Any, signal: int) -> Levels | None:
    """Return (codes, value in firmware units of a code, input of `Rig`), None without codes.

    Codes are ordered so that the signal never falls. Values by the chips' data sheets. INA228:
    VBUS 195.3125 uV a code, current 312.5 nV / shunt. BQ76952: 1 mV, the unit of current that the
    pack states, 0.1 K.
    """

    def current(code: int) -> int:
        return (Fraction(code * pack.ua_num, pack.ua_den)).__floor__()

    bq = pack.chip == BQ76952
    full = range(-0x7FFF, 0x8000) if bq else range(-(1 << 19) + 1, 1 << 19)
    if signal == P.CHARGE_UA:
        return full, current, "current_code" if bq else "shunt_code"
    if signal == P.DISCHARGE_UA:
        return full[::-1], lambda c: -current(c), "current_code" if bq else "shunt_code"
    return _levels_bq76952(pack, signal) if bq else _levels_ina228(pack, signal)


def _levels_ina228(pack: Any, signal: int) -> Levels | None:
    if signal in (P.CELL_MAX_UV, P.CELL_MIN_UV):
        return range(1 << 19), lambda c: c * 3125 // 16 // pack.cells, "bus_code"
    if signal in (P.TEMP_MAX_MDEGC, P.TEMP_MIN_MDEGC):
        codes = range(pack.ntc_low, pack.ntc_high + 1)[::-1]  # an NTC falls as it warms
        return codes, lambda c: interp(pack.ntc_mdegc, c), "ntc_code"
    return None


def _levels_bq76952(pack: Any, signal: int) -> Levels | None:
    if signal in (P.CELL_MAX_UV, P.CELL_MIN_UV):
        return range(5000), lambda c: c * 1000, "cell_code"
    temp = range(2282, 4231), lambda c: c * 100 - 273150
    if signal in (P.TEMP_MAX_MDEGC, P.TEMP_MIN_MDEGC):
        return *temp, "temp_code"
    return (*temp, "fet_code") if signal == P.FET_MDEGC else None


def first_above(codes: range, value: Callable[[int], int], limit: int) -> int:
    """Return the index of the first code whose value is above the limit."""
    return bisect_right(codes, limit, key=value)
