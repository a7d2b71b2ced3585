"""report.html: well-formed and complete for whatever a run left behind."""

import csv
import json
import re
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from solidbms.report import write_report

WORDS = ("boot", "state", "note", "warn", "trip", "recover", "gate", "request", "fault", "limit",
         "rest", "reset", "end")  # fmt: skip
SIGNALS = ("temp_max_mdegc", "cell_min_uv", "pack_uv", "charge_ua", "discharge_ua", "fe_lost_ms",
           "features_lost", "", None)  # fmt: skip
VOID = {"meta", "br", "link", "img"}
TRIP = {
    "rule": "hot", "level": "trip", "path": "both", "signal": "temp_max_mdegc", "limit": 60000,
    "crossed_ms": 100_000, "acted_ms": 102_000, "gate_ms": 112_050, "promise_ms": 12_200,
    "measured_ms": 12_050, "shed_ms": 10_000,
}  # fmt: skip


class Page(HTMLParser):
    """Fails on a tag that is not closed; gathers the text and the ids."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.ids += [v or "" for k, v in attrs if k == "id"]
        for name, value in attrs:
            assert name != "src" and not name.startswith("on")  # nothing from elsewhere
            assert name != "href" or (value or "").startswith("#")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)


def write(directory: Path, rows: list[dict], events: list[tuple], summary: object) -> None:
    columns = list(rows[0]) if rows else TRACE
    with (directory / "trace.csv").open("w", newline="", encoding="utf-8") as file:
        trace = csv.DictWriter(file, columns)
        trace.writeheader()
        trace.writerows(rows)
    with (directory / "events.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("t_ms", "event", "detail"), *events])
    (directory / "summary.json").write_text(json.dumps(summary), encoding="utf-8")


def page(directory: Path) -> tuple[str, Page]:
    source = write_report(directory).read_text(encoding="utf-8")
    for fragment in re.findall(r"<svg.*?</svg>", source, re.S):
        for node in ElementTree.fromstring(fragment).iter():
            assert "nan" not in node.get("d", "") and "inf" not in node.get("d", "")
    return source, Page(source)


def row(t_s: int, **changed: Any) -> dict:
    usual = {
        "t_s": t_s, "state": "on", "trips": "", "soc_pct": 80 - t_s / 100, "soc_bound_pct": 3,
        "pack_v": 3.7, "current_a": -1.5, "cell_min_v": 3.7, "cell_max_v": 3.7, "temp_min_c": 25,
        "temp_max_c": 25 + t_s / 4, "chg_on": 1, "dsg_on": 1, "charge_limit_a": 4,
        "discharge_limit_a": 20, "shed_left_s": "", "warns": "", "notes": "",
        "true_soc_pct": 79 - t_s / 100, "true_temp_c": 25 + t_s / 4,
    }  # fmt: skip
    return usual | changed


TRACE = list(row(0))

SUMMARY = {
    "scenario": "drive_day", "target": "unix", "pack": "bench_1s", "seed": 0, "simulated_s": 200,
    "wall_s": 1.5, "ticks": 4000, "hash": "ab12", "interrupted": False, "verdict": "pass",
    "expected": [{"what": "trips: hot", "ok": True, "got": "hot"}],
    "soc": {"rmse_pct": 1.0, "max_pct": 1.0, "bound_held": True}, "trips": [TRIP],
    "limits": {"cell_max_v": 4.2, "cell_min_v": 2.8, "temp_max_c": 60, "discharge_a": 20},
}  # fmt: skip

number = st.one_of(st.just(""), st.floats(-1e4, 1e4).map(lambda v: round(v, 3)))
word = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=12)
maybe_ms = st.none() | st.integers(0, 400_000)
trips = st.fixed_dictionaries(
    {},
    optional={
        "rule": word,
        "level": st.sampled_from(["note", "warn", "trip"]),
        "path": word,
        "signal": st.sampled_from(SIGNALS),
        "limit": st.none() | st.integers(-(2**30), 2**30),
        "value": st.none() | st.integers(-(2**30), 2**30),
        **dict.fromkeys(
            ("crossed_ms", "acted_ms", "gate_ms", "promise_ms", "measured_ms", "shed_ms"),
            maybe_ms,
        ),
    },
)


@st.composite
def runs(draw: st.DrawFn) -> tuple[list[dict], list[tuple], dict]:
    columns = ["t_s", *draw(st.lists(st.sampled_from(TRACE[1:]), unique=True))]
    states = st.sampled_from(["boot", "off", "on", "shedding", "tripped", "ship", "<new>", ""])
    rows = [
        {c: t if c == "t_s" else draw(states if c == "state" else number) for c in columns}
        for t in range(draw(st.integers(0, 6)))
    ]
    times = sorted(draw(st.lists(st.integers(0, 400_000), max_size=60)))
    events = [(t, draw(st.sampled_from(WORDS)), draw(word)) for t in times]
    summary = draw(st.fixed_dictionaries({}, optional={
        "scenario": word,
        "verdict": st.sampled_from(["pass", "fail"]),
        "interrupted": st.booleans(),
        "simulated_s": st.none() | st.floats(0, 1e6),
        "wall_s": st.none() | st.floats(0, 1e6),
        "expected": st.lists(st.fixed_dictionaries(
            {"what": word, "ok": st.booleans(), "got": st.none() | word | st.floats(-9, 9)}
        ), max_size=3),
        "trips": st.lists(trips, max_size=4),
        "soc": st.none() | st.just({}) | st.just({"rmse_pct": 0.5, "bound_held": False}),
        "limits": st.none() | st.just({"cell_max_v": 4.2, "charge_a": None, "temp_max_c": 60}),
    }))  # fmt: skip
    return rows, events, summary


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(runs())
def test_any_run_gives_a_whole_page(run: tuple[list[dict], list[tuple], dict]) -> None:
    rows, events, summary = run
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), rows, events, summary)
        _, parsed = page(Path(name))
    assert [i for i in parsed.ids if i != "rows"] == [f"e{k + 1}" for k in range(len(events))]
    text = "".join(parsed.text)
    for _, event, detail in events:
        assert event in text and detail in text


def test_what_a_person_looks_for(tmp_path: Path) -> None:
    events = [(40_000, "note", "hot_note"), (70_000, "warn", "hot_warn"),
              (80_000, "warn", "gone"), (81_000, "recover", "gone"),
              (102_050, "state", "on->shedding"), (112_050, "trip", "hot")]  # fmt: skip
    write(tmp_path, [row(t) for t in range(200)], events, SUMMARY)
    _, parsed = page(tmp_path)
    text = " ".join("".join(parsed.text).split())
    assert "PASS" in text and "drive_day" in text and "ab12" in text
    assert "12,050 ms of 12,200 ms promised" in text and "too late" not in text
    assert "60.00 \N{DEGREE SIGN}C" in text
    assert "1 min 12 s before: note hot_note" in text and "10.0 s before: state" in text
    assert "before: warn hot_warn" in text and "before: warn gone" not in text
    assert "0:01:52.050 (+12,050 ms)" in text
    for title in ("State of charge", "Error of the estimate", "Cell voltage", "Current"):
        assert title in text


def test_a_late_reaction_is_told(tmp_path: Path) -> None:
    late = TRIP | {"measured_ms": 12_201}
    write(tmp_path, [row(t) for t in range(200)], [], SUMMARY | {"trips": [late]})
    assert "too late" in "".join(page(tmp_path)[1].text)


def test_no_truth(tmp_path: Path) -> None:
    rows = [row(t, true_soc_pct="", true_temp_c="") for t in range(50)]
    write(tmp_path, rows, [], SUMMARY | {"soc": {}, "trips": []})
    text = "".join(page(tmp_path)[1].text)
    assert "Error of the estimate" not in text and "No truth" in text and "No rule acted" in text


def test_stopped_before_the_first_second(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text('{"interrupted": true}')
    text = "".join(page(tmp_path)[1].text)
    assert "No second was recorded" in text and "Interrupted" in text and "NO VERDICT" in text


def test_a_last_row_cut_short(tmp_path: Path) -> None:
    write(tmp_path, [row(t) for t in range(9)], [], SUMMARY)
    path = tmp_path / "trace.csv"
    path.write_text(path.read_text()[:-40])
    page(tmp_path)


def test_names_are_escaped(tmp_path: Path) -> None:
    nasty = "</script><b id=x>&amp;\"'"
    summary = SUMMARY | {"scenario": nasty, "hash": nasty, "trips": [TRIP | {"rule": nasty}],
                         "expected": [{"what": nasty, "ok": False, "got": nasty}],
                         "soc": {nasty: 1}, "limits": {f"{nasty}_v": 4.2}}  # fmt: skip
    rows = [row(t, state=nasty) for t in range(200)]
    write(tmp_path, rows, [(1000, nasty, nasty), (2000, "trip", nasty)], summary)
    source, parsed = page(tmp_path)
    assert nasty not in source and "x" not in parsed.ids
    assert "".join(parsed.text).count(nasty) > 8


def test_a_peak_of_one_second_is_drawn(tmp_path: Path) -> None:
    rows = [row(t, current_a=-19.5 if t == 7001 else -1) for t in range(20_000)]
    write(tmp_path, rows, [], SUMMARY | {"trips": []})
    source, _ = page(tmp_path)
    curve = re.search(r'<path class="line blue" d="([^"]*)"', source.split("<h3>Current")[1])
    assert curve
    y = [float(p) for p in re.findall(r",(-?[0-9.]+)", curve[1])]
    assert max(y) - min(y) > 60
    assert len(source) < 600_000


def test_bad_files_are_named_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"summary\.json"):
        write_report(tmp_path)
    write(tmp_path, [row(0), row(1, soc_pct="much")], [], SUMMARY)
    with pytest.raises(ValueError, match=r"trace\.csv: row 2, soc_pct: 'much'") as caught:
        write_report(tmp_path)
    assert "\n" not in str(caught.value)
    (tmp_path / "summary.json").write_text("{")
    with pytest.raises(ValueError, match=r"summary\.json"):
        write_report(tmp_path)
