"""The driver against the register-level model, over a bus that can fail at any transaction."""

import itertools
import math
import struct
from errno import EIO, ETIMEDOUT
from types import SimpleNamespace
from typing import Any

import pytest
from bms.core import frame as F
from bms.core.fixed import TICKS_MAX
from bms.core.frame import Frame
from bms.drivers import bq76952 as driver
from bms.drivers.bq76952 import Bq76952
from bms.drivers.bq76952_link import CRC8
from hypothesis import given, settings
from hypothesis import strategies as st
from solidbms.fronts import bq76952_memory as memory
from solidbms.plant.chips import bq76952_map as m
from solidbms.plant.chips.bq76952 import Bq76952 as Chip
from solidbms.plant.chips.bq76952_scan import CC1_US, SLOT_US

CELLS = 14
SHUNT_OHM = 0.0005
TICK_MS = 50
READINGS = F.VOLT_OK | F.CURRENT_OK | F.OUT_OK
TEMPS = F.TEMP_OK * 7 | F.FET_TEMP_OK | F.BOARD_TEMP_OK
STATE = F.FETS_OK | F.CHIP_OK
ALL = READINGS | TEMPS | STATE | F.CHARGE_OK | F.FE_TIME_OK
FETS_ON = F.CHG_SHOWN | F.DSG_SHOWN
ROUND = 4  # ticks in which everything has its turn
BIT_US = 2.5  # 400 kHz
BUS_MS = 12  # of a tick


def ohm(temp_c):
    return 10_000 * math.exp(3435 * (1 / (temp_c + 273.15) - 1 / 298.15))


def make_pack(crc=True, unit_ma=10.0, **kwargs):
    asked: dict[str, Any] = {
        "over_v": 4.4, "under_v": 2.5, "charge_a": 30.0, "discharge_a": 150.0, "short_a": 300.0,
        "hot_discharge_c": 75.0, "hot_fet_c": 100.0, "predischarge_v": 1.0,
    }  # fmt: skip
    asked.update(kwargs)
    wanted = memory.Settings(cells=CELLS, shunt_ohm=SHUNT_OHM, unit_ma=unit_ma, crc=crc, **asked)
    ua, uas = memory.ua_per_code(unit_ma), memory.uas_per_code(unit_ma)
    return SimpleNamespace(
        cells=CELLS, temps=wanted.temps, chip_address=8, chip_crc=int(crc),
        ua_num=ua.numerator, ua_den=ua.denominator,
        charge_num=uas.numerator, charge_den=uas.denominator,
        chip_memory=memory.table(memory.memory(wanted)),
    )  # fmt: skip


PACK = make_pack()


class Bus:
    """Counts transactions and bits; `before[k]` runs before the k-th, and may raise.

    spoil: transactions of which a byte comes over wrong. tear: k to (byte, what happens there).
    """

    def __init__(self, chip):
        self.chip = chip
        self.count = self.bits = 0
        self.before = {}
        self.spoil = {}
        self.tear = {}
        self.writes = []
        self.reads = []

    def readfrom_mem_into(self, address, register, buffer):
        assert address == self.chip.address
        k = self._begin(buffer, len(buffer) + 3)
        data = bytearray(self.chip.read(register, len(buffer)))
        if k in self.tear:
            at, act = self.tear[k]
            act()
            data[2 * at :] = self.chip.read(register, len(buffer))[2 * at :]
        if k in self.spoil:
            data[self.spoil[k] % len(data)] ^= 1 << self.spoil[k] % 8
        self.reads.append((register, len(buffer)))
        buffer[:] = data

    def writeto(self, address, buffer):
        assert address == self.chip.address
        k = self._begin(None, len(buffer) + 1)
        data = bytearray(buffer[1:])
        self.writes.append((buffer[0], bytes(data)))
        if k in self.spoil:
            data[self.spoil[k] % len(data)] ^= 1 << self.spoil[k] % 8
        self.chip.write(buffer[0], bytes(data))

    def _begin(self, buffer, count):
        k = self.count
        self.count += 1
        self.bits += 9 * count + 2
        if k in self.before:
            if buffer is not None:
                buffer[:] = bytes([0xA5]) * len(buffer)  # what a transfer leaves that broke off
            self.before[k]()
        return k


def raiser(code):
    def fail():
        raise OSError(code)

    return fail


class Rig:
    """Chip, bus, driver and a Frame as the loop prepares it."""

    def __init__(self, pack=PACK, **kwargs):
        self.chip = Chip(CELLS, **kwargs)
        self.bus = Bus(self.chip)
        self.pack = pack
        self.driver = Bq76952(self.bus, pack)
        self.frame = Frame(CELLS, pack.temps)
        self.us = 0
        self.cells_v = [3.7] * CELLS
        self.amp = 0.0
        self.temps_c = [25.0, 26.0, 27.0, 40.0]
        self.ohm: tuple[float, ...] = ()
        self.die_c = 30.0
        self.pack_v = self.ld_v = 0.0
        self.gates = True
        self.moved = 0
        self.worst_ms = 0.0

    def pass_ms(self, ms):
        self.us += round(ms * 1000)
        volt = self.amp * SHUNT_OHM
        self.chip.advance(
            self.us, self.cells_v, volt, volt, self.ohm or tuple(map(ohm, self.temps_c)),
            self.die_c, self.pack_v, self.ld_v, self.gates, self.gates,
        )  # fmt: skip

    def read(self):
        """One tick's read; returns flags."""
        v = self.frame.v
        v[F.T_MS] = self.us // 1000 & TICKS_MAX
        v[F.FLAGS] = v[F.CHARGE_UAS] = 0
        self.bus.bits = 0
        self.driver.read(self.frame)
        self.worst_ms = max(self.worst_ms, self.bus.bits * BIT_US / 1000)
        self.moved += v[F.CHARGE_UAS]
        return v[F.FLAGS]

    def tick(self, ms: float = TICK_MS):
        self.pass_ms(ms)
        return self.read()

    def run(self, ticks):
        flags = 0
        for _ in range(ticks):
            flags = self.tick()
        return flags

    def boot(self, ticks=40):
        self.pack_v = self.ld_v = sum(self.cells_v)
        assert self.run(ticks) & (ALL | FETS_ON) == ALL | FETS_ON
        return self

    def cell_uv(self):
        return list(self.frame.v[F.CELL0 : F.CELL0 + CELLS])

    def temps(self):
        v = self.frame.v
        return [*v[self.frame.temp0 :], v[F.FET_MDEGC], v[F.BOARD_MDEGC]]

    def configured(self):
        """Whether the chip holds what the pack wants."""
        table, at = self.pack.chip_memory, 0
        while at < len(table):
            address, count = table[at : at + 2]
            have = self.chip.memory[address - m.FIRST : address - m.FIRST + count]
            if list(have) != table[at + 2 : at + 2 + count]:
                return False
            at += 2 + count
        return True


def until(rig, done, ms: float = TICK_MS):
    """Tick until it is done; return the last flags."""
    flags = 0
    for _ in range(ROUND * 24):
        if done():
            return flags
        flags = rig.tick(ms)
    raise AssertionError("it is never done")


def reset(rig):
    """Reset the chip, and tick until the driver has it ready again."""
    rig.chip.power_on_reset()
    until(rig, lambda: not rig.driver.ready)
    until(rig, lambda: rig.driver.ready)


# Boot.


@pytest.mark.parametrize("crc", [True, False])
@pytest.mark.parametrize("wakes_with_crc", [True, False])
@pytest.mark.parametrize("swaps_on_exit", [True, False])
def test_starts_in_either_mode(crc, wakes_with_crc, swaps_on_exit):
    rig = Rig(make_pack(crc), crc=wakes_with_crc, swaps_on_exit=swaps_on_exit)
    assert rig.run(20) & ALL == ALL
    assert rig.configured()
    assert rig.chip.crc_on is crc
    assert rig.chip.refused == 0
    assert rig.driver.resets == 0


