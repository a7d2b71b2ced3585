"""`make flash` onto a board on a pty: what it refuses, and what is left wherever it ends."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bms.links import framing as L
from fixtures.ptyboard.rig import BOOT, FAST, PtyBoard, board_folder
from solidbms import flash as flashing
from solidbms import mpboard, slots, trial
from solidbms.image import SELECTOR, build_image, find_board, manifest
from solidbms.mpboard import BoardAway, BoardLost, Finder, Session
from solidbms.packc import compile_pack
from solidbms.schema import BadInput
from solidbms.slots import Slots, kept
from solidbms.targets.unix import interpreter
from support.frames import frame

needs_unix = pytest.mark.skipif(interpreter() is None, reason="no MicroPython here")
BLOB = compile_pack(str(FAST)).blob
MAIN = SELECTOR.read_bytes()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits for a process on this machine, not for a board."""
    monkeypatch.setattr(trial, "LISTEN_S", 0.6)
    monkeypatch.setattr(trial, "_ASK_S", 0.1)
    monkeypatch.setattr(flashing, "ANSWER_S", 15.0)
    monkeypatch.setattr(mpboard, "_READ_S", 2.0)


@pytest.fixture
def board(tmp_path: Path) -> Iterator[PtyBoard]:
    """A board with nothing on it."""
    with PtyBoard(tmp_path / "board") as one:
        yield one


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, bytes]]:
    """Image of a slot that behaves so, built once."""
    built: dict[str, dict[str, bytes]] = {}

    def image(mood: str) -> dict[str, bytes]:
        if mood not in built:
            folder = board_folder(tmp_path_factory.mktemp("boards") / mood, mood)
            built[mood] = build_image(folder, BLOB, pack_name="demo")
        return built[mood]

    return image


class Result(SimpleNamespace):
    """status; out: lines that were said; line: the one of a failure."""


@pytest.fixture
def install(
    images: Callable[[str], dict[str, bytes]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Result]:
    """Flash an image onto the board; changes: lines of its board.toml."""

    def run(board: PtyBoard, mood: str = "good", **changes: str) -> Result:
        file, _ = find_board(board_folder(tmp_path / f"for-{mood}", mood, **changes))
        said: list[str] = []
        status = flashing.install(file, images(mood), lambda: board.port, say=said.append)
        line = capsys.readouterr().err
        assert line.count("\n") == (1 if status else 0), line
        return Result(status=status, out=said, line=line.rstrip("\n"))

    return run


def slot(board: PtyBoard) -> str:
    return (board.flash / "slot").read_text().rstrip("\n")


def give(board: PtyBoard, name: str, image: dict[str, bytes], words: str) -> None:
    """Put a slot on the board as an earlier flash did, and start it."""
    board.write({f"slots/{name}/{path}": data for path, data in image.items()})
    board.write({"main.py": MAIN, "slot": words.encode() + b"\n"})
    board.power_cut()


def hold(board: PtyBoard, name: str, image: dict[str, bytes]) -> None:
    """Assert that a slot holds this image and nothing else."""
    root = board.flash / "slots" / name
    found = {p.relative_to(root).as_posix(): p for p in root.rglob("*") if p.is_file()}
    assert {path: file.read_bytes() for path, file in found.items()} == image


# What works


@needs_unix
def test_a_new_board_and_the_second_slot(board: PtyBoard, install: Any, images: Any):
    first = install(board)
    assert (first.status, slot(board)) == (0, "a")
    assert "boot report: board ptyboard, slot slots/a, boot code=ok pins=ok" in first.out
    assert first.out[-1] == "slot a runs"
    assert (board.flash / "main.py").read_bytes() == MAIN
    hold(board, "a", images("good"))

    second = install(board)
    assert (second.status, slot(board)) == (0, "b")
    assert second.out[-1] == "slot b runs, slot a is kept"

    third = install(board)  # slot a holds all of it but the manifest
    assert (third.status, slot(board)) == (0, "a")
    assert any(f"; {len(images('good')) - 1} were there" in line for line in third.out)
    hold(board, "a", images("good"))
    board.power_cut()
    assert install(board).status == 0


@needs_unix
def test_what_an_image_no_longer_has_goes(board: PtyBoard, install: Any, images: Any):
    give(board, "a", images("good"), "a")
    board.write({"slots/b/old/deep/x.py": b"x", "slots/b/board.py": b"x", "app.py": b"x = 1\n"})
    (board.flash / "app.py").unlink()
    board.write({"notes.txt": b"mine"})
    assert install(board).status == 0
    hold(board, "b", images("good"))
    assert not (board.flash / "slots/b/old").exists()
    assert (board.flash / "notes.txt").read_bytes() == b"mine"


@needs_unix
def test_somebody_elses_main_is_kept(board: PtyBoard, install: Any):
    board.write({"main.py": b"print('theirs')\n", "main_before.py": b"older\n"})
    board.power_cut()
    result = install(board)
    assert result.status == 0
    assert "the board's own main.py is kept as main_before_2.py" in result.out
    assert (board.flash / "main_before_2.py").read_bytes() == b"print('theirs')\n"
    assert (board.flash / "main_before.py").read_bytes() == b"older\n"


@needs_unix
def test_an_older_selector_is_replaced(board: PtyBoard, install: Any, images: Any):
    give(board, "a", images("good"), "a")
    board.write({"main.py": MAIN + b"# older\n"})
    assert install(board).status == 0
    assert (board.flash / "main.py").read_bytes() == MAIN
    assert not list(board.flash.glob("main_before*"))


@needs_unix
def test_a_program_that_runs_is_stopped(board: PtyBoard, install: Any):
    board.write({"main.py": b"import sys\nwhile True: sys.stdin.read(1)\n"})
    board.power_cut()
    assert install(board).status == 0


# What is refused, with nothing changed


def unchanged(board: PtyBoard, before: dict[str, bytes | None]) -> bool:
    return files(board.flash) == before


def files(root: Path) -> dict[str, bytes | None]:
    """Return every file and folder below."""
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None
        for path in root.rglob("*")
    }


