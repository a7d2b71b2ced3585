"""BQ76952: cells, stack, terminals, current, charge, temperatures and FETs of 3 to 16 cells.

Source: TI's data sheet SLUSE13B and technical reference manual SLUUBY2B ("TRM").

- **Whole sets.** A scan of all cells ends every 63 ms (TRM 4.1.1) and latches ADSCAN. Cells are
  read when it shows, and read again where it shows once more right after: they are then of two
  scans. Between two scans the last set stands; without a scan for 250 ms nothing does.
- **No waiting.** What is asked for at the end of one tick is fetched in the next: in a round of
  four ticks the passed charge (DASTATUS6, which moves every 250 ms), commands for balancing and
  load detection, and one run of the configuration.
- **A reset shows at once**: POR in Battery Status, read last, so that it speaks for the whole
  tick; and where the pack has the CRC on, the chip has lost that. Its FETs are off then by itself.
  Configuration that changed by itself is found in turn and counts as a reset; the gates are left
  to the firmware, and written anew is only once they are open (`closed`).
- **The chip never closes a gate first.** It turns FETs off by its own protections, beyond the
  rules' limits, and lets them on again seconds later (`recovery_s` of the pack), and so does a
  chip after its reset. By then the firmware has seen "commanded on, not shown on" in FETS_OK and
  CHG_SHOWN, DSG_SHOWN, and has opened the pins CFETOFF and DFETOFF, which hold a FET off whatever
  the chip wants, its body diode protection too. FET_ENABLE waits for open gates.
"""

from bms.compat import const
from bms.core import frame as F
from bms.core.fixed import TICKS_MAX, clamp, ticks_diff
from bms.drivers.bq76952_link import BAD_CRC, SUBCOMMAND, Block, Link
from bms.drivers.bq76952_scan import FULLSCAN, Scan
from bms.drivers.bq76952_setup import CFGUPDATE, POR, Setup

# Registers and subcommands, TRM chapter 12.
_CONTROL_STATUS = const(0x00)  # then Safety Alert and Status A, B, C
_FET_STATUS = const(0x7F)
_DASTATUS6 = const(0x0076)
_CB_ACTIVE_CELLS = const(0x0083)
_LOAD_DETECT_ON = const(0x009E)
_LOAD_DETECT_OFF = const(0x009F)

_FAULTS = const(0xE000)  # SSBC, SSA, PF
_SCD = const(0x400080)  # SCD in A, SCDL in C
_PF = const(0x1000)  # Battery Status: a permanent fail stands
_LD_ON = const(0x01)  # Control Status: its pull-up was on when LD was measured
_ON_CHG = const(0x03)  # FET Status: CHG, PCHG
_ON_DSG = const(0x04)
_ON_PDSG = const(0x08)

ALERT_PF = const(0x1000000)  # `fe_alerts` is Safety Status A, B, C (bits 0, 8, 16 on), and this
SEES_LOAD = True
# How old the oldest part of a reading is when it shows, in ms, 5 % of oscillator included. A cell
# waits a scan for its turn and a scan for the set; what takes turns by scans three of each.
AGE_CELL_MS = 133
AGE_FULL_MS = 397  # stack, terminals, temperatures
AGE_CURRENT_MS = 7  # CC2: 3 ms, begun before, shown for one more
AGE_FET_MS = 10  # FET Status and Safety Status follow the event at once
CHARGE_MS = 250  # the passed charge moves in steps of this length

_LOAD_GONE_CV = const(400)  # LD, 10 mV: above 4 V nothing pulls it down (TRM, load detect)

_CHARGE_MASK = const(0xFFFFFFF)  # 28 bits of charge in 2^-17 userAh, see CHARGE_SHIFT on the host
_CHARGE_HALF = const(0x8000000)
_CODES_MAX = const(1000000)  # handed on in one Frame: 275 As in units of 10 mA
_OWED_MAX = const(0x2FFFFFFF)
# A round of ticks: what each does with the command channel.
_ROUND = const(4)
_FETCH = const(0)  # takes the passed charge; then commands
_LOOK = const(1)  # asks for a run of the configuration
_COMPARE = const(2)  # compares it
_ASK = const(3)  # asks for the passed charge
_CHARGE_LOST = const(8)  # ticks without an answer to DASTATUS6
_SILENT = const(8)  # rounds without an answer about the configuration
_BALANCE_AGAIN_MS = const(5000)  # the chip stops a minute after the last command


