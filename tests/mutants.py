"""Breaks the protection on purpose, one place at a time, and asks whether a test notices.

`mutants.py [FILE...] [--jobs N] [--list]`: FILE is a part of a path below; default all. Rows of
THE table have a mutator of their own (each cell takes each other legal value, each row goes); code
has its syntax tree changed. A child forked from a warm process runs the tests with the changed
module: nothing on disk is touched. Results in build/mutants.json; the exit status is 1 below 90 %.
Survivors with a reason stand in tests/mutants_survivors.toml.
"""

from __future__ import annotations

import argparse
import ast
import gc
import json
import os
import signal
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "build" / "mutants.json"
REASONS = ROOT / "tests" / "mutants_survivors.toml"
WANTED = 0.90

CORE = "tests/firmware/core/"
DRIVERS = "tests/firmware/drivers/"
LOOP = ["tests/firmware/test_loop.py"]
# One pack will do, and the other for what one cell and one sensor do not have.
GENERATED = [CORE + "test_rules_generated.py", "-k",
             "bench_1s- or fuse-chg_burn or robot_14s-imbalance or robot_14s-spread"]  # fmt: skip
EVERY_ROW = [CORE + "test_rules_generated.py", "-k", "bench_1s- or robot_14s- or fuse-chg_burn"]


def _by_register(*rows: str) -> list[str]:
    """Return the stage that brings these rows about through driver, chip and loop."""
    of_rows = "-k", "(bench_1s- or robot_14s- or fuse-) and (" + " or ".join(rows) + ")"
    return [CORE + "test_rules_by_register.py", *of_rows]


# Module -> stages of tests, fastest first; the next runs when the one before noticed nothing.
TESTS: dict[str, list[list[str]]] = {
    "bms.core.protect": [["tests/firmware/test_protect.py"], [CORE + "test_latches.py"],
                         GENERATED, LOOP],
    "bms.core.switch": [[CORE + "test_switch.py", CORE + "test_latches.py"], LOOP, GENERATED],
    "bms.core.plausible": [
        ["tests/firmware/test_signals.py", CORE + "test_plausible.py"], LOOP, GENERATED
    ],
    "bms.core.gatewatch": [
        [CORE + "test_gatewatch.py"],
        _by_register("pre_failed", "welded", "burn", "fet_open", "held", "current_zero"),
    ],
    "bms.core.cellwatch": [
        [CORE + "test_cellwatch.py"],
        _by_register("imbalance", "sag", "open_wire", "stack", "current_odd", "frozen"),
    ],
    "bms.core.cellstep": [[CORE + "test_cellstep.py"], _by_register("cell_r")],
    "bms.core.thermal": [
        [CORE + "test_thermal.py"], _by_register("core_hot", "spread", "stuck", "runaway")
    ],
    "bms.core.charging": [
        [CORE + "test_charging.py"], _by_register("charge_long", "overcharge", "charge_rate")
    ],
    "bms.core.selfcheck": [
        [CORE + "test_selfcheck.py"], _by_register("clock", "unsteady", "feature", "config")
    ],
    "bms.core.limits": [[CORE + "test_limits.py"], [CORE + "test_core.py"]],
    "bms.core.balance": [[CORE + "test_balance.py"], [CORE + "test_core.py"]],
    "bms.drivers.front": [[DRIVERS]],
    "bms.drivers.ina228": [[DRIVERS + "test_ina228.py"], [DRIVERS + "test_charge_of_a_day.py"]],
    "bms.drivers.bq76952": [[DRIVERS + "test_bq76952.py"]],
    "bms.drivers.bq76952_link": [[DRIVERS + "test_bq76952.py"]],
    "bms.drivers.bq76952_scan": [[DRIVERS + "test_bq76952.py"]],
    "bms.drivers.bq76952_setup": [[DRIVERS + "test_bq76952.py"]],
    "bms.core.rules": [[CORE + "test_rules.py"], EVERY_ROW],
}  # fmt: skip
KEPT = ("support", "support.int31")  # import nothing of bms
PYTEST = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=no", "--no-header",
          "--hypothesis-profile=mutants", "--hypothesis-seed=0"]  # fmt: skip


