"""The filter that corrects SoC under load: an extended Kalman filter in integers, a slice a tick.

States: SoC (ppm), slow polarisation u2 (uV), current offset b (uA); the fast polarisation u1 runs
along without a covariance. The measurement is the mean cell voltage of about a second,

    V = OCV(z) + s R0(z) (I - b) + u1 + u2 + h M(z),    H = [OCV' + s R0' (I - b), 1, -s R0],

with the full Jacobian in z (Plett, Battery Management Systems vol. 2, ch. 3). What a model gets
wrong lasts, so its noise is taken far wider than its residual, and more so the longer the filter
has run (`_MULTIPLE`), wider with current (`_DROP_SHARE`), with the slope (`_TABLE_PPM`), and
widest where the reading could say no more about SoC than OCV's own error allows (`_gate`): on
the plateau of LFP that leaves the counting alone.

It lasts for a stretch of SoC rather than for a time: what readings tell goes with the charge that
flowed between them. Slower than 1 C more of them count as one (`_per_one`), or a discharge at
C/20 would have read the same errors into SoC 72,000 times.

The error of a rested OCV is no noise: the same voltage read again tells nothing new. After a SoC
that was read at rest readings count for less until OCV has moved by `_MOVES` of its own errors, or
a capacity of charge has flowed.

Covariance in natural units (ppm, uV, uA) with 8 fractional bits, whole, not factored: the floors
of one step take a few units from an entry and process noise adds more than that to the diagonal,
so what is stored stays above the exact matrix, and positive.

Slack only: products need more than 31 bits. Covariance and offset live in `p` and `bias` between
the slices of a step, and at its end as pairs of words in `v`: 30 bits, and what is above them.
"""

from array import array

from bms.compat import const
from bms.core.bound import SD_PPM, Bound, root
from bms.core.fixed import clamp
from bms.core.scale import SCALE, Scale

FIELDS = (
    "slice",  # of the step under way, 0 for none
    "u1",  # polarisation, uV with 8 fractional bits
    "u2",
    "branch",  # -1 discharge .. 1 charge branch of the hysteresis, 24 fractional bits
    "age_ms",  # since the start, up to the end of the annealing
    "told",  # what is left of a reading at rest: 1 .. 0, 24 fractional bits
    "rate",  # charge moved, mean of 20 min: 1 C is 4096000
    "steps",
    "bias_high",  # what is above 30 bits
    "bias_low",
    "p_zz_high",
    "p_zz_low",
    "p_zu_high",
    "p_zu_low",
    "p_zb_high",
    "p_zb_low",
    "p_uu_high",
    "p_uu_low",
    "p_ub_high",
    "p_ub_low",
    "p_bb_high",
    "p_bb_low",
)
_SLICE = const(0)
_U1 = const(1)
_U2 = const(2)
_BRANCH = const(3)
_AGE_MS = const(4)
_TOLD = const(5)
_RATE = const(6)
STEPS = const(7)
_WORDS = const(8)
_LOW = const(0x3FFFFFFF)
_SPREAD = const(2)  # the slice after which a step without readings is done

# Tuned on LG HG2 Mixed1 and Mixed2, each with the parameters of the other: docs/soc.md.
_MULTIPLE = const(832)  # noise in residuals at the start, 8 fractional bits: 3.25
_MULTIPLE_RISE = const(1216)  # to 8 at the end of the annealing
_ANNEAL_MS = const(6000000)
_DROP_SHARE = const(563)  # of the drop over R0: 0.55, 10 fractional bits
_TABLE_PPM = const(3000)  # how far the table may lie beside the cell's own SoC
_FAR = const(9)  # beyond three standard deviations an innovation moves no more (Huber, 1964)
_MOST_UV = const(4000000)  # an innovation beyond is none of a cell's
_VAR_MAX = 256000000000000  # 100 % squared, 8 fractional bits
_FLOOR_UV2 = const(4000000)  # 2 mV of the front end
_GATE_SHARE = const(461)  # of OCV's error: 0.45, 10 fractional bits
# Two errors more on the branch of charge, where the cell file has no hysteresis: tables are made
# from loads, and LG HG2 charged at C/15 lies 15 to 45 mV above them.
_CHARGE_MORE = const(2)
_GATE_MAX = const(256000000)
_MOVES = const(8)
_ALL_TOLD = const(16777216)
_DRIFT_SHARE = const(461)  # polarisation wanders by 0.45 residuals
# Found on slow tests and pulses of all three cells, and held against Mixed1 and Mixed2.
_RATE_MS = const(1200000)
_RATE_FULL = const(4096000)  # 1 C: from here on readings count in full
_RATE_LEAST = const(40960)  # a hundredth of that, and of what they count
_RATE_MOST = const(409600000)
_BRANCH_ONE = const(16777216)
_BRANCH_SHARE = const(30)  # a thirtieth of the capacity turns the hysteresis round


