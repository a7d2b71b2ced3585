"""Constants of other modules into numbers, before a module is compiled for a board.

MicroPython folds `const` within its module only; `F.T_MS` is looked up by name every time, which
costs a sixth of the time from Frame to gates. The names of a module's words (`FIELDS`) are for
the host: on the board their count will do, and they would take a tenth of the heap in use. Lines
stay as they are: tracebacks fit the source.
"""

from __future__ import annotations

import ast
import io
import tokenize
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

PACKAGE = "bms"
NAMES = "FIELDS"


class Known(NamedTuple):
    """What a module imported: constants by name, and modules with their constants."""

    names: dict[str, int]
    modules: dict[str, dict[str, int]]


def fold(source: str) -> str:
    """Return the source with every imported integer `const` of the firmware as a number.

    A name that the module binds itself is left alone, wherever it does so.
    """
    tree = ast.parse(source)
    imports = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    known = _known(imports, _bound(tree))
    lines = source.splitlines(keepends=True)
    import_lines = {k for n in imports for k in range(n.lineno, (n.end_lineno or 0) + 1)}
    tokens = [t for t in _tokens(source) if t.start[0] not in import_lines]
    for first, last, value in reversed(_places(tokens, known)):
        row = first.start[0] - 1
        text = str(value) if value >= 0 else f"({value})"
        lines[row] = lines[row][: first.start[1]] + text + lines[row][last.end[1] :]
    return _without_names("".join(lines), tree)


def _without_names(source: str, tree: ast.Module) -> str:
    """Return the source with `len(FIELDS)` as a number, and without FIELDS where that was all."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == NAMES:
            break
    else:
        return source
    try:
        count = len(ast.literal_eval(node.value))
    except ValueError:
        return source  # put together from others
    counted = source.replace(f"len({NAMES})", str(count))
    uses = sum(t.type == tokenize.NAME and t.string == NAMES for t in _tokens(counted))
    if uses > 1 or ast.literal_eval(node.value) in _read_elsewhere():
        return counted
    lines = counted.splitlines(keepends=True)
    for k in range(node.lineno, (node.end_lineno or 0) - 1):
        lines[k] = "\n"
    return "".join(lines)


@cache
def _read_elsewhere() -> set[tuple[str, ...]]:
    """Return every FIELDS that another module of the firmware reads."""
    found = set()
    for path in Path(import_module(PACKAGE).__file__ or "").parent.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        modules = {a.asname or a.name: f"{n.module}.{a.name}" for n in ast.walk(tree)
                   if isinstance(n, ast.ImportFrom) for a in n.names}  # fmt: skip
        read = {m.removesuffix(f".{NAMES}") for m in modules.values() if m.endswith(f".{NAMES}")}
        read |= {modules[n.value.id] for n in ast.walk(tree)
                 if isinstance(n, ast.Attribute) and n.attr == NAMES
                 and isinstance(n.value, ast.Name) and n.value.id in modules}  # fmt: skip
        found |= {getattr(import_module(module), NAMES) for module in read}
    return found


def _tokens(source: str) -> list[tokenize.TokenInfo]:
    return list(tokenize.generate_tokens(io.StringIO(source).readline))


def _places(
    tokens: list[tokenize.TokenInfo], known: Known
) -> list[tuple[tokenize.TokenInfo, tokenize.TokenInfo, int]]:
    """Return (first token, last token, value) of every use of a constant."""
    found = []
    padded = [*tokens, *tokens[-1:] * 2]
    for k, token in enumerate(tokens):
        if token.type != tokenize.NAME or (k and tokens[k - 1].string == "."):
            continue
        dot, name = padded[k + 1], padded[k + 2]
        if dot.string == "." and name.string in known.modules.get(token.string, {}):
            if name.start[0] == token.start[0]:
                found.append((token, name, known.modules[token.string][name.string]))
        elif token.string in known.names and dot.string != "=":
            found.append((token, token, known.names[token.string]))
    return found


def _known(imports: list[ast.Import | ast.ImportFrom], bound: set[str]) -> Known:
    known = Known({}, {})
    for node in imports:
        module = getattr(node, "module", None) or ""
        if module.split(".")[0] != PACKAGE:
            continue
        for alias in node.names:
            name = alias.asname or alias.name
            if name in bound:
                continue
            values = _constants(module)
            if alias.name in values:
                known.names[name] = values[alias.name]
            elif values := _constants(f"{module}.{alias.name}"):
                known.modules[name] = values
    return known


def _bound(tree: ast.Module) -> set[str]:
    """Return every name that the module stores to, takes as an argument or defines."""
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and not _read(n)}
    names |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return names | {n.name for n in ast.walk(tree) if isinstance(n, kinds)}


def _read(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Load)


@cache
def _constants(module: str) -> dict[str, int]:
    """Return the integers that a module declares with `const`, nothing for what is no module."""
    try:
        loaded = import_module(module)
    except ImportError:
        return {}
    names = [
        node.targets[0].id
        for node in ast.parse(Path(loaded.__file__ or "").read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func) == "const"
    ]
    return {name: value for name in names if isinstance(value := getattr(loaded, name), int)}
