"""Do the gates do what they are told? Signals from current, voltages and the front end's FETs.

Runs in the slack: the readings of a tick were taken under the gates that the tick before had
commanded, and settle for a while after every change.
"""

from array import array

from bms.compat import const
from bms.core import frame as F
from bms.core import plausible as P
from bms.core import switch as W
from bms.core.fixed import BIG, clamp, lag

FIELDS = (
    "chg_on",  # as commanded when these readings were taken
    "dsg_on",
    "chg_ms",  # for how long it has been commanded so
    "dsg_ms",
    "off_ua",  # mean of the current while no gate is closed,
    "off_rest",
    "pre",  # whether they were taken during a pre-discharge
)
_CHG_ON = const(0)
_DSG_ON = const(1)
_CHG_MS = const(2)
_DSG_MS = const(3)
_OFF_UA = const(4)
_OFF_REST = const(5)
_PRE = const(6)

SETTLE_MS = const(300)  # a full set of readings of a BQ76952 takes 190 ms, SLUUBY2 4.7
_QUIET_MS = const(2000)  # gates open for this long: what current shows now is offset
_OFF_TAU_MS = const(4000)
_OFF_MAX_UA = const(500000)
_MA_MAX = const(1000000)


class GateWatch:
    """Gate signals of one pack. `v` holds `FIELDS`."""

    def __init__(self, pack):
        self.pack = pack
        self.v = array("i", [0] * len(FIELDS))

    def step(self, frame, sig, switch):
        """Write the gate signals; switch: `Switch.v` as this tick has left it."""
        v = self.v
        dt = sig[P.DT_MS]
        flags = frame.v[F.FLAGS]
        pre = switch[W.STATE] == W.PRE
        self._current(sig, dt, pre)
        self._across(frame, sig, flags, dt)
        told = flags & F.FETS_OK
        if told:
            held = v[_CHG_ON] and v[_CHG_MS] >= SETTLE_MS and not flags & F.CHG_SHOWN
            _count(sig, P.CHG_HELD_MS, held, dt)
            held = v[_DSG_ON] and v[_DSG_MS] >= SETTLE_MS and not flags & F.DSG_SHOWN
            _count(sig, P.DSG_HELD_MS, held and not pre, dt)
        elif not v[_CHG_ON] and not v[_DSG_ON]:
            sig[P.CHG_HELD_MS] = sig[P.DSG_HELD_MS] = 0
        # The tick that begins it comes after one of the gates open, which may have been long.
        _count(sig, P.PRE_MS, pre and v[_PRE], dt)
        v[_PRE] = 1 if pre else 0
        # A pre-discharge is not yet the gate: what it settles counts from its end.
        self._commanded(_CHG_ON, switch[W.CHG_ON], dt)
        self._commanded(_DSG_ON, switch[W.DSG_ON] and not pre, dt)
        if pre:
            v[_DSG_MS] = 0

    def _commanded(self, at, on, dt):
        v = self.v
        if v[at] != on:
            v[at] = on
            v[at + 2] = 0
        else:
            v[at + 2] = min(v[at + 2] + dt, P.LOST_MAX_MS)

    def _current(self, sig, dt, pre):
        # Past a gate that is open for this direction only a welded FET conducts: the body diode
        # lets the other direction through. What a pre-discharge lets through is meant to flow.
        v = self.v
        if not sig[P.TRUST] >> P.CHARGE_UA & 1:
            return
        ma = sig[P.CHARGE_UA] // 1000
        least = max(self.pack.weld_ua // 1000, 1)
        chg_off = not v[_CHG_ON] and v[_CHG_MS] >= SETTLE_MS
        dsg_off = not v[_DSG_ON] and v[_DSG_MS] >= SETTLE_MS
        _past(sig, P.WELD_MS, chg_off, ma, least, dt)
        _past(sig, P.LEAK_MS, dsg_off and not pre, -ma, least, dt)
        if chg_off and dsg_off and min(v[_CHG_MS], v[_DSG_MS]) >= _QUIET_MS:
            ua = clamp(sig[P.CHARGE_UA], -_OFF_MAX_UA, _OFF_MAX_UA)
            lag(v, _OFF_UA, ua, dt, _OFF_TAU_MS)
        else:
            v[_OFF_UA] = v[_OFF_REST] = 0
        sig[P.OFFSET_UA] = abs(v[_OFF_UA])

    def _across(self, frame, sig, flags, dt):
        # A FET that does not close under current leaves its body diode's drop, or, where it
        # blocks the load, all of the voltage.
        v = self.v
        known = flags & F.OUT_OK and sig[P.TRUST] >> P.PACK_UV & 1
        if not known:
            return
        both = v[_CHG_ON] and v[_DSG_ON] and min(v[_CHG_MS], v[_DSG_MS]) >= 2 * SETTLE_MS
        out_uv = clamp(frame.v[F.OUT_UV], 0, BIG)
        far = abs(frame.v[F.PACK_UV] - out_uv) > self.pack.vds_uv
        _count(sig, P.FET_OPEN_MS, both and far, dt)


def _count(sig, at, on, dt):
    sig[at] = min(sig[at] + dt, P.LOST_MAX_MS) if on else 0


def _past(sig, at, off, ma, least_ma, dt):
    # A cumulative sum (Page, Biometrika 41, 1954): noise comes and goes, a welded FET's current
    # adds up, the larger the sooner.
    if off:
        more = clamp(ma - least_ma, -_MA_MAX, _MA_MAX) * dt // least_ma
        sig[at] = clamp(sig[at] + more, 0, P.LOST_MAX_MS)
    else:
        sig[at] = 0
