"""docs/formats.md, written from the declarations: `python -m solidbms.formats > docs/formats.md`.

tests/host/test_formats.py holds the file against them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from bms.core import (
    bound,
    capacity,
    filter,
    frame,
    limits,
    outlook,
    plausible,
    protect,
    rules,
    scale,
    soc,
    spread,
    status,
    switch,
)
from bms.links import framing, news

from solidbms.record import MAGIC, VERSION

TEXT = """# Formats

Written by `python -m solidbms.formats`; change that, or the declaration it reads.
Charge current is positive. Units are in the names: `_uv` microvolt, `_ua` microampere, `_uas`
microampere second, `_mdegc` thousandth of a degC, `_ms` millisecond, `_ppm` millionth.

Every run leaves in its directory:

## ticks.bin

The integer record, little-endian:

| bytes | what |
| --- | --- |
| 4 | `{magic}` |
| 3 x 4 | version ({version}), size of the header, size of the pack |
| | header: JSON, UTF-8; `names` has the name of every word of a tick, `part.field` |
| | the compiled pack, as the firmware loaded it |
| | ticks, each `len(names)` signed 32-bit integers |

The parts of a tick, in order: Frame, signals, rules, switch, SoC, limits, Status, and the running
hash (CRC-32 over all words of the tick, chained, low 30 bits). Frame is the only input of the
core: feeding the frames to `bms.core.core.Core` gives the rest again. A tick cut short at the end
of the file is left out by every reader.

**Frame** (`frame.`), then `cellN_uv` and `tempN_mdegc`: {frame}.
Bits of `flags`: 1 voltages valid, 2 current valid, 4 charge valid, 8 load gone, 16 code and pack
checked, 32 front end identified and configured, 64 a feature was lost, 256 << N temperature N
valid, 65536 the dead-man holds open what is commanded closed, 131072 gate path and pins tested,
262144 the front end's own limits acted.

**Signals** (`signal.`): {signals}. `trust` has a bit a signal, in this order.

**Rules** (`rule.ID.`): `phase` ({phases}), `timer_ms`, `shed_ms` since it acted. IDs: {rules}.

**Switch** (`switch.`): {switch}. States by number: {states}.
Requests (`frame.req_code`) by number: {requests}.

**SoC** (`soc.`): {soc}.
Of its parts: the filter (`filter.`): {filter}, where `_high` and `_low` make one number, 30 bits
in the low word; the scale on resistance (`scale.`): {scale}; the bound (`bound.`): {bound}; where
there are several cells each cell's difference (`spread.`): {spread}, with the number of the cell;
the capacity (`capacity.`): {capacity}.

**Outlook** (`outlook.`): {outlook}.

**Limits** (`limit.`): {limits}.

**Status** (`status.`):

| field | what |
| --- | --- |
{status}

## trace.csv

One row a second: the first tick of it.

| column | what |
| --- | --- |
| `t_s` | from 0 |
| `state` | by name |
| `trips` | IDs of the trip rows that stand, separated by spaces |
| `soc_pct`, `soc_bound_pct` | SoC, and how far it may be off |
| `pack_v`, `current_a` | |
| `cell_min_v`, `cell_max_v`, `temp_min_c`, `temp_max_c` | as believed |
| `chg_on`, `dsg_on` | gates |
| `charge_limit_a`, `discharge_limit_a` | announced |
| `shed_left_s` | until the cut, empty when nothing is shed |
| `warns`, `notes` | IDs, as `trips` |
| `true_soc_pct`, `true_temp_c` | from the plant, or the cycler |

## events.csv

`t_ms,event,detail`; `t_ms` from 0, unwrapped.

| event | detail |
| --- | --- |
| `boot` | the pack's name |
| `state` | `off->on` |
| `gate` | `chg=0 dsg=1` |
| `fets` | what conducts, where the front end has a say: `chg=0 dsg=1 pre-dsg=0 pre-chg=0` |
| `fuse` | `blown` |
| `note`, `warn`, `trip` | ID of the row that acted |
| `recover` | ID of the row that is clear again |
| `request` | {request_words} |
| `refused` | a `close` that a trip refused |
| `fault` | name of the injected fault; `NAME over` when it ends |
| `reset` | the front end was found reset or changed |
| `rest` | SoC was corrected at rest: the new SoC |
| `said` | what the firmware wrote to its console |
| `feature lost` | something after the gates failed |
| `end` | the last state |

## summary.json

