"""What cell, pack, scenario and fault files may say; all errors of a file at once, one a line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from solidbms.fronts import FrontEnd
from solidbms.model import Amps, Model, Name, NonNegative, Positive, Table, TempC

ROOT = Path(__file__).resolve().parents[2]
BOARDS = ROOT / "boards"
HIL = ROOT / "hil"


class BadInput(Exception):
    """Input that cannot be used; one line a problem: file, key, what would be valid."""


class Capacity(Model):
    """`ah`: what SoC counts in. Optional: charge from full to the least voltage by temperature."""

    ah: Annotated[float, Field(gt=0, le=250)]
    temp_c: list[TempC] | None = None
    usable_ah: list[Annotated[float, Field(gt=0, le=250)]] | None = None

    @model_validator(mode="after")
    def _paired(self) -> Capacity:
        _as_many(self.temp_c, usable_ah=self.usable_ah)
        _rising("temp_c: ", self.temp_c or ())
        return self


class Ocv(Model):
    """OCV at 25 degC over SoC; where it depends on the way, `v` is the middle of both branches.

    Charged long enough the cell rests at v + hysteresis_v, discharged at v - hysteresis_v. Between
    them it moves with the charge: from one to the other over `hysteresis_soc`, turning anywhere.
    `off_v`: what OCV lies above `v` at each of resistance.temp_c. Lists run over `soc`.
    """

    soc: list[float]
    v: list[Annotated[float, Field(ge=0, le=6)]]
    hysteresis_v: list[Annotated[float, Field(ge=0, le=0.5)]] | None = None
    hysteresis_soc: Annotated[float, Field(gt=0, le=1)] | None = None
    off_v: list[list[Annotated[float, Field(ge=-0.5, le=0.5)]]] | None = None

    @model_validator(mode="after")
    def _paired(self) -> Ocv:
        _as_many(self.soc, hysteresis_v=self.hysteresis_v or self.soc)
        for row in self.off_v or ():
            _as_many(self.soc, off_v=row)
        if self.hysteresis_v and not self.hysteresis_soc:
            raise ValueError("hysteresis_soc is valid beside hysteresis_v")
        return self


def _as_many(first: Sequence[Any] | None, **others: Sequence[Any] | None) -> None:
    for name, values in others.items():
        if len(first or ()) != len(values or ()):
            raise ValueError(f"{name}: {len(first or ())} values are valid, as many as beside it, "
                             f"not {len(values or ())}")  # fmt: skip


def _rising(where: str, temps: Sequence[float]) -> None:
    if any(b <= a for a, b in pairwise(temps)):
        raise ValueError(f"{where}rising temperatures are valid")


class Resistance(Model):
    soc: list[float]
    temp_c: list[float]
    r0_ohm: list[list[Positive]]
    r1_ohm: list[list[Positive]]
    r2_ohm: list[list[Positive]]
    tau1_s: Positive
    tau2_s: Positive
    activation_r0_k: NonNegative
    activation_rc_k: NonNegative
    # A slow loss under load, by temp_c: a first-order lag of I / (|I| + sag_a), times this.
    sag_v: list[Annotated[float, Field(ge=0, le=1)]] | None = None
    sag_a: Positive | None = None
    sag_tau_s: Positive | None = None

    @model_validator(mode="after")
    def _paired(self) -> Resistance:
        if self.sag_v:
            _as_many(self.temp_c, sag_v=self.sag_v)
            if not (self.sag_a and self.sag_tau_s):
                raise ValueError("sag_a and sag_tau_s are valid beside sag_v")
        return self


class Thermal(Model):
    heat_capacity_j_per_k: Positive
    to_ambient_w_per_k: Positive
    to_neighbour_w_per_k: NonNegative = 0.0  # between the faces of two cells in a stack


class CellLimits(Model):
    v_max: Annotated[float, Field(gt=0, le=6)]
    v_min: Annotated[float, Field(gt=0, le=6)]
    charge_a_max: Amps
    discharge_a_max: Amps
    charge_temp_min_c: float
    charge_temp_max_c: float
    discharge_temp_min_c: float
    discharge_temp_max_c: float
    placeholders: bool = False  # nobody has looked them up yet


class Accuracy(Model):
    """What the file leaves open: of OCV, and of voltage under load by temperature (mV RMS)."""

    ocv_mv: Annotated[float, Field(gt=0, le=1000)]  # `ocv.v` alone, rested, at any temperature
    ocv_by_temp_mv: Annotated[float, Field(gt=0, le=1000)] | None = None  # with `ocv.off_v`
    temp_c: list[TempC] | None = None
    residual_mv: list[Annotated[float, Field(gt=0, le=1000)]] | None = None

    @model_validator(mode="after")
    def _paired(self) -> Accuracy:
        _as_many(self.temp_c, residual_mv=self.residual_mv)
        _rising("temp_c: ", self.temp_c or ())
        return self


class FilterTables(Model):
    """The cell as the estimator sees it, where a fit of its own serves it better than the plant's.

    Rows by temp_c. V = ocv_v over ocv_soc + R0 I + a lag of tau1_s of R1 I and one of tau2_s of
    R2 I, R over soc. residual_mv: what that leaves of voltage under load, ocv_error_mv: of rested
    OCV, both RMS. Hysteresis and the activation of R, between rows too, are those of [ocv] and
    [resistance].
    """

    temp_c: Annotated[list[TempC], Field(min_length=1)]
    soc: Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=2)]
    r0_ohm: list[list[Positive]]
    r1_ohm: list[list[Positive]]
    r2_ohm: list[list[Positive]]
    tau1_s: Positive
    tau2_s: Positive
    ocv_soc: Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=2)]
    ocv_v: list[list[Annotated[float, Field(ge=0, le=6)]]]
    residual_mv: list[Annotated[float, Field(gt=0, le=1000)]]
    ocv_error_mv: list[Annotated[float, Field(gt=0, le=1000)]]

    @model_validator(mode="after")
    def _paired(self) -> FilterTables:
        rows = {k: getattr(self, k) for k in ("r0_ohm", "r1_ohm", "r2_ohm", "ocv_v")}
        _as_many(self.temp_c, **rows, residual_mv=self.residual_mv, ocv_error_mv=self.ocv_error_mv)
        for key, table in rows.items():
            for row in table:
                _as_many(self.ocv_soc if key == "ocv_v" else self.soc, **{key: row})
        for key in ("temp_c", "soc", "ocv_soc"):
            values = getattr(self, key)
            if any(b <= a for a, b in pairwise(values)):
                raise ValueError(f"{key}: rising values are valid")
        return self


CHEMISTRIES = ("nmc", "nca", "lfp", "lmfp", "lco", "lmo", "lto", "lnmo", "sodium")
PLACEHOLDERS = "placeholders, no wider than what was measured: put in those of its data sheet"


class CellFile(Model):
    """boards/cells/NAME.toml: one cell, each number with its source beside it."""

    name: Name
    chemistry: str  # in words, with one of CHEMISTRIES among them
    sources: list[str]
    capacity: Capacity
    ocv: Ocv
    resistance: Resistance
    thermal: Thermal
    limits: CellLimits
    accuracy: Accuracy
    filter: FilterTables | None = None

    @field_validator("chemistry")
    @classmethod
    def _known(cls, words: str) -> str:
        if not re.search(rf"(?i)\b({'|'.join(CHEMISTRIES)})\d*\b", words):
            raise ValueError(f"words with one of {', '.join(CHEMISTRIES)} among them are valid")
        return words

    @model_validator(mode="after")
    def _rows(self) -> CellFile:
        if self.ocv.off_v:
            _as_many(self.resistance.temp_c, **{"ocv.off_v": self.ocv.off_v})
        return self


class Thermistor(Model):
    count: Annotated[int, Field(ge=1, le=8)] = 1
    r25_ohm: Positive
    beta_k: Positive
    pullup_ohm: Positive


class Fets(Model):
    rds_on_ohm: Positive
    body_diode_v: Positive
    # of the small FETs beside them, with their resistors, where a front end drives such
    pre_discharge_ohm: Positive = 100.0
    pre_charge_ohm: Positive = 100.0


class Parts(Model):
    """Protection parts that the pack has; what is not named is missing."""

    fuse: bool = False
    commanded_fuse: bool = False
    charger_inhibit: bool = False
    second_protector: bool = False
    comparators: bool = False
    second_fets: bool = False
    thermistor_per_cell: bool = False
    pre_discharge: bool = False
    ideal_diode: bool = False
    dead_man: bool = False


class SocKeys(Model):
    gain_error_pct: Annotated[float, Field(ge=0, le=10)]
    capacity_error_pct: Annotated[float, Field(ge=0, le=10)]
    offset_error_a: Annotated[float, Field(ge=0, le=1)]
    ocv_error_mv: Annotated[float, Field(gt=0, le=1000)] | None = None
    rest_a: Amps | None = None
    rest_s: Annotated[float, Field(ge=60, le=86400)]
    rest_cold_s: Annotated[float, Field(ge=60, le=86400)]


class Charging(Model):
    """Ends of a charge; what is not given follows from cell and rules (packc)."""

    full_v: Annotated[float, Field(gt=0, le=6)] | None = None
    taper_a: Amps | None = None
    refill_v: Annotated[float, Field(gt=0, le=6)] | None = None
    precharge_v: Annotated[float, Field(ge=0, le=6)] | None = None
    precharge_a: Amps | None = None


class Balance(Model):
    """Passive balancing by the front end."""

    cells_at_once: Annotated[int, Field(ge=1, le=8)] = 4
    start_mv: Annotated[float, Field(gt=0, le=100)] = 10.0
    from_v: Annotated[float, Field(ge=0, le=6)]
    bleed_ohm: Positive
    board_c_max: TempC = 70.0


class Watch(Model):
    """What tells a broken gate, sensor or wire; what is not given follows from the pack."""

    weld_a: Amps | None = None
    vds_v: Annotated[float, Field(gt=0, le=5)] = 0.35
    quiet_a: Amps | None = None
    sensor_tau_s: Annotated[float, Field(gt=0, le=600)] = 30.0


class Derating(Model):
    """Pairs of degC and share of the maximum."""

    charge: Table
    discharge: Table

    @field_validator("charge", "discharge")
    @classmethod
    def _shares(cls, table: list[list[float]]) -> list[list[float]]:
        if not all(0 <= share <= 1 for _, share in table):
            raise ValueError("shares from 0 to 1 are valid")
        _rising("", [temp_c for temp_c, _ in table])
        return table


class PackFile(Model):
    """boards/packs/NAME.toml, after its `base` has been merged in."""

    name: Name
    about: str = ""
    use: Literal["bench", "robot", "wearable"]
    cell: str
    cells_in_series: Annotated[int, Field(ge=1, le=400)]  # fewer: its front end
    tick_ms: Annotated[int, Field(ge=20, le=50)]
    idle_tick_ms: Annotated[int, Field(ge=20, le=1000)]
    recover_s: Annotated[float, Field(ge=0.1, le=3600)]
    charger_a: Positive
    charge_a_max: Amps
    discharge_a_max: Amps
    frozen_step_a: Positive
    front_end: FrontEnd
    thermistor: Thermistor
    fets: Fets
    parts: Parts = Parts()
    soc: SocKeys
    derating: Derating
    charging: Charging = Charging()
    balance: Balance | None = None
    watch: Watch = Watch()
    rules: dict[str, dict[str, Any]]


M = TypeVar("M", bound=BaseModel)


def read_toml(path: Path) -> dict[str, Any]:
    """Return a TOML file's table; BadInput names the file and what is wrong with it."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        near = ", ".join(sorted(p.stem for p in path.parent.glob("*.toml"))) or "none"
        raise BadInput(f"{shown(path)}: no such file; there are: {near}") from None
    except UnicodeDecodeError:
        raise BadInput(f"{shown(path)}: not readable as TOML: no UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{shown(path)}: not readable as TOML: {error}") from None
    except OSError as error:
        raise BadInput(f"{shown(path)}: {error.strerror}; a TOML file is valid") from None


