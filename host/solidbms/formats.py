"""docs/formats.md, written from the declarations: `python -m solidbms.formats > docs/formats.md`.

tests/host/test_formats.py holds the file against them.
"""

from __future__ import annotations

import sys

from bms.core import frame, limits, plausible, protect, rules, soc, status, switch

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
valid.

**Signals** (`signal.`): {signals}. `trust` has a bit a signal, in this order.

**Rules** (`rule.ID.`): `phase` ({phases}), `timer_ms`, `shed_ms` since it acted. IDs: {rules}.

**Switch** (`switch.`): {switch}. States by number: {states}.
Requests (`frame.req_code`) by number: {requests}.

**SoC** (`soc.`): {soc}.

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
| `interrupted` | ended by Ctrl-C; everything up to then is kept |
| `verdict` | `pass` or `fail`; a replay that went through is `scored` |
| `expected` | list of `what`, `ok`, `got` |
| `soc` | `rmse_pct`, `max_pct`, `end_pct`, `bound_held`, `bound_held_pct`, `bound_max_pct`, |
| | `bound_end_pct`, `scored_from_s`: estimate against truth once a second, from its start |
| `soc_later` | the same from 20 minutes on (replay) |
| `trips` | every time a row acted: `rule`, `level`, `path`, `signal`, `limit` (firmware units), |
| | `crossed_ms` (last tick inside), `acted_ms`, `gate_ms`, `promise_ms`, `measured_ms`, |
| | `shed_ms` |
| `limits` | what the report draws: V, A, degC |

## pack.bin

The compiled pack: see `firmware/bms/core/pack.py`.
"""


def formats() -> str:
    """Return docs/formats.md."""

    def listed(names: object) -> str:
        return ", ".join(f"`{name}`" for name in names)  # type: ignore[attr-defined]

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
        limits=listed(limits.FIELDS),
        status="\n".join(f"| `{name}` | {what} |" for name, what in status.FIELDS),
    )


if __name__ == "__main__":
    sys.stdout.write(formats())
