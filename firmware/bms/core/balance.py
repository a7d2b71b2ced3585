"""Which cells to bleed: passive balancing, at rest or near full. Runs in the slack.

Only above `from_uv`, where voltage tells charge: anywhere for a sloping curve, near full for LFP
(Plett, Battery Management Systems vol. 2, ch. 5). The front end measures with its bleeding
paused, so nothing is measured through a bleed.
"""

from array import array

from bms.compat import const
from bms.core import plausible as P
from bms.core.charging import CHARGING, FULL
from bms.core.frame import CELL0

FIELDS = (
    "mask",  # bit k: cell k bleeds
    "calm_ms",  # for how long voltage has told charge
    "since_ms",  # since the cells were last chosen
)
MASK = const(0)
_CALM_MS = const(1)
_SINCE_MS = const(2)

_CALM_AFTER_MS = const(60000)
_CHOOSE_EVERY_MS = const(10000)
_HOLD_UV = const(2000)  # a cell that bleeds goes on until this close to the lowest, at most


class Balance:
    """The bleed of one pack. `v` holds `FIELDS`."""

    def __init__(self, pack):
        self.pack = pack
        self.v = array("i", [0] * len(FIELDS))

    def step(self, frame, sig, allowed, stage):
        """Choose the cells to bleed; allowed: nothing is shed; stage: of `Charging`."""
        v = self.v
        pack = self.pack
        dt = sig[P.DT_MS]
        known = sig[P.TRUST] == P.ALL_TRUSTED and allowed
        known = known and sig[P.BOARD_MDEGC] < pack.balance_board_mdegc
        calm = abs(sig[P.CHARGE_UA]) <= pack.quiet_ua
        near_full = stage == FULL or (stage == CHARGING and sig[P.CELL_MAX_UV] >= pack.refill_uv)
        if not pack.balance_cells or not known or not (calm or near_full):
            v[MASK] = v[_CALM_MS] = 0
            return
        v[_CALM_MS] = min(v[_CALM_MS] + dt, P.LOST_MAX_MS)
        v[_SINCE_MS] = min(v[_SINCE_MS] + dt, P.LOST_MAX_MS)
        if v[_CALM_MS] < _CALM_AFTER_MS:
            v[MASK] = 0
        elif v[_SINCE_MS] >= _CHOOSE_EVERY_MS:
            v[_SINCE_MS] = 0
            v[MASK] = self._choose(frame, sig[P.CELL_MIN_UV])

    def _choose(self, frame, lowest):
        # The highest first; no two neighbours at once, as their bleeds share a sense wire.
        pack = self.pack
        f = frame.v
        old = self.v[MASK]
        if lowest < pack.balance_from_uv:
            return 0
        mask = 0
        for _ in range(pack.balance_cells):
            best = -1
            for k in range(pack.cells):
                over = f[CELL0 + k] - lowest
                least = _HOLD_UV if old >> k & 1 else pack.balance_start_uv
                beside = (mask >> k | mask << 1 >> k | mask >> 1 >> k) & 1
                highest = best < 0 or f[CELL0 + k] > f[CELL0 + best]
                if over > least and highest and not beside:
                    best = k
            if best < 0:
                break
            mask |= 1 << best
        return mask
