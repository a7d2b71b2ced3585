"""Which of two code slots a board starts: `choose` on CPython, `main` on MicroPython."""

from __future__ import annotations

import builtins
import contextlib
import importlib.util
import os
import subprocess
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from fixtures.ptyboard.rig import BOOT
from solidbms.image import SELECTOR, manifest
from solidbms.targets.unix import interpreter

needs_unix = pytest.mark.skipif(interpreter() is None, reason="no MicroPython here")
BROKEN = ("byte", "short", "missing", "manifest cut", "manifest garbled", "empty", "none")
WORDS = (
    None, b"", b"\xff\xfe\x00", b"a" * 5000, b"c\n", b"a\n", b"b\n", b"a b\n", b"b a\n",
    b"a b tried\n", b"b a tried\n", b"a b failed why it did\n", b"b a failed why\n", b"a -\n",
    b"b -\n", b"a - tried crashed: x\n", b"b - tried\n", b"b a odd\n", b"b",
)  # fmt: skip
START = """
import sys
print("runs", sys.path[0])
def main(commit):
    %s
"""


@pytest.fixture
def selector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The selector as a module, in an empty file system."""
    monkeypatch.chdir(tmp_path)
    spec = importlib.util.spec_from_file_location("selector", SELECTOR)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def put(slot: str, kind: str = "whole", body: str = "pass") -> None:
    """Write a slot that is whole, or broken in one way."""
    root = Path("slots") / slot
    (root / "bms").mkdir(parents=True)
    files = {"start.py": (START % body).encode(), "bms/big.bin": bytes(range(256)) * 20}
    listed = manifest(files, "board", "pack")
    if kind == "byte":
        files["bms/big.bin"] = b"x" + files["bms/big.bin"][1:]
    elif kind == "short":
        files["bms/big.bin"] = files["bms/big.bin"][:-1]
    elif kind == "missing":
        del files["bms/big.bin"]
    elif kind == "manifest cut":
        listed = listed[: listed.index(b"end")]
    elif kind == "manifest garbled":
        listed = listed.replace(b"0", b"\xff")
    elif kind == "empty":
        listed = b""
    for path, data in files.items():
        (root / path).write_bytes(data)
    if kind != "none":
        (root / "manifest").write_bytes(listed)


def state() -> str:
    """Return what the file `slot` says now."""
    return Path("slot").read_text().rstrip("\n")


def files(a: str, b: str, words: bytes | None) -> None:
    """Make a file system."""
    put("a", a)
    put("b", b)
    if words is not None:
        Path("slot").write_bytes(words)


@pytest.mark.parametrize("kind", BROKEN)
def test_a_slot_is_whole_or_not(selector: Any, kind: str):
    put("a", "whole")
    put("b", kind)
    assert selector.whole("a")
    assert not selector.whole("b")


@pytest.mark.parametrize("cut", range(0, 80, 3))
def test_a_manifest_cut_anywhere_is_not_whole(selector: Any, cut: int):
    put("a")
    path = Path("slots/a/manifest")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - 1 - cut])
    assert not selector.whole("a")


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize(("a", "b"), [*product(("whole", "byte"), repeat=2)])
def test_whatever_slot_says_a_whole_one_starts(
    selector: Any, words: bytes | None, a: str, b: str
):
    files(a, b, words)
    sound = [slot for slot, kind in (("a", a), ("b", b)) if kind == "whole"]
    slot, trial, spare = selector.choose()
    assert slot in (sound or [None])
    if spare is not None:
        assert trial and spare != slot  # whether it is whole is found out when it is needed
    if slot is not None:  # a power cut now: the next start finds a whole one, too
        assert selector.choose()[0] in sound


@pytest.mark.parametrize(
    ("words", "starts", "then"),
    [
        ("a", ("a", False, None), "a"),
        ("b", ("b", False, None), "b"),
        ("b a", ("b", True, "a"), "b a tried"),
        ("a b", ("a", True, "b"), "a b tried"),
        ("b -", ("b", True, None), "b -"),
        ("b - tried crashed: x", ("b", True, None), "b - tried crashed: x"),
        ("a b failed crashed: x", ("a", False, None), "a b failed crashed: x"),
        ("b a tried", ("a", False, None),
         "a b failed did not pass its boot test before the next start"),
    ],
)  # fmt: skip
def test_both_whole(selector: Any, words: str, starts: tuple[Any, ...], then: str):
    files("whole", "whole", words.encode() + b"\n")
    assert selector.choose() == starts
    assert state() == then


@pytest.mark.parametrize("words", ["b", "b a", "b a tried", "b -", "b a failed x"])
def test_a_slot_that_is_not_whole_gives_way_and_slot_says_so(selector: Any, words: str):
    files("whole", "byte", words.encode())
    assert selector.choose() == ("a", False, None)
    assert state() == "a b failed is not whole"


def test_a_trial_without_a_whole_spare_goes_on(selector: Any):
    files("byte", "whole", b"b a\n")
    assert selector.choose() == ("b", True, "a")  # found out when it is needed
    assert selector.choose() == ("b", True, None)
    assert state() == "b a tried"


def test_a_trial_that_cannot_be_marked_does_not_start(selector: Any):
    files("whole", "whole", b"b a\n")
    Path("slot.new").mkdir()  # as a full file system: nothing can be written
    assert selector.choose() == ("a", False, None)
    assert state() == "b a"


class PowerCut(BaseException):
    """The end of everything."""


@pytest.mark.parametrize("words", ["b a", "b a tried", "b"])
@pytest.mark.parametrize("at", range(12))
def test_a_power_cut_between_any_two_steps(
    selector: Any, monkeypatch: pytest.MonkeyPatch, words: str, at: int
):
    files("whole", "byte" if words == "b" else "whole", words.encode())
    left = at

    def cut(real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise PowerCut
            return real(*args)

        return step

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", cut(open))
        patch.setattr(os, "rename", cut(os.rename))
        with contextlib.suppress(PowerCut):
            selector.choose()
    starts = selector.choose()
    assert starts in (("a", False, None), ("b", True, "a"))
    assert starts[0] == "a" or words == "b a"


def start(limit_s: float = 10.0) -> str:
    """Start a board of these files once; return what it prints. A reset ends it."""
    Path("main.py").write_bytes(SELECTOR.read_bytes())
    command = [str(interpreter()), str(BOOT)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=limit_s)
    return run.stdout + run.stderr


@needs_unix
@pytest.mark.parametrize(
    ("words", "body", "then"),
    [
        ("b a", "commit(True)", "b"),
        ("b -", "commit(True)", "b"),
        ("b", "commit(True)", "b"),
        ("b", "commit(False)", "b"),  # say, a chip that is missing: no reason to swap
        ("b -", "commit(False)", "b -"),
        ("b a", "commit(False)", "a b failed did not pass its boot test"),
        ("b a", "pass", "b a tried"),
        ("b a", "commit(True); 1 / 0", "b"),  # hours later: no reason to give it up
        ("b -", "commit(True); 1 / 0", "b"),
        ("b a", "1 / 0", "a b failed crashed: ZeroDivisionError('divide by zero',)"),
        ("b a", "import nothing_of_that_name", "a b failed crashed: ImportError(\"no module "
         "named 'nothing_of_that_name'\",)"),
        ("b -", "1 / 0", "b - tried crashed: ZeroDivisionError('divide by zero',)"),
        ("b", "1 / 0", "b"),
        ("b a", "raise ValueError('long' * 100)", "a b failed crashed: ValueError('"
         + ("long" * 100)[:59]),
    ],
)  # fmt: skip
def test_a_start_on_micropython(selector: Any, words: str, body: str, then: str):
    put("a")
    put("b", body=body)
    Path("slot").write_text(words + "\n")
    said = start()
    assert said.startswith("runs slots/b")
    assert ("Traceback" in said) == ("crashed" in then or body.endswith("1 / 0"))
    assert state() == then
    falls_back = then.startswith("a") or then == "b a tried"
    assert start().startswith(f"runs slots/{'a' if falls_back else 'b'}")


@needs_unix
def test_ctrl_c_leaves_a_trial_at_the_console(selector: Any):
    put("a")
    put("b", body="raise KeyboardInterrupt")
    Path("slot").write_text("b a\n")
    assert "KeyboardInterrupt" in start()
    assert state() == "b a tried"


@needs_unix
@pytest.mark.parametrize("words", WORDS)
def test_nothing_whole_is_one_line(selector: Any, words: bytes | None):
    files("byte", "none", words)
    assert start() == "solidbms: no slot is whole; `make flash` writes one\n"


@needs_unix
@pytest.mark.parametrize("words", [w for w in WORDS if w and w[:1] not in b"b"] + [None])
def test_garbled_slot_on_micropython(selector: Any, words: bytes | None):
    files("whole", "byte", words)
    assert start().startswith("runs slots/a")
