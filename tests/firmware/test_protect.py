"""`Protect` word for word against a second telling: every phase, timer and shed of every row.

The reference below is written from the docs (rules.py, design): one plain object a row, no shared
state, no tricks. Readings wander round the limits so that each branch is taken many times.
"""

import random
from array import array

import pytest
from bms.core import plausible as P
from bms.core import rules as R
from bms.core.frame import LOAD_GONE
from bms.core.protect import NO_SHED, STRIDE, Protect

CHARGER_UA, RECOVER_MS = 3, 200
PHASES = ("clear", "pending", "acted", "releasing")
STATES = [(True, True), (True, False), (False, False)]  # a gate closed, discharge closed


class RandomPack:
    """Small numbers, so that few ticks see everything. CUT rows have no shed, as packc says.

    Some rows it does without: their limits are out of reach.
    """

    charger_ua, recover_ms = CHARGER_UA, RECOVER_MS

    def __init__(self, rng):
        self.rows = []
        for row in R.ROWS:
            if rng.random() < 0.2:
                off = row[R.SIDE] * R.OFF
                self.rows.append((off, off, 0, 0))
                continue
            limit = rng.randint(-4, 4)
            release = limit - row[R.SIDE] * rng.randint(0, 3)
            shed_ms = rng.choice([100, 210, 500]) if row[R.SHED] == R.SHEDS else 0
            self.rows.append((limit, release, rng.choice([0, 0, 50, 130, 300]), shed_ms))

    def rule(self, r):
        return self.rows[r]


class Row:
    """One row as the docs tell it."""

    def __init__(self, row, numbers):
        self.row = row
        self.limit, self.release, self.delay_ms, self.shed_ms = numbers
        self.phase, self.timer_ms, self.shed_for_ms = "clear", 0, 0

    def step(self, now):
        """Advance by one tick; `now` has the signals and what else the tick knows."""
        if abs(self.limit) == R.OFF:
            return
        crossed, inside = self.seen(now)
        if self.phase in ("clear", "pending"):
            if not crossed:
                back_ms = self.timer_ms - now["dt"] // 2 if self.row[R.ID] in R.RUN_BACK else 0
                self.timer_ms = max(back_ms, 0)
                self.phase = "pending" if self.timer_ms else "clear"
                return
            self.timer_ms += now["dt"] if self.phase == "pending" else 0
            self.phase = "pending"
            if self.timer_ms >= self.delay_ms:
                over_ms = self.timer_ms - self.delay_ms
                self.phase, self.timer_ms = "acted", 0
                self.shed_for_ms = self.shed_ms if now["at_once"] else over_ms
            return
        if self.shed_for_ms < self.shed_ms:
            self.shed_for_ms = self.shed_ms if now["at_once"] else self.shed_for_ms + now["dt"]
        if not inside:
            self.phase, self.timer_ms = "acted", 0
            return
        waited = self.timer_ms + now["dt"] if self.phase == "releasing" else 0
        self.phase, self.timer_ms = "releasing", min(waited, RECOVER_MS)
        if self.timer_ms == RECOVER_MS and self.came_back(now):
            self.phase, self.timer_ms = "clear", 0

    def seen(self, now):
        """Return (past the limit, inside the release)."""
        row = self.row
        if row[R.WHEN] == R.CLOSED and not now["closed"]:
            return False, True
        if row[R.SIGNAL] not in now["signals"]:
            return self.phase == "pending" or row[R.UNTRUSTED] == R.CROSSED, False
        value = now["signals"][row[R.SIGNAL]]
        if row[R.SIDE] == R.ABOVE:
            return value > self.limit, value <= self.release
        return value < self.limit, value >= self.release

    def came_back(self, now):
        return {
            R.SELF: True,
            R.CHARGER: now["signals"].get(P.CHARGE_UA, 0) > CHARGER_UA,
            R.LOAD_GONE: now["load_gone"] or now["cleared"],
            R.HAND: now["cleared"],
        }[self.row[R.RECOVERY]]

    @property
    def stands(self):
        return self.phase in ("acted", "releasing")

    @property
    def shed_left_ms(self):
        """What is left of a running shed, else 0."""
        sheds = self.row[R.LEVEL] == R.TRIP and self.row[R.SHED] == R.SHEDS
        return max(0, self.shed_ms - self.shed_for_ms) if sheds and self.stands else 0

    @property
    def cuts(self):
        """The paths it keeps open."""
        trips = self.stands and self.row[R.LEVEL] == R.TRIP and not self.shed_left_ms
        return self.row[R.PATH] if trips else 0

    @property
    def latches(self):
        lasts = self.row[R.SHED] == R.SHEDS or self.row[R.RECOVERY] in (R.LOAD_GONE, R.HAND)
        return self.cuts if lasts and self.cuts & R.DISCHARGE else 0

    @property
    def burns(self):
        return self.stands and self.row[R.LEVEL] == R.BURN

    @property
    def warns(self):
        return bool(self.shed_left_ms) or (self.stands and self.row[R.LEVEL] == R.WARN)


