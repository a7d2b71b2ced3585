"""How near the cells came to danger."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from solidbms.campaign.truth import Log, longest_ms
from support.packs import compiled

LIMITS = compiled("bench_1s").cell.limits


@pytest.mark.parametrize(
    ("past", "ms"),
    [("0000", 0), ("0100", 50), ("0110", 100), ("0111", 150), ("1000", 0), ("1101", 50),
     ("010110", 100), ("110101", 50), ("000001", 50)],
)  # fmt: skip
def test_longest(past, ms):
    t = np.arange(len(past)) * 50.0
    assert longest_ms(t, np.array([x == "1" for x in past])) == ms


def log(*rows: tuple[float, float, float]) -> Log:
    """rows: current, cell voltage, temperature."""
    cells = SimpleNamespace()
    plant = SimpleNamespace(cells=cells, current_a=0.0)
    found = Log(SimpleNamespace(plant=plant, elapsed_ms=0))
    for k, (amps, volt, temp_c) in enumerate(rows):
        found.world.elapsed_ms = 50 * k
        plant.current_a = amps
        plant.cells_v = [3.6, volt]
        cells.temp_c = np.array([[20.0, temp_c]])
        found.add()
    return found


def test_only_the_current_that_a_limit_is_about_counts():
    high = LIMITS.v_max + 0.1
    rest = log((0.0, high, 20.0), (0.0, high, 20.0)).beyond(LIMITS)
    assert rest == {}
    drawn = log((0.0, high, 20.0), (-1.0, high, 20.0)).beyond(LIMITS)
    assert "v_max" not in drawn and drawn["v_min"]["past_ms"] == 0
    charged = log((0.0, 3.6, 20.0), (1.0, high, 20.0), (1.0, high + 0.05, 20.0)).beyond(LIMITS)
    assert charged["v_max"] == {
        "worst": pytest.approx(high + 0.05), "limit": LIMITS.v_max, "past_ms": 100
    }  # fmt: skip


def test_each_limit_has_its_side():
    cold, hot = LIMITS.charge_temp_min_c - 1, LIMITS.discharge_temp_max_c + 1
    found = log((0.0, 3.6, 20.0), (1.0, 3.6, cold), (-1.0, LIMITS.v_min - 0.1, hot),
                (-1.1 * LIMITS.discharge_a_max, 3.6, 20.0)).beyond(LIMITS)  # fmt: skip
    past = {key for key, look in found.items() if look["past_ms"]}
    assert past == {"charge_temp_min_c", "discharge_temp_max_c", "v_min", "discharge_a_max"}
