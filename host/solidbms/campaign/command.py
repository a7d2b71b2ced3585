"""A whole campaign of one pack: what to run, and campaign.json."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import EISDIR
from pathlib import Path
from typing import Any
from zlib import crc32

from solidbms.campaign import judge, one, pool, shifts, stimuli
from solidbms.campaign.build import Spec
from solidbms.campaign.cases import cases
from solidbms.packc import Compiled
from solidbms.schema import BadInput, shown

SEEDS = 3
FILE = "campaign.json"


def all_specs(pack: str, compiled: Compiled, quick: bool) -> list[Spec]:
    """Return every run of a campaign; quick: a condition a fault, one short shift."""
    found = []
    for k, case in enumerate(cases().values()):
        if case.missing(compiled.file) is not None:
            continue
        conditions, seeds = case.conditions, SEEDS
        if quick:
            told = tuple(c for c in conditions if case.why_not(c, compiled) is None) or conditions
            conditions, seeds = (told[k % len(told)],), 1
        found += [Spec(pack, case.name, c, s) for c in conditions for s in range(seeds)]
    found += [Spec(pack, stimuli.PREFIX + name, "", 0) for name in stimuli.names(compiled)]
    return found + (shifts.specs(pack, 1, 0.1) if quick else shifts.specs(pack))


def campaign(
    pack: str, out: Path, quick: bool, jobs: int, progress: Callable[[int, int, str], None]
) -> dict[str, Any]:
    """Run a campaign and write OUT/campaign.json; BadInput for a bad pack or directory."""
    compiled = one.compiled_pack(pack)
    specs = all_specs(pack, compiled, quick)
    path = out / FILE
    fresh = path.with_suffix(".new")

    def keep(results: list[dict[str, Any]], whole: bool) -> dict[str, Any]:
        found = summary(pack, compiled, results)
        found |= {"quick": quick, "whole": whole, "runs": results}
        with _writing(out):
            fresh.write_text(json.dumps(found, indent=1) + "\n", encoding="ascii")
            fresh.replace(path)
        return found

    with _writing(out):
        out.mkdir(parents=True, exist_ok=True)
        fresh.write_text("", encoding="ascii")
        if path.is_dir():
            raise IsADirectoryError(EISDIR, f"{FILE}: Is a directory")
    return keep(*pool.run_all(specs, jobs, progress, lambda results: keep(results, False)))


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadInput(
            f"{shown(out)}: --out: {error.strerror}; a directory you can write to is valid"
        ) from None


def pack_crc(compiled: Compiled) -> str:
    """Return what tells whether a campaign was made of the pack as it is."""
    return f"{crc32(compiled.blob[:-4]):08x}"  # with its own CRC behind, every blob has the same


def summary(pack: str, compiled: Compiled, results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what docs/safety.json holds of a campaign."""
    by_case: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        by_case[result["case"]].append(result)
    faults = {}
    for name, case in cases().items():
        faults[name] = {
            "row": case.single.row,
            "about": case.about,
            "by": case.single.by,
            "missing": case.missing(compiled.file),
            "conditions": judge.by_condition(by_case[name], case, compiled),
        }
    free = by_case[""]
    return {
        "pack": pack,
        "crc": pack_crc(compiled),
        "command": f"solidbms campaign {pack}",
        "faults": faults,
        "rules": judge.reactions(results),
        "wrong": judge.wrong(results),
        "shifts": {
            "runs": len(free),
            "hours": round(sum(r["simulated_s"] for r in free) / 3600, 2),
            "trips": sorted({t["rule"] for r in free for t in r["trips"]
                             if t["level"] == "trip"}),
            "warns": sorted({t["rule"] for r in free for t in r["trips"]
                             if t["level"] == "warn"}),
        },
        "past": _past(results),
    }  # fmt: skip


def _past(results: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return by limit of the cell the run that was longest beyond it."""
    worst: dict[str, dict[str, Any]] = {}
    for r in results:
        for key, look in r["truth"].items():
            if look["past_ms"] > worst.get(key, {"past_ms": 0})["past_ms"]:
                worst[key] = look | {"run": f"{r['case']}, {r['condition']}, seed {r['seed']}"}
    return worst


def missed(found: dict[str, Any]) -> list[str]:
    """Return the faults and conditions that nothing told in time, though something should."""
    return [
        f"{name}, {condition}: {cell['found']} of {cell['runs']} found"
        for name, fault in found["faults"].items()
        for condition, cell in fault["conditions"].items()
        if cell["verdict"] == judge.MISSED
    ]
