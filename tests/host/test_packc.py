"""What packc makes of a pack, and what it refuses."""

import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from bms.core import pack as layout
from bms.core import rules
from bms.core.pack import BadPack, Pack
from hypothesis import given, settings
from hypothesis import strategies as st
from solidbms.explain import explain
from solidbms.fronts.ina228 import ua_per_code
from solidbms.packc import compile_pack, examine, load
from solidbms.schema import BOARDS, ROOT, BadInput, CellFile, PackFile
from support.packs import packs

EXAMPLES = sorted((ROOT / "examples").glob("*.toml"))


def errors(change: Callable[[dict[str, Any], dict[str, Any]], object]) -> list[str]:
    """Return packc's errors on bench_1s after a change of its data and its cell's."""
    file, cell, _ = load("bench_1s")
    pack_data, cell_data = file.model_dump(), cell.model_dump()
    change(pack_data, cell_data)
    _, found = examine(PackFile.model_validate(pack_data), CellFile.model_validate(cell_data))
    return found


def refused(text: str, folder: Path) -> list[str]:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        compile_pack(str(path))
    return str(caught.value).splitlines()


@settings(max_examples=25)
@given(packs())
def test_blob_loads_with_the_same_numbers(drawn):
    file, cell = drawn.file, drawn.cell
    compiled, found = examine(file, cell)
    assert not found and compiled.blob == drawn.blob
    pack: Any = Pack(compiled.blob)  # its attributes come from FIELDS and TABLES
    assert pack.tick_ms == file.tick_ms and pack.temps == file.thermistor.count
    assert pack.charge_max_ma == round(file.charge_a_max * 1e3)
    assert pack.uas_per_ppm == max(1, round(cell.capacity.ah * 3600))
    assert pack.chip_address == file.front_end.address
    ids = [row[rules.ID] for row in rules.ROWS]
    for rule in compiled.rules:
        numbers = [rule.limit, rule.release, rule.delay_ms, rule.shed_ms]
        assert list(pack.rule(ids.index(rule.id))) == numbers
        assert (rule.limit - rule.release) * rule.row[rules.SIDE] >= 0
    without = {name for name in ids if name not in {rule.id for rule in compiled.rules}}
    for name in without:
        k = ids.index(name)
        assert abs(pack.rule(k)[0]) == rules.OFF
    ocv_soc = cell.filter.ocv_soc if cell.filter else cell.ocv.soc
    n = len(ocv_soc)
    assert list(pack.cell_ocv_ppm) == [round(s * 1e6) for s in ocv_soc]
    for at in range(0, len(pack.cell_ocv_uv), n):
        row = list(pack.cell_ocv_uv[at : at + n])
        assert row == sorted(set(row))
    for name in layout.TABLES[: layout.TABLES.index("chip_memory")]:
        x = list(getattr(pack, name))
        assert len(x) % 2 == 0 and x[: len(x) // 2] == sorted(x[: len(x) // 2])
    words = struct.unpack(f"<{len(compiled.blob[4:-4]) // 4}i", compiled.blob[4:-4])
    assert all(abs(word) < 1 << 30 for word in words)


@settings(max_examples=30)
@given(st.data())
def test_a_damaged_blob_is_no_pack(data):
    blob = bytearray(compile_pack("bench_1s").blob)
    at = data.draw(st.integers(0, len(blob) - 1))
    blob[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BadPack):
        Pack(bytes(blob))
    with pytest.raises((BadPack, ValueError)):
        Pack(bytes(compile_pack("bench_1s").blob[:at]))


def test_crc_is_the_last_word():
    blob = compile_pack("bench_1s").blob
    assert blob[-4:] == struct.pack("<I", crc32(blob[:-4]))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_compiles_and_explains(path):
    compiled = compile_pack(str(path))
    text, ok = explain(str(path))
    assert ok and text.startswith(f"{compiled.file.name}: ")


def test_there_is_an_example():
    assert EXAMPLES


def test_base_is_overlaid_key_by_key(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('base = "bench_1s"\nname = "mine"\n[rules.cell_ov]\nlimit_v = 4.199\n')
    mine, bench = compile_pack(str(path)), compile_pack("bench_1s")
    assert mine.file.name == "mine"
    changed = [(a, b) for a, b in zip(mine.rules, bench.rules, strict=True) if a != b]
    ((now, before),) = changed
    assert now.id == "cell_ov" and now.limit == 4199000 and now.release == before.release


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("colour = 3", "mine.toml: colour: unknown key; valid here: name, about, use"),
        ("[rules.cell_ov]\nlimit_mv = 4200", "rules.cell_ov.limit_mv: unknown key; valid here: "
         "limit_v, release_v, delay_s, react_s"),
        ('[rules.cell_ov]\nlimit_v = "4.2V"', "rules.cell_ov.limit_v: a number is valid, not "),
        ("[rules.cell_ov]\nlimit_v = true", "rules.cell_ov.limit_v: a number is valid, not True"),
        ("[rules.cell_ov]\nlimit_v = nan", "rules.cell_ov.limit_v: below 1000 is valid, not nan"),
        ("[rules.cell_ov]\nlimit_v = 4200", "rules.cell_ov.limit_v: below 1000 is valid, not 42"),
        ("[rules.cell_ov]\nrelease_v = 4.3", "rules.cell_ov.release_v: at or below its limit 4.2"),
        ("[rules.cell_uv]\nrelease_v = 2", "rules.cell_uv.release_v: at or above its limit 2.8"),
        ("[rules.cell_ov]\ndelay_s = -1", "rules.cell_ov.delay_s: 0 or more is valid, not -1"),
        ("[rules.cell_ov]\ndelay_s = 601", "rules.cell_ov.delay_s: 0 to 600 is valid, not 601"),
        ("[rules.cell_ov]\nreact_s = 0.1", "rules.cell_ov.react_s: loop and chip can promise"),
        ('[rules.cell_ov]\nreact_s = "1"', "rules.cell_ov.react_s: a number is valid, not '1'"),
        ("[rules.cell_ow]\nlimit_v = 4", "rules.cell_ow: no such rule; there are: cell_ov"),
        ("[rules]\ncell_ov = 3", "rules.cell_ov: input should be a valid dictionary, not 3"),
        ('cell = "nope"', "mine.toml: cell: no cell 'nope'; there are: a123_26650"),
        ("recover_s = -1", "recover_s: input should be greater than or equal to 0.1, not -1"),
        ("cells_in_series = 4", "cells_in_series: 1 is valid for front_end.chip ina228"),
        ("[front_end]\nshunt_ohm = 0.00011", "front_end.shunt_ohm: 0.0002 to 1"),
        ("[front_end]\nshunt_ohm = 0.04", "rules.dsg_oc.limit_a: below 4.096 is valid"),
        ("[derating]\ncharge = [[0.0, 1.0], [0.0, 0.5]]", "derating.charge: rising temper"),
        ("[derating]\ncharge = [[9.0, 1.0], [0.0, 0.5]]", "derating.charge: rising temperatures"),
        ("[rules.cell_ov]\nlimit_v = 4.3", "rules.cell_ov.limit_v: up to 4.2 is valid for cell"),
        ("[rules.hot_cut]\nlimit_c = 70", "rules.hot_cut.limit_c: up to 65 is valid: 10 K below"),
        ("charge_a_max = 9", "charge_a_max: up to 4 is valid for cell lg_hg2"),
        ("charge_a_max = 4", "must stay under rules.charge_oc.limit_a"),
        ("[rules.fe_lost]\nlimit_s = 999.0", "rules.fe_lost.limit_s: 0 to "),
        ("[rules.feature_lost]\nlimit_count = 1", "rules.feature_lost.limit_count: 0 is valid"),
        ("[rules.hot]\nlimit_c = 65", "rules.hot_cut.limit_c: beyond rules.hot at 65 is valid"),
        ("[rules.cell_ov]\nlimit_v = 4.195\n[rules.cell_ov_cut]\nlimit_v = 4.194\nrelease_v = 4",
         "rules.cell_ov_cut.limit_v: beyond rules.cell_ov at 4.195 is valid"),
        ("[rules.hot_note]\nlimit_c = 55", "rules.hot_note.limit_c: below rules.hot_warn at 50 is "
         "valid: the note comes first, not 55"),
        ("[rules.cell_ov]\nlimit_v = 4.1", "rules.cell_ov_warn.limit_v: below rules.cell_ov at"),
        ('use = "robot"', "parts: use 'robot' does not arm without commanded_fuse"),
    ],
)  # fmt: skip
def test_refused_with_what_would_be_valid(text, says, tmp_path):
    found = refused('base = "bench_1s"\nname = "mine"\n' + text, tmp_path)
    assert any(says in line for line in found), found
    assert all(line.startswith(found[0].split(": ")[0]) for line in found)


