"""Whatever comes together, the cells stay within their limits but for what promises allow, no gate
is closed on a bus that gives nothing for longer than promised, and the robot is never dropped
without notice. The search is `support.adversary`; a longer one is `make adversary`."""

from __future__ import annotations

import pytest
from solidbms.scenario import load_scenario
from solidbms.schema import HIL
from support import adversary

KEPT = sorted(path.stem for path in (HIL / "scenarios").glob("adversary_*.toml"))


def test_no_sequence_ends_past_the_limits_of_the_cell():
    best = adversary.search(examples=100)
    # A search that comes nowhere near has looked at nothing.
    assert best["v_min"].near["v_min"] > 0
    assert best["discharge_a_max"].near["discharge_a_max"] > 0
    assert best["blind"].near["blind"] > 0


def test_the_nearest_of_each_kind_is_kept():
    assert {name.removeprefix("adversary_") for name in KEPT} == set(adversary.KEPT)


@pytest.mark.parametrize("name", KEPT)
def test_what_was_kept_comes_near_and_not_past(name):
    near = adversary.meet(load_scenario(name)[0]).near
    assert near[name.removeprefix("adversary_")] > 0
    assert all(value <= 1.0 for value in near.values())
