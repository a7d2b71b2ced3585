"""What a BQ76952 does by itself: its protections, and the FETs that it drives.

TRM SLUUBY2B: 5.2.3 FET control, 5.2.4 on each protection.

Simplified: inputs are held over a step, so a fault falls at its end; the FETs turn on, and body
diodes and pre-discharge are looked at, every 250 ms (the manual says so of pre-discharge and of
slow FET actions), while turning off acts at once; a latch (COVL, OCDL, SCDL) forgets one fault
after another; load detection pulls without pause and never gives up.
"""

import struct
from typing import NamedTuple

from solidbms.plant.chips import bq76952_map as m

ROUND_US = 250_000
TEMPERATURES = (
    ("OTC", m.OTC),
    ("OTD", m.OTD),
    ("OTF", m.OTF),
    ("OTINT", m.OTINT),
    ("UTC", m.UTC),
    ("UTD", m.UTD),
    ("UTINT", m.UTINT),
)
LOAD_GONE_V = 4.0  # at LD, TRM load detect
_S = 1_000_000


class Limit(NamedTuple):
    """One protection as configured: fault after delay_us, over after recovery_us."""

    bit: int
    delay_us: int
    recovery_us: int


class Inputs(NamedTuple):
    """What the protections see in a step. cell_max_v, cell_min_v: at the pins in use."""

    cell_max_v: float
    cell_min_v: float
    shunt_v: float
    stack_v: float
    pack_v: float
    ld_v: float


