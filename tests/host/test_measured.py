"""Layouts that cyclers leave, and files that are none."""

import gzip
import os
import random
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solidbms.measured import read_measured
from solidbms.schema import BadInput

HEAD = "t_s,i_A,v_V,temp_C,ah\n"
GOOD = HEAD + "0,-1,3.9,25,0\n1,-2,3.8,25,-0.0003\n3,-2,3.7,26,-0.0014\n"
NUMBER = st.floats(-9, 9).map(lambda x: round(x, 5))


def put(folder: Path, text: str | bytes, name: str = "x.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refused(path: Path, **options) -> str:
    with pytest.raises(BadInput) as caught:
        read_measured(path, **options)
    text = str(caught.value)
    assert "\n" not in text and path.name in text
    return text


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.integers(1, 10**5), NUMBER, st.floats(0, 6), st.floats(-40, 90),
                  st.floats(0.001, 9)),  # 0 could be a counter set back
        min_size=2,
        max_size=20,
    ),
    st.booleans(),
)  # fmt: skip
def test_any_rising_table_round_trips(rows, packed):
    t = np.cumsum([row[0] for row in rows]) / 1000
    lines = [",".join(map(repr, (float(at), *row[1:]))) for at, row in zip(t, rows, strict=True)]
    data = (HEAD + "\n".join(lines)).encode()
    with tempfile.TemporaryDirectory() as folder:
        path = put(Path(folder), gzip.compress(data, mtime=0) if packed else data)
        m = read_measured(path)
    assert m.t_s == pytest.approx(t - t[0])
    for k, column in enumerate((m.i_a, m.v_v, m.temp_c, m.ah), 1):
        assert column.tolist() == [row[k] for row in rows]
    assert m.moved_as == pytest.approx((m.ah - m.ah[0]) * 3600)


def test_mean_counts_over_the_second_before_its_row(tmp_path):
    text = "t_s,i_mean_A,i_A,v_V,temp_C\n1,-9,0,4,25\n2,-2,0,4,25\n3,-4,0,4,25\n"
    m = read_measured(put(tmp_path, text))
    assert m.moved_as.tolist() == [0, -2, -6]
    assert m.t_s.tolist() == [0, 1, 2]


def test_counters_of_charge_and_discharge(tmp_path):
    text = "t_s,step,i_A,v_V,chg_Ah,dis_Ah\n6901.5,1,3.6,3.5,1,1\n6902.5,1,3.6,3.5,1,1.001\n"
    m = read_measured(put(tmp_path, text), discharge_positive=True, temp_c=25.0)
    assert m.i_a.tolist() == [-3.6, -3.6]
    assert m.moved_as == pytest.approx([0, -3.6])
    assert m.temp_c.tolist() == [25, 25]


def test_no_counter_at_all_counts_the_held_current(tmp_path):
    m = read_measured(put(tmp_path, "t_s,i_A,v_V\n0,-1,4\n2,-3,4\n5,0,4\n"), temp_c=5.0)
    assert m.moved_as == pytest.approx([0, -2, -11])
    assert m.ah * 3600 == pytest.approx(m.moved_as)


def test_equal_times_keep_the_last_row(tmp_path):
    text = HEAD + "0,0,4,25,0\n1,0,4,25,0\n1,-5,3.9,25,-0.5\n2,0,4,25,-0.5\n"
    m = read_measured(put(tmp_path, text))
    assert m.t_s.tolist() == [0, 1, 2]
    assert m.i_a.tolist() == [0, -5, 0]
    assert m.moved_as == pytest.approx([0, -1800, -1800])


def test_a_counter_set_back_to_0_goes_on(tmp_path):
    """As in the LG HPPC files: a discharge, a charge with its own count, and a last row at 0."""
    text = HEAD + (
        "0,0,4.2,0,0\n2000,-1,3.0,0,-2.5\n2060,2,3.1,0,0\n5660,2,4.1,0,2\n"
        "6560,0,4.2,0,2.5\n6561,0,4.2,0,0\n"
    )
    m = read_measured(put(tmp_path, text))
    drift = -1 * 60 / 3600  # what flowed while it was set back
    assert m.ah == pytest.approx(np.array([0, -2.5, -2.5, -0.5, 0, 0]) + drift * (m.t_s > 2000))
    assert m.moved_as == pytest.approx(3600 * m.ah)


def test_a_gap_in_which_the_counter_moves_is_no_reset(tmp_path):
    text = HEAD + "0,0,4,25,-0.5\n1,0.1,4,25,-0.5\n3601,0,4,25,0\n3602,-9,4,25,-0.0025\n"
    m = read_measured(put(tmp_path, text))
    assert m.ah.tolist() == [-0.5, -0.5, 0, -0.0025]


def test_names_of_other_files(tmp_path):
    path = put(tmp_path, "Time, Amps ,Volt\n0,1,4\n1,1,4\n")
    m = read_measured(path, columns="t_s=Time, i_A=Amps,v_V=Volt", temp_c=20.0)
    assert m.i_a.tolist() == [1, 1]
    assert "--columns" in refused(path, columns="amps=Amps")
    assert "'Current'" in refused(path, columns="t_s=Time,i_A=Current")


