"""What thermistors feel, and how warm FETs and front end get."""

from __future__ import annotations

import math

import numpy as np

from solidbms.plant.cell import CACHE, Array


class Sensors:
    """Thermistors of a pack: each lies between two cells of the row and lags.

    One alone lies on the hottest cell and follows at once; one a cell lies on it. tau_s: lag.
    """

    def __init__(self, count: int, cells: int, tau_s: float) -> None:
        self._alone = count == 1
        self._tau_s = tau_s
        self._share = np.zeros((count, cells))
        for k in range(count):
            if count >= cells:
                self._share[k, min(k, cells - 1)] = 1.0
            else:
                place = (k + 1) * cells / (count + 1)
                above = math.floor(place) if 2 * place < cells else math.ceil(place)
                self._share[k, above - 1 : above + 1] = 0.5
        self._bases: dict[tuple[float, int], Array] = {}
        self._state = np.zeros((3, count))  # touched, its change in 1 s, felt

    def begin(self, temp_c: Array) -> list[float]:
        """Settle on the cells' temperatures; return what is felt."""
        self._state[2] = self._touch(temp_c)[0]
        return self._state[2].tolist()

    def felt_c(
        self, before_c: list[float], temp_c: Array, change_k: Array, dt_s: float, steps: int
    ) -> list[list[float]]:
        """Return what each feels after every step, cells changing by change_k in 1 s."""
        base = self._bases.get((dt_s, steps))
        if base is None:
            if len(self._bases) > CACHE:
                self._bases.clear()
            base = self._bases[dt_s, steps] = self._base(dt_s * np.arange(1.0, steps + 1))
        self._state[:2] = self._touch(temp_c, change_k)
        self._state[2] = before_c
        return (base @ self._state).tolist()

    def _base(self, t_s: Array) -> Array:
        """Weights on the state after times t_s: the answer of a lag to a ramp."""
        left = np.zeros_like(t_s) if self._alone else np.exp(-t_s / self._tau_s)
        behind_s = 0.0 if self._alone else self._tau_s
        return np.stack([1 - left, t_s - behind_s * (1 - left), left], 1)

    def _touch(self, *cells: Array) -> Array:
        if self._alone:
            hottest = int(cells[0].argmax())
            return np.array([[row[hottest]] for row in cells])
        return np.array(cells) @ self._share.T


class Rise:
    """A part that warms by k_per_w and answers with tau_s: `k` above its surroundings."""

    def __init__(self, k_per_w: float, tau_s: float) -> None:
        self.k = 0.0
        self.w = 0.0
        self._k_per_w = k_per_w
        self._tau_s = tau_s
        self._share = self._dt_s = 0.0

    def step(self, dt_s: float) -> float:
        """Let dt_s pass under `w`; return `k`."""
        if dt_s != self._dt_s:
            self._dt_s, self._share = dt_s, -math.expm1(-dt_s / self._tau_s)
        self.k += (self.w * self._k_per_w - self.k) * self._share
        return self.k
