"""What a pack promises, and every error of an unsafe one at once."""

import re

import pytest
from bms.core import rules
from solidbms.explain import explain
from solidbms.packc import compile_pack
from solidbms.schema import BOARDS, PLACEHOLDERS, BadInput


def mine(tmp_path, text: str) -> str:
    path = tmp_path / "mine.toml"
    path.write_text('base = "bench_1s"\nname = "mine"\n' + text)
    return str(path)


def test_bench_pack():
    text, ok = explain("bench_1s")
    assert ok
    rows = {row[rules.ID] for row in rules.ROWS}
    found = set(re.findall(r"^  (\w+) +(?:note|warn|trip|burn) ", text, re.M))
    absent = ", ".join(re.findall(r"^  without (.*?):", text, re.M)).split(", ")
    assert found and found.isdisjoint(absent)
    assert found | set(absent) == rows
    assert "lacks dead-man gate drive" not in text
    assert "has dead-man gate drive, which rests on a capacitor" in text
    assert "lacks fuse" in text
    assert "above 25 A of discharge (asked for 25); the gates drop within 17 ms" in text
    assert "above 4.4 V (asked for 4.4)" in text
    assert "tightened: rules.hot_cut at most 65" in text
    assert "78.125 uA a code, +-40.96 A" in text
    assert "cell_ov: limit 4.2, first reading past it 4.2002 V" in text


def test_what_stands_in_is_there():
    bench, robot = explain("bench_1s")[0], explain("robot_14s")[0]
    assert "  has thermistor on every cell\n" in bench and "thermistors between cells" not in bench
    for part in ("fuse that firmware can blow", "charger-inhibit line",
                 "diode that bypasses an open charge FET"):  # fmt: skip
        assert f"  lacks {part}: stands in: nothing; remains: " in bench
    assert "  lacks thermistor on every cell: stands in: thermistors between cells, " in robot
    assert "lacks fuse that firmware can blow: stands in: the charger-inhibit line" in robot


def test_placeholders_in_a_cell_are_told(tmp_path):
    cell = (BOARDS / "cells" / "lg_hg2.toml").read_text().replace(
        "[limits]\n", "[limits]\nplaceholders = true\n"
    )  # fmt: skip
    (tmp_path / "cell.toml").write_text(cell)
    line = f"  limits of cell lg_hg2: {PLACEHOLDERS}\n"
    assert line in explain(mine(tmp_path, f'cell = "{tmp_path}/cell.toml"\n'))[0]
    assert line not in explain("bench_1s")[0]


def test_promise_is_age_delay_shed_and_two_ticks():
    text, _ = explain("bench_1s")
    for rule in compile_pack("bench_1s").rules:
        row = next(line for line in text.splitlines() if line.startswith(f"  {rule.id} "))
        promise = rule.age_ms + rule.delay_ms + rule.shed_ms + 100
        numbers = f"{rule.age_ms:>6}{rule.delay_ms:>8}{rule.shed_ms:>8}{promise:>9}  "
        assert numbers in row


def test_first_reading_past_a_limit_is_a_code_past_it():
    text, _ = explain("bench_1s")
    found = re.findall(r"^  (\w+): limit ([\d.]+), first reading past it ([\d.]+)", text, re.M)
    assert {name for name, _, _ in found} == {
        "cell_ov_warn", "cell_ov", "cell_ov_cut", "cell_uv", "cell_uv_cut", "charge_oc",
        "charge_oc_cut", "dsg_oc_warn", "dsg_oc", "dsg_oc_cut",
    }  # fmt: skip
    for name, limit, first in found:
        step = 195.3125e-6 if name.startswith("cell") else 78.125e-6
        past = float(first) - float(limit)
        assert 0 < past * (-1 if "uv" in name else 1) <= step * 1.3


def test_an_unsafe_pack_gets_all_its_errors(tmp_path):
    text, ok = explain(mine(
        tmp_path,
        'use = "robot"\ncharge_a_max = 400.0\n[rules.cell_ov]\nlimit_v = 5.0\n'
        "[rules.hot_cut]\nlimit_c = 90.0\n[rules.cell_uv]\nlimit_mv = 3\n",
    ))  # fmt: skip
    assert not ok and "Does not arm: 8 errors" in text
    errors = text.splitlines()[-8:]
    assert all("mine.toml: " in line for line in errors)
    for key in ("cell_uv.limit_mv", "cell_ov.limit_v", "hot_cut.limit_c", "parts",
                "charge_a_max: up to 4", "rules.charge_oc.limit_a",
                "cell_ov_cut.limit_v", "front_end.alert_over_v"):  # fmt: skip
        assert any(key in line for line in errors), key
    assert "compiled" not in text


def test_a_robot_pack_that_cannot_be_made_safe(tmp_path):
    path = tmp_path / "unsafe.toml"
    path.write_text(
        'base = "robot_14s"\nname = "unsafe"\ncells_in_series = 17\n'
        "[parts]\ncharger_inhibit = false\n[front_end]\ncharge_s = 2.0\n"
        "[rules.cell_ov]\nlimit_v = 4.4\n[rules.hot_cut]\nlimit_c = 90.0\n"
        "[rules.short]\nreact_s = 0.01\n"
    )
    text, ok = explain(str(path))
    assert not ok
    errors = text[text.index("Does not arm:") :].splitlines()[1:]
    for wanted in (
        "cells_in_series: 3 to 16 is valid",
        "does not arm without commanded_fuse or charger_inhibit",
        "front_end.charge_s: up to 0.4257 is valid",
        "rules.cell_ov.limit_v: up to 4.25 is valid for cell solid_state_15ah, not 4.4",
        "rules.hot_cut.limit_c: up to 60 is valid for cell solid_state_15ah, not 90",
        "rules.short.react_s: loop and chip can promise",
    ):
        assert sum(wanted in line for line in errors) == 1, wanted
    assert all("unsafe.toml: " in line for line in errors)


def test_a_broken_rule_is_not_shown_with_made_up_numbers(tmp_path):
    text, ok = explain(mine(tmp_path, '[rules.cell_ov]\nlimit_v = "4.2V"\n'))
    assert not ok and text.endswith("rules.cell_ov.limit_v: a number is valid, not '4.2V'")
    assert "Does not arm: 1 error\n" in text
    assert not re.search(r"^  cell_ov ", text, re.M)


def test_a_shunt_that_no_fraction_fits(tmp_path):
    text, ok = explain(mine(tmp_path, "[front_end]\nshunt_ohm = 0.00011\n"))
    assert not ok and "front_end.shunt_ohm" in text


def test_unknown_pack():
    there = r"nope\.toml: no such file; there are: bench_1s, .*robot_14s$"
    with pytest.raises(BadInput, match=there):
        explain("nope")
