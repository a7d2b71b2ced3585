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


def _closed(uf2: Path, scenario: str) -> Closed:
    if not hasattr(os, "fork"):
        pytest.skip("emu: no fork on this system to copy a running board with")
    return Closed(uf2, scenario)


@pytest.fixture(scope="session")
def closed(uf2: Path) -> Closed:
    """The firmware of bench_1s with both gates closed, 5 A flowing."""
    return _closed(uf2, "loaded.toml")


@pytest.fixture(scope="session")
def walking(uf2: Path) -> Closed:
    """The firmware of robot_14s with both gates closed, 15 A flowing."""
    return _closed(uf2, "walking.toml")