def test_gates_can_be_allowed_within_a_second():
    rig = Rig()
    flags = [rig.tick() & ALL for _ in range(20)]
    assert ALL in flags
    assert flags.index(ALL) * TICK_MS < 1000


def test_a_configured_chip_is_only_read():
    rig = Rig().boot()
    rig.driver = Bq76952(rig.bus, rig.pack)
    rig.bus.writes.clear()
    flags = rig.run(14)
    assert flags & ALL == ALL
    numbers = {data[0] | data[2] << 8 for register, data in rig.bus.writes if register == 0x3E}
    assert m.SET_CFGUPDATE not in numbers and m.FET_ENABLE not in numbers
    assert flags & FETS_ON == FETS_ON


def test_nothing_is_written_to_the_memory_after_boot():
    rig = Rig().boot()
    rig.bus.writes.clear()
    rig.run(100)
    assert not {register for register, _ in rig.bus.writes} - {0x3E, m.ALARM_STATUS}


def test_a_chip_that_wakes_otherwise_while_it_is_configured():
    rig = Rig(crc=True)
    rig.chip.crc_on = False  # as somebody before left it
    while rig.driver.setup.state != 3:
        rig.tick()
    rig.chip.power_on_reset()
    assert rig.chip.crc_on
    assert rig.run(20) & ALL == ALL


def test_nothing_is_written_outside_config_update():
    rig = Rig()
    obey, ignored = rig.chip._command, []

    def deaf(number):
        if number == m.SET_CFGUPDATE and len(ignored) < 3:
            ignored.append(number)
        else:
            obey(number)

    rig.chip._command = deaf
    assert rig.run(30) & ALL == ALL
    assert len(ignored) == 3 and rig.chip.refused == 0


def test_another_alarm_mask_is_set_right():
    rig = Rig().boot()
    rig.chip.enable_alarms(0)
    rig.driver = Bq76952(rig.bus, rig.pack)
    assert rig.run(20) & ALL == ALL


@pytest.mark.parametrize("number", [0x7694, 0x7690, 0, 0xFFFF])
def test_another_chip_is_not_configured(number):
    rig = Rig()
    rig.chip.number = number
    assert rig.run(30) == 0
    assert rig.chip.memory == m.defaults()
    rig.chip.number = m.NUMBER
    assert rig.run(25) & ALL == ALL


def test_a_chip_that_does_not_take_a_setting_is_not_ready():
    rig = Rig()
    take = rig.chip.transfer

    def but_one(number, data):
        if number != m.ADDRESS["FET Options"]:
            take(number, data)

    rig.chip.transfer = but_one
    assert rig.run(60) & F.CHIP_OK == 0
    rig.chip.transfer = take
    assert rig.run(30) & ALL == ALL


@pytest.mark.parametrize("crc", [True, False])
def test_a_tick_leaves_the_bus_soon(crc):
    rig = Rig(make_pack(crc))
    rig.boot()
    rig.driver.balance(0x155)
    rig.run(400)
    rig.chip.power_on_reset()
    rig.run(40)
    assert rig.worst_ms < BUS_MS


# Readings.


@given(
    cells_v=st.lists(st.floats(0.0, 5.4), min_size=CELLS, max_size=CELLS),
    amp=st.floats(-320, 320),
)
@settings(max_examples=40)
def test_readings_to_the_lsb(cells_v, amp):
    rig = Rig().boot()
    rig.cells_v = cells_v
    rig.amp = amp
    rig.pack_v = 61.23
    rig.run(12)
    v = rig.frame.v
    assert all(
        abs(uv - volt * 1e6) <= 501 for uv, volt in zip(rig.cell_uv(), cells_v, strict=True)
    )
    assert abs(v[F.PACK_UV] - sum(cells_v) * 1e6) <= 5001
    assert v[F.OUT_UV] == 61_230_000
    assert abs(v[F.CURRENT_UA] - amp * 1e6) <= 5001


def test_each_cell_has_its_place():
    rig = Rig().boot()
    rig.cells_v = [3.0 + k / 10 for k in range(CELLS)]
    rig.run(6)
    assert rig.cell_uv() == [3_000_000 + 100_000 * k for k in range(CELLS)]


def test_a_cell_below_zero():
    rig = Rig().boot()
    rig.cells_v[4] = -0.15
    rig.run(6)
    assert rig.cell_uv()[4] == -150_000


def test_a_finer_unit_of_current():
    rig = Rig(make_pack(unit_ma=1.0)).boot()
    rig.amp = -12.345
    rig.run(3)
    assert rig.frame.v[F.CURRENT_UA] == -12_345_000


def test_temperatures():
    rig = Rig().boot()
    rig.temps_c, rig.die_c = [-30.0, 20.0, 60.0, 110.0], 85.0
    rig.run(10)
    wanted = [-30_000, 20_000, 60_000, 110_000, 85_000]
    assert all(abs(a - b) <= 100 for a, b in zip(rig.temps(), wanted, strict=True))


@pytest.mark.parametrize("broken", [math.inf, 0.0])
@pytest.mark.parametrize("sensor", range(4))
def test_a_broken_sensor_loses_its_own_flag(sensor, broken):
    rig = Rig().boot()
    rig.ohm = tuple(broken if k == sensor else ohm(25) for k in range(4))
    flags = rig.run(10)
    lost = F.FET_TEMP_OK if sensor == 3 else F.TEMP_OK << sensor
    assert flags & TEMPS == TEMPS & ~lost
    assert flags & READINGS == READINGS


def test_fewer_sensors():
    rig = Rig(make_pack(temps=1, fet_temp=False))
    flags = rig.run(30)
    assert flags & TEMPS == F.TEMP_OK | F.BOARD_TEMP_OK
    assert flags & READINGS == READINGS


@pytest.mark.parametrize("phase_ms", range(0, 63, 7))
def test_a_reading_is_no_older_than_it_says(phase_ms):
    rig = Rig().boot()
    rig.pass_ms(phase_ms)
    rig.cells_v, rig.amp = [3.2] * CELLS, -10.0
    rig.temps_c, rig.die_c, rig.pack_v = [50.0] * 4, 60.0, 40.0
    rig.tick(driver.AGE_CURRENT_MS)
    assert rig.frame.v[F.CURRENT_UA] == -10_000_000
    rig.pass_ms(driver.AGE_CELL_MS - driver.AGE_CURRENT_MS)
    rig.read()
    assert set(rig.cell_uv()) == {3_200_000}
    for _ in range(5):
        rig.tick((driver.AGE_FULL_MS - driver.AGE_CELL_MS) / 5)
    assert rig.frame.v[F.PACK_UV] == 44_800_000
    assert rig.frame.v[F.OUT_UV] == 40_000_000
    assert rig.temps()[0] > 49_000 and rig.temps()[4] > 59_000


def test_the_ages_are_those_of_the_schedule():
    rig = Rig().boot()
    scan_ms = rig.chip.scan.slots * SLOT_US * 1.05 / 1000
    assert math.ceil(2 * scan_ms) == driver.AGE_CELL_MS
    assert math.ceil(6 * scan_ms) == driver.AGE_FULL_MS
    assert math.ceil(2 * 3 * 1.05) == driver.AGE_CURRENT_MS
    assert driver.CHARGE_MS * 1000 == CC1_US


@pytest.mark.parametrize("code", [-0x8000, -1, 0, 0x7FFF])
def test_the_whole_range_of_a_word(code):
    rig = Rig().boot()
    levels = Levels(rig)
    levels.level = code - 7
    rig.chip.frozen.add("current")
    struct.pack_into("<h", rig.chip.ram, m.CC2, code)
    levels.scan()
    rig.tick()
    assert set(rig.cell_uv()) == {code * 1000}
    assert rig.frame.v[F.CURRENT_UA] == code * 10_000


