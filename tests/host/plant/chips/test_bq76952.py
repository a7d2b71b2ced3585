"""The model against what TI publishes, through its registers only."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solidbms.plant.chips import bq76952_map as m
from solidbms.plant.chips.bq76952 import Bq76952

SLOT_MS = 3
LOOP_MS = 21 * SLOT_MS  # three thermistors or more
FET = {m.CHG_FET: "CHG", m.DSG_FET: "DSG", m.PCHG_FET: "PCHG", m.PDSG_FET: "PDSG"}
MOHM = 1e-3


def ohm(temp_c):
    return 10_000 * math.exp(3435 * (1 / (temp_c + 273.15) - 1 / 298.15))


class Bench:
    """A chip on 14 cells, its surroundings, and the bus without a CRC."""

    def __init__(self, **kwargs):
        self.chip = Bq76952(14, **kwargs)
        self.cells_v = [3.7] * 14
        self.shunt_v = 0.0
        self.temps_c = [25.0, 26.0, 27.0, 40.0]
        self.die_c = 30.0
        self.pack_v = self.ld_v = 0.0
        self.cfetoff = self.dfetoff = False
        self.ms = 0.0

    def run(self, ms, step_ms=None):
        end = self.ms + ms
        while self.ms < end:
            self.ms = min(self.ms + (step_ms or ms), end)
            self.chip.advance(
                round(self.ms * 1000), self.cells_v, self.shunt_v, self.shunt_v,
                tuple(ohm(t) for t in self.temps_c), self.die_c, self.pack_v, self.ld_v,
                self.cfetoff, self.dfetoff,
            )  # fmt: skip

    def word(self, register):
        return int.from_bytes(self.chip.read(register, 2), "little")

    def send(self, number, data=b""):
        self.chip.write(m.SUBCOMMAND, struct.pack("<H", number) + data)
        if data:
            check = m.checksum(struct.pack("<H", number) + data)
            self.chip.write(m.CHECKSUM, bytes((check, len(data) + 4)))
        self.run(5)

    def ask(self, number, count=2):
        self.send(number)
        assert self.word(m.SUBCOMMAND) == number
        return self.chip.read(m.BUFFER, count)

    def set(self, **values):
        """Write names of the data memory (spaces as _) and go on."""
        self.send(m.SET_CFGUPDATE)
        for name, value in values.items():
            words = name.replace("_", " ").replace("PACK TOS", "PACK-TOS")
            address = m.ADDRESS[words.replace("Open Wire", "Open-Wire")]
            kind = m.FORMATS[m.MEMORY[address].kind]
            self.send(address, struct.pack("<" + kind, value))
        self.send(m.EXIT_CFGUPDATE)
        return self

    def set_up(self, **values):
        """As `set`, with what every test here wants, and FETs under the chip's own control."""
        usual = {
            "Vcell_Mode": 0x9FFF,
            "TS1_Pin_Config": 0x07,
            "TS2_Pin_Config": 0x07,
            "TS3_Pin_Config": 0x07,
            "HDQ_Pin_Config": 0x0F,
            "CFETOFF_Pin_Config": 0x82,
            "DFETOFF_Pin_Config": 0x82,
            "Power_Config": 0x2882,
            "SCD_Threshold": 5,
        }
        self.cfetoff = self.dfetoff = True  # high: allowed
        self.set(**{**usual, **values})
        self.send(m.FET_ENABLE)
        self.run(300, 5)
        return self

    def fets(self):
        status = self.chip.read(m.FET_STATUS, 1)[0]
        return {name for bit, name in FET.items() if status & bit}

    def faults(self):
        a, b, c = (self.chip.read(r, 1)[0] for r in (3, 5, 7))
        return a | b << 8 | c << 16

    def passed(self):
        whole, part = struct.unpack("<iI", self.ask(m.DASTATUS6, 8))
        return whole + part / 2**32


# Bytes that TI publishes.


def test_write_with_crc_of_sluaa11b():
    chip = Bq76952(crc=True)
    chip.write(0x3E, bytes.fromhex("22630000"))  # FET_ENABLE: 10 3E 22 gives 63, 00 gives 00
    chip.advance(5000, [3.7] * 16, 0.0, 0.0, (), 25.0, 0.0, 0.0, False, False)
    assert chip.guard.fet_en


@pytest.mark.parametrize("data", ["22620000", "22630001", "2263", "00630000"])
def test_a_byte_with_a_bad_crc_is_not_taken(data):
    chip = Bq76952(crc=True)
    if data == "2263":
        chip.write(0x3E, bytes.fromhex(data))  # sound, but only half a subcommand
    else:
        with pytest.raises(OSError):
            chip.write(0x3E, bytes.fromhex(data))
    chip.advance(5000, [3.7] * 16, 0.0, 0.0, (), 25.0, 0.0, 0.0, False, False)
    assert not chip.guard.fet_en


