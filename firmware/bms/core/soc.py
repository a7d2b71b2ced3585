"""State of charge: counted from the chip's accumulator, started and corrected by rested OCV.

Counting works in whole ppm of the capacity and carries the remainder, so nothing is lost to
rounding however small the step. The bound says how far SoC may be off: what the anchor (start or
rest) left open, the gain and capacity error of the net charge since, the offset over the time
since, and charge that nobody saw. The filter that will correct under load takes the place of
`_rested`.
"""

from array import array

from bms.compat import const
from bms.core import frame as F
from bms.core.fixed import clamp, interp, ticks_diff
from bms.core.plausible import CELL_MIN_UV, CHARGE_UA, DT_MS, TEMP_MIN_MDEGC, TRUST

FIELDS = (
    "soc_ppm",
    "bound_ppm",
    "rest_ms",  # how long the pack has rested, restarted after each correction
    "started",
    "charge_rest_uas",  # charge not yet worth 1 ppm
    "corrections",  # rest corrections so far
    "anchor_ppm",  # the bound: as start or rest left it,
    "net_ppm",  # net charge since then, and the furthest it went,
    "reach_ppm",
    "drift_ppm",  # offset over time, and charge that nobody saw,
    "drift_rest_uas",  # of which not yet worth 1 ppm,
    "doubt_ppm",  # charge not seen that the chip may still have counted
    "last_ms",
)
SOC_PPM = const(0)
BOUND_PPM = const(1)
REST_MS = const(2)
STARTED = const(3)
_CHARGE_REST_UAS = const(4)
CORRECTIONS = const(5)
_ANCHOR_PPM = const(6)
_NET_PPM = const(7)
_REACH_PPM = const(8)
_DRIFT_PPM = const(9)
_DRIFT_REST_UAS = const(10)
_DOUBT_PPM = const(11)
_LAST_MS = const(12)

FULL_PPM = const(1000000)
_TABLE_PPM = const(2000)  # interpolation between the rows of an OCV table: 0.2 %
_MOVED_UAS = const(900000000)  # a Frame never moves more; the driver hands on the rest later
_LUMP_MS = const(500)  # a BQ76952 hands its charge on in lumps of a quarter of a second or two
_REST_AGAIN_MS = const(60000)  # a rest that goes on is looked at again after a minute
_REST_MAX_MS = const(100000000)
_ELAPSED_MAX_MS = const(1000000)
_START_MA = const(100000)
_START_UV = const(10000000)
_DROP = const(30000)  # factors up to here multiply within 31 bits