def test_labels_of_the_battery_data_format(tmp_path):
    head = "Test Time / s,Voltage / V,Current / A,Ambient Temperature / degC,"
    rows = "0,4.1,-1,20,0,0\n10,4.0,-1,20,0,0.003\n20,4.1,2,20,0.005,0.003\n"
    path = put(tmp_path, head + "Charging Capacity / Ah,Discharging Capacity / Ah\n" + rows)
    m = read_measured(path)
    assert m.ah == pytest.approx([0, -0.003, 0.002])
    assert (m.i_a.tolist(), m.temp_c.tolist()) == ([-1, -1, 2], [20, 20, 20]) and m.counted
    machine = "test_time_second,voltage_volt,current_ampere,surface_temperature_celsius\n"
    m = read_measured(put(tmp_path, machine + "0,4.1,-1,21\n10,4.0,-1,22\n"))
    assert m.temp_c.tolist() == [21, 22] and not m.counted
    both = head.replace("Ambient", "Surface") + "Ambient Temperature / degC\n"
    assert read_measured(put(tmp_path, both + "0,4,1,30,5\n1,4,1,31,5\n")).temp_c[0] == 30


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + GOOD.encode(),
        GOOD.replace("\n", "\r\n").encode(),
        b"# by a cycler\n\n" + GOOD.encode() + b"\n\n",
        gzip.compress(GOOD.encode(), mtime=0),
    ],
    ids=["bom", "crlf", "comments and blank lines", "gzip named csv"],
)
def test_same_table_in_another_dress(data, tmp_path):
    m = read_measured(put(tmp_path, data))
    assert (m.t_s.tolist(), m.v_v.tolist()) == ([0, 1, 3], [3.9, 3.8, 3.7])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("\n\n# nothing\n", "empty"),
        (HEAD, "no rows"),
        (HEAD + "0,1,3.9,25,0\n", "two rows"),
        (HEAD + "1,1,3.9,25,0\n1,1,3.9,25,0\n", "two rows"),
        (GOOD.replace("3.8", "nan"), "line 3: v_V: a number is valid, not 'nan'"),
        (GOOD.replace("-2,3.8", "inf,3.8"), "line 3: i_A: a number is valid, not 'inf'"),
        (GOOD.replace("3.8,25", "3.8,"), "line 3: temp_C: a number is valid, not ''"),
        ("# c\n" + GOOD.replace("3.8,25", "3.8,x"), "line 4: temp_C: a number is valid, not 'x'"),
        (GOOD.replace("\n3,", "\n0.5,"), "line 4: t_s: time runs back from 1 to 0.5"),
        (GOOD.replace("\n3,", "\n1e9,"), "t_s: 1e+09 s"),
        (GOOD.replace("v_V", "volts"), "v_V: no column 'v_V'"),
        (GOOD.replace(",", ";"), "commas between the names"),
        (GOOD.replace(",", ";").replace(".", ","), "commas between the names"),
        (GOOD.replace(",", "\t"), "commas between the names"),
        (GOOD.replace("temp_C", "v_V"), "v_V: 2 columns"),
        (GOOD.replace("3.8", "3800"), "v_V: -1 to 10 is valid, not 3800"),
        (GOOD.replace("-1,3.9", "-1500,3.9"), "i_A: -1000 to 1000"),
        (GOOD.replace(",25,", ",298,"), "temp_C: -60 to 150"),
        (GOOD[:-8], "line 4: ah: a number is valid, not ''"),
        (GOOD[:-12], "line 4: 3 columns; 5 are valid"),
        (GOOD.replace("temp_C", "temp"), "--temp-c"),
        (b"PK\x03\x04" + bytes(range(128, 256)) * 9, "no text"),
        (gzip.compress(GOOD.encode() * 99, mtime=0)[:-40], "cut short"),
        (b"\x1f\x8b" + bytes(range(256)), "not readable"),
    ],
)  # fmt: skip
def test_refused_in_one_line(text, says, tmp_path):
    assert says in refused(put(tmp_path, text))


def test_no_file_or_a_directory(tmp_path):
    assert "no such file" in refused(tmp_path / "no.csv")
    assert "directory" in refused(tmp_path)


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.booleans())
def test_damage_is_told_or_harmless(seed, packed):
    rng = random.Random(seed)
    data = bytearray(gzip.compress(GOOD.encode(), mtime=0) if packed else GOOD.encode())
    if rng.random() < 0.5:
        data = data[: rng.randrange(len(data))]
    else:
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
    with tempfile.TemporaryDirectory() as folder:
        path = put(Path(folder), bytes(data))
        try:
            m = read_measured(path)
        except BadInput as error:
            assert os.linesep not in str(error)
        else:
            assert np.isfinite([m.t_s, m.v_v, m.i_a, m.temp_c, m.ah, m.moved_as]).all()