class Guard:
    """Protections and FETs of one chip. `status` and `alerts` as one number, see bq76952_map."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """As after a reset of the chip: no fault, FET_EN off."""
        self.status = self.alerts = 0
        self.fet_en = False
        self.test = 0  # FETs on by the FET test subcommands
        self.host_off = 0  # FETs that a command forces off
        self.running = False  # a scan is complete, and this is no CONFIG_UPDATE
        self.asleep = False
        self.forced_load_detect = False
        self.fets = 0  # FET Status
        self.precharging = False
        self._since: dict[int, int] = {}  # us that a cause, or its end, has lasted
        self._latch: dict[int, list[int]] = {}  # faults counted, us to the next decrement
        self._round_due = 0
        self._pre_us = 0
        self.hot = self.cooled = 0  # protections by temperature: over the limit, recovered
        self._wants = 0

    def configure(self, memory: bytearray) -> None:
        """Take over the data memory."""

        def get(name: str) -> int:
            address = m.ADDRESS[name]
            kind = m.FORMATS[m.MEMORY[address].kind]
            return struct.unpack_from("<" + kind, memory, address - m.FIRST)[0]

        def abc(name: str) -> int:
            return sum(get(f"{name} {x}") << 8 * k for k, x in enumerate("ABC"))

        def steps(name: str) -> int:
            return (get(name) + 2) * m.DELAY_STEP_US

        self.get = get
        self.enabled = abc("Enabled Protections")
        self.chg_mask, self.dsg_mask = abc("CHG FET Protections"), abc("DSG FET Protections")
        recovery_us = get("Recovery Time") * _S
        self.limits = [
            Limit(m.CUV, steps("CUV Delay"), recovery_us),
            Limit(m.COV, steps("COV Delay"), recovery_us),
            Limit(m.OCC, steps("OCC Delay"), recovery_us),
            Limit(m.OCD1, steps("OCD1 Delay"), recovery_us),
            Limit(m.OCD2, steps("OCD2 Delay"), recovery_us),
            Limit(m.SCD, (get("SCD Delay") - 1) * m.SCD_STEP_US, get("SCD Recovery Time") * _S),
            Limit(m.OCD3, get("OCD3 Delay") * _S, recovery_us),
            *[Limit(bit, get(f"{name} Delay") * _S, recovery_us) for name, bit in TEMPERATURES],
        ]
        self.limits = [limit for limit in self.limits if limit.bit & self.enabled]
        self.cov_v = get("COV Threshold") * m.CELL_STEP_V
        self.cuv_v = get("CUV Threshold") * m.CELL_STEP_V
        self._cov_back_v = self.cov_v - get("COV Recovery Hysteresis") * m.CELL_STEP_V
        self._cuv_back_v = self.cuv_v + get("CUV Recovery Hysteresis") * m.CELL_STEP_V
        self._occ_v = get("OCC Threshold") * m.SHUNT_STEP_V
        self._ocd_v = {
            m.OCD1: get("OCD1 Threshold") * m.SHUNT_STEP_V,
            m.OCD2: get("OCD2 Threshold") * m.SHUNT_STEP_V,
            m.SCD: m.SCD_MV[get("SCD Threshold") & 15] / 1000,
        }
        gain = get("CC Gain") / 7.4768  # ohm^-1 / 1000
        self._ma_per_v = gain * 1e6
        user_ma = m.USER_MA[get("DA Configuration") & m.DA_USER_AMPS]
        self._ocd_v[m.OCD3] = -get("OCD3 Threshold") * user_ma / self._ma_per_v
        self._occ_back_v = get("OCC Recovery Threshold") / self._ma_per_v
        self._ocd_back_v = get("OCD Recovery Threshold") / self._ma_per_v
        self._occ_pack_v = get("OCC PACK-TOS Delta") / 100
        self._diode_v = get("Body Diode Threshold") / self._ma_per_v
        options = get("FET Options")
        self.options = options
        self._pre_delta_v = get("Predischarge Stop Delta") / 100
        self._pre_limit_us = get("Predischarge Timeout") * 10_000
        self._precharge_v = get("Precharge Start Voltage") / 1000
        self._charge_v = get("Precharge Stop Voltage") / 1000
        if options & m.FET_INIT_OFF:
            self.host_off = 0xF
        # Within these nothing happens: the quick way through a step.
        inf = float("inf")
        on = self.enabled
        self._quiet_max_v = self.cov_v if on & m.COV else inf
        self._quiet_min_v = self.cuv_v if on & m.CUV else -inf
        self._quiet_charge_v = self._occ_v if on & m.OCC else inf
        self._quiet_discharge_v = -min(
            (v for bit, v in self._ocd_v.items() if on & bit), default=inf
        )

    def watch(self, cells: list[str], fets: list[str]) -> None:
        """Take over which pins measure cells and which FETs; the die is "die"."""
        get = self.get
        groups = {"OTC": cells, "OTD": cells, "UTC": cells, "UTD": cells, "OTF": fets}
        self._hot_rows = [
            (
                bit,
                1 if name[0] == "O" else -1,
                groups.get(name, ["die"]),
                round(get(f"{name} Threshold") * 10 + 2731.5),
                round(get(f"{name} Recovery") * 10 + 2731.5),
            )
            for name, bit in TEMPERATURES
            if self.enabled & bit
        ]

    def temperatures(self, temps_k: dict[str, int]) -> None:
        """Judge a full scan's readings (0.1 K)."""
        hot = cooled = 0
        for bit, side, pins, limit_k, back_k in self._hot_rows:
            seen = [side * temps_k[pin] for pin in pins if pin in temps_k]
            if seen:
                worst = max(seen)
                if worst >= side * limit_k:
                    hot |= bit
                if worst <= side * back_k:
                    cooled |= bit
        self.hot, self.cooled = hot, cooled

    def run(self, span_us: int, x: Inputs) -> None:
        """Let the protections watch for so long."""
        if (
            self._quiet_min_v < x.cell_min_v
            and x.cell_max_v < self._quiet_max_v
            and self._quiet_discharge_v < x.shunt_v < self._quiet_charge_v
            and not self.status
            and not self.alerts
            and not self.hot
            and not self._latch
        ):
            return
        causes, ends = self._causes(x), self._ends(x)
        since = self._since
        for bit, delay_us, recovery_us in self.limits:
            if not self.status & bit:
                if not causes & bit:
                    self.alerts &= ~bit
                    since.pop(bit, None)
                    continue
                lasted = since.get(bit, 0) + span_us
                since[bit] = lasted
                self.alerts |= bit
                if lasted >= delay_us:
                    self._fault(bit)
            elif ends & bit:
                since[bit] = since.get(bit, 0) + span_us
                if since[bit] >= recovery_us:
                    self.status &= ~bit
                    del since[bit]
            else:
                since[bit] = 0
        self._unlatch(span_us, x)

    def _causes(self, x: Inputs) -> int:
        causes = self.hot
        if x.cell_max_v >= self.cov_v:
            causes |= m.COV
        if x.cell_min_v <= self.cuv_v:
            causes |= m.CUV
        if x.shunt_v > self._occ_v:
            causes |= m.OCC
        for bit, limit_v in self._ocd_v.items():
            if -x.shunt_v > limit_v:
                causes |= bit
        return causes

    def _ends(self, x: Inputs) -> int:
        ends = self.cooled
        if x.cell_max_v < self._cov_back_v:
            ends |= m.COV
        if x.cell_min_v > self._cuv_back_v:
            ends |= m.CUV
        if x.pack_v < x.stack_v - self._occ_pack_v or x.shunt_v <= self._occ_back_v:
            ends |= m.OCC
        if x.shunt_v >= self._ocd_back_v:
            ends |= m.OCD1 | m.OCD2 | m.OCD3
        if -x.shunt_v <= self._ocd_v[m.SCD]:
            ends |= m.SCD
        return ends

    def _fault(self, bit: int) -> None:
        self.alerts &= ~bit
        self.status |= bit
        self._since[bit] = 0
        for bits, latch, name in (
            (m.COV, m.COVL, "COVL"),
            (m.OCD1 | m.OCD2 | m.OCD3, m.OCDL, "OCDL"),
            (m.SCD, m.SCDL, "SCDL"),
        ):
            most = self.get(f"{name} Latch Limit")
            if bit & bits and most:
                count = self._latch.setdefault(latch, [0, 0])
                count[0] += 1
                count[1] = self.get(f"{name} Counter Dec Delay") * _S
                if count[0] >= most and self.enabled & latch:
                    self.status |= latch

    def _unlatch(self, span_us: int, x: Inputs) -> None:
        for latch, count in list(self._latch.items()):
            count[1] -= span_us
            if count[1] <= 0:
                count[0] -= 1
                count[1] += _S
                if count[0] <= 0:
                    del self._latch[latch]
        if self.pulls and x.ld_v > LOAD_GONE_V:
            self.recover(m.OCDL | m.SCDL)

    def recover(self, latches: int) -> None:
        """End latched faults: by command, or with the load."""
        self.status &= ~latches
        for latch in [latch for latch in self._latch if latch & latches]:
            del self._latch[latch]

    @property
    def test_bits(self) -> int:
        """Manufacturing Status: PCHG, CHG, DSG, PDSG as the FET tests have them."""
        order = ((m.PCHG_FET, 1), (m.CHG_FET, 2), (m.DSG_FET, 4), (m.PDSG_FET, 0x20))
        return sum(bit for fet, bit in order if self.test & fet)

    @property
    def pulls(self) -> bool:
        """Whether load detection drives its current into LD."""
        latched = self.status & (m.OCDL | m.SCDL) and self.get("Load Detect Active Time")
        return bool(latched or self.forced_load_detect)

    def drive(self, now_us: int, span_us: int, cfetoff: bool, dfetoff: bool, x: Inputs) -> None:
        """Turn FETs off at once, and on in the chip's own round."""
        fets = self.fets
        off = self.host_off if self.options & m.HOST_FET_EN else 0
        if cfetoff:
            off |= m.CHG_FET | m.PCHG_FET
        if dfetoff:
            off |= m.DSG_FET | m.PDSG_FET
        if fets & m.PDSG_FET:
            self._pre_us += span_us
        if now_us >= self._round_due:
            self._round_due += (now_us - self._round_due) // ROUND_US * ROUND_US + ROUND_US
            self._wants = self._round(x, off)
            fets = self._wants
        elif fets:
            status = self.status
            if status & self.chg_mask and not self._wants & 0x100:
                off |= m.CHG_FET | m.PCHG_FET
            if status & self.dsg_mask and not self._wants & 0x200:
                off |= m.DSG_FET | m.PDSG_FET
        if not self.running:
            off = 0xF
        self.fets = fets & ~off & 0xF
        if not self.fets & m.PDSG_FET:
            self._pre_us = 0

    def _round(self, x: Inputs, off: int) -> int:
        """Return which FETs the chip wants on; 0x100, 0x200: for a body diode's sake."""
        if not self.fet_en:
            return self.test
        if not self.options & m.FET_CTRL_EN:
            return 0
        below_v = self._charge_v if self.precharging else self._precharge_v
        self.precharging = x.cell_min_v < below_v
        chg = not self.status & self.chg_mask
        if self.asleep and not self.options & m.SLEEPCHG:
            chg = False
        wants = (m.PCHG_FET if self.precharging else m.CHG_FET) if chg else 0
        if not self.status & self.dsg_mask:
            wants |= self._discharge(x)
        if self.options & m.SFET:
            if not wants & m.CHG_FET and wants & 0xC & ~off and x.shunt_v < -self._diode_v:
                wants |= m.CHG_FET | 0x100
            if not wants & 0xC and wants & 3 & ~off and x.shunt_v > self._diode_v:
                wants |= m.DSG_FET | 0x200
        return wants

    def _discharge(self, x: Inputs) -> int:
        if not self.options & m.PDSG_EN or self.fets & m.DSG_FET:
            return m.DSG_FET
        near = self._pre_delta_v and x.ld_v >= x.stack_v - self._pre_delta_v
        late = self._pre_limit_us and self._pre_us >= self._pre_limit_us
        return m.DSG_FET if self.fets & m.PDSG_FET and (near or late) else m.PDSG_FET
