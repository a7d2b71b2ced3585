import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solidbms.plant.chips import ina228 as chip_map
from solidbms.plant.chips.ina228 import REGISTERS, Ina228

SHUNT_OHM = 0.0162  # worked example of SLYS021A 8.2.2: 10 A full scale, 6 A at 48 V
CONTINUOUS_US = 3 * 1052  # one round at reset: bus, shunt and temperature


def value(chip: Ina228, register: int) -> int:
    return int.from_bytes(chip.read(register, REGISTERS[register].bits // 8), "big")


def signed(chip: Ina228, register: int) -> int:
    bits = REGISTERS[register].bits
    raw = value(chip, register)
    return raw - (raw >> bits - 1 << bits)


def put(chip: Ina228, register: int, word: int) -> None:
    chip.write(register, word.to_bytes(2, "big"))


def adc(mode: int = 0xF, bus: int = 5, shunt: int = 5, temp: int = 5, average: int = 0) -> int:
    return mode << 12 | bus << 9 | shunt << 6 | temp << 3 | average


@pytest.fixture
def chip() -> Ina228:
    chip = Ina228()
    put(chip, chip_map.SHUNT_CAL, 4050)
    return chip


def example(chip: Ina228, now_us: int) -> None:
    chip.advance(now_us, 6 * SHUNT_OHM, 48.0, 25.0)


def test_worked_example_of_the_data_sheet(chip):
    # SLYS021A Table 8-4: an hour at 6 A and 48 V, here in whole rounds of 3 x 50 us.
    put(chip, chip_map.ADC_CONFIG, adc(bus=0, shunt=0, temp=0))
    example(chip, 3_600_000_000)
    assert value(chip, chip_map.VSHUNT) == 311040 << 4
    assert value(chip, chip_map.CURRENT) == 314572 << 4
    assert value(chip, chip_map.VBUS) == 245760 << 4
    assert value(chip, chip_map.DIETEMP) == 3200
    assert value(chip, chip_map.ENERGY) == 1061683200
    assert value(chip, chip_map.CHARGE) == 1132462080


def test_power_of_the_worked_example(chip):
    # The table prints 4718604: 288 W over 61.035 uW, its power LSB cut to five digits. Over the
    # full LSB (61.03515625 uW), which the same table's energy needs, 288 W are 4718592.
    example(chip, CONTINUOUS_US)
    assert round(288 / 61.035e-6) == 4718604
    assert value(chip, chip_map.POWER) == 4718592


def test_over_current_threshold_of_the_data_sheet(chip):
    # SLYS021A 8.2.2.4: 162 mV is 32400 in SOVL, 52 V is 16640 in BOVL.
    put(chip, chip_map.SOVL, 32400)
    put(chip, chip_map.BOVL, 16640)
    chip.advance(CONTINUOUS_US, 0.162, 52.0, 25.0)
    assert not chip.alert_active
    chip.advance(3 * CONTINUOUS_US, 0.162006, 52.004, 25.0)
    flags = value(chip, chip_map.DIAG_ALRT)
    assert flags & chip_map.SHNTOL and flags & chip_map.BUSOL
    assert chip.alert_active


@pytest.mark.parametrize("register", REGISTERS)
def test_reset_value_and_writable_bits(register):
    chip = Ina228()
    row = REGISTERS[register]
    assert value(chip, register) == row.reset
    put(chip, chip_map.ADC_CONFIG, 0)
    for word in (0x0000, 0x7FFF, 0x3FFF):
        put(chip, register, word)
        kept = word & row.writable if row.writable else row.reset
        if register == chip_map.CONFIG:
            kept &= ~(chip_map.CONFIG_RST | chip_map.CONFIG_RSTACC)
        if register == chip_map.DIAG_ALRT:
            kept |= chip_map.MEMSTAT
        assert value(chip, register) == kept


def test_reads_past_the_width_and_off_the_map(chip):
    assert chip.read(0x3E, 4) == b"TI\xff\xff"
    assert chip.read(0x3F, 1) == b"\x22"
    assert chip.read(0x20, 2) == b"\0\0"
    chip.write(0x20, b"\x12\x34")
    chip.write(chip_map.SOVL, b"\x12")
    assert value(chip, chip_map.SOVL) == 0x7FFF


def test_results_appear_at_the_end_of_the_conversion(chip):
    example(chip, CONTINUOUS_US - 1)
    assert value(chip, chip_map.VSHUNT) == 0
    assert not value(chip, chip_map.DIAG_ALRT) & chip_map.CNVRF
    example(chip, CONTINUOUS_US)
    assert value(chip, chip_map.VSHUNT) == 311040 << 4
    assert value(chip, chip_map.DIAG_ALRT) & chip_map.CNVRF
    assert not value(chip, chip_map.DIAG_ALRT) & chip_map.CNVRF  # reading cleared it


@pytest.mark.parametrize("code, time_us", list(enumerate(chip_map.CONVERSION_US)))
@pytest.mark.parametrize("step, average", [(0, 1), (1, 4), (7, 1024)])
def test_conversion_time(chip, code, time_us, step, average):
    put(chip, chip_map.ADC_CONFIG, adc(mode=0xA, shunt=code, average=step))
    example(chip, time_us * average - 1)
    assert value(chip, chip_map.VSHUNT) == 0
    example(chip, time_us * average)
    assert value(chip, chip_map.VSHUNT) == 311040 << 4


def test_average_updates_once_and_charge_every_round(chip):
    put(chip, chip_map.ADC_CONFIG, adc(average=1))
    example(chip, 2 * CONTINUOUS_US)
    assert value(chip, chip_map.VSHUNT) == 0
    assert value(chip, chip_map.CHARGE) == 311040 * 4096 * 2 * CONTINUOUS_US // (4050 * 10**6)
    chip.advance(4 * CONTINUOUS_US, 0.0, 48.0, 25.0)
    assert value(chip, chip_map.VSHUNT) == 155520 << 4


def test_round_across_a_change_is_the_mean_by_time(chip):
    put(chip, chip_map.ADC_CONFIG, adc(mode=0xA, shunt=5))
    chip.advance(263, 0.1, 0.0, 25.0)
    chip.advance(1052, 0.0, 0.0, 25.0)
    assert value(chip, chip_map.VSHUNT) >> 4 == 80000


@pytest.mark.parametrize("mode", range(16))
def test_mode_selects_what_is_converted(chip, mode):
    put(chip, chip_map.ADC_CONFIG, adc(mode=mode))
    example(chip, 20_000)
    assert bool(value(chip, chip_map.VBUS)) == bool(mode & 1)
    assert bool(value(chip, chip_map.VSHUNT)) == bool(mode & 2)
    assert bool(value(chip, chip_map.CHARGE)) == bool(mode & 2)
    assert bool(value(chip, chip_map.DIETEMP)) == bool(mode & 4)
    assert bool(value(chip, chip_map.POWER)) == (mode & 3 == 3)
    assert bool(value(chip, chip_map.DIAG_ALRT) & chip_map.CNVRF) == bool(mode & 7)
    chip.advance(40_000, 0.0, 1.0, 0.0)
    assert (value(chip, chip_map.VBUS) >> 4 == 5120) == (mode & 9 == 9)  # triggered: only once


def test_triggered_again_by_a_write(chip):
    put(chip, chip_map.ADC_CONFIG, adc(mode=7))
    example(chip, 20_000)
    chip.advance(30_000, 0.0, 1.0, 0.0)
    assert value(chip, chip_map.VBUS) >> 4 == 245760
    put(chip, chip_map.ADC_CONFIG, adc(mode=7))
    assert not value(chip, chip_map.DIAG_ALRT) & chip_map.CNVRF
    chip.advance(40_000, 0.0, 1.0, 0.0)
    assert value(chip, chip_map.VBUS) >> 4 == 5120
    charge = 311040 * 4096 * CONTINUOUS_US // (4050 * 10**6)
    assert value(chip, chip_map.CHARGE) == charge


def test_input_left_out_keeps_its_last_result(chip):
    example(chip, CONTINUOUS_US)
    put(chip, chip_map.ADC_CONFIG, adc(mode=9))
    chip.advance(20_000, 0.0, 1.0, 0.0)
    assert value(chip, chip_map.VSHUNT) >> 4 == 311040
    assert value(chip, chip_map.POWER) == 311040 * 5120 // (4 * 4050)


def test_conversion_delay(chip):
    put(chip, chip_map.CONFIG, 3 << 6)
    put(chip, chip_map.ADC_CONFIG, adc())
    example(chip, 6000 + CONTINUOUS_US - 1)
    assert value(chip, chip_map.VSHUNT) == 0
    example(chip, 6000 + CONTINUOUS_US)
    assert value(chip, chip_map.VSHUNT) >> 4 == 311040


@pytest.mark.parametrize("adc_range, full_v", [(0, 0.16384), (1, 0.04096)])
def test_shunt_saturates_both_ways(chip, adc_range, full_v):
    put(chip, chip_map.CONFIG, adc_range << 4)
    chip.advance(10_000, full_v * 1.1, 90.0, 300.0)
    assert signed(chip, chip_map.VSHUNT) >> 4 == (1 << 19) - 1
    assert signed(chip, chip_map.DIETEMP) == 0x7FFF
    chip.advance(20_000, -full_v * 1.1, -0.3, -300.0)
    assert signed(chip, chip_map.VSHUNT) >> 4 == -(1 << 19)
    assert value(chip, chip_map.VBUS) == 0
    assert signed(chip, chip_map.DIETEMP) == -0x8000


def test_narrow_range_needs_four_times_the_calibration(chip):
    put(chip, chip_map.CONFIG, chip_map.CONFIG_ADCRANGE)
    put(chip, chip_map.SHUNT_CAL, 4 * 4050)
    chip.advance(CONTINUOUS_US, 1.5 * SHUNT_OHM, 48.0, 25.0)
    assert value(chip, chip_map.VSHUNT) >> 4 == 311040
    assert value(chip, chip_map.CURRENT) >> 4 == 314572 // 4


def test_math_overflow_stays_until_rstacc_or_a_new_conversion(chip):
    put(chip, chip_map.SHUNT_CAL, 100)
    clearing = ((chip_map.CONFIG, chip_map.CONFIG_RSTACC), (chip_map.ADC_CONFIG, adc()))
    for round_no, (register, word) in enumerate(clearing, 1):
        example(chip, round_no * 10_000)
        assert signed(chip, chip_map.CURRENT) >> 4 == (1 << 19) - 1
        assert value(chip, chip_map.DIAG_ALRT) & chip_map.MATHOF
        assert value(chip, chip_map.DIAG_ALRT) & chip_map.MATHOF
        put(chip, register, word)
        assert not value(chip, chip_map.DIAG_ALRT) & chip_map.MATHOF


def test_zero_calibration_reports_zero(chip):
    put(chip, chip_map.SHUNT_CAL, 0)
    example(chip, 50_000)
    for register in (chip_map.CURRENT, chip_map.POWER, chip_map.ENERGY, chip_map.CHARGE):
        assert value(chip, register) == 0
    assert value(chip, chip_map.VSHUNT) >> 4 == 311040


def test_new_calibration_keeps_the_accumulators(chip):
    example(chip, 1_000_000)
    before = value(chip, chip_map.ENERGY), value(chip, chip_map.CHARGE)
    put(chip, chip_map.SHUNT_CAL, 3001)
    assert (value(chip, chip_map.ENERGY), value(chip, chip_map.CHARGE)) == before


def test_rstacc_clears_the_accumulators_and_itself(chip):
    example(chip, 1_000_000)
    put(chip, chip_map.CONFIG, chip_map.CONFIG_RSTACC)
    assert value(chip, chip_map.ENERGY) == value(chip, chip_map.CHARGE) == 0
    assert value(chip, chip_map.CONFIG) == 0
    assert value(chip, chip_map.VSHUNT) >> 4 == 311040


@pytest.mark.parametrize("sign", [1, -1])
def test_charge_rolls_over_with_a_flag(chip, sign):
    # 2^39 of 314572.8 a second: after 1747626.6 s.
    put(chip, chip_map.ADC_CONFIG, adc(mode=0xA, shunt=0))
    shunt_v = sign * 6 * SHUNT_OHM
    chip.advance(1_747_000_000_000, shunt_v, 48.0, 25.0)
    assert not value(chip, chip_map.DIAG_ALRT) & chip_map.CHARGEOF
    chip.advance(1_748_000_000_000, shunt_v, 48.0, 25.0)
    exact = sign * 311040 * 4096 * 1_748_000_000_000 // (4050 * 10**6)
    assert value(chip, chip_map.DIAG_ALRT) & chip_map.CHARGEOF
    assert signed(chip, chip_map.CHARGE) == exact - sign * (1 << 40)
    assert not value(chip, chip_map.DIAG_ALRT) & chip_map.CHARGEOF


def test_energy_rolls_over_with_a_flag_and_counts_either_direction(chip):
    put(chip, chip_map.ADC_CONFIG, adc(mode=0xB, shunt=0, bus=0))
    exact = 0
    for hour in range(1, 1100):
        sign = -1 if hour % 2 else 1
        chip.advance(hour * 3_600_000_000, sign * 6 * SHUNT_OHM, 48.0, 25.0)
        exact += 1061683200
    assert value(chip, chip_map.DIAG_ALRT) & chip_map.ENERGYOF
    assert value(chip, chip_map.ENERGY) == exact - (1 << 40)
    assert not value(chip, chip_map.DIAG_ALRT) & chip_map.ENERGYOF


LIMITS = [
    (chip_map.SOVL, 1000, chip_map.SHNTOL, (0.0051, 10.0, 25.0)),
    (chip_map.SUVL, 0x10000 - 1000, chip_map.SHNTUL, (-0.0051, 10.0, 25.0)),
    (chip_map.BOVL, 4000, chip_map.BUSOL, (0.0, 12.6, 25.0)),
    (chip_map.BUVL, 1000, chip_map.BUSUL, (0.0, 3.0, 25.0)),
    (chip_map.TEMP_LIMIT, 60 * 128, chip_map.TMPOL, (0.0, 10.0, 61.0)),
    (chip_map.PWR_LIMIT, 6, chip_map.POL, (0.0017, 10.0, 25.0)),
]


@pytest.mark.parametrize("register, limit, flag, inputs", LIMITS)
@pytest.mark.parametrize("slow", [0, chip_map.SLOWALERT])
@pytest.mark.parametrize("latch", [0, chip_map.ALATCH])
def test_limit(chip, register, limit, flag, inputs, slow, latch):
    put(chip, register, limit)
    put(chip, chip_map.DIAG_ALRT, slow | latch)
    put(chip, chip_map.ADC_CONFIG, adc(average=1))
    fine = (0.0, 10.0, 25.0)
    window_us = 4 * CONTINUOUS_US
    chip.advance(window_us, *fine)
    assert not chip.alert_active
    chip.advance(window_us + CONTINUOUS_US, *inputs)
    assert chip.alert_active == (not slow)
    chip.advance(2 * window_us, *inputs)
    assert chip.alert_active
    chip.advance(4 * window_us, *fine)
    assert chip.alert_active == bool(latch)
    assert bool(value(chip, chip_map.DIAG_ALRT) & flag) == bool(latch)
    assert not chip.alert_active


def test_latched_alert_returns_with_the_next_conversion(chip):
    put(chip, chip_map.BUVL, 1000)
    put(chip, chip_map.DIAG_ALRT, chip_map.ALATCH)
    chip.advance(10_000, 0.0, 3.0, 25.0)
    assert value(chip, chip_map.DIAG_ALRT) & chip_map.BUSUL
    assert not chip.alert_active
    chip.advance(20_000, 0.0, 3.0, 25.0)
    assert chip.alert_active


def test_conversion_ready_on_the_pin_and_polarity(chip):
    example(chip, 10_000)
    assert not chip.alert_active and chip.alert_level == 1
    put(chip, chip_map.DIAG_ALRT, chip_map.CNVR)
    assert chip.alert_active and chip.alert_level == 0
    put(chip, chip_map.DIAG_ALRT, chip_map.CNVR | chip_map.APOL)
    assert chip.alert_active and chip.alert_level == 1
    value(chip, chip_map.DIAG_ALRT)
    assert not chip.alert_active and chip.alert_level == 0


def test_shunt_temperature_compensation(chip):
    # SLYS021A 7.3.5: a shunt that grew by 1 % at 100 ppm/degC and 125 degC shows 1 % too much.
    put(chip, chip_map.CONFIG, chip_map.CONFIG_TEMPCOMP)
    put(chip, chip_map.SHUNT_TEMPCO, 100)
    chip.advance(CONTINUOUS_US, 1.01 * 6 * SHUNT_OHM, 48.0, 125.0)
    assert value(chip, chip_map.CURRENT) >> 4 == pytest.approx(314572, abs=2)
    assert value(chip, chip_map.VSHUNT) >> 4 == round(1.01 * 311040)


@pytest.mark.parametrize("how", ["pin", "bit"])
def test_reset_restores_everything(chip, how):
    put(chip, chip_map.BUVL, 20_000)
    put(chip, chip_map.DIAG_ALRT, 0xF000)
    example(chip, 1_000_000)
    if how == "pin":
        chip.power_on_reset()
    else:
        put(chip, chip_map.CONFIG, chip_map.CONFIG_RST | chip_map.CONFIG_ADCRANGE)
    for register, row in REGISTERS.items():
        assert value(chip, register) == row.reset
    example(chip, 1_000_000 + CONTINUOUS_US)
    assert value(chip, chip_map.CURRENT) >> 4 == 311040  # SHUNT_CAL 4096: one to one


@pytest.mark.parametrize("name", chip_map.FREEZABLE)
def test_frozen_result_stays(chip, name):
    example(chip, 1_000_000)
    register = getattr(chip_map, name.upper())
    before = {r: value(chip, r) for r in range(chip_map.VSHUNT, chip_map.DIAG_ALRT)}
    chip.frozen.add(name)
    chip.advance(2_000_000, 0.02, 12.0, 40.0)
    changed = {r for r, old in before.items() if value(chip, r) != old}
    assert changed == set(before) - {register}
    chip.frozen.clear()
    chip.advance(3_000_000, 0.02, 12.0, 40.0)
    assert value(chip, register) != before[register]


def test_memory_fault(chip):
    chip.memory_ok = False
    assert not value(chip, chip_map.DIAG_ALRT) & chip_map.MEMSTAT


def test_time_cannot_go_back(chip):
    example(chip, 100)
    with pytest.raises(ValueError, match="cannot go back"):
        example(chip, 99)


def test_noise_repeats_with_its_seed():
    def readings(seed):
        chip = Ina228(noise_uv=500.0, noise_shunt_nv=2000.0, seed=seed)
        for tick in range(1, 50):
            chip.advance(tick * 50_000, 0.01, 3.7, 25.0)
            yield value(chip, chip_map.VBUS), value(chip, chip_map.VSHUNT)

    first = list(readings(1))
    assert first == list(readings(1))
    assert first != list(readings(2))
    assert len(set(first)) > 25


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 30_000), min_size=1, max_size=12),
    st.floats(-0.16, 0.16),
    st.floats(0.0, 80.0),
    st.integers(0, 0xFFF),
    st.booleans(),
)
def test_cutting_the_time_changes_nothing(spans, shunt_v, bus_v, low, triggered):
    """One call over a span and many calls with the same inputs leave the same chip."""
    chips = Ina228(), Ina228()
    for chip in chips:
        put(chip, chip_map.ADC_CONFIG, (0x7000 if triggered else 0xF000) | low)
    chips[0].advance(sum(spans), shunt_v, bus_v, 25.0)
    for end in range(len(spans)):
        chips[1].advance(sum(spans[: end + 1]), shunt_v, bus_v, 25.0)
    for register in REGISTERS:
        assert value(chips[0], register) == value(chips[1], register)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 60_000), st.floats(-0.1, 0.1)), min_size=1, max_size=30))