| key | what |
| --- | --- |
| `scenario`, `kind`, `target`, `pack`, `cell`, `seed` | what ran; `kind` is `run` or `replay` |
| `simulated_s`, `wall_s`, `ticks`, `hash` | how long, and the last hash |
| `placeholders` | the limits of the cell's file are placeholders ([identify](identify.md)) |
| `interrupted` | ended by Ctrl-C; everything up to then is kept |
| `verdict` | `pass`, `fail` or `interrupted`; a replay that went through is `scored` |
| `expected` | list of `what`, `ok`, `got` |
| `soc` | `rmse_pct`, `max_pct`, `end_pct`, `bound_held`, `bound_held_pct`, `bound_max_pct`, |
| | `bound_end_pct`, `scored_from_s`: estimate against truth once a second, from its start |
| `soc_later` | the same from 20 minutes on (replay) |
| `trips` | every time a row acted: `rule`, `level`, `path`, `signal`, `limit` (firmware units), |
| | `crossed_ms` (last tick inside), `acted_ms`, `gate_ms`, `promise_ms`, `measured_ms`, |
| | `shed_ms` |
| `limits` | what the report draws: V, A, degC |

## link

What a pack and a host say to each other, over a board's USB serial port or a simulation's TCP
port (`link.json` in its directory says which, while it runs). Frames are stuffed as in RFC 1662,
section 4.2: flag 0x7E before and after; 0x7D, 0x7E and every byte below 0x20 as 0x7D and the byte
xor 0x20. Within: version ({link_version}), type, sequence, payload of at most {payload_max} bytes,
and the CRC-32 of all these, little-endian. Whatever is no frame is passed over.

| from the pack | payload |
| --- | --- |
| `H` HELLO | schema (4): CRC-32 over the names below; part, of; text: `key=value` lines |
| `S` STATUS | every word of Status; on every change of state, gates or rows, and in between |
| `C` CELLS | number of cells, of temperatures; uV, mdegC |
| `E` EVENT | `t_ms` (4), number (2), kind (1), argument (2) |
| `T` TRACE | a tick: every word of the Frame, and the hash; rig builds, when asked for |
| `R` REPLY | the sequence it answers, code, result: {results} |

| to the pack | payload: code (1), argument (4) |
| --- | --- |
| `Q` REQUEST | a request by number; the same again within 2 s acts once |
| `A` ASK | of the link: 0 hello, 1 ms between two Status, 2 trace on, 3 off, 4 go (rig builds) |
| `I` INJECT | a fault by number (rig builds), or 255: a current in mA (simulations) |

Kinds of event: {events}.

## pack.bin

The compiled pack: see `firmware/bms/core/pack.py`.
"""


def formats() -> str:
    """Return docs/formats.md."""

    def listed(names: Iterable[str]) -> str:
        return ", ".join(f"`{name}`" for name in names)

    def numbered(names: tuple[str, ...]) -> str:
        return ", ".join(f"{k} {name}" for k, name in enumerate(names))

    return TEXT.format(
        magic=MAGIC.decode(),
        version=VERSION,
        frame=listed(frame.FIELDS),
        signals=listed(plausible.FIELDS),
        phases=numbered(protect.PHASES),
        rules=listed(row[rules.ID] for row in rules.ROWS),
        switch=listed(switch.FIELDS),
        states=numbered(switch.STATES),
        requests=numbered(switch.REQUESTS),
        request_words=", ".join(f"`{word}`" for word in switch.REQUESTS[1:]),
        soc=listed(soc.FIELDS),
        filter=listed(filter.FIELDS),
        scale=listed(scale.FIELDS),
        bound=listed(bound.FIELDS),
        spread=listed(spread.FIELDS),
        capacity=listed(capacity.FIELDS),
        outlook=listed(outlook.FIELDS),
        limits=listed(limits.FIELDS),
        link_version=framing.VERSION,
        payload_max=framing.PAYLOAD_MAX,
        results=numbered(framing.RESULTS),
        events=numbered(news.EVENTS),
        status="\n".join(f"| `{name}` | {what} |" for name, what in _explained(status)),
    )


def _explained(module: ModuleType) -> list[tuple[str, str]]:
    """Return every name of a module's FIELDS and the comment beside it."""
    source = Path(module.__file__ or "").read_text(encoding="ascii")
    found = re.findall(r'^    "(\w+)",  # (.+)$', source, re.MULTILINE)
    assert [name for name, _ in found] == list(module.FIELDS), "a word without its comment"
    return found


if __name__ == "__main__":
    sys.stdout.write(formats())
