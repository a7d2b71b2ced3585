"""The driver against the register-level model, over a bus that can fail at any transaction."""

from errno import EIO, ETIMEDOUT

import pytest
from bms.core import frame as F
from bms.core.frame import Frame
from bms.core.pack import Pack
from bms.drivers import ina228 as driver
from bms.drivers.ina228 import Ina228
from hypothesis import given, settings
from hypothesis import strategies as st
from solidbms.packc import compile_pack
from solidbms.plant.chips import ina228 as chips

SHUNT_OHM = 0.004
A_PER_CODE = 312.5e-9 / SHUNT_OHM
TICK_MS = 50
READINGS = F.VOLT_OK | F.CURRENT_OK | F.CHARGE_OK
WRITTEN = {
    chips.CONFIG: 0,
    chips.ADC_CONFIG: 0xFFC0,
    chips.SHUNT_CAL: 4096,
    # 6 A, 25 A through 4 mohm in steps of 5 uV; 4.4 V in steps of 3.125 mV.
    chips.SOVL: 4800,
    chips.SUVL: -20000 & 0xFFFF,
    chips.BOVL: 1408,
}
CONFIGURED = {**WRITTEN, chips.DIAG_ALRT: chips.ALATCH}
GARBAGE = bytes([0xA5] * 5)


@pytest.fixture(scope="module")
def pack() -> Pack:
    return Pack(compile_pack("bench_1s").blob)


class Bus:
    """Counts transactions; `before[k]` runs before the k-th, and may raise."""

    def __init__(self, chip):
        self.chip = chip
        self.count = 0
        self.before = {}
        self.raw = {}  # register -> bytes that it shows whatever the chip says
        self.writes = []
        self.reads = []

    def readfrom_mem_into(self, address, register, buffer):
        assert address == self.chip.address
        self._begin(buffer)
        assert len(buffer) == chips.REGISTERS[register].bits // 8
        self.reads.append(register)
        data = self.raw.get(register) or self.chip.read(register, len(buffer))
        buffer[:] = data[: len(buffer)]

    def writeto(self, address, buffer):
        register, buffer = buffer[0], buffer[1:]
        assert address == self.chip.address
        self._begin(None)
        assert len(buffer) == 2
        self.writes.append((register, int.from_bytes(buffer, "big")))
        self.chip.write(register, bytes(buffer))

    def _begin(self, buffer):
        k = self.count
        self.count += 1
        if k in self.before:
            if buffer is not None:
                buffer[:] = GARBAGE[: len(buffer)]  # what a transfer leaves that broke off
            self.before[k]()


def raiser(code):
    def fail():
        raise OSError(code)

    return fail


class Rig:
    """Chip, bus, driver and a Frame as the loop prepares it; one current and voltage at a time."""

    def __init__(self, pack, ran_s=0.0, amp=0.0):
        self.chip = chips.Ina228()
        self.bus = Bus(self.chip)
        self.pack = pack
        self.driver = Ina228(self.bus, pack)
        self.frame = Frame(pack.cells, pack.temps)
        self.now_us = 0
        self.moved = 0  # sum of charge_uas
        self.volt = 3.7
        self.amp = amp
        self.base = 0  # CHARGE where counting began
        self.pass_ms(ran_s * 1000 or 9)

    def pass_ms(self, ms):
        self.now_us += round(ms * 1000)
        self.chip.advance(self.now_us, self.amp * SHUNT_OHM, self.volt, 25.0)

    def read(self):
        """One tick's read; returns flags."""
        v = self.frame.v
        v[F.FLAGS] = 0
        v[F.CHARGE_UAS] = 0
        self.driver.read(self.frame)
        flags = v[F.FLAGS]
        self.moved += v[F.CHARGE_UAS]
        if flags & F.VOLT_OK and not flags & F.CHARGE_OK:
            self.base, self.moved = self.charge(), 0
        self.alerted = bool(flags & F.ALERTED)
        return flags & ~F.ALERTED

    def tick(self, ms=TICK_MS):
        self.pass_ms(ms)
        return self.read()

    def boot(self):
        flags = 0
        for _ in range(3):
            flags = self.tick()
        assert flags == READINGS | F.CHIP_OK
        return self

    def charge(self):
        value = int.from_bytes(self.chip.read(chips.CHARGE, 5), "big")
        return value - (value >> 39 << 40)

    def counted(self):
        """CHARGE since counting began, codes, across its own wrap."""
        d = (self.charge() - self.base) & (1 << 40) - 1
        return d - (d >> 39 << 40)

    def left_uas(self):
        """What was counted and not handed on, in uAs times ua_den."""
        return self.counted() * self.pack.ua_num - self.moved * self.pack.ua_den

    def settle(self, ticks=400):
        """Let the driver hand on what it owes, with no current."""
        self.amp = 0.0
        for _ in range(ticks):
            self.tick()

    def config(self):
        return {r: int.from_bytes(self.chip.read(r, 2), "big") for r in WRITTEN}

    def alatch(self):
        return self.chip.read(chips.DIAG_ALRT, 2)[0] >> 4


