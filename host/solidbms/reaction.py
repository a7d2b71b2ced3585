"""How long a trip took, by what the pins did and the sensors showed, not by what firmware says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from bms.core import plausible, rules
from bms.core.fixed import interp
from bms.core.pack import Pack
from numpy.typing import NDArray

from solidbms.packrules import Rule
from solidbms.world import World

OK = 1


class Witness:
    """The world's own log of a run: readings (see `World.readings`) and gate edges."""

    def __init__(self, world: World, blob: bytes) -> None:
        self.pack: Any = Pack(blob)
        self.front = world.front
        self.thermistors = world.thermistors
        self.readings = np.array(world.readings, np.int32).reshape(-1, world.row)
        self.t_ms = self.readings[:, 0]
        self.gate_t, self.gate_v = (np.array(x) for x in zip(*world.gate_log, strict=True))

    def gates_at(self, t_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the pins (charge + 2 * discharge) just after each time."""
        return self.gate_v[np.searchsorted(self.gate_t, t_ms, side="right") - 1]

    def opened_ms(self, path: int, from_ms: int, until_ms: int) -> int | None:
        """Return when no gate of the path was closed any more, within the span; None if never."""
        if not self.gates_at(np.array([from_ms]))[0] & path:
            return from_ms
        later = (self.gate_t > from_ms) & (self.gate_t <= until_ms) & (self.gate_v & path == 0)
        found = np.flatnonzero(later)
        return int(self.gate_t[found[0]]) if len(found) else None

    def crossed_ms(self, rule: Rule, acted_ms: int) -> int | None:
        """Return when the shown signal was last inside the limit before the row acted.

        The crossing lies between then and the next step, so what is measured from here is the
        worst that it can have been. While the sensor gave nothing there was nothing to see: an
        outage at the crossing ends it. None for signals that no sensor shows.
        """
        k = int(np.searchsorted(self.t_ms, acted_ms, side="right")) - 1
        signal = rule.row[rules.SIGNAL]
        if signal in (plausible.FE_LOST_MS, plausible.TEMP_LOST_MS):
            return self._lost_ms(rule, signal, k)
        if signal == plausible.GATES_DROPPED:
            # The pins crossed it themselves: when they last opened.
            opened = self.gate_t[(self.gate_v == 0) & (self.gate_t <= acted_ms)]
            return int(opened[-1])
        if not self._shown(signal):
            return None
        blind_ms = 0
        while k >= 0:
            value = self._value(signal, k)
            if value is None:
                blind_ms = max(blind_ms, int(self.t_ms[k]))
            elif (value - rule.limit) * rule.row[rules.SIDE] <= 0:
                return max(int(self.t_ms[k]), blind_ms)
            else:
                blind_ms = 0
            k -= 1
        return blind_ms

    def _lost_ms(self, rule: Rule, signal: int, k: int) -> int | None:
        chip = signal == plausible.FE_LOST_MS
        shows = plausible.CELL_MAX_UV if chip else plausible.TEMP_MAX_MDEGC
        if self._value(shows, k) is not None:
            return None  # it answers, but is not believed: nothing that a pin shows
        while k >= 0 and self._value(shows, k) is None:
            k -= 1
        return int(self.t_ms[k]) + rule.limit if k >= 0 else None

    def _shown(self, signal: int) -> bool:
        """Return whether a sensor shows this signal itself."""
        return plausible.FIELDS[signal] in self.front.REGISTERS or self._on_pins(signal)

    def _on_pins(self, signal: int) -> bool:
        temps = (plausible.TEMP_MAX_MDEGC, plausible.TEMP_MIN_MDEGC)
        return self.thermistors > 0 and signal in temps

    def _value(self, signal: int, k: int) -> int | None:
        """Return a signal as the sensors show it, None while they give nothing."""
        _, heard, *words = self.readings[k].tolist()
        n = self.thermistors
        if self._on_pins(signal):
            return self._temperature(words[:n], max if signal == plausible.TEMP_MAX_MDEGC else min)
        if heard != OK:
            return None
        return self.front.seen(plausible.FIELDS[signal], words[n:], self.pack)

    def _temperature(self, codes: list[int], pick: Callable[[list[int]], int]) -> int | None:
        # All or none, as the firmware takes them.
        pack = self.pack
        if not all(pack.ntc_low <= code <= pack.ntc_high for code in codes):
            return None
        return pick([interp(pack.ntc_mdegc, code) for code in codes])
