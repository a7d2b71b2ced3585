"""BQ76952: cells, stack, terminals, current, charge, temperatures and FETs of 3 to 16 cells.

Source: TI's data sheet SLUSE13B and technical reference manual SLUUBY2B ("TRM").

- **Whole sets.** A scan of all cells ends every 63 ms (TRM 4.1.1) and latches ADSCAN. Cells are
  read when it shows, and read again where it shows once more right after: they are then of two
  scans. Between two scans the last set stands; without a scan for 250 ms nothing does.
- **No waiting.** The passed charge (DASTATUS6) is asked for at the end of one tick and fetched at
  the start of the next. What else the command channel carries - balancing, load detection, one
  run of the configuration in turn - has its place between.
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

from array import array

from bms.compat import const
from bms.core import frame as F
from bms.core.fixed import TICKS_MAX, clamp, ticks_diff
from bms.drivers.bq76952_link import BAD_CRC, SUBCOMMAND, Block, Link
from bms.drivers.bq76952_setup import POR, Setup

# Registers and subcommands, TRM chapter 12.
_CONTROL_STATUS = const(0x00)  # then Safety Alert and Status A, B, C
_CELL_1 = const(0x14)  # 16 cells, Stack, PACK, LD, CC2 Current
_CURRENT = const(0x3A)
_ALARM_STATUS = const(0x62)
_INT_TEMP = const(0x68)  # then CFETOFF to DDSG
_FET_STATUS = const(0x7F)
_DASTATUS6 = const(0x0076)
_CB_ACTIVE_CELLS = const(0x0083)
_LOAD_DETECT_ON = const(0x009E)
_LOAD_DETECT_OFF = const(0x009F)
_PIN_CONFIGS = const(0x92FA)  # data memory: CFETOFF to DDSG, one byte each
_VCELL_MODE = const(0x9304)

_ADSCAN = const(0x0002)
_FULLSCAN = const(0x0080)
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

_STALE_MS = const(250)  # four scans
_FULL_STALE_MS = const(1000)
_LOAD_GONE_CV = const(400)  # LD, 10 mV: above 4 V nothing pulls it down (TRM, load detect)
_CV_UV = const(10000)  # user unit of voltage: `DA Configuration` as the pack writes it
_COLD = const(2281)  # 0.1 K, -45 degC: below, and above 150 degC, a sensor is open or shorted
_HOT = const(4231)
_ZERO_MDEGC = const(273150)
_PIN_CELL = const(0x07)  # a pin's configuration: thermistor of a cell
_PIN_FET = const(0x0F)
_PIN_KIND = const(0x0F)

_CHARGE_MASK = const(0xFFFFFFF)  # 28 bits of charge in 2^-17 userAh, see CHARGE_SHIFT on the host
_CHARGE_HALF = const(0x8000000)
_CODES_MAX = const(1000000)  # handed on in one Frame: 275 As in units of 10 mA
_OWED_MAX = const(0x2FFFFFFF)
_CHECK_EVERY = const(8)  # ticks between two looks at the configuration, one run each
_LOAD_EVERY = const(8)
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
        self._passed = Block(address, SUBCOMMAND, 14)
        self._alarm = Block(address, _ALARM_STATUS, 2)
        self._set = Block(address, _CELL_1, 40)
        self._cc2 = Block(address, _CURRENT, 2)
        self._temps = Block(address, _INT_TEMP, 20)
        self._safety = Block(address, _CONTROL_STATUS, 8)
        self._fets = Block(address, _FET_STATUS, 1)
        self.link.prepare(4)
        self._balance = bytearray(4)
        mask = self.setup.value(_VCELL_MODE, 0) | self.setup.value(_VCELL_MODE + 1, 0) << 8
        self._inputs = bytes([k for k in range(16) if mask >> k & 1])
        self._sensors = bytes(self._pins(_PIN_CELL))
        self._fet_sensor = bytes(self._pins(_PIN_FET))
        # The last whole set: cells, stack and terminals; the last temperatures.
        self._uv = array("i", [0] * (len(self._inputs) + 2))
        self._mdegc = array("i", [0] * (pack.temps + 2))
        self._temps_ok = 0
        self._asked = 0  # cells to bleed, by input
        self._told = -1
        self._told_ms = 0
        self._turn = 0
        self._forget()

    def _pins(self, kind):
        # Which pins carry a thermistor of this kind: their place among the temperatures.
        setup = self.setup
        return [k + 1 for k in range(9) if setup.value(_PIN_CONFIGS + k, 0) & _PIN_KIND == kind]

    def _forget(self):
        self._scanned = self._full = False  # a whole set, all of it, was seen
        self._scan_ms = self._full_ms = 0
        self._ld_cv = self._code = 0
        self._based = False  # `_charge` is a reading of this chip life
        self._charge = self._owed = self._rest = 0
        self._seconds = self._time_ms = 0
        self._told = -1

    def balance(self, mask):
        """Bleed these cells (bit k: cell k) until told otherwise; 0 for none."""
        inputs = 0
        for k in range(len(self._inputs)):
            if mask >> k & 1:
                inputs |= 1 << self._inputs[k]
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
        except OSError as error:
            if error is BAD_CRC and self.ready:
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
        link.read(self._passed)
        passed = link.word(self._passed, 0) == _DASTATUS6
        looking = self._errand(now)
        alarm = self._scan(now)
        if alarm & _FULLSCAN:
            link.read(self._temps)
        link.read(self._safety)
        link.read(self._fets)
        if looking and not self.setup.same():
            self._lost()
            return
        link.ask(_DASTATUS6)
        link.read(self.setup.status)
        # Last, so that it speaks for all that was read. From here on nothing can fail: a Frame is
        # filled whole or not at all.
        status = link.word(self.setup.status, 0)
        if status & POR:
            self._lost()
            return
        if alarm & _FULLSCAN:
            self._take_temps(now)
        self._show_state(f, alarm, status)
        self._show_readings(frame, now)
        if passed:
            self._hand_on(f)

    def _errand(self, now):
        # At most one a tick, far enough from DASTATUS6 before and after for the chip to take it.
        # Returns whether the answer is to be compared with the configuration.
        self._turn = (self._turn + 1) & 0xFF
        link = self.link
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
        elif self._turn % _CHECK_EVERY == 0:
            self.setup.look()
            return True
        elif self._turn % _LOAD_EVERY == 4:
            # The pull-up that tells a load from none works while no FET feeds the terminals.
            pulls = self._safety.b[0] & _LD_ON
            feeds = self._fets.b[0] & (_ON_DSG | _ON_PDSG)
            if pulls and feeds:
                link.ask(_LOAD_DETECT_OFF)
            elif not pulls and not feeds:
                link.ask(_LOAD_DETECT_ON)
        return False

    def _scan(self, now):
        # Returns the alarms that were latched. Only what was seen is cleared.
        link = self.link
        link.read(self._alarm)
        alarm = link.word(self._alarm, 0)
        if alarm:
            link.put_word(_ALARM_STATUS, alarm)
        if not alarm & _ADSCAN:
            link.read(self._cc2)
            self._code = link.word(self._cc2, 0)
            return alarm
        for _ in range(2):
            link.read(self._set)
            link.read(self._alarm)
            again = link.word(self._alarm, 0) & (_ADSCAN | _FULLSCAN)
            if not again & _ADSCAN:
                self._take_set(now)
                break
            # Of two scans: read again, the next one is 60 ms away.
            link.put_word(_ALARM_STATUS, again)
            alarm |= again
        self._code = link.word(self._set, _CURRENT - _CELL_1)
        return alarm

    def _take_set(self, now):
        b = self._set.b
        shift = self.link.shift
        step = 1 << shift
        uv = self._uv
        n = 0
        for k in self._inputs:
            at = k << shift + 1
            mv = b[at] | b[at + step] << 8
            uv[n] = (mv - 65536 if mv > 32767 else mv) * 1000
            n += 1
        link = self.link
        uv[n] = link.word(self._set, 32) * _CV_UV
        uv[n + 1] = link.word(self._set, 34) * _CV_UV
        self._ld_cv = link.word(self._set, 36)
        self._scanned = True
        self._scan_ms = now

    def _take_temps(self, now):
        # All pins take part in a full scan. Cells first, then FETs, then the die.
        ok = 0
        n = 0
        mdegc = self._mdegc
        for k in self._sensors:
            if n < len(mdegc) - 2:
                ok |= self._take_temp(n, k) << n
                n += 1
        n = len(mdegc) - 2
        for k in self._fet_sensor:
            ok |= self._take_temp(n, k) << n
        ok |= self._take_temp(n + 1, 0) << n + 1
        self._temps_ok = ok
        self._full = True
        self._full_ms = now

    def _take_temp(self, n, k):
        code = self.link.word(self._temps, 2 * k)
        self._mdegc[n] = code * 100 - _ZERO_MDEGC
        return 1 if _COLD <= code <= _HOT else 0

    def _show_state(self, f, alarm, status):
        link = self.link
        b = self._safety.b
        shift = link.shift
        alerts = b[3 << shift] | b[5 << shift] << 8 | b[7 << shift] << 16
        if status & _PF:
            alerts |= ALERT_PF
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
        if not fets & (_ON_DSG | _ON_PDSG) and b[0] & _LD_ON and self._ld_cv >= _LOAD_GONE_CV:
            flags |= F.LOAD_GONE
        f[F.FLAGS] |= flags

    def _show_readings(self, frame, now):
        f = frame.v
        # All of a set was measured, and the chip measures on.
        if not self._scanned or ticks_diff(now, self._scan_ms) > _STALE_MS or not self._full:
            return
        uv = self._uv
        n = len(uv) - 2
        for k in range(n):
            f[F.CELL0 + k] = uv[k]
        f[F.PACK_UV] = uv[n]
        f[F.OUT_UV] = uv[n + 1]
        code = self._code - 65536 if self._code > 32767 else self._code
        f[F.CURRENT_UA] = code * self.pack.ua_num // self.pack.ua_den
        flags = F.VOLT_OK | F.CURRENT_OK | F.OUT_OK
        if ticks_diff(now, self._full_ms) <= _FULL_STALE_MS:
            mdegc = self._mdegc
            ok = self._temps_ok
            temps = len(mdegc) - 2
            for k in range(temps):
                f[frame.temp0 + k] = mdegc[k]
            flags |= (ok & (1 << temps) - 1) * F.TEMP_OK
            if ok >> temps & 1:
                f[F.FET_MDEGC] = mdegc[temps]
                flags |= F.FET_TEMP_OK
            if ok >> temps + 1 & 1:
                f[F.BOARD_MDEGC] = mdegc[temps + 1]
                flags |= F.BOARD_TEMP_OK
        f[F.FLAGS] |= flags

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
            f[F.FLAGS] |= F.CHARGE_OK | F.CHARGE_OWED if self._owed else F.CHARGE_OK
            passed_s = (seconds - self._seconds) & 0xFFFF
            self._time_ms = (self._time_ms + passed_s * 1000) & TICKS_MAX
        self._charge = now
        self._seconds = seconds
        self._based = True
        f[F.FE_TIME_MS] = self._time_ms
        f[F.FLAGS] |= F.FE_TIME_OK