def test_read_with_crc_of_sluaa11b():
    chip = Bq76952(crc=True)
    chip.advance(70_000, [2.920] * 16, 0.0, 0.0, (), 25.0, 0.0, 0.0, False, False)
    # 10 14 11 68 gives 33, then 0B gives 31.
    assert chip.read(0x14, 4).hex() == "68330b31"


def test_data_memory_example_of_sluuby2b():
    bench = Bench()
    bench.send(m.SET_CFGUPDATE)
    bench.chip.write(0x3E, b"\x80\x91")
    bench.chip.write(0x40, b"\x7a\x30")
    bench.chip.write(0x60, b"\x44\x06")
    bench.chip.write(0x3E, b"\x80\x91")
    bench.run(1)
    assert bench.chip.read(0x61, 1) == b"\x24"
    data = bench.chip.read(0x40, 32)
    assert data[:2] == b"\x7a\x30"
    assert bench.chip.read(0x60, 1)[0] == ~(0x80 + 0x91 + sum(data)) & 0xFF


def test_checksum_of_sluaam4():
    assert m.checksum(bytes.fromhex("2490e1")) == 0x6A


def test_device_number():
    assert Bench().ask(m.DEVICE_NUMBER) == b"\x95\x76"


# The bus.


def test_a_subcommand_takes_its_time():
    bench = Bench()
    bench.chip.write(0x3E, struct.pack("<H", m.DASTATUS6))
    echoes = []
    for _ in range(8):
        echoes.append(bench.word(0x3E) == m.DASTATUS6)
    # 660 us, at 22.5 us a byte; the looks themselves are what takes the time.
    assert 3 < echoes.index(True) < 8
    assert echoes == sorted(echoes)


@pytest.mark.parametrize("check, length", [(0x45, 6), (0x44, 5), (0x44, 3), (0x44, 0)])
def test_data_with_a_wrong_checksum_or_length_are_dropped(check, length):
    bench = Bench()
    bench.send(m.SET_CFGUPDATE)
    bench.chip.write(0x3E, b"\x80\x91\x7a\x30")
    bench.chip.write(0x60, bytes((check, length)))
    assert bench.ask(0x9180) == b"\0\0"


def test_data_memory_is_written_in_config_update_only():
    bench = Bench()
    bench.send(m.ADDRESS["Vcell Mode"], b"\x01\x80")
    assert bench.ask(m.ADDRESS["Vcell Mode"]) == b"\0\0"
    assert bench.chip.refused == 1
    bench.set(Vcell_Mode=0x8001)
    assert bench.ask(m.ADDRESS["Vcell Mode"]) == b"\x01\x80"


def test_a_new_comm_type_waits_for_its_command():
    bench = Bench()
    bench.set(Comm_Type=0x12)
    assert not bench.chip.crc_on
    bench.send(m.SWAP_COMM_MODE)
    assert bench.chip.crc_on
    bench.chip.power_on_reset()
    assert not bench.chip.crc_on
    early = Bench(swaps_on_exit=True)
    early.send(m.SET_CFGUPDATE)
    early.send(m.ADDRESS["Comm Type"], b"\x12")
    early.send(m.EXIT_CFGUPDATE)
    assert early.chip.crc_on


def test_a_mute_chip_does_not_acknowledge():
    chip = Bq76952()
    chip.mute = True
    for talk in (lambda: chip.read(0, 1), lambda: chip.write(0, b"\0")):
        with pytest.raises(OSError):
            talk()


# Scans.


def test_a_scan_takes_63_ms_and_three_are_a_full_one():
    bench = Bench().set_up()
    bench.chip.scan.halt(round(bench.ms * 1000))
    bench.chip.write(m.ALARM_ENABLE, struct.pack("<H", m.ADSCAN | m.FULLSCAN))
    bench.chip.write(m.ALARM_STATUS, b"\xff\xff")
    began, seen = bench.ms, []
    for _ in range(6 * LOOP_MS):
        bench.run(1)
        alarm = bench.word(m.ALARM_STATUS)
        if alarm:
            seen.append((round(bench.ms - began), alarm))
            bench.chip.write(m.ALARM_STATUS, struct.pack("<H", alarm))
    assert [t for t, _ in seen] == [63, 126, 189, 252, 315, 378]
    assert [alarm & m.FULLSCAN for _, alarm in seen] == [0, 0, 0x80] * 2


def test_each_cell_is_of_its_own_moment():
    bench = Bench().set_up()
    bench.chip.scan.halt(round(bench.ms * 1000))
    bench.run(5 * SLOT_MS)
    bench.cells_v = [3.2] * 14
    bench.run(LOOP_MS - 5 * SLOT_MS - 1)
    assert {bench.word(m.CELL_1 + 2 * k) for k in range(13)} == {3700}  # the scan has not ended
    bench.run(1)
    cells = [bench.word(m.CELL_1 + 2 * k) for k in (*range(13), 15)]
    assert cells == [3700] * 5 + [3200] * 9


