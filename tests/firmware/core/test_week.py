"""A week of use: drive, rest, charge, rest, with a sensor that is 20 mA off.

Cells of the pack's own OCV, with 10 % more resistance than it knows of and a slow part besides.
Ticks are long, and in each the estimator does what a board has time for.
"""

from __future__ import annotations

import math
import random
from array import array
from typing import Any

import pytest
from bms.core import capacity as C
from bms.core import frame as F
from bms.core import plausible as P
from bms.core import soc as S
from support.packs import compiled, read

SLICES = 11  # of the estimator in that time: all of a round, as on a board
OFFSET_A = 0.02


class Week:
    """One pack: `share` of the stated capacity, the first cell `weak` besides."""

    def __init__(
        self, cells: int = 1, share: float = 1.0, weak: float = 1.0, tick_ms: int = 20_000
    ) -> None:
        self.tick_ms = tick_ms
        self.pack: Any = read(compiled("bench_1s").blob)
        self.pack.cells = cells
        self.soc = S.Soc(self.pack)
        self.frame = F.Frame(cells, 1)
        self.sig = array("i", [0] * len(P.FIELDS))
        self.sig[P.TRUST] = P.ALL_TRUSTED
        self.sig[P.TEMP_MIN_MDEGC] = self.sig[P.TEMP_MAX_MDEGC] = 25_000
        f = self.frame.v
        f[F.FLAGS] = F.VOLT_OK | F.CURRENT_OK | F.CHARGE_OK
        f[F.SAVED_SOC_PPM] = f[F.SAVED_BOUND_PPM] = -1
        cell = self.soc.cell
        cell.warm(25_000)
        self.table = []  # OCV and the resistances, a thousandth of SoC apart
        for ppm in range(0, 1_000_001, 1000):
            cell.resist(ppm)
            r1, r2 = cell.r1_uohm, cell.r2_uohm
            r = [1.1e-6 * x for x in (cell.r0_uohm, r1, r2, 0.4 * r2)]
            self.table.append((cell.ocv(ppm)[0] / 1e6, *r))
        taus = self.pack.tau1_ms / 1e3, self.pack.tau2_ms / 1e3, 1200.0
        self.keep = [math.exp(-tick_ms / 1e3 / tau) for tau in taus]
        self.full_as = [self.pack.uas_per_ppm * share] * cells
        self.full_as[0] *= weak
        self.z = [0.9] * cells
        self.u = [[0.0] * 3 for _ in range(cells)]
        self.rng = random.Random(1)
        self.c = self.pack.uas_per_ppm / 3600  # A that empty it in an hour
        self.mode, self.left_s, self.load = "rest", 3600.0, 0.0
        self.volts = [self.table[900][0]] * cells
        self.owed = 0.0
        self.error: list[float] = []
        self.bound: list[float] = []
        self.ends: list[float] = []  # the estimate when the first cell was at its end,
        self.spare: list[float] = []  # and what the fullest cell had then

    def run(self, days: float) -> None:
        """Let time pass; `error` and `bound` get an entry a minute after the first two hours."""
        for k in range(round(days * 86_400_000 / self.tick_ms)):
            self._tick(k)

    def true(self) -> float:
        """Return the pack's SoC: what its weakest cell has left, of that and the least room."""
        z = [min(max(x, 0.0), 1.0) for x in self.z]
        left = min(x * full for x, full in zip(z, self.full_as, strict=True))
        room = min((1 - x) * full for x, full in zip(z, self.full_as, strict=True))
        return left / (left + room)

    def _current(self) -> float:
        dt = self.tick_ms / 1e3
        self.left_s -= dt
        if self.mode == "drive":
            if min(self.volts) < self.pack.low_uv / 1e6 or self.left_s <= 0:
                if self.left_s > 0:
                    self.ends.append(self.soc.v[S.SOC_PPM] / 1e6)
                    self.spare.append(max(self.z))
                self.mode, self.left_s = "rest", self.rng.uniform(1800, 10_000)
            elif self.rng.random() < 0.3:
                self.load = -self.c * self.rng.uniform(-0.3, 1.2)
            return self.load
        if self.mode == "charge":
            high = self.pack.full_uv / 1e6
            room = high + 0.01 - max(self.volts)
            self.load = min(0.5 * self.c, max(0.01 * self.c, self.load + room * self.c * 2))
            if (room < 0.012 and self.load < 0.04 * self.c) or self.left_s <= 0:
                self.mode, self.left_s = "rested", self.rng.uniform(1800, 20_000)
            return self.load
        if self.left_s <= 0:
            self.load = 0.0
            if self.mode == "rest":
                self.mode, self.left_s = "charge", 14_400.0
            else:
                self.mode, self.left_s = "drive", self.rng.uniform(3600, 9000)
        return 0.0

    def _tick(self, k: int) -> None:
        dt = self.tick_ms / 1e3
        amps = self._current()
        shown = []
        for k_cell, full in enumerate(self.full_as):
            z = self.z[k_cell] = min(max(self.z[k_cell] + amps * dt / full, -0.02), 1.02)
            ocv, r0, *r = self.table[min(max(round(z * 1000), 0), 1000)]
            u = self.u[k_cell]
            for j in range(3):
                u[j] += (r[j] * amps - u[j]) * (1 - self.keep[j])
            self.volts[k_cell] = ocv + r0 * amps + u[0] + u[1] + u[2]
            shown.append(round(1e6 * (self.volts[k_cell] + self.rng.gauss(0, 0.002))))
        moved = (amps + OFFSET_A) * self.tick_ms * 1e3 + self.owed
        f, sig = self.frame.v, self.sig
        f[F.CHARGE_UAS] = int(moved)
        self.owed = moved - int(moved)
        f[F.T_MS] = k * self.tick_ms & (1 << 30) - 1
        f[F.CELL0 : F.CELL0 + len(shown)] = array("i", shown)
        sig[P.CELL_MIN_UV], sig[P.CELL_MAX_UV] = min(shown), max(shown)
        sig[P.CHARGE_UA] = round((amps + OFFSET_A) * 1e6)
        sig[P.OFFSET_UA] = sig[P.CHARGE_UA] if not amps else 0
        sig[P.DT_MS] = 1000  # where the rules' time stops
        self.soc.step(self.frame, sig)
        f[F.CHARGE_UAS] = sig[P.DT_MS] = 0
        for _ in range(SLICES + len(shown)):
            self.soc.step(self.frame, sig)
        if k * dt > 7200 and k % 3 == 0:
            self.error.append(self.soc.v[S.SOC_PPM] / 1e6 - self.true())
            self.bound.append(self.soc.v[S.BOUND_PPM] / 1e6)


def worst(errors: list[float]) -> float:
    return max(abs(x) for x in errors)


def test_a_week_with_an_offset_stays_within_2_percent():
    week = Week()
    week.run(7)
    assert len(week.error) > 9000
    assert worst(week.error) < 0.02
    held = [abs(e) <= b for e, b in zip(week.error, week.bound, strict=True)]
    assert sum(held) >= 0.95 * len(held)
    assert abs((week.soc.filter.bias >> 16) / 1e6 - OFFSET_A) < 0.002
    assert week.soc.capacity.v[C.RATIO_PPM] == pytest.approx(1_000_000, abs=20_000)


def test_an_aged_cell_is_known_by_the_end_of_the_week():
    week = Week(share=0.85)
    week.run(7)
    assert week.soc.capacity.v[C.RATIO_PPM] == pytest.approx(850_000, abs=20_000)
    assert worst(week.error[len(week.error) // 2 :]) < 0.02


def test_one_weak_cell_is_the_end_of_the_pack():
    week = Week(cells=4, weak=0.9, tick_ms=5_000)
    week.run(2)
    # At the least voltage under load a few % are left to it, and much more to the others.
    assert len(week.ends) >= 2
    assert worst(week.ends) < 0.05 and min(week.spare) > 0.1
