"""The filter of bms.core.filter in float64, written from its equations and not from its integers.

An oracle: units are V, A, s, SoC from 0 to 1. What the constants mean stands in the firmware.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Tables:
    """A pack's cell tables with lines between their points."""

    def __init__(self, pack: Any) -> None:
        def grid(name: str, per: float) -> Array:
            return np.array(getattr(pack, name), float).reshape(len(pack.cell_mdegc), -1) / per

        self.temp_c = np.array(pack.cell_mdegc) / 1e3
        self.ocv_soc = np.array(pack.cell_ocv_ppm) / 1e6
        self.r_soc = np.array(pack.cell_r_ppm) / 1e6
        self.ocv_v = grid("cell_ocv_uv", 1e6)
        self.r_ohm = [grid(f"cell_r{k}_uohm", 1e6) for k in range(3)]
        self.residual_v = grid("cell_residual_uv", 1e6)
        self.error_v = grid("cell_ocv_error_uv", 1e6)
        half_v = np.array(pack.cell_hysteresis_uv) / 1e6
        self.half_v = half_v if len(half_v) else None

    def warm(self, temp_c: float) -> None:
        """Take the rows for this temperature."""
        x = min(max(temp_c, self.temp_c[0]), self.temp_c[-1])
        k = min(int(np.searchsorted(self.temp_c, x, side="right")) - 1, len(self.temp_c) - 2)
        share = (x - self.temp_c[k]) / (self.temp_c[k + 1] - self.temp_c[k])

        def row(table: Array) -> Array:
            return table[k] * (1 - share) + table[k + 1] * share

        self.ocv_row, self.r_rows = row(self.ocv_v), [row(r) for r in self.r_ohm]
        self.residual, self.error = float(row(self.residual_v)[0]), float(row(self.error_v)[0])

    def ocv(self, soc: float) -> tuple[float, float]:
        """Return OCV and its slope."""
        return line(self.ocv_soc, self.ocv_row, soc)

    def r(self, k: int, soc: float) -> tuple[float, float]:
        """Return R0, R1 or R2 and its slope."""
        return line(self.r_soc, self.r_rows[k], soc)

    def half(self, soc: float) -> float:
        """Return half of what lies between the branches."""
        return 0.0 if self.half_v is None else line(self.ocv_soc, self.half_v, soc)[0]


def line(x: Array, y: Array, at: float) -> tuple[float, float]:
    """Return value and slope; held beyond the ends, where the last slope stands."""
    k = min(max(int(np.searchsorted(x, at, side="right")) - 1, 0), len(x) - 2)
    slope = (y[k + 1] - y[k]) / (x[k + 1] - x[k])
    return float(y[k] + slope * (min(max(at, x[0]), x[-1]) - x[k])), float(slope)