def test_a_full_scan_brings_stack_terminals_and_temperatures():
    bench = Bench().set_up()
    bench.pack_v, bench.ld_v = 51.5, 49.0
    bench.run(400)
    assert [bench.word(r) for r in (m.STACK, m.PACK, m.LD)] == [5180, 5150, 4900]
    assert bench.word(m.INT_TEMP) == 3032
    temps = [bench.word(r) for r in (0x70, 0x72, 0x74, 0x76)]
    assert temps == [2982, 2992, 3002, 3132]


def test_each_temperature_has_its_turn():
    bench = Bench().set_up()
    bench.chip.scan.halt(round(bench.ms * 1000))
    bench.temps_c, bench.die_c = [50.0] * 4, 60.0
    shown = []
    for _ in range(3):
        bench.run(LOOP_MS)
        shown.append([bench.word(r) > 3200 for r in (m.INT_TEMP, 0x70, 0x74, 0x76)])
    # The die with the first scan, TS1 to TS3 with the second, HDQ with the third.
    assert shown == [[True, False, False, False], [True, True, True, False], [True] * 4]


@pytest.mark.parametrize("resistance", [math.inf, 0.0, 1e9, 1e-3])
def test_a_broken_thermistor_reads_absurd(resistance):
    bench = Bench().set_up()
    bench.chip.advance(
        round(bench.ms * 1000) + 400_000, bench.cells_v, 0.0, 0.0, (resistance,) * 4, 30.0, 0.0,
        0.0, True, True,
    )  # fmt: skip
    assert not 2281 <= bench.word(0x70) <= 4231


def test_a_long_step_ends_where_many_short_ones_do():
    ends = []
    for step_ms in (7, 400, 12_000):
        bench = Bench().set_up()
        bench.shunt_v = 0.01
        bench.run(12_000, step_ms)
        ends.append([bench.chip.read(r, 2) for r in (m.CELL_1, m.STACK, m.CC2)] + [bench.passed()])
    assert ends[0][:3] == ends[1][:3] == ends[2][:3]
    assert ends[0][3] == pytest.approx(ends[2][3], abs=1e-9)


@pytest.mark.parametrize("user, unit_a", [(5, 1e-3), (6, 1e-2)])
def test_current_in_user_units(user, unit_a):
    bench = Bench().set_up(DA_Configuration=user)
    for amp in (-30.0, 0.02, 30.0):
        bench.shunt_v = amp * MOHM
        bench.run(5)
        code = struct.unpack("<h", bench.chip.read(m.CC2, 2))[0]
        assert code == round(amp / unit_a)


def test_current_ends_at_16_bits_and_at_the_adc():
    bench = Bench().set_up(DA_Configuration=5)
    bench.shunt_v = 40 * MOHM
    bench.run(5)
    assert bench.word(m.CC2) == 0x7FFF  # 32.767 A in mA
    bench.set(DA_Configuration=6, CC_Gain=7.4768 / 0.5)  # half a milliohm, 10 mA
    bench.shunt_v = -0.3
    bench.run(100)
    assert struct.unpack("<h", bench.chip.read(m.CC2, 2))[0] == -0x8000
    bench.set(CC_Gain=7.4768)
    bench.run(100)
    assert struct.unpack("<h", bench.chip.read(m.CC2, 2))[0] == -20_000  # 200 mV


# Passed charge.


@given(steps=st.lists(st.tuples(st.floats(-0.19, 0.19), st.integers(1, 400)), max_size=20))
def test_charge_is_the_integral(steps):
    bench = Bench().set_up(DA_Configuration=6, Enabled_Protections_A=0, Coulomb_Counter_Deadband=0)
    bench.send(m.RESET_PASSQ)
    start = bench.passed()
    bench.shunt_v = 0.0
    bench.run(250 - bench.ms % 250)
    total = 0.0
    for volt, ms in steps:
        bench.shunt_v = volt
        bench.run(ms)
        total += volt / MOHM * ms / 1000
    bench.shunt_v = 0.0
    bench.run(500)
    # userAh of 10 mA; a CC1 code is 234 nV, half of one a quarter of a second.
    error_as = (bench.passed() - start) * 0.01 * 3600 - total
    assert abs(error_as) <= 0.5 * 234e-9 / MOHM * 0.25 * (len(steps) * 2 + 4)


def test_charge_comes_every_quarter_of_a_second():
    bench = Bench().set_up(DA_Configuration=6)
    bench.shunt_v = 0.01
    bench.run(500)
    moves, last = [], bench.passed()
    for _ in range(40):
        bench.run(20)
        now = bench.passed()
        moves.append(now != last)
        last = now
    assert sum(moves) == 4  # in a second


