"""Emulated boards for tests; what needs an RP2040 image is skipped without one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from solidbms.targets import emu
from support.emulated import Closed


@pytest.fixture(scope="session")
def uf2() -> Path:
    """The RP2040 image that SOLIDBMS_UF2 names."""
    if why := emu.missing():
        pytest.skip(why)
    return Path(os.environ[emu.IMAGE])


@pytest.fixture(scope="session")
def closed(uf2: Path) -> Closed:
    """The firmware with both gates closed."""
    if not hasattr(os, "fork"):
        pytest.skip("emu: no fork on this system to copy a running board with")
    return Closed(uf2)
