"""BQ76952: from volts, amps and degC to its data memory, and back to what it really applies.

Every function of one limit returns `Applied(code, value)`: the setting and the limit that the chip
makes of it, in the unit asked for. A limit is never less protective than asked: over-limits round
down, under-limits up, delays down. ValueError says which values are valid.

`memory(Settings)` gives what the driver writes as (address, length, value); `table` packs that
into `chip_memory` of the blob. Numbers: TI's technical reference manual SLUUBY2B, "TRM" below.
"""

import math
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from solidbms.plant.chips import bq76952_map as m

CC_MOHM = 7.4768  # CC Gain is this over the shunt in mohm, TRM 4.12
CAPACITY = 298261.6178  # Capacity Gain over CC Gain: 2^32 / 3600 / 4, four CC1 results a second
ADC_FULL_V = 0.2  # across the shunt, data sheet SLUSE13B 7.15
CHARGE_SHIFT = 15  # the driver counts 2^-17 userAh: what it drops of the 32-bit fraction
RUN = 32  # bytes that the transfer buffer holds
_CODE_MAX = 32767  # CC2 Current is 16 bit


class Applied(NamedTuple):
    """code: what goes into the data memory. value: the limit that the chip then applies."""

    code: int
    value: float


def _down(asked: float, step: float, low: int, high: int) -> Applied:
    # A hair of tolerance: 4.3 V that is 4.3 V in steps shall not lose one to binary fractions.
    code = math.floor(asked / step + 1e-6)
    if code < low:
        raise ValueError(f"{low * step:g} to {high * step:g} is valid, not {asked:g}")
    code = min(code, high)
    return Applied(code, code * step)


def over_v(asked: float) -> Applied:
    """COV Threshold, V: 50.6 mV steps from 1.012 to 5.566 (TRM 5.2.4)."""
    return _down(asked, m.CELL_STEP_V, 20, 110)


def under_v(asked: float) -> Applied:
    """CUV Threshold, V: 50.6 mV steps from 1.012 to 4.554 (TRM 5.2.5)."""
    code = max(math.ceil(asked / m.CELL_STEP_V - 1e-6), 20)
    if code > 90:
        raise ValueError(f"{20 * m.CELL_STEP_V:g} to {90 * m.CELL_STEP_V:g} is valid, "
                         f"not {asked:g}")  # fmt: skip
    return Applied(code, code * m.CELL_STEP_V)


def hysteresis_v(asked: float) -> Applied:
    """COV and CUV Recovery Hysteresis, V: 50.6 mV steps from 0.1012 to 1.012; rounds up."""
    code = min(max(math.ceil(asked / m.CELL_STEP_V - 1e-6), 2), 20)
    return Applied(code, code * m.CELL_STEP_V)


def _delay(asked_ms: float, most: int) -> Applied:
    step_ms = m.DELAY_STEP_US / 1000
    code = min(math.floor(asked_ms / step_ms + 1e-6) - 2, most)
    if code < 1:
        raise ValueError(f"{3 * step_ms:g} to {(most + 2) * step_ms:g} ms is valid, "
                         f"not {asked_ms:g}")  # fmt: skip
    return Applied(code, (code + 2) * step_ms)


def voltage_delay_ms(asked: float) -> Applied:
    """COV and CUV Delay, ms: 3.3 ms steps from 9.9 to 6761.7 (TRM 5.2.4, 5.2.5)."""
    return _delay(asked, 2047)


def current_delay_ms(asked: float) -> Applied:
    """OCC, OCD1 and OCD2 Delay, ms: 3.3 ms steps from 9.9 to 425.7 (TRM 5.2.7, 5.2.8)."""
    return _delay(asked, 127)


def charge_a(asked: float, shunt_ohm: float) -> Applied:
    """OCC Threshold, A: 2 mV steps over the shunt from 4 to 124 mV (TRM 5.2.7)."""
    return _down(asked, m.SHUNT_STEP_V / shunt_ohm, 2, 62)


