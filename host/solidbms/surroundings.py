"""What a scenario says of cells, load, charger and heat: the keys that `plant.drive` plays."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from solidbms.model import Model, NonNegative, Positive, TempC

Fraction = Annotated[float, Field(ge=0, le=1)]
Percent = Annotated[float, Field(ge=0, le=100)]
Factor = Annotated[float, Field(gt=0, le=100)]
Current = Annotated[float, Field(ge=-2000, le=2000)]
Strength = Annotated[float, Field(gt=0, le=2000)]  # of a current, or a voltage
Ohm = Annotated[float, Field(ge=1e-6, le=1e9)]
Index = Annotated[int, Field(ge=0)]  # of a cell, from 0 at the minus end


class Start(Model):
    """How the pack begins; `soc` is the truth, `saved_*` what the firmware finds saved.

    Factors: what age has made of every cell. branch: of a cell with hysteresis, -1 discharged to
    1 charged.
    """

    soc: Fraction
    temp_c: TempC
    capacity_factor: Factor = 1.0
    r_factor: Factor = 1.0
    branch: Annotated[float, Field(ge=-1, le=1)] = 0.0
    t_ms: Annotated[int, Field(ge=0, lt=1 << 30)] = 0
    saved_soc_pct: Percent | None = None
    saved_bound_pct: Percent = 100.0


class Span(Model):
    """Something that lasts."""

    from_s: NonNegative
    until_s: Positive

    @model_validator(mode="after")
    def _ordered(self) -> Span:
        if self.until_s <= self.from_s:
            raise ValueError("until_s after from_s is valid")
        return self


class Spread(Model):
    """How far cells of a pack differ: evenly within +- so many per cent (of SoC: points)."""

    capacity_pct: Percent = 0.0
    r_pct: Percent = 0.0
    soc_pct: Percent = 0.0
    seed: Annotated[int, Field(ge=0)] | None = None  # of the run where it is not given


class OneCell(Model):
    """A cell that is not like the others; no spread applies to what stands here."""

    cell: Index
    soc: Fraction | None = None
    temp_c: TempC | None = None
    capacity_factor: Factor | None = None
    r_factor: Factor | None = None


class Output(Model):
    """What always lies across the terminals, behind the FETs."""

    capacitance_uf: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    leak_ohm: Ohm | None = None


class Load(Span):
    """What the load asks for: a measured profile or a constant current, discharge negative; or a
    resistor, which draws from the terminals whatever feeds them."""

    profile: str | None = None
    scale: Factor = 1.0
    current_a: Current | None = None
    ohm: Ohm | None = None
    obeys: bool = False  # keeps within the limits that the pack announces
    # Peak of what a motor's PWM adds, a cosine of simulated time.
    ripple_a: Annotated[float, Field(ge=0, le=2000)] = 0.0
    ripple_hz: Annotated[float, Field(ge=20, le=1e6)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Load:
        if [self.profile, self.current_a, self.ohm].count(None) != 2:
            raise ValueError("one of profile, current_a and ohm is valid")
        if self.ripple_a and self.ripple_hz is None:
            raise ValueError("ripple_a with ripple_hz is valid")
        return self


class Charge(Span):
    """A CC-CV charger. stop_a: it ends below this current; without, it holds cv_v for good."""

    cc_a: Strength
    cv_v: Strength
    stop_a: Positive | None = None
    obeys: bool = True  # keeps within the current that the pack announces
    heeds_inhibit: bool = True  # its enable input works


class Heat(Span):
    """Heat from outside or within: into `cell`, each cell, the FETs, or the front end's board."""

    w: Annotated[float, Field(ge=-1e4, le=1e4)]
    cell: Index | None = None
    at: Literal["cells", "fets", "board"] = "cells"

    @model_validator(mode="after")
    def _placed(self) -> Heat:
        if self.cell is not None and self.at != "cells":
            raise ValueError("cell or at is valid")
        return self


class Short(Span):
    """A dendrite: a resistor within a cell.

    dip_mv: while charging it also makes contact for a second now and then, and the cell dips by
    up to so much. r0_factor: what the cell's R0 is multiplied by.
    """

    cell: Index
    ohm: Ohm
    dip_mv: Annotated[float, Field(ge=0, le=1000)] = 0.0
    r0_factor: Factor = 1.0


class Gap(Span):
    """Voids at a cell's interface: R1 grows while charging, and heals.

    In the span it grows by pct_per_h at the cell's charge limit for its temperature, with the
    square of current over limit, up to pct_max; at rest `heals_pct` of it goes, at 25 degC with a
    time constant of heal_h.
    """

    cell: Index
    pct: NonNegative = 0.0  # at from_s
    pct_per_h: NonNegative
    pct_max: NonNegative = 300.0
    heals_pct: Percent = 70.0
    heal_h: Positive = 6.0
