"""Charge that the front ends count: not lost in a motor's ripple, nor where next to none flows.

Chip model and driver; the integral is the reference. A day goes in ticks of some seconds: what
counts is the chip's accumulator.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
from bms.core import frame as F
from bms.core.fixed import TICKS_MAX
from bms.drivers.bq76952 import Bq76952
from bms.drivers.ina228 import Ina228
from solidbms.fronts import front
from support.packs import compiled, read

HOUR_S, DAY_S = 3600, 86400


class Still:
    """What a circuit converts: cells at rest, and the current that the test gives."""

    def __init__(self, cells: int) -> None:
        self.cells_v = [3.7] * cells
        self.bus_v = self.out_v = 3.7 * cells
        self.current_a = self.mean_a = 0.0
        self.temps_c = [25.0] * 3
        self.fet_c = self.die_c = 25.0


class Counter:
    """Circuit and driver of a pack; `tick` lets time pass and adds up the charge handed on."""

    def __init__(self, name: str) -> None:
        pack = compiled(name)
        self.plant = Still(pack.file.cells_in_series)
        self.circuit: Any = front(pack.file).Circuit(pack.file)
        blob = read(pack.blob)
        driver = Ina228 if pack.file.front_end.chip == "ina228" else Bq76952
        self.driver: Any = driver(self, blob)
        self.frame = F.Frame(blob.cells, blob.temps)
        self.now_ms = 0
        self.mas = 0.0
        for _ in range(100):  # set up
            self.tick(0.05, 0.0, 0.0)
        self.mas = 0.0

    def readfrom_mem_into(self, address: int, register: int, buffer: bytearray) -> None:
        """Answer as machine.I2C."""
        buffer[:] = self.circuit.read(register, len(buffer))

    def writeto(self, address: int, buffer: bytearray) -> None:
        """Answer as machine.I2C."""
        self.circuit.write(buffer[0], bytes(buffer[1:]))

    def tick(self, span_s: float, mean_a: float, shown_a: float) -> None:
        """Let a span pass under a current of this mean, sampled as shown_a at its end."""
        self.now_ms += round(span_s * 1000)
        self.plant.mean_a, self.plant.current_a = mean_a, shown_a
        self.circuit.advance(self.now_ms * 1000, self.plant, ())
        v = self.frame.v
        v[F.T_MS] = self.now_ms & TICKS_MAX
        v[F.FLAGS] = v[F.CHARGE_UAS] = 0
        self.driver.read(self.frame)
        self.mas += v[F.CHARGE_UAS] / 1000


@pytest.mark.parametrize(
    ("name", "hz"), [("bench_1s", 16000.0), ("robot_14s", 16000.0), ("robot_14s", 20.5)]
)
def test_an_hour_under_ripple_is_counted_within_a_fifth_of_a_per_cent(name, hz):
    counter = Counter(name)
    base_a, peak_a = -6.0, 5.0
    w = 2 * math.pi * hz
    tick_s, total_as, sampled_as = 0.25, 0.0, 0.0
    for k in range(int(HOUR_S / tick_s)):
        t = k * tick_s
        mean_a = base_a + peak_a * (math.sin(w * (t + tick_s)) - math.sin(w * t)) / (w * tick_s)
        shown_a = base_a + peak_a * math.cos(w * (t + tick_s))
        counter.tick(tick_s, mean_a, shown_a)
        total_as += mean_a * tick_s
        sampled_as += shown_a * tick_s
    for _ in range(40):  # what the chip had not yet handed on
        counter.tick(tick_s, 0.0, 0.0)
    assert counter.mas / 1000 == pytest.approx(total_as, rel=0.002)
    if hz == 16000.0:  # each sample falls on a crest: they would have misled
        assert abs(sampled_as / total_as - 1) > 0.1


@pytest.mark.parametrize(("name", "ma"), [("bench_1s", 1.0), ("robot_14s", -1.0)])
def test_one_milliampere_is_not_lost_over_a_day(name, ma):
    counter = Counter(name)
    tick_s = 10.0
    for _ in range(int(DAY_S / tick_s)):
        counter.tick(tick_s, ma / 1000, ma / 1000)
    # To the resolution of the chip that counts: a BQ76952 has 0.234 mA through 1 mohm.
    assert counter.mas == pytest.approx(ma * DAY_S, rel=0.12)
