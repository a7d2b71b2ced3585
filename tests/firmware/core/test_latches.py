"""Memory that loses a bit of a latch: it neither drops a load, nor closes a gate, nor blows."""

from __future__ import annotations

import pytest
from bms.core import frame as F
from bms.core import plausible as P
from bms.core import rules as R
from bms.core import switch as W
from bms.core.plausible import ALL_TRUSTED
from bms.core.protect import NO_SHED


class Stub:
    """What switch takes from protect."""

    blocked = 0
    latched = 0
    shed_left_ms = NO_SHED
    burn = False


class Gates:
    """A switch that was asked to close, and its next steps."""

    def __init__(self, pre_discharge: bool = False) -> None:
        self.switch = W.Switch(pre_discharge)
        self.frame = F.Frame(1, 1)
        self.frame.v[F.FLAGS] = F.CODE_OK | F.CHIP_OK | F.PINS_OK | F.DSG_SHOWN
        self.sig = [0] * len(P.FIELDS)
        self.sig[P.TRUST] = ALL_TRUSTED
        self.protect = Stub()
        for _ in range(W.BOOT_FRAMES):
            self.step()
        self.step(W.CLOSE)
        self.step()
        assert self.switch.v[W.STATE] == W.ON

    def step(self, request: int = W.NONE) -> None:
        self.switch.step(self.frame, self.sig, self.protect, request)

    def trip(self) -> None:
        """Trip for good, and let what tripped go away."""
        self.protect.blocked = self.protect.latched = R.BOTH
        self.step()
        self.protect.blocked = self.protect.latched = 0
        assert (self.switch.v[W.STATE], self.switch.v[W.LATCHED]) == (W.TRIPPED, R.BOTH)

    @property
    def closed(self) -> tuple[int, int]:
        return self.switch.v[W.CHG_ON], self.switch.v[W.DSG_ON]


def test_sound_as_long_as_nothing_flips():
    gates = Gates()
    gates.trip()
    gates.step()
    gates.step(W.CLOSE)
    gates.protect.burn = True
    gates.step()
    assert gates.switch.sound() and gates.switch.v[W.FUSE] == 1


@pytest.mark.parametrize("place", [W.LATCHED, W.KEPT])
@pytest.mark.parametrize("bit", [1, 2])
def test_a_bit_lost_while_serving_drops_nothing_and_is_told(place, bit):
    gates = Gates()
    gates.switch.v[place] ^= bit
    gates.step()
    assert gates.closed == (1, 1)
    gates.step()
    assert gates.closed == (1, 1)
    assert not gates.switch.sound(), "for good: the copies agree again"


@pytest.mark.parametrize("place", [W.LATCHED, W.KEPT])
def test_a_latch_that_loses_its_bit_closes_nothing(place):
    gates = Gates()
    gates.trip()
    gates.switch.v[place] ^= R.BOTH
    for _ in range(3):
        gates.step()
        assert gates.closed == (0, 0)
    assert not gates.switch.sound()
    gates.step(W.CLOSE)
    assert gates.switch.v[W.STATE] in (W.ON, W.OFF)


@pytest.mark.parametrize("place", [W.FUSE, W.KEPT])
def test_a_bit_alone_blows_no_fuse(place):
    gates = Gates()
    gates.switch.v[place] ^= 1 if place == W.FUSE else 4
    gates.step()
    assert gates.switch.v[W.FUSE] == 0
    assert not gates.switch.sound()


def test_a_fuse_that_was_to_blow_still_does_while_its_rule_stands():
    gates = Gates()
    gates.protect.burn = True
    gates.step()
    gates.switch.v[W.FUSE] = 0
    gates.step()
    assert gates.switch.v[W.FUSE] == 1


@pytest.mark.parametrize("place", [W.LATCHED, W.KEPT])
@pytest.mark.parametrize("bit", [1, 2])
def test_a_fuse_stays_blown_where_a_latch_loses_a_bit(place, bit):
    gates = Gates()
    gates.protect.burn = True
    gates.step()
    gates.protect.burn = False
    gates.switch.v[place] ^= bit
    gates.step()
    assert gates.switch.v[W.FUSE] == 1
