"""What a run showed against what may be expected of it."""

from __future__ import annotations

import pytest
from solidbms.campaign import judge
from solidbms.campaign.cases import Case
from solidbms.faults import Single
from support.packs import compiled

PACK = compiled("bench_1s")
RULES = {rule.id: rule for rule in PACK.rules}
TICK_MS = PACK.file.tick_ms


def case(**single) -> Case:
    return Case("some", "some fault", Single(row="x", by=["fe_lost", "current_zero"], **single))


def trip(rule: str, acted_ms: int, gate_ms: int | None, **more) -> dict:
    level = {"fe_lost": "trip", "current_zero": "warn"}.get(rule, "trip")
    return {"rule": rule, "level": level, "acted_ms": acted_ms, "gate_ms": gate_ms,
            "measured_ms": None, "promise_ms": 0, **more}  # fmt: skip


def result(*trips: dict, condition: str = "load mild", **more) -> dict:
    return {"case": "some", "condition": condition, "seed": 0, "onset_ms": 30000,
            "open_ms": 50000, "trips": list(trips), "early": [], "drops": [], "chip_ms": None,
            "truth": {}, "died": "", **more}  # fmt: skip


def allowed_ms(rule: str, detect_ms: int = 0) -> int:
    return detect_ms + RULES[rule].promise_ms(TICK_MS)


@pytest.mark.parametrize("late_ms", [0, 1])
def test_a_shed_is_told_and_cut_in_time(late_ms):
    shed_ms = RULES["fe_lost"].shed_ms
    told_ms = allowed_ms("fe_lost", 2000) - shed_ms
    on_time = trip("fe_lost", 30000 + told_ms, 30000 + told_ms + shed_ms)
    found = judge.detection(result(on_time), case(detect_s=2.0), PACK)
    assert found is not None and found["ok"]
    late = trip("fe_lost", 30000 + told_ms + late_ms, 30000 + told_ms + shed_ms + late_ms)
    found = judge.detection(result(late), case(detect_s=2.0), PACK)
    assert found is not None and found["ok"] == (late_ms == 0)
    assert (found["ms"], found["allowed_ms"]) == (told_ms + late_ms, told_ms)


def test_a_shed_told_late_but_cut_in_time_is_late():
    allowed = allowed_ms("fe_lost")
    late = trip("fe_lost", 30000 + allowed, 30000 + allowed)
    found = judge.detection(result(late), case(), PACK)
    assert found is not None and not found["ok"]


def test_a_trip_whose_gate_never_opened_is_late():
    found = judge.detection(result(trip("fe_lost", 30010, None)), case(), PACK)
    assert found is not None and not found["ok"]


def test_a_warning_needs_no_gate():
    ms = allowed_ms("current_zero")
    found = judge.detection(result(trip("current_zero", 30000 + ms, None)), case(), PACK)
    assert found is not None and found["ok"]
    found = judge.detection(result(trip("current_zero", 30001 + ms, None)), case(), PACK)
    assert found is not None and not found["ok"]


def test_the_clock_of_an_opening_begins_there():
    found = judge.detection(
        result(trip("current_zero", 51000, None)), case(opening=True), PACK
    )
    assert found is not None and found["ms"] == 1000


def test_other_rules_are_no_detection():
    assert judge.detection(result(trip("hot", 30100, 30100)), case(), PACK) is None
    cell = judge.by_condition([result(trip("hot", 30100, 30100))], case(), PACK)["load mild"]
    assert (cell["verdict"], cell["others"]) == (judge.MISSED, ["hot"])


def test_one_seed_that_misses_misses_the_condition():
    good = result(trip("fe_lost", 30100, 40100))
    cells = judge.by_condition([good, good], case(detect_s=1.0), PACK)
    assert cells["load mild"]["verdict"] == judge.COVERED
    cells = judge.by_condition([good, result()], case(detect_s=1.0), PACK)
    assert cells["load mild"]["verdict"] == judge.MISSED
    assert cells["load mild"]["found"] == 1


@pytest.mark.parametrize("key", ["all", "load", "mild", "load mild", "bench_1s", "bench_1s load"])
def test_a_reason_excuses_where_it_says(key):
    excused = case(not_covered={key: "because"})
    cell = judge.by_condition([result()], excused, PACK)["load mild"]
    assert (cell["verdict"], cell["why_not"]) == (judge.NOT_COVERED, "because")
    excused = case(not_covered={"rest": "because", "load hot": "because", "other": "because"})
    assert judge.by_condition([result()], excused, PACK)["load mild"]["verdict"] == judge.MISSED


def test_a_rule_that_the_pack_does_without_is_the_reason():
    lacking = Case("x", "x", Single(row="x", by=["open_wire"]))
    assert lacking.why_not("rest mild", PACK) == "without open_wire: one cell has no neighbour"


def test_what_no_run_may_show():
    drop = {"t_ms": 1500, "rules": ["hot"], "notice_ms": 10, "shed_ms": 15000}
    lines = judge.wrong([
        result(), result(early=["hot"]), result(drops=[drop]), result(died="ValueError()")
    ])  # fmt: skip
    assert lines == [
        "some, load mild, seed 0: acted before the fault: hot",
        "some, load mild, seed 0: load dropped at 1.5 s with 10 ms of 15000 ms notice (hot)",
        "some, load mild, seed 0: firmware died: ValueError()",
    ]


def test_the_worst_reaction_is_the_one_nearest_to_its_own_promise():
    def reacted(ms: int, promise_ms: int) -> dict:
        return result(trip("hot", 0, 0, measured_ms=ms, promise_ms=promise_ms))

    worst = judge.reactions([reacted(900, 1000), reacted(1200, 1600), reacted(950, 1000),
                             reacted(100, 1000)])  # fmt: skip
    assert worst == {"hot": {"runs": 4, "measured_ms": 950, "promise_ms": 1000}}
