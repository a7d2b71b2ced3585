"""What the rows on gates, cells, heat and charging need of a pack, and which a pack does without.

What the pack does not say follows from its cell and its rules.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from bms.core import plausible as P
from bms.core import rules

from solidbms.fronts import front
from solidbms.schema import CellFile, PackFile

if TYPE_CHECKING:
    from solidbms.packrules import Rule

SERIES = (P.PACK_UV, P.SPREAD_UV, P.WIRE_UV, P.STACK_PPM, P.SAG_UV, P.R_LOW_PPM,
          P.R_HIGH_PPM)  # fmt: skip
PAST_GATES = (P.WELD_MS, P.LEAK_MS, P.OFFSET_UA)
HEADROOM_V = 0.05  # limits keep cells this far inside the trips


def absent(row: tuple[Any, ...], file: PackFile, reports: bool = False) -> str | None:
    """Return why a pack does without a row, None where it must have it.

    reports: its gates only report and do not isolate.
    """
    signal = row[rules.SIGNAL]
    if reports and signal in PAST_GATES:
        return "current flows on past open gates"
    if signal in SERIES and file.cells_in_series == 1:
        return "one cell has no neighbour"
    if signal == P.SPREAD_MDEGC and file.thermistor.count == 1:
        return "there is one sensor"
    if row[rules.LEVEL] == rules.BURN and not file.parts.commanded_fuse:
        return "there is no fuse that firmware can blow"
    if signal == P.PRE_MS and not file.parts.pre_discharge:
        return "there is no pre-discharge"
    if signal in front(file).lacks(file):
        return f"a front end {file.front_end.chip} does not see it"
    return None


def fields(file: PackFile, cell: CellFile, pack_rules: list[Rule]) -> dict[str, int]:
    """Return the blob's fields for gates, cells, heat, charging and balancing."""
    limit = {rule.id: rule.limit for rule in pack_rules}
    ah = cell.capacity.ah
    watch, charging, balance = file.watch, file.charging, file.balance
    lacks = front(file).lacks(file)
    room_uv = round(HEADROOM_V * 1e6)
    full_v = charging.full_v or cell.limits.v_max - HEADROOM_V
    weld_a = watch.weld_a or max(file.charger_a, 2 * file.soc.offset_error_a)
    heat = cell.thermal
    return {
        "has_fet": int(P.FET_MDEGC not in lacks),
        "has_board": int(P.BOARD_MDEGC not in lacks),
        "pre_discharge": int(file.parts.pre_discharge),
        "weld_ua": round(weld_a * 1e6),
        "vds_uv": round(watch.vds_v * 1e6),
        "quiet_ua": round((watch.quiet_a or ah / 50) * 1e6),
        "heat_mj_per_k": max(1, round(heat.heat_capacity_j_per_k * 1e3)),
        "cool_tau_s": max(1, round(heat.heat_capacity_j_per_k / heat.to_ambient_w_per_k)),
        "sensor_tau_ms": max(1, round(watch.sensor_tau_s * 1e3)),
        "full_uv": round(full_v * 1e6),
        "taper_ua": round((charging.taper_a or ah / 20) * 1e6),
        "refill_uv": round((charging.refill_v or full_v - 0.1) * 1e6),
        "precharge_uv": round((charging.precharge_v or cell.limits.v_min) * 1e6),
        "precharge_ma": round((charging.precharge_a or ah / 20) * 1e3),
        "high_uv": limit["cell_ov"] - room_uv // 5,
        "low_uv": limit["cell_uv"] + room_uv,
        "balance_cells": balance.cells_at_once if balance else 0,
        "balance_start_uv": round(balance.start_mv * 1e3) if balance else 0,
        "balance_from_uv": round(balance.from_v * 1e6) if balance else 0,
        "balance_board_mdegc": round(balance.board_c_max * 1e3) if balance else 0,
    }


def answer_ohm(cell: CellFile, row: int, after_s: float) -> float:
    """Return how far a cell answers a current after a time, at a temperature and its worst SoC.

    row: of the cell's resistance table.
    """
    table = cell.resistance
    fast = 1 - math.exp(-after_s / table.tau1_s)
    slow = 1 - math.exp(-after_s / table.tau2_s)
    ohms = zip(table.r0_ohm[row], table.r1_ohm[row], table.r2_ohm[row], strict=True)
    return max(r0 + r1 * fast + r2 * slow for r0, r1, r2 in ohms)
