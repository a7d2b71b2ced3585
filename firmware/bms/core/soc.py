"""State of charge: counted from the chip's accumulator, started and corrected by rested OCV.

Counting works in whole ppm of the capacity and carries the remainder, so nothing is lost to
rounding however small the step. The bound says how far SoC may be off: it grows with the charge
moved (gain), with time (offset) and with charge that nobody saw, and shrinks only at rest.
The filter that will correct under load takes the place of `_rested`.
"""

from array import array

from bms.compat import const
from bms.core import frame as F
from bms.core.fixed import clamp, interp
from bms.core.plausible import CELL_MIN_UV, CHARGE_UA, DT_MS, TEMP_MIN_MDEGC, TRUST

FIELDS = (
    "soc_ppm",
    "bound_ppm",
    "rest_ms",  # how long the pack has rested, restarted after each correction
    "started",
    "charge_rest_uas",  # charge not yet worth 1 ppm
    "error_rest_uas",  # error not yet worth 1 ppm
    "corrections",  # rest corrections so far
)
SOC_PPM = const(0)
BOUND_PPM = const(1)
REST_MS = const(2)
STARTED = const(3)
_CHARGE_REST_UAS = const(4)
_ERROR_REST_UAS = const(5)
CORRECTIONS = const(6)

FULL_PPM = const(1000000)
_REST_AGAIN_MS = const(60000)  # a rest that goes on is looked at again after a minute
_REST_MAX_MS = const(100000000)
_TABLE_PPM = const(2000)  # interpolation between the rows of an OCV table: 0.2 %
_MOVED_UAS = const(1000000000)  # a Frame never moves more; the driver hands on the rest later
_GUESS_MA = const(500000)
_START_MA = const(100000)
_START_UV = const(10000000)
_DROP = const(30000)  # factors up to here multiply within 31 bits


class Soc:
    """Estimate of one pack from its weakest cell. `v` holds `FIELDS`."""

    def __init__(self, pack):
        self.pack = pack
        self.v = array("i", [0] * len(FIELDS))
        self.v[BOUND_PPM] = FULL_PPM
        self.low_ppm = 0
        self.high_ppm = 0

    def step(self, frame, sig):
        """Take in one Frame and its signals (`Plausible.v`)."""
        seen = sig[TRUST] & 1 << CELL_MIN_UV and sig[TRUST] & 1 << CHARGE_UA
        if not self.v[STARTED]:
            if seen and sig[TRUST] & 1 << TEMP_MIN_MDEGC:
                self._start(frame.v, sig)
            return
        self._count(frame.v, sig)
        self._rested(sig, seen)

    def _start(self, f, sig):
        v = self.v
        v[STARTED] = 1
        if f[F.SAVED_SOC_PPM] >= 0:
            v[SOC_PPM] = min(f[F.SAVED_SOC_PPM], FULL_PPM)
            v[BOUND_PPM] = clamp(f[F.SAVED_BOUND_PPM], 0, FULL_PPM)
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
        v[SOC_PPM] = (self.low_ppm + self.high_ppm) >> 1
        v[BOUND_PPM] = self._half()

    def _look_up(self, ocv_uv, error_uv):
        # The interval of SoC that this voltage leaves open: honest on a flat curve too.
        table = self.pack.ocv_uv_ppm
        self.low_ppm = interp(table, ocv_uv - error_uv)
        self.high_ppm = interp(table, ocv_uv + error_uv)

    def _half(self):
        return ((self.high_ppm - self.low_ppm) >> 1) + _TABLE_PPM

    def _count(self, f, sig):
        v = self.v
        pack = self.pack
        dt = sig[DT_MS]
        if f[F.FLAGS] & F.CHARGE_OK:
            moved = clamp(f[F.CHARGE_UAS], -_MOVED_UAS, _MOVED_UAS)
            error = abs(moved) // 1000 * (pack.gain_error_ppm // 100) // 10 + 1
            error += pack.offset_error_ua // 1000 * dt + 1
        else:
            # Nobody saw this charge. The last current is the best guess, the pack's most the
            # worst case.
            moved = clamp(sig[CHARGE_UA] // 1000, -_GUESS_MA, _GUESS_MA) * dt
            error = min(max(pack.discharge_max_ma, pack.charge_max_ma), _GUESS_MA) * dt
        charge = v[_CHARGE_REST_UAS] + moved
        v[SOC_PPM] = clamp(v[SOC_PPM] + charge // pack.uas_per_ppm, 0, FULL_PPM)
        v[_CHARGE_REST_UAS] = charge % pack.uas_per_ppm
        error += v[_ERROR_REST_UAS]
        v[BOUND_PPM] = min(v[BOUND_PPM] + error // pack.uas_per_ppm, FULL_PPM)
        v[_ERROR_REST_UAS] = error % pack.uas_per_ppm

    def _rested(self, sig, seen):
        v = self.v
        pack = self.pack
        if not seen or abs(sig[CHARGE_UA]) > pack.rest_ua:
            v[REST_MS] = 0
            return
        v[REST_MS] = min(v[REST_MS] + sig[DT_MS], _REST_MAX_MS)
        cold = sig[TEMP_MIN_MDEGC] < 0 or not sig[TRUST] & 1 << TEMP_MIN_MDEGC
        need = pack.rest_cold_ms if cold else pack.rest_ms
        if v[REST_MS] < need:
            return
        v[REST_MS] = need - _REST_AGAIN_MS
        self._look_up(sig[CELL_MIN_UV], pack.ocv_error_uv)
        if self._half() < v[BOUND_PPM]:
            v[SOC_PPM] = (self.low_ppm + self.high_ppm) >> 1
            v[BOUND_PPM] = self._half()
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