def test_within_the_deadband_nothing_is_counted():
    bench = Bench().set_up(DA_Configuration=5)
    before = bench.passed()
    bench.shunt_v = 9 * 233e-9
    bench.run(10_000)
    assert bench.passed() == before
    bench.shunt_v = 11 * 234e-9
    bench.run(10_000)
    assert bench.passed() > before


def test_reset_passq_starts_at_a_half():
    bench = Bench()
    bench.send(m.RESET_PASSQ)
    assert struct.unpack("<iI", bench.ask(m.DASTATUS6, 8)) == (0, 0x7FFFFFFF)


def test_accumulated_time_is_in_seconds():
    bench = Bench().set_up()
    first = struct.unpack("<I", bench.ask(m.DASTATUS6, 12)[8:])[0]
    bench.run(10_000 - 5)
    assert struct.unpack("<I", bench.ask(m.DASTATUS6, 12)[8:])[0] == first + 10


# Protections.


@pytest.mark.parametrize("code", [20, 85, 110])
def test_over_voltage_in_steps_of_50_6_mv(code):
    for extra_v, wanted in ((-0.001, 0), (0.001, m.COV)):
        bench = Bench().set_up(COV_Threshold=code, COV_Delay=74, Enabled_Protections_A=0x08)
        bench.cells_v = [3.0] * 14 if code > 60 else [0.9] * 14
        bench.run(10_000, 50)  # whatever was before has recovered
        bench.cells_v[6] = code * 0.0506 + extra_v
        bench.run(76 * 3.3 - 1)
        assert bench.faults() == 0
        bench.run(2)
        assert bench.faults() == wanted
        assert ("CHG" in bench.fets()) is not bool(wanted)
        assert "DSG" in bench.fets()


@pytest.mark.parametrize("code", [20, 50, 90])
def test_under_voltage_in_steps_of_50_6_mv(code):
    for extra_v, wanted in ((0.001, 0), (-0.001, m.CUV)):
        bench = Bench().set_up(CUV_Threshold=code, CUV_Delay=10, Enabled_Protections_A=0x04)
        bench.cells_v = [4.9] * 14
        bench.run(10_000, 50)
        bench.cells_v[13] = code * 0.0506 + extra_v
        bench.run(12 * 3.3 - 1)
        assert bench.faults() == 0
        bench.run(2)
        assert bench.faults() == wanted
        assert ("DSG" in bench.fets()) is not bool(wanted)


CURRENT_LIMITS = [
    # name, threshold, delay, sign, limit V, delay ms, bit, FET
    ("OCC", 10, 4, 1, 0.020, 19.8, m.OCC, "CHG"),
    ("OCD1", 30, 7, -1, 0.060, 29.7, m.OCD1, "DSG"),
    ("OCD2", 40, 1, -1, 0.080, 9.9, m.OCD2, "DSG"),
    ("SCD", 5, 3, -1, 0.100, 0.03, m.SCD, "DSG"),
]


@pytest.mark.parametrize("name, threshold, delay, sign, volt, ms, bit, fet", CURRENT_LIMITS)
def test_over_current(name, threshold, delay, sign, volt, ms, bit, fet):
    bench = Bench().set_up(
        **{f"{name}_Threshold": threshold, f"{name}_Delay": delay}, Enabled_Protections_A=bit
    )
    bench.shunt_v = sign * (volt - 0.0005)
    bench.run(500, 5)
    assert bench.faults() == 0
    bench.shunt_v = sign * (volt + 0.0005)
    bench.run(ms * 0.9)
    assert bench.faults() == 0
    bench.run(ms * 0.2)
    assert bench.faults() == bit
    assert fet not in bench.fets()


def test_recovery_waits_and_turns_the_fet_on_by_itself():
    bench = Bench().set_up(
        OCD1_Threshold=20, Enabled_Protections_A=0x20, OCD_Recovery_Threshold=-200, Recovery_Time=6
    )
    bench.shunt_v = -0.05
    bench.run(50)
    assert bench.faults() == m.OCD1
    bench.run(20_000, 50)
    assert bench.faults() == m.OCD1
    bench.shunt_v = 0.0
    bench.run(5_900, 50)
    assert bench.faults() == m.OCD1
    bench.run(400, 50)
    assert bench.faults() == 0
    assert "DSG" in bench.fets()


def test_over_charge_current_recovers_without_current_or_without_charger():
    for occ_ma, pack_v, wanted in ((-200, 50.0, m.OCC), (-200, 45.0, 0), (200, 50.0, 0)):
        bench = Bench().set_up(
            OCC_Threshold=10, Enabled_Protections_A=0x10, OCC_Recovery_Threshold=occ_ma,
            OCC_PACK_TOS_Delta=200,
        )  # fmt: skip
        bench.pack_v = 55.0
        bench.shunt_v = 0.03
        bench.run(100)
        assert bench.faults() == m.OCC
        bench.shunt_v, bench.pack_v = 0.0, pack_v
        bench.run(5_000, 50)
        assert bench.faults() == wanted


