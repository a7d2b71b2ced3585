"""docs/safety.md, written by code from docs/safety.json, which campaigns fill.

`python -m solidbms.safety [campaign.json ...]` takes in the campaigns named and writes both files.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from bms.core import rules

from solidbms.campaign.command import pack_crc
from solidbms.campaign.judge import COVERED, NOT_COVERED
from solidbms.explain import absent_lines, ledger_lines
from solidbms.packc import Compiled, compile_pack
from solidbms.schema import ROOT, BadInput, shown

DATA = ROOT / "docs" / "safety.json"
PAGE = ROOT / "docs" / "safety.md"
HEAD = """\
# Safety evidence

Written by code (`make campaign`); do not edit. What each pack lacks and what stands in, each
single fault tried on the whole firmware through the chip models, and how long every rule took at
the gate pin beside its promise.

What this is not: nothing here was measured on silicon or on real cells. Sensors, chips, FETs and
cells are models (`host/solidbms/plant`), broken one fault at a time (`hil/faults`), and judged by
the world's own log of pins and readings, never by what the firmware says of itself.

**Beyond the list**, found in trials of robot_14s outside the campaign, and not covered:

- what is wrong from the first start on, as nothing is kept from the one before: a current read at
  0.65 of what it is looks like aged cells (110 A went on for 2 min), all thermistors 25 K low like
  cold ones (69 degC under load);
- an end cell, three from the nearest sensor, that heats steadily while the current stands still:
  at 12 W it came to 71 degC while charging, to 74 degC under 15 A, and no rule told; one that
  takes an hour to grow hot under a driving load came to 69 degC, the answers' slow mean following;
- a thermistor of the MOSFETs that is stuck: 60 A through the body diode of an open charge FET is
  48 W that nobody sees;
- a cell that reads 0.25 V low, less than `stack_odd` can tell among 14: fuller than the others, it
  was charged to 4.5 V.