def test_warnings_past_their_trips_come_all_at_once(tmp_path):
    found = refused(
        'base = "bench_1s"\nname = "mine"\n[rules.cell_ov_warn]\nlimit_v = 4.3\n'
        "[rules.hot_warn]\nlimit_c = 70\n[rules.dsg_oc_warn]\nlimit_a = 19.5\n", tmp_path,
    )  # fmt: skip
    pairs = {"cell_ov_warn": ("cell_ov", "cell_ov_cut"), "dsg_oc_warn": ("dsg_oc",),
             "hot_warn": ("hot", "hot_cut")}  # fmt: skip
    assert [(line.split(": ")[1].split(".")[1], line.split("rules.")[2].split()[0])
            for line in found] == [(a, b) for a, held in pairs.items() for b in held]  # fmt: skip


def test_a_rule_that_is_not_there(tmp_path):
    text = (BOARDS / "packs" / "bench_1s.toml").read_text()
    begin = text.index("[rules.hot_cut]")
    end = text.index("[rules.", begin + 1)
    found = refused(text[:begin] + text[end:], tmp_path)
    assert [line.split(": ", 1)[1] for line in found] == [
        f"rules.hot_cut.{key}: missing" for key in ("limit_c", "release_c", "delay_s")
    ]


def test_errors_of_schema_rules_and_limits_come_together(tmp_path):
    found = refused(
        'base = "bench_1s"\nname = "mine"\ncolour = 1\n[rules.cell_ov]\nlimit_mv = 1\n'
        "[rules.foo]\na = 1\n", tmp_path,
    )  # fmt: skip
    assert len(found) == 3
    found = refused(
        'base = "bench_1s"\nname = "mine"\nuse = "robot"\n[rules.cell_ov]\nlimit_mv = 1\n'
        "[rules.dsg_oc]\nlimit_a = 60\n[rules.foo]\na = 1\n", tmp_path,
    )  # fmt: skip
    assert len(found) == 7  # rule, key, data sheet, order, chip, alert, ledger