TEMPERATURE_LIMITS = [
    ("OTC", 0x9, m.OTC, 0, {"CHG"}),
    ("OTD", 0x5, m.OTD, 2, {"DSG"}),
    ("OTF", 0xF, m.OTF, 3, {"CHG", "DSG"}),
]


@pytest.mark.parametrize("name, _, bit, sensor, fets", TEMPERATURE_LIMITS)
def test_over_temperature(name, _, bit, sensor, fets):
    bench = Bench().set_up(
        **{f"{name}_Threshold": 60, f"{name}_Recovery": 50, f"{name}_Delay": 2},
        Enabled_Protections_A=0,
        Enabled_Protections_B=bit >> 8,
    )
    bench.temps_c[sensor] = 59.8
    bench.run(4_000, 50)
    assert bench.faults() == 0
    bench.temps_c[sensor] = 60.2
    bench.run(1_900, 50)
    assert bench.faults() == 0
    bench.run(500, 50)
    assert bench.faults() == bit
    assert not bench.fets() & fets
    bench.temps_c[sensor] = 52.0
    bench.run(6_000, 50)
    assert bench.faults() == bit
    bench.temps_c[sensor] = 49.0
    bench.run(3_800, 50)
    assert bench.faults() == 0


def test_die_over_temperature():
    bench = Bench().set_up(Enabled_Protections_B=0x40, OTINT_Threshold=80, OTINT_Recovery=70)
    bench.die_c = 81.0
    bench.run(3_000, 50)
    assert bench.faults() == m.OTINT
    assert bench.fets() == set()


def test_a_host_that_has_gone_opens_both():
    bench = Bench().set_up(Enabled_Protections_C=0x02, HWD_Delay=2)
    bench.chip.read(0, 1)
    bench.run(1_950, 50)
    assert bench.chip.guard.status == 0
    bench.run(100, 50)
    assert bench.chip.guard.status == m.HWDF
    assert bench.chip.guard.fets == 0
    bench.chip.read(0, 1)
    bench.run(300, 50)
    assert bench.fets() == {"CHG", "DSG"}


def test_a_latched_short_waits_for_the_load_to_go():
    bench = Bench().set_up(
        SCDL_Latch_Limit=1, Enabled_Protections_A=0x80, Enabled_Protections_C=0x40,
        Load_Detect_Active_Time=1, SCD_Recovery_Time=1,
    )  # fmt: skip
    bench.shunt_v = -0.2
    bench.run(1)
    bench.shunt_v = 0.0
    bench.run(5_000, 50)
    assert bench.faults() == m.SCDL
    assert bench.chip.load_pullup
    assert bench.chip.read(m.CONTROL_STATUS, 1)[0] & m.LD_ON
    bench.ld_v = 4.5
    bench.run(500, 50)
    assert bench.faults() == 0
    assert not bench.chip.load_pullup


# FETs.


def test_reset_chip_drives_nothing():
    bench = Bench()
    bench.run(2_000, 50)
    assert bench.fets() == set()
    assert bench.word(m.BATTERY_STATUS) & m.POR


@pytest.mark.parametrize("config, allows", [(0x82, True), (0x02, False)])
def test_pins_and_their_polarity(config, allows):
    bench = Bench().set_up(CFETOFF_Pin_Config=config, DFETOFF_Pin_Config=config)
    bench.cfetoff = bench.dfetoff = allows
    bench.run(300, 5)
    assert bench.fets() == {"CHG", "DSG"}
    bench.cfetoff = not allows
    bench.run(1)
    assert bench.fets() == {"DSG"}
    bench.dfetoff, bench.cfetoff = not allows, allows
    bench.run(1)
    assert "DSG" not in bench.fets()
    bench.run(300, 5)
    assert bench.fets() == {"CHG"}


def test_config_update_turns_everything_off():
    bench = Bench().set_up()
    assert bench.fets() == {"CHG", "DSG"}
    bench.send(m.SET_CFGUPDATE)
    assert bench.word(m.BATTERY_STATUS) & m.CFGUPDATE
    assert bench.fets() == set()
    bench.run(500)
    bench.send(m.EXIT_CFGUPDATE)
    assert not bench.word(m.BATTERY_STATUS) & (m.CFGUPDATE | m.POR)
    bench.run(400, 50)
    assert bench.fets() == {"CHG", "DSG"}


def test_commands_hold_fets_off():
    bench = Bench().set_up()
    for number, left in (
        (m.CHG_PCHG_OFF, {"DSG"}),
        (m.ALL_FETS_ON, {"CHG", "DSG"}),
        (m.DSG_PDSG_OFF, {"CHG"}),
        (m.ALL_FETS_OFF, set()),
        (m.ALL_FETS_ON, {"CHG", "DSG"}),
    ):
        bench.send(number)
        bench.run(300, 50)
        assert bench.fets() == left
    bench.send(m.FET_CONTROL, b"\x01")
    bench.run(300, 50)
    assert bench.fets() == {"CHG"}


