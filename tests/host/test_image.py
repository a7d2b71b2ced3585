"""What goes onto a board: complete, reproducible, compiled for it."""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

import pytest
from fixtures.ptyboard.rig import board_folder
from solidbms import __version__, image
from solidbms.image import ARCHES, board_files, build_image, find_board
from solidbms.packc import compile_pack
from solidbms.schema import ROOT, BadInput

BLOB = compile_pack("demo").blob


@pytest.fixture(scope="module")
def pico() -> dict[str, bytes]:
    return build_image("pico", BLOB, pack_name="demo")


def test_every_module_is_there(pico: dict[str, bytes]):
    firmware = ROOT / "firmware"
    modules = {path.relative_to(firmware).as_posix() for path in firmware.glob("bms/**/*.py")}
    modules |= {path.name for path in (ROOT / "boards" / "pico").glob("*.py")} - {"rig.py"}
    compiled = {path[:-3] + "py" for path in pico if path.endswith(".mpy")}
    assert compiled == modules | {"start.py"}
    assert set(pico) - {path[:-2] + "mpy" for path in compiled} == {"pack.bin", "manifest"}
    assert pico["pack.bin"] == BLOB


def test_faults_can_be_injected_in_a_rig_build_only(pico: dict[str, bytes]):
    rig = build_image("pico", BLOB, rig=True)
    assert set(rig) - set(pico) == {"rig.mpy"}
    assert b"rig" in rig["manifest"]


def test_the_same_sources_give_the_same_bytes(pico: dict[str, bytes]):
    again = build_image("pico", BLOB, pack_name="demo")
    assert list(again) == list(pico)  # the manifest last
    assert again == pico


def test_the_manifest_names_every_file_and_ends(pico: dict[str, bytes]):
    *lines, end = pico["manifest"].decode().splitlines()
    assert list(pico)[-1] == "manifest"
    assert end == f"end {__version__} pico demo"
    assert lines == [
        f"{crc32(data):08x} {len(data)} {path}" for path, data in pico.items()
        if path != "manifest"
    ]  # fmt: skip


def test_modules_are_for_the_board(pico: dict[str, bytes]):
    board, _ = find_board("pico")
    native = {module.replace(".", "/") + ".mpy" for module in board.native}
    assert native
    for path, data in pico.items():
        if path.endswith(".mpy"):
            assert (data[:2], data[3]) == (b"M\x06", board.small_int_bits), path
            assert data[2] >> 2 == (ARCHES[board.arch] if path in native else 0), path


def test_a_traceback_names_a_module_by_its_place_in_the_slot(pico: dict[str, bytes]):
    assert b"bms/loop.py" in pico["bms/loop.mpy"]
    assert not any(str(ROOT).encode() in data for data in pico.values())


def test_a_fresh_board(pico: dict[str, bytes]):
    files = board_files("pico", BLOB, pack_name="demo")
    assert files.pop("main.py") == (ROOT / "firmware" / "selector.py").read_bytes()
    assert files.pop("slot") == b"a\n"
    assert files == {f"slots/a/{path}": data for path, data in pico.items()}


def test_a_board_of_ones_own(tmp_path: Path):
    made = build_image(board_folder(tmp_path / "mine"), BLOB)
    assert "mood.mpy" in made
    assert made["bms/core/fixed.mpy"][2] >> 2 == ARCHES["x64"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"arch": '"z80"'}, "arch: input should be"),
        ({"small_int_bits": "30"}, "small_int_bits: input should be"),
        ({"native": '["bms.nothing"]'}, "native: there is no module 'bms.nothing'"),
        ({"usb": '["2e8a"]'}, "usb.0: "),
        ({"micropython": '"new"'}, "micropython: "),
        ({"colour": '"red"'}, "colour: unknown key"),
    ],
)
def test_a_bad_board_toml_is_one_line(tmp_path: Path, changes: dict[str, str], says: str):
    folder = board_folder(tmp_path / "mine", **changes)
    with pytest.raises(BadInput, match=says) as caught:
        find_board(folder)
    assert "\n" not in str(caught.value)
    assert "board.toml" in str(caught.value)


@pytest.mark.parametrize("name", ["pica", "", "./pico", "../pico", "packs"])
def test_no_such_board_says_which_there_are(name: str):
    with pytest.raises(BadInput, match=r"there are: .*pico"):
        find_board(name)


def test_what_does_not_compile_is_one_line(tmp_path: Path):
    folder = board_folder(tmp_path / "mine")
    (tmp_path / "mine" / "odd.py").write_text("def f(:\n")
    with pytest.raises(BadInput, match=r"odd\.py: line 1: ") as caught:
        build_image(folder, BLOB)
    assert "\n" not in str(caught.value)


def test_versions_of_cross_compiler_and_least_micropython(pico: dict[str, bytes]):
    # 1.26 and later take native code of .mpy 6.3: another mpy-cross needs another `micropython`.
    natives = [data for path, data in pico.items() if path.endswith(".mpy") and data[2] >> 2]
    assert {(data[1], data[2] & 3) for data in natives} == {(6, 3)}
    assert find_board("pico")[0].micropython == "1.26"


def test_rig_only_modules_exist():
    for module in image.RIG_ONLY:
        assert (ROOT / "boards" / "pico" / f"{module}.py").is_file()
