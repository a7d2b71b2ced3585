"""BQ76952: what packc, explain and world need to know of it.

Driver: bms/drivers/bq76952.py; model: plant/chips/bq76952.py. What limits come to in the chip's
own steps is in bq76952_memory.py, the chip before a plant in bq76952_circuit.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from bms.core import plausible as P
from bms.drivers import bq76952, bq76952_scan
from pydantic import Field

from solidbms.fronts import bq76952_memory as memory
from solidbms.fronts.bq76952_circuit import REGISTERS, Circuit, seen
from solidbms.model import Amps, Model, Positive, TempC

if TYPE_CHECKING:
    from solidbms.packrules import Rule
    from solidbms.schema import PackFile

__all__ = ["REGISTERS", "Circuit", "seen"]  # of the front, beside what stands here

CHIP = 1
SEES_LOAD = bq76952.SEES_LOAD
READS_TEMPS = True
STACK_MAX_V = 80.0  # data sheet SLUSE13B 7.3, recommended
THERMISTORS = {  # (r25_ohm, beta_k, pullup_ohm) that its polynomials are made for, TRM 4.8
    (10_000.0, 3435.0, 18_000.0): False,
    (200_000.0, 4012.0, 180_000.0): True,
}
PRE_DELTA_V = 1.0

Volts = Annotated[float, Field(gt=0, le=6)]
Seconds = Annotated[float, Field(gt=0, le=60)]


# How long the chip can wait, by key of `[front_end]`.
DELAYS = {
    "over_s": (memory.voltage_delay_ms, "the chip's longest delay for a voltage"),
    "under_s": (memory.voltage_delay_ms, "the chip's longest delay for a voltage"),
    "charge_s": (memory.current_delay_ms, "the chip's longest delay for a current"),
    "discharge_s": (memory.current_delay_ms, "the chip's longest delay for a current"),
}


class Keys(Model):
    """`[front_end]` of a pack. Limits are the chip's own: it opens its FETs without the processor.

    What is not given is not watched.
    """

    chip: Literal["bq76952"]
    address: Annotated[int, Field(ge=0x08, le=0x77)] = 0x08
    crc: bool = True
    shunt_ohm: Annotated[float, Field(ge=1e-4, le=0.1)]
    fet_thermistor: bool = False  # one more, on HDQ, at the FETs
    over_v: Volts | None = None
    over_s: Seconds = 0.25
    under_v: Volts | None = None
    under_s: Seconds = 0.25
    charge_a: Amps | None = None
    charge_s: Seconds = 0.02
    discharge_a: Amps | None = None
    discharge_s: Seconds = 0.02
    short_a: Annotated[float, Field(gt=0, le=5000)] | None = None
    short_s: Annotated[float, Field(ge=0, le=0.00045)] = 0.00003
    hot_charge_c: TempC | None = None
    hot_discharge_c: TempC | None = None
    hot_fet_c: TempC | None = None
    hot_die_c: TempC | None = None
    hot_s: Annotated[float, Field(ge=1, le=255)] = 2.0
    recovery_s: Annotated[float, Field(ge=2, le=255)] = 10.0
    pre_discharge_v: Positive | None = None  # the discharge FET follows so near the stack
    precharge_v: Annotated[list[Volts], Field(min_length=2, max_length=2)] | None = None
    body_diode_a: Positive = 1.0  # from here on it closes the other FET too: no diode heats


def keys(file: PackFile) -> Keys:
    """Return the `[front_end]` of a pack that has this chip."""
    assert isinstance(file.front_end, Keys)
    return file.front_end


class _Limit(NamedTuple):
    """A key and the chip's limit; the rule, its scale and side, that must act before the chip.

    after: the key whose delay this is.
    """

    key: str
    apply: Callable[[float], memory.Applied]
    unit: str
    rule: str = ""
    scale: float = 1.0
    side: int = 1
    after: str = ""


def _limits(file: PackFile) -> Iterator[tuple[_Limit, float]]:
    """Yield each limit that a pack asks for, with what it asks."""
    chip = keys(file)

    def amps(apply: Callable[[float, float], memory.Applied]) -> Callable[[float], memory.Applied]:
        return lambda asked_a: apply(asked_a, chip.shunt_ohm)

    slow = _in_s(memory.voltage_delay_ms, 1e3)
    quick = _in_s(memory.current_delay_ms, 1e3)
    rows = (
        _Limit("over_v", memory.over_v, "V a cell", "cell_ov", 1e6),
        _Limit("over_s", slow, "s", after="over_v"),
        _Limit("under_v", memory.under_v, "V a cell", "cell_uv_cut", 1e6, -1),
        _Limit("under_s", slow, "s", after="under_v"),
        _Limit("charge_a", amps(memory.charge_a), "A of charge", "charge_oc", 1e6),
        _Limit("charge_s", quick, "s", after="charge_a"),
        _Limit("discharge_a", amps(memory.discharge_a), "A of discharge", "dsg_oc", 1e6),
        _Limit("discharge_s", quick, "s", after="discharge_a"),
        _Limit("short_a", amps(memory.short_a), "A of discharge", "dsg_oc", 1e6),
        _Limit("short_s", _in_s(memory.short_delay_us, 1e6), "s", after="short_a"),
        _Limit("hot_charge_c", memory.over_c, "degC while charging", "charge_hot", 1e3),
        _Limit("hot_discharge_c", memory.over_c, "degC while discharging", "hot_cut", 1e3),
        _Limit("hot_fet_c", memory.over_c, "degC at the FETs", "fet_hot_cut", 1e3),
        _Limit("hot_die_c", memory.over_c, "degC of its die", "board_hot", 1e3),
    )
    for row in rows:
        asked = getattr(chip, row.key)
        if asked is not None and (not row.after or getattr(chip, row.after) is not None):
            yield row, asked


def _in_s(
    apply: Callable[[float], memory.Applied], per_s: float
) -> Callable[[float], memory.Applied]:
    def in_s(asked_s: float) -> memory.Applied:
        try:
            code, value = apply(asked_s * per_s)
        except ValueError as error:
            raise ValueError(f"in ms: {error}") from None
        return memory.Applied(code, value / per_s)

    return in_s


CURRENT = (P.CHARGE_UA, P.DISCHARGE_UA, P.CHARGE_OVER_UA, P.WELD_MS, P.LEAK_MS, P.OFFSET_UA,
           P.CHARGE_TIME_MS, P.OVERCHARGE_MS)  # fmt: skip
CELL = (P.CELL_MAX_UV, P.CELL_MIN_UV, P.SPREAD_UV, P.WIRE_UV, P.SAG_UV, P.ODD_STEPS, P.FROZEN_MS,
        P.R_LOW_PPM, P.R_HIGH_PPM, P.ANSWER_PPM)  # fmt: skip
FULL = (P.PACK_UV, P.STACK_PPM, P.FET_OPEN_MS, P.TEMP_MAX_MDEGC, P.TEMP_MIN_MDEGC, P.FET_MDEGC,
        P.BOARD_MDEGC, P.SPREAD_MDEGC, P.HOT_MDEGC, P.RISE_UDEGPS, P.STUCK_MDEGC,
        P.TEMP_LOST_MS)  # fmt: skip
FET = (P.SHORTS, P.CHG_HELD_MS, P.DSG_HELD_MS)
AGES = (
    (CURRENT, bq76952.AGE_CURRENT_MS),
    (CELL, bq76952.AGE_CELL_MS),
    (FULL, bq76952.AGE_FULL_MS),
    (FET, bq76952.AGE_FET_MS),
    ((P.FE_LOST_MS,), bq76952_scan.STALE_MS),
)


def lacks(file: PackFile) -> tuple[int, ...]:
    """Return what it does not see: FETs without a thermistor, a short that it is not to watch."""
    chip = keys(file)
    fet = () if chip.fet_thermistor else (P.FET_MDEGC,)
    return fet if chip.short_a is not None else (*fet, P.SHORTS)


def age_ms(signal: int, file: PackFile) -> int:
    """Return the age of a reading by what it is made of."""
    return next((age for signals, age in AGES if signal in signals), 0)


def errors(pack_rules: list[Rule], file: PackFile) -> list[str]:
    """Return what the chip with this shunt cannot do, or would do before its rule."""
    chip = keys(file)
    found = []
    if not 3 <= file.cells_in_series <= 16:
        found.append("cells_in_series: 3 to 16 is valid for front_end.chip bq76952")
    if file.thermistor.count > 3:
        found.append("thermistor.count: 1 to 3 is valid for front_end.chip bq76952: TS1 to TS3")
    if _thermistor(file) not in THERMISTORS:
        found.append("thermistor: for front_end.chip bq76952 "
                     + " or ".join(f"r25_ohm {r:g}, beta_k {b:g}, pullup_ohm {p:g}"
                                   for r, b, p in THERMISTORS)
                     + " is valid")  # fmt: skip
    full_a = memory.ADC_FULL_V / chip.shunt_ohm
    found += [
        f"rules.{rule.id}.limit_a: below {full_a:g} is valid, where the BQ76952 with this shunt "
        f"ends, not {rule.limit * 1e-6:g}"
        for rule in pack_rules
        if P.FIELDS[rule.row[1]] in ("charge_ua", "discharge_ua") and rule.limit * 1e-6 >= full_a
    ]
    found += _limit_errors({rule.id: rule for rule in pack_rules}, file)
    for key, (delay_ms, longest) in DELAYS.items():
        most_s = delay_ms(1e9).value / 1e3
        if getattr(chip, key) > most_s:
            found.append(f"front_end.{key}: up to {most_s:g} is valid, {longest}, not "
                         f"{getattr(chip, key):g}")  # fmt: skip
    if chip.precharge_v and chip.precharge_v[0] >= chip.precharge_v[1]:
        found.append("front_end.precharge_v: start below stop is valid")
    return found


def _limit_errors(by_id: dict[str, Rule], file: PackFile) -> list[str]:
    """The chip's own limits lie beyond the rules': a rule warns, clears and tells why."""
    found = []
    for limit, asked in _limits(file):
        try:
            applied = limit.apply(asked).value
        except ValueError as error:
            found.append(f"front_end.{limit.key}: {error}")
            continue
        rule = by_id.get(limit.rule)
        if rule is not None and (applied - rule.limit / limit.scale) * limit.side <= 0:
            word = "above" if limit.side > 0 else "below"
            found.append(
                f"front_end.{limit.key}: {word} {rule.limit / limit.scale:g} (rules.{rule.id}) "
                f"is valid as the chip applies it, not {applied:g} (asked for {asked:g})"
            )
    return found


def _thermistor(file: PackFile) -> tuple[float, float, float]:
    sensor = file.thermistor
    return sensor.r25_ohm, sensor.beta_k, sensor.pullup_ohm


def unit_ma(file: PackFile) -> float:
    """Return the unit of current that the chip reports in: the finest that reaches its range."""
    return memory.user_ma(memory.ADC_FULL_V / keys(file).shunt_ohm)


def settings(file: PackFile) -> memory.Settings:
    """Return what a pack asks of the chip."""
    chip, balance = keys(file), file.balance
    pre_v = (chip.pre_discharge_v or PRE_DELTA_V) if file.parts.pre_discharge else None
    return memory.Settings(
        cells=file.cells_in_series,
        shunt_ohm=chip.shunt_ohm,
        unit_ma=unit_ma(file),
        crc=chip.crc,
        temps=file.thermistor.count,
        fet_temp=chip.fet_thermistor,
        thermistor_180k=THERMISTORS[_thermistor(file)],
        over_v=chip.over_v,
        over_ms=chip.over_s * 1e3,
        under_v=chip.under_v,
        under_ms=chip.under_s * 1e3,
        charge_a=chip.charge_a,
        charge_ms=chip.charge_s * 1e3,
        discharge_a=chip.discharge_a,
        discharge_ms=chip.discharge_s * 1e3,
        short_a=chip.short_a,
        short_us=chip.short_s * 1e6,
        hot_charge_c=chip.hot_charge_c,
        hot_discharge_c=chip.hot_discharge_c,
        hot_fet_c=chip.hot_fet_c,
        hot_die_c=chip.hot_die_c,
        hot_s=chip.hot_s,
        recovery_s=chip.recovery_s,
        predischarge_v=pre_v,
        precharge_v=(chip.precharge_v[0], chip.precharge_v[1]) if chip.precharge_v else None,
        body_diode_a=chip.body_diode_a,
        balance_cells=balance.cells_at_once if balance else 1,
        balance_die_c=balance.board_c_max if balance else 70.0,
    )


def fields(file: PackFile) -> dict[str, int]:
    """Return address, CRC, and the scales of current and charge."""
    unit = unit_ma(file)
    ua, uas = memory.ua_per_code(unit), memory.uas_per_code(unit)
    return {
        "chip_address": keys(file).address,
        "chip_crc": int(keys(file).crc),
        "ua_num": ua.numerator,
        "ua_den": ua.denominator,
        "charge_num": uas.numerator,
        "charge_den": uas.denominator,
    }


def tables(file: PackFile) -> dict[str, list[int]]:
    """Return what the driver writes into the chip's data memory."""
    return {"chip_memory": memory.table(memory.memory(settings(file)))}


def explain(pack_rules: list[Rule], file: PackFile) -> list[str]:
    """Return scale and ages, and each of the chip's own limits as it applies it."""
    unit = Fraction(unit_ma(file))
    full_a = memory.ADC_FULL_V / keys(file).shunt_ohm
    lines = [
        f"current: {float(unit):g} mA a code, +-{full_a:g} A; cells 1 mV a code, stack and "
        "terminals 10 mV, temperatures 0.1 degC",
        f"oldest sample: current {bq76952.AGE_CURRENT_MS} ms, cells {bq76952.AGE_CELL_MS} ms, "
        f"stack, terminals and temperatures {bq76952.AGE_FULL_MS} ms",
    ]
    for limit, asked in _limits(file):
        try:
            applied = limit.apply(asked).value
        except ValueError:
            continue
        if limit.after:
            lines[-1] += f", after {applied:g} s (asked for {asked:g})"
        else:
            side = "above" if limit.side > 0 else "below"
            lines.append(f"its own limit, no processor needed: {side} {applied:.6g} {limit.unit} "
                         f"(asked for {asked:g})")  # fmt: skip
    return lines