def discharge_a(asked: float, shunt_ohm: float) -> Applied:
    """OCD1 and OCD2 Threshold, A: 2 mV steps over the shunt from 4 to 200 mV (TRM 5.2.8)."""
    return _down(asked, m.SHUNT_STEP_V / shunt_ohm, 2, 100)


def short_a(asked: float, shunt_ohm: float) -> Applied:
    """SCD Threshold, A: one of 16 from 10 to 500 mV over the shunt (TRM 5.2.6)."""
    mv = asked * shunt_ohm * 1000 + 1e-6
    if mv < m.SCD_MV[0]:
        raise ValueError(f"from {m.SCD_MV[0] / shunt_ohm / 1000:g} is valid, not {asked:g}")
    code = max(k for k, step in enumerate(m.SCD_MV) if step <= mv)
    return Applied(code, m.SCD_MV[code] / shunt_ohm / 1000)


def short_delay_us(asked: float) -> Applied:
    """SCD Delay, us: 15 us steps from 0 (comparator alone) to 450 (TRM 5.2.6)."""
    code = min(math.floor(asked / m.SCD_STEP_US + 1e-6), 30)
    return Applied(code + 1, code * m.SCD_STEP_US)


def over_c(asked: float) -> Applied:
    """OTC, OTD, OTF, OTINT Threshold, degC: whole degrees from -40 to 120."""
    return _down(asked, 1.0, -40, 120)


def delay_s(asked: float) -> Applied:
    """Delays and recovery times in whole seconds, 0 to 255; rounds down."""
    return _down(asked, 1.0, 0, 255)


def user_ma(full_a: float) -> float:
    """Return the finest unit of current, mA, in which `full_a` still fits 16 bits.

    It is the unit of CC2 Current and of the accumulated charge (DA Configuration, userA): 1 or
    10 mA; the firmware's 31 bits end where 100 mA would be needed.
    """
    for unit in m.USER_MA[1:3]:
        if full_a * 1000 <= unit * _CODE_MAX + 1e-6:
            return unit
    raise ValueError(f"up to {_CODE_MAX / 100:g} A is valid, not {full_a:g}")


def ua_per_code(unit_ma: float) -> Fraction:
    """uA of one code of CC2 Current: the blob's ua_num and ua_den."""
    return Fraction(round(unit_ma * 1000))


def uas_per_code(unit_ma: float) -> Fraction:
    """uAs of one count of charge as the driver takes it: the blob's charge_num and charge_den."""
    return ua_per_code(unit_ma) * 3600 / 2 ** (32 - CHARGE_SHIFT)


@dataclass(frozen=True)
class Settings:
    """What a pack asks of the chip. A limit of None leaves that protection off.

    temps: thermistors for cells, on TS1, TS2, TS3. fet_temp: one more on HDQ for the FETs.
    predischarge_v: the discharge FET follows once the terminals are so near the stack; None: none.
    precharge_v: below this cell voltage (start, stop) the precharge FET charges; None: none.
    recovery_s: how long every protection waits after its cause has gone. With no current flowing
    over-current recovers too; that the pack does not close then is the pins' part.
    """

    cells: int
    shunt_ohm: float
    unit_ma: float
    crc: bool = True
    temps: int = 3
    fet_temp: bool = True
    thermistor_180k: bool = False
    over_v: float | None = None
    over_ms: float = 250.0
    under_v: float | None = None
    under_ms: float = 250.0
    hysteresis_v: float = 0.1
    charge_a: float | None = None
    charge_ms: float = 20.0
    discharge_a: float | None = None
    discharge_ms: float = 20.0
    short_a: float | None = None
    short_us: float = 30.0
    hot_charge_c: float | None = None
    hot_discharge_c: float | None = None
    hot_fet_c: float | None = None
    hot_die_c: float | None = None
    hot_s: float = 2.0
    cooled_c: float = 5.0
    recovery_s: float = 10.0
    predischarge_v: float | None = None
    precharge_v: tuple[float, float] | None = None
    body_diode_a: float = 1.0
    wire_check_s: float = 1.0
    balance_cells: int = 4
    balance_die_c: float = 70.0
    host_watchdog_s: float | None = None