def test_a_unit_of_current_that_is_no_whole_number():
    pack = make_pack()
    pack.ua_num, pack.ua_den = 10_000, 3
    rig = Rig(pack).boot()
    rig.amp = -0.01
    rig.tick()
    assert rig.frame.v[F.CURRENT_UA] == -3334


@pytest.mark.parametrize(
    ("code", "sound"), [(2280, False), (2281, True), (4231, True), (4232, False)]
)
def test_a_sensor_is_believed_from_minus_45_to_150_degc(code, sound):
    rig = Rig().boot()
    levels = Levels(rig)
    levels.scans = 2  # the next is a full one
    struct.pack_into("<10H", rig.chip.ram, m.INT_TEMP, *[code] * 10)
    levels.scan()
    flags = rig.tick()
    assert flags & TEMPS == TEMPS * sound
    assert flags & READINGS == READINGS
    assert set(rig.temps()) == {code * 100 - 273_150}


def with_pins(**pins):
    """A pack whose pins are configured otherwise."""
    pack = make_pack()
    table = pack.chip_memory
    at = 0
    while table[at] != m.ADDRESS["CFETOFF Pin Config"]:
        at += 2 + table[at + 1]
    for name in m.PINS[3:]:
        table[at + 2 + m.PINS.index(name)] = pins.get(name, 0)
    pack.temps = sum(kind & 0x0F == 0x07 for kind in pins.values())
    return pack


def test_the_last_pin_can_be_a_sensor_of_cells():
    rig = Rig(with_pins(TS1=0x07, DDSG=0x07))
    rig.ohm = (ohm(20), 0, 0, 0, 0, ohm(50))
    flags = rig.run(30)
    assert flags & TEMPS == F.TEMP_OK * 3 | F.BOARD_TEMP_OK
    v = rig.frame.v
    assert [round(x, -3) for x in v[rig.frame.temp0 :]] == [20_000, 50_000]


def test_of_two_sensors_of_the_fets_the_first_counts():
    rig = Rig(with_pins(TS1=0x07, DCHG=0x0F, DDSG=0x0F))
    rig.ohm = (ohm(20), 0, 0, 0, ohm(60), ohm(50))
    rig.run(30)
    assert [round(x, -3) for x in rig.temps()] == [20_000, 60_000, 30_000]


def test_the_last_pin_can_be_the_sensor_of_the_fets():
    rig = Rig(with_pins(TS1=0x07, DDSG=0x0F))
    rig.ohm = (ohm(20), 0, 0, 0, 0, ohm(50))
    assert rig.run(30) & TEMPS == F.TEMP_OK | F.FET_TEMP_OK | F.BOARD_TEMP_OK
    assert [round(x, -3) for x in rig.temps()] == [20_000, 50_000, 30_000]


# The round of ticks.


def per_tick(rig, ticks):
    """Return the registers read and the subcommands said, tick by tick."""
    reads, said = [], []
    for _ in range(ticks):
        rig.bus.reads.clear()
        rig.bus.writes.clear()
        rig.tick()
        reads.append(list(rig.bus.reads))
        said.append([
            data[0] | data[2] << 8 for register, data in rig.bus.writes
            if register == m.SUBCOMMAND
        ])  # fmt: skip
    return reads, said


def settled(turn=3):
    """Return a rig after this turn of a round; after the last, the next tick fetches."""
    rig = Rig().boot()
    until(rig, lambda: rig.driver._turn == turn)
    return rig


def test_every_tick_of_a_round_has_its_part():
    rig = settled()
    reads, said = per_tick(rig, 6 * ROUND)
    runs = []
    for k in range(0, 6 * ROUND, ROUND):
        fetch, look, compare, ask = said[k : k + ROUND]
        assert (fetch, compare, ask) == ([], [], [m.DASTATUS6])
        runs += look
        fetched = [(m.SUBCOMMAND, 2 * 14) in tick for tick in reads[k : k + ROUND]]
        assert fetched == [True, False, False, False]
        compared = [m.BUFFER in dict(tick) for tick in reads[k : k + ROUND]]
        assert compared == [False, False, True, False]
    assert len(set(runs)) == 6


def test_only_what_is_needed_is_read():
    rig = settled()
    seen = {pair for tick in per_tick(rig, 4 * ROUND)[0] for pair in tick}
    assert {pair for pair in seen if pair[0] != m.BUFFER} == {
        (m.CONTROL_STATUS, 2 * 8), (m.BATTERY_STATUS, 2 * 2), (m.CELL_1, 2 * 40), (m.CC2, 2 * 2),
        (m.SUBCOMMAND, 2 * 2), (m.SUBCOMMAND, 2 * 14), (m.ALARM_STATUS, 2 * 2),
        (m.INT_TEMP, 2 * 20), (m.FET_STATUS, 2),
    }  # fmt: skip


def test_without_an_alarm_no_faults_are_read():
    rig = settled()
    Levels(rig)
    rig.tick()
    reads, _ = per_tick(rig, ROUND)
    assert all(m.CONTROL_STATUS not in dict(tick) for tick in reads)


@pytest.mark.parametrize("tick", [1, 3])
def test_what_was_not_asked_for_is_not_fetched(tick):
    rig = settled()
    rig.run(tick)
    rig.bus.before = {rig.bus.count: raiser(EIO)}
    rig.tick()
    reads, _ = per_tick(rig, 1)
    assert m.SUBCOMMAND not in dict(reads[0]) and m.BUFFER not in dict(reads[0])


def test_a_run_asked_for_in_an_earlier_life_is_not_compared():
    rig = settled(turn=0)
    reset(rig)
    rig.tick()
    rig.bus.before = {rig.bus.count: raiser(EIO)}
    rig.tick()
    reads, _ = per_tick(rig, 1)
    assert m.SUBCOMMAND not in dict(reads[0]) and m.BUFFER not in dict(reads[0])


@pytest.mark.parametrize("bit", sorted({1 << k for k in range(16)} - {m.ADSCAN, m.FULLSCAN}))
def test_another_alarm_is_no_scan(bit):
    rig = settled()
    levels = Levels(rig, full=False)
    rig.tick()
    rig.chip.alarm |= bit
    rig.chip.show()
    reads, _ = per_tick(rig, 1)
    assert m.CELL_1 not in dict(reads[0]) and m.INT_TEMP not in dict(reads[0])
    rig.chip.alarm |= bit
    levels.scan()
    reads, _ = per_tick(rig, 1)
    assert m.CELL_1 in dict(reads[0]) and m.INT_TEMP not in dict(reads[0])


def test_load_detection_is_told_until_it_shows_and_only_then():
    rig = settled()
    detect = {m.LOAD_DETECT_ON, m.LOAD_DETECT_OFF}
    _, said = per_tick(rig, 8 * ROUND)
    assert not detect & {n for tick in said for n in tick}
    rig.gates, rig.ld_v = False, 0.3
    rig.run(6 * ROUND)
    assert rig.chip.load_pullup
    _, said = per_tick(rig, 8 * ROUND)
    assert not detect & {n for tick in said for n in tick}
    rig.gates, rig.ld_v = True, sum(rig.cells_v)
    _, said = per_tick(rig, 8 * ROUND)
    assert detect & {n for tick in said for n in tick} == {m.LOAD_DETECT_OFF}


def test_one_command_a_tick():
    rig = settled(turn=1)
    rig.gates, rig.ld_v = False, 0.3
    rig.driver.balance(3)
    _, said = per_tick(rig, 3 * ROUND)
    assert max(map(len, said)) == 1
    fetching = {n for tick in said[2::ROUND] for n in tick}
    assert fetching == {m.CB_ACTIVE_CELLS, m.LOAD_DETECT_ON}


# Whole sets only.