def test_fet_test_mode():
    bench = Bench()
    bench.set(SCD_Threshold=5)
    bench.send(m.CHGTEST)
    bench.run(300, 50)
    assert bench.fets() == {"CHG"}
    assert bench.ask(m.MANUFACTURING_STATUS)[0] & 0x02


def test_body_diode_protection_closes_the_other_fet():
    bench = Bench().set_up(Enabled_Protections_A=0x08, Body_Diode_Threshold=1000)
    bench.cells_v[0] = 4.6
    bench.run(500, 50)
    assert bench.fets() == {"DSG"}
    bench.shunt_v = -2 * MOHM
    bench.run(300, 50)
    assert bench.fets() == {"CHG", "DSG"}
    bench.shunt_v = -0.5 * MOHM
    bench.run(300, 50)
    assert bench.fets() == {"DSG"}


def test_a_pin_overrides_body_diode_protection():
    bench = Bench().set_up(Body_Diode_Threshold=1000)
    bench.cfetoff = False
    bench.shunt_v = -5 * MOHM
    bench.run(600, 50)
    assert bench.fets() == {"DSG"}


@pytest.mark.parametrize(
    "timeout, delta, ld_v, after_ms",
    [(0, 100, 51.0, 600), (0, 100, 50.0, None), (50, 100, 0.0, 1100), (50, 0, 51.7, 1100)],
)
def test_pre_discharge(timeout, delta, ld_v, after_ms):
    bench = Bench().set_up(
        FET_Options=0x1D, Predischarge_Timeout=timeout, Predischarge_Stop_Delta=delta
    )
    bench.dfetoff = False
    bench.run(300, 50)
    bench.dfetoff = True
    bench.ld_v = 0.0
    bench.run(300, 10)
    assert bench.fets() == {"CHG", "PDSG"}
    bench.ld_v = ld_v
    bench.run(200, 10)
    bench.run(10_000 if after_ms is None else after_ms - 200, 10)
    assert bench.fets() == ({"CHG", "PDSG"} if after_ms is None else {"CHG", "DSG"})


def test_pre_discharge_begins_anew_when_the_pin_lets_go():
    bench = Bench().set_up(FET_Options=0x1D, Predischarge_Timeout=0, Predischarge_Stop_Delta=100)
    bench.ld_v = 51.8
    bench.run(1_000, 10)
    assert "DSG" in bench.fets()
    bench.dfetoff, bench.ld_v = False, 0.0
    bench.run(100, 10)
    bench.dfetoff = True
    seen = set()
    for _ in range(60):
        bench.run(10)
        seen |= bench.fets()
    assert "PDSG" in seen and "DSG" not in seen


def test_without_a_delta_only_the_timeout_ends_pre_discharge():
    bench = Bench().set_up(FET_Options=0x1D, Predischarge_Timeout=100, Predischarge_Stop_Delta=0)
    bench.dfetoff = False
    bench.run(300, 10)
    bench.dfetoff, bench.ld_v = True, 60.0
    bench.run(900, 10)
    assert bench.fets() == {"CHG", "PDSG"}
    bench.run(800, 10)
    assert bench.fets() == {"CHG", "DSG"}


@pytest.mark.parametrize("phase_ms", range(0, 250, 30))
def test_no_fet_before_the_first_scan(phase_ms):
    bench = Bench().set_up()
    bench.run(phase_ms)
    bench.send(m.SET_CFGUPDATE)
    bench.chip.write(m.SUBCOMMAND, struct.pack("<H", m.EXIT_CFGUPDATE))
    for _ in range(LOOP_MS - 1):
        bench.run(1)
        assert bench.fets() == set()
    bench.run(500, 10)
    assert bench.fets() == {"CHG", "DSG"}


def test_precharge_from_start_to_stop_voltage():
    bench = Bench().set_up(Precharge_Start_Voltage=2800, Precharge_Stop_Voltage=3000)
    for volt, wanted in ((2.85, "CHG"), (2.75, "PCHG"), (2.95, "PCHG"), (3.05, "CHG")):
        bench.cells_v[3] = volt
        bench.run(400, 50)
        assert wanted in bench.fets()
        assert ({"CHG", "PCHG"} - {wanted}).isdisjoint(bench.fets())
    bench.cells_v[3] = 2.75
    bench.run(400, 50)
    bench.cfetoff = False
    bench.run(1)
    assert bench.fets() == {"DSG"}


# Balancing.


def bleed(bench, mask):
    bench.send(m.CB_ACTIVE_CELLS, struct.pack("<H", mask))


