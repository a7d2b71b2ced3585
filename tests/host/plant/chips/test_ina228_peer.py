"""The chip model against a driver written by others: Adafruit's for CircuitPython."""

import importlib
import importlib.util
import sys
from types import ModuleType

import pytest
from solidbms.plant.chips.ina228 import Ina228 as Chip

if importlib.util.find_spec("adafruit_ina228") is None:
    pytest.skip("adafruit-circuitpython-ina228 is not installed", allow_module_level=True)

# The modules of CircuitPython that the driver imports, nearly all for its annotations. They go
# again after the import: `micropython` would change what the firmware imports in this process.
STUBS = {
    "busio": {"I2C": object},
    "circuitpython_typing": {"ReadableBuffer": bytes, "WriteableBuffer": bytearray},
    "circuitpython_typing.device_drivers": {"I2CDeviceDriver": object},
    "micropython": {"const": lambda value: value},
}
with pytest.MonkeyPatch.context() as patch:
    for name, names in STUBS.items():
        module = ModuleType(name)
        vars(module).update(names)
        patch.setitem(sys.modules, name, module)
    peer = importlib.import_module("adafruit_ina228")


class Bus:
    """busio.I2C of CircuitPython with one chip on it; a register pointer as the chip has."""

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        self.pointer = 0

    def try_lock(self) -> bool:
        return True

    def unlock(self) -> None:
        pass

    def writeto(self, address, buffer, *, start=0, end=None):
        if address != self.chip.address:
            raise OSError(f"no answer at {address:#x}")
        data = bytes(buffer[start:end])
        if data:
            self.pointer = data[0]
        if len(data) > 1:
            self.chip.write(data[0], data[1:])

    def readfrom_into(self, address, buffer, *, start=0, end=None):
        if address != self.chip.address:
            raise OSError(f"no answer at {address:#x}")
        end = len(buffer) if end is None else end
        buffer[start:end] = self.chip.read(self.pointer, end - start)

    def writeto_then_readfrom(
        self, address, out, into, *, out_start=0, out_end=None, in_start=0, in_end=None
    ):
        self.writeto(address, out, start=out_start, end=out_end)
        self.readfrom_into(address, into, start=in_start, end=in_end)


SHUNT_OHM, FULL_A = 0.015, 10.0
LSB_A = FULL_A / (1 << 19)


@pytest.fixture
def chip() -> Chip:
    return Chip()


@pytest.fixture
def driver(chip):
    driver = peer.INA228(Bus(chip))
    driver.set_calibration(SHUNT_OHM, FULL_A)
    return driver


@pytest.mark.parametrize("current_a", [0.0, 0.001, 1.0, 7.3, -0.001, -2.5, -9.9])
def test_measurements(chip, driver, current_a):
    chip.advance(1_000_000, current_a * SHUNT_OHM, 3.7, 31.5)
    # The driver cuts SHUNT_CAL (3750) to an integer, here without loss.
    assert driver.current == pytest.approx(current_a, abs=2 * LSB_A)
    assert driver.shunt_voltage == pytest.approx(current_a * SHUNT_OHM, abs=312.5e-9)
    assert driver.bus_voltage == pytest.approx(3.7, abs=195.3125e-6)
    assert driver.die_temperature == pytest.approx(31.5, abs=7.8125e-3)
    assert driver.power == pytest.approx(abs(current_a) * 3.7, abs=1e-3)


def test_accumulators_over_an_hour(chip, driver):
    driver.reset_accumulators()
    for second in range(1, 3601):
        chip.advance(second * 1_000_000, -2.0 * SHUNT_OHM, 4.0, 25.0)
    assert driver.charge == pytest.approx(-7200.0, rel=1e-5)
    assert driver.energy == pytest.approx(28800.0, rel=1e-5)
    driver.reset_accumulators()
    assert driver.charge == 0.0
    assert driver.energy == 0.0


def test_adc_range(chip, driver):
    driver.adc_range = 1
    assert driver.adc_range == 1
    chip.advance(1_000_000, 2.0 * SHUNT_OHM, 3.7, 25.0)
    assert driver.current == pytest.approx(2.0, abs=2 * LSB_A)
    assert driver.shunt_voltage == pytest.approx(2.0 * SHUNT_OHM, abs=78.125e-9)


def test_config_round_trip(driver):
    assert driver.device_id == 0x228
    assert driver.mode == peer.Mode.CONTINUOUS
    driver.mode = peer.Mode.TRIG_BUS_SHUNT
    driver.averaging_count = peer.AveragingCount.COUNT_128
    driver.bus_voltage_conv_time = peer.ConversionTime.TIME_540_US
    driver.shunt_voltage_conv_time = peer.ConversionTime.TIME_2074_US
    driver.temp_conv_time = peer.ConversionTime.TIME_84_US
    driver.bus_voltage_overlimit = 12.5
    driver.temperature_limit = 60.0
    assert driver.mode == peer.Mode.TRIG_BUS_SHUNT
    assert driver.averaging_count == peer.AveragingCount.COUNT_128
    assert driver.bus_voltage_conv_time == peer.ConversionTime.TIME_540_US
    assert driver.shunt_voltage_conv_time == peer.ConversionTime.TIME_2074_US
    assert driver.temp_conv_time == peer.ConversionTime.TIME_84_US
    assert driver.bus_voltage_overlimit == 12.5
    assert driver.temperature_limit == 60.0


def test_conversion_ready_and_limit_flags(chip, driver):
    driver.bus_voltage_overlimit = 4.25
    assert not driver.conversion_ready
    chip.advance(1_000_000, 0.0, 4.3, 25.0)
    assert driver.conversion_ready
    flags = driver.alert_flags
    assert flags["BUSOL"] and flags["MEMSTAT"]
    assert not flags["BUSUL"] and not flags["MATHOF"]


def test_reset(chip, driver):
    driver.adc_range = 1
    driver.bus_voltage_overlimit = 4.25
    chip.advance(1_000_000, 0.01, 3.7, 25.0)
    driver.reset()
    assert driver.adc_range == 0
    assert driver.bus_voltage == 0.0
    assert driver.charge == 0.0
    assert driver.bus_voltage_overlimit == 0x7FFF * 3.125e-3


def test_another_address_does_not_answer():
    with pytest.raises(ValueError, match="0x40"):
        peer.INA228(Bus(Chip(address=0x41)))