class FloatFilter:
    """One pack's filter; `step` returns what it moves SoC by."""

    def __init__(self, pack: Any) -> None:
        self.pack = pack
        self.tables = Tables(pack)
        self.full_as = float(pack.uas_per_ppm)
        self.offset_a = pack.offset_error_ua / 1e6

    def start(self, temp_c: float, soc: float, sd: float, current_a: float, rested: bool) -> None:
        """Begin anew from a SoC of this standard deviation."""
        t = self.tables
        t.warm(temp_c)
        before_a = abs(current_a) if rested else self.full_as * 1e-4
        drop_v = t.r(2, soc)[0] * before_a
        self.p = np.diag([sd * sd, drop_v**2 + 1e-6, (0.4 * self.offset_a) ** 2])
        self.square = t.residual**2
        self.bias = self.u1 = self.u2 = self.age = self.branch = 0.0
        self.scale, self.scale_var = 1.0, 0.15**2
        self.bands = [0.0] * 4  # innovation and drop, after 10 s and after 100 s
        self.left = self.told_bound = 0.0  # of a reading at rest
        self.rate = 1.0  # charge moved lately, C
        self.gone = 0.0  # since the start, capacities
        self.slope = t.ocv(soc)[1]
        self.start_bound = 0.0 if rested else min(2 * sd, 1.0)
        self.bound = min(2 * sd, 1.0)

    def told(self, off: float) -> None:
        """SoC was read off a rested cell just now and may be off by this much."""
        self.left, self.told_bound = 1.0, min(off, 1.0)
        self.bound = max(self.bound, self.told_bound)

    def step(
        self, soc: float, dt: float, charge_as: float, volts: float, amps: float, temp_c: float
    ) -> float:
        """Take in what a second brought; return the correction of SoC."""
        pack, t = self.pack, self.tables
        t.warm(temp_c)
        r0, r0_slope = t.r(0, soc)
        r2 = t.r(2, soc)[0]
        mean_a = charge_as / dt - self.bias
        move = -self.bias * dt / self.full_as
        keep = [max((2 * tau - dt) / (2 * tau + dt), 0.0)
                for tau in (pack.tau1_ms / 1e3, pack.tau2_ms / 1e3)]  # fmt: skip
        before = self.u1 + self.u2
        self.u1 = keep[0] * self.u1 + (1 - keep[0]) * t.r(1, soc)[0] * self.scale * mean_a
        self.u2 = keep[1] * self.u2 + (1 - keep[1]) * r2 * self.scale * mean_a
        drop = (before + self.u1 + self.u2) / 2
        turned = min(abs(charge_as) * 30 / self.full_as, 1.0)
        self.branch += ((1.0 if mean_a > 0 else -1.0) - self.branch) * turned
        self.age = min(self.age + dt, 6000.0)
        moved = abs(charge_as) / self.full_as
        self.gone += moved
        self.rate += (min(moved / dt * 3600, 100.0) - self.rate) * min(dt / 1200, 1.0)
        self.left = max(self.left - moved * (max(self.slope, 0.0) / (8 * t.error) + 1), 0.0)
        f = np.array([[1, 0, -dt / self.full_as], [0, keep[1], -r2 * self.scale * (1 - keep[1])],
                      [0, 0, 1.0]])  # fmt: skip
        share = (pack.gain_error_ppm + pack.capacity_error_ppm) / 2e6
        q = np.diag([share**2 * abs(charge_as) / self.full_as * 0.1 + 4e-12 * dt,
                     (0.45 * t.residual) ** 2 * (1 - keep[1] ** 2),
                     (self.offset_a / 5e4) ** 2 * dt])  # fmt: skip
        p = f @ self.p @ f.T + q
        amps -= self.bias
        ocv, self.slope = t.ocv(soc)
        slope = self.slope
        r0_v = r0 * amps * self.scale
        drop += r0_v
        y = volts - ocv - drop - t.half(soc) * self.branch
        h = np.array([slope + r0_slope * amps * self.scale, 1.0, -r0 * self.scale])
        multiple = 3.25 + 4.75 * self.age / 6000
        noise = multiple**2 * (t.residual**2 + (slope * 0.003) ** 2) + (0.55 * r0_v) ** 2
        more = 1 + 2 * max(self.branch, 0.0) * (t.half_v is None)
        gate = (0.45 * t.error * more) ** 2 / max(h[0] ** 2 * p[0, 0], 1e-12)
        per_one = max(1 / max(self.rate, 0.01), 1.0)
        wide = (1 + gate * gate * per_one) / max(1 - self.left, 1e-9) ** 2
        noise = noise * min(wide * per_one, 1e6) + 4e-6
        ph = p @ h
        total = max(max(float(h @ ph), 0.0) + noise, y * y / 9)
        gain = ph / total
        move += float(gain[0]) * y
        self.u2 += float(gain[1]) * y
        most = 2 * self.offset_a
        self.bias = min(max(self.bias + float(gain[2]) * y, -most), most)
        self.p = p - np.outer(gain, ph)
        self.square += (y * y - self.square) * min(dt, 600.0) / 600
        self._learn_scale(y, drop, dt)
        self._bound(slope)
        return move

    def _learn_scale(self, y: float, drop: float, dt: float) -> None:
        x = drop / self.scale
        for k, (value, tau) in enumerate(((y, 10.0), (y, 100.0), (x, 10.0), (x, 100.0))):
            self.bands[k] += (value - self.bands[k]) * min(dt / tau, 1.0)
        if self.age < 200:
            return
        y, x = self.bands[0] - self.bands[1], self.bands[2] - self.bands[3]
        var = min(self.scale_var + 1e-8 * dt, 0.0225)
        total = var * x * x + 100 * max(self.tables.residual**2, self.square)
        self.scale = min(max(self.scale + var * x * y / total, 0.5), 3.0)
        self.scale_var = var - var * var * x * x / total

    def _bound(self, slope: float) -> None:
        square = 7.25 * self.p[0, 0] + 2.5e-5
        left = max(1 - self.age / 2400, 1 - self.gone / 0.5)
        if self.start_bound and left > 0:
            start = 2 * self.tables.residual / max(slope, 1e-9) * left
            square += min(start, self.start_bound) ** 2
        promised = self.tables.residual**2 + self.left * self.tables.error**2
        square *= max(self.square / promised, 1.0)
        self.bound = min(max(math.sqrt(square), self.told_bound * self.left), 1.0)
