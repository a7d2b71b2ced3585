"""Outputs of a run out of its record: trace, events, trips, score, expectations."""

from __future__ import annotations

import csv
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bms.core import protect, switch
from bms.core.pack import Pack
from solidbms.fronts import front
from solidbms.outcome import Outcome, limits_of
from solidbms.packc import compile_pack
from solidbms.plant import ntc
from solidbms.record import Record, Writer, column_names, read
from solidbms.scenario import Expect
from solidbms.schema import BadInput

COMPILED = compile_pack("bench_1s")
NAMES = column_names(Pack(COMPILED.blob))
ON, TRIPPED = switch.STATES.index("on"), switch.STATES.index("tripped")
HOT = "rule.hot_cut.phase"


def record(ticks: int, start_ms: int = 0, **columns) -> Record:
    words = np.zeros((ticks, len(NAMES)), np.int32)
    fill = {"frame.t_ms": (start_ms + 50 * np.arange(ticks)) & 0x3FFFFFFF, "soc.started": 1,
            "status.state": ON, "status.chg_on": 1, "status.dsg_on": 1,
            "status.shed_left_ms": -1}  # fmt: skip
    for name, values in (fill | columns).items():
        words[:, NAMES.index(name)] = values
    return Record({}, COMPILED.blob, NAMES, words)


SENSOR = COMPILED.file.thermistor.model_dump(exclude={"count"})
COOL, HOT_CODE = ntc.adc_u16(25.0, **SENSOR), ntc.adc_u16(70.0, **SENSOR)


class Seen:
    """What a world saw: truth, events, readings and gate pins."""

    def __init__(self, rec: Record, truth=(), events=()) -> None:
        self.truth, self.events = list(truth), list(events)
        t_ms = rec.elapsed_ms
        cool = rec[HOT] == protect.CLEAR
        self.readings = array("i")
        self.front, self.thermistors, self.row = front(COMPILED.file), 1, 5
        for t, ok in zip(t_ms.tolist(), cool.tolist(), strict=True):
            self.readings.extend((t, 1, COOL if ok else HOT_CODE, 18432, 0))
        pins = (rec["status.chg_on"] | rec["status.dsg_on"] << 1).tolist()
        self.lag_ms = 0
        self.gate_log = [(0, 0), *zip(t_ms.tolist(), pins, strict=True)]


def outcome(rec: Record, truth=(), events=()) -> Outcome:
    world: Any = Seen(rec, truth, events)
    return Outcome(rec, COMPILED, world)


def tripped(acted: int, opened: int, cleared: int, ticks: int = 100) -> Record:
    """Hot after tick `cleared`, hot_cut acts at `acted`, gates open from `opened` on."""
    k = np.arange(ticks)
    phase = np.where(k >= acted, protect.ACTED, np.where(k > cleared, protect.PENDING, 0))
    open_ = k >= opened
    return record(ticks, **{
        HOT: phase, "status.chg_on": ~open_, "status.dsg_on": ~open_,
        "status.state": np.where(open_, TRIPPED, ON),
    })  # fmt: skip


def test_a_trip_is_measured_from_the_last_clear_tick_to_the_gate():
    (trip,) = outcome(tripped(acted=44, opened=45, cleared=39)).trip_table()
    rule = next(r for r in COMPILED.rules if r.id == "hot_cut")
    assert (trip["rule"], trip["level"], trip["path"]) == ("hot_cut", "trip", "both")
    assert trip["crossed_ms"] == 39 * 50
    assert trip["acted_ms"] == 44 * 50
    assert trip["gate_ms"] == 45 * 50
    assert trip["measured_ms"] == 6 * 50
    assert trip["promise_ms"] == rule.promise_ms(50) == 300


@pytest.mark.parametrize(("cleared", "ok"), [(39, True), (38, False)])
def test_within_promise_is_to_the_tick(cleared, ok):
    out = outcome(tripped(acted=44, opened=45, cleared=cleared))
    line = next(x for x in out.check(Expect(trips=["hot_cut"])) if "promise" in x["what"])
    assert line["ok"] is ok
    assert ("hot_cut late" in line["got"]) is not ok


def test_a_gate_that_never_opens_has_no_reaction():
    (trip,) = outcome(tripped(acted=44, opened=999, cleared=39)).trip_table()
    assert trip["gate_ms"] is None and trip["measured_ms"] is None


def test_pins_that_do_not_follow_status_are_told():
    rec = tripped(44, 45, 39)
    world: Any = Seen(rec)
    world.gate_log = [(t, 3) for t, _ in world.gate_log]  # welded
    lines = Outcome(rec, COMPILED, world).check(Expect(trips=["hot_cut"]))
    by = {line["what"]: line for line in lines}
    assert by["gate pins as Status says"] == {
        "what": "gate pins as Status says", "ok": False, "got": "from 2250 ms on they differ",
    }  # fmt: skip
    assert by["every trip within its promise"]["got"] == "hot_cut late"


def test_expectations_name_what_came_instead():
    out = outcome(tripped(44, 45, 39))
    lines = out.check(Expect(state="on", trips=["cell_ov"], soc_bound_holds=True))
    by = {line["what"]: line for line in lines}
    assert by["ends on"]["got"] == "tripped" and not by["ends on"]["ok"]
    assert by["trips: cell_ov"]["got"] == "hot_cut" and not by["trips: cell_ov"]["ok"]
    assert by["warns: none"]["ok"] and by["notes: none"]["ok"]
    assert not by["SoC bound holds"]["ok"]  # nothing to score is no pass
    right = Expect(state="tripped", trips=["hot_cut"], soc_bound_holds=False)
    assert all(x["ok"] for x in out.check(right))
    nothing = {"within_promise": False, "trips": None, "warns": None, "notes": None}
    only = out.check(Expect.model_validate(nothing | {"soc_bound_holds": False}))
    assert [line["what"] for line in only] == ["gate pins as Status says"]


