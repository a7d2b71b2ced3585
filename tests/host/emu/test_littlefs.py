"""A file system image holds what was put into it."""

from __future__ import annotations

import pytest

pytest.importorskip("littlefs", reason="emu: no littlefs on this system")

from littlefs import LittleFSError
from solidbms.emu import littlefs


def test_round_trip() -> None:
    files = {"main.py": b"print(1)", "slots/a/bms/core/x.mpy": bytes(9000), "empty": b""}
    image = littlefs.image(files)
    assert len(image) == littlefs.SIZE
    assert littlefs.files(image) == files


def test_no_file_system() -> None:
    with pytest.raises(LittleFSError):
        littlefs.files(b"\xff" * littlefs.SIZE)
