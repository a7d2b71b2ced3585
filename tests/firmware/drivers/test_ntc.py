"""The thermistor driver against the divider's own equation."""

import pytest
from bms.core import frame as F
from bms.core.frame import Frame
from bms.core.pack import Pack
from bms.drivers.ntc import Ntc
from hypothesis import given
from hypothesis import strategies as st
from solidbms.packc import compile_pack
from solidbms.plant import ntc

SENSORS = 3


class Adc:
    def __init__(self, code):
        self.code = code

    def read_u16(self):
        return self.code


@pytest.fixture(scope="module")
def pack() -> Pack:
    return Pack(compile_pack("bench_1s").blob)


def read(pack, code, sensor=0):
    """Return the frame after one read, every temperature preset to -1."""
    frame = Frame(1, SENSORS)
    for k in range(SENSORS):
        frame.v[frame.temp0 + k] = -1
    Ntc(Adc(code), pack, sensor).read(frame)
    return frame


@pytest.mark.parametrize("temp_c", range(-40, 101, 5))
def test_temperature_at_and_between_the_rows_of_the_table(pack, temp_c):
    for t in (temp_c, temp_c + 1.3, temp_c + 2.5):
        frame = read(pack, ntc.adc_u16(t))
        # One ADC step and the straight line between the rows, every 5 K.
        step_c = abs(ntc.temp_c_of(ntc.adc_u16(t)) - ntc.temp_c_of(ntc.adc_u16(t) - 16))
        assert abs(frame.v[frame.temp0] / 1000 - t) < 0.3 + step_c
        assert frame.v[F.FLAGS] == F.TEMP_OK


@given(code=st.integers(0, 65534))
def test_hotter_never_reads_colder(pack, code):
    one, other = read(pack, code), read(pack, code + 1)
    if one.v[F.FLAGS] and other.v[F.FLAGS]:
        assert one.v[one.temp0] >= other.v[other.temp0]


def test_open_and_short_are_not_readings(pack):
    for code in (ntc.adc_u16(25.0, open=True), ntc.adc_u16(25.0, short=True), 0, 65535):
        frame = read(pack, code)
        assert frame.v[F.FLAGS] == 0
        assert frame.v[frame.temp0] == -1


def test_the_window_holds_both_its_ends(pack):
    for code, good in [
        (pack.ntc_low - 1, 0), (pack.ntc_low, 1), (pack.ntc_high, 1), (pack.ntc_high + 1, 0),
    ]:  # fmt: skip
        assert read(pack, code).v[F.FLAGS] == good * F.TEMP_OK


@pytest.mark.parametrize("sensor", range(SENSORS))
def test_each_sensor_fills_its_own_place(pack, sensor):
    frame = read(pack, ntc.adc_u16(25.0), sensor)
    assert frame.v[F.FLAGS] == F.TEMP_OK << sensor
    temps = list(frame.v[frame.temp0 :])
    assert abs(temps.pop(sensor) - 25_000) < 200
    assert temps == [-1] * (SENSORS - 1)


def test_the_first_sensor_is_the_default(pack):
    frame = Frame(1, SENSORS)
    Ntc(Adc(ntc.adc_u16(25.0)), pack).read(frame)
    assert frame.v[F.FLAGS] == F.TEMP_OK
