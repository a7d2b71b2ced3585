"""INA228: what packc, explain and world need to know of it. Driver: bms/drivers/ina228.py."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, Literal

from bms.core import plausible, rules
from bms.drivers import ina228
from pydantic import Field

from solidbms.model import Amps, Model
from solidbms.plant.chips.ina228 import CURRENT, VBUS, Ina228

if TYPE_CHECKING:
    from solidbms.faults import Senses
    from solidbms.packrules import Rule
    from solidbms.schema import PackFile
    from solidbms.world import Plant

CHIP = 0
SEES_LOAD = ina228.SEES_LOAD
READS_TEMPS = False
REGISTERS = frozenset(("cell_max_uv", "cell_min_uv", "pack_uv", "charge_ua", "discharge_ua"))
UA_NUM_MAX = 2000  # 20-bit code times this fits 31 bits
BUS_STEP_UV = 195.3125  # a code of VBUS, SLYS021A table 8-1
BUS_FULL_V = 85.0
DEVICE_ID = 0x3F
ALL_FETS = 0xF
# Signals made of its readings.
SHOWN = (
    plausible.CELL_MAX_UV, plausible.CELL_MIN_UV, plausible.CHARGE_UA, plausible.DISCHARGE_UA,
    plausible.CHARGE_OVER_UA, plausible.WELD_MS, plausible.LEAK_MS, plausible.OFFSET_UA,
    plausible.ODD_STEPS, plausible.ANSWER_PPM, plausible.CHARGE_TIME_MS, plausible.OVERCHARGE_MS,
    plausible.FROZEN_MS,
)  # fmt: skip


class Keys(Model):
    """`[front_end]` of a pack."""

    chip: Literal["ina228"]
    address: Annotated[int, Field(ge=0x40, le=0x4F)] = 0x40
    shunt_ohm: Annotated[float, Field(ge=1e-4, le=1)]
    simulated: bool = False  # the board simulates chip and cell: nothing is wired
    # The chip's own limits: its alert pin stops the dead-man without the processor.
    alert_charge_a: Amps | None = None
    alert_discharge_a: Amps | None = None
    alert_over_v: Annotated[float, Field(gt=0, le=100)] | None = None


def keys(file: PackFile) -> Keys:
    """Return the `[front_end]` of a pack that has this chip."""
    assert isinstance(file.front_end, Keys)
    return file.front_end


def lacks(file: PackFile) -> tuple[int, ...]:
    """Return what it does not see: terminals, FETs, a short circuit; it has no clock to read."""
    return (
        plausible.FET_MDEGC, plausible.BOARD_MDEGC, plausible.SHORTS, plausible.FET_OPEN_MS,
        plausible.CHG_HELD_MS, plausible.DSG_HELD_MS, plausible.CLOCK_PPM,
    )  # fmt: skip


def age_ms(signal: int, file: PackFile) -> int:
    """Return the age of a reading; temperatures come from an ADC pin, at once."""
    return ina228.AGE_MS if signal in SHOWN else 0


def errors(pack_rules: list[Rule], file: PackFile) -> list[str]:
    """Return what the chip with this shunt cannot do."""
    full_a = ina228.SHUNT_FULL_UV * 1e-6 / file.front_end.shunt_ohm
    found = [
        f"rules.{rule.id}.limit_a: below {full_a:g} is valid, where the INA228 with this "
        f"shunt ends, not {rule.limit * 1e-6:g}"
        for rule in pack_rules
        if rule.signal in ("charge_ua", "discharge_ua") and rule.limit * 1e-6 >= full_a
    ]
    found += _alert_errors({rule.id: rule for rule in pack_rules}, file, full_a)
    if file.cells_in_series != 1:
        found.append("cells_in_series: 1 is valid for front_end.chip ina228")
    if ua_per_code(file) is None:
        found.append("front_end.shunt_ohm: 0.0002 to 1 in steps that make a short fraction")
    return found


def _alert_errors(by_id: dict[str, Rule], file: PackFile, full_a: float) -> list[str]:
    """The chip's own limits lie beyond the rules': a rule warns, clears and tells why."""
    found = []
    for key, name, scale, most in (
        ("alert_charge_a", "charge_oc", 1e-6, full_a),
        ("alert_discharge_a", "dsg_oc", 1e-6, full_a),
        ("alert_over_v", "cell_ov", 1e-6 * file.cells_in_series, BUS_FULL_V),
    ):
        value = getattr(keys(file), key)
        if value is None or name not in by_id:
            continue
        least = by_id[name].limit * scale
        if not least < value < most:
            found.append(f"front_end.{key}: above {least:g} (rules.{name}) and below {most:g} "
                         f"is valid, not {value:g}")  # fmt: skip
    return found


def ua_per_code(file: PackFile) -> Fraction | None:
    """Return uA per current code as a fraction that multiplies within 31 bits, or None."""
    uohm = round(file.front_end.shunt_ohm * 1e6)
    if not uohm:
        return None
    exact = Fraction(ina228.SHUNT_STEP_PV, uohm)
    near = exact.limit_denominator(max(1, int(UA_NUM_MAX / max(exact, 1))))
    if near.numerator > UA_NUM_MAX or not near or abs(near / exact - 1) > 1e-3:
        return None
    return near


def alert_codes(file: PackFile) -> dict[str, tuple[int, float]]:
    """Return the chip's own limits: register code, and the A or V that it really applies.

    The step below what the pack asks for; a limit that it does not ask for is out of reach.
    """
    chip = keys(file)
    steps = {
        "charge": (chip.alert_charge_a, ina228.SHUNT_LIMIT_UV * 1e-6 / chip.shunt_ohm, 1),
        "discharge": (chip.alert_discharge_a, ina228.SHUNT_LIMIT_UV * 1e-6 / chip.shunt_ohm, -1),
        "over": (chip.alert_over_v, ina228.BUS_LIMIT_UV * 1e-6, 1),
    }
    codes = {}
    for name, (asked, step, sign) in steps.items():
        code = ina228.LIMIT_MAX if asked is None else min(int(asked / step), ina228.LIMIT_MAX)
        codes[name] = (sign * code, code * step)
    return codes


def fields(file: PackFile) -> dict[str, int]:
    """Return address, scale of the current, and the chip's own limits."""
    ua = ua_per_code(file)
    assert ua is not None
    return {
        "chip_address": file.front_end.address,
        "ua_num": ua.numerator,
        "ua_den": ua.denominator,
        "simulated": int(keys(file).simulated),
        **{f"alert_{name}": code for name, (code, _) in alert_codes(file).items()},
    }


