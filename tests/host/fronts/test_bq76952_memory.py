"""Limits in the chip's own steps: against TI's ranges and against the model."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solidbms.fronts import bq76952_memory as memory
from solidbms.plant.chips import bq76952_map as m
from solidbms.plant.chips.bq76952 import Bq76952

SHUNT_OHM = 0.0005


@given(st.floats(1.012, 5.566))
def test_over_limits_are_the_step_at_or_below(asked):
    code, value = memory.over_v(asked)
    assert 20 <= code <= 110
    assert value == pytest.approx(code * 0.0506)
    assert asked - 0.0506 < value <= asked + 1e-6


@given(st.floats(1.012, 4.554))
def test_under_limits_are_the_step_at_or_above(asked):
    code, value = memory.under_v(asked)
    assert 20 <= code <= 90
    assert asked - 1e-6 <= value < asked + 0.0506


@given(st.integers(20, 110))
def test_a_whole_step_stays_what_it_is(code):
    assert memory.over_v(code * 0.0506).code == code
    if code <= 90:
        assert memory.under_v(code * 0.0506).code == code


@pytest.mark.parametrize(
    "apply, asked, wanted",
    [
        (memory.over_v, 4.35, (85, 4.301)),
        (memory.over_v, 9.0, (110, 5.566)),
        (memory.under_v, 0.5, (20, 1.012)),
        (memory.under_v, 2.5, (50, 2.53)),
        (memory.hysteresis_v, 0.05, (2, 0.1012)),
        (memory.hysteresis_v, 0.16, (4, 0.2024)),
        (memory.hysteresis_v, 5.0, (20, 1.012)),
        (memory.voltage_delay_ms, 250, (73, 247.5)),
        (memory.voltage_delay_ms, 9.9, (1, 9.9)),
        (memory.voltage_delay_ms, 99_999, (2047, 6761.7)),
        (memory.current_delay_ms, 20, (4, 19.8)),
        (memory.current_delay_ms, 9_999, (127, 425.7)),
        (memory.short_delay_us, 0, (1, 0)),
        (memory.short_delay_us, 31, (3, 30)),
        (memory.short_delay_us, 9_999, (31, 450)),
        (memory.over_c, 59.9, (59, 59)),
        (memory.over_c, -40, (-40, -40)),
        (memory.over_c, 500, (120, 120)),
        (memory.delay_s, 2.9, (2, 2)),
        (memory.delay_s, 999, (255, 255)),
    ],
)
def test_steps_and_their_ends(apply, asked, wanted):
    code, value = apply(asked)
    assert (code, value) == (wanted[0], pytest.approx(wanted[1]))


@pytest.mark.parametrize(
    "apply, asked, wanted",
    [
        (memory.charge_a, 20.9, (5, 20.0)),
        (memory.charge_a, 999, (62, 248.0)),
        (memory.discharge_a, 123.0, (30, 120.0)),
        (memory.discharge_a, 999, (100, 400.0)),
        (memory.short_a, 20.0, (0, 20.0)),
        (memory.short_a, 249.9, (5, 200.0)),
        (memory.short_a, 250.0, (6, 250.0)),
        (memory.short_a, 99_999, (15, 1000.0)),
    ],
)
def test_currents_over_the_shunt(apply, asked, wanted):
    code, value = apply(asked, SHUNT_OHM)
    assert (code, value) == (wanted[0], pytest.approx(wanted[1]))


@pytest.mark.parametrize(
    "apply, asked",
    [
        (memory.over_v, 0.9),
        (memory.under_v, 4.6),
        (memory.voltage_delay_ms, 9.8),
        (memory.current_delay_ms, 5),
        (memory.over_c, -41),
        (lambda a: memory.charge_a(a, SHUNT_OHM), 7.9),
        (lambda a: memory.discharge_a(a, SHUNT_OHM), 7.9),
        (lambda a: memory.short_a(a, SHUNT_OHM), 19.9),
        (memory.user_ma, 328.0),
    ],
)
def test_what_no_step_is_protective_enough_for(apply, asked):
    with pytest.raises(ValueError, match="valid"):
        apply(asked)


@pytest.mark.parametrize("full_a, unit", [(5, 1.0), (32.767, 1.0), (32.8, 10.0), (327.67, 10.0)])
def test_the_finest_unit_that_fits(full_a, unit):
    assert memory.user_ma(full_a) == unit


def test_units_as_fractions():
    assert memory.ua_per_code(10.0) == 10_000
    # 2^-17 of 10 mAh in uAs.
    assert float(memory.uas_per_code(10.0)) == pytest.approx(36_000_000 / 2**17)
    assert memory.uas_per_code(10.0).denominator == 512


def settings(**kwargs):
    usual = {"cells": 14, "shunt_ohm": SHUNT_OHM, "unit_ma": 10.0}
    return memory.Settings(**{**usual, **kwargs})


FULL = {
    "over_v": 4.35, "under_v": 2.5, "charge_a": 20.0, "discharge_a": 120.0, "short_a": 200.0,
    "hot_charge_c": 60.0, "hot_discharge_c": 70.0, "hot_fet_c": 100.0, "hot_die_c": 90.0,
    "predischarge_v": 1.0, "precharge_v": (2.8, 3.0), "host_watchdog_s": 5.0,
}  # fmt: skip


def stored(**kwargs):
    """Return the data memory that a pack's table makes of a chip, by name."""
    memory_of = m.defaults()
    table, at = memory.table(memory.memory(settings(**kwargs))), 0
    while at < len(table):
        address, count = table[at : at + 2]
        memory_of[address - m.FIRST : address - m.FIRST + count] = bytes(
            table[at + 2 : at + 2 + count]
        )
        at += 2 + count
    return {
        row.name: struct.unpack_from("<" + m.FORMATS[row.kind], memory_of, address - m.FIRST)[0]
        for address, row in m.MEMORY.items()
    }


