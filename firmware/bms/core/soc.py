"""State of charge: counted from the chip's accumulator, corrected by a filter and by anchors.

Counting works in whole ppm of the capacity and carries the remainder, so nothing is lost to
rounding however small the step. About once a second the filter takes in what was counted and read
since, a slice of its work a tick; then each cell has its turn. A rest and a full charge are
anchors; with every gate open the current read is the sensor's offset; from rest to rest the
capacity is learned. SoC is the pack's: empty with its weakest cell, full with its fullest.

A start takes the saved bound for two standard deviations; the one published is wider (`bound.py`),
meant to hold 95 times of 100. It is no limit: nothing that protects rests on it.

Slack only, as filter, bound, scale, spread, capacity and celltable are: on their way numbers may
have more than 31 bits; every word that stays from tick to tick in an array has 31.
"""

from array import array

from bms.compat import const
from bms.core import bound as B
from bms.core import frame as F
from bms.core.capacity import RATIO_PPM, Capacity
from bms.core.celltable import CellTable
from bms.core.filter import Filter
from bms.core.fixed import clamp, ticks_diff
from bms.core.plausible import (
    CELL_MAX_UV,
    CELL_MIN_UV,
    CHARGE_UA,
    DT_MS,
    OFFSET_UA,
    TEMP_MAX_MDEGC,
    TEMP_MIN_MDEGC,
    TRUST,
)
from bms.core.spread import Spread

FIELDS = (
    "soc_ppm",
    "bound_ppm",
    "rest_ms",  # how long the pack has rested, restarted after each look
    "started",
    "charge_rest_uas",  # charge not yet worth 1 ppm
    "corrections",  # anchors so far: rests and full charges
    "mean_ppm",  # of the cells
    "doubt_ppm",  # charge not seen that the chip may still have counted
    "full_ms",  # for how long the charge has tapered off at the end voltage
    "offset_ms",  # for how long every gate is open, restarted when the offset is learned
    "window_ms",  # what the filter's next step will work on: time,
    "window_uas",  # charge,
    "window_ticks",  # readings believed,
    "window_uv",  # sums of the cells' mean and
    "window_ua",  # the current, this one in 64 uA
    "second",
    "look",  # 1: anchors have their turn once filter and cells are done
    "last_ms",
)
SOC_PPM = const(0)
BOUND_PPM = const(1)
REST_MS = const(2)
STARTED = const(3)
_CHARGE_REST_UAS = const(4)
CORRECTIONS = const(5)
MEAN_PPM = const(6)
_DOUBT_PPM = const(7)
_FULL_MS = const(8)
_OFFSET_MS = const(9)
_WINDOW_MS = const(10)
_WINDOW_UAS = const(11)
_WINDOW_TICKS = const(12)
_WINDOW_UV = const(13)
_WINDOW_UA = const(14)
_SECOND = const(15)
_LOOK = const(16)
_LAST_MS = const(17)

FULL_PPM = const(1000000)
_MOVED_UAS = const(900000000)  # a Frame never moves more; the driver hands on the rest later
_LUMP_MS = const(500)  # a BQ76952 hands its charge on in lumps of a quarter of a second or two
_REST_AGAIN_MS = const(60000)  # a rest that goes on is looked at again after a minute
_REST_MAX_MS = const(100000000)
_ELAPSED_MAX_MS = const(1000000)
_STEP_MS = const(1000)
_SLICE_MS = const(60)  # a slice for every so much of a tick
_SLICES_MAX = const(4)
_TICKS_MAX = const(100)
_MOST_UV = const(10000000)  # what one reading may weigh in a sum
_MOST_UA = const(500000000)
_LEAST_SD_PPM = const(3000)  # no look at a table knows better
_FULL_AFTER_MS = const(30000)
_FULL_SD_PPM = const(10000)


