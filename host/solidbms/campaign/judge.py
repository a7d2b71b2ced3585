"""Holds what the runs showed against what may be expected of a pack."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from solidbms.campaign.cases import Case
from solidbms.packc import Compiled
from solidbms.packrules import Rule

_REFUSED = {"rule": "no gate closes", "ms": 0, "allowed_ms": 0, "gate_ms": None,
            "gate_allowed_ms": None, "ok": True}  # fmt: skip
COVERED, NOT_COVERED, MISSED = "covered", "not covered", "missed"


def detection(result: dict[str, Any], case: Case, compiled: Compiled) -> dict[str, Any] | None:
    """Return how a run's fault was found: {rule, ms, allowed_ms, gate_ms, gate_allowed_ms, ok}.

    Times from the fault, or from the opening that shows it. None where no rule of the case acted.
    """
    if not case.single.closes:
        return None if result["closed"] else _REFUSED
    start_ms = result["open_ms"] if case.single.opening else result["onset_ms"]
    by_id = {rule.id: rule for rule in compiled.rules}
    acted = [t for t in result["trips"] if t["rule"] in case.single.by]
    if not acted:
        return None
    found = [_found(t, start_ms, by_id[t["rule"]], case, compiled)
             for t in sorted(acted, key=lambda t: t["acted_ms"])]  # fmt: skip
    return next((d for d in found if d["ok"]), found[0])


def _found(
    trip: dict[str, Any], start_ms: int, rule: Rule, case: Case, compiled: Compiled
) -> dict[str, Any]:
    gate_allowed_ms = case.allowed_ms(rule.id, compiled)
    ms = trip["acted_ms"] - start_ms
    gate_ms = None if trip["gate_ms"] is None else max(trip["gate_ms"] - start_ms, 0)
    ok = ms <= gate_allowed_ms - rule.shed_ms
    if trip["level"] == "trip":
        # A cut is judged by its pin: hardware (the dead-man) may be quicker than its row.
        ok = ok or rule.shed_ms == 0
        ok = ok and gate_ms is not None and gate_ms <= gate_allowed_ms
    return {
        "rule": rule.id,
        "ms": ms,
        "allowed_ms": gate_allowed_ms - rule.shed_ms,
        "gate_ms": gate_ms,
        "gate_allowed_ms": gate_allowed_ms,
        "ok": ok,
    }


def by_condition(
    results: Iterable[dict[str, Any]], case: Case, compiled: Compiled
) -> dict[str, dict[str, Any]]:
    """Return by condition what all seeds of a case came to; the worst of each figure."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        groups[result["condition"]].append(result)
    return {name: _cell(name, group, case, compiled) for name, group in groups.items()}


def _cell(
    condition: str, group: list[dict[str, Any]], case: Case, compiled: Compiled
) -> dict[str, Any]:
    found = [detection(result, case, compiled) for result in group]
    seen = [d for d in found if d is not None]
    why_not = case.why_not(condition, compiled)
    if all(d is not None and d["ok"] for d in found):
        verdict = COVERED
    else:
        verdict = MISSED if why_not is None else NOT_COVERED
    others = {t["rule"] for r in group for t in r["trips"]} - set(case.single.by)
    past: dict[str, int] = {}
    for result in group:
        for key, look in result["truth"].items():
            if look["past_ms"]:
                past[key] = max(past.get(key, 0), look["past_ms"])
    worst = max(seen, key=lambda d: d["ms"], default=None)
    gates = [d for d in seen if d["gate_ms"] is not None]
    late = max(gates, key=lambda d: d["gate_ms"], default=None)
    return {
        "verdict": verdict,
        "runs": len(group),
        "found": len(seen),
        "by": sorted({d["rule"] for d in seen}),
        "detect_ms": worst and worst["ms"],
        "allowed_ms": worst and worst["allowed_ms"],
        "gate_ms": late and late["gate_ms"],
        "gate_allowed_ms": late and late["gate_allowed_ms"],
        "others": sorted(others),
        "why_not": why_not if verdict == NOT_COVERED else None,
        "chip": sum(r["chip_ms"] is not None for r in group),
        "past_ms": past,
    }


def wrong(results: Iterable[dict[str, Any]]) -> list[str]:
    """Return what no run of a campaign may show, a line each: acting before the fault, a load
    dropped without notice, a firmware that died."""
    lines = []
    for r in results:
        where = f"{r['case'] or 'no fault'}, {r['condition']}, seed {r['seed']}"
        if r["early"]:
            lines.append(f"{where}: acted before the fault: {', '.join(r['early'])}")
        for drop in r["drops"]:
            lines.append(
                f"{where}: load dropped at {drop['t_ms'] / 1000:g} s with {drop['notice_ms']} ms "
                f"of {drop['shed_ms']} ms notice ({', '.join(drop['rules']) or 'no rule'})"
            )
        if r["died"]:
            lines.append(f"{where}: firmware died: {r['died']}")
    return lines


def reactions(results: Iterable[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Return by rule its worst reaction at the pin: {runs, measured_ms, promise_ms}."""
    worst: dict[str, dict[str, int]] = {}
    for result in results:
        for trip in result["trips"]:
            ms = trip["measured_ms"]
            if ms is None:
                continue
            entry = worst.setdefault(
                trip["rule"], {"runs": 0, "measured_ms": 0, "promise_ms": trip["promise_ms"]}
            )
            entry["runs"] += 1
            # By its own promise: with gates open ticks are longer.
            if ms - trip["promise_ms"] > entry["measured_ms"] - entry["promise_ms"] or (
                entry["runs"] == 1
            ):
                entry |= {"measured_ms": ms, "promise_ms": trip["promise_ms"]}
    return worst