def test_balancing_by_cell_ends_by_itself():
    bench = Bench().set_up(Cell_Balance_Max_Cells=3, Cell_Balance_Interval=20)
    bleed(bench, 0x8005)
    assert bench.chip.bleeding == 0x2005  # the 14th cell is on the top input
    assert struct.unpack("<H", bench.ask(m.CB_ACTIVE_CELLS))[0] == 0x8005
    assert bench.word(m.ALARM_RAW) & m.CB
    bench.run(19_000, 50)
    bleed(bench, 0x8005)
    bench.run(19_000, 50)
    assert bench.chip.bleeding
    bench.run(2_000, 50)
    assert not bench.chip.bleeding


def test_no_more_cells_than_allowed_at_once():
    bench = Bench().set_up(Cell_Balance_Max_Cells=2)
    bleed(bench, 0x00FE)
    assert bench.chip.bleeding == 0x0006


def test_a_hot_die_ends_balancing():
    bench = Bench().set_up(Max_Internal_Temp=70)
    bleed(bench, 1)
    bench.die_c = 71.0
    bench.run(100)
    assert not bench.chip.bleeding


def test_balancing_commands_can_be_blocked():
    bench = Bench().set_up(Balancing_Configuration=0x10)
    bleed(bench, 1)
    assert not bench.chip.bleeding


# Alarms.


def test_alarms_latch_what_is_enabled_and_clear_by_ones():
    bench = Bench().set_up(Default_Alarm_Mask=m.SSA, COV_Threshold=85)
    bench.cells_v[0] = 4.5
    bench.run(500, 50)
    assert bench.word(m.ALARM_STATUS) == m.SSA
    assert bench.word(m.ALARM_RAW) & m.ADSCAN
    bench.chip.write(m.ALARM_STATUS, struct.pack("<H", m.SSA))
    assert bench.word(m.ALARM_STATUS) == m.SSA  # it still stands
    bench.cells_v[0] = 3.7
    bench.run(6_000, 50)
    assert bench.word(m.ALARM_STATUS) == m.SSA  # latched
    bench.chip.write(m.ALARM_STATUS, struct.pack("<H", m.SSA))
    assert bench.word(m.ALARM_STATUS) == 0
    bench.chip.write(m.ALARM_ENABLE, struct.pack("<H", m.ADSCAN))
    bench.run(70)
    assert bench.word(m.ALARM_STATUS) == m.ADSCAN


def test_alert_pin_is_what_it_is_configured_for():
    for config, wanted in ((0x00, False), (0x2A, True)):
        bench = Bench().set_up(Default_Alarm_Mask=m.SSA, COV_Threshold=85, ALERT_Pin_Config=config)
        bench.cells_v[0] = 4.5
        bench.run(500, 50)
        assert bench.chip.alert_active is wanted
        assert bool(bench.chip.read(m.FET_STATUS, 1)[0] & m.ALRT_PIN) is wanted


# Faults.


def cells(bench):
    return [bench.word(m.CELL_1 + 2 * k) for k in bench.chip.inputs]


@pytest.mark.parametrize("line", [1, 7, 13])
def test_an_open_sense_wire_moves_its_two_cells_apart(line):
    bench = Bench().set_up(Cell_Open_Wire_Check_Time=1)
    bench.chip.open_wire = {line}
    bench.run(5_000, 50)
    steps = [c - 3700 for c in cells(bench)]
    assert steps[line - 1] < -500
    assert steps[line] == -steps[line - 1]
    assert sum(map(abs, steps)) == 2 * steps[line]
    assert bench.word(m.STACK) == 5180
    bench.run(60_000, 50)
    assert bench.faults() & m.COV  # what the chip itself makes of it in the end
    bench.chip.open_wire = set()
    bench.run(200, 50)
    assert set(cells(bench)) == {3700}


def test_without_checks_an_open_wire_shows_nothing():
    bench = Bench().set_up(Cell_Open_Wire_Check_Time=0)
    bench.chip.open_wire = {7}
    bench.run(60_000, 50)
    assert set(cells(bench)) == {3700}


@pytest.mark.parametrize("name", ["cells", "stack", "pack", "ld", "current", "temps", "die"])
def test_a_frozen_reading(name):
    registers = {
        "cells": m.CELL_1, "stack": m.STACK, "pack": m.PACK, "ld": m.LD, "current": m.CC2,
        "temps": 0x70, "die": m.INT_TEMP,
    }  # fmt: skip
    bench = Bench().set_up(DA_Configuration=6)
    bench.run(400)
    before = {key: bench.word(register) for key, register in registers.items()}
    bench.chip.frozen.add(name)
    bench.cells_v = [3.5] * 14
    bench.shunt_v, bench.pack_v, bench.ld_v, bench.die_c = 0.001, 9.0, 8.0, 50.0
    bench.temps_c = [40.0] * 4
    bench.run(400)
    held = {key for key, register in registers.items() if bench.word(register) == before[key]}
    assert held == {name}


