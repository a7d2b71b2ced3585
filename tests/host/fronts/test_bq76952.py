"""What a pack with a BQ76952 compiles to, and what is refused."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from bms.core import plausible as P
from bms.core import rules
from bms.core.pack import Pack
from solidbms.explain import explain
from solidbms.fronts import bq76952
from solidbms.fronts import bq76952_memory as memory
from solidbms.packc import compile_pack
from solidbms.plant.chips import bq76952_map as m
from solidbms.schema import BadInput

CHANGES = 'base = "robot_14s"\nname = "mine"\n'


def mine(tmp_path, text: str) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(CHANGES + text)
    return str(path)


def written(pack: Any) -> dict[int, int]:
    """Return the chip's data memory as the driver writes it, byte by byte."""
    words, found, at = list(pack.chip_memory), {}, 0
    while at < len(words):
        address, count = words[at : at + 2]
        found |= {address + k: words[at + 2 + k] for k in range(count)}
        at += 2 + count
    return found


def test_limits_are_in_the_memory_as_the_chip_counts_them(tmp_path):
    text = "[front_end]\nover_v = 4.4\nover_s = 0.33\nshort_a = 175.0\nhot_die_c = 101.0\n"
    pack: Any = Pack(compile_pack(mine(tmp_path, text)).blob)
    bytes_at = written(pack)
    for name, limit in (
        ("COV Threshold", memory.over_v(4.4)), ("OTINT Threshold", memory.over_c(101.0)),
        ("SCD Threshold", memory.short_a(175.0, 0.001)),
    ):  # fmt: skip
        assert bytes_at[m.ADDRESS[name]] == limit.code
    delay = bytes_at[m.ADDRESS["COV Delay"]] | bytes_at[m.ADDRESS["COV Delay"] + 1] << 8
    assert delay == memory.voltage_delay_ms(330.0).code
    gain = struct.unpack("<f", bytes(bytes_at[m.ADDRESS["CC Gain"] + k] for k in range(4)))[0]
    assert gain == pytest.approx(7.4768)  # 1 mohm
    assert bytes_at[m.ADDRESS["TS3 Pin Config"]] == 0x07
    assert bytes_at[m.ADDRESS["HDQ Pin Config"]] == 0x0F


def test_another_chip_takes_nothing_of_the_base(tmp_path):
    chip = "".join(f"{line}\n" for line in (
        "[front_end]", 'chip = "bq76952"', "shunt_ohm = 0.001", "fet_thermistor = true",
        "short_a = 200.0",
    ))  # fmt: skip
    path = tmp_path / "other.toml"
    path.write_text(f'base = "bench_1s"\nname = "other"\n{chip}')
    with pytest.raises(BadInput) as caught:
        compile_pack(str(path))
    assert "front_end" not in str(caught.value).replace("front_end.chip bq76952", "")


def test_scales_of_current_and_charge():
    pack: Any = Pack(compile_pack("robot_14s").blob)
    assert (pack.chip, pack.chip_crc, pack.chip_address) == (1, 1, 8)
    assert (pack.ua_num, pack.ua_den) == (10_000, 1)  # +-200 A in 16 bits
    assert not pack.ntc_mdegc and not pack.simulated


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[front_end]\nover_v = 4.25", "front_end.over_v: above 4.25 (rules.cell_ov) is valid as "
         "the chip applies it, not 4.1998 (asked for 4.25)"),
        ("[front_end]\nunder_v = 2.8", "front_end.under_v: below "),
        ("[front_end]\ncharge_s = 0.001", "front_end.charge_s: in ms: 9.9 to 425.7"),
        ("[front_end]\ncharge_a = 7.9", "front_end.charge_a: above "),
        ("[front_end]\ndischarge_a = 60.0", "front_end.discharge_a: above "),
        ("[front_end]\nshort_a = 9.0", "front_end.short_a: from 10 is valid, not 9"),
        ("[front_end]\nhot_discharge_c = 50.0", "front_end.hot_discharge_c: above "),
        ("[front_end]\nprecharge_v = [3.0, 2.8]", "front_end.precharge_v: start below stop"),
        ("[front_end]\nshunt_ohm = 0.004", "rules.dsg_oc.limit_a: below 50 is valid, where the "),
        ("[front_end]\nalert_over_v = 60.0", "front_end.alert_over_v: unknown key; valid here: "
         "chip, address, crc"),
        ("cells_in_series = 2", "cells_in_series: 3 to 16 is valid for front_end.chip bq76952"),
        ("[thermistor]\ncount = 4", "thermistor.count: 1 to 3 is valid for front_end.chip"),
        ("[thermistor]\nbeta_k = 3950.0", "thermistor: for front_end.chip bq76952 r25_ohm 10000, "
         "beta_k 3435, pullup_ohm 18000 or r25_ohm 200000"),
    ],
)  # fmt: skip
def test_refused_with_what_would_be_valid(text, says, tmp_path):
    with pytest.raises(BadInput) as caught:
        compile_pack(mine(tmp_path, text))
    lines = str(caught.value).splitlines()
    assert any(says in line for line in lines), lines


def test_every_limit_that_a_rule_must_precede_is_held_against_it():
    pack = compile_pack("robot_14s")
    ids = {row[rules.ID] for row in rules.ROWS}
    limits = [limit for limit, _ in bq76952._limits(pack.file) if not limit.after]
    assert len(limits) == 9
    assert all(limit.rule in ids for limit in limits)


def test_ages_follow_what_a_signal_is_made_of():
    file = compile_pack("robot_14s").file
    ages = [bq76952.age_ms(signal, file) for signal in range(P.SIGNALS)]
    assert ages[P.CHARGE_UA] == ages[P.WELD_MS] < ages[P.CELL_MAX_UV] < ages[P.TEMP_MAX_MDEGC]
    assert ages[P.TEMP_MAX_MDEGC] == ages[P.PACK_UV] == ages[P.FET_MDEGC]
    unaged = {P.FIELDS[k] for k, age in enumerate(ages) if not age}
    made_here = {"overrun_ms", "features_lost", "gates_dropped", "pre_ms", "config_bad"}
    assert made_here <= unaged and not unaged & {P.FIELDS[k] for k in bq76952.FULL}


def test_what_it_does_not_see(tmp_path):
    file = compile_pack("robot_14s").file
    assert bq76952.lacks(file) == ()
    blind = bq76952.keys(file).model_copy(update={"fet_thermistor": False, "short_a": None})
    assert bq76952.lacks(file.model_copy(update={"front_end": blind})) == (P.FET_MDEGC, P.SHORTS)


def test_explain_shows_what_the_chip_applies():
    text, ok = explain("robot_14s")
    assert ok and "current: 10 mA a code, +-200 A" in text
    assert "above 4.3516 V a cell (asked for 4.36), after 0.2475 s (asked for 0.25)" in text