def test_events_in_order_of_time():
    out = outcome(tripped(44, 45, 39), events=[(2230, "fault", "x"), (1000, "request", "close")])
    events = out.events()
    assert [t for t, _, _ in events] == sorted(t for t, _, _ in events)
    assert events[0] == (0, "boot", "bench_1s") and events[-1] == (4950, "end", "tripped")
    for event in [(1000, "request", "close"), (2200, "trip", "hot_cut"), (2230, "fault", "x"),
                  (2250, "state", "on->tripped"), (2250, "gate", "chg=0 dsg=0")]:  # fmt: skip
        assert event in events


def test_time_unwraps():
    out = outcome(record(40, start_ms=(1 << 30) - 1000))
    assert out.t_ms.tolist() == [50 * k for k in range(40)]


def test_score_against_the_truth():
    rec = record(100, **{"status.soc_ppm": 520000, "status.soc_bound_ppm": 30000})
    soc = outcome(rec, [(0, 0.5, 25.0), (1000, 0.5, 25.0), (4000, 0.48, 25.0)]).soc_score()
    assert soc["max_pct"] == 4 and soc["end_pct"] == 4
    assert soc["rmse_pct"] == pytest.approx(np.sqrt((4 + 4 + 16) / 3), abs=1e-4)
    assert not soc["bound_held"] and soc["bound_held_pct"] == pytest.approx(66.667)
    assert soc["bound_max_pct"] == soc["bound_end_pct"] == 3
    later = outcome(rec, [(0, 0.5, 25.0), (4000, 0.5, 25.0)]).soc_score(skip_s=3.0)
    assert later["max_pct"] == 2 and later["bound_held"] and later["scored_from_s"] == 3


def test_nothing_to_score():
    assert outcome(record(9), []).soc_score() == {}
    assert outcome(record(9, **{"soc.started": 0}), [(0, 0.5, 25.0)]).soc_score() == {}
    empty = outcome(record(0))
    assert empty.trips == [] and empty.events() == [] and empty.soc_score() == {}


def test_trace_has_a_row_a_second(tmp_path):
    rec = tripped(44, 45, 39)
    rec.words[:, NAMES.index("status.soc_ppm")] = 512345
    rec.words[:, NAMES.index("status.current_ua")] = -1500000
    path = tmp_path / "trace.csv"
    outcome(rec, [(0, 0.5, 25.0), (2000, 0.499, 26.0)]).write_trace(path)
    rows = list(csv.DictReader(path.open()))
    assert ",".join(rows[0]).startswith(
        "t_s,state,trips,soc_pct,soc_bound_pct,pack_v,current_a,cell_min_v,cell_max_v,temp_min_c,"
        "temp_max_c,chg_on,dsg_on,"
    )
    assert [row["t_s"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert [row["trips"] for row in rows] == ["", "", "", "hot_cut", "hot_cut"]
    assert [row["true_soc_pct"] for row in rows] == ["50.000"] * 2 + ["49.900"] * 3
    assert rows[4]["state"] == "tripped" and rows[4]["chg_on"] == "0"
    assert rows[0]["current_a"] == "-1.5000" and rows[0]["soc_pct"] == "51.234"


def test_outputs_of_a_run_without_a_tick(tmp_path):
    out = outcome(record(0))
    out.write_trace(tmp_path / "trace.csv")
    out.write_events(tmp_path / "events.csv")
    assert (tmp_path / "trace.csv").read_text().startswith("t_s,state,trips,")
    assert (tmp_path / "events.csv").read_text() == "t_ms,event,detail\n"
    assert not any(line["ok"] for line in out.check(Expect(state="on")) if "ends" in line["what"])


def test_limits_are_the_tightest_trips():
    limits = limits_of(COMPILED)
    assert limits == {"cell_max_v": 4.2, "cell_min_v": 2.8, "temp_max_c": 60.0, "charge_a": 4.0,
                      "discharge_a": 18.0}  # fmt: skip


def written(folder: Path, ticks: int = 5) -> Path:
    writer = Writer(folder / "ticks.bin", COMPILED.blob, {"seed": 3})
    for k in range(ticks):
        writer.add(bytes([k]) * writer.tick_bytes)
    writer.close()
    return folder / "ticks.bin"


def test_record_round_trip_and_cut(tmp_path):
    path = written(tmp_path)
    rec = read(tmp_path)
    assert rec.meta == {"seed": 3} and rec.blob == COMPILED.blob and rec.names == NAMES
    assert rec.words.shape == (5, len(NAMES)) and rec["hash"][1] == 0x01010101
    path.write_bytes(path.read_bytes()[:-7])  # a tick cut short is left out
    assert np.array_equal(read(path).words, rec.words[:4])


def test_any_damage_of_a_record_is_told(tmp_path):
    path = written(tmp_path, 1)
    whole = path.read_bytes()
    body = len(whole) - 4 * len(NAMES)
    for at in [*range(0, 16), *range(16, body, 97)]:
        for damaged in (whole[:at], whole[:at] + b"\xff" + whole[at + 1 :]):
            path.write_bytes(damaged)
            try:
                read(path)
            except BadInput as error:
                assert "ticks.bin: " in str(error) and "\n" not in str(error)
    for header in (b"[]", b"3", b"{}", b'{"names": 3}', b'{"names": []}'):
        path.write_bytes(b"SBTK" + np.array([1, len(header), 0], "<u4").tobytes() + header)
        with pytest.raises(BadInput, match="header damaged"):
            read(path)