def test_a_chip_that_no_longer_scans():
    bench = Bench().set_up()
    bench.chip.write(m.ALARM_ENABLE, struct.pack("<H", m.ADSCAN))
    bench.run(100)
    bench.chip.frozen.add("scan")
    bench.chip.write(m.ALARM_STATUS, b"\xff\xff")
    bench.run(1_000, 50)
    assert bench.word(m.ALARM_STATUS) == 0
    bench.chip.frozen.clear()
    bench.run(100)
    assert bench.word(m.ALARM_STATUS) == m.ADSCAN


def test_drift_of_the_reference_and_offset_of_a_cell():
    bench = Bench().set_up()
    bench.chip.cell_gain = 1.01
    bench.chip.cell_offset_v[13] = -0.05
    bench.run(300)
    assert cells(bench) == [3737] * 13 + [3687]
    assert bench.word(m.STACK) == 5180


def test_an_upset_changes_what_is_read_and_done():
    bench = Bench().set_up(COV_Threshold=85)
    bench.chip.upset(m.ADDRESS["COV Threshold"], 0x10)
    assert bench.ask(m.ADDRESS["COV Threshold"], 1) == bytes((85 ^ 0x10,))
    bench.run(500, 50)
    assert bench.faults() == m.COV  # 69 steps are 3.49 V


def test_reset_loses_everything():
    bench = Bench().set_up(COV_Threshold=85)
    bleed(bench, 1)
    bench.chip.power_on_reset()
    assert bench.word(m.BATTERY_STATUS) & m.POR
    assert bench.fets() == set() and bench.chip.bleeding == 0
    assert bench.ask(m.ADDRESS["COV Threshold"], 1) == bytes((86,))
    assert bench.word(m.CELL_1) == 0
    bench.run(100)
    assert bench.word(m.CELL_1) == 3700


# Modes.


def test_sleep_scans_at_its_own_interval():
    bench = Bench().set_up(Power_Config=0x2982, Voltage_Time=5)
    bench.chip.write(m.ALARM_ENABLE, struct.pack("<H", m.FULLSCAN))
    bench.run(1_500, 50)
    assert bench.word(m.BATTERY_STATUS) & m.SLEEPING
    assert bench.fets() == {"DSG"}
    seen = []
    for _ in range(440):
        bench.chip.write(m.ALARM_STATUS, b"\xff\xff")
        bench.run(50)
        if bench.word(m.ALARM_STATUS):
            seen.append(bench.ms)
    assert len(seen) == 4  # in 22 s
    bench.shunt_v = -0.6 * MOHM
    bench.run(400, 50)
    assert not bench.word(m.BATTERY_STATUS) & m.SLEEPING
    assert bench.fets() == {"CHG", "DSG"}


def test_sleep_can_be_forbidden():
    bench = Bench().set_up(Power_Config=0x2982)
    bench.send(m.SLEEP_DISABLE)
    bench.run(5_000, 50)
    assert not bench.word(m.BATTERY_STATUS) & (m.SLEEPING | m.SLEEP_EN)


def test_deepsleep_wants_to_be_told_twice():
    bench = Bench().set_up()
    bench.send(m.DEEPSLEEP)
    bench.run(100)
    assert bench.fets() == {"CHG", "DSG"}
    bench.send(m.DEEPSLEEP)
    bench.run(100)
    assert bench.fets() == set()
    assert bench.chip.read(m.CONTROL_STATUS, 1)[0] & m.DEEP
    bench.send(m.EXIT_DEEPSLEEP)
    bench.run(400, 50)
    assert bench.fets() == {"CHG", "DSG"}


def test_shutdown_ends_every_answer():
    bench = Bench()
    for _ in range(2):
        bench.send(m.SHUTDOWN)
    with pytest.raises(OSError):
        bench.chip.read(0, 1)
    bench.chip.power_on_reset()
    bench.chip.read(0, 1)


def test_time_does_not_go_back():
    bench = Bench()
    bench.run(10)
    bench.ms = 5.0
    with pytest.raises(ValueError, match="before"):
        bench.run(1)


@pytest.mark.parametrize("count", [2, 17])
def test_cells_that_it_cannot_have(count):
    with pytest.raises(ValueError, match="3 to 16"):
        Bq76952(count)


def test_wired_otherwise():
    # Fourteen cells as a BQ769142 has them: inputs 13 and 15 shorted.
    chip = Bq76952(14, inputs=(*range(12), 13, 15))
    chip.advance(70_000, [3.0 + k / 100 for k in range(14)], 0.0, 0.0, (), 25.0, 0.0, 0.0, False,
                 False)  # fmt: skip
    words = struct.unpack("<16H", chip.read(m.CELL_1, 32))
    assert words == (*range(3000, 3120, 10), 0, 3120, 0, 3130)