def test_nothing_asked_is_nothing_watched():
    values = stored()
    assert [values[f"Enabled Protections {x}"] for x in "ABC"] == [0, 0, 0]


def test_all_asked():
    values = stored(**FULL)
    assert values["Enabled Protections A"] == 0xBC  # SCD, OCD1, OCC, COV, CUV
    assert values["Enabled Protections B"] == 0xF0  # OTF, OTINT, OTD, OTC
    assert values["Enabled Protections C"] == 0x02
    wanted = {
        "COV Threshold": 85, "CUV Threshold": 50, "OCC Threshold": 5, "OCD1 Threshold": 30,
        "SCD Threshold": 5, "OTF Threshold": 100, "OTF Recovery": 95, "FET Options": 0x1D,
        "Predischarge Timeout": 0, "Predischarge Stop Delta": 100,
        "Precharge Start Voltage": 2800, "Precharge Stop Voltage": 3000, "HWD Delay": 5,
        "CHG FET Protections A": 0x98, "DSG FET Protections A": 0xE4,
    }  # fmt: skip
    assert {name: values[name] for name in wanted} == wanted
    assert values["CC Gain"] == pytest.approx(7.4768 / 0.5)
    assert values["Capacity Gain"] / values["CC Gain"] == pytest.approx(298261.6178)


def test_what_every_pack_gets():
    values = stored()
    assert not values["Power Config"] & 0x0100  # never asleep: scans would be seconds apart
    assert values["Comm Type"] == 0x12
    assert stored(crc=False)["Comm Type"] == 0x08
    assert values["DA Configuration"] == 0x06
    assert stored(unit_ma=1.0)["DA Configuration"] == 0x05
    assert values["Vcell Mode"] == 0x9FFF
    # A silent pin holds its FET off.
    assert values["CFETOFF Pin Config"] == values["DFETOFF Pin Config"] == 0x82
    assert [values[f"{pin} Pin Config"] for pin in ("TS1", "TS2", "TS3", "HDQ")] == [7, 7, 7, 15]
    assert stored(thermistor_180k=True)["TS1 Pin Config"] == 0x57
    assert stored(temps=1, fet_temp=False)["TS2 Pin Config"] == 0
    assert stored(temps=1, fet_temp=False)["HDQ Pin Config"] == 0
    assert values["Default Alarm Mask"] == 0xE082


def test_recovery_waits_and_asks_for_no_charger_and_no_load():
    values = stored(**FULL, recovery_s=12)
    assert values["Recovery Time"] == values["SCD Recovery Time"] == 12
    assert values["OCD Recovery Threshold"] < 0 < values["OCC Recovery Threshold"]


@given(st.sets(st.sampled_from(sorted(FULL))))
def test_entries_fit_small_integers_and_do_not_overlap(names):
    entries = memory.memory(settings(**{name: FULL[name] for name in names}))
    end = 0
    for address, size, value in entries:
        assert address >= end
        assert 0 <= value < 1 << 8 * size <= 1 << 16
        end = address + size


def test_a_table_is_runs_of_bytes():
    table = memory.table([(0x9180, 2, 0x307A), (0x9182, 1, 5), (0x9200, 2, 1)])
    assert table == [0x9180, 3, 0x7A, 0x30, 5, 0x9200, 2, 1, 0]
    long = memory.table([(0x9180 + k, 1, k) for k in range(40)])
    assert long[:2] == [0x9180, 32] and long[34:36] == [0x91A0, 8]


@pytest.mark.parametrize("cells", [3, 10, 16])
def test_the_model_reads_the_cells_of_this_memory(cells):
    chip = Bq76952(cells)
    for address, size, value in memory.memory(settings(cells=cells)):
        at = address - m.FIRST
        chip.memory[at : at + size] = value.to_bytes(size, "little")
    chip.apply()
    assert tuple(chip.scan.used) == chip.inputs
