"""TOML that cannot be used is told in lines: file, key, what would be valid."""

import pytest
from solidbms.scenario import Scenario
from solidbms.schema import BOARDS, BadInput, CellFile, PackFile, check, read_toml, refer

PACK = BOARDS / "packs" / "bench_1s.toml"


def lines(call) -> list[str]:
    with pytest.raises(BadInput) as caught:
        call()
    return str(caught.value).splitlines()


def test_every_error_at_once_and_one_line_each(tmp_path):
    data = read_toml(PACK)
    data["tick_ms"] = 50.0
    data["soc"]["rest_s"] = "1h"
    data["front_end"]["chip"] = "ina999"
    data["parts"]["fues"] = True
    del data["fets"]["rds_on_ohm"]
    data["recover_s"] = float("nan")
    found = lines(lambda: check(PackFile, data, tmp_path / "p.toml"))
    assert len(found) == 6 and all("p.toml: " in line for line in found)
    text = "\n".join(found)
    assert "tick_ms: input should be a valid integer, not 50.0" in text
    assert "soc.rest_s: input should be a valid number, not '1h'" in text
    assert "front_end.chip: input should be 'ina228', 'bq76952', not 'ina999'" in text
    assert "parts.fues: unknown key; valid here: fuse, commanded_fuse" in text
    assert "fets.rds_on_ohm: missing" in text
    assert "recover_s: input should be a finite number" in text


def test_int_is_a_number_but_a_bool_is_not(tmp_path):
    data = read_toml(PACK)
    data["recover_s"] = 3
    assert check(PackFile, data, PACK).recover_s == 3.0
    data["recover_s"] = True
    assert "recover_s" in lines(lambda: check(PackFile, data, PACK))[0]


@pytest.mark.parametrize("name", ["", "a b", "../a", "a/b", "\u00e9", "a\n", ".hidden", "x" * 99])
def test_names_go_into_files_and_messages(name):
    data = read_toml(PACK) | {"name": name}
    (line,) = lines(lambda: check(PackFile, data, PACK))
    assert "name: letters, digits, _ . - are valid" in line


def test_shares_of_a_derating_are_shares():
    data = read_toml(PACK)
    data["derating"]["charge"][1][1] = 1.5
    (line,) = lines(lambda: check(PackFile, data, PACK))
    assert line.endswith("derating.charge: shares from 0 to 1 are valid")


@pytest.mark.parametrize(
    ("table", "key", "value", "says"),
    [
        ("capacity", "temp_c", [-10, -20, 0, 10, 25, 40], ": capacity: temp_c: rising temp"),
        ("accuracy", "temp_c", [-20, -20, 0, 10, 25, 40], ": accuracy: temp_c: rising temp"),
        ("", "chemistry", "nmmc", ": chemistry: words with one of nmc, nca, lfp, "),
    ],
)
def test_a_cell_with_rows_out_of_order_or_of_unknown_chemistry(table, key, value, says):
    path = BOARDS / "cells" / "lg_hg2.toml"
    data = read_toml(path)
    (data[table] if table else data)[key] = value
    (line,) = lines(lambda: check(CellFile, data, path))
    assert says in line


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"name = = 3", "not readable as TOML: "),
        (b"\x80\x81\x82" * 50, "no UTF-8"),
        (b"a = 1\na = 2\n", "not readable as TOML: "),
    ],
)
def test_not_toml(data, says, tmp_path):
    path = tmp_path / "x.toml"
    path.write_bytes(data)
    (line,) = lines(lambda: read_toml(path))
    assert "x.toml" in line and says in line


def test_missing_file_lists_its_neighbours(tmp_path):
    (tmp_path / "a.toml").touch()
    (line,) = lines(lambda: read_toml(tmp_path / "b.toml"))
    assert line.endswith("b.toml: no such file; there are: a")
    (line,) = lines(lambda: read_toml(tmp_path))
    assert "directory" in line.lower()
    (line,) = lines(lambda: refer("nope", BOARDS / "cells", "p.toml: cell"))
    assert line.startswith("p.toml: cell: no cell 'nope'; there are: a123_26650")


def test_byte_order_mark_and_crlf(tmp_path):
    path = tmp_path / "x.toml"
    path.write_bytes(b'\xef\xbb\xbfa = "b"\r\nc = 1\r\n')
    assert read_toml(path) == {"a": "b", "c": 1}


def test_every_file_of_the_project_is_valid():
    for path in (BOARDS / "cells").glob("*.toml"):
        assert check(CellFile, read_toml(path), path).name == path.stem
    assert {"start", "expect"} <= Scenario.model_fields.keys()


@pytest.mark.parametrize(("change", "says"), [
    (lambda d: d["ocv"].update(hysteresis_v=[0.01]), "ocv: hysteresis_v: 44 values are valid"),
    (lambda d: d["ocv"].pop("hysteresis_soc"), "ocv: hysteresis_soc is valid beside"),
    (lambda d: d["ocv"]["off_v"][0].pop(), "ocv: off_v: 44 values are valid"),
    (lambda d: d["ocv"]["off_v"].pop(), "ocv.off_v: 3 values are valid, as many as beside it"),
    (lambda d: d["resistance"].update(sag_v=[0.01] * 2), "resistance: sag_v: 3 values"),
    (lambda d: d["resistance"].update(sag_v=[0.01] * 3), "sag_a and sag_tau_s are valid beside"),
    (lambda d: d["accuracy"]["residual_mv"].pop(), "accuracy: residual_mv: 3 values are valid"),
    (lambda d: d["capacity"].update(temp_c=[25.0]), "capacity: usable_ah: 1 values are valid"),
])  # fmt: skip
def test_tables_of_a_cell_fit_together(change, says):
    path = BOARDS / "cells" / "a123_26650.toml"
    data = read_toml(path)
    change(data)
    (line,) = lines(lambda: check(CellFile, data, path))
    assert says in line