**Single faults.** Each is tried at rest, under a load in steps and while charging, each of them
cold, mild and hot, with {seeds} seeds: state of charge, currents, moment, which cell or sensor.
*Told after* runs from the fault, or from what can show it (a step of current, the gates' opening),
to the rule; *gate after* to the gate pin. Beside each stands what is allowed: the detection time
that the list of single faults starts from, plus the rule's promise. *By itself*: the front end
opened a FET before the firmware did.

**Time contract.** Promise from the crossing to the gate pin = signal age + delay + shed + 2 ticks.
*Worst* is the reaction nearest to it, or furthest past it, of all runs in which the rule acted.
"""


def take(paths: list[Path]) -> None:
    """Write both files with these campaigns taken in; BadInput for one that cannot be."""
    data: dict[str, Any] = {}
    if DATA.is_file():
        data = json.loads(DATA.read_text(encoding="ascii"))
    for path in paths:
        try:
            found = json.loads(path.read_text(encoding="ascii"))
            whole = found["whole"] and not found["quick"]
            name = found["pack"]
        except (OSError, ValueError, KeyError, TypeError):
            raise BadInput(f"{shown(path)}: no campaign; what `campaign` wrote is valid") from None
        if not whole:
            raise BadInput(f"{shown(path)}: a part of a campaign; a whole one is valid")
        runs = found.pop("runs")
        found["count"] = len(runs)
        found["seeds"] = 1 + max((r["seed"] for r in runs if r["condition"] and r["case"]),
                                 default=0)  # fmt: skip
        data[name] = {k: v for k, v in found.items() if k not in ("quick", "whole")}
    text = json.dumps(data, indent=1, sort_keys=True)
    DATA.write_text(text + "\n", encoding="ascii")
    PAGE.write_text(page(json.loads(text)), encoding="ascii")  # in the order that it is kept in


def page(data: dict[str, Any]) -> str:
    """Return docs/safety.md."""
    seeds = max((found["seeds"] for found in data.values()), default=0)
    parts = [HEAD.format(seeds=seeds)]
    parts += [_pack(compile_pack(name), data[name]) for name in sorted(data)]
    return "\n".join(parts)


def stale(name: str, found: dict[str, Any]) -> bool:
    """Return whether a pack has changed since its campaign."""
    return pack_crc(compile_pack(name)) != found["crc"]


def _pack(compiled: Compiled, found: dict[str, Any]) -> str:
    file, cell = compiled.file, compiled.cell
    lines = [f"## {file.name}", "", f"{file.about[:1].upper()}{file.about[1:]}.", "",
             f"Made by `{found['command']}`, {found['count']} runs; pack CRC {found['crc']}.",
             "", "### Ledger", ""]  # fmt: skip
    lines += [f"- {line}" for line in ledger_lines(file, cell, compiled.rules)]
    lines += ["", "### Single faults", "", *_faults(found["faults"]), ""]
    lines += ["### Not covered", "", *_not_covered(found["faults"]), ""]
    lines += ["### What all runs showed", "", *_overall(found), ""]
    lines += ["### Time contract, ms", "", *_rules(compiled, found["rules"]), ""]
    lines += [f"- {line.strip()}" for line in absent_lines(file)]
    return "\n".join(lines) + "\n"


def _faults(faults: dict[str, Any]) -> list[str]:
    lines = [
        "| single fault | tried as | told by | told after, s | allowed | gate after, s | allowed "
        "| covered | by itself |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, fault in sorted(faults.items(), key=lambda item: (item[1]["row"], item[0])):
        conditions = fault["conditions"]
        if not conditions:
            continue
        good = {c: x for c, x in conditions.items() if x["verdict"] == COVERED}
        by = sorted({rule for x in good.values() for rule in x["by"]})
        runs = sum(x["runs"] for x in conditions.values())
        chip = sum(x["chip"] for x in conditions.values())
        lines.append(
            f"| {fault['row']} | `{name}`: {fault['about']} | {', '.join(by) or '-'} "
            f"| {_worst(good, 'detect_ms', 'allowed_ms')} "
            f"| {_worst(good, 'gate_ms', 'gate_allowed_ms')} "
            f"| {_where(conditions, good)} | {f'{chip} of {runs}' if chip else '-'} |"
        )
    return lines


def _worst(cells: dict[str, Any], key: str, allowed: str) -> str:
    """Return the time nearest to what is allowed for it, and that."""
    found = [x for x in cells.values() if x[key] is not None]
    if not found:
        return "- | -"
    worst = max(found, key=lambda x: x[key] - x[allowed])
    return f"{worst[key] / 1000:.2f} | {worst[allowed] / 1000:.2f}"


def _where(conditions: dict[str, Any], good: dict[str, Any]) -> str:
    if len(good) == len(conditions):
        return "everywhere"
    if not good:
        return "nowhere"
    return ", ".join(_grouped(list(good), list(conditions)))


def _grouped(names: list[str], among: list[str]) -> list[str]:
    """Return conditions, those of an activity in one word where all of it are there."""
    found: list[str] = []
    for name in names:
        activity = name.split()[0]
        every = [n for n in among if n.split()[0] == activity]
        word = activity if all(n in names for n in every) else name
        if word not in found:
            found.append(word)
    return found


def _not_covered(faults: dict[str, Any]) -> list[str]:
    lines = []
    for name, fault in sorted(faults.items()):
        if fault["missing"]:
            lines.append(f"- `{name}`: not tried: {fault['missing']}")
        reasons: dict[str, list[str]] = {}
        for condition, x in fault["conditions"].items():
            if x["verdict"] == NOT_COVERED:
                why = x["why_not"]
                if x["found"]:
                    why += (f" (told in {x['found']} of {x['runs']} runs, after up to "
                            f"{x['detect_ms'] / 1000:.0f} s)")  # fmt: skip
                reasons.setdefault(why, []).append(condition)
            elif x["verdict"] != COVERED:
                why = f"MISSED: told in {x['found']} of {x['runs']} runs, or late"
                reasons.setdefault(why, []).append(condition)
        for why, conditions in reasons.items():
            where = ", ".join(_grouped(conditions, list(fault["conditions"])))
            lines.append(f"- `{name}`, {where}: {why}")
    return lines or ["- nothing"]


def _overall(found: dict[str, Any]) -> list[str]:
    shifts = found["shifts"]
    trips = ", ".join(shifts["trips"]) or "no trip"
    lines = [
        f"- without a fault: {shifts['hours']:g} simulated hours of shifts in {shifts['runs']} "
        f"seeds, -10 to 45 degC: {trips}; warned: {', '.join(shifts['warns']) or 'nothing'}",
        f"- load dropped without its notice, acted before the fault, firmware died: "
        f"{len(found['wrong']) or 'never'} in {found['count']} runs",
        *(f"  - {line}" for line in found["wrong"]),
    ]
    for key, look in sorted(found["past"].items()):
        lines.append(
            f"- longest past the cell's {key} {look['limit']:g} with its current flowing: "
            f"{look['past_ms'] / 1000:.2f} s, at worst {look['worst']:.3f} ({look['run']})"
        )
    return lines


def _rules(compiled: Compiled, measured: dict[str, Any]) -> list[str]:
    lines = ["| rule | level | path | age | delay | shed | promise | worst | its promise | runs |",
             "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"]  # fmt: skip
    for rule in compiled.rules:
        row = rule.row
        m = measured.get(rule.id)
        worst = f"{m['measured_ms']} | {m['promise_ms']} | {m['runs']}" if m else "- | - | 0"
        lines.append(
            f"| {rule.id} | {rules.LEVELS[row[rules.LEVEL]]} | {rules.PATHS[row[rules.PATH]]} "
            f"| {rule.age_ms} | {rule.delay_ms} | {rule.shed_ms} "
            f"| {rule.promise_ms(compiled.file.tick_ms)} | {worst} |"
        )
    return lines


if __name__ == "__main__":
    try:
        take([Path(name) for name in sys.argv[1:]])
    except BadInput as error:
        sys.exit(str(error))
