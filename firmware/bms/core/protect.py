"""Evaluates the table of rules: which have acted, what they block, how long a shed still runs."""

from array import array

from bms.compat import const
from bms.core import rules as R
from bms.core.frame import LOAD_GONE
from bms.core.plausible import (
    ALL_TRUSTED,
    CHARGE_UA,
    DT_MS,
    FE_LOST_MS,
    SIGNALS,
    TRUST,
    TRUST_BITS,
    slack_signal,
)

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
    stay open until asked for again, `warned` tells that a warn or a shed stands, `burn` that the
    fuse must blow.
    """

    def __init__(self, pack):
        self.v = array("i", [0] * (STRIDE * len(R.ROWS)))
        self.pack = pack
        self.charger_ua = pack.charger_ua
        self.recover_ms = pack.recover_ms
        # Rows by the signal they watch, made once, without those that the pack does without: most
        # ticks one look at the signal says that none of its rows has anything to do.
        self.groups = []
        for s in range(SIGNALS):
            rows = [r for r, row in enumerate(R.ROWS) if row[R.SIGNAL] == s]
            rows = [r for r in rows if abs(pack.rule(r)[0]) != R.OFF]
            if rows:
                self.groups.append(_group(pack, s, rows))
        ends = [(s, low, high) for s, low, high, _, _ in self.groups]
        self._fresh = [end for end in ends if not slack_signal(end[0])]
        self._slack = [end for end in ends if slack_signal(end[0])]
        self._looked = False  # the slack has looked at its own signals: see `look`
        self.busy = array("B", [0] * len(self.groups))  # a row of the group is not clear
        self.calm = True  # none is
        self.blocked = R.BOTH
        self.shed_left_ms = NO_SHED
        self.latched = 0
        self.warned = False
        self.burn = False

    def count(self):
        """Return how many groups of rows there are."""
        return len(self.groups)

    def as_compiled(self, g):
        """Return whether a group in use is what the pack says, number by number."""
        s, low, high, bit, rows = self.groups[g]
        if (low, high, bit) != _ends(self.pack, s, [k // STRIDE for k, _, _ in rows]):
            return False
        for k, limit, (side, release, delay_ms, shed_ms, _, _) in rows:
            wanted = self.pack.rule(k // STRIDE)
            if (limit * side, release * side, delay_ms, shed_ms) != tuple(wanted):
                return False
        return True

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
        trust = sig[TRUST]
        all_trusted = trust == ALL_TRUSTED
        self.blocked = 0
        self.shed_left_ms = NO_SHED
        self.latched = 0
        self.warned = False
        self.burn = False
        looked = self._looked
        self._looked = False
        quiet = all_trusted and self.calm and _quiet(sig, self._fresh)
        if quiet and (looked or _quiet(sig, self._slack)):
            return  # most ticks
        busy = self.busy
        g = 0  # enumerate would allocate
        for s, low, high, bit, rows in self.groups:
            x = sig[s]
            if busy[g] or not (all_trusted or trust & bit) or not low <= x <= high:
                busy[g] = self._rows(
                    rows, x, all_trusted or trust & bit, sig, flags, closed, at_once, cleared
                )
            g += 1  # noqa: SIM113 - enumerate would allocate
        self.calm = not max(busy)

    def look(self, sig):
        """In the slack, once its signals are written: may the next step pass them over?"""
        self._looked = _quiet(sig, self._slack)

    def _rows(self, rows, value, believed, sig, flags, closed, at_once, cleared):
        # Advance the rows that watch one signal; return 1 while one of them is not clear.
        v = self.v
        dt = sig[DT_MS]
        busy = 0
        for k, limit, rest in rows:
            phase = v[k]
            side, release, delay_ms, shed_ms, row, back = rest
            x = value * side
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
                phase = self._toward_trip(k, phase, crossed, dt, delay_ms, back)
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
            if phase:
                busy = 1
            if phase >= ACTED:
                self._act(row, shed_ms - v[k + 2])
        return busy

    def _toward_trip(self, k, phase, crossed, dt, delay_ms, back):
        v = self.v
        if not crossed:
            v[k + 1] = max(v[k + 1] - (dt >> 1), 0) if back else 0
            return PENDING if v[k + 1] else CLEAR
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
            elif row[R.LEVEL] == R.BURN:
                self.burn = True
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


def _quiet(sig, ends):
    # Whether each of these signals leaves its rows clear.
    for s, low, high in ends:
        x = sig[s]
        if x > high or x < low:
            return False
    return True


def _group(pack, s, rows):
    # (signal, lowest and highest value that leave every row clear, its bit in TRUST, rows);
    # a row is (place in `v`, limit, rest), limit and release turned so that larger is worse.
    found = []
    for r in rows:
        side = R.ROWS[r][R.SIDE]
        limit, release, delay_ms, shed_ms = pack.rule(r)
        back = R.ROWS[r][R.ID] in R.RUN_BACK
        rest = (side, release * side, delay_ms, shed_ms, R.ROWS[r], back)
        found.append((STRIDE * r, limit * side, rest))
    low, high, bit = _ends(pack, s, rows)
    return s, low, high, bit, tuple(found)


def _ends(pack, s, rows):
    low = -R.OFF
    high = R.OFF
    for r in rows:
        limit = pack.rule(r)[0]
        if R.ROWS[r][R.SIDE] > 0:
            high = min(high, limit)
        else:
            low = max(low, limit)
    return low, high, 1 << (s if s < TRUST_BITS else FE_LOST_MS)
