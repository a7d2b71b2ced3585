"""The charge pump behind a gate pin: edges hold the gate closed, any DC level lets it open."""

from __future__ import annotations

from dataclasses import dataclass

from solidbms.emu.pads import Pad

DECAY_NS = 1e6  # a gate falls this long after the last edge
PUMP_EDGES = 8  # and closes after so many, none further apart than that


@dataclass
class Burst:
    """A run of edges, none further apart than the decay."""

    first_ns: float
    last_ns: float
    edges: int


class Pump:
    """Edges of one pin, run by run. times: of each edge, while `keep` is set.

    What a PIO did is known up to the last time somebody looked: `Pico.chip.settle_pio` first.
    """

    def __init__(self, pad: Pad) -> None:
        self.bursts: list[Burst] = []
        self.keep = False
        self.times: list[float] = []
        pad.on_edge.append(lambda t_ns, level: self._edges(t_ns, 0.0, 1))
        pad.on_repeat.append(self._edges)

    def _edges(self, t_ns: float, gap_ns: float, count: int) -> None:
        if self.keep:
            self.times += [t_ns - gap_ns * k for k in range(count - 1, -1, -1)]
        first_ns = t_ns - gap_ns * (count - 1)
        last = self.bursts[-1] if self.bursts else None
        if gap_ns > DECAY_NS:
            self.bursts.append(Burst(t_ns, t_ns, 1))
        elif last is None or first_ns - last.last_ns > DECAY_NS:
            self.bursts.append(Burst(first_ns, t_ns, count))
        else:
            last.last_ns = t_ns
            last.edges += count

    @property
    def last_ns(self) -> float | None:
        """Time of the last edge."""
        return self.bursts[-1].last_ns if self.bursts else None

    def closed(self, t_ns: float) -> bool:
        """Return whether the gate is closed at t_ns, a time not before the last edge."""
        last = self.bursts[-1] if self.bursts else None
        return bool(last and last.edges >= PUMP_EDGES and t_ns - last.last_ns <= DECAY_NS)
