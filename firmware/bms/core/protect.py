"""Evaluates the table of rules: which have acted, what they block, how long a shed still runs."""

from array import array

from bms.compat import const
from bms.core import rules as R
from bms.core.frame import LOAD_GONE
from bms.core.plausible import ALL_TRUSTED, CHARGE_UA, DT_MS, TRUST

# Phases of a row.
CLEAR = const(0)
PENDING = const(1)  # past the limit, delay running
ACTED = const(2)
RELEASING = const(3)  # acted, inside the release, recovery running
PHASES = ("clear", "pending", "acted", "releasing")

STRIDE = const(3)  # per row: phase, its timer, time since acted (only rows that shed)
NO_SHED = const(-1)


class Protect:
    """Rule states of one pack. `v` holds phase, timer_ms and shed_ms of every row.

    After `step`: `blocked` has the paths (CHARGE, DISCHARGE) that must be open now, `shed_left_ms`
    is what is left of the shortest running shed (NO_SHED for none), `latched` has the paths that
    stay open until asked for again, `warned` tells that a warn or a shed stands.
    """

    def __init__(self, pack):
        self.v = array("i", [0] * (STRIDE * len(R.ROWS)))
        self.charger_ua = pack.charger_ua
        self.recover_ms = pack.recover_ms
        # One tuple a row, made once: place in `v`, signal, side and limit (turned so that larger
        # is worse) for the quick look; then release (turned too), delay, shed and the row itself.
        self.table = []
        for r, row in enumerate(R.ROWS):
            side = row[R.SIDE]
            limit, release, delay_ms, shed_ms = pack.rule(r)
            limit *= side
            release *= side
            rest = (release, delay_ms, shed_ms, row)
            self.table.append((STRIDE * r, row[R.SIGNAL], side, limit, rest))
        self.blocked = R.BOTH
        self.shed_left_ms = NO_SHED
        self.latched = 0
        self.warned = False

    def names(self):
        """Return the name of every entry of `v`, in order."""
        parts = ("phase", "timer_ms", "shed_ms")
        return [row[R.ID] + "." + part for row in R.ROWS for part in parts]

    def step(self, sig, flags, closed, loaded, cleared, acknowledged):
        """Advance every row by one tick.

        sig: signals, as `Plausible.v`. flags: of the Frame. closed: a gate is closed. loaded: the
        discharge gate is. cleared: a clear request arrived. acknowledged: the load has shut down.
        """
        # With discharge open there is nobody to warn: a shed is over as it begins.
        at_once = acknowledged or not loaded
        v = self.v
        dt = sig[DT_MS]
        trust = sig[TRUST]
        all_trusted = trust == ALL_TRUSTED
        self.blocked = 0
        self.shed_left_ms = NO_SHED
        self.latched = 0
        self.warned = False
        for k, s, side, limit, rest in self.table:
            phase = v[k]
            believed = all_trusted or trust >> s & 1
            x = sig[s] * side
            if believed and not phase and x <= limit:
                continue  # most rows, most ticks
            release, delay_ms, shed_ms, row = rest
            if not closed and row[R.WHEN] == R.CLOSED:
                crossed = False
                inside = True
            elif believed:
                crossed = x > limit
                inside = x <= release
            else:
                crossed = phase == PENDING or row[R.UNTRUSTED] == R.CROSSED
                inside = False
            if phase == CLEAR and not crossed:
                continue
            if phase < ACTED:
                phase = self._toward_trip(k, phase, crossed, dt, delay_ms)
                if phase == ACTED:
                    # The shed runs from the end of the delay, which lay between two ticks.
                    v[k + 2] = shed_ms if at_once else v[k + 1] - delay_ms
                    v[k + 1] = 0
            else:
                done = self._recovered(row[R.RECOVERY], sig, flags, cleared)
                phase = self._toward_clear(k, phase, inside, dt, done)
                if v[k + 2] < shed_ms:
                    v[k + 2] = shed_ms if at_once else v[k + 2] + dt
            v[k] = phase
            if phase >= ACTED:
                self._act(row, shed_ms - v[k + 2])

    def _toward_trip(self, k, phase, crossed, dt, delay_ms):
        v = self.v
        if not crossed:
            v[k + 1] = 0
            return CLEAR
        v[k + 1] = v[k + 1] + dt if phase == PENDING else 0
        if v[k + 1] < delay_ms:
            return PENDING
        return ACTED

    def _toward_clear(self, k, phase, inside, dt, done):
        v = self.v
        if not inside:
            v[k + 1] = 0
            return ACTED
        v[k + 1] = min(v[k + 1] + dt, self.recover_ms) if phase == RELEASING else 0
        if v[k + 1] < self.recover_ms or not done:
            return RELEASING
        v[k + 1] = 0
        return CLEAR

    def _recovered(self, recovery, sig, flags, cleared):
        if recovery == R.SELF:
            return True
        if recovery == R.CHARGER:
            return bool(sig[TRUST] >> CHARGE_UA & 1) and sig[CHARGE_UA] > self.charger_ua
        if recovery == R.LOAD_GONE and flags & LOAD_GONE:
            return True
        return cleared

    def _act(self, row, shed_left_ms):
        if row[R.LEVEL] != R.TRIP:
            if row[R.LEVEL] == R.WARN:
                self.warned = True
            return
        path = row[R.PATH]
        if row[R.SHED] == R.SHEDS and shed_left_ms > 0:
            self.warned = True
            if self.shed_left_ms == NO_SHED or shed_left_ms < self.shed_left_ms:
                self.shed_left_ms = shed_left_ms
            return
        self.blocked |= path
        if path & R.DISCHARGE and (row[R.SHED] == R.SHEDS or row[R.RECOVERY] >= R.LOAD_GONE):
            self.latched |= path
