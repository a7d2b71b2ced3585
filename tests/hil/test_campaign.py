"""The single-fault campaign, a part of it: each fault of the robot pack in one condition; the
whole is `make campaign`, its outcome docs/safety.md."""

from __future__ import annotations

import pytest
from solidbms.campaign import judge, pool, shifts
from solidbms.campaign.build import Spec
from solidbms.campaign.cases import cases
from support.packs import compiled

NAME = "robot_14s"
PACK = compiled(NAME)
LONGEST_S = 60.0


def short() -> list[Spec]:
    """Return one run of each fault that is told soon, the conditions in turn."""
    found = []
    for k, case in enumerate(cases().values()):
        told = [c for c in case.conditions if case.why_not(c, PACK) is None]
        told = [c for c in told if case.span_s(c, PACK) <= LONGEST_S]
        if told and case.missing(PACK.file) is None:
            found.append(Spec(NAME, case.name, told[k % len(told)], 0))
    return found


@pytest.mark.parametrize("spec", short(), ids=lambda s: f"{s.case}-{s.condition}")
def test_told_in_time(spec: Spec):
    case = cases()[spec.case]
    result = pool.run_spec(spec)
    assert judge.wrong([result]) == []
    found = judge.detection(result, case, PACK)
    assert found is not None, [t["rule"] for t in result["trips"]]
    assert found["ok"], found


@pytest.mark.parametrize("temp_c", [-10, 20, 45])
def test_a_shift_without_a_fault_trips_nothing(temp_c):
    result = pool.run_spec(Spec(NAME, "", f"shift 0.05 h {temp_c} degC", 0))
    assert result["trips"] == [] or {t["level"] for t in result["trips"]} <= {"note", "warn"}
    assert judge.wrong([result]) == []
    assert result["simulated_s"] == 180


def test_shifts_are_of_the_length_and_warmth_promised():
    specs = shifts.specs(NAME)
    words = [spec.condition.split() for spec in specs]
    assert sum(float(w[1]) for w in words) >= 20
    assert len({spec.seed for spec in specs}) == 10
    assert (float(words[0][3]), float(words[-1][3])) == (-10, 45)