class Bq76952:
    """Driver of one chip; `read` fills the Frame and never raises for a bus error.

    closed: set by whoever runs it to whether a gate is commanded closed; see `Setup`.
    """

    def __init__(self, i2c, pack):
        """i2c: as machine.I2C, `readfrom_mem_into` and `writeto`."""
        self.pack = pack
        self.closed = False
        self.ready = False  # identity seen, configuration read back, FETs enabled
        self.resets = 0
        address = pack.chip_address
        self.link = Link(i2c, address)
        self.setup = Setup(self.link, pack)
        self.scan = Scan(self.link, self.setup, pack)
        self._passed = Block(address, SUBCOMMAND, 14)
        self._safety = Block(address, _CONTROL_STATUS, 8)
        self._fets = Block(address, _FET_STATUS, 1)
        self.link.prepare(4)
        self._balance = bytearray(4)
        self._mask = 0  # cells to bleed,
        self._asked = 0  # by input,
        self._told = -1  # and as the chip was told
        self._told_ms = 0
        self._turn = _ASK
        self._forget()

    def _forget(self):
        self.scan.begin()
        self._based = False  # `_charge` is a reading of this chip life
        self._charge = self._owed = self._rest = 0
        self._seconds = self._time_ms = 0
        self._since = 0  # ticks since the charge was fetched
        self._awaits = False  # it was asked for, and no tick was lost since
        self._looked = False
        self._silent = 0
        self._alerts = 0
        self._told = -1

    def balance(self, mask):
        """Bleed these cells (bit k: cell k) until told otherwise; 0 for none."""
        if mask == self._mask:
            return
        self._mask = mask
        inputs = 0
        for k in range(len(self.scan.inputs)):
            if mask >> k & 1:
                inputs |= 1 << self.scan.inputs[k]
        self._asked = inputs

    def read(self, frame):
        """Fill what the chip tells, and its flags; what could not be read stays unset."""
        try:
            if self.ready:
                self._measure(frame)
            elif self.setup.step(self.closed):
                self.ready = True
                self._forget()
                self.link.ask(_DASTATUS6)
                self._awaits = True
                self._turn = _ASK
        except OSError as error:
            # Time and charge grow old meanwhile; an answer that waits is of before.
            self._since += 1
            self._awaits = False
            if not self.ready:
                self.setup.begin()
            elif error is BAD_CRC:
                self._doubt()
        if self.ready:
            frame.v[F.FLAGS] |= F.CHIP_OK
        frame.v[F.FE_RESETS] = self.resets

    def _doubt(self):
        # A byte came over wrong: noise, or a chip that was reset and speaks without CRC now.
        link = self.link
        link.shift = 0
        try:
            link.read(self.setup.status)
            if link.word(self.setup.status, 0) & POR:
                self._lost()
        except OSError:
            pass
        finally:
            link.shift = 1

    def _lost(self):
        self.ready = False
        self.resets = (self.resets + 1) & 0xFFFF
        self.setup.begin()

    def _measure(self, frame):
        link = self.link
        f = frame.v
        now = f[F.T_MS]
        turn = self._turn = (self._turn + 1) % _ROUND
        if turn == _FETCH and self._awaits:
            link.read(self._passed)
        elif turn == _COMPARE and not self._as_written():
            self._lost()
            return
        alarm = self.scan.look()
        # A fault shows among the alarms as long as it stands, and once more; these say which.
        if alarm & (_FAULTS | FULLSCAN):
            link.read(self._safety)
        link.read(self._fets)
        self._command(turn, now)
        link.read(self.setup.status)
        # Last, so that it speaks for all that was read. From here on nothing can fail: a Frame is
        # filled whole or not at all.
        status = link.word(self.setup.status, 0)
        if status & (POR | CFGUPDATE):
            self._lost()
            return
        self._show_state(f, alarm, status)
        if self.scan.show(frame, now) and self._unloaded():
            f[F.FLAGS] |= F.LOAD_GONE
        self._since += 1
        if turn == _FETCH and self._awaits:
            self._awaits = False
            if link.word(self._passed, 0) == _DASTATUS6:
                self._hand_on(f)
        if self._based and self._since <= _CHARGE_LOST:
            f[F.FE_TIME_MS] = self._time_ms
            f[F.FLAGS] |= F.FE_TIME_OK | F.CHARGE_OK
            if self._owed:
                f[F.FLAGS] |= F.CHARGE_OWED

    def _as_written(self):
        # Whether the run of the configuration that was asked for is as the pack has it. A chip
        # that gives no answer for long has another reason than the bus.
        if not self._looked:
            return True
        if not self.setup.answered():
            self._silent += 1
            return self._silent <= _SILENT
        self._silent = 0
        self._looked = False
        return self.setup.same()

    def _command(self, turn, now):
        # One command a tick: the chip needs its time for each.
        link = self.link
        if turn == _ASK:
            link.ask(_DASTATUS6)
            self._awaits = True
        elif turn == _LOOK:
            self.setup.look()
            self._looked = True
        elif turn == _FETCH:
            if self._asked != self._told or (
                self._asked and ticks_diff(now, self._told_ms) >= _BALANCE_AGAIN_MS
            ):
                b = self._balance
                b[0] = _CB_ACTIVE_CELLS
                b[2] = self._asked & 0xFF
                b[3] = self._asked >> 8
                link.send(b, 4)
                self._told = self._asked
                self._told_ms = now
                return
            # The pull-up that tells a load from none works while no FET feeds the terminals.
            pulls = self._safety.b[0] & _LD_ON
            feeds = self._fets.b[0] & (_ON_DSG | _ON_PDSG)
            if pulls and feeds:
                link.ask(_LOAD_DETECT_OFF)
            elif not pulls and not feeds:
                link.ask(_LOAD_DETECT_ON)

    def _show_state(self, f, alarm, status):
        if alarm & (_FAULTS | FULLSCAN):
            b = self._safety.b
            shift = self.link.shift
            self._alerts = b[3 << shift] | b[5 << shift] << 8 | b[7 << shift] << 16
            if status & _PF:
                self._alerts |= ALERT_PF
        alerts = self._alerts
        f[F.FE_ALERTS] = alerts
        flags = F.FETS_OK
        if alerts or alarm & _FAULTS:
            flags |= F.ALERTED
        if alerts & _SCD:
            flags |= F.SHORTED
        fets = self._fets.b[0]
        if fets & _ON_CHG:
            flags |= F.CHG_SHOWN
        if fets & _ON_DSG:
            flags |= F.DSG_SHOWN
        if fets & _ON_PDSG:
            flags |= F.PRE_SHOWN
        f[F.FLAGS] |= flags

    def _unloaded(self):
        # Nothing feeds the terminals but the chip's small current, and they are up all the same.
        feeds = self._fets.b[0] & (_ON_DSG | _ON_PDSG)
        return self._safety.b[0] & _LD_ON and not feeds and self.scan.ld_cv >= _LOAD_GONE_CV

    def _hand_on(self, f):
        # Bytes: integer and fraction of userAh, each 4, then seconds (TRM 4.6, DASTATUS6).
        link = self.link
        low = link.word(self._passed, 6)
        high = link.word(self._passed, 8)
        now = (link.word(self._passed, 2) & 0x7FF) << 17 | high << 1 | low >> 15
        seconds = link.word(self._passed, 10)
        if self._based:
            d = (now - self._charge) & _CHARGE_MASK
            d = d - _CHARGE_MASK - 1 if d >= _CHARGE_HALF else d
            self._owed = clamp(self._owed + d, -_OWED_MAX, _OWED_MAX)
            codes = clamp(self._owed, -_CODES_MAX, _CODES_MAX)
            self._owed -= codes
            # In two parts, so that each product stays within 31 bits.
            num = self.pack.charge_num
            den = self.pack.charge_den
            rest = codes % den * num + self._rest
            f[F.CHARGE_UAS] = codes // den * num + rest // den
            self._rest = rest % den
            passed_s = (seconds - self._seconds) & 0xFFFF
            self._time_ms = (self._time_ms + passed_s * 1000) & TICKS_MAX
        self._charge = now
        self._seconds = seconds
        self._based = True
        self._since = 0