@needs_unix
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"micropython": '"9.1"'}, "MicroPython 9.1 or later is needed"),
        ({"arch": '"armv6m"'}, "its architecture is x64, that of ptyboard is armv6m"),
    ],
)
def test_another_micropython_or_chip(
    board: PtyBoard, install: Any, images: Any, changes: dict[str, str], says: str
):
    give(board, "a", images("good"), "a")
    before = files(board.flash)
    result = install(board, **changes)
    assert result.status == 1
    assert result.line.startswith("micropython 1.29.0 on linux")
    assert says in result.line
    assert result.line.endswith("; nothing was changed")
    assert unchanged(board, before)
    assert trial.watch(lambda: board.port, "a", 15).passed  # it runs again


@needs_unix
def test_native_code_of_another_version(
    board: PtyBoard, install: Any, monkeypatch: pytest.MonkeyPatch
):
    value = Session.value

    def older(self: Session, expression: str) -> Any:
        found = value(self, expression)
        return (*found[:3], found[3] - 0x100) if "_mpy" in expression else found

    monkeypatch.setattr(Session, "value", older)
    assert "takes .mpy 6.2, bms/core/fixed.mpy is 6.3" in install(board).line


@needs_unix
def test_a_closed_gate(
    board: PtyBoard, install: Any, images: Any, monkeypatch: pytest.MonkeyPatch
):
    give(board, "a", images("close"), "a")
    assert trial.watch(lambda: board.port, "a", 15).passed
    time.sleep(0.5)
    monkeypatch.setattr(trial, "LISTEN_S", 5.0)
    before = files(board.flash)
    result = install(board)
    assert result.status == 1
    assert result.line == (
        "a gate is closed: open it first, in `solidbms monitor`; nothing was changed"
    )
    assert unchanged(board, before)
    assert board.boots == 2  # nor was it stopped


