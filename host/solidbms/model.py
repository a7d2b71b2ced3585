"""What every model of a file is made of: strictness, and the ranges that many keys share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
# Goes into file names, CSV and messages.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
TempC = Annotated[float, Field(ge=-60, le=150)]
Amps = Annotated[float, Field(gt=0, le=1000)]
Pair = Annotated[list[float], Field(min_length=2, max_length=2)]
Table = Annotated[list[Pair], Field(min_length=2)]


class Model(BaseModel):
    """Strict: unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