def tables(file: PackFile) -> dict[str, list[int]]:
    """Return none."""
    return {}


def explain(pack_rules: list[Rule], file: PackFile) -> list[str]:
    """Return scale and age, the first reading past each limit, and the alert pin's limits."""
    lines = []
    ua = ua_per_code(file)
    if ua is not None:
        full_a = ina228.SHUNT_FULL_UV * 1e-6 / file.front_end.shunt_ohm
        lines.append(
            f"current: {float(ua):g} uA a code, +-{full_a:g} A; voltage: {BUS_STEP_UV:g} uV a "
            f"code; oldest sample {ina228.AGE_MS} ms"
        )
        lines += _quantised(pack_rules, float(ua))
    units = {"charge": "A of charge", "discharge": "A of discharge", "over": "V"}
    for name, (_, applied) in alert_codes(file).items():
        key = "alert_over_v" if name == "over" else f"alert_{name}_a"
        asked = getattr(keys(file), key)
        if asked is not None:
            lines.append(
                f"alert pin, no processor needed: above {applied:.6g} {units[name]} (asked for "
                f"{asked:g}); the gates drop within {ina228.AGE_MS} ms of it"
            )
    return lines


def _quantised(pack_rules: list[Rule], ua: float) -> list[str]:
    """Return, for limits between two codes, the first reading that is past them."""
    volt = (BUS_STEP_UV, 1e6, "V")
    current = (ua, 1e6, "A")
    steps = {plausible.CELL_MAX_UV: volt, plausible.CELL_MIN_UV: volt,
             plausible.CHARGE_UA: current, plausible.DISCHARGE_UA: current}  # fmt: skip
    lines = []
    for rule in pack_rules:
        if rule.row[rules.SIGNAL] not in steps:
            continue
        step, factor, unit = steps[rule.row[rules.SIGNAL]]
        side = rule.row[rules.SIDE]
        code = int(rule.limit // step) + (1 if side > 0 else 0)
        while side < 0 and int(code * step) >= rule.limit:
            code -= 1
        lines.append(
            f"{rule.id}: limit {rule.limit / factor:g}, first reading past it "
            f"{code * step / factor:.6g} {unit}"
        )
    return lines


class Circuit:
    """The chip before a plant: the cell at VBUS, the shunt at its inputs. See `fronts.Circuit`."""

    WORDS = 2  # of `shows`: VBUS and CURRENT, as codes
    LONGEST = 5
    FAULTS = ("reset", "wrong_chip", "stuck")
    drives = ALL_FETS  # it drives none: each is as its pin says
    bleeds = 0

    def __init__(self, file: PackFile) -> None:
        self.chip = Ina228(file.front_end.address)
        self.address = self.chip.address
        self.write = self.chip.write
        self._shunt_ohm = file.front_end.shunt_ohm
        self._wrong = False

    @property
    def alert(self) -> bool:
        """Whether the alert pin is active: it stops the dead-man."""
        return self.chip.alert_active

    def pins(self, gates: int) -> None:
        """Take what the gate pins allow: nothing to this chip."""

    def advance(self, now_us: int, plant: Plant, senses: Senses) -> None:
        """Convert what the plant shows up to now_us."""
        bus_v, current_a, mean_a = plant.bus_v, plant.current_a, plant.mean_a
        if senses:
            shown_a = senses.shown("current_a", current_a)
            mean_a += shown_a - current_a
            current_a = shown_a
            bus_v = senses.shown("reference", senses.shown("cell_v", bus_v, 0))
            if senses.has("cell_wire", "open", 0):
                bus_v = 0.0
        ohm = self._shunt_ohm
        self.chip.advance(now_us, current_a * ohm, bus_v, plant.die_c, mean_a * ohm)

    def read(self, register: int, length: int) -> bytes:
        """Answer a register read."""
        if self._wrong and register == DEVICE_ID:
            return b"\x23\x80"[:length]  # of an INA238
        return self.chip.read(register, length)

    def fault(self, kind: str, comes: bool, value: float) -> None:
        """Let one of FAULTS come or go."""
        if kind == "wrong_chip":
            self._wrong = comes
        elif kind == "stuck":
            self.chip.frozen = {"vbus", "current", "dietemp", "charge"} if comes else set()
        elif comes:
            self.chip.power_on_reset()

    def shows(self) -> tuple[int, ...]:
        """Return what the registers hold now."""
        read = self.chip.read
        volt = int.from_bytes(read(VBUS, 3), "big") >> 4
        return volt, int.from_bytes(read(CURRENT, 3), "big", signed=True) >> 4


def seen(signal: str, words: list[int], pack: Any) -> int | None:
    """Return one of REGISTERS in firmware units, as `Circuit.shows` had it."""
    volt, current = words
    if signal.endswith("_uv"):
        return volt * 3125 // 16
    ua = current * pack.ua_num // pack.ua_den
    return ua if signal == "charge_ua" else -ua
