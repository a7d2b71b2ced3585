"""Front ends as the host knows them: one file a chip, one row of `FRONTS` each.

The firmware's half is `bms/drivers/CHIP.py`, the chip itself `plant/chips/CHIP.py`. `Front` says
what a file here offers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from solidbms.fronts import ina228

if TYPE_CHECKING:
    from solidbms.packc import Rule
    from solidbms.schema import PackFile

FrontEnd = ina228.Keys

# Fields of the blob that not every chip has.
UNUSED = dict.fromkeys(
    (
        "simulated", "alert_charge", "alert_discharge", "alert_over", "chip_crc", "charge_num",
        "charge_den",
    ),
    0,
)  # fmt: skip


class Front(Protocol):
    """One chip. `file` is a pack whose `[front_end]` names it."""

    CHIP: int  # its number in the blob, see bms.drivers.front
    SEES_LOAD: bool  # it tells when nothing hangs on the terminals any more
    READS_TEMPS: bool  # the thermistors hang on it, not on ADC pins

    @staticmethod
    def age_ms(signal: int, file: PackFile) -> int:
        """Return how old the oldest part of a signal (`bms.core.plausible`) is when it shows."""
        ...

    @staticmethod
    def errors(pack_rules: list[Rule], file: PackFile) -> list[str]:
        """Return what chip and shunt cannot do, as `key: what would be valid`."""
        ...

    @staticmethod
    def fields(file: PackFile) -> dict[str, int]:
        """Return the blob's fields that are this chip's (`bms.core.pack.FIELDS`).

        For a pack without errors.
        """
        ...

    @staticmethod
    def tables(file: PackFile) -> dict[str, list[int]]:
        """Return the blob's tables that are this chip's, likewise."""
        ...

    @staticmethod
    def explain(pack_rules: list[Rule], file: PackFile) -> list[str]:
        """Return what the chip makes of the pack's numbers, a line each."""
        ...


FRONTS: dict[str, Any] = {"ina228": ina228}


def front(file: PackFile) -> Front:
    """Return the front end of a pack."""
    return FRONTS[file.front_end.chip]
