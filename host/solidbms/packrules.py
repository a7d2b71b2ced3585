"""`[rules.ID]` of a pack: the numbers of each row, and whether they make sense together."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bms.core import plausible, rules

# What a key of `[rules.ID]` is called and scaled by, from the unit of the rule's signal.
UNITS = {"uv": ("_v", 1e6), "ua": ("_a", 1e6), "mdegc": ("_c", 1e3), "ms": ("_s", 1e3),
         "ppm": ("_pct", 1e4), "udegps": ("_k_per_s", 1e6)}  # fmt: skip
COUNT = ("_count", 1.0)
SENSE_MAX_MS = 60000  # limits on lost, frozen or late: within a minute
CHARGE_MAX_MS = 86400000  # a charge: within a day
ODD_STEPS_MAX = 15
Age = Callable[[int], int]  # of a signal, in ms


@dataclass(frozen=True)
class Rule:
    """One row with the pack's numbers, in firmware units."""

    id: str
    row: tuple[Any, ...]
    limit: int
    release: int
    delay_ms: int
    shed_ms: int
    react_ms: int | None
    age_ms: int

    @property
    def signal(self) -> str:
        """Name of the watched signal."""
        return plausible.FIELDS[self.row[rules.SIGNAL]]

    def promise_ms(self, tick_ms: int) -> int:
        """Worst case from the crossing to the gate: age + delay + shed + 2 ticks."""
        return self.age_ms + self.delay_ms + self.shed_ms + 2 * tick_ms


def unit_of(row: tuple[Any, ...]) -> tuple[str, float]:
    """Return (key suffix, factor to firmware units) for the signal of a row."""
    name = plausible.FIELDS[row[rules.SIGNAL]]
    return UNITS.get(name.rsplit("_", 1)[-1], COUNT)


def rules_of(
    tables: Any,
    tick_ms: int,
    age_ms: Age,
    errors: list[str],
    rows: tuple[tuple[Any, ...], ...] = rules.ROWS,
) -> list[Rule]:
    """Return the sound rules of a pack's `[rules]`; what the schema refuses is left out."""
    if not isinstance(tables, dict):
        return []
    known = [row[rules.ID] for row in rules.ROWS]
    for name in sorted(set(tables) - set(known)):
        errors.append(f"rules.{name}: no such rule; there are: {', '.join(known)}")
    found = []
    for row in rows:
        given = tables.get(row[rules.ID], {})
        if isinstance(given, dict):
            before = len(errors)
            rule = _rule(row, given, tick_ms, age_ms(row[rules.SIGNAL]), errors)
            if len(errors) == before:
                found.append(rule)
    return found


def _rule(
    row: tuple[Any, ...], given: dict[str, Any], tick_ms: int, age_ms: int, errors: list[str]
) -> Rule:
    name = row[rules.ID]
    before = len(errors)
    suffix, factor = unit_of(row)
    keys = {"limit" + suffix: factor, "release" + suffix: factor, "delay_s": 1e3}
    if row[rules.SHED] == rules.SHEDS:
        keys["shed_s"] = 1e3
    for key in given:
        if key not in keys and key != "react_s":
            valid = ", ".join([*keys, "react_s"])
            errors.append(f"rules.{name}.{key}: unknown key; valid here: {valid}")
    values = []
    for key, scale in keys.items():
        value = given.get(key)
        if value is None:
            errors.append(f"rules.{name}.{key}: missing")
        elif isinstance(value, bool) or not isinstance(value, int | float):
            errors.append(f"rules.{name}.{key}: a number is valid, not {value!r}")
        elif not math.isfinite(value) or abs(value * scale) >= 1e9:
            errors.append(f"rules.{name}.{key}: below {1e9 / scale:g} is valid, not {value!r}")
        elif key.endswith("_s") and value < 0:
            errors.append(f"rules.{name}.{key}: 0 or more is valid, not {value!r}")
        else:
            values.append(round(value * scale))
            continue
        values.append(0)
    limit, release, delay_ms, *shed = values
    if len(errors) == before and (limit - release) * row[rules.SIDE] < 0:
        word = "at or below" if row[rules.SIDE] > 0 else "at or above"
        errors.append(
            f"rules.{name}.release{suffix}: {word} its limit {limit / factor:g} is valid, "
            f"not {release / factor:g}"
        )
    for key, value in (("delay_s", delay_ms), ("shed_s", shed[0] if shed else 0)):
        if value > 600000:
            errors.append(f"rules.{name}.{key}: 0 to 600 is valid, not {value / 1e3:g}")
    react = given.get("react_s")
    if react is not None and (isinstance(react, bool) or not isinstance(react, int | float)):
        errors.append(f"rules.{name}.react_s: a number is valid, not {react!r}")
        react = None
    rule = Rule(name, row, limit, release, delay_ms, shed[0] if shed else 0,
                None if react is None else round(react * 1e3), age_ms)  # fmt: skip
    promise = rule.promise_ms(tick_ms)
    if rule.react_ms is not None and promise > rule.react_ms:
        errors.append(
            f"rules.{name}.react_s: loop and chip can promise {promise / 1e3:g} or more "
            f"(age {age_ms} ms + delay + shed + 2 ticks), not {react}"
        )
    return rule