def drawn(rng, sig):
    """Write wandering signals; return the tick's other inputs."""
    for s in range(P.SIGNALS):
        if rng.random() < 0.3:
            sig[s] = max(-6, min(6, sig[s] + rng.randint(-3, 3)))
    sig[P.DT_MS] = rng.choice([20, 50, 50, 250])
    trust = 0
    for s in P.READINGS:
        trust |= (rng.random() < 0.95) << s
    trust |= P.ALL_TRUSTED & ~sum(1 << s for s in P.READINGS)
    sig[P.TRUST] = trust
    closed, loaded = rng.choice(STATES)
    flags = rng.choice([0, 0, LOAD_GONE, 0x1FF & ~LOAD_GONE])
    return flags, closed, loaded, rng.random() < 0.2, rng.random() < 0.03


@pytest.mark.parametrize("seed", range(30))
def test_every_word_of_every_row(seed):
    rng = random.Random(seed)
    pack = RandomPack(rng)
    protect = Protect(pack)
    rows = [Row(row, pack.rule(r)) for r, row in enumerate(R.ROWS)]
    sig = array("i", [0] * len(P.FIELDS))
    assert list(protect.v) == [0] * (STRIDE * len(rows)) and STRIDE == 3
    for _ in range(150):
        flags, closed, loaded, cleared, acknowledged = drawn(rng, sig)
        now = {
            "dt": sig[P.DT_MS],
            "signals": {
                s: sig[s]
                for s in range(P.SIGNALS)
                if s not in P.READINGS or sig[P.TRUST] >> s & 1
            },
            "closed": closed,
            "at_once": acknowledged or not loaded,
            "load_gone": bool(flags & LOAD_GONE),
            "cleared": cleared,
        }
        if rng.random() < 0.5:
            protect.look(sig)
        protect.step(sig, flags, closed, loaded, cleared, acknowledged)
        words = []
        for row in rows:
            row.step(now)
            words += [PHASES.index(row.phase), row.timer_ms, row.shed_for_ms]
        assert list(protect.v) == words
        blocked = latched = 0
        for row in rows:
            blocked |= row.cuts
            latched |= row.latches
        assert (protect.blocked, protect.latched) == (blocked, latched)
        assert protect.warned == any(row.warns for row in rows)
        assert protect.burn == any(row.burns for row in rows)
        left = [row.shed_left_ms for row in rows if row.shed_left_ms]
        assert protect.shed_left_ms == min(left, default=NO_SHED) and NO_SHED == -1


def test_before_the_first_step_everything_is_blocked():
    protect = Protect(RandomPack(random.Random(0)))
    assert protect.blocked == R.BOTH and protect.shed_left_ms == NO_SHED
    assert not protect.latched and protect.warned is False and protect.burn is False


def test_names_stand_for_the_words():
    protect = Protect(RandomPack(random.Random(0)))
    names = protect.names()
    assert len(names) == len(protect.v)
    first, second = R.ROWS[0][R.ID], R.ROWS[1][R.ID]
    wanted = [f"{first}.phase", f"{first}.timer_ms", f"{first}.shed_ms", f"{second}.phase"]
    assert names[:4] == wanted


def test_rows_in_use_are_held_against_the_pack():
    pack = RandomPack(random.Random(5))
    protect = Protect(pack)
    groups = range(protect.count())
    assert all(protect.as_compiled(g) for g in groups)
    used = [r for r in range(len(R.ROWS)) if abs(pack.rows[r][0]) != R.OFF]
    assert len(groups) == len({R.ROWS[r][R.SIGNAL] for r in used}) and len(used) < len(R.ROWS)
    for r in used:
        kept = pack.rows[r]
        for k in range(4):
            pack.rows[r] = (*kept[:k], kept[k] - 1, *kept[k + 1 :])
            assert [protect.as_compiled(g) for g in groups].count(False) == 1
        pack.rows[r] = kept


def test_a_bit_lost_in_the_ends_of_a_group_is_noticed():
    protect = Protect(RandomPack(random.Random(6)))
    for g, (s, low, high, bit, rows) in enumerate(list(protect.groups)):
        for broken in ((s, low - 1, high, bit, rows), (s, low, high + 1, bit, rows),
                       (s, low, high, bit << 1, rows)):  # fmt: skip
            protect.groups[g] = broken
            assert not protect.as_compiled(g)
        protect.groups[g] = s, low, high, bit, rows
        assert protect.as_compiled(g)


def test_a_look_counts_for_one_step():
    pack = RandomPack(random.Random(0))
    pack.rows = [(5 * row[R.SIDE], 5 * row[R.SIDE], 0, 0) for row in R.ROWS]
    protect = Protect(pack)
    sig = array("i", [0] * len(P.FIELDS))
    sig[P.TRUST], sig[P.DT_MS] = P.ALL_TRUSTED, 50
    slack = [k for k, row in enumerate(R.ROWS) if P.slack_signal(row[R.SIGNAL])]
    for k in slack:
        sig[R.ROWS[k][R.SIGNAL]] = 0
    protect.look(sig)
    protect.step(sig, 0, True, True, False, False)
    # Nobody looks again: whoever wrote the signal meanwhile is heard.
    for k in slack:
        sig[R.ROWS[k][R.SIGNAL]] = 6
        protect.step(sig, 0, True, True, False, False)
        assert protect.v[STRIDE * k] == 2
        protect = Protect(pack)
        protect.look(sig)
        protect.step(sig, 0, True, True, False, False)
        assert protect.v[STRIDE * k] == 2, "a look that saw it passes nothing over"
        protect = Protect(pack)
        sig[R.ROWS[k][R.SIGNAL]] = 0
