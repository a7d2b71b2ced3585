"""The firmware with every arithmetic operation checked to stay within 31 bits.

`load()` imports fresh copies of all modules under `bms` but `OFF_PATH`, their syntax tree changed
so that the result of each operator, of `abs`, `min`, `max` and `sum`, and each number written down
passes through a check. A Frame's readings may be any 32-bit integer: storing and comparing is no
arithmetic. In the modules `WIDE` it is the other way round: there only what is stored is checked.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

LOW, HIGH = -(1 << 30), (1 << 30) - 1
_CHECK = "__fits__"
# Runs after the gates, where an allocation is allowed: bigger integers are too.
OFF_PATH = ("links",)
# The estimator, in the slack too: what it writes into a state `v` must fit, the steps need not.
WIDE = ("bound", "capacity", "celltable", "filter", "outlook", "scale", "soc", "spread")
_CALLS = ("abs", "min", "max", "sum", "divmod", "pow")


class Overflow(AssertionError):
    """A result that a 31-bit small integer cannot hold."""


def fits(value: Any) -> Any:
    """Return the value; Overflow for an integer of more than 31 bits, floats are none of ours."""
    if isinstance(value, float):
        raise Overflow(f"{value!r} is a float")
    if isinstance(value, int) and not LOW <= value <= HIGH:
        raise Overflow(f"{value} does not fit 31 bits")
    return value


class _Wrap(ast.NodeTransformer):
    def _checked(self, node: ast.expr) -> ast.expr:
        self.generic_visit(node)
        call = ast.Call(ast.Name(_CHECK, ast.Load()), [node], [])
        return ast.copy_location(call, node)

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        return self._checked(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        if isinstance(node.op, ast.Not):
            self.generic_visit(node)
            return node
        return self._checked(node)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        if isinstance(node.func, ast.Name) and node.func.id in _CALLS:
            return self._checked(node)
        self.generic_visit(node)
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        fits(node.value)
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        # No target in this code has side effects, so reading it once more changes nothing.
        source = ast.parse(ast.unparse(node.target), mode="eval").body
        value = ast.BinOp(source, node.op, node.value)
        assign = ast.Assign([node.target], value)
        return self.visit_Assign(ast.fix_missing_locations(ast.copy_location(assign, node)))

    def visit_Assign(self, node: ast.Assign) -> ast.stmt:
        node.value = self.visit(node.value)
        node.targets = [self.visit(target) for target in node.targets]
        return node


class _WrapStored(ast.NodeTransformer):
    """Checks what is written into an array called `v`, and nothing on the way there."""

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        if not _stored(node.target):
            return node
        source = ast.parse(ast.unparse(node.target), mode="eval").body
        value = ast.BinOp(source, node.op, node.value)
        assign = ast.Assign([node.target], value)
        return self.visit_Assign(ast.fix_missing_locations(ast.copy_location(assign, node)))

    def visit_Assign(self, node: ast.Assign) -> ast.stmt:
        if any(_stored(target) for target in node.targets):
            call = ast.Call(ast.Name(_CHECK, ast.Load()), [node.value], [])
            node.value = ast.copy_location(call, node.value)
        return node


def _stored(target: ast.expr) -> bool:
    if not isinstance(target, ast.Subscript):
        return False
    whole = target.value
    name = whole.attr if isinstance(whole, ast.Attribute) else getattr(whole, "id", "")
    return name == "v"


class _Loader(SourceLoader):
    def __init__(self, path: str) -> None:
        self.path = path

    def get_filename(self, fullname: str) -> str:
        return self.path

    def get_data(self, path: str) -> bytes:
        return Path(path).read_bytes()

    def path_stats(self, path: str) -> dict[str, float]:
        raise OSError  # never from a cache of compiled code

    # Typed looser than its base.
    def source_to_code(self, data: Any, path: Any = "", **_: Any) -> Any:  # type: ignore[override]
        core = Path(self.path).parent.name == "core"
        wide = core and Path(self.path).stem in WIDE
        wrap = _WrapStored() if wide else _Wrap()
        tree = ast.fix_missing_locations(wrap.visit(ast.parse(data)))
        return compile(tree, path, "exec")

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__[_CHECK] = fits
        super().exec_module(module)


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        found = PathFinder.find_spec(fullname, path) if fullname.startswith("bms") else None
        if found is None or found.origin is None:
            return None
        spec = spec_from_loader(fullname, _Loader(found.origin), origin=found.origin)
        if spec is not None:
            spec.submodule_search_locations = found.submodule_search_locations
        return spec


def load() -> dict[str, ModuleType]:
    """Return checked copies of every module under bms, by name; `sys.modules` is as before."""
    plain = {name: sys.modules.pop(name) for name in list(sys.modules) if _ours(name)}
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        root = Path(importlib.import_module("bms").__path__[0])
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root.parent).with_suffix("").parts
            if parts[1] in OFF_PATH:
                continue
            importlib.import_module(".".join(parts[: -1 if parts[-1] == "__init__" else None]))
        return {name: module for name, module in sys.modules.items() if _ours(name)}
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if _ours(name)]:
            del sys.modules[name]
        sys.modules.update(plain)


def _ours(name: str) -> bool:
    return name == "bms" or name.startswith("bms.")