def test_charge_follows_the_integral(steps):
    """CHARGE is the integral of the current, short of the round still open."""
    chip = Ina228()
    now_us, integral = 0, 0.0
    for span_us, shunt_v in steps:
        now_us += span_us
        chip.advance(now_us, shunt_v, 48.0, 25.0)
        integral += shunt_v / 312.5e-9 * span_us * 1e-6
    open_round = 0.1 / 312.5e-9 * CONTINUOUS_US * 1e-6
    rounding = now_us * 1e-6 + 1  # one code through all the time
    assert signed(chip, chip_map.CHARGE) == pytest.approx(integral, abs=open_round + rounding)


def test_round_across_a_change_rounds_to_nearest(chip):
    put(chip, chip_map.ADC_CONFIG, adc(mode=0xA, shunt=5))
    chip.advance(700, 100 * 312.5e-9, 0.0, 25.0)
    chip.advance(1052, 101 * 312.5e-9, 0.0, 25.0)
    assert value(chip, chip_map.VSHUNT) >> 4 == 100  # 100.33
    chip.advance(1052 + 300, 100 * 312.5e-9, 0.0, 25.0)
    chip.advance(2104, 101 * 312.5e-9, 0.0, 25.0)
    assert value(chip, chip_map.VSHUNT) >> 4 == 101  # 100.71


