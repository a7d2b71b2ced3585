"""Two runs that differ in one word of one tick: `compare` names tick and field."""

import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from bms.core.pack import Pack
from hypothesis import given
from hypothesis import strategies as st
from solidbms import record
from solidbms.compare import Difference, compare, compare_free
from solidbms.jobs import scenario_job
from solidbms.packc import compile_pack
from solidbms.run import execute
from solidbms.schema import BadInput

META = {"scenario": "made up", "pack": "bench_1s", "seed": 0, "kind": "run"}
NAMES = record.column_names(Pack(compile_pack("bench_1s").blob))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A real run, cut to a size that can be copied for every column."""
    job = scenario_job("bus_nack")
    job.world.end_ms = 8000
    out = tmp_path_factory.mktemp("run")
    execute(job, "cpython", out, lambda share, line: None)
    return out


@pytest.fixture(scope="module")
def other(run, tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("other")


def changed(run: Path, other: Path, place: tuple[int, int], by: int) -> None:
    """Copy the run's record with one word changed."""
    tick, column = place
    one = record.read(run)
    data = bytearray((run / "ticks.bin").read_bytes())
    at = len(data) - one.words.nbytes + 4 * (tick * len(one.names) + column)
    word = struct.unpack_from("<i", data, at)[0]
    struct.pack_into("<i", data, at, (word + by + (1 << 31)) % (1 << 32) - (1 << 31))
    (other / "ticks.bin").write_bytes(data)


def test_a_run_equals_itself(run, other):
    shutil.copy(run / "ticks.bin", other)
    difference, ticks = compare(run, other)
    assert difference is None
    assert ticks == len(record.read(run).words) > 100


@pytest.mark.parametrize("column", range(len(NAMES)), ids=NAMES)
def test_one_unit_of_any_word_is_found_and_located(run, other, column):
    one = record.read(run)
    rng = np.random.default_rng(column)
    for by in (1, -1):
        tick = int(rng.integers(len(one.words)))
        changed(run, other, (tick, column), by)
        for a, b in ((run, other), (other, run)):
            found, _ = compare(a, b)
            assert isinstance(found, Difference)
            assert (found.tick, found.field) == (tick, NAMES[column])
            assert abs(found.a - found.b) == 1
            assert f"tick {tick} " in str(found) and NAMES[column] in str(found)


@given(data=st.data())
def test_the_first_of_several_is_named(run, other, data):
    ticks = len(record.read(run).words)
    places = data.draw(
        st.lists(
            st.tuples(st.integers(0, ticks - 1), st.integers(0, len(NAMES) - 1)),
            min_size=1, max_size=4, unique=True,
        )
    )  # fmt: skip
    changed(run, other, places[0], 1)
    for place in places[1:]:
        changed(other, other, place, 1)
    found, _ = compare(run, other)
    assert isinstance(found, Difference)
    assert (found.tick, found.field) == (min(places)[0], NAMES[min(places)[1]])


def test_the_time_is_the_ticks_own(run, other):
    one = record.read(run)
    changed(run, other, (50, NAMES.index("soc.soc_ppm")), 1)
    found, _ = compare(run, other)
    assert isinstance(found, Difference)
    assert found.t_ms == one["frame.t_ms"][50] - one["frame.t_ms"][0]


def test_a_shorter_record_is_told_with_both_lengths(run, other):
    one = record.read(run)
    ticks = len(one.words)
    data = (run / "ticks.bin").read_bytes()
    (other / "ticks.bin").write_bytes(data[: -4 * len(NAMES) * 3])
    found, compared = compare(run, other)
    assert compared == ticks - 3
    assert str(ticks) in str(found) and str(ticks - 3) in str(found)
    (other / "ticks.bin").write_bytes(data[:-5])  # and a tick cut short does not count
    assert compare(run, other)[1] == ticks - 1


def test_a_difference_before_the_end_of_the_shorter_comes_first(run, other):
    changed(run, other, (7, 2), 1)
    data = (other / "ticks.bin").read_bytes()
    (other / "ticks.bin").write_bytes(data[: -4 * len(NAMES)])
    found, _ = compare(run, other)
    assert isinstance(found, Difference) and found.tick == 7


def written(directory: Path, blob: bytes, names: list[str] | None = None) -> Path:
    """A record with one tick of zeros."""
    directory.mkdir(exist_ok=True)
    writer = record.Writer(directory / "ticks.bin", blob, META)
    writer.add(bytes(writer.tick_bytes))
    writer.close()
    if names is not None:
        data = (directory / "ticks.bin").read_bytes()
        for old, new in zip(NAMES, names, strict=True):
            data = data.replace(f'"{old}"'.encode(), f'"{new}"'.encode())
        (directory / "ticks.bin").write_bytes(data)
    return directory


def test_another_pack_is_told(tmp_path):
    blob = compile_pack("bench_1s").blob
    believed = compile_pack("bench_1s", capacity_factor=0.95).blob
    found, _ = compare(written(tmp_path / "a", blob), written(tmp_path / "b", believed))
    assert "pack" in str(found)


def test_another_layout_is_told_by_its_fields(tmp_path):
    blob = compile_pack("bench_1s").blob
    names = ["frame.t_xx" if name == "frame.t_ms" else name for name in NAMES]
    found, _ = compare(written(tmp_path / "a", blob), written(tmp_path / "b", blob, names))
    assert "frame.t_ms" in str(found) and "frame.t_xx" in str(found)


@pytest.mark.parametrize("content", [b"", b"SBTK", b"SBMS" + bytes(100), b"SBTK" + b"9" * 60])
def test_what_is_no_record_is_bad_input(run, tmp_path, content):
    (tmp_path / "ticks.bin").write_bytes(content)
    with pytest.raises(BadInput, match=r"ticks\.bin"):
        compare(run, tmp_path)


def test_no_record_at_all_is_bad_input(run, tmp_path):
    with pytest.raises(BadInput):
        compare(run, tmp_path / "nothing")


def shifted(run: Path, other: Path, from_tick: int, by_ms: int) -> None:
    """Copy the run's record with every tick from one on later."""
    one = record.read(run)
    words = one.words.copy()
    words[from_tick:, one.names.index("frame.t_ms")] += by_ms
    data = (run / "ticks.bin").read_bytes()
    (other / "ticks.bin").write_bytes(data[: len(data) - words.nbytes] + words.tobytes())


def test_free_runs_agree_within_a_tick(run, other):
    one = record.read(run)
    closed = int(np.flatnonzero(one["status.dsg_on"])[0])
    shifted(run, other, closed, 0)
    assert compare_free(run, other)[::2] == (None, 0)
    shifted(run, other, closed, 250)  # with the gates open a tick has 250 ms
    assert compare_free(run, other)[::2] == (None, 250)
    shifted(run, other, closed, 251)
    assert "more than a tick apart" in str(compare_free(run, other)[0])


@pytest.mark.parametrize("name", ["status.state", "status.chg_on", "status.acted_high"])
def test_free_runs_that_do_something_else(run, other, name):
    one = record.read(run)
    changed(run, other, (len(one.words) - 1, one.names.index(name)), 1)
    assert "only one run has" in str(compare_free(run, other)[0])
    changed(run, other, (20, one.names.index(name)), 1)
    assert compare_free(run, other)[0] is not None