class Soc:
    """Estimate of one pack from its weakest cell. `v` holds `FIELDS`."""

    def __init__(self, pack):
        self.pack = pack
        self.v = array("i", [0] * len(FIELDS))
        self.v[BOUND_PPM] = FULL_PPM
        # Errors in proportion to net charge, and the most that a second can hide.
        self.share_ppm = pack.gain_error_ppm + pack.capacity_error_ppm
        most_ma = min(max(pack.discharge_max_ma, pack.charge_max_ma), 500000)
        self.unseen_ppm_s = min(most_ma * 1000 // pack.uas_per_ppm + 1, FULL_PPM)
        self.offset_ma = (pack.offset_error_ua + 999) // 1000
        self.low_ppm = 0
        self.high_ppm = 0

    def step(self, frame, sig):
        """Take in one Frame and its signals (`Plausible.v`)."""
        v = self.v
        f = frame.v
        seen = sig[TRUST] & 1 << CELL_MIN_UV and sig[TRUST] & 1 << CHARGE_UA
        # The rules' time stops at 1 s a tick; charge does not.
        elapsed_ms = clamp(ticks_diff(f[F.T_MS], v[_LAST_MS]), sig[DT_MS], _ELAPSED_MAX_MS)
        v[_LAST_MS] = f[F.T_MS]
        if not v[STARTED]:
            if seen and sig[TRUST] & 1 << TEMP_MIN_MDEGC:
                self._start(f, sig)
            return
        self._count(f, sig, elapsed_ms)
        self._rested(f, sig, seen)
        reach = (v[_REACH_PPM] + 999) // 1000 * self.share_ppm // 1000 + 1
        bound = v[_ANCHOR_PPM] + reach + v[_DRIFT_PPM] + v[_DOUBT_PPM]
        v[BOUND_PPM] = min(bound, FULL_PPM)

    def _start(self, f, sig):
        v = self.v
        v[STARTED] = 1
        if f[F.SAVED_SOC_PPM] >= 0:
            bound = f[F.SAVED_BOUND_PPM]
            bound = bound if 0 <= bound < FULL_PPM else FULL_PPM
            self._anchor(clamp(f[F.SAVED_SOC_PPM], 0, FULL_PPM), bound)
            return
        # Nothing saved: the first reading counts as rested. What a small load still hides is R0
        # times its current, taken off, and polarisation, taken into the bound.
        pack = self.pack
        ma = clamp(sig[CHARGE_UA] // 1000, -_START_MA, _START_MA)
        cell_uv = clamp(sig[CELL_MIN_UV], 0, _START_UV)
        temp = sig[TEMP_MIN_MDEGC]
        drop_uv = _drop_uv(ma, interp(pack.dcir_uohm, temp))
        hidden_uv = abs(_drop_uv(ma, interp(pack.polar_uohm, temp)))
        self._look_up(cell_uv - drop_uv, pack.ocv_error_uv + hidden_uv)
        self._anchor_between(self.low_ppm, self.high_ppm)

    def _anchor(self, soc_ppm, bound_ppm):
        v = self.v
        v[SOC_PPM] = soc_ppm
        v[_ANCHOR_PPM] = v[BOUND_PPM] = bound_ppm
        v[_NET_PPM] = v[_REACH_PPM] = v[_DRIFT_PPM] = v[_DOUBT_PPM] = 0

    def _anchor_between(self, low_ppm, high_ppm):
        self._anchor((low_ppm + high_ppm) >> 1, (high_ppm - low_ppm + 1) >> 1)

    def _look_up(self, ocv_uv, error_uv):
        # The interval of SoC that this voltage leaves open: honest on a flat curve too. Beyond an
        # end of the table the end's own slope counts.
        table = self.pack.ocv_uv_ppm
        n = len(table) >> 1
        ocv_uv = clamp(ocv_uv, table[0], table[n - 1])
        self.low_ppm = max(interp(table, ocv_uv - error_uv) - _TABLE_PPM, 0)
        self.high_ppm = min(interp(table, ocv_uv + error_uv) + _TABLE_PPM, FULL_PPM)

    def _count(self, f, sig, elapsed_ms):
        v = self.v
        pack = self.pack
        unseen = 0
        if f[F.FLAGS] & F.CHARGE_OK:
            charge = v[_CHARGE_REST_UAS] + clamp(f[F.CHARGE_UAS], -_MOVED_UAS, _MOVED_UAS)
            ppm = charge // pack.uas_per_ppm
            v[_CHARGE_REST_UAS] = charge % pack.uas_per_ppm
            v[SOC_PPM] = clamp(v[SOC_PPM] + ppm, 0, FULL_PPM)
            v[_NET_PPM] = clamp(v[_NET_PPM] + ppm, -FULL_PPM, FULL_PPM)
            v[_REACH_PPM] = max(v[_REACH_PPM], abs(v[_NET_PPM]))
            if not f[F.FLAGS] & F.CHARGE_OWED:
                v[_DOUBT_PPM] = 0  # the chip counted on while nobody asked it
        else:
            # SoC waits: the most that can have flowed goes into the bound.
            unseen = self.unseen_ppm_s * (elapsed_ms // 1000)
            unseen += self.unseen_ppm_s * (elapsed_ms % 1000) // 1000 + 1
            v[_DOUBT_PPM] = min(v[_DOUBT_PPM] + unseen, FULL_PPM)
            if sig[TRUST] & 1 << CHARGE_UA:
                # It answers but its count is gone: nobody will ever know.
                v[_DRIFT_PPM] = min(v[_DRIFT_PPM] + v[_DOUBT_PPM], FULL_PPM)
                v[_DOUBT_PPM] = 0
        drift = v[_DRIFT_REST_UAS] + self.offset_ma * elapsed_ms
        v[_DRIFT_PPM] = min(v[_DRIFT_PPM] + drift // pack.uas_per_ppm, FULL_PPM)
        v[_DRIFT_REST_UAS] = drift % pack.uas_per_ppm

    def _rested(self, f, sig, seen):
        v = self.v
        pack = self.pack
        # Both must be quiet: a sampled current can miss what the accumulator saw.
        still_uas = (pack.rest_ua // 1000 + 1) * max(sig[DT_MS], _LUMP_MS)
        moved = not f[F.FLAGS] & F.CHARGE_OK or not -still_uas <= f[F.CHARGE_UAS] <= still_uas
        if not seen or moved or abs(sig[CHARGE_UA]) > pack.rest_ua:
            v[REST_MS] = 0
            return
        v[REST_MS] = min(v[REST_MS] + sig[DT_MS], _REST_MAX_MS)
        cold = sig[TEMP_MIN_MDEGC] < 0 or not sig[TRUST] & 1 << TEMP_MIN_MDEGC
        need = pack.rest_cold_ms if cold else pack.rest_ms
        if v[REST_MS] < need:
            return
        v[REST_MS] = need - _REST_AGAIN_MS
        self._look_up(sig[CELL_MIN_UV], pack.ocv_error_uv)
        # Both intervals hold the truth, so what they share does; if they share nothing, one of
        # them was wrong, and the cell at rest is believed.
        low = max(self.low_ppm, v[SOC_PPM] - v[BOUND_PPM])
        high = min(self.high_ppm, v[SOC_PPM] + v[BOUND_PPM])
        if low > high:
            low = self.low_ppm
            high = self.high_ppm
        if (high - low + 1) >> 1 < v[BOUND_PPM]:
            self._anchor_between(low, high)
            v[CORRECTIONS] = (v[CORRECTIONS] + 1) & 0xFFFF


def _drop_uv(ma, uohm):
    # mA * uohm = nV; both halved in turn until the product fits 31 bits.
    shift = 0
    while abs(ma) > _DROP:
        ma >>= 1
        shift += 1
    while uohm > _DROP:
        uohm >>= 1
        shift += 1
    return ((ma * uohm) // 1000) << shift