@dataclass
class Mutant:
    """One change: where, what, and what came of it (killed, timeout, survived)."""

    module: str
    line: int
    change: str
    source: str  # of the statement changed
    result: str = ""
    seconds: float = 0.0

    @property
    def key(self) -> str:
        """What a reason in mutants_survivors.toml is filed under: no line number in it."""
        return f"{self.module}: {self.source}: {self.change}"


def path_of(module: str) -> Path:
    """Return the file of a firmware module."""
    return ROOT / "firmware" / (module.replace(".", "/") + ".py")


# --- what can be changed


SWAPS: dict[type, tuple[type, ...]] = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,),
    ast.Add: (ast.Sub,), ast.Sub: (ast.Add,), ast.Mult: (ast.FloorDiv,),
    ast.FloorDiv: (ast.Mult,), ast.Mod: (ast.FloorDiv,),
    ast.BitAnd: (ast.BitOr,), ast.BitOr: (ast.BitAnd,),
    ast.LShift: (ast.RShift,), ast.RShift: (ast.LShift,),
    ast.And: (ast.Or,), ast.Or: (ast.And,),
}  # fmt: skip
MAGNITUDE = 1000
CALLS = {"min": "max", "max": "min"}


def changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield (word, replacement) for one node; the replacement may share children with it."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        for op in SWAPS.get(type(node.ops[0]), ()):
            yield _word(node.ops[0], op), ast.Compare(node.left, [op()], node.comparators)
    elif isinstance(node, ast.Compare):
        for k, old in enumerate(node.ops):
            for op in SWAPS[type(old)]:
                ops = [*node.ops[:k], op(), *node.ops[k + 1 :]]
                yield f"{_word(old, op)} ({k})", ast.Compare(node.left, ops, node.comparators)
    elif isinstance(node, ast.BinOp):
        for op in SWAPS.get(type(node.op), ()):
            yield _word(node.op, op), ast.BinOp(node.left, op(), node.right)
    elif isinstance(node, ast.AugAssign):
        for op in SWAPS.get(type(node.op), ()):
            yield _word(node.op, op), ast.AugAssign(node.target, op(), node.value)
    elif isinstance(node, ast.BoolOp):
        for op in SWAPS[type(node.op)]:
            yield _word(node.op, op), ast.BoolOp(op(), node.values)
    elif isinstance(node, ast.UnaryOp):
        yield f"without {type(node.op).__name__}", node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield f"{node.value} -> {not node.value}", ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        # Of a magnitude (a limit in uV, a time in ms) one more is nothing: twice and half are.
        large = abs(node.value) >= MAGNITUDE
        others = (2 * node.value, node.value // 2) if large else (node.value + 1, node.value - 1)
        for value in others:
            yield f"{node.value} -> {value}", ast.Constant(value)
    elif isinstance(node, ast.IfExp):
        yield "branches swapped", ast.IfExp(node.test, node.orelse, node.body)
    elif isinstance(node, ast.If | ast.While):
        negated = ast.UnaryOp(ast.Not(), node.test)
        yield "condition negated", type(node)(negated, node.body, node.orelse)
    elif isinstance(node, ast.Return) and node.value is not None:
        if not isinstance(node.value, ast.Constant):
            yield "returns 0", ast.Return(ast.Constant(0))
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS:
        other = ast.Name(CALLS[node.func.id], ast.Load())
        yield f"{node.func.id} -> {other.id}", ast.Call(other, node.args, node.keywords)
    removable = ast.Assign | ast.AugAssign | ast.Expr | ast.Return | ast.Continue
    if isinstance(node, removable) and not _docstring(node):
        yield "removed", ast.Pass()


def _word(old: ast.AST, new: type) -> str:
    return f"{type(old).__name__} -> {new.__name__}"


def _docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


Build = Callable[[], ast.Module]  # makes the changed tree, in the child: a thousand take memory


def code_mutants(module: str) -> Iterator[tuple[Mutant, Build]]:
    """Yield every mutant of a module."""
    for place, (node, statement) in enumerate(_sites(ast.parse(path_of(module).read_text()))):
        source = ast.unparse(statement).splitlines()[0]
        for word, _ in changes(node):
            mutant = Mutant(module, getattr(node, "lineno", 0), word, source)
            yield mutant, partial(_changed_code, module, place, word)


def _changed_code(module: str, place: int, word: str) -> ast.Module:
    tree = ast.parse(path_of(module).read_text())
    node = _sites(tree)[place][0]
    _replace(tree, node, ast.copy_location(dict(changes(node))[word], node))
    return ast.fix_missing_locations(tree)


def _sites(tree: ast.Module) -> list[tuple[ast.AST, ast.stmt]]:
    # What is inside a function, and the numbers of the module's constants.
    found: list[tuple[ast.AST, ast.stmt]] = []

    def walk(node: ast.AST, statement: ast.stmt, inside: bool) -> None:
        if isinstance(node, ast.stmt):
            statement = node
        inside = inside or isinstance(node, ast.FunctionDef)
        if inside or isinstance(node, ast.Constant | ast.BinOp | ast.UnaryOp):
            found.append((node, statement))
        for child in ast.iter_child_nodes(node):
            walk(child, statement, inside)

    for top in tree.body:
        if not isinstance(top, ast.Import | ast.ImportFrom | ast.Expr):
            walk(top, top, False)
    return [(node, statement) for node, statement in found if any(True for _ in changes(node))]


def _replace(tree: ast.AST, old: ast.AST, new: ast.AST) -> None:
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, field, new)
                return
            if isinstance(value, list) and any(item is old for item in value):
                value[:] = [new if item is old else item for item in value]
                return