# Boot and configuration.


def test_configures_then_reads(pack):
    rig = Rig(pack)
    first = rig.tick()
    assert not first & READINGS  # nothing was converted with this configuration yet
    assert first & F.CHIP_OK
    second = rig.tick()
    assert second == F.VOLT_OK | F.CURRENT_OK | F.CHIP_OK  # charge needs a reading to count from
    assert rig.tick() == READINGS | F.CHIP_OK
    assert rig.config() == WRITTEN
    assert rig.bus.writes == list(CONFIGURED.items())


def test_nothing_is_written_after_configuration(pack):
    rig = Rig(pack).boot()
    for _ in range(50):
        rig.tick()
    assert len(rig.bus.writes) == len(CONFIGURED)


@pytest.mark.parametrize(
    "register, value",
    [(0x3E, b"\x54\x48"), (0x3F, b"\x22\x70"), (0x3F, b"\x23\x80"), (0x3F, b"\xff\xff")],
)
def test_wrong_chip_is_never_written_to(pack, register, value):
    rig = Rig(pack)
    rig.bus.raw[register] = value
    for _ in range(30):
        assert rig.tick() == 0
    assert rig.bus.writes == []
    del rig.bus.raw[register]
    rig.boot()


@pytest.mark.parametrize("revision", [0, 1, 15])
def test_any_revision_will_do(pack, revision):
    rig = Rig(pack)
    rig.bus.raw[0x3F] = bytes([0x22, 0x80 | revision])
    rig.boot()


@pytest.mark.parametrize("register", CONFIGURED)
def test_a_register_that_does_not_take_its_value_is_not_ready(pack, register):
    # Stuck at its reset value: written, read back, not believed.
    rig = Rig(pack)
    wrong = chips.REGISTERS[register].reset ^ (0x0010 if register == chips.CONFIG else 0)
    if register == chips.SHUNT_CAL:
        wrong = 4095
    rig.bus.raw[register] = wrong.to_bytes(2, "big")
    for _ in range(10):
        assert rig.tick() == 0
    del rig.bus.raw[register]
    rig.boot()
    assert rig.config() == WRITTEN


# Readings right to the LSB.


@given(code=st.integers(0, (1 << 20) - 1), low=st.integers(0, 15))
def test_voltage_to_the_lsb(pack, code, low):
    rig = Rig(pack).boot()
    rig.bus.raw[chips.VBUS] = (code << 4 | low).to_bytes(3, "big")
    assert rig.tick() & F.VOLT_OK
    assert rig.frame.v[F.PACK_UV] == code * 1953125 // 10000
    assert rig.frame.v[F.CELL0] == rig.frame.v[F.PACK_UV]