class Soc:
    """Estimate of one pack. `v` holds `FIELDS`; `filter`, `spread`, `capacity` have their own."""

    def __init__(self, pack):
        self.pack = pack
        self.v = array("i", [0] * len(FIELDS))
        self.v[BOUND_PPM] = FULL_PPM
        self.cell = CellTable(pack)
        self.filter = Filter(pack, self.cell)
        self.spread = Spread(pack, self.cell)
        self.capacity = Capacity(pack)
        self.uas_per_ppm = pack.uas_per_ppm
        # The most that a second can hide.
        most_ma = min(max(pack.discharge_max_ma, pack.charge_max_ma), 500000)
        self.unseen_ppm_s = min(most_ma * 1000 // pack.uas_per_ppm + 1, FULL_PPM)

    def low_ppm(self):
        """Return SoC of the weakest cell."""
        return clamp(self.v[MEAN_PPM] + self.spread.low_ppm, 0, FULL_PPM)

    def high_ppm(self):
        """Return SoC of the fullest cell."""
        return clamp(self.v[MEAN_PPM] + self.spread.high_ppm, 0, FULL_PPM)

    def step(self, frame, sig):
        """Take in one Frame and its signals (`Plausible.v`)."""
        v = self.v
        f = frame.v
        trust = sig[TRUST]
        volts = trust >> CELL_MIN_UV & 1
        seen = volts and trust >> CHARGE_UA & 1
        # The rules' time stops at 1 s a tick; charge does not.
        elapsed_ms = clamp(ticks_diff(f[F.T_MS], v[_LAST_MS]), sig[DT_MS], _ELAPSED_MAX_MS)
        v[_LAST_MS] = f[F.T_MS]
        if not v[STARTED]:
            if seen and trust >> TEMP_MIN_MDEGC & 1:
                self._start(f, sig)
            return
        self._count(f, sig, elapsed_ms)
        uv = self._mean_uv(f) if volts else 0
        if seen and v[_WINDOW_TICKS] < _TICKS_MAX:
            v[_WINDOW_TICKS] += 1
            v[_WINDOW_UV] += uv
            v[_WINDOW_UA] += clamp(sig[CHARGE_UA], -_MOST_UA, _MOST_UA) >> 6
        self._time(f, sig, seen, elapsed_ms)
        # With every gate open ticks are long: then more of them, for a step a second as well.
        for _ in range(min(1 + sig[DT_MS] // _SLICE_MS, _SLICES_MAX)):
            self._slice(f, sig, uv, seen)
        self._publish()

    def _publish(self):
        # The pack's, of the cells' mean and what is known of each.
        v = self.v
        spread = self.spread
        v[SOC_PPM] = clamp(v[MEAN_PPM] + spread.off_ppm, 0, FULL_PPM)
        bound = self.filter.bound.v[B.BOUND_PPM] + 2 * spread.low_sd_ppm + v[_DOUBT_PPM]
        v[BOUND_PPM] = min(bound * FULL_PPM // spread.whole_ppm + spread.unlike_ppm, FULL_PPM)

    def _slice(self, f, sig, mean_uv, seen):
        # mean_uv: of the cells, 0 where they are not believed.
        v = self.v
        if self.filter.busy():
            if self.filter.slice():
                self._move(self.filter.move_uas)
                self.capacity.count(self.filter.drift_uas)
                self.capacity.drift(self.filter.offset_uas())
                self.spread.begin(v[MEAN_PPM])
                v[_LOOK] = 1
        elif self.spread.busy():
            if mean_uv:
                self._one_cell(f, mean_uv)
                if not self.spread.busy():
                    self.spread.settle(v[MEAN_PPM])
        elif v[_LOOK]:
            v[_LOOK] = 0
            self._anchors(sig, seen)
        elif v[_WINDOW_MS] >= _STEP_MS:
            self._begin(sig)

    def _mean_uv(self, f):
        total = 0
        for k in range(F.CELL0, F.CELL0 + self.pack.cells):
            total += f[k]
        return clamp(total // self.pack.cells, 0, _MOST_UV)

    def _start(self, f, sig):
        v = self.v
        v[STARTED] = 1
        cell = self.cell
        mdegc = self._mdegc(sig)
        ua = clamp(sig[CHARGE_UA], -_MOST_UA, _MOST_UA)
        saved = f[F.SAVED_SOC_PPM] >= 0
        uv = hidden_uv = 0
        if saved:
            bound = f[F.SAVED_BOUND_PPM]
            bound = bound if 0 <= bound < FULL_PPM else FULL_PPM
            found = clamp(f[F.SAVED_SOC_PPM], 0, FULL_PPM)
            sd = (bound + 1) >> 1
        else:
            # The first reading counts as rested. What a small load still hides is R0 times its
            # current, taken off, and polarisation, taken into the bound.
            cell.warm(mdegc)
            uv = self._mean_uv(f)
            found = cell.find_ppm(uv, ua)
            sd = 0
            for side in (0, -2, 2):  # R there, and at either end of the bound
                cell.resist(clamp(found + side * sd, 0, FULL_PPM))
                uohm = cell.r1_uohm + cell.r2_uohm
                hidden_uv = max(hidden_uv, abs(ua) * uohm // 1000000)
                sd = self._look(uv, ua, hidden_uv)
        v[MEAN_PPM] = found
        self.filter.start(mdegc, found, sd, ua, not saved)
        self.spread.start(found)
        if not saved:
            self.filter.told(self._reach(uv, ua, hidden_uv))
            self._cells(f, uv, ua)
        self.spread.settle(found)
        self._publish()

    def _cells(self, f, mean_uv, ua):
        # The lowest and the highest cell at rest, where they are apart by more than noise.
        cell = self.cell
        mean_ppm = self.v[MEAN_PPM]
        cell.resist(mean_ppm)
        noise_uv = (cell.residual_uv >> 2) + (cell.r0_uohm * abs(ua) // 1000000 >> 3)
        low_uv = high_uv = mean_uv
        for k in range(F.CELL0, F.CELL0 + self.pack.cells):
            low_uv = min(low_uv, f[k])
            high_uv = max(high_uv, f[k])
        low_ppm = cell.find_ppm(low_uv + noise_uv, ua) - mean_ppm
        high_ppm = cell.find_ppm(high_uv - noise_uv, ua) - mean_ppm
        self.spread.spans(f, F.CELL0, mean_uv, low_ppm, high_ppm)

    def _mdegc(self, sig):
        # The cells' mean, as near as the sensors tell; the last one known while they are lost.
        if sig[TRUST] >> TEMP_MIN_MDEGC & sig[TRUST] >> TEMP_MAX_MDEGC & 1:
            return (sig[TEMP_MIN_MDEGC] + sig[TEMP_MAX_MDEGC]) >> 1
        return self.filter.mdegc

    def _look(self, uv, ua, hidden_uv):
        # Standard deviation of the SoC that a rested voltage shows: honest on a flat curve too.
        error_uv = self.cell.ocv_error_uv + hidden_uv
        low = self.cell.find_ppm(uv - error_uv, ua)
        high = self.cell.find_ppm(uv + error_uv, ua)
        return max((high - low) >> 1, _LEAST_SD_PPM)

    def _reach(self, uv, ua, hidden_uv):
        # How far off that SoC may be, at two such errors: more than two standard deviations where
        # OCV bends.
        error_uv = 2 * self.cell.ocv_error_uv + hidden_uv
        found = self.cell.find_ppm(uv, ua)
        low = self.cell.find_ppm(uv - error_uv, ua)
        return max(found - low, self.cell.find_ppm(uv + error_uv, ua) - found)

    def _move(self, uas):
        v = self.v
        charge = v[_CHARGE_REST_UAS] + uas
        v[_CHARGE_REST_UAS] = charge % self.uas_per_ppm
        v[MEAN_PPM] = clamp(v[MEAN_PPM] + charge // self.uas_per_ppm, 0, FULL_PPM)

    def _count(self, f, sig, elapsed_ms):
        v = self.v
        v[_WINDOW_MS] = min(v[_WINDOW_MS] + elapsed_ms, _REST_MAX_MS)
        if f[F.FLAGS] & F.CHARGE_OK:
            uas = clamp(f[F.CHARGE_UAS], -_MOVED_UAS, _MOVED_UAS)
            self._move(uas)
            self.capacity.count(uas)
            v[_WINDOW_UAS] = clamp(v[_WINDOW_UAS] + uas, -_MOVED_UAS, _MOVED_UAS)
            if not f[F.FLAGS] & F.CHARGE_OWED:
                v[_DOUBT_PPM] = 0  # the chip counted on while nobody asked it
            return
        # SoC waits: the most that can have flowed goes into the bound.
        unseen = self.unseen_ppm_s * (elapsed_ms // 1000)
        unseen += self.unseen_ppm_s * (elapsed_ms % 1000) // 1000 + 1
        v[_DOUBT_PPM] = min(v[_DOUBT_PPM] + unseen, FULL_PPM)
        if sig[TRUST] >> CHARGE_UA & 1:
            # It answers but its count is gone: nobody will ever know.
            self.filter.doubt(v[_DOUBT_PPM])
            self.capacity.lost()
            v[_DOUBT_PPM] = 0

    def _begin(self, sig):
        # What was counted and read since the last step goes to the filter.
        v = self.v
        self.filter.begin(v[MEAN_PPM], v[_WINDOW_MS], v[_WINDOW_UAS], self._mdegc(sig))
        n = v[_WINDOW_TICKS]
        if n:
            self.filter.see(v[_WINDOW_UV] // n, (v[_WINDOW_UA] // n) << 6)
        v[_SECOND] = (v[_SECOND] + v[_WINDOW_MS] // 1000) & 0x3FFFFFFF
        v[_WINDOW_MS] = v[_WINDOW_UAS] = v[_WINDOW_TICKS] = v[_WINDOW_UV] = v[_WINDOW_UA] = 0

    def _one_cell(self, f, mean_uv):
        k = self.spread.next
        filter_ = self.filter
        self.spread.slice(
            clamp(f[F.CELL0 + k], 0, _MOST_UV),
            mean_uv,
            filter_.drop_uv,
            self.v[_SECOND],
        )

    def _time(self, f, sig, seen, dt):
        # How long the pack has rested, and been full. Both must be quiet for a rest: a sampled
        # current can miss what the accumulator saw. An offset that is known is no current.
        v = self.v
        pack = self.pack
        known_ua = self.filter.known_ua(pack.rest_ua >> 1)
        still_uas = (pack.rest_ua // 1000 + 1) * max(dt, _LUMP_MS)
        moved_uas = f[F.CHARGE_UAS] - known_ua // 1000 * dt
        quiet = f[F.FLAGS] & F.CHARGE_OK and -still_uas <= moved_uas <= still_uas
        if seen and quiet and abs(sig[CHARGE_UA] - known_ua) <= pack.rest_ua:
            v[REST_MS] = min(v[REST_MS] + dt, _REST_MAX_MS)
        else:
            v[REST_MS] = 0
        tapered = seen and 0 <= sig[CHARGE_UA] - known_ua <= pack.taper_ua
        if tapered and sig[CELL_MAX_UV] >= pack.full_uv:
            v[_FULL_MS] = min(v[_FULL_MS] + dt, _REST_MAX_MS)
        else:
            v[_FULL_MS] = 0
        # Long enough that no reading of the filter's last step is older than the open gates.
        v[_OFFSET_MS] = min(v[_OFFSET_MS] + dt, _REST_MAX_MS) if sig[OFFSET_UA] else 0

    def _anchors(self, sig, seen):
        v = self.v
        pack = self.pack
        if not seen or not self.filter.reads:
            return
        cold = sig[TEMP_MIN_MDEGC] < 0 or not sig[TRUST] >> TEMP_MIN_MDEGC & 1
        need_ms = pack.rest_cold_ms if cold else pack.rest_ms
        if v[REST_MS] >= need_ms:
            v[REST_MS] = need_ms - _REST_AGAIN_MS
            uv = self.filter.uv
            if self._anchor(self.cell.find_ppm(uv, 0), self._look(uv, 0, 0)):
                self.filter.told(self._reach(uv, 0, 0))
        elif v[_FULL_MS] >= _FULL_AFTER_MS:
            v[_FULL_MS] = 0
            self._anchor(clamp(FULL_PPM - self.spread.high_ppm, 0, FULL_PPM), _FULL_SD_PPM)
        elif pack.isolates and v[_OFFSET_MS] >= _REST_AGAIN_MS:
            v[_OFFSET_MS] = 0
            sd_ua = pack.offset_error_ua // 10 + 1
            self._moved_ppm(self.filter.offset(self.filter.ua, sd_ua))

    def _anchor(self, found_ppm, sd_ppm):
        # Returns whether it knew better.
        v = self.v
        if self.capacity.rest(found_ppm, sd_ppm):
            uas_per_ppm = max(self.pack.uas_per_ppm * self.capacity.v[RATIO_PPM] // FULL_PPM, 1)
            self.uas_per_ppm = self.filter.uas_per_ppm = uas_per_ppm
            v[_CHARGE_REST_UAS] %= uas_per_ppm
        if sd_ppm >= self.filter.sd_ppm():
            return False
        self._moved_ppm(self.filter.anchor(v[MEAN_PPM], found_ppm, sd_ppm))
        v[CORRECTIONS] = (v[CORRECTIONS] + 1) & 0xFFFF
        return True

    def _moved_ppm(self, ppm):
        self.v[MEAN_PPM] = clamp(self.v[MEAN_PPM] + ppm, 0, FULL_PPM)
