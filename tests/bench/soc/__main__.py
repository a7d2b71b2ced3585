"""`make bench-soc DATA=folder`: score the estimator on measured cells, beside other schemes."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.soc import cases, cells, one, table
from bench.soc.page import page
from solidbms.parallel import do_all
from solidbms.schema import BadInput, shown

Say = Callable[[float, str], None]  # share done, a line
MARKS = ("<!-- bench-soc -->", "<!-- to here -->")


def main(argv: list[str] | None = None) -> int:
    """Run what there are files for; write table.md, index.html and results.json to --out."""
    parser = argparse.ArgumentParser(prog="bench.soc", description=__doc__)
    parser.add_argument("data", nargs="?", default="", help="folder with lg_hg2, panasonic, a123")
    parser.add_argument("--out", type=Path, default=Path("build") / "bench_soc")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--into", type=Path, help=f"a page: the tables go between {MARKS[0]} and "
                        f"{MARKS[1]}")  # fmt: skip
    parser.add_argument("--only", default="", help="groups whose name this pattern finds")
    parser.add_argument("--goals", action="store_true", help="groups with a goal alone")
    asked = parser.parse_args(argv)
    if asked.into and (asked.only or asked.goals):
        parser.error("--into: valid with the whole table, without --only and --goals")
    data = Path(asked.data)
    found = cases.groups(data) if asked.data else []
    if not found:
        where = f"{data}: no such files" if asked.data else "no data"
        print(f"bench-soc: {where}; DATA=folder with lg_hg2/, panasonic/, a123/ as they are named "
              f"there is valid. {cases.DATA}", file=sys.stderr)  # fmt: skip
        return 2
    try:
        found = [g for g in found if re.search(asked.only, g.name) and (g.goal or not asked.goals)]
    except re.error as error:
        print(f"bench-soc: --only {asked.only!r}: {error}; a pattern is valid", file=sys.stderr)
        return 2
    if not found:
        print(f"bench-soc: --only {asked.only!r}: a part of a group's name is valid",
              file=sys.stderr)  # fmt: skip
        return 2
    try:
        status = _bench(found, data, asked.out, asked.jobs)
        if asked.into and status:
            print(f"bench-soc: {shown(asked.into)} stays as it was", file=sys.stderr)
        elif asked.into:
            put_into(asked.into, (asked.out / "table.md").read_text(encoding="utf-8"))
        return status
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 1


def _bench(groups: list[cases.Group], data: Path, out: Path, jobs: int) -> int:
    began = time.monotonic()
    runs = list(dict.fromkeys(run for g in groups for run in g.runs))
    out.mkdir(parents=True, exist_ok=True)
    results: list[one.Result] = []
    errors: list[str] = []
    with _progress() as say:
        made = {r.cell: r.cell for r in runs}
        folds = cells.folds(runs)
        if folds:
            say(0.0, f"cells: {', '.join(folds)}")
            if not do_all(
                [(cells.make_fold, (fold, data, out / "cells")) for fold in folds], jobs,
                lambda at, path: made.update({folds[at]: path}),
            ):  # fmt: skip
                raise KeyboardInterrupt
        # What has a goal first; then the longest, so that the last process to end is soon done.
        aims = [run for g in groups if g.goal for run in g.runs]
        runs.sort(key=lambda r: (r not in aims, -r.path.stat().st_size))

        def came(at: int, result: one.Result | str) -> None:
            if isinstance(result, str):
                errors.append(f"{runs[at].name}: {result}")
                return
            results.append(result)
            spent = time.monotonic() - began
            size = sum(r.path.stat().st_size for r in runs)
            share = sum(r.run.path.stat().st_size for r in results) / size
            left = spent / share - spent
            score = result.scores[one.OURS]
            say(share, f"{len(results)} of {len(runs)}, {left / 60:.0f} min left: "
                f"{result.run.about}, {cases.STARTS[result.run.start]}: "
                f"{score.rmse_pct:.2f} / {score.max_pct:.2f}")  # fmt: skip
            if len(results) % 10 == 0:
                _write(groups, results, out, f"{len(results)} of {len(runs)} runs so far.")

        whole = do_all([(one.attempt, (r, made[r.cell])) for r in runs], jobs, came)
    print(*dict.fromkeys(errors), sep="\n", end="\n" if errors else "", file=sys.stderr)
    partial = "" if whole else f"Stopped: {len(results)} of {len(runs)} runs."
    partial = f"{len(errors)} of {len(runs)} runs cannot be done." if errors else partial
    _write(groups, results, out, partial)
    hours = sum(r.simulated_s for r in results) / 3600
    print(table.whole(table.done(groups, results), partial))
    print(f"{hours:.0f} h of measured use in {(time.monotonic() - began) / 60:.0f} min; "
          f"{shown(out / 'index.html')}, {shown(out / 'table.md')}")  # fmt: skip
    return 0 if whole and not errors else 1


def _write(groups: list[cases.Group], results: list[one.Result], out: Path, partial: str) -> None:
    """Write what there is: each file whole or as it was before."""
    found = table.done(groups, results)
    texts = {
        "table.md": table.whole(found, partial),
        "index.html": page(found, partial),
        "results.json": json.dumps([_plain(r, groups) for r in results], indent=1) + "\n",
    }
    for name, text in texts.items():
        fresh = out / f"{name}.new"
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(out / name)


def put_into(path: Path, text: str) -> None:
    """Put the tables between the marks of a page; BadInput without them."""
    page = path.read_text(encoding="utf-8") if path.is_file() else ""
    before, begin, rest = page.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not (begin and end):
        raise BadInput(f"{shown(path)}: --into: a page with {MARKS[0]} and {MARKS[1]} is valid")
    whole = f"{before}{MARKS[0]}\n\n{text}\n{MARKS[1]}{after}"
    path.write_text(whole, encoding="utf-8")


def _plain(r: one.Result, groups: list[cases.Group]) -> dict[str, Any]:
    run = r.run
    return {
        "groups": [g.name for g in groups if run in g.runs],
        "file": run.name, "temp_c": run.temp_c, "start": run.start, "options": run.options,
        "scores": {k: asdict(s) for k, s in r.scores.items()},
        "simulated_s": r.simulated_s, "wall_s": round(r.wall_s, 1),
    }  # fmt: skip


@contextmanager
def _progress() -> Iterator[Say]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda share, line: print(f"{100 * share:3.0f} %  {line}", file=sys.stderr)
        return
    columns = (BarColumn(24), TaskProgressColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda share, line: bar.update(task, completed=share, description=line)


if __name__ == "__main__":
    sys.exit(main())