COLUMNS = {  # column of a row -> prefix-free names of its legal values, in rules.py
    "side": ("ABOVE", "BELOW"),
    "level": ("NOTE", "WARN", "TRIP", "BURN"),
    "path": ("CHARGE", "DISCHARGE", "BOTH"),
    "recovery": ("SELF", "CHARGER", "LOAD_GONE", "HAND"),
    "when": ("ALWAYS", "CLOSED"),
    "untrusted": ("HOLD", "CROSSED"),
    "shed": ("CUT", "SHEDS"),
}


def row_mutants(module: str) -> Iterator[tuple[Mutant, Build]]:
    """Yield THE table with each cell taking each other legal value, and with each row gone."""
    rows = _rows(ast.parse(path_of(module).read_text()))
    signals = sorted({ast.unparse(row.elts[1]) for row in rows})
    columns = [("signal", tuple(signals)), *COLUMNS.items()]
    for r, row in enumerate(rows):
        name = row.elts[0].value  # type: ignore[attr-defined] - a tuple
        for c, (column, values) in enumerate(columns, 1):
            old = ast.unparse(row.elts[c])
            for value in values:
                if value != old:
                    mutant = Mutant(module, row.lineno, f"{old} -> {value}", f"{name} {column}")
                    yield mutant, partial(_changed_row, module, r, c, value)
        yield Mutant(module, row.lineno, "removed", name), partial(_changed_row, module, r)


def _changed_row(module: str, r: int, c: int = 0, value: str = "") -> ast.Module:
    tree = ast.parse(path_of(module).read_text())
    if c:
        _rows(tree)[r].elts[c] = ast.parse(value, mode="eval").body
    else:
        del _rows(tree)[r]
    return ast.fix_missing_locations(tree)


def _rows(tree: ast.Module) -> list[ast.Tuple]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "ROWS":
            return node.value.elts  # type: ignore[attr-defined,return-value] - a tuple
    raise LookupError("rules.py has no ROWS")


def mutants_of(module: str) -> list[tuple[Mutant, Build]]:
    """Return every mutant of a module."""
    make = row_mutants if module.endswith(".rules") else code_mutants
    return list(make(module))


# --- one mutant in a child


