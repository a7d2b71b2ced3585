"""BQ76952 battery monitor and protector at register level (TI SLUSE13B, TRM SLUUBY2B).

This file is the chip in time: what happens in `Bq76952.advance`. `bq76952_bus` is its bus,
`bq76952_commands` what it does when told, `bq76952_scan` what it measures, `bq76952_guard` what it
does by itself; names and addresses are in `bq76952_map`.

Simplified, beside what those files say:

- Registers of one scan change together, at its end; so do those of a full scan, loop by loop.
- A data memory write outside CONFIG_UPDATE is ignored (`refused` counts them); values are not
  checked against their limits. SEALED, OTP, permanent fails, HDQ and SPI are left out.
- SLEEP: entered a second after the current has fallen below Sleep Current, one scan a Voltage
  Time, left at once above Wake Comparator Current. SHUTDOWN: no answer until `power_on_reset`.
- Balancing bleeds while no neighbour is measured: `bleed_share` of the time.
"""

import struct
from typing import Any

from solidbms.plant.chips import bq76952_map as m
from solidbms.plant.chips.bq76952_commands import EVENTS, TWICE_US, Commands
from solidbms.plant.chips.bq76952_guard import Guard, Inputs
from solidbms.plant.chips.bq76952_scan import Scan

_SLEEP_AFTER_US = 1_000_000


def _of_scan(name: str) -> Any:
    """Return a property that is the scan's."""
    return property(
        lambda self: getattr(self.scan, name),
        lambda self, value: setattr(self.scan, name, value),
    )


