"""ticks.bin: the integer record of a run, a header and then every tick's words.

Layout in docs/formats.md. The header holds the names of all words and the compiled pack, so that
a record alone can be replayed, compared and read.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from bms.core import (
    balance,
    bound,
    capacity,
    cellstep,
    cellwatch,
    charging,
    filter,
    gatewatch,
    limits,
    outlook,
    plausible,
    scale,
    selfcheck,
    soc,
    status,
    switch,
    thermal,
)
from bms.core.core import Core
from bms.core.pack import Pack
from numpy.typing import NDArray

from solidbms.schema import BadInput, shown

MAGIC = b"SBTK"
VERSION = 1


def part_names(core: Core) -> list[tuple[str, list[str]]]:
    """Return (part, names of its words) for every array of `Core.parts`, in their order."""
    named: list[tuple[str, Sequence[str]]] = [
        ("frame", core.frame.names()),
        ("signal", plausible.FIELDS),
        ("rule", core.rules.names()),
        ("switch", switch.FIELDS),
        ("gate", gatewatch.FIELDS),
        ("cell", cellwatch.FIELDS),
        ("each", core.cellwatch.names()),
        ("step", cellstep.FIELDS),
        ("stepped", core.cellstep.names()),
        ("thermal", thermal.FIELDS),
        ("sensor", core.thermal.names()),
        ("charging", charging.FIELDS),
        ("check", selfcheck.FIELDS),
        ("soc", soc.FIELDS),
        ("filter", filter.FIELDS),
        ("scale", scale.FIELDS),
        ("bound", bound.FIELDS),
        ("spread", core.soc.spread.names()),
        ("capacity", capacity.FIELDS),
        ("outlook", outlook.FIELDS),
        ("limit", limits.FIELDS),
        ("balance", balance.FIELDS),
        ("status", status.FIELDS),
    ]
    return [(part, list(names)) for part, names in named]


def column_names(pack: Pack) -> list[str]:
    """Return the name of every word of a tick: `part.field`, and last `hash`."""
    parts = part_names(Core(pack))
    return [f"{part}.{name}" for part, names in parts for name in names] + ["hash"]


class Writer:
    """Writes the record of a run; what was written stays readable if the run ends early."""

    def __init__(self, path: Path, blob: bytes, meta: dict[str, Any]) -> None:
        """meta: goes into the header beside names; must be the same for equal runs."""
        self.names = column_names(Pack(blob))
        self.tick_bytes = 4 * len(self.names)
        header = json.dumps({**meta, "names": self.names}, sort_keys=True).encode()
        self.file: BinaryIO = path.open("wb", buffering=1 << 20)
        self.file.write(MAGIC + struct.pack("<III", VERSION, len(header), len(blob)))
        self.file.write(header + blob)
        self.ticks = 0

    def add(self, tick: bytes) -> None:
        """Append one tick."""
        self.file.write(tick)
        self.ticks += 1

    def close(self) -> None:
        """Write out what is buffered."""
        self.file.close()


@dataclass(frozen=True)
class Record:
    """A record read back: `words` has a row a tick and a column a name."""

    meta: dict[str, Any]
    blob: bytes
    names: list[str]
    words: NDArray[np.int32]

    def __getitem__(self, name: str) -> NDArray[np.int32]:
        """Return one word over all ticks."""
        return self.words[:, self._columns[name]]

    @cached_property
    def _columns(self) -> dict[str, int]:
        return {name: k for k, name in enumerate(self.names)}

    @cached_property
    def elapsed_ms(self) -> NDArray[np.int64]:
        """Time of every tick since the first, unwrapped."""
        t = self["frame.t_ms"].astype(np.int64)
        step = np.diff(t, prepend=t[:1]) & 0x3FFFFFFF
        step[step >= 0x20000000] -= 0x40000000
        return np.cumsum(step)


def read(path: Path) -> Record:
    """Read ticks.bin; BadInput when it is not one. A tick cut short at the end is left out."""
    if path.is_dir():
        path = path / "ticks.bin"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{shown(path)}: {error.strerror}; a run's directory is valid") from None
    if len(data) < 16 or data[:4] != MAGIC:
        raise BadInput(f"{shown(path)}: not a record of a run (no SBTK header)")
    version, header_size, blob_size = struct.unpack_from("<III", data, 4)
    start = 16 + header_size + blob_size
    if version != VERSION or len(data) < start:
        raise BadInput(f"{shown(path)}: record cut or of another version than {VERSION}")
    try:
        meta = json.loads(data[16 : 16 + header_size])
        names = meta.pop("names")
        names.index("hash")
    except (ValueError, TypeError, KeyError, AttributeError):
        raise BadInput(f"{shown(path)}: header damaged; a record as written is valid") from None
    count = (len(data) - start) // (4 * len(names))
    words = np.frombuffer(data, np.dtype("<i4"), count * len(names), start)
    return Record(meta, data[16 + header_size : start], names, words.reshape(count, len(names)))