class _Changed(SourceFileLoader, MetaPathFinder):
    """Imports one module from a syntax tree."""

    def __init__(self, module: str, tree: ast.Module) -> None:
        super().__init__(module, str(path_of(module)))
        self.tree = tree

    def find_spec(self, fullname, path=None, target=None):
        if fullname != self.name:
            return None
        return spec_from_file_location(fullname, self.path, loader=self)

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.tree, self.path, "exec")


def change(module: str, tree: ast.Module) -> None:
    """Make this process import the tree in place of the module, and in its 31-bit copy."""
    from support.int31 import _Loader

    sys.meta_path.insert(0, _Changed(module, tree))
    source, plain = ast.unparse(tree).encode(), _Loader.get_data
    _Loader.get_data = lambda self, path: (  # type: ignore[method-assign] - on purpose
        source if Path(path) == path_of(module) else plain(self, path)
    )


def test(module: str, build: Build | None, stages: list[list[str]]) -> int:
    """Run stages of tests in this process; return 1 when one noticed, else 0."""
    import pytest

    _forget(module)
    if build is not None:
        change(module, build())
    for stage in stages:
        if pytest.main([*PYTEST, *stage]) != 0:
            return 1
    return 0


def _forget(module: str) -> None:
    """Unload all of the project where the module to be changed has been imported with it."""
    if module in sys.modules:
        for name in list(sys.modules):
            if name.split(".")[0] in ("bms", "solidbms", "support") and name not in KEPT:
                del sys.modules[name]