@pytest.mark.parametrize("chain", [["mine"], ["b", "mine"], ["../x/mine"]])
def test_base_loop(chain, tmp_path):
    (tmp_path / "x").mkdir()
    folder = tmp_path / "x"
    names = ["mine", *chain]
    for name, base in pairwise(names):
        (folder / f"{name}.toml").write_text(f'base = "{folder}/{base}.toml"\nname = "a"\n')
    with pytest.raises(BadInput, match=r"base: name one pack that is not based on this one$"):
        load(str(folder / "mine.toml"))


def test_base_that_is_not_there(tmp_path):
    (line,) = refused('base = "nope"', tmp_path)
    there = ", ".join(sorted(path.stem for path in (BOARDS / "packs").glob("*.toml")))
    assert line.endswith(f"mine.toml: base: no pack 'nope'; there are: {there}")
    (line,) = refused("base = 3", tmp_path)
    assert "base: name one pack" in line


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda p, c: c["ocv"].update(v=c["ocv"]["v"][:-1]), "ocv: soc and v of the same length"),
        (lambda p, c: c["ocv"].update(soc=[0.1, *c["ocv"]["soc"][1:]]), "ocv: soc from 0 to 1"),
        (lambda p, c: c["ocv"]["v"].reverse(), "v rising by 0.1 mV"),
        (lambda p, c: c["resistance"]["r1_ohm"].pop(), "resistance.r1_ohm: a row a temp_c"),
        (lambda p, c: c["resistance"]["temp_c"].reverse(), "rising temp_c"),
        (lambda p, c: c["limits"].update(v_min=4.2), "limits.v_min: below v_max is valid"),
    ],
)
def test_cells_that_cannot_be(change, says):
    assert any(says in line for line in errors(change))


def test_in_a_replay_limits_only_report():
    assert compile_pack("bench_1s", cell="solid_state_15ah").blob
    with pytest.raises(BadInput, match=r"^--cell: no cell 'nope'; there are: a123_26650"):
        compile_pack("bench_1s", cell="nope")


def test_code_of_the_current():
    file, _, _ = load("bench_1s")
    ua = ua_per_code(file)
    assert ua is not None and float(ua) == 78.125  # data sheet 8.1.2: 312.5 nV / 4 mohm
    assert compile_pack("bench_1s", capacity_factor=0.95).blob != compile_pack("bench_1s").blob
