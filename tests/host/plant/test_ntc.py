import pytest
from hypothesis import given
from hypothesis import strategies as st
from solidbms.plant.ntc import adc_u16, resistance_ohm, temp_c_of


def test_nominal_point_is_half_of_the_supply():
    assert resistance_ohm(25.0) == pytest.approx(10_000.0)
    assert adc_u16(25.0) == 2048 << 4 | 2048 >> 8


def test_beta_between_25_and_85():
    # The definition of B: ln(R1/R2) / (1/T1 - 1/T2).
    assert resistance_ohm(85.0) == pytest.approx(10_000 / 9.204, rel=1e-3)


def test_reading_is_twelve_bits_spread_over_sixteen():
    for temp_c in range(-40, 120, 3):
        value = adc_u16(temp_c)
        assert value & 0xF == value >> 12


def test_broken_and_shorted_wires_read_at_the_rails():
    assert adc_u16(25.0, open=True) == 65535
    assert adc_u16(25.0, short=True) == 0
    assert adc_u16(25.0, open=True, short=True) == 0
    assert adc_u16(-273.0) == 65535


@pytest.mark.parametrize("value", [0, 15, 65520, 65535])
def test_rails_are_no_temperature(value):
    with pytest.raises(ValueError, match="open or shorted"):
        temp_c_of(value)


@pytest.mark.parametrize("value", [-1, 65536])
def test_reading_out_of_range(value):
    with pytest.raises(ValueError, match="not within"):
        temp_c_of(value)


def test_absolute_zero():
    with pytest.raises(ValueError, match="absolute zero"):
        resistance_ohm(-273.15)


@given(st.floats(-40.0, 100.0))
def test_round_trip_within_half_a_step(temp_c):
    back_c = temp_c_of(adc_u16(temp_c))
    # One ADC step is 0.022 degC at 25 and at its widest here 0.141 degC, at -40 and at 100.
    assert back_c == pytest.approx(temp_c, abs=0.0725)


@given(st.floats(-60.0, 150.0), st.floats(0.0, 50.0))
def test_hotter_never_reads_higher(temp_c, step_c):
    assert adc_u16(temp_c + step_c) <= adc_u16(temp_c)