def memory(s: Settings) -> list[tuple[int, int, int]]:
    """Return (address, length in bytes, value) of everything that the driver writes, rising."""
    values: dict[str, int] = {}
    values.update(_measuring(s))
    values.update(_voltages(s))
    values.update(_currents(s))
    values.update(_temperatures(s))
    values.update(_fets(s))
    # One float a row would not fit a small integer: gains go as two halves.
    rows = [
        (m.ADDRESS[name], struct.calcsize(m.FORMATS[m.MEMORY[m.ADDRESS[name]].kind]), value)
        for name, value in values.items()
    ]
    gain = CC_MOHM / (s.shunt_ohm * 1000)
    for name, number in (("CC Gain", gain), ("Capacity Gain", gain * CAPACITY)):
        low, high = struct.unpack("<HH", struct.pack("<f", number))
        rows += [(m.ADDRESS[name], 2, low), (m.ADDRESS[name] + 2, 2, high)]
    return sorted((address, size, value & (1 << 8 * size) - 1) for address, size, value in rows)


def _measuring(s: Settings) -> dict[str, int]:
    pins = dict.fromkeys(m.PINS, 0)
    # Low or silent is off (data sheet 11.3): a pump without edges opens the FET.
    pins["CFETOFF"] = pins["DFETOFF"] = m.PIN_OFF | m.PIN_ACTIVE_LOW
    model = m.THERMISTOR | (m.THERMISTOR_180K | m.THERMISTOR_180K >> 2) * s.thermistor_180k
    for name in ("TS1", "TS2", "TS3")[: s.temps]:
        pins[name] = model | m.TEMP_CELL
    if s.fet_temp:
        pins["HDQ"] = model | m.TEMP_FET
    mask = sum(1 << k for k in m.cell_inputs(s.cells))
    return {
        # Never asleep: scans would be seconds apart. TS2 as a thermistor wants SHUT_TS2.
        "Power Config": 0x2880 | 0x1000 * (s.temps > 1),
        "Comm Type": m.COMM_I2C_FAST_CRC if s.crc else m.COMM_I2C_FAST,
        # Fresh readings show here; a fault shows as long as it stands.
        "Default Alarm Mask": m.SSBC | m.SSA | m.ALARM_PF | m.FULLSCAN | m.ADSCAN,
        **{f"{name} Pin Config": value for name, value in pins.items()},
        "DA Configuration": m.DA_VOLTS_CV | m.USER_MA.index(s.unit_ma),
        "Vcell Mode": mask,
        # In 234 nV. As it comes, 9, it loses 2 mA through 1 mohm; what is left below is noise.
        "Coulomb Counter Deadband": 3,
        "Cell Open-Wire Check Time": delay_s(s.wire_check_s).code,
        "Balancing Configuration": 0,  # the firmware chooses the cells
        "Max Internal Temp": over_c(s.balance_die_c).code,
        "Cell Balance Interval": 60,  # s that the chip goes on bleeding unasked
        "Cell Balance Max Cells": s.balance_cells,
    }


def _voltages(s: Settings) -> dict[str, int]:
    values = {"Recovery Time": delay_s(s.recovery_s).code}
    for name, asked, limit, late_ms in (
        ("COV", s.over_v, over_v, s.over_ms),
        ("CUV", s.under_v, under_v, s.under_ms),
    ):
        if asked is not None:
            values[f"{name} Threshold"] = limit(asked).code
            values[f"{name} Delay"] = voltage_delay_ms(late_ms).code
            values[f"{name} Recovery Hysteresis"] = hysteresis_v(s.hysteresis_v).code
    return values