def warm() -> None:
    """Import what children need; see `_forget`."""
    import click  # noqa: F401 - warms up
    import hypothesis
    import numpy as np  # noqa: F401 - warms up
    import pydantic  # noqa: F401 - warms up
    import pytest  # noqa: F401 - warms up
    import wasmtime  # noqa: F401 - warms up

    hypothesis.settings.register_profile(
        "mutants",
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=20,
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    for part in ("firmware", "host", "tests"):
        sys.path.insert(0, str(ROOT / part))
    os.chdir(ROOT)
    _keep_checked()
    from support.packs import NAMES, compiled

    for name in NAMES:
        compiled(name)
    gc.freeze()  # a collection in a child would copy every page that it shares


def _keep_checked() -> None:
    """Make the 31-bit copies once for all children: each would take half a second for them."""
    from support.int31 import OFF_PATH, _Loader

    made: dict[tuple[str, bytes], CodeType] = {}
    plain = _Loader.source_to_code

    def kept(self: _Loader, data: bytes, path: str = "", **_: object) -> CodeType:
        key = self.path, data
        if key not in made:
            made[key] = plain(self, data, path)
        return made[key]

    _Loader.source_to_code = kept  # type: ignore[method-assign] - on purpose
    root = ROOT / "firmware" / "bms"
    for path in root.rglob("*.py"):
        if path.relative_to(root).parts[0] not in OFF_PATH:
            loader = _Loader(str(path))
            loader.source_to_code(loader.get_data(loader.path), loader.path)


def fork(module: str, build: Build | None, stages: list[list[str]]) -> int:
    """Start a child on the tests; return its process id."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.setsid()  # so that what it starts ends with it
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        status = test(module, build, stages)
    finally:
        os._exit(status)


def baseline(modules: list[str]) -> dict[str, float]:
    """Return how long the tests of each module take unchanged; exit when they fail."""
    seconds: dict[str, float] = {}  # by stage: modules share them
    for module in modules:
        for stage in TESTS[module]:
            name = " ".join(stage)
            if name in seconds:
                continue
            began = time.monotonic()
            pid = fork(module, None, [stage])
            try:
                _, status = os.waitpid(pid, 0)
            except KeyboardInterrupt:
                os.killpg(pid, signal.SIGKILL)
                raise
            if status:
                sys.exit(f"tests fail without any change; run: pytest {name}")
            seconds[name] = time.monotonic() - began
            print(f"{seconds[name]:5.1f} s unchanged: {name}", flush=True)
    return {m: sum(seconds[" ".join(stage)] for stage in TESTS[m]) for m in modules}


def run_all(work: list[tuple[Mutant, Build]], limits: dict[str, float], jobs: int) -> None:
    """Run every mutant, `jobs` at a time, and write its result into it."""
    todo = list(reversed(work))
    running: dict[int, tuple[Mutant, float]] = {}
    try:
        _run_all(todo, running, limits, jobs, len(work))
    finally:
        for pid in running:  # of their own session: Ctrl-C does not reach them
            os.killpg(pid, signal.SIGKILL)


def _run_all(
    todo: list[tuple[Mutant, Build]], running: dict[int, tuple[Mutant, float]],
    limits: dict[str, float], jobs: int, count: int,
) -> None:  # fmt: skip
    done = 0
    while todo or running:
        while todo and len(running) < jobs:
            mutant, build = todo.pop()
            running[fork(mutant.module, build, TESTS[mutant.module])] = (mutant, time.monotonic())
        time.sleep(0.01)
        for pid, (mutant, began) in list(running.items()):
            mutant.seconds = round(time.monotonic() - began, 2)
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended and mutant.seconds > limits[mutant.module]:
                os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                mutant.result = "timeout"
            elif ended:
                mutant.result = "killed" if status else "survived"
            else:
                continue
            del running[pid]
            done += 1
            if mutant.result == "survived" or done % 20 == 0:
                word = "" if mutant.result != "survived" else f"survived {_place(mutant)}"
                print(f"{done}/{count} {word}", flush=True)


def _place(m: Mutant) -> str:
    file = path_of(m.module).relative_to(ROOT)
    return f"{file}:{m.line}: {m.source}: {m.change}"


def report(found: list[Mutant]) -> int:
    """Print the table and the survivors, write build/mutants.json; return the exit status."""
    reasons: dict[str, str] = {}
    if REASONS.exists():
        reasons = tomllib.loads(REASONS.read_text()).get("reasons", {})
    survivors = [m for m in found if m.result == "survived"]
    for m in survivors:
        print(f"{_place(m)}: {reasons.get(m.key, '?')}")
    status = 0
    print(f"\n{'file':36} {'killed':>7} {'reason':>7} {'total':>6} {'share':>7}")
    for module in dict.fromkeys(m.module for m in found):
        own = [m for m in found if m.module == module]
        killed = sum(m.result != "survived" for m in own)
        known = sum(m.result == "survived" and m.key in reasons for m in own)
        status |= killed < WANTED * len(own)
        name = str(path_of(module).relative_to(ROOT))
        print(f"{name:36} {killed:7} {known:7} {len(own):6} {killed / len(own):7.1%}")
    OUT.parent.mkdir(exist_ok=True)
    rows = [{**asdict(m), "reason": reasons.get(m.key, "")} for m in found]
    OUT.write_text(json.dumps(rows, indent=1) + "\n")
    return status


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("files", nargs="*", help="part of a module's path; default all")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--list", action="store_true", help="show the mutants, run nothing")
    parser.add_argument("--without", metavar="TEST", action="append", default=[],
                        help="a test that fails unchanged, to be left out")  # fmt: skip
    parser.add_argument("--every", type=int, default=1, help="only every N-th mutant")
    parser.add_argument("--offset", type=int, default=0, help="of them, beginning with this one")
    args = parser.parse_args()
    modules = [m for m in TESTS if not args.files or any(f in str(path_of(m)) for f in args.files)]
    if not modules:
        sys.exit(f"no such file; there are: {', '.join(str(path_of(m)) for m in TESTS)}")
    work = [item for module in modules for item in mutants_of(module)[args.offset :: args.every]]
    PYTEST.extend(f"--deselect={name}" for name in args.without)
    if args.list:
        for mutant, _ in work:
            print(_place(mutant))
        return 0
    warm()
    limits = {module: 3 * s + 20 for module, s in baseline(modules).items()}
    began = time.monotonic()
    run_all(work, limits, args.jobs)
    print(f"\n{len(work)} mutants in {(time.monotonic() - began) / 60:.1f} min")
    return report([mutant for mutant, _ in work])


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