@pytest.mark.parametrize(("charge", "discharge"), [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_either_gate_counts_and_the_last_word(
    monkeypatch: pytest.MonkeyPatch, charge: int, discharge: int
):
    def status(*gates: int) -> bytes:
        return frame(L.STATUS, struct.pack("<25i", 1, 2, *gates, *range(21)))

    heard = [b">>> ", status(1 - charge, 1 - discharge), b"", status(charge, discharge)]
    wire = SimpleNamespace(read=lambda limit_s: heard.pop(0), write=len, close=list)
    monkeypatch.setattr(trial, "SerialWire", lambda place: wire)
    assert trial.gates_closed("port") == bool(charge or discharge)


@needs_unix
def test_a_board_that_does_not_let_go(
    board: PtyBoard, install: Any, monkeypatch: pytest.MonkeyPatch
):
    deaf = "while True:\n try:\n  while True: pass\n except KeyboardInterrupt: pass\n"
    monkeypatch.setattr(mpboard, "_READ_S", 0.2)
    monkeypatch.setattr(mpboard, "_ENTER_S", 1)
    board.write({"main.py": deaf.encode()})
    board.power_cut()
    result = install(board)
    assert result.status == 1
    assert result.line.startswith("the board does not let go of its console, a gate may be ")
    assert result.line.endswith("; nothing was changed")


@needs_unix
def test_a_small_file_system_is_left_alone(tmp_path: Path, install: Any):
    with PtyBoard(tmp_path / "board", disk_kb=32) as board:
        result = install(board)
        assert result.status == 1
        assert "its file system has 31 kB free, the image needs " in result.line
        assert result.line.endswith("kB: delete files of yours; nothing was changed")


@needs_unix
def test_a_file_system_that_fills_up(
    tmp_path: Path, install: Any, monkeypatch: pytest.MonkeyPatch
):
    with PtyBoard(tmp_path / "board", disk_kb=112) as board:
        assert install(board).status == 0
        monkeypatch.setattr(Slots, "_room", lambda *args: None)
        result = install(board)
        assert result.status == 1
        assert result.line == (
            "its file system is full; slot b is incomplete, the board runs slot a"
        )
        assert trial.watch(lambda: board.port, "a", 15).passed


def port(device: str, serial: str | None, usb: str = "1209:0001") -> Any:
    vid, pid = (int(part, 16) for part in usb.split(":"))
    return SimpleNamespace(device=device, serial_number=serial, vid=vid, pid=pid)


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Ports of this machine; two more that are no boards."""
    ports = [SimpleNamespace(device="/dev/ttyS0", serial_number=None, vid=None, pid=None),
             port("/dev/ttyUSB0", "X", "0403:6001")]  # fmt: skip
    monkeypatch.setattr(mpboard, "comports", lambda: ports)
    return ports


def finder(tmp_path: Path, port: str | None = None, serial: str | None = None) -> Finder:
    return Finder(find_board(board_folder(tmp_path / "mine"))[0], port, serial)


def test_no_board_says_what_to_do(plugged: list[Any], tmp_path: Path):
    with pytest.raises(BadInput, match="no board with USB id 1209:0001: plug it in"):
        finder(tmp_path)()


def test_two_boards_are_never_guessed_at(plugged: list[Any], tmp_path: Path):
    plugged += [port("/dev/ttyACM0", "E661"), port("/dev/ttyACM1", "E662")]
    with pytest.raises(BadInput) as caught:
        finder(tmp_path)()
    assert str(caught.value) == (
        "2 boards: /dev/ttyACM0 (serial E661), /dev/ttyACM1 (serial E662); "
        "PORT= or SERIAL= chooses one"
    )
    assert finder(tmp_path, serial="E662")() == "/dev/ttyACM1"
    assert finder(tmp_path, port="/dev/ttyACM0")() == "/dev/ttyACM0"
    with pytest.raises(BadInput, match="no board 'E663'; there are: /dev/ttyACM0"):
        finder(tmp_path, serial="E663")()


def test_the_same_board_is_found_again(plugged: list[Any], tmp_path: Path):
    plugged.append(port("/dev/ttyACM0", "E661"))
    find = finder(tmp_path)
    assert find() == "/dev/ttyACM0"
    plugged[-1:] = [port("/dev/ttyACM0", "E662")]  # another one in its place
    with pytest.raises(BoardAway):
        find()
    plugged.append(port("/dev/ttyACM3", "E661"))
    assert find() == "/dev/ttyACM3"
    assert finder(tmp_path, port="/dev/ttyACM3")() == "/dev/ttyACM3"


def test_the_command_ends_with_2_where_the_user_can_put_it_right(
    plugged: list[Any], tmp_path: Path
):
    with pytest.raises(BadInput, match="no board 'pica'"):
        flashing.flash("pica", "demo")
    with pytest.raises(BadInput, match=r"there are: .*demo"):
        flashing.flash("pico", "demi")
    with pytest.raises(BadInput, match="no board with USB id 2E8A:0005"):
        flashing.flash("pico", "demo")


def test_a_port_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    place = str(tmp_path / "ttyNone")
    assert flashing.flash("pico", "demo", port=place) == 1
    assert "No such file" in capsys.readouterr().err


# Slots that fail


@needs_unix
@pytest.mark.parametrize(
    ("mood", "why"),
    [
        ("crash", "slot b crashed: ValueError('as told',)"),
        ("hang", "slot b did not pass its boot test before the next start"),
        ("hang without watchdog", "slot b did not answer within 2 s"),
        ("unfit", "slot b did not pass its boot test (code=ok pins=failed)"),
    ],
)
def test_a_slot_that_fails_falls_back(
    board: PtyBoard, install: Any, images: Any, monkeypatch: pytest.MonkeyPatch,
    mood: str, why: str,
):  # fmt: skip
    if "within" in why:
        monkeypatch.setattr(flashing, "ANSWER_S", 2.0)
    give(board, "a", images("good"), "a")
    result = install(board, mood)
    assert result.status == 1
    assert result.line == f"{why}; slot a runs again"
    assert trial.watch(lambda: board.port, "a", 15).passed
    assert slot(board).startswith("a b failed")


@needs_unix
@pytest.mark.parametrize(
    ("mood", "why"),
    [
        ("crash", "slot a crashed: ValueError('as told',)"),
        ("unfit", "slot a did not pass its boot test within 2 s (code=ok pins=failed)"),
    ],
)
def test_a_first_slot_that_fails(
    board: PtyBoard, install: Any, monkeypatch: pytest.MonkeyPatch, mood: str, why: str
):
    with monkeypatch.context() as patch:
        if "within" in why:
            patch.setattr(flashing, "ANSWER_S", 2.0)
        result = install(board, mood)
    assert result.status == 1
    assert result.line == f"{why}; there is no other: mend it and flash again"
    assert slot(board).startswith("a - ") or slot(board) == "a -"
    assert install(board).status == 0
    assert slot(board) == "b"


@needs_unix
def test_a_board_that_never_comes_back(
    board: PtyBoard, images: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    give(board, "a", images("good"), "a")
    file, _ = find_board(board_folder(tmp_path / "mine"))

    def find() -> str:
        if not board.port:
            raise BoardAway("gone")
        return board.port

    board.returns = False
    monkeypatch.setattr(flashing, "ANSWER_S", 1.0)
    assert flashing.install(file, images("good"), find, say=lambda line: None) == 1
    assert capsys.readouterr().err == (
        "the board did not come back within 1 s; "
        "the board tries slot b; if that does not pass, slot a runs\n"
    )
    board.returns = True
    assert trial.watch(find, "b", 15).passed  # it was only slow
    assert slot(board) == "b"


@needs_unix
def test_a_board_with_older_firmware(board: PtyBoard, install: Any, images: Any):
    give(board, "a", images("older"), "a")  # its names are not this host's
    assert install(board, "crash").line == (
        "slot b crashed: ValueError('as told',); slot a runs again"
    )
    assert install(board).status == 0


@needs_unix
def test_a_closed_gate_of_older_firmware(
    board: PtyBoard, install: Any, images: Any, monkeypatch: pytest.MonkeyPatch
):
    give(board, "a", images("older close"), "a")
    time.sleep(0.5)
    monkeypatch.setattr(trial, "LISTEN_S", 5.0)
    assert install(board).line.startswith("a gate is closed")


# Interruptions


START = """
import sys
import one, two
print("%(name)s", one.NAME, two.NAME, sys.path[0])
def main(commit):
    pass
"""


def small(name: str) -> dict[str, bytes]:
    """Return an image that says whether it is whole: 4 files, one of several chunks."""
    long = "NAME = 'x'\n" * 400 + f"NAME = {name!r}\n"
    made = {"bms/deep/data.bin": name.encode() * 700, "one.py": f"NAME = {name!r}\n".encode(),
            "start.py": (START % {"name": name}).encode(), "two.py": long.encode()}  # fmt: skip
    return {**made, "manifest": manifest(made, "ptyboard", name)}


def snapshots(
    board: PtyBoard, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Slots, list[Path]]:
    """Return the procedure on a board, and where its flash is copied after every statement that
    changed it, in the middle of a file of several chunks too."""
    taken: list[Path] = []
    run = Session.run

    def copy_and_run(self: Session, code: str) -> str:
        if not taken or files(taken[-1]) != files(board.flash):
            taken.append(folder / f"{len(taken):03}")
            shutil.copytree(board.flash, taken[-1])
        return run(self, code)

    monkeypatch.setattr(Session, "run", copy_and_run)
    session = Session(board.port)
    session.enter()
    file, _ = find_board(board_folder(folder / "mine"))
    return Slots(session, file, lambda line: None), taken


def start(flash: Path) -> list[str]:
    """Switch a board with these files on; return what it prints."""
    run = subprocess.run([str(interpreter()), str(BOOT)], cwd=flash, capture_output=True,
                         text=True, timeout=10)  # fmt: skip
    return run.stdout.split() + run.stderr.split()


OLD, NEW, OTHER = ["old"] * 3, ["new"] * 3, ["other"] * 3
BEFORE = {  # slots, words of `slot` and more that a board holds before; what it starts then
    "a runs": ({"a": "old"}, "a", {}, [*OLD, "slots/a"]),
    "b runs": ({"a": "other", "b": "old"}, "b", {}, [*OLD, "slots/b"]),
    "an earlier flash never started": (
        {"a": "old", "b": "other"}, "b a", {}, [*OTHER, "slots/b"]),
    "an earlier flash failed": ({"a": "old", "b": "other"}, "b a tried", {}, [*OLD, "slots/a"]),
    "an earlier flash was cut": (
        {"a": "old"}, "a", {"slots/b/one.py": b"cu", "slots/b/manifest": b"1234"},
        [*OLD, "slots/a"]),
    "the chosen slot is not whole": (
        {"a": "old", "b": "other"}, "b", {"slots/b/two.py": b""}, [*OLD, "slots/a"]),
    "an older selector": (
        {"a": "old"}, "a", {"main.py": MAIN + b"# older\n"}, [*OLD, "slots/a"]),
    "somebody else's program": ({}, "", {"main.py": b"print('theirs')\n"}, ["theirs"]),
}  # fmt: skip


@needs_unix
@pytest.mark.parametrize("before", BEFORE)
def test_an_interruption_anywhere_leaves_old_or_new(
    board: PtyBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str
):
    held, words, more, starts = BEFORE[before]
    for name, what in held.items():
        board.write({f"slots/{name}/{path}": data for path, data in small(what).items()})
    if words:
        board.write({"main.py": MAIN, "slot": words.encode() + b"\n"})
    board.write(more)

    procedure, taken = snapshots(board, tmp_path / "taken", monkeypatch)
    procedure.fill(small("new"))
    procedure.switch()
    procedure.session.close()
    shutil.copytree(board.flash, tmp_path / "taken" / "last")

    assert len(taken) >= 9
    assert start(taken[0].rename(tmp_path / "first")) == starts
    said = [start(path) for path in [*taken[1:], tmp_path / "taken" / "last"]]
    new = [*NEW, f"slots/{procedure.idle}"]
    old = [starts, [*OLD, "slots/a"]]  # what never started may give way to what is proven
    if procedure.keep is None:
        # Between selector and switch there is nothing to be old, and new is whole.
        assert [*map(said.index, (starts, new))] == [0, len(said) - said.count(new)]
        old = [starts]
    for k, one in enumerate(said):
        assert one in (new, *old), f"cut after change {k + 1}"
    assert said[-1] == new
    assert said == sorted(said, key=lambda one: one == new)  # old, then new, no way back


@needs_unix
def test_a_flash_after_a_cut_one_goes_through(
    board: PtyBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    board.write({f"slots/a/{path}": data for path, data in small("old").items()})
    board.write({"main.py": MAIN, "slot": b"a\n"})
    with monkeypatch.context() as patch:
        procedure, taken = snapshots(board, tmp_path / "taken", patch)
        procedure.fill(small("new"))
        procedure.session.close()
    for path in taken[1::4]:
        shutil.rmtree(board.flash)
        shutil.copytree(path, board.flash)
        session = Session(board.port)
        session.enter()
        session.run(f"os.chdir({str(board.flash)!r})")  # the process stands in the one before
        again = Slots(session, procedure.board, lambda line: None)
        again.fill(small("new"))
        again.switch()
        session.close()
        hold(board, "b", small("new"))
        assert start(board.flash) == [*NEW, "slots/b"]


@needs_unix
@pytest.mark.parametrize(
    ("where", "nth", "state"),
    [
        ("sys.implementation", 1, "nothing was changed"),
        ("file = open('slots/b/bms", 5, "slot b is incomplete, the board runs slot a"),
        ("file.write", 9, "slot b is incomplete, the board runs slot a"),
        ("os.listdir()", 1, "slot b is whole, but the board runs slot a"),
        ("selector['write']('b a')", 1,
         "the board starts slot b if the switch came that far, else slot a"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("end", ["cable", "ctrl-c"])
def test_cable_or_ctrl_c_in_the_middle(
    board: PtyBoard, install: Any, images: Any, monkeypatch: pytest.MonkeyPatch,
    where: str, nth: int, state: str, end: str,
):  # fmt: skip
    give(board, "a", images("good"), "a")
    run = Session.run
    left = nth

    def cut(self: Session, code: str) -> str:
        nonlocal left
        if where in code:
            left -= 1
            if left == 0 and end == "cable":
                board.cut_after = 20  # in the middle of the statement
            elif left == 0:
                raise KeyboardInterrupt
        return run(self, code)

    monkeypatch.setattr(Session, "run", cut)
    result = install(board)
    assert result.status == 1
    if end == "ctrl-c":
        assert result.line == f"stopped; {state}"
    else:
        assert result.line.startswith("the board stopped answering")
        assert result.line.endswith(f"; {state}; unplug it and plug it in again")
    assert trial.watch(lambda: board.port, "a", 15).passed
    assert slot(board) == "a"


@needs_unix
def test_ctrl_c_during_the_trial(
    board: PtyBoard, install: Any, images: Any, monkeypatch: pytest.MonkeyPatch
):
    give(board, "a", images("good"), "a")

    def stop(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(flashing, "watch", stop)
    assert install(board).line == (
        "stopped; the board tries slot b; if that does not pass, slot a runs"
    )
    assert trial.watch(lambda: board.port, "b", 15).passed


@needs_unix
def test_ctrl_c_as_a_user_types_it(board: PtyBoard, images: Any, tmp_path: Path):
    give(board, "a", images("good"), "a")
    folder = board_folder(tmp_path / "mine")
    code = (
        "import signal, sys; from solidbms.flash import flash\n"
        # In the background a shell has it ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"sys.exit(flash({folder!r}, {str(FAST)!r}, {board.port!r},"
        " say=lambda line: print(line, flush=True)))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)  # fmt: skip
    assert process.stdout and process.stderr
    while not process.stdout.readline().startswith("micropython"):
        pass
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 1
    line = process.stderr.read()
    assert line.startswith("stopped; ")
    assert line.count("\n") == 1
    assert trial.watch(lambda: board.port, "a", 15).passed


@needs_unix
def test_what_reads_back_otherwise_is_never_started(
    board: PtyBoard, install: Any, images: Any, monkeypatch: pytest.MonkeyPatch
):
    give(board, "a", images("good"), "a")
    encode = mpboard.b64encode
    wrong = images("good")["bms/loop.mpy"][:1536]

    def flip(data: bytes) -> bytes:
        return encode(data if data != wrong else bytes([data[0] ^ 1]) + data[1:])

    monkeypatch.setattr(mpboard, "b64encode", flip)
    result = install(board)
    assert result.line == (
        "slots/b/bms/loop.mpy reads back otherwise than it was written; "
        "slot b is incomplete, the board runs slot a"
    )
    assert slot(board) == "a"


# What a board's own words say


@pytest.mark.parametrize(
    ("words", "sound", "stays"),
    [
        ("", "", None), ("", "a", "a"), ("", "b", "b"), ("", "ab", "a"),
        ("a", "ab", "a"), ("a", "b", "b"), ("b", "ab", "b"), ("b", "a", "a"),
        ("b a", "ab", "a"), ("b a", "b", "b"), ("b a tried", "ab", "a"), ("b a tried", "b", "b"),
        ("a b failed x", "ab", "a"), ("a b failed x", "b", "b"), ("b -", "ab", "b"),
        ("b - tried x", "ab", "b"), ("b", "", None),
    ],
)  # fmt: skip
def test_which_slot_stays(words: str, sound: str, stays: str | None):
    assert kept(words.split(None, 3), list(sound)) == stays


def test_the_mark_tells_a_selector():
    assert MAIN.startswith(slots._MARK + b"\n")
    assert b"solidbms" in slots._MARK


def test_a_transport_that_cannot_open_is_one_line(tmp_path: Path):
    with pytest.raises(BoardLost, match="cannot be opened: failed to access"):
        Session(str(tmp_path / os.sep / "dev" / "ttyNone"))