def check(model: type[M], data: dict[str, Any], path: Path) -> M:
    """Return the data as a model; BadInput with a line for every error."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        lines = [_line(model, item, path) for item in error.errors()]
        raise BadInput("\n".join(lines)) from None


def find(name: str, folder: Path) -> Path:
    """Return the file of a name: a path to a TOML file, or a name in the folder."""
    return Path(name) if name.endswith(".toml") else folder / f"{name}.toml"


def refer(name: str, folder: Path, where: str) -> Path:
    """Return the file that a key (`where`: file and key) names; BadInput says what there is."""
    found = find(name, folder)
    if not found.is_file():
        near = ", ".join(sorted(p.stem for p in folder.glob("*.toml")))
        raise BadInput(f"{where}: no {folder.name[:-1]} {name!r}; there are: {near}")
    return found


def shown(path: Path) -> str:
    """Return a path as a user knows it: relative to here or to the project."""
    for base in (Path.cwd(), ROOT):
        if path.resolve().is_relative_to(base):
            return str(path.resolve().relative_to(base))
    return str(path)


def _line(model: type[BaseModel], item: Any, path: Path) -> str:
    parts, _ = _walk(model, item["loc"])
    message = item["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    kind, context = item["type"], item.get("ctx", {})
    if kind == "extra_forbidden":
        _, above = _walk(model, item["loc"][:-1])
        message = f"unknown key; valid here: {', '.join(above[0].model_fields if above else ())}"
    elif kind in ("missing", "union_tag_not_found"):
        message = "missing"
    elif kind == "union_tag_invalid":
        message = f"input should be {context['expected_tags']}, not {context['tag']!r}"
    elif kind == "string_pattern_mismatch":
        message = f"letters, digits, _ . - are valid, not {item['input']!r}"
    elif not isinstance(item["input"], dict | list):
        message += f", not {item['input']!r}"
    if kind.startswith("union_tag"):
        parts.append(context["discriminator"].strip("'"))
    return ": ".join(filter(None, (shown(path), ".".join(parts), message)))


def _walk(
    model: type[BaseModel], loc: tuple[Any, ...]
) -> tuple[list[str], list[type[BaseModel]]]:
    """Return the keys of a place in a file, and the models that may stand there.

    pydantic puts the word that chose a model among the keys.
    """
    keys: list[str] = []
    models: list[type[BaseModel]] = [model]
    for part in loc:
        chosen = [m for m in models if len(models) > 1 and part in _words(m)]
        if chosen:
            models = chosen
            continue
        keys.append(str(part))
        field = models[0].model_fields.get(part) if models else None
        if field is not None:
            kinds = (field.annotation, *get_args(field.annotation))
            models = [m for m in kinds if isinstance(m, type) and issubclass(m, BaseModel)]
    return keys, models


def _words(model: type[BaseModel]) -> set[Any]:
    fields = model.model_fields.values()
    return {word for f in fields if get_origin(f.annotation) is Literal
            for word in get_args(f.annotation)}  # fmt: skip