class Levels:
    """Cells that all show the same, a new level each scan, whenever it is told to end.

    full: each third scan is a full one.
    """

    def __init__(self, rig, full=True):
        self.chip = rig.chip
        self.level = 3000
        self.scans = 0
        self.full = full
        rig.chip.frozen.add("scan")

    def scan(self):
        self.level += 7  # crosses byte borders: 0x0BFF to 0x0C00 and others
        self.scans += 1
        struct.pack_into("<16h", self.chip.ram, m.CELL_1, *[self.level] * 16)
        struct.pack_into("<h", self.chip.ram, m.STACK, self.level)
        full = self.full and self.scans % 3 == 0
        self.chip.alarm |= m.ADSCAN | (m.FULLSCAN if full else 0)
        self.chip.show()


@settings(max_examples=60)
@given(data=st.data())
def test_a_torn_set_is_never_used(data):
    rig = Rig().boot()
    levels = Levels(rig)
    shown = 0
    for _ in range(data.draw(st.integers(1, 25))):
        if data.draw(st.booleans()):
            levels.scan()
        at = rig.bus.count + data.draw(st.integers(0, 14))
        if data.draw(st.booleans()):
            rig.bus.before = {at: levels.scan}
            rig.bus.tear = {}
        else:
            rig.bus.before = {}
            rig.bus.tear = {at: (data.draw(st.integers(0, 40)), levels.scan)}
        if rig.tick() & F.VOLT_OK and levels.scans:
            seen = {uv // 1000 for uv in rig.cell_uv()} | {rig.frame.v[F.PACK_UV] // 10_000}
            assert len(seen) == 1 or shown == 0  # from boot, cells and stack are of their own
            level = max(seen)
            assert level >= shown
            if len(seen) == 1:
                shown = level
        rig.bus.before, rig.bus.tear = {}, {}
    levels.scan()
    rig.tick()
    assert {uv // 1000 for uv in rig.cell_uv()} == {levels.level}


def test_a_set_torn_once_is_read_again_at_once():
    rig = Rig().boot()
    rig.tick()
    levels = Levels(rig)
    levels.scan()
    asked = [register for register, _ in rig.bus.reads]
    at = rig.bus.count + 2 + (rig.driver._turn in (1, 3))  # the set comes after alarm and clear
    rig.bus.tear = {at: (20, levels.scan)}
    assert rig.tick() & F.VOLT_OK
    reads = [register for register, _ in rig.bus.reads[len(asked) :]]
    assert reads.count(m.CELL_1) == 2
    assert {uv // 1000 for uv in rig.cell_uv()} == {levels.level}


def test_a_full_scan_that_tears_a_set_still_brings_temperatures():
    rig = Rig().boot()
    rig.tick()
    levels = Levels(rig)
    levels.scan()
    levels.scans = 2  # the next is a full one
    at = rig.bus.count + 2 + (rig.driver._turn in (1, 3))
    rig.bus.tear = {at: (20, levels.scan)}
    began = len(rig.bus.reads)
    rig.tick()
    assert m.INT_TEMP in [register for register, _ in rig.bus.reads[began:]]


def test_a_set_of_a_lost_tick_does_not_vouch_for_a_torn_one():
    rig = Rig().boot()
    levels = Levels(rig)
    rig.tick()
    read = rig.bus.readfrom_mem_into

    def lost(address, register, buffer):
        if register == m.BATTERY_STATUS:  # the last of a tick
            raise OSError(EIO)
        read(address, register, buffer)

    def torn(address, register, buffer):
        if register == m.CELL_1:
            rig.bus.tear = {rig.bus.count: (20, levels.scan)}
        read(address, register, buffer)

    levels.scan()
    rig.bus.readfrom_mem_into = lost
    assert not rig.tick() & READINGS
    levels.scan()
    rig.bus.readfrom_mem_into = torn
    assert rig.tick() & READINGS == READINGS
    assert len(set(rig.cell_uv())) == 1


def test_a_set_torn_twice_is_left_for_the_next_tick():
    rig = Rig().boot()
    rig.tick()
    levels = Levels(rig)
    last = rig.cell_uv()
    read = rig.bus.readfrom_mem_into

    def torn(address, register, buffer):
        if register == m.CELL_1:
            levels.scan()
        read(address, register, buffer)

    rig.bus.readfrom_mem_into = torn
    levels.scan()
    rig.bus.reads.clear()
    rig.tick()
    assert [register for register, _ in rig.bus.reads].count(m.CELL_1) == 2
    assert rig.cell_uv() == last


@pytest.mark.parametrize("earlier", [False, True])
def test_temperatures_that_broke_off_are_not_shown(earlier):
    rig = Rig().boot()
    levels = Levels(rig)
    last = rig.temps()
    read = rig.bus.readfrom_mem_into

    def broken(at):
        def act(address, register, buffer):
            read(address, register, buffer)
            if register == at:
                buffer[:] = bytes([0x0C]) * len(buffer)
                raise OSError(EIO)

        return act

    if earlier:  # temperatures that no Frame had, as the tick failed later
        levels.scans = 2
        levels.scan()
        rig.bus.readfrom_mem_into = broken(m.BATTERY_STATUS)
        rig.tick()
    levels.scans = 2
    levels.scan()
    rig.bus.readfrom_mem_into = broken(m.INT_TEMP)
    assert not rig.tick() & READINGS
    rig.bus.readfrom_mem_into = read
    levels.scan()
    assert rig.tick() & (READINGS | TEMPS) == READINGS | TEMPS
    assert rig.temps() == last


def test_without_full_scans_temperatures_end_and_cells_go_on():
    rig = Rig().boot()
    levels = Levels(rig, full=False)
    flags = []
    for _ in range(30):
        levels.scan()
        flags.append(rig.tick())
    assert all(f & READINGS == READINGS for f in flags)
    assert flags[10] & TEMPS == TEMPS
    assert not flags[-1] & TEMPS


def test_readings_wait_for_the_first_full_scan():
    rig = Rig()
    while not rig.driver.ready:
        rig.tick()
    levels = Levels(rig, full=False)
    for _ in range(4):
        levels.scan()
        assert not rig.tick() & READINGS
    levels.full, levels.scans = True, 2
    levels.scan()
    assert rig.tick() & READINGS == READINGS


def test_readings_of_another_life_of_the_chip_do_not_count():
    rig = Rig().boot()
    rig.chip.power_on_reset()
    rig.tick()
    levels = Levels(rig, full=False)
    until(rig, lambda: rig.driver.ready, 5)
    for _ in range(4):
        levels.scan()
        assert not rig.tick(5) & (READINGS | TEMPS)


def test_between_scans_the_last_set_stands():
    rig = Rig().boot()
    Levels(rig)
    last = rig.cell_uv()
    rig.amp = -20.0
    for _ in range(4):
        flags = rig.tick()
        assert flags & READINGS == READINGS
        assert rig.cell_uv() == last
        assert rig.frame.v[F.CURRENT_UA] == -20_000_000


def test_a_chip_that_stops_scanning_has_no_readings():
    rig = Rig().boot()
    levels = Levels(rig)
    flags = [rig.tick() for _ in range(12)]
    assert [bool(f & READINGS) for f in flags][:4] == [True] * 4
    assert not any(f & READINGS or f & TEMPS for f in flags[6:])
    assert all(f & STATE == STATE for f in flags)
    levels.scan()
    assert rig.tick() & READINGS == READINGS


@pytest.mark.parametrize(("ms", "stands"), [(250, True), (251, False)])
def test_a_set_stands_for_a_quarter_of_a_second(ms, stands):
    rig = Rig().boot()
    Levels(rig).scan()
    assert rig.tick() & READINGS == READINGS
    assert bool(rig.tick(ms) & READINGS) == stands


@pytest.mark.parametrize(("ms", "stand"), [(100, True), (101, False)])
def test_temperatures_stand_for_a_second(ms, stand):
    rig = Rig().boot()
    levels = Levels(rig)
    levels.scans = 2
    levels.scan()  # the third: a full one
    assert rig.tick() & TEMPS == TEMPS
    levels.full = False
    for _ in range(9):
        levels.scan()
        rig.tick(100)
    levels.scan()
    assert bool(rig.tick(ms) & TEMPS) == stand


# Charge.


class Count:
    """Charge since now: what the chip has counted against what the Frames moved, exactly."""

    def __init__(self, rig):
        self.rig = rig
        rig.moved = 0
        self.start = rig.chip.scan.passed >> memory.CHARGE_SHIFT
        self.rest = rig.driver._rest

    def left(self):
        """Return what no Frame has yet, in uAs times charge_den."""
        pack, now = self.rig.pack, self.rig.chip.scan.passed >> memory.CHARGE_SHIFT
        counted = (now - self.start) * pack.charge_num + self.rest
        return counted - self.rig.moved * pack.charge_den


@settings(max_examples=50)
@given(
    steps=st.lists(
        st.tuples(st.floats(-320, 320), st.integers(10, 900), st.booleans()), max_size=40
    )
)
def test_charge_is_exact_and_nothing_is_lost_in_a_missed_tick(steps):
    rig = Rig(make_pack(discharge_a=None, short_a=None, charge_a=None)).boot()
    rig.run(10)
    count = Count(rig)
    for amp, ms, missed in steps:
        rig.amp = amp
        if missed:
            rig.bus.before = {rig.bus.count: raiser(EIO)}
            assert not rig.tick(ms) & F.CHARGE_OK
            rig.bus.before = {}
        else:
            rig.tick(ms)
    rig.amp = 0.0
    rig.run(30)
    assert 0 <= count.left() < rig.pack.charge_den  # less than a uAs, whatever the sum


def test_time_and_charge_of_before_an_outage_are_not_handed_on_as_new():
    rig = Rig().boot()
    rig.run(10)
    rig.bus.before = {k: raiser(EIO) for k in range(rig.bus.count, rig.bus.count + 1000)}
    for _ in range(ROUND * 4):
        rig.tick()
    rig.bus.before = {}
    seen = [rig.tick() for _ in range(3 * ROUND)]
    known = [bool(flags & F.FE_TIME_OK) for flags in seen]
    assert not known[0] and known[-1] and known == sorted(known)


def test_charge_has_no_bias():
    rig = Rig().boot()
    count = Count(rig)
    rig.amp = -0.0321
    for _ in range(3600):
        rig.tick(1000)
    rig.amp = 0.0
    rig.run(10)  # what was counted comes later
    assert 0 <= count.left() < rig.pack.charge_den
    assert abs(rig.moved / 1e6 + 0.0321 * 3600) < 1.0  # a CC1 code is 0.5 mA


def test_charge_of_a_long_gap_is_handed_on_in_pieces():
    rig = Rig(make_pack(discharge_a=None, short_a=None)).boot()
    count = Count(rig)
    rig.amp = -100.0
    for _ in range(30):
        rig.pass_ms(1000)
    rig.amp = 0.0
    pieces = []
    for _ in range(2 * ROUND):  # the first answer is to what was asked before the gap
        rig.tick()
        pieces.append(rig.frame.v[F.CHARGE_UAS])
        if rig.frame.v[F.FLAGS] & F.CHARGE_OWED:
            break
    assert rig.frame.v[F.FLAGS] & F.CHARGE_OWED
    assert -275_000_000 <= min(pieces) < -270_000_000
    rig.run(40)
    assert 0 <= count.left() < rig.pack.charge_den
    assert rig.moved / 1e6 == pytest.approx(-3000, abs=30)


@pytest.mark.parametrize("unit_ma", [1.0, 10.0])
def test_every_product_stays_within_31_bits(unit_ma):
    pack = make_pack(unit_ma=unit_ma)
    assert 0x8000 * pack.ua_num < 1 << 30
    most = driver._CODES_MAX // pack.charge_den + 1
    assert (most + 1) * pack.charge_num < 1 << 30
    assert (pack.charge_den - 1) * pack.charge_num + pack.charge_den < 1 << 30
    assert 2 * driver._OWED_MAX < 1 << 31


def test_charge_that_the_chip_does_not_tell_is_owed():
    rig = Rig().boot()
    rig.run(10)
    count = Count(rig)
    rig.amp = -20.0
    flags = []
    for _ in range(4 * ROUND):
        rig.chip._begin(m.DEVICE_NUMBER, False)  # its answer is to something else
        flags.append(rig.tick())
    assert flags[1] & F.CHARGE_OK and not flags[-1] & F.CHARGE_OK
    assert all(f & READINGS == READINGS for f in flags)
    rig.amp = 0.0
    assert rig.run(10) & F.CHARGE_OK
    assert 0 <= count.left() < rig.pack.charge_den
    assert rig.moved / 1e6 == pytest.approx(-20 * 0.05 * 4 * ROUND, rel=0.01)


def test_charge_is_told_while_the_chip_gives_an_answer_in_eight_ticks():
    rig = settled(turn=0)
    told = []
    for _ in range(3 * ROUND):
        rig.chip._begin(m.DEVICE_NUMBER, False)
        told.append(bool(rig.tick() & F.CHARGE_OK))
    assert told == [True] * 8 + [False] * 4


@pytest.mark.parametrize(("lost", "told"), [(7, True), (8, False)])
def test_charge_grows_old_in_lost_ticks_too(lost, told):
    rig = settled(turn=0)
    rig.bus.before = dict.fromkeys(range(rig.bus.count, rig.bus.count + lost), raiser(EIO))
    rig.run(lost)
    assert bool(rig.tick() & F.CHARGE_OK) == told


@pytest.mark.parametrize("sign", [1, -1])
def test_charge_is_owed_whole_whatever_its_sum(sign):
    rig = settled()
    count = Count(rig)
    for _ in range(5):  # each as much as one answer can tell
        rig.chip.scan.passed += sign * 0x7FFFFFF << memory.CHARGE_SHIFT
        rig.run(ROUND)
    assert rig.run(ROUND) & F.CHARGE_OWED
    assert sign * rig.driver._owed > 500_000_000
    assert count.left() == rig.driver._owed * rig.pack.charge_num + rig.driver._rest


def test_nothing_is_owed_or_moved_after_boot():
    rig = Rig()
    rig.pack_v = rig.ld_v = sum(rig.cells_v)
    times = []
    for _ in range(40):
        flags = rig.tick()
        assert not flags & F.CHARGE_OWED
        if flags & F.FE_TIME_OK:
            times.append(rig.frame.v[F.FE_TIME_MS])
    assert rig.moved == 0
    assert times[0] == 0 and {t % 1000 for t in times} == {0}


@pytest.mark.parametrize("tick", range(ROUND))
def test_charge_and_time_of_another_life_end_with_it(tick):
    rig = settled()
    rig.run(tick)
    rig.chip.scan.seconds += 50
    rig.chip.scan.passed -= 0x3FFFFFF << memory.CHARGE_SHIFT
    rig.run(2 * ROUND)
    assert rig.driver._owed and rig.frame.v[F.FE_TIME_MS] >= 50_000
    reset(rig)
    rig.moved = 0
    assert rig.tick() & (F.CHARGE_OK | F.FE_TIME_OK) == F.CHARGE_OK | F.FE_TIME_OK  # at once
    assert rig.frame.v[F.FE_TIME_MS] == 0
    assert not rig.run(20) & F.CHARGE_OWED
    assert rig.moved == 0


@pytest.mark.parametrize("seconds", [1000, 50_001])
def test_the_chips_own_clock_over_a_long_outage(seconds):
    rig = settled()
    rig.tick()
    began = rig.frame.v[F.FE_TIME_MS]
    rig.chip.scan.seconds += seconds
    rig.run(2 * ROUND)
    assert 0 <= rig.frame.v[F.FE_TIME_MS] - began - seconds * 1000 <= 1000


def test_the_chips_own_clock():
    rig = Rig().boot()
    began, at = rig.frame.v[F.FE_TIME_MS], rig.us
    for _ in range(1000):
        rig.tick()
    assert rig.frame.v[F.FE_TIME_MS] - began == pytest.approx((rig.us - at) / 1000, abs=1000)
    assert (rig.frame.v[F.FE_TIME_MS] - began) % 1000 == 0


def test_the_chips_own_clock_wraps():
    rig = Rig().boot()
    rig.driver._time_ms = TICKS_MAX - 1500
    rig.run(100)
    assert 0 <= rig.frame.v[F.FE_TIME_MS] < 5000


# FETs and faults.


def test_fets_are_shown_as_driven():
    rig = Rig().boot()
    rig.gates = False
    assert rig.tick() & (FETS_ON | F.PRE_SHOWN | F.FETS_OK) == F.FETS_OK
    rig.gates, rig.ld_v = True, 0.0
    assert rig.run(10) & (FETS_ON | F.PRE_SHOWN) == F.CHG_SHOWN | F.PRE_SHOWN
    rig.ld_v = sum(rig.cells_v) - 0.5
    assert rig.run(14) & (FETS_ON | F.PRE_SHOWN) == FETS_ON


def test_the_precharge_fet_is_shown_as_charge():
    rig = Rig(make_pack(precharge_v=(2.8, 3.0))).boot()
    rig.cells_v[0] = 2.7
    flags = rig.run(12)
    assert rig.chip.pchg_driven and not rig.chip.chg_driven
    assert flags & F.CHG_SHOWN


@pytest.mark.parametrize(
    "amp, bit, short", [(40.0, m.OCC, 0), (-170.0, m.OCD1, 0), (-320.0, m.SCD, F.SHORTED)]
)
def test_over_current_is_alerted(amp, bit, short):
    rig = Rig().boot()
    rig.amp = amp
    flags = rig.run(2)
    assert rig.frame.v[F.FE_ALERTS] & bit
    assert flags & F.ALERTED
    assert flags & F.SHORTED == short
    assert not flags & (F.CHG_SHOWN if amp > 0 else F.DSG_SHOWN)
    rig.amp = 0.0
    rig.gates = False
    rig.pack_v = 0.0
    assert rig.run(160) & (F.ALERTED | F.SHORTED) == F.ALERTED | short  # 8 of 10 s
    assert rig.run(80) & (F.ALERTED | F.SHORTED) == 0
    assert rig.frame.v[F.FE_ALERTS] == 0


def test_faults_of_every_register_have_their_bits():
    rig = Rig().boot()
    for bit in (m.CUV, m.SCD, m.UTC, m.OTF, m.HWDF, m.OCD3):
        rig.chip.guard.status = bit
        rig.chip.show()
        rig.read()
        assert rig.frame.v[F.FE_ALERTS] == bit
    rig.chip.guard.status = 0
    rig.chip.status |= m.PF
    rig.chip.show()
    rig.read()
    assert rig.frame.v[F.FE_ALERTS] == driver.ALERT_PF


@pytest.mark.parametrize("crc", [True, False])
def test_each_fault_has_its_bit_and_two_are_of_short_circuit(crc):
    rig = Rig(make_pack(crc)).boot()
    for k in range(24):
        rig.chip.guard.status = 1 << k
        rig.chip.alarm |= m.SSA | m.SSBC
        rig.chip.show()
        flags = rig.read()
        assert rig.frame.v[F.FE_ALERTS] == 1 << k
        assert flags & F.ALERTED
        assert bool(flags & F.SHORTED) == (1 << k in (m.SCD, m.SCDL))


@pytest.mark.parametrize("alarm", [m.SSA, m.SSBC, m.ALARM_PF])
def test_each_alarm_of_a_fault_is_enough(alarm):
    rig = settled()
    Levels(rig)
    rig.tick()
    rig.chip.status |= m.PF * (alarm == m.ALARM_PF)
    rig.chip.alarm |= alarm
    rig.chip.show()
    assert rig.read() & F.ALERTED
    assert rig.frame.v[F.FE_ALERTS] == (1 << 24) * (alarm == m.ALARM_PF)
    assert not rig.tick() & F.ALERTED or alarm == m.ALARM_PF


def test_faults_of_another_life_end_with_it():
    rig = Rig().boot()
    rig.chip.guard.status = m.SCD
    rig.chip.show()
    assert rig.read() & F.SHORTED
    reset(rig)
    Levels(rig)
    flags = rig.tick()
    assert flags & F.FETS_OK and not flags & (F.ALERTED | F.SHORTED)
    assert rig.frame.v[F.FE_ALERTS] == 0


def test_an_alert_between_two_ticks_is_not_missed():
    rig = Rig().boot()
    rig.chip.guard.status = m.OCC
    rig.chip.show()
    rig.chip.guard.status = 0
    rig.chip.show()
    assert rig.read() & F.ALERTED
    assert not rig.tick() & F.ALERTED


def test_load_gone_is_what_the_small_current_tells():
    rig = Rig().boot()
    assert rig.run(20) & F.LOAD_GONE == 0  # the FETs feed
    rig.gates = False
    assert rig.tick() & F.LOAD_GONE == 0  # nothing pulls yet: charged terminals tell nothing
    rig.ld_v = 0.3
    assert rig.run(30) & F.LOAD_GONE == 0
    assert rig.chip.load_pullup
    rig.ld_v = 4.2
    assert rig.run(12) & F.LOAD_GONE
    rig.ld_v = 3.8
    assert rig.run(12) & F.LOAD_GONE == 0
    rig.gates, rig.ld_v = True, sum(rig.cells_v)
    rig.run(40)
    assert not rig.chip.load_pullup


@pytest.mark.parametrize(("centivolt", "gone"), [(399, False), (400, True)])
def test_the_load_is_gone_from_4_v_on(centivolt, gone):
    assert driver.SEES_LOAD
    rig = Rig().boot()
    rig.gates, rig.ld_v = False, centivolt / 100
    assert bool(rig.run(30) & F.LOAD_GONE) == gone


@pytest.mark.parametrize("crc", [True, False])
@pytest.mark.parametrize("fet", [F.PRE_SHOWN, F.DSG_SHOWN])
def test_the_load_is_not_gone_while_a_fet_feeds(fet, crc):
    rig = Rig(make_pack(crc)).boot()
    rig.gates, rig.ld_v = False, 4.2
    assert rig.run(30) & F.LOAD_GONE
    levels = Levels(rig)  # what the last scan showed stays: the pull-up, and 4.2 V
    rig.gates, rig.ld_v = True, 4.2 if fet == F.PRE_SHOWN else sum(rig.cells_v)
    flags = 0
    for _ in range(12):
        levels.scan()
        flags = rig.tick()
    assert flags & (READINGS | F.PRE_SHOWN | F.DSG_SHOWN | F.LOAD_GONE) == READINGS | fet


def test_a_chip_that_stops_scanning_does_not_tell_of_the_load():
    rig = Rig().boot()
    rig.gates, rig.ld_v = False, 4.2
    assert rig.run(30) & F.LOAD_GONE
    Levels(rig)
    assert not rig.run(8) & (F.LOAD_GONE | READINGS)


# Balancing.


def test_balancing_is_told_once_and_again_in_time():
    rig = Rig().boot()
    rig.driver.balance(1 << 13 | 1)
    rig.run(ROUND + 1)
    assert rig.chip.bleeding == 1 << 13 | 1
    rig.bus.writes.clear()
    rig.run(2000)  # 100 s: the chip stops after a minute
    assert rig.chip.bleeding == 1 << 13 | 1
    told = [data for register, data in rig.bus.writes if data[0] == 0x83]
    assert 19 <= len(told) <= 20
    rig.driver.balance(0)
    rig.run(ROUND + 1)
    assert rig.chip.bleeding == 0
    assert rig.run(1) & ALL == ALL


def test_balancing_is_told_again_after_5_s_and_never_of_none():
    rig = settled()
    assert rig.chip.bleeding == 0
    _, said = per_tick(rig, 150)
    assert [m.CB_ACTIVE_CELLS] not in said
    rig.driver.balance(4)
    _, said = per_tick(rig, 210)
    told = [k for k, tick in enumerate(said) if m.CB_ACTIVE_CELLS in tick]
    assert [(b - a) * TICK_MS for a, b in itertools.pairwise(told)] == [5000, 5000]


def test_balancing_does_not_hang_on_what_the_pack_writes():
    pack, at = make_pack(), 0
    while at < len(pack.chip_memory):
        end = at + 2 + pack.chip_memory[at + 1]
        if end == at + 4:  # with its address as long as the command
            del pack.chip_memory[at:end]
        else:
            at = end
    rig = Rig(pack)
    rig.run(30)
    rig.driver.balance(5)
    rig.run(ROUND + 1)
    assert rig.chip.bleeding == 5


def test_firmware_that_starts_anew_ends_what_bleeds():
    rig = Rig().boot()
    rig.driver.balance(1)
    rig.run(ROUND + 1)
    assert rig.chip.bleeding
    rig.driver = Bq76952(rig.bus, rig.pack)
    rig.run(14)
    assert rig.driver.ready and rig.chip.bleeding == 0


def test_balancing_ends_with_the_firmware():
    rig = Rig().boot()
    rig.driver.balance(1)
    rig.run(ROUND + 1)
    assert rig.chip.bleeding
    rig.pass_ms(61_000)
    assert rig.chip.bleeding == 0


@pytest.mark.parametrize("mask", [1, 2])
def test_balancing_goes_on_after_a_reset(mask):
    rig = Rig().boot()
    rig.driver.balance(mask)
    rig.run(ROUND + 1)
    assert rig.chip.bleeding == mask
    rig.chip.power_on_reset()
    rig.run(30)
    assert rig.chip.bleeding == mask


def test_charge_is_counted_while_balancing_and_checking():
    rig = Rig().boot()
    rig.amp = -5.0
    for n in range(100):
        rig.driver.balance(n & 3)
        assert rig.tick() & F.CHARGE_OK


# The bus fails.


def transactions(ticks, pack=PACK):
    rig = Rig(pack)
    rig.pack_v = rig.ld_v = sum(rig.cells_v)
    rig.run(ticks)
    return rig.bus.count


def right(rig):
    v = rig.frame.v
    assert set(rig.cell_uv()) == {3_700_000}
    assert v[F.PACK_UV] == 51_800_000
    assert v[F.CURRENT_UA] == -5_000_000


@pytest.mark.parametrize("code", [EIO, ETIMEDOUT])
@pytest.mark.parametrize("length", [1, 3, 40])
def test_fault_at_every_transaction(code, length):
    settled = transactions(16)
    for k in range(0, transactions(24), 1 if length == 1 and code == EIO else 5):
        rig = Rig()
        rig.amp = -5.0
        rig.pack_v = rig.ld_v = sum(rig.cells_v)
        rig.bus.before = {n: raiser(code) for n in range(k, k + length)}
        for _ in range(24 + length):
            began, before = rig.bus.count, rig.frame.v[:]
            flags = rig.tick()
            if any(n in rig.bus.before for n in range(began, rig.bus.count)):
                assert not flags & (READINGS | TEMPS | F.CHARGE_OK | F.FETS_OK)
                assert rig.frame.v[F.CHARGE_UAS] == 0
                assert rig.frame.v[F.PACK_UV :] == before[F.PACK_UV :] or (
                    list(rig.frame.v[F.CELL0 :]) == list(before[F.CELL0 :])
                )
            elif flags & F.VOLT_OK:
                right(rig)
        flags = rig.run(20)
        assert flags & ALL == ALL, k
        assert rig.configured()
        if k >= settled:
            assert rig.driver.resets == 0  # silence is not a reset


def test_recovers_with_the_first_tick_after_the_fault():
    rig = Rig().boot()
    rig.bus.before = dict.fromkeys(range(rig.bus.count, rig.bus.count + 3), raiser(EIO))
    assert [bool(rig.tick() & F.CHARGE_OK) for _ in range(4)] == [False, False, False, True]


def test_a_bad_byte_at_every_transaction():
    for k in range(transactions(14), transactions(24)):
        for where in (0, 1, 5, 30):
            rig = Rig()
            rig.amp = -5.0
            rig.pack_v = rig.ld_v = sum(rig.cells_v)
            rig.run(14)
            rig.bus.spoil = {k: where}
            flags = 0
            for _ in range(12):
                began = rig.bus.count
                flags = rig.tick()
                if began <= k < rig.bus.count:
                    assert not flags & (READINGS | F.CHARGE_OK | F.FETS_OK), (k, where)
                if flags & F.VOLT_OK:
                    right(rig)
            assert flags & ALL == ALL
            assert rig.driver.resets == 0, (k, where)
            assert rig.configured()


def test_bad_bytes_while_configuring():
    for k in range(0, transactions(12), 3):
        rig = Rig()
        rig.bus.spoil = {k: k}
        assert rig.run(40) & ALL == ALL, k
        assert rig.configured()


# The chip forgets.


@pytest.mark.parametrize("crc", [True, False])
def test_reset_at_every_transaction(crc):
    # At any moment, between ticks or within one: noticed within two ticks, the FETs off by
    # themselves, and neither a false reading nor false charge on the way.
    pack = make_pack(crc)
    settled = transactions(16, pack)
    for k in range(settled, transactions(26, pack)):
        rig = Rig(pack)
        rig.amp = -5.0
        rig.pack_v = rig.ld_v = sum(rig.cells_v)
        rig.bus.before = {k: rig.chip.power_on_reset}
        noticed = happened = -1
        flags = 0
        for n in range(60):
            flags = rig.tick()
            if happened < 0 and rig.bus.count > k:
                happened = n
            if noticed < 0 and rig.frame.v[F.FE_RESETS]:
                noticed = n
            if flags & F.VOLT_OK:
                right(rig)
            if flags & F.CHARGE_OK:
                assert -30_000_000 < rig.frame.v[F.CHARGE_UAS] <= 0, k
        assert 0 <= happened <= noticed <= happened + 1, k
        assert rig.frame.v[F.FE_RESETS] == 1
        assert rig.configured()
        assert flags & ALL == ALL
        assert rig.chip.crc_on is crc


@pytest.mark.parametrize("crc", [True, False])
def test_reset_while_configuring(crc):
    pack = make_pack(crc)
    for k in range(transactions(10, pack)):
        rig = Rig(pack)
        rig.bus.before = {k: rig.chip.power_on_reset}
        flags = 0
        for _ in range(45):
            flags = rig.tick()
            assert rig.configured() or not rig.chip.guard.fets, k
        assert flags & ALL == ALL, k
        assert rig.configured()


# Every subcommand of the manual (TRM chapter 12), those not to be used too.
KNOWN = {
    0x01, 0x02, 0x03, 0x04, 0x05, 0x07, 0x09, 0x0E, 0x0F, 0x10, 0x12, 0x1C, 0x1D, 0x1E, 0x1F, 0x20,
    0x22, 0x24, 0x29, 0x30, 0x35, 0x53, 0x57, *range(0x70, 0x78), *range(0x80, 0x88), 0x8A, 0x90,
    *range(0x92, 0xA2), *range(0x2800, 0x2820), 0x2857, 0x29A3, 0x29BC, 0x29E7, 0x7C35, 0x7C40,
    0xF081, 0xF090, 0xF091,
}  # fmt: skip


def test_no_command_goes_astray_into_a_chip_that_lost_its_crc():
    # Without a CRC the check byte that follows the first byte is the second: never a command, and
    # no place of the data memory.
    rig = Rig(crc=True).boot()
    rig.driver.balance(0x3FFF)
    rig.run(200)
    rig.gates = False
    rig.run(20)
    said = {data[:2] for register, data in rig.bus.writes if register == m.SUBCOMMAND}
    assert len(said) > 15
    for low, check in said:
        assert check << 8 | low not in KNOWN
        assert not m.FIRST <= check << 8 | low <= m.LAST


def test_while_a_gate_is_closed_the_fets_are_left_to_the_firmware():
    rig = Rig().boot()
    rig.driver.closed = True
    rig.chip.power_on_reset()
    assert not rig.run(60) & (F.CHIP_OK | FETS_ON)
    assert rig.chip.guard.fets == 0
    rig.driver.closed = False
    assert rig.run(40) & FETS_ON == FETS_ON


def test_fets_are_not_enabled_under_a_closed_gate():
    rig = Rig()
    rig.pack_v = rig.ld_v = sum(rig.cells_v)
    while not rig.configured() or rig.driver.setup.state < 6:
        rig.tick()
    rig.driver.closed = True
    rig.run(30)
    assert not rig.chip.guard.fet_en
    rig.driver.closed = False
    assert rig.run(20) & (ALL | FETS_ON) == ALL | FETS_ON


def written():
    at, found = 0, []
    while at < len(PACK.chip_memory):
        address, count = PACK.chip_memory[at : at + 2]
        found += range(address, address + count)
        at += 2 + count
    return found


@pytest.mark.parametrize("address", written())
def test_an_upset_of_any_byte_is_noticed(address):
    rig = Rig().boot()
    rig.driver.closed = True
    rig.chip.upset(address, 1 << address % 8)
    ticks = 0
    while not rig.frame.v[F.FE_RESETS]:
        rig.tick()
        ticks += 1
        assert ticks <= ROUND * 24  # one run a round
    # Closed gates are not torn open by the driver: nothing is written, and nothing read.
    flags = rig.run(20)
    assert not flags & (READINGS | F.CHIP_OK)
    assert not rig.configured()
    rig.driver.closed = False
    assert rig.run(40) & ALL == ALL
    assert rig.configured()
    assert rig.driver.resets == 1


def test_a_chip_swapped_for_another_is_not_written_to():
    rig = Rig().boot()
    rig.chip.power_on_reset()
    rig.chip.number = 0x7694
    assert rig.run(20) == 0
    assert rig.chip.memory == m.defaults()


def test_a_chip_whose_configuration_cannot_be_seen_for_long_is_not_believed():
    rig = Rig().boot()
    flags = []
    for _ in range(12 * ROUND):
        rig.chip._begin(m.DEVICE_NUMBER, False)
        flags.append(rig.tick())
    assert all(f & F.CHIP_OK for f in flags[: 8 * ROUND])
    assert not all(f & F.CHIP_OK for f in flags)
    assert rig.driver.resets == 1
    assert rig.run(40) & ALL == ALL


def mute(rig, ticks):
    """Let the chip be busy with something else, so that it never answers what it is asked."""
    flags = []
    for _ in range(ticks):
        rig.chip._begin(m.DEVICE_NUMBER, False)
        flags.append(bool(rig.tick() & F.CHIP_OK))
    return flags


@pytest.mark.parametrize("fresh", [True, False])
def test_eight_rounds_of_silence_are_borne(fresh):
    rig = Rig()
    until(rig, lambda: rig.driver.ready)
    if not fresh:
        rig.run(4 * ROUND)
    # In the third tick of a round the answer is looked for.
    assert mute(rig, 9 * ROUND) == [True] * (8 * ROUND + 2) + [False] * 2


def test_silence_counts_only_while_it_lasts():
    rig = settled()
    for _ in range(2):
        assert all(mute(rig, 8 * ROUND))
        rig.run(ROUND)
    assert rig.driver.resets == 0


def test_the_tick_that_finds_the_chip_changed_tells_nothing():
    rig = settled()
    rig.chip.upset(written()[0], 1)
    assert until(rig, lambda: rig.frame.v[F.FE_RESETS]) == 0


def test_after_a_failure_the_identity_is_looked_at_again():
    rig = Rig()
    until(rig, lambda: rig.driver.setup.state == 3)
    rig.bus.before = {rig.bus.count: raiser(EIO)}
    rig.tick()
    rig.bus.writes.clear()
    rig.tick()
    assert rig.bus.writes[0][0] == m.SUBCOMMAND and rig.bus.writes[0][1][0] == m.DEVICE_NUMBER


def test_a_chip_left_in_config_update_is_not_believed():
    rig = Rig().boot()
    rig.chip._command(m.SET_CFGUPDATE)
    assert not rig.tick() & (READINGS | F.CHIP_OK)
    assert rig.run(40) & ALL == ALL


def test_resets_are_counted_and_the_count_wraps():
    rig = Rig().boot()
    rig.driver.resets = 0xFFFE
    for want in (0xFFFF, 0, 1):
        rig.chip.power_on_reset()
        rig.run(40)
        assert rig.frame.v[F.FE_RESETS] == want


@settings(max_examples=30)
@given(data=st.data())
def test_any_mixture_of_failures_never_raises_and_never_lies(data):
    rig = Rig()
    rig.amp = -5.0
    rig.pack_v = rig.ld_v = sum(rig.cells_v)
    events = st.sampled_from(["none"] * 6 + ["eio", "timeout", "reset", "bad", "mute", "still"])
    for _ in range(data.draw(st.integers(1, 60))):
        event = data.draw(events)
        at = rig.bus.count + data.draw(st.integers(0, 12))
        rig.bus.before = {
            "eio": {at: raiser(EIO)},
            "timeout": {at: raiser(ETIMEDOUT)},
            "reset": {at: rig.chip.power_on_reset},
        }.get(event, {})
        rig.bus.spoil = {at: data.draw(st.integers(0, 255))} if event == "bad" else {}
        rig.chip.mute = event == "mute"
        flags = rig.tick(0 if event == "still" else TICK_MS)
        if flags & F.VOLT_OK:
            right(rig)
            assert event != "mute"
        assert rig.frame.v[F.CHARGE_UAS] <= 0
    rig.bus.before, rig.bus.spoil, rig.chip.mute = {}, {}, False
    assert rig.run(60) & ALL == ALL


# The link.


def test_crc_table_is_the_published_polynomial():
    def crc(data):
        value = 0
        for byte in data:
            value = CRC8[value ^ byte]
        return value

    assert crc(bytes.fromhex("103E22")) == 0x63
    assert crc(bytes.fromhex("10141168")) == 0x33
    assert crc(b"\x0b") == 0x31
    assert CRC8 == m.CRC8


def test_an_answer_that_does_not_come_is_an_error():
    rig = Rig()
    link = rig.driver.link
    link.shift = 0
    link.ask(m.DEVICE_NUMBER)
    link.wait(m.DEVICE_NUMBER)
    link.ask(m.DASTATUS6)
    rig.chip._ready_us = math.inf
    with pytest.raises(OSError):
        link.wait(m.DASTATUS6)


def test_what_goes_over_the_bus_is_what_sluaa11b_shows():
    rig = Rig()
    rig.chip.crc_on = True
    rig.driver.link.ask(m.FET_ENABLE)
    assert rig.bus.writes[-1] == (0x3E, bytes.fromhex("22630000"))


def test_a_write_to_the_data_memory_as_sluuby2b_shows():
    rig = Rig()
    link = rig.driver.link
    link.shift = 0
    link.prepare(4)
    link.send(bytes.fromhex("80917a30"), 4)
    assert rig.bus.writes == [(0x3E, bytes.fromhex("80917a30")), (0x60, bytes.fromhex("4406"))]