class Filter:
    """State of one pack. `v` holds `FIELDS`; `scale` and `bound` have their own."""

    def __init__(self, pack, cell):
        self.pack = pack
        self.cell = cell
        self.scale = Scale()
        self.bound = Bound()
        self.v = array("i", [0] * len(FIELDS))
        self.bias = 0  # uA with 16 fractional bits
        self.p = [0, 0, 0, 0, 0, 0]
        self.uas_per_ppm = pack.uas_per_ppm  # as learned
        self.move_uas = 0  # what the last step moves SoC by
        self.drift_uas = 0  # of that, the offset's part
        self._slices = (
            self._predict,
            self._spread,
            self._read,
            self._gate,
            self._weigh,
            self._gain,
            self._apply,
            self._shrink,
            self._learn,
            self._publish,
        )
        # What one step hands from slice to slice.
        self.moved = 0  # charge either way, ppm with 16 fractional bits
        self.z_ppm = self.dt_ms = self.charge_uas = self.ua = self.uv = self.mdegc = 0
        self.ib_ua = self.a2 = self.f_ub = self.drop_uv = self.r0_uv = self.y_uv = 0
        self.h_z = self.h_b = self.noise = self.total = 0
        self.pz = self.pu = self.pb = self.kz = self.ku = self.kb = 0
        self.slope = 1
        self.reads = False

    def start(self, mdegc, z_ppm, sd_ppm, ua, rested):
        """Begin anew from a SoC of this standard deviation (ppm); ua: the current now."""
        cell = self.cell
        cell.warm(mdegc)
        cell.resist(z_ppm)
        # What flowed before is known only where the cell has rested. A third of the hourly
        # current is what a start in the middle of use may have behind it.
        before_ua = abs(ua) if rested else self.uas_per_ppm * 100
        drop_uv = min(cell.r2_uohm * before_ua // 1000000, _MOST_UV)
        offset_ua = self.pack.offset_error_ua * 2 // 5
        self.p = [sd_ppm * sd_ppm << 8, 0, 0, (drop_uv * drop_uv + 1000000) << 8, 0,
                  offset_ua * offset_ua << 8]  # fmt: skip
        self.bias = 0
        self.mdegc = mdegc
        v = self.v
        v[_SLICE] = v[_U1] = v[_U2] = v[_BRANCH] = v[_AGE_MS] = v[_TOLD] = 0
        v[_RATE] = _RATE_FULL
        self.slope = max(cell.ocv(z_ppm)[1], 1)
        self.bound.start(sd_ppm, rested, cell.residual_uv)
        self._write()

    def told(self, ppm):
        """SoC was read off a rested cell just now, right within ppm: what readings show is the
        same until the cell has moved."""
        self.v[_TOLD] = _ALL_TOLD
        self.bound.told(ppm)

    def busy(self):
        """Return whether a step is under way."""
        return self.v[_SLICE] != 0

    def begin(self, z_ppm, dt_ms, charge_uas, mdegc):
        """Latch what one step is to work on: SoC now, time and charge since the last step."""
        self.z_ppm = z_ppm
        self.dt_ms = dt_ms
        self.charge_uas = charge_uas
        self.moved = (abs(charge_uas) << 16) // self.uas_per_ppm
        self.mdegc = mdegc
        self.reads = False
        self.v[_SLICE] = 1

    def see(self, uv, ua):
        """Latch mean cell voltage and current of that time: without them a step only predicts."""
        self.uv = uv
        self.ua = ua
        self.reads = True

    def slice(self):
        """Do the next part of a step; returns True with the last one."""
        v = self.v
        at = v[_SLICE]
        self._slices[at - 1]()
        last = len(self._slices)
        if at == _SPREAD and not self.reads:
            at = last - 1  # nothing to learn: on to the bound
        v[_SLICE] = 0 if at == last else at + 1
        return at == last

    def doubt(self, ppm):
        """SoC may be off by this much more: charge that nobody saw."""
        self.p[0] += ppm * ppm * 71  # ppm counts as 1.9 standard deviations
        self._floor()
        self.v[_AGE_MS] = 0
        self._forget(ppm << 16)  # the cell has moved, by as much as that
        self.bound.doubt(ppm)

    def anchor(self, z_ppm, found_ppm, sd_ppm):
        """Take in a SoC found otherwise (rest, full) at once. Returns the correction in ppm."""
        p = self.p
        y = found_ppm - z_ppm
        noise = sd_ppm * sd_ppm << 8
        # Further off than both allow: one of them was wrong, and the cell at rest is believed.
        if y * y << 8 > 9 * (p[0] + noise):
            p[0] = y * y << 8
        total = p[0] + noise
        move = p[0] * y // total
        self.v[_U2] = _word(self.v[_U2] + (p[1] * y << 8) // total)
        self.bias = self._held(self.bias + (p[2] * y << 16) // total)
        self._taken(p[0], p[1], p[2], total)
        self.bound.anchored()
        return move

    def offset(self, ua, sd_ua):
        """Take in the current read while none can flow. Returns the correction of SoC in ppm."""
        p = self.p
        y = (ua << 16) - self.bias
        total = p[5] + (sd_ua * sd_ua << 8)
        move = (p[2] * y >> 16) // total
        self.v[_U2] = _word(self.v[_U2] + (p[4] * y >> 8) // total)
        self.bias = self._held(self.bias + p[5] * y // total)
        self._taken(p[2], p[4], p[5], total)
        return move

    def known_ua(self, sd_ua):
        """Return the offset where it is known this well, else 0."""
        return self.bias >> 16 if self.p[5] <= sd_ua * sd_ua << 8 else 0

    def offset_uas(self):
        """Return what the offset may have moved in the last step, one standard deviation."""
        return root(self.p[5] >> 8, self.pack.offset_error_ua) * self.dt_ms // 1000

    def _taken(self, z, u, b, total):
        # P less what a reading with this P H' and variance has told.
        p = self.p
        p[0] -= z * z // total
        p[1] -= z * u // total
        p[2] -= z * b // total
        p[3] -= u * u // total
        p[4] -= u * b // total
        p[5] -= b * b // total
        self._floor()
        self._write()

    def _held(self, bias):
        # Beyond twice the stated offset it is the model that is wrong.
        most = self.pack.offset_error_ua << 17
        return clamp(bias, -most, most)

    def _lagged(self, u, keep, uohm):
        # u after a step, uV with 8 fractional bits; keep: its share, 16 fractional bits.
        drop = (uohm * self.ib_ua * (self.scale.v[SCALE] >> 8) >> 8) // 1000000
        return _word((keep * u + (65536 - keep) * drop) >> 16)

    def _predict(self):
        v = self.v
        pack = self.pack
        cell = self.cell
        dt = self.dt_ms
        cell.warm(self.mdegc)
        cell.resist(self.z_ppm)
        self.ib_ua = self.charge_uas * 1000 // dt - (self.bias >> 16)
        self.move_uas = self.drift_uas = -self.bias * dt // 65536000
        # exp(-dt / tau) as (2 tau - dt) / (2 tau + dt); a step longer than that forgets all.
        a1 = max(((2 * pack.tau1_ms - dt) << 16) // (2 * pack.tau1_ms + dt), 0)
        self.a2 = a2 = max(((2 * pack.tau2_ms - dt) << 16) // (2 * pack.tau2_ms + dt), 0)
        before = v[_U1] + v[_U2]
        v[_U1] = self._lagged(v[_U1], a1, cell.r1_uohm)
        v[_U2] = self._lagged(v[_U2], a2, cell.r2_uohm)
        # Readings are means of the time between: so is what they are held against.
        self.drop_uv = (before + v[_U1] + v[_U2]) >> 9
        # uV per uA, 30 fractional bits
        r2 = cell.r2_uohm * (self.scale.v[SCALE] >> 8) >> 16
        self.f_ub = -(r2 * (65536 - a2) << 14) // 1000000
        moved = self.moved
        turned = (moved * _BRANCH_SHARE << 8) // 1000000
        end = _BRANCH_ONE if self.ib_ua > 0 else -_BRANCH_ONE
        v[_BRANCH] += (end - v[_BRANCH]) * min(turned, _BRANCH_ONE) >> 24
        v[_AGE_MS] = min(v[_AGE_MS] + dt, _ANNEAL_MS)
        rate = min((moved * 3600 >> 4) // dt, _RATE_MOST)
        v[_RATE] += (rate - v[_RATE]) * min(dt, _RATE_MS) // _RATE_MS
        self.bound.moved(moved >> 8)
        if v[_TOLD]:
            self._forget(moved)

    def _forget(self, moved):
        # So much charge has flowed since the reading at rest, ppm with 16 fractional bits.
        errors_uv = _MOVES * max(self.cell.ocv_error_uv, 1)
        share = (self.slope << 16) // errors_uv + (_ALL_TOLD << 8) // 1000000  # a ppm
        self.v[_TOLD] = max(self.v[_TOLD] - (moved * share >> 24), 0)

    def _spread(self):
        # P = F P F' + Q, F = [[1, 0, f_zb], [0, a2, f_ub], [0, 0, 1]]
        pack = self.pack
        dt = self.dt_ms
        zz, zu, zb, uu, ub, bb = self.p
        f = -(dt << 40) // (1000 * self.uas_per_ppm)  # ppm per uA, 40 fractional bits
        g = self.f_ub
        a = self.a2
        zb_new = zb + (f * bb >> 40)
        zu_new = zu + (f * ub >> 40)
        ub_new = (a * ub >> 16) + (g * bb >> 30)
        zz += f * (zb + zb_new) >> 40
        uu = (a * ((a * uu >> 16) + (g * ub >> 30)) >> 16) + (g * ub_new >> 30)
        zu = (a * zu_new >> 16) + (g * zb_new >> 30)
        # Process noise: gain and capacity error as if anew every tenth of the capacity.
        share = (pack.gain_error_ppm + pack.capacity_error_ppm) >> 1
        zz += share * share * (self.moved >> 8) // 10000000 + dt + 8
        wander_uv = self.cell.residual_uv * _DRIFT_SHARE >> 10
        uu += (wander_uv * wander_uv * (65536 - (a * a >> 16)) >> 8) + 8
        bb += pack.offset_error_ua * pack.offset_error_ua * dt // 9765625000 + 8
        self.p = [zz, zu, zb_new, uu, ub_new, bb]
        self._floor()

    def _read(self):
        cell = self.cell
        scale = self.scale.v[SCALE] >> 8
        ib = self.ua - (self.bias >> 16)
        ocv_uv, slope = cell.ocv(self.z_ppm)
        self.slope = max(slope, 1)
        self.r0_uv = (cell.r0_uohm * ib * scale >> 16) // 1000000
        self.h_z = slope + (cell.r0_slope * ib * scale >> 16) // 1000000
        self.h_b = -(cell.r0_uohm * scale << 8) // 1000000  # 24 fractional bits
        self.drop_uv += self.r0_uv
        branch_uv = cell.hysteresis_uv(self.z_ppm) * self.v[_BRANCH] >> 24
        self.y_uv = clamp(self.uv - ocv_uv - self.drop_uv - branch_uv, -_MOST_UV, _MOST_UV)

    def _gate(self):
        residual = self.cell.residual_uv
        table_uv = self.slope * _TABLE_PPM >> 16
        drop_uv = self.r0_uv * _DROP_SHARE >> 10
        multiple = _MULTIPLE + _MULTIPLE_RISE * (self.v[_AGE_MS] // 1000) // (_ANNEAL_MS // 1000)
        noise = multiple * multiple * (residual * residual + table_uv * table_uv) >> 16
        noise += drop_uv * drop_uv
        # q: OCV's error against what is known of OCV already, squared
        error_uv = self.cell.ocv_error_uv * _GATE_SHARE >> 10
        if self.v[_BRANCH] > 0 and not self.pack.cell_hysteresis_uv:
            error_uv += error_uv * _CHARGE_MORE * self.v[_BRANCH] >> 24
        known = self.h_z * self.h_z * self.p[0] >> 40
        q = (error_uv * error_uv << 8) // max(known, 1)
        n = self._per_one()
        wide = 256 + (q * q * n >> 16)
        if self.v[_TOLD]:
            new = (_ALL_TOLD << 8) // max(_ALL_TOLD - self.v[_TOLD], 1)
            wide = wide * new * new >> 16
        self.noise = (noise * min(wide * n >> 8, _GATE_MAX) >> 8) + _FLOOR_UV2

    def _per_one(self):
        # How many readings count as one, 8 fractional bits.
        return max((_RATE_FULL << 8) // max(self.v[_RATE], _RATE_LEAST), 256)

    def _weigh(self):
        # P H' and its variance
        zz, zu, zb, uu, ub, bb = self.p
        h, g = self.h_z, self.h_b
        self.pz = z = (zz * h >> 16) + zu + (zb * g >> 24)
        self.pu = u = (zu * h >> 16) + uu + (ub * g >> 24)
        self.pb = b = (zb * h >> 16) + ub + (bb * g >> 24)
        total = max((z * h >> 16) + u + (b * g >> 24), 0) + (self.noise << 8)
        self.total = max(total, (self.y_uv * self.y_uv << 8) // _FAR)

    def _gain(self):
        # 40 fractional bits
        total = self.total
        self.kz = (self.pz << 40) // total
        self.ku = (self.pu << 40) // total
        self.kb = (self.pb << 40) // total

    def _apply(self):
        y = self.y_uv
        self.move_uas += self.kz * y * self.uas_per_ppm >> 40
        self.v[_U2] = _word(self.v[_U2] + (self.ku * y >> 32))
        self.bias = self._held(self.bias + (self.kb * y >> 24))

    def _shrink(self):
        p = self.p
        p[0] -= self.kz * self.pz >> 40
        p[1] -= self.kz * self.pu >> 40
        p[2] -= self.kz * self.pb >> 40
        p[3] -= self.ku * self.pu >> 40
        p[4] -= self.ku * self.pb >> 40
        p[5] -= self.kb * self.pb >> 40
        self._floor()

    def _floor(self):
        p = self.p
        for k in (0, 3, 5):
            if p[k] < 256:
                p[k] = 256
        if p[0] > _VAR_MAX:
            p[0] = _VAR_MAX  # nothing is known of SoC, nor how it goes with the rest
            p[1] = p[2] = 0

    def _learn(self):
        residual = self.cell.residual_uv
        self.bound.see(self.y_uv, self.dt_ms)
        square = max(residual * residual, self.bound.square)
        self.scale.see(self.y_uv, self.drop_uv, square, self.dt_ms, self.v[_AGE_MS])

    def _publish(self):
        v = self.v
        cell = self.cell
        self.bound.publish(
            self.p[0] >> 8,
            cell.residual_uv,
            self.slope,
            v[_AGE_MS],
            v[_TOLD],
            cell.ocv_error_uv,
        )
        v[STEPS] = (v[STEPS] + 1) & _LOW
        self._write()

    def sd_ppm(self):
        """Return the standard deviation of SoC."""
        return self.bound.v[SD_PPM]

    def _write(self):
        v = self.v
        at = _WORDS
        for x in (self.bias, self.p[0], self.p[1], self.p[2], self.p[3], self.p[4], self.p[5]):
            v[at] = x >> 30
            v[at + 1] = x & _LOW
            at += 2


def _word(x):
    # Held within 31 bits: 4 V of polarisation.
    return clamp(x, -0x40000000, 0x3FFFFFFF)
