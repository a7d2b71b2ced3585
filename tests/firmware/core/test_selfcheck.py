"""The processor's clock against the front end's, which counts whole seconds."""

from __future__ import annotations

from array import array
from typing import Any

import pytest
from bms.core import frame as F
from bms.core import plausible as P
from bms.core.frame import Frame
from bms.core.protect import Protect
from bms.core.selfcheck import SelfCheck
from bms.core.switch import Switch
from support.packs import compiled, read

PACK: Any = read(compiled("robot_14s").blob)
LIMIT_PPM = 50_000


class Clocks:
    """Ticks of one pack; the front end's clock runs at `pace` and shows its last whole second."""

    def __init__(self, start_ms: int = 0) -> None:
        self.check = SelfCheck(PACK, Protect(PACK))
        self.switch = Switch(0)
        self.frame = Frame(PACK.cells, PACK.temps)
        self.sig = array("i", [0] * len(P.FIELDS))
        self.start_ms, self.now_ms, self.fe_ms = start_ms, 0, 317.0

    def run(self, seconds: float, tick_ms: int = 50, pace: float = 1.0) -> int:
        """Return the furthest that the signal went."""
        worst = 0
        for _ in range(round(seconds * 1000 / tick_ms)):
            self.now_ms += tick_ms
            self.fe_ms += tick_ms * pace
            f = self.frame.v
            f[F.FLAGS] = F.FE_TIME_OK
            f[F.T_MS] = (self.start_ms + self.now_ms) & (1 << 30) - 1
            f[F.FE_TIME_MS] = int(self.fe_ms // 1000 * 1000)
            self.check.step(self.frame, self.sig, self.switch)
            worst = max(worst, self.sig[P.CLOCK_PPM])
        return worst


@pytest.mark.parametrize("phase_ms", range(0, 1000, 130))
@pytest.mark.parametrize("start_ms", [0, (1 << 30) - 25_000])
def test_clocks_that_agree_are_never_told_apart(phase_ms, start_ms):
    clocks = Clocks(start_ms)
    clocks.fe_ms = phase_ms
    for tick_ms in (50, 250, 20, 125):  # gates open and close
        assert clocks.run(70, tick_ms) < 20_000


@pytest.mark.parametrize("pace", [0.0, 0.9, 0.94, 1.06, 1.2])
def test_a_clock_that_is_off_shows_within_two_comparisons(pace):
    clocks = Clocks()
    clocks.run(60)
    assert clocks.run(2 * 23, pace=pace) > LIMIT_PPM
    clocks.run(60)
    assert clocks.sig[P.CLOCK_PPM] < LIMIT_PPM