def _currents(s: Settings) -> dict[str, int]:
    # No current at all counts as recovered, whatever the offset: +-200 mA.
    values = {"OCC Recovery Threshold": 200, "OCD Recovery Threshold": -200}
    if s.charge_a is not None:
        values["OCC Threshold"] = charge_a(s.charge_a, s.shunt_ohm).code
        values["OCC Delay"] = current_delay_ms(s.charge_ms).code
    if s.discharge_a is not None:
        values["OCD1 Threshold"] = discharge_a(s.discharge_a, s.shunt_ohm).code
        values["OCD1 Delay"] = current_delay_ms(s.discharge_ms).code
    if s.short_a is not None:
        values["SCD Threshold"] = short_a(s.short_a, s.shunt_ohm).code
        values["SCD Delay"] = short_delay_us(s.short_us).code
        values["SCD Recovery Time"] = max(delay_s(s.recovery_s).code, 1)
    return values


def _temperatures(s: Settings) -> dict[str, int]:
    values = {}
    for name, asked in (
        ("OTC", s.hot_charge_c),
        ("OTD", s.hot_discharge_c),
        ("OTF", s.hot_fet_c),
        ("OTINT", s.hot_die_c),
    ):
        if asked is not None:
            code = over_c(asked).code
            values[f"{name} Threshold"] = code
            values[f"{name} Delay"] = delay_s(s.hot_s).code
            values[f"{name} Recovery"] = max(math.floor(code - s.cooled_c), -40)
    return values


def _fets(s: Settings) -> dict[str, int]:
    limits = (
        (m.COV, s.over_v), (m.CUV, s.under_v), (m.OCC, s.charge_a), (m.OCD1, s.discharge_a),
        (m.SCD, s.short_a), (m.OTC, s.hot_charge_c), (m.OTD, s.hot_discharge_c),
        (m.OTF, s.hot_fet_c), (m.OTINT, s.hot_die_c), (m.HWDF, s.host_watchdog_s),
    )  # fmt: skip
    enabled = sum(bit for bit, limit in limits if limit is not None)
    values = {f"Enabled Protections {x}": enabled >> 8 * k & 0xFF for k, x in enumerate("ABC")}
    for side in ("CHG", "DSG"):  # which protection opens which FET: as the chip comes
        for x in "ABC":
            name = f"{side} FET Protections {x}"
            values[name] = int(m.MEMORY[m.ADDRESS[name]].default)
    if s.host_watchdog_s is not None:
        values["HWD Delay"] = max(round(s.host_watchdog_s), 1)
    options = m.SFET | m.HOST_FET_EN | m.FET_CTRL_EN
    if s.predischarge_v is not None:
        options |= m.PDSG_EN
        values["Predischarge Timeout"] = 0  # never gives up, and never closes onto a short
        values["Predischarge Stop Delta"] = min(max(round(s.predischarge_v * 100), 1), 255)
    start_v, stop_v = s.precharge_v or (0.0, 0.0)
    return values | {
        "FET Options": options,
        "Body Diode Threshold": round(s.body_diode_a * 1000),
        "Precharge Start Voltage": round(start_v * 1000),
        "Precharge Stop Voltage": round(stop_v * 1000),
    }


def table(entries: list[tuple[int, int, int]]) -> list[int]:
    """Return `chip_memory`: runs of up to 32 bytes, each as address, count and that many bytes."""
    runs: list[tuple[int, list[int]]] = []
    for address, size, value in sorted(entries):
        data = list(value.to_bytes(size, "little"))
        if runs:
            start, run = runs[-1]
            if start + len(run) == address and len(run) + size <= RUN:
                run += data
                continue
        runs.append((address, data))
    return [word for address, run in runs for word in (address, len(run), *run)]
