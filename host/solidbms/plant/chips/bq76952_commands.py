"""What a BQ76952 does when told: subcommands and data memory (TRM SLUUBY2B, chapter 12)."""

import struct

from solidbms.plant.chips import bq76952_map as m
from solidbms.plant.chips.bq76952_bus import Bus
from solidbms.plant.chips.bq76952_guard import Guard
from solidbms.plant.chips.bq76952_scan import Scan

EVENTS = m.ADSCAN | m.FULLSCAN  # raw they stay set, latched they come with each scan
TWICE_US = 4_000_000  # DEEPSLEEP and SHUTDOWN want to be sent twice within
_FETS_OFF = {m.DSG_PDSG_OFF: 0xC, m.CHG_PCHG_OFF: 3, m.ALL_FETS_OFF: 0xF}
_TESTS = {
    m.PDSGTEST: m.PDSG_FET,
    m.PCHGTEST: m.PCHG_FET,
    m.CHGTEST: m.CHG_FET,
    m.DSGTEST: m.DSG_FET,
}


class Commands(Bus):
    """Carries commands out; `Bq76952` owns the rest of the chip."""

    scan: Scan
    guard: Guard
    status: int
    updating: bool
    deep: bool
    alarm: int
    alarm_raw: int
    alarm_enable: int
    balancing: int
    balance_us: int
    twice: tuple[int, int]
    cell_sensors: list[str]
    fet_sensors: list[str]
    default_crc: bool
    swaps_on_exit: bool
    shown: tuple[int, ...]
    refused = 0
    number = m.NUMBER  # what DEVICE_NUMBER answers

    def power_on_reset(self) -> None:
        """Begin anew with every setting lost."""
        raise NotImplementedError

    def apply(self) -> None:
        """Take over the data memory."""
        raise NotImplementedError

    def rest(self) -> None:
        """Neither measure nor protect nor drive."""
        raise NotImplementedError

    def show(self) -> None:
        """Faults, FETs and alarms into their registers."""
        raise NotImplementedError

    def execute(self, number: int) -> bytes | None:
        """Carry out a subcommand; return what it answers, None for nothing."""
        guard = self.guard
        if number == m.DASTATUS6:
            passed = self.scan.passed
            return struct.pack(
                "<iII", passed >> 32, passed & 0xFFFFFFFF, self.scan.seconds
            ) + bytes(20)
        if number == m.DEVICE_NUMBER:
            return struct.pack("<H", self.number)
        if number == m.FW_VERSION:
            return bytes.fromhex("769500360001")  # device, version and build, as big-endian words
        if number == m.MANUFACTURING_STATUS:
            return struct.pack("<H", 0x40 | m.FET_EN * guard.fet_en | guard.test_bits)
        if number == m.CB_ACTIVE_CELLS:
            return struct.pack("<H", self.balancing)
        if number == m.DASTATUS5:
            return self._more_readings()
        self._command(number)
        return None

    def _more_readings(self) -> bytes:
        """DASTATUS5 (TRM 4.6): sums, extremes and CC1; raw counts are left at 0."""
        readings = struct.unpack_from("<16h", self.ram, m.CELL_1)
        cells = [readings[k] for k in self.scan.used]
        temps = self.scan.temps_k
        warm = [temps[name] for name in self.cell_sensors if name in temps] or [0]
        fets = [temps[name] for name in self.fet_sensors if name in temps] or [0]
        user_ma = m.USER_MA[self.guard.get("DA Configuration") & m.DA_USER_AMPS]
        cc1 = round(self.scan.cc1_ua / 1000 / user_ma)
        return struct.pack(
            "<HHhhHHHHHHhhii", 0, 0, max(cells), min(cells), sum(cells) // 10,
            sum(warm) // len(warm), max(fets), max(warm), min(warm), sum(warm) // len(warm),
            0, cc1, 0, 0,
        )  # fmt: skip

    def _command(self, number: int) -> None:
        guard = self.guard
        if number == m.RESET:
            self.power_on_reset()
        elif number == m.SET_CFGUPDATE:
            self.updating = True
            self.rest()
        elif number == m.EXIT_CFGUPDATE and self.updating:
            self.updating = False
            self.status &= ~(m.POR | m.WD)
            self.apply()
            if self.swaps_on_exit:
                self._swap()
        elif number == m.SWAP_COMM_MODE:
            self._swap()
        elif number == m.SWAP_TO_I2C:
            self.crc_on = False
        elif number == m.FET_ENABLE:
            guard.fet_en = not guard.fet_en
        elif number in _TESTS:
            guard.test ^= _TESTS[number]
        elif number in _FETS_OFF:
            guard.host_off |= _FETS_OFF[number]
        elif number == m.ALL_FETS_ON:
            guard.host_off = 0
        elif number in (m.SLEEP_ENABLE, m.SLEEP_DISABLE):
            self.status &= ~m.SLEEP_EN
            self.status |= m.SLEEP_EN if number == m.SLEEP_ENABLE else 0
        elif number in (m.LOAD_DETECT_ON, m.LOAD_DETECT_OFF):
            guard.forced_load_detect = number == m.LOAD_DETECT_ON
        elif number in (m.OCDL_RECOVER, m.SCDL_RECOVER):
            guard.recover(m.OCDL if number == m.OCDL_RECOVER else m.SCDL)
        elif number == m.RESET_PASSQ:
            self.scan.passed, self.scan.seconds = 0x7FFFFFFF, 0  # half a userAh
        elif number in (m.DEEPSLEEP, m.SHUTDOWN, m.EXIT_DEEPSLEEP):
            self._power(number)
        self.show()

    def _swap(self) -> None:
        kind = self.guard.get("Comm Type")
        self.crc_on = kind in m.COMM_CRC if kind else self.default_crc

    def _power(self, number: int) -> None:
        if number == m.EXIT_DEEPSLEEP:
            self.deep = False
        elif self.twice[0] == number and self._now_us - self.twice[1] <= TWICE_US:
            self.off = number == m.SHUTDOWN
            self.deep = not self.off
            self.rest()
        self.twice = (number, self._now_us)
        self.ram[m.CONTROL_STATUS] = m.DEEP if self.deep else 0

    def transfer(self, number: int, data: bytes) -> None:
        """Take data that came with a sound check byte."""
        if m.FIRST <= number <= m.LAST:
            if not self.updating:
                self.refused += 1
                return
            self.memory[number - m.FIRST : number - m.FIRST + len(data)] = data
        elif number == m.CB_ACTIVE_CELLS and len(data) >= 2:
            self._bleed(int.from_bytes(data[:2], "little"))
        elif number == m.FET_CONTROL and data:
            # Bits as in the TRM: DSG, PDSG, CHG, PCHG off.
            order = (m.DSG_FET, m.PDSG_FET, m.CHG_FET, m.PCHG_FET)
            self.guard.host_off = sum(bit for k, bit in enumerate(order) if data[0] >> k & 1)

    def _bleed(self, mask: int) -> None:
        """CB_ACTIVE_CELLS: these inputs, the lowest first, no more than are allowed at once."""
        get = self.guard.get
        if get("Balancing Configuration") & 0x10 or self.updating or self.deep:
            return
        chosen = [k for k in range(m.INPUTS) if mask >> k & 1][: get("Cell Balance Max Cells")]
        self.balancing = sum(1 << k for k in chosen)
        self.balance_us = get("Cell Balance Interval") * 1_000_000
        self.show()

    def alarms(self, clear: int) -> None:
        """Clear latched alarms; what still stands latches again."""
        self.alarm = self.alarm & ~clear | self.alarm_raw & self.alarm_enable & ~EVENTS
        self.ram[m.ALARM_STATUS] = self.alarm & 0xFF
        self.ram[m.ALARM_STATUS + 1] = self.alarm >> 8
        self.shown = ()

    def enable_alarms(self, mask: int) -> None:
        """Take a new mask of what is latched."""
        self.alarm_enable = mask
        self.alarm &= mask
        self.show()