@given(code=st.integers(-(1 << 19), (1 << 19) - 1), low=st.integers(0, 15))
def test_current_to_the_lsb(pack, code, low):
    rig = Rig(pack).boot()
    rig.bus.raw[chips.CURRENT] = ((code & 0xFFFFF) << 4 | low).to_bytes(3, "big")
    assert rig.tick() & F.CURRENT_OK
    assert rig.frame.v[F.CURRENT_UA] == code * 78125 // 1000  # 312.5 nV / 4 mohm
    assert abs(rig.frame.v[F.CURRENT_UA] * SHUNT_OHM - code * 0.3125) <= SHUNT_OHM


def test_the_whole_range_through_the_model(pack):
    rig = Rig(pack).boot()
    for amp, volt in [(-40.9, 2.5), (-0.0001, 2.8), (0.0, 4.2), (0.00008, 0.0), (40.9, 5.0)]:
        rig.amp, rig.volt = amp, volt
        rig.tick()
        assert abs(rig.frame.v[F.CURRENT_UA] - amp * 1e6) <= A_PER_CODE * 1e6
        assert abs(rig.frame.v[F.PACK_UV] - volt * 1e6) <= 196


def test_several_cells_share_the_pack_voltage(pack):
    class Two:
        chip_address, cells, ua_num, ua_den = 0x40, 2, 625, 8
        alert_charge, alert_discharge, alert_over = 0x7FFF, -0x7FFF, 0x7FFF

    rig = Rig(pack)
    rig.driver = Ina228(rig.bus, Two())
    rig.volt = 7.4
    rig.boot()
    assert rig.frame.v[F.CELL0] == rig.frame.v[F.PACK_UV] // 2


@pytest.mark.parametrize("phase_ms", [0, 2.5, 4.145, 5, 8.29])
def test_a_reading_is_no_older_than_it_says(pack, phase_ms):
    rig = Rig(pack).boot()
    rig.pass_ms(phase_ms)
    rig.amp, rig.volt = -10.0, 3.2
    rig.tick(driver.AGE_MS)
    assert abs(rig.frame.v[F.CURRENT_UA] + 10_000_000) <= 79
    assert abs(rig.frame.v[F.PACK_UV] - 3_200_000) <= 196


