"""BQ76952: what a scan brings - cells, stack, terminals, temperatures - whole or not at all.

A scan of all cells ends every 63 ms and latches ADSCAN; stack, terminals and temperatures take
turns over three scans and are complete with FULLSCAN (TRM SLUUBY2B 4.1.1 and its chapter on the
ALERT pin).
"""

from bms.compat import const
from bms.core import frame as F
from bms.core.fixed import ticks_diff
from bms.drivers.bq76952_link import Block

_CELL_1 = const(0x14)  # 16 cells, Stack, PACK, LD, CC2 Current
_CC2 = const(0x3A)
_ALARM_STATUS = const(0x62)
_INT_TEMP = const(0x68)  # then the pins CFETOFF to DDSG
_PIN_CONFIGS = const(0x92FA)  # data memory: CFETOFF to DDSG, one byte each
_VCELL_MODE = const(0x9304)

_ADSCAN = const(0x0002)
FULLSCAN = const(0x0080)

STALE_MS = const(250)  # four scans: for so long a converter that stands still is believed
_FULL_STALE_MS = const(1000)
_CV_UV = const(10000)  # user unit of voltage: `DA Configuration` as the pack writes it
_COLD = const(2281)  # 0.1 K, -45 degC: below, and above 150 degC, a sensor is open or shorted
_HOT = const(4231)
_ZERO_MDEGC = const(273150)
_PIN_KIND = const(0x0F)  # of a pin's configuration: a thermistor,
_PIN_CELL = const(0x07)  # of a cell
_PIN_FET = const(0x0F)  # of the FETs


class Scan:
    """Reads sets from a link and fills them into Frames."""

    def __init__(self, link, setup, pack):
        self.link = link
        self.pack = pack
        address = link.address
        self._alarm = Block(address, _ALARM_STATUS, 2)
        self._set = Block(address, _CELL_1, 40)
        self._cc2 = Block(address, _CC2, 2)
        self._temps = Block(address, _INT_TEMP, 20)
        mask = setup.value(_VCELL_MODE, 0) | setup.value(_VCELL_MODE + 1, 0) << 8
        self.inputs = bytes([k for k in range(16) if mask >> k & 1])
        kinds = [setup.value(_PIN_CONFIGS + k, 0) & _PIN_KIND for k in range(9)]
        # Places among the temperatures: of cells, in their order, then of the FETs, then the die.
        cells = [k + 1 for k in range(9) if kinds[k] == _PIN_CELL][: pack.temps]
        fets = [k + 1 for k in range(9) if kinds[k] == _PIN_FET][:1]
        self._sensors = bytes(cells + fets + [0])
        self._cell_sensors = len(cells)
        self._fet_sensors = len(fets)
        self.begin()

    def begin(self):
        """Forget what another life of the chip has shown."""
        self._set_new = self._temps_new = False  # read, and not yet in a Frame
        self._scanned = self._full = False
        self._scan_ms = self._full_ms = 0
        self._temps_ok = 0
        self._code = 0
        self.ld_cv = 0

    def look(self):
        """Read what is new, and the current in any case; return the alarms that were latched."""
        link = self.link
        link.read(self._alarm)
        alarm = link.word(self._alarm, 0)
        if alarm:
            link.put_word(_ALARM_STATUS, alarm)  # only what was seen is cleared
        if not alarm & _ADSCAN:
            link.read(self._cc2)
            self._code = link.word(self._cc2, 0)
            return alarm
        self._set_new = False
        for _ in range(2):
            link.read(self._set)
            link.read(self._alarm)
            again = link.word(self._alarm, 0) & (_ADSCAN | FULLSCAN)
            if not again & _ADSCAN:
                self._set_new = True
                break
            # A scan ended meanwhile, the set is of two: once more, the next is 60 ms away.
            link.put_word(_ALARM_STATUS, again)
            alarm |= again
        self._code = link.word(self._set, _CC2 - _CELL_1)
        if alarm & FULLSCAN:
            self._temps_new = False
            link.read(self._temps)
            self._temps_new = True
        return alarm

    def show(self, frame, now):
        """Fill a Frame, in which the last set still stands; return whether there are readings.

        There are when all of a set was measured, and while the chip measures on.
        """
        f = frame.v
        if self._set_new:
            self._set_new = False
            self._show_set(f)
            self._scanned = True
            self._scan_ms = now
        if self._temps_new:
            self._temps_new = False
            self._show_temps(frame)
            self._full = True
            self._full_ms = now
        if not self._scanned or not self._full or ticks_diff(now, self._scan_ms) > STALE_MS:
            return False
        code = self._code - 65536 if self._code > 32767 else self._code
        f[F.CURRENT_UA] = code * self.pack.ua_num // self.pack.ua_den
        flags = F.VOLT_OK | F.CURRENT_OK | F.OUT_OK
        if ticks_diff(now, self._full_ms) <= _FULL_STALE_MS:
            flags |= self._temps_ok
        f[F.FLAGS] |= flags
        return True

    def _show_set(self, f):
        b = self._set.b
        shift = self.link.shift
        step = 1 << shift
        at = F.CELL0
        for k in self.inputs:
            low = k << shift + 1
            mv = b[low] | b[low + step] << 8
            f[at] = (mv - 65536 if mv > 32767 else mv) * 1000
            at += 1
        link = self.link
        f[F.PACK_UV] = link.word(self._set, 32) * _CV_UV
        f[F.OUT_UV] = link.word(self._set, 34) * _CV_UV
        self.ld_cv = link.word(self._set, 36)

    def _show_temps(self, frame):
        f = frame.v
        n = self._cell_sensors
        ok = 0
        for k in range(n):
            ok |= self._temp(f, frame.temp0 + k, k) * (F.TEMP_OK << k)
        if self._fet_sensors:
            ok |= self._temp(f, F.FET_MDEGC, n) * F.FET_TEMP_OK
            n += 1
        self._temps_ok = ok | self._temp(f, F.BOARD_MDEGC, n) * F.BOARD_TEMP_OK

    def _temp(self, f, at, sensor):
        code = self.link.word(self._temps, 2 * self._sensors[sensor])
        f[at] = code * 100 - _ZERO_MDEGC
        return 1 if _COLD <= code <= _HOT else 0
