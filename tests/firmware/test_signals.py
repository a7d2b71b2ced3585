"""Ends of the signals that `Plausible` makes, in numbers written down here."""

from bms.core import frame as F
from bms.core import plausible as P
from bms.core.frame import Frame
from bms.core.plausible import Plausible


class Pack:
    has_fet = has_board = 0


class Signals:
    """One cell, one sensor; a tick at a time."""

    def __init__(self):
        self.plausible = Plausible(Pack())
        self.frame = Frame(1, 1)
        self.now_ms = 0

    def step(self, ms=50, ua=0, uv=3_700_000, flags=F.VOLT_OK | F.CURRENT_OK | F.TEMP_OK):
        self.now_ms += ms
        f = self.frame.v
        f[F.T_MS], f[F.FLAGS], f[F.CURRENT_UA], f[F.CELL0] = self.now_ms, flags, ua, uv
        self.plausible.step(self.frame, 50)
        return self.plausible.v


def test_counters_stop_at_a_thousand_seconds():
    signals = Signals()
    v = signals.step(ms=1000, flags=0)
    for _ in range(1100):
        v = signals.step(ms=1000, flags=0)
    assert v[P.FE_LOST_MS] == v[P.TEMP_LOST_MS] == 1_000_000
    assert v[P.FE_UNSTEADY_MS] == 1_000_000