def test_average_over_rounds_of_different_inputs(chip):
    put(chip, chip_map.ADC_CONFIG, adc(average=1))
    chip.advance(CONTINUOUS_US // 2, 0.1, 40.0, 20.0)
    chip.advance(2 * CONTINUOUS_US, 0.0, 20.0, 40.0)
    chip.advance(4 * CONTINUOUS_US, 0.0, 20.0, 40.0)
    assert value(chip, chip_map.VSHUNT) >> 4 == 320_000 // 8
    assert value(chip, chip_map.VBUS) >> 4 == 102_400 + 102_400 // 8
    assert value(chip, chip_map.DIETEMP) == 40 * 128 - 20 * 128 // 8


@pytest.mark.parametrize("slow", [0, chip_map.SLOWALERT])
def test_latch_holds_what_only_the_first_result_of_a_call_saw(chip, slow):
    put(chip, chip_map.SOVL, 1000)
    put(chip, chip_map.DIAG_ALRT, chip_map.ALATCH | slow)
    put(chip, chip_map.ADC_CONFIG, adc(average=1))
    chip.advance(CONTINUOUS_US - 10, 0.1, 10.0, 25.0)
    chip.advance(40 * CONTINUOUS_US, 0.0, 10.0, 25.0)
    assert value(chip, chip_map.VSHUNT) == 0
    assert value(chip, chip_map.DIAG_ALRT) & chip_map.SHNTOL


def test_limits_compare_the_upper_sixteen_bits(chip):
    put(chip, chip_map.SOVL, 1000)
    put(chip, chip_map.PWR_LIMIT, 7)
    chip.advance(10_000, 16_015 * 312.5e-9, 0.0, 25.0)
    assert not chip.alert_active
    chip.advance(20_000, 16_016 * 312.5e-9, 0.0, 25.0)
    chip.advance(30_000, 16_016 * 312.5e-9, 0.0, 25.0)
    assert value(chip, chip_map.DIAG_ALRT) & chip_map.SHNTOL
    # 8 x 256 power LSB at SHUNT_CAL 4050 are 4 x 4050 x 2048 of shunt x bus codes, 8100 x 4096.
    chip.advance(50_000, 8100 * 312.5e-9, 0.8, 25.0)
    assert value(chip, chip_map.POWER) >> 8 == 8
    assert value(chip, chip_map.DIAG_ALRT) & chip_map.POL
    chip.advance(70_000, 8099 * 312.5e-9, 0.8, 25.0)
    assert value(chip, chip_map.POWER) >> 8 == 7
    assert not value(chip, chip_map.DIAG_ALRT) & chip_map.POL


def test_power_at_its_top_is_within_the_reset_limit(chip):
    put(chip, chip_map.SHUNT_CAL, 100)
    example(chip, 10_000)
    assert value(chip, chip_map.POWER) == 0xFFFFFF
    assert not value(chip, chip_map.DIAG_ALRT) & chip_map.POL


def test_input_that_is_not_converted_raises_no_limit(chip):
    example(chip, 10_000)
    put(chip, chip_map.ADC_CONFIG, adc(mode=9))
    put(chip, chip_map.SOVL, 1000)
    example(chip, 20_000)
    assert not value(chip, chip_map.DIAG_ALRT) & chip_map.SHNTOL