def test_what_packc_takes_from_the_driver():
    cycle_us = sum(chips.CONVERSION_US[code] for code in (7, 7, 0))  # as in ADC_CONFIG
    assert -(-2 * cycle_us // 1000) == driver.AGE_MS
    assert round(1e12 / chips.SHUNT_PER_V[0]) == driver.SHUNT_STEP_PV
    assert driver.SHUNT_FULL_UV == (driver.SHUNT_STEP_PV << 19) // 1_000_000
    assert driver.SEES_LOAD is False


# Valid or not.


def test_memory_fault_gives_no_readings(pack):
    rig = Rig(pack).boot()
    rig.chip.memory_ok = False
    assert [rig.tick() & READINGS for _ in range(3)] == [0, 0, 0]
    assert rig.driver.resets == 0
    rig.chip.memory_ok = True
    assert rig.tick() & READINGS == READINGS


def test_no_new_conversion_gives_no_readings(pack):
    rig = Rig(pack).boot()
    rig.volt = 3.0
    before = list(rig.frame.v[2:4])
    for _ in range(3):
        assert rig.read() == F.CHIP_OK
        assert list(rig.frame.v[2:4]) == before
    assert rig.driver.resets == 0
    assert rig.tick() & READINGS == READINGS


# Charge.

CURRENTS = st.lists(
    st.tuples(st.floats(-40.9, 40.9), st.integers(10, 900)), min_size=1, max_size=40
)


@given(steps=CURRENTS)
def test_charge_is_exact_and_without_bias(pack, steps):
    rig = Rig(pack).boot()
    for amp, ms in steps:
        rig.amp = amp
        assert rig.tick(ms) & F.CHARGE_OK
        assert 0 <= rig.left_uas() < rig.pack.ua_den  # less than one uAs, whatever the sum


@pytest.mark.parametrize("amp", [40.9, -40.9])
def test_charge_of_a_long_gap_is_handed_on_in_pieces(pack, amp):
    rig = Rig(pack).boot()
    rig.amp = amp
    rig.pass_ms(200_000)  # 105 M codes; 2^27 would be where the difference becomes ambiguous
    most = 500_000 * rig.pack.ua_num // rig.pack.ua_den
    pieces = []
    rig.amp = 0.0
    for _ in range(400):
        assert rig.tick() & F.CHARGE_OK
        pieces.append(rig.frame.v[F.CHARGE_UAS])
    assert max(abs(p) for p in pieces) <= most + 1
    assert abs(pieces[0]) >= most - 1
    assert 0 <= rig.left_uas() < rig.pack.ua_den
    assert abs(sum(pieces) / 1e6 - amp * 200) < 0.1


def test_a_full_scale_code_each_frame_stays_within_31_bits(pack):
    assert 500_000 * 2000 + 2000 < 1 << 30  # packc: ua_num at most 2000
    most = 500_000 * pack.ua_num // pack.ua_den
    rig = Rig(pack).boot()
    rig.amp = 40.9
    rig.tick(1500)  # more than a Frame's most: the rest comes with the next
    assert rig.frame.v[F.CHARGE_UAS] <= most + 1
    rig.tick(50)
    assert 0 <= rig.left_uas() < rig.pack.ua_den


def test_readings_that_jump_about_owe_no_more_than_31_bits(pack):
    rig = Rig(pack).boot()
    most, owed, total, at, seen = 0x2FFFFFFF, 0, 0, 0, 0
    rig.bus.raw[chips.CHARGE] = (0).to_bytes(5, "big")
    rig.tick()
    for n in range(1700):
        step = (1 << 27) - 1 if n < 12 else 0
        at = (at + step) & 0xFFFFFFFFFF
        rig.bus.raw[chips.CHARGE] = at.to_bytes(5, "big")
        flags = rig.tick()
        owed = min(owed + step, most)
        codes = min(owed, 500_000)
        owed -= codes
        total += codes
        seen += rig.frame.v[F.CHARGE_UAS]
        assert bool(flags & F.CHARGE_OWED) == bool(owed)
        assert seen == total * pack.ua_num // pack.ua_den
    assert not owed and total > most


def test_what_is_owed_does_not_outlive_a_reset(pack):
    # The chip forgets its sum, and who may have swapped it; the estimate was told by CHARGE_OWED.
    rig = Rig(pack).boot()
    rig.amp = 40.0
    rig.pass_ms(60_000)
    rig.amp = 0.0
    assert rig.tick() & F.CHARGE_OWED
    rig.chip.power_on_reset()
    for _ in range(5):
        rig.tick()
    assert rig.frame.v[F.FLAGS] & F.CHARGE_OK and not rig.frame.v[F.FLAGS] & F.CHARGE_OWED
    assert rig.frame.v[F.CHARGE_UAS] == 0 and rig.moved == 0


WRAPS = [1 << 27, 1 << 28, 3 << 27, 1 << 29, (1 << 39), (1 << 39) - (1 << 27)]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("wrap", WRAPS)
def test_charge_across_every_wrap(pack, wrap, sign):
    amp = 40.0 * sign
    per_s = 40.0 / A_PER_CODE
    rig = Rig(pack, wrap / per_s - 3, amp).boot()
    before = rig.charge()
    for _ in range(100):
        rig.tick()
        assert 0 <= rig.left_uas() < rig.pack.ua_den
    assert (before ^ rig.charge()) & ~((1 << 27) - 1) & ((1 << 40) - 1)  # it did cross
    assert rig.moved * sign > 0
    rig.amp = -amp  # and back
    for _ in range(200):
        rig.tick()
        assert 0 <= rig.left_uas() < rig.pack.ua_den


@given(steps=CURRENTS, dead=st.sets(st.integers(0, 39)))
def test_charge_over_dead_ticks_is_handed_on_after(pack, steps, dead):
    rig = Rig(pack).boot()
    for k, (amp, ms) in enumerate(steps):
        rig.amp = amp
        if k in dead:
            rig.bus.before = {rig.bus.count: raiser(EIO)}
            assert not rig.tick(ms) & READINGS
        else:
            rig.tick(ms)
    rig.settle(60)
    assert 0 <= rig.left_uas() < rig.pack.ua_den


# The bus fails.


def transactions(pack, ticks):
    rig = Rig(pack)
    for _ in range(ticks):
        rig.tick()
    return rig.bus.count


@pytest.mark.parametrize("code", [EIO, ETIMEDOUT])
@pytest.mark.parametrize("length", [1, 2, 7, 40])
def test_fault_at_every_transaction(pack, code, length):
    # From boot through two looks at the configuration; `length` transactions fail in a row.
    for k in range(transactions(pack, 20)):
        rig = Rig(pack)
        rig.amp = 3.0
        rig.bus.before = {n: raiser(code) for n in range(k, k + length)}
        flags = 0
        for _ in range(20 + length):
            began = rig.bus.count
            before = rig.frame.v[:]
            flags = rig.tick()
            if any(n in rig.bus.before for n in range(began, rig.bus.count)):
                assert not flags & READINGS
                assert rig.frame.v[F.CHARGE_UAS] == 0
                for at in (F.PACK_UV, F.CELL0, F.CURRENT_UA):
                    assert rig.frame.v[at] == before[at]
            if flags & F.VOLT_OK:
                assert flags & F.CURRENT_OK
                assert abs(rig.frame.v[F.PACK_UV] - 3_700_000) <= 196
                assert abs(rig.frame.v[F.CURRENT_UA] - 3_000_000) <= 79
        assert flags == READINGS | F.CHIP_OK
        assert rig.driver.resets == 0  # silence is not a reset
        assert rig.config() == WRITTEN
        rig.settle(2)
        assert 0 <= rig.left_uas() < rig.pack.ua_den


def test_recovers_with_the_first_tick_after_the_fault(pack):
    rig = Rig(pack).boot()
    rig.bus.before = dict.fromkeys(range(rig.bus.count, rig.bus.count + 3), raiser(EIO))
    assert [bool(rig.tick() & F.CHARGE_OK) for _ in range(4)] == [False, False, False, True]


# The chip forgets.


def test_reset_at_every_transaction(pack):
    # At any moment, between ticks or within one: noticed within two ticks, configured again, and
    # neither a false reading nor false charge on the way.
    settled = transactions(pack, 4)
    for k in range(settled, transactions(pack, 20)):
        rig = Rig(pack)
        rig.amp = -5.0
        rig.bus.before = {k: rig.chip.power_on_reset}
        noticed = happened = -1
        moved = 0
        flags = 0
        for n in range(30):
            flags = rig.tick()
            moved += rig.frame.v[F.CHARGE_UAS]
            if happened < 0 and rig.bus.count > k:
                happened = n
            if noticed < 0 and rig.frame.v[F.FE_RESETS]:
                noticed = n
            if flags & F.VOLT_OK:
                assert abs(rig.frame.v[F.PACK_UV] - 3_700_000) <= 196, k
                assert abs(rig.frame.v[F.CURRENT_UA] + 5_000_000) <= 79, k
            if flags & F.CHARGE_OK:
                assert rig.frame.v[F.CHARGE_UAS] <= 0, k
        assert 0 <= happened <= noticed <= happened + 2, k
        assert rig.frame.v[F.FE_RESETS] == 1
        assert rig.config() == WRITTEN and rig.alatch() == 8
        assert flags == READINGS | F.CHIP_OK
        # What flowed less what the reset itself lost: three ticks at most.
        assert 27 * 0.05 * 5 - 0.8 <= -moved / 1e6 <= 30 * 0.05 * 5


def test_reset_while_configuring(pack):
    for k in range(transactions(pack, 1)):
        rig = Rig(pack)
        rig.bus.before = {k: rig.chip.power_on_reset}
        flags = 0
        for _ in range(6):
            flags = rig.tick()
        assert flags == READINGS | F.CHIP_OK, k
        assert rig.config() == WRITTEN and rig.alatch() == 8


@pytest.mark.parametrize(
    "register, bit",
    [
        (register, bit)
        for register in CONFIGURED
        for bit in range(16)
        if chips.REGISTERS[register].writable >> bit & 1
        and not (register == chips.CONFIG and bit >= 14)  # these act and do not stay
    ],
)
def test_one_flipped_bit_of_the_configuration_is_noticed(pack, register, bit):
    for phase in range(8):
        rig = Rig(pack).boot()
        for _ in range(phase):
            rig.tick()
        wrong = CONFIGURED[register] ^ 1 << bit
        rig.chip.write(register, wrong.to_bytes(2, "big"))
        for _ in range(8):
            rig.tick()
        assert rig.frame.v[F.FE_RESETS] == 1, phase
        flags = 0
        for _ in range(3):
            flags = rig.tick()
        assert flags == READINGS | F.CHIP_OK
        assert rig.config() == WRITTEN and rig.alatch() == 8
        assert rig.frame.v[F.FE_RESETS] == 1


def test_the_configuration_is_looked_at_every_eighth_tick(pack):
    # Four transactions a tick are what the time on the bus allows for; each look adds three.
    rig = Rig(pack).boot()
    began = len(rig.bus.reads)
    for _ in range(32):
        rig.tick()
    reads = rig.bus.reads[began:]
    assert len(reads) == 32 * 4 + 4 * len(WRITTEN)
    assert all(reads.count(register) == 4 for register in WRITTEN)


def test_resets_are_counted_and_the_count_wraps(pack):
    rig = Rig(pack).boot()
    rig.driver.resets = 0xFFFE
    for want in (0xFFFF, 0, 1):
        rig.chip.power_on_reset()
        for _ in range(3):
            rig.tick()
        assert rig.frame.v[F.FE_RESETS] == want


def test_a_chip_swapped_for_another_is_not_written_to(pack):
    rig = Rig(pack).boot()
    rig.chip.power_on_reset()
    rig.bus.raw[0x3F] = b"\x23\x80"
    flags = 0
    for _ in range(10):
        flags = rig.tick()
    assert flags == 0
    assert len(rig.bus.writes) == len(CONFIGURED)


@settings(max_examples=40)
@given(data=st.data())
def test_any_mixture_of_failures_never_raises_and_never_lies(pack, data):
    rig = Rig(pack)
    events = st.sampled_from(["none"] * 3 + ["eio", "timeout", "reset", "memory", "still"])
    for _ in range(data.draw(st.integers(1, 40))):
        event = data.draw(events)
        at = rig.bus.count + data.draw(st.integers(0, 6))
        rig.bus.before = {
            "eio": {at: raiser(EIO)},
            "timeout": {at: raiser(ETIMEDOUT)},
            "reset": {at: rig.chip.power_on_reset},
        }.get(event, {})
        rig.chip.memory_ok = event != "memory"
        flags = rig.tick(0 if event == "still" else TICK_MS)
        if flags & F.VOLT_OK:
            assert abs(rig.frame.v[F.PACK_UV] - 3_700_000) <= 196
            assert flags & F.CURRENT_OK
            assert event != "memory"
        assert rig.frame.v[F.CHARGE_UAS] == 0  # no current flows
    rig.bus.before = {}
    rig.chip.memory_ok = True
    flags = 0
    for _ in range(12):
        flags = rig.tick()
    assert flags == READINGS | F.CHIP_OK
