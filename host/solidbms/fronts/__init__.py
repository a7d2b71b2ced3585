"""Front ends as the host knows them: one file a chip, one row of `FRONTS` each.

The firmware's half is `bms/drivers/CHIP.py`, the chip itself `plant/chips/CHIP.py`. `Front` says
what a file here offers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Protocol

from pydantic import Field

from solidbms.fronts import bq76952, ina228

if TYPE_CHECKING:
    from solidbms.faults import Senses
    from solidbms.packrules import Rule
    from solidbms.schema import PackFile
    from solidbms.world import Plant

FrontEnd = Annotated[ina228.Keys | bq76952.Keys, Field(discriminator="chip")]

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
    REGISTERS: frozenset[str]  # signals that its registers show, see `seen`

    @staticmethod
    def lacks(file: PackFile) -> tuple[int, ...]:
        """Return the signals (`bms.core.plausible`) that it never gives."""
        ...

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

    @staticmethod
    def seen(signal: str, words: list[int], pack: Any) -> int | None:
        """Return one of REGISTERS in firmware units out of `Circuit.shows`; None if not to be had.

        pack: the loaded blob.
        """
        ...

    def Circuit(self, file: PackFile) -> Circuit:  # noqa: N802 - a class as attribute
        """Return the chip of a simulated board."""
        ...


class Circuit(Protocol):
    """A chip model between plant and bus."""

    WORDS: int  # how many `shows` returns
    LONGEST: int  # bytes that its driver reads at once
    FAULTS: tuple[str, ...]  # kinds of `faults.KINDS["chip"]` that it has
    chip: Any  # the model itself
    address: int
    # FETs that the chip lets conduct: 1 charge, 2 discharge, 4 pre-discharge, 8 pre-charge. One
    # conducts only if its pin allows it, too.
    drives: int
    bleeds: int  # bit k: the resistor across cell k draws current

    @property
    def alert(self) -> bool:
        """Whether its alert pin stops the dead-man."""
        ...

    def pins(self, gates: int) -> None:
        """Take what the gate pins allow now: 1 charge, 2 discharge."""
        ...

    def advance(self, now_us: int, plant: Plant, senses: Senses) -> None:
        """Convert what the plant shows, as faults let it be seen, up to now_us."""
        ...

    def read(self, register: int, length: int) -> bytes:
        """Answer a register read, byte for byte as on the bus."""
        ...

    def write(self, register: int, data: bytes) -> None:
        """Take a register write."""
        ...

    def fault(self, kind: str, comes: bool, value: float) -> None:
        """Let one of FAULTS come or go."""
        ...

    def shows(self) -> tuple[int, ...]:
        """Return what the registers hold now, for `Front.seen`; no more than 32 bits each."""
        ...


FRONTS: dict[str, Any] = {"ina228": ina228, "bq76952": bq76952}


def front(file: PackFile) -> Front:
    """Return the front end of a pack."""
    return FRONTS[file.front_end.chip]
