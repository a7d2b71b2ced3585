"""What other open battery firmware does for SoC, re-created from reading it, on our readings.

| who | scheme, and where theirs stands |
| --- | --- |
| counting | plain counting from what was believed at the start |
| foxBMS 2 | counting; looked up by cell voltage after 10 min below 200 mA (soc_counting.c, \
battery_system_cfg.h) |
| Libre Solar | looked up at boot, then counting (bms_soc.c) |
| VESC BMS | low-passed look-up of the lowest cell voltage, under load too (main_task of \
bms_if.c); its constant is per loop of about a millisecond, so 10 s here is kind |

All look up in the OCV at 25 degC of the same cell file: one curve is what they have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FOX_REST_A, FOX_REST_S = 0.2, 600.0
VESC_LAG_S = 10.0


@dataclass(frozen=True)
class Readings:
    """What the sensors of a run show, a row at a time, and what is believed at its start."""

    t_s: Array
    i_a: Array
    v: Array
    temp_c: Array
    moved_as: Array
    capacity_as: float
    ocv_soc: Array
    ocv_v: Array  # at 25 degC
    start_soc: float | None  # None: nothing is believed, the first reading counts as rested
    start_sd: float

    def look_up(self, v: float) -> float:
        """SoC of an open-circuit voltage."""
        return float(np.interp(v, self.ocv_v, self.ocv_soc))

    def begin(self) -> float:
        """SoC at the first row."""
        if self.start_soc is not None:
            return self.start_soc
        return self.look_up(float(self.v[0]))


def counting(r: Readings) -> Array:
    """Count."""
    return _counted(r, r.begin())


def libre_solar(r: Readings) -> Array:
    """Look up at boot whatever was saved, then count."""
    return _counted(r, r.look_up(float(r.v[0])))


def foxbms(r: Readings) -> Array:
    """Count; at rest look up, for as long as the rest goes on."""
    soc = np.empty(len(r.t_s))
    at, rest_s, before_s, moved = r.begin(), 0.0, r.t_s[0], r.moved_as[0]
    rows = zip(r.t_s.tolist(), r.i_a.tolist(), r.v.tolist(), r.moved_as.tolist(), strict=True)
    for k, (t_s, i_a, v, now_as) in enumerate(rows):
        at = min(max(at + (now_as - moved) / r.capacity_as, 0.0), 1.0)
        rest_s = rest_s + t_s - before_s if abs(i_a) < FOX_REST_A else 0.0
        before_s, moved = t_s, now_as
        if rest_s >= FOX_REST_S:
            at = r.look_up(v)
        soc[k] = at
    return soc


def vesc(r: Readings) -> Array:
    """Low-pass the SoC that the voltage shows."""
    shown = np.interp(r.v, r.ocv_v, r.ocv_soc)
    soc = np.empty(len(shown))
    at = shown[0]
    share = -np.expm1(-np.diff(r.t_s, prepend=r.t_s[0]) / VESC_LAG_S)
    for k, (now, weight) in enumerate(zip(shown.tolist(), share.tolist(), strict=True)):
        at += (now - at) * weight
        soc[k] = at
    return soc


def _counted(r: Readings, start: float) -> Array:
    # Both ends hold, as in their code: charge beyond full is not owed back.
    soc = np.empty(len(r.moved_as))
    at = start
    steps = np.diff(r.moved_as, prepend=r.moved_as[0]) / r.capacity_as
    for k, step in enumerate(steps.tolist()):
        at = min(max(at + step, 0.0), 1.0)
        soc[k] = at
    return soc


SCHEMES: dict[str, Callable[[Readings], Array]] = {
    "counting": counting,
    "foxBMS": foxbms,
    "Libre Solar": libre_solar,
    "VESC": vesc,
}