def check_sense(pack_rules: list[Rule], errors: list[str]) -> None:
    """What could never trip is an error."""
    for rule in pack_rules:
        suffix, factor = unit_of(rule.row)
        signal = rule.row[rules.SIGNAL]
        most = CHARGE_MAX_MS if signal == plausible.CHARGE_TIME_MS else SENSE_MAX_MS
        if suffix == "_s" and not 0 <= rule.limit <= most:
            errors.append(f"rules.{rule.id}.limit_s: 0 to {most // 1000} is valid, "
                          f"not {rule.limit / factor:g}")  # fmt: skip
        most = ODD_STEPS_MAX if signal == plausible.ODD_STEPS else 0
        if suffix == "_count" and not 0 <= rule.limit <= most:
            valid = f"0 to {most}" if most else "0"
            errors.append(f"rules.{rule.id}.limit_count: {valid} is valid, not {rule.limit}")


def check_order(pack_rules: list[Rule], errors: list[str]) -> None:
    """A note comes before a warning, that before a trip, and that before its cut."""
    for soft in pack_rules:
        suffix, factor = unit_of(soft.row)
        side = soft.row[rules.SIDE]
        level = ("note", "warning", "trip", "cut")[soft.row[rules.LEVEL]]
        for hard in _later(soft, pack_rules):
            past = (soft.limit - hard.limit) * side
            if not past and hard.row[rules.LEVEL] == rules.BURN:
                continue  # its delay comes after the trip's
            if soft.row[rules.LEVEL] < hard.row[rules.LEVEL] and past >= 0:
                errors.append(f"rules.{soft.id}.limit{suffix}: {'below' if side > 0 else 'above'} "
                              f"rules.{hard.id} at {hard.limit / factor:g} is valid: the {level} "
                              f"comes first, not {soft.limit / factor:g}")  # fmt: skip
            elif soft.row[rules.LEVEL] == hard.row[rules.LEVEL] and past >= 0:
                errors.append(f"rules.{hard.id}.limit{suffix}: beyond rules.{soft.id} at "
                              f"{soft.limit / factor:g} is valid: the cut comes "
                              "later")  # fmt: skip


def _later(soft: Rule, pack_rules: list[Rule]) -> list[Rule]:
    """Return the rules of this one's signal and side that must come after it.

    A row of both paths is not held against one of a single path, where it has one of both.
    """
    row = soft.row
    same = [r for r in pack_rules if all(r.row[k] == row[k] for k in (rules.SIGNAL, rules.SIDE))]
    higher = [r for r in same if r.row[rules.LEVEL] > row[rules.LEVEL]]
    path = row[rules.PATH]
    higher = [r for r in higher if r.row[rules.PATH] & path == path] or higher
    sheds = row[rules.LEVEL] == rules.TRIP and row[rules.SHED] == rules.SHEDS
    return higher + [
        r for r in same
        if r.row[rules.LEVEL] == row[rules.LEVEL] and r.row[rules.PATH] & path
        and (r.id == f"{soft.id}_cut"
             or (sheds and r.row[rules.SHED] == rules.CUT and r.row[rules.PATH] & rules.DISCHARGE))
    ]  # fmt: skip
