"""Imports run one way: core, then drivers, then boards and main; never toward the host."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from solidbms.schema import BOARDS, ROOT

FIRMWARE = ROOT / "firmware"
CORE = ("bms.core", "bms.compat")
# Folder or file to what of this project it may import; the first that fits counts.
ALLOWED = {
    "firmware/bms/compat.py": (),
    "firmware/bms/core": CORE,
    "firmware/bms/drivers/front.py": (*CORE, "bms.drivers"),  # picks one of them
    # One chip whose driver is more than a file.
    "firmware/bms/drivers/bq76952.py": (
        *CORE,
        *(f"bms.drivers.bq76952_{part}" for part in ("link", "scan", "setup")),
    ),
    "firmware/bms/drivers/bq76952_scan.py": (*CORE, "bms.drivers.bq76952_link"),
    "firmware/bms/drivers/bq76952_setup.py": (*CORE, "bms.drivers.bq76952_link"),
    "firmware/bms/drivers": CORE,
    "firmware/bms/links": (*CORE, "bms.links"),
    "firmware/bms": (*CORE, "bms.mailbox"),  # the loop and what stands beside it
    "firmware/main.py": ("bms", "board"),
    "firmware/selector.py": (),  # it must start whatever the slots hold
    "boards": ("bms",),
}
OURS = ("bms", "board", "solidbms", "hil", "tests", "support")
FILES = sorted([*FIRMWARE.rglob("*.py"), *BOARDS.rglob("*.py")])


def imported(source: str) -> set[str]:
    """Return every module that a source names in an import, wherever it stands."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute: always `import bms`"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def foreign(path: Path, source: str) -> set[str]:
    """Return what a file of ours imports of ours and must not."""
    where = path.relative_to(ROOT).as_posix()
    allowed = next(v for k, v in ALLOWED.items() if where == k or where.startswith(k + "/"))
    mine = {name for name in imported(source) if name.split(".")[0] in OURS}
    return {n for n in mine if not any(n == a or n.startswith(a + ".") for a in allowed)}


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_imports_run_one_way(path: Path):
    assert not foreign(path, path.read_text())


@pytest.mark.parametrize(
    ("where", "line"),
    [
        ("firmware/bms/core/x.py", "from bms.drivers.ina228 import Ina228"),
        ("firmware/bms/core/x.py", "from bms import loop"),
        ("firmware/bms/drivers/x.py", "import bms.loop"),
        ("firmware/bms/drivers/x.py", "import solidbms"),
        ("firmware/bms/loop.py", "from bms.drivers import ntc"),
        ("firmware/bms/links/x.py", "import bms.loop"),
        ("firmware/selector.py", "import bms"),
        ("firmware/main.py", "from solidbms.packc import load"),
        ("boards/sim/board.py", "from hil.x import y"),
    ],
)
def test_a_wrong_import_is_seen(where: str, line: str):
    assert foreign(ROOT / where, f"def f():\n    {line}\n")


def test_core_knows_no_hardware_clock_or_file():
    # What the core takes from outside: arrays and a checksum.
    outside = set()
    for path in (FIRMWARE / "bms" / "core").glob("*.py"):
        outside |= {name.split(".")[0] for name in imported(path.read_text())} - {"bms"}
    assert outside <= {"array", "binascii"}
