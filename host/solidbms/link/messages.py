"""What the frames of the link mean: payloads to dataclasses, by the firmware's declarations."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TypeAlias

from bms.core import rules as R
from bms.core.status import FIELDS
from bms.core.switch import REQUESTS, STATES
from bms.links import framing as L
from bms.links.news import EVENTS

NAMES: tuple[str, ...] = FIELDS
_WORD = 30  # rows a word of Status' acted_*
# The same words as in events.csv: what a row that acts is called goes by its level.
_ACTED = EVENTS.index("acted")
_RECOVER = EVENTS.index("recover")
_REQUEST = (EVENTS.index("request"), EVENTS.index("refused"))


@dataclass(frozen=True)
class Hello:
    """What a pack tells of itself: firmware, board, pack, slot, reset, boot, limits to draw."""

    schema: int
    info: dict[str, str]


@dataclass(frozen=True)
class Status:
    """One Status; `words` by the names that core/status.py declares, in their units."""

    words: dict[str, int]

    def __getitem__(self, name: str) -> int:
        return self.words[name]

    @property
    def state(self) -> str:
        """One of switch.STATES."""
        return STATES[self.words["state"]]

    def acted(self, level: int) -> list[str]:
        """Return the ids of the rows of a level (rules.NOTE, WARN, TRIP) that stand."""
        bits = self.words["acted_low"] | self.words["acted_high"] << _WORD
        rows = enumerate(R.ROWS)
        return [row[R.ID] for k, row in rows if bits >> k & 1 and row[R.LEVEL] == level]


@dataclass(frozen=True)
class Cells:
    """Every cell and every temperature, as read."""

    uv: tuple[int, ...]
    mdegc: tuple[int, ...]


@dataclass(frozen=True)
class Event:
    """Something that happened; `kind` and `detail` as in events.csv.

    Beside those: `lost`, some events that did not come through (their count).
    """

    t_ms: int
    kind: str
    detail: str
    number: int


@dataclass(frozen=True)
class Trace:
    """One tick of a rig: the Frame's words and the digest."""

    frame: tuple[int, ...]
    digest: int


@dataclass(frozen=True)
class Reply:
    """What became of a request or question: `result` is one of framing.RESULTS."""

    seq: int
    code: int
    result: str


Message: TypeAlias = Hello | Status | Cells | Event | Trace | Reply


def decode(kind: int, payload: bytes) -> Message | None:
    """Return the message of a frame, None for what is none; HELLO comes in parts, see `Port`."""
    if kind == L.STATUS and len(payload) == 4 * len(NAMES):
        words = dict(zip(NAMES, _words(payload), strict=True))
        return Status(words) if 0 <= words["state"] < len(STATES) else None
    if kind == L.CELLS and len(payload) >= 2:
        words = _words(payload[2:])
        cells = payload[0]
        if len(words) == cells + payload[1]:
            return Cells(words[:cells], words[cells:])
    if kind == L.EVENT and len(payload) == 9:
        return _event(*struct.unpack("<iHBH", payload))
    if kind == L.TRACE and len(payload) >= 8:
        *words, digest = _words(payload)
        return Trace(tuple(words), digest)
    if kind == L.REPLY and len(payload) == 3 and payload[2] < len(L.RESULTS):
        return Reply(payload[0], payload[1], L.RESULTS[payload[2]])
    return None


def _words(payload: bytes) -> tuple[int, ...]:
    return struct.unpack_from(f"<{len(payload) // 4}i", payload)


def _event(t_ms: int, number: int, kind: int, argument: int) -> Event | None:
    detail = ""
    try:
        word = EVENTS[kind]
        if kind == 0:
            detail = f"{STATES[argument & 0xFF]}->{STATES[argument >> 8]}"
        elif kind in (_ACTED, _RECOVER):
            row = R.ROWS[argument]
            detail = row[R.ID]
            word = R.LEVELS[row[R.LEVEL]] if kind == _ACTED else word
        elif kind in _REQUEST:
            detail = REQUESTS[argument]
    except IndexError:
        return None
    return Event(t_ms, word, detail, number)
