"""What a run of an estimator comes to, in % SoC."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

AFTER_S = 1200.0  # the issue's: what a start leaves is gone by then
CLOSE = 0.05


@dataclass(frozen=True)
class Series:
    """An estimate over time: seconds since it began, SoC and bound as shares, the reference."""

    t_s: Array
    soc: Array
    true_soc: Array
    bound: Array | None = None

    @property
    def error(self) -> Array:
        """Estimate less reference."""
        return self.soc - self.true_soc


@dataclass(frozen=True)
class Score:
    """RMSE, greatest and last error and mean bound after AFTER_S; the rest from the start on."""

    rmse_pct: float
    max_pct: float
    end_pct: float
    close_s: float  # from here on the error stays within 5 %
    held_pct: float | None = None  # of the time within the bound
    bound_pct: float | None = None


def score(s: Series) -> Score:
    """Score a series; one that ends before AFTER_S by its second half."""
    after = s.t_s >= min(AFTER_S, float(s.t_s[-1]) / 2)
    error = 100 * s.error
    far = np.flatnonzero(np.abs(error) > 100 * CLOSE)
    close_s = 0.0
    if len(far):
        close_s = float(s.t_s[far[-1] + 1]) if far[-1] + 1 < len(error) else float("inf")
    held = bound = None
    if s.bound is not None:
        held = float(100 * np.mean(np.abs(s.error) <= s.bound))
        bound = float(100 * np.mean(s.bound[after]))
    return Score(
        float(np.sqrt(np.mean(error[after] ** 2))),
        float(np.abs(error[after]).max()),
        float(error[-1]),
        close_s,
        held,
        bound,
    )


@dataclass(frozen=True)
class Mean:
    """Scores of the runs of a group: means, and the worst run of each."""

    rmse_pct: float
    max_pct: float
    worst_rmse_pct: float
    worst_max_pct: float
    worst_end_pct: float
    worst_close_s: float
    held_pct: float | None
    worst_held_pct: float | None
    bound_pct: float | None

    @property
    def ratio(self) -> float | None:
        """Mean bound over RMSE."""
        return None if self.bound_pct is None else self.bound_pct / max(self.rmse_pct, 1e-9)


def mean(scores: list[Score]) -> Mean:
    """Return what a group of runs comes to, every run alike."""
    held = [s.held_pct for s in scores if s.held_pct is not None]
    bound = [s.bound_pct for s in scores if s.bound_pct is not None]
    return Mean(
        float(np.mean([s.rmse_pct for s in scores])),
        float(np.mean([s.max_pct for s in scores])),
        max(s.rmse_pct for s in scores),
        max(s.max_pct for s in scores),
        max(abs(s.end_pct) for s in scores),
        max(s.close_s for s in scores),
        float(np.mean(held)) if held else None,
        min(held, default=None),
        float(np.mean(bound)) if bound else None,
    )