class Bq76952(Commands):
    """One BQ76952: feed it physical inputs with `advance`, talk to it with `read` and `write`.

    cells: how many are wired, see `inputs` (which input each is on). crc: whether this version
    powers up with the CRC on; `crc_on` is the present mode. swaps_on_exit: whether a new Comm Type
    takes effect on leaving CONFIG_UPDATE already, or only with SWAP_COMM_MODE.

    Faults: `open_wire` (sense lines, 0 is VC0, `cells` the top one, which do not reach the chip),
    `frozen` (names out of `bq76952_scan.FREEZABLE`), `cell_gain` (drift of the cell ADC, not of
    the stack's divider), `cell_offset_v` (by cell), `stack_offset_v`, `number` (another chip's),
    `upset`, `power_on_reset`, and `mute` (no acknowledge).

    Outputs: `chg_driven`, `dsg_driven`, `pchg_driven`, `pdsg_driven`, `bleeding` (mask by cell),
    `bleed_share`, `load_pullup` (some 100 uA out of LD), `alert_active`.
    """

    def __init__(
        self,
        cells: int = 16,
        address: int = 0x08,
        *,
        crc: bool = False,
        inputs: tuple[int, ...] | None = None,
        swaps_on_exit: bool = False,
        wire_farad: float = 220e-9,
    ) -> None:
        super().__init__(address)
        self.cells = cells
        self.inputs = inputs or m.cell_inputs(cells)
        self.default_crc = crc
        self.swaps_on_exit = swaps_on_exit
        self.scan = Scan(self.ram, self.inputs, wire_farad)
        self.guard = Guard()
        self.power_on_reset()

    # Faults of what it measures.

    frozen = _of_scan("frozen")
    open_wire = _of_scan("open_wire")
    cell_offset_v = _of_scan("cell_offset_v")
    stack_offset_v = _of_scan("stack_offset_v")
    cell_gain = _of_scan("cell_gain")

    def power_on_reset(self) -> None:
        """All settings lost, FETs off, the CRC as this version comes, measuring begins anew."""
        self.start(self.default_crc)
        self.memory = m.defaults()
        self.status = m.POR | m.FULL_ACCESS
        self.updating = self.deep = False
        self.scan.reset()
        self.scan.restart(self._now_us)
        self.guard.reset()
        self.alarm = 0
        self.alarm_raw = m.INITSTART
        self.balancing = 0  # by input
        self.balance_us = 0
        self.twice = (0, -TWICE_US)
        self._idle_us = 0
        self.apply()

    def upset(self, address: int, bits: int) -> None:
        """Flip bits of one byte of the data memory, as radiation or a brown-out may."""
        self.memory[address - m.FIRST] ^= bits
        enabled = self.alarm_enable
        self.apply()
        self.alarm_enable = enabled  # a register of its own

    def apply(self) -> None:
        """Take over the data memory."""
        self.scan.configure(self.memory)
        self.guard.configure(self.memory)
        get = self.guard.get
        self.alarm_enable = get("Default Alarm Mask")
        self.status &= ~m.SLEEP_EN
        if get("Power Config") & m.POWER_SLEEP:
            self.status |= m.SLEEP_EN
        self._cfetoff = get("CFETOFF Pin Config")
        self._dfetoff = get("DFETOFF Pin Config")
        self._alert = get("ALERT Pin Config")
        self._alert_masks = sum(get(f"SF Alert Mask {x}") << 8 * k for k, x in enumerate("ABC"))
        self._watchdog_us = get("HWD Delay") * 1_000_000 if self.guard.enabled & m.HWDF else 0
        sensors = [(name, get(f"{name} Pin Config")) for name in m.PINS]
        self.cell_sensors = [name for name, config in sensors if config & 0x0F == 0x07]
        self.fet_sensors = [name for name, config in sensors if config & 0x0F == 0x0F]
        self.guard.watch(self.cell_sensors, self.fet_sensors)
        self._plain = self.inputs == tuple(self.scan.used)
        self.show()

    # What it drives and shows at its pins.

    chg_driven = property(lambda self: bool(self.guard.fets & m.CHG_FET))
    dsg_driven = property(lambda self: bool(self.guard.fets & m.DSG_FET))
    pchg_driven = property(lambda self: bool(self.guard.fets & m.PCHG_FET))
    pdsg_driven = property(lambda self: bool(self.guard.fets & m.PDSG_FET))
    load_pullup = property(lambda self: self.guard.pulls and not self.off)
    bleed_share = property(lambda self: 1 - 3 / self.scan.slots)

    @property
    def bleeding(self) -> int:
        """Cells whose bleed resistor is on, bit k for cell k."""
        if self.off or self.deep or self.updating:
            return 0
        return sum(1 << k for k, pin in enumerate(self.inputs) if self.balancing >> pin & 1)

    @property
    def alert_active(self) -> bool:
        """Whether the ALERT pin signals; never where it is not configured for that."""
        return self._alert & m.PIN_FXN == m.PIN_ALERT and bool(self.alarm)

    # Time.

    def advance(
        self,
        now_us: int,
        cells_v: list[float] | tuple[float, ...],
        shunt_v: float,
        mean_shunt_v: float,
        ts_ohm: tuple[float, ...],
        die_c: float,
        pack_v: float,
        ld_v: float,
        cfetoff: bool,
        dfetoff: bool,
    ) -> None:
        """Let time pass to `now_us` with inputs held since the last call.

        cells_v: of each cell, the lowest first; shunt_v: SRP less SRN, charge positive, at the
        end of the step, mean_shunt_v over it; ts_ohm: thermistors at TS1, TS2, TS3, HDQ, ...,
        inf where the wire is open; pack_v, ld_v: at PACK and LD; cfetoff, dfetoff: pin levels.
        Raises ValueError when time goes back.
        """
        last_us = self._now_us
        span_us = now_us - last_us
        if span_us < 0:
            raise ValueError(f"now_us: {now_us} is before {last_us}, time cannot go back")
        self.tick(now_us)
        scan = self.scan
        pins = scan.wire(cells_v, span_us)
        scan.ts_ohm = ts_ohm
        if self.off or self.deep or self.updating:
            self.rest()
            return
        scan.count(last_us, now_us, mean_shunt_v)
        scan.current(shunt_v)
        guard = self.guard
        if self.status & (m.SLEEP_EN | m.SLEEPING):
            self._sleep(span_us, shunt_v)
        events = scan.run(now_us, pack_v, ld_v, die_c)
        if events:
            self._scanned(events)
        if self._plain and not scan.drift_v and not scan.off:
            high, low, stack_v = max(cells_v), min(cells_v), sum(cells_v)
        else:
            seen = scan.seen(pins)
            used = [seen[k] for k in scan.used]
            high, low, stack_v = max(used), min(used), sum(pins)
        x = Inputs(high, low, shunt_v, stack_v, pack_v, ld_v)
        guard.run(span_us, x)
        if self._watchdog_us:
            late = now_us - self._heard_us >= self._watchdog_us
            guard.status = guard.status | m.HWDF if late else guard.status & ~m.HWDF
        guard.drive(
            now_us,
            span_us,
            self._cfetoff & m.PIN_FXN == m.PIN_OFF and cfetoff != bool(self._cfetoff & 0x80),
            self._dfetoff & m.PIN_FXN == m.PIN_OFF and dfetoff != bool(self._dfetoff & 0x80),
            x,
        )
        if self.balancing:
            self._balance(span_us, die_c)
        if self._state() != self.shown:
            self.show()

    def rest(self) -> None:
        """Neither measure nor protect nor drive."""
        self.scan.halt(self._now_us)
        self.guard.running = False
        self.guard.fets = 0
        self.balancing = 0
        self.show()

    def _scanned(self, events: int) -> None:
        self.guard.running = True
        self.alarm_raw |= events | m.INITCOMP
        self.alarm |= events & self.alarm_enable
        if events & m.FULLSCAN:
            self.guard.temperatures(self.scan.temps_k)
            self.ram[m.CONTROL_STATUS] = m.LD_ON if self.guard.pulls else 0

    def show(self) -> None:
        """Faults, FETs and alarms into their registers."""
        ram, guard = self.ram, self.guard
        status, alerts, fets = guard.status, guard.alerts, guard.fets
        raw = self.alarm_raw & (EVENTS | m.INITCOMP | m.INITSTART | m.WAKE)
        if not fets & m.CHG_FET:
            raw |= m.XCHG
        if not fets & m.DSG_FET:
            raw |= m.XDSG
        if self.balancing:
            raw |= m.CB
        if status & 0xFF:
            raw |= m.SSA
        if status >> 8:
            raw |= m.SSBC
        if alerts & self._alert_masks:
            raw |= m.MSK_SFALERT
        self.alarm_raw = raw
        self.alarm |= raw & self.alarm_enable & ~EVENTS
        battery = self.status
        if status:
            battery |= m.SS
        if guard.precharging:
            battery |= m.PCHG_MODE
        if self.updating:
            battery |= m.CFGUPDATE
        struct.pack_into(
            "<6B", ram, m.SAFETY_ALERT_A, alerts & 0xFF, status & 0xFF, alerts >> 8 & 0xFF,
            status >> 8 & 0xFF, alerts >> 16, status >> 16,
        )  # fmt: skip
        struct.pack_into("<H", ram, m.BATTERY_STATUS, battery)
        struct.pack_into("<HHH", ram, m.ALARM_STATUS, self.alarm, raw, self.alarm_enable)
        ram[m.FET_STATUS] = fets | (m.ALRT_PIN if self.alert_active else 0)
        self.shown = self._state()

    def _state(self) -> tuple[int, ...]:
        """All that `show` shows."""
        guard = self.guard
        return guard.status, guard.alerts, guard.fets, self.balancing, self.alarm, self.status

    def _sleep(self, span_us: int, shunt_v: float) -> None:
        guard, get = self.guard, self.guard.get
        ma = abs(shunt_v) * self.scan.user_per_v * m.USER_MA[get("DA Configuration") & 3]
        if self.status & m.SLEEPING:
            awake = ma > get("Wake Comparator Current") or guard.status
            if awake or not self.status & m.SLEEP_EN:
                self.status &= ~m.SLEEPING
                guard.asleep = False
                self._idle_us = 0
                self.alarm_raw |= m.WAKE
                self.alarm |= m.WAKE & self.alarm_enable
                self.scan.restart(self._now_us)
                return
            # Between its scans it measures nothing.
            self._idle_us += span_us
            if self._idle_us < get("Voltage Time") * 1_000_000:
                self.scan.restart(self._now_us)
            elif self._idle_us >= get("Voltage Time") * 1_000_000 + 200_000:
                self._idle_us = 0
            return
        self._idle_us = self._idle_us + span_us if ma < get("Sleep Current") else 0
        if self._idle_us >= _SLEEP_AFTER_US:
            self.status |= m.SLEEPING
            guard.asleep = True
            self._idle_us = 0

    def _balance(self, span_us: int, die_c: float) -> None:
        self.balance_us -= span_us
        if self.balance_us <= 0 or die_c > self.guard.get("Max Internal Temp"):
            self.balancing = 0
