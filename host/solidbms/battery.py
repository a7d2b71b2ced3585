"""Battery: what robot code sees of its pack.

    from solidbms.battery import Battery

    with Battery("/dev/ttyACM0") as battery:
        battery.on_shed(lambda left_s: sit_down())
        battery.request_on()
        battery.wait_for("on")

The same with the directory of a running simulation, or `sim:SCENARIO` for one of its own:
examples/robot.py. Charge current is positive everywhere.
"""

from __future__ import annotations

import logging
import math
import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from bms.core import rules as R
from bms.core import switch as W
from bms.links import framing as L

from solidbms.link import Cells, Event, Hello, LinkError, Message, Status
from solidbms.link.reader import Reader

__all__ = ["Battery", "Event", "Limits", "LinkError"]

STALE_S = 1.0  # a pack tells its Status five times a second

_log = logging.getLogger(__name__)


class Limits(NamedTuple):
    """Currents in A that the pack takes and gives now; both positive."""

    charge_a: float
    discharge_a: float


class Battery:
    """A pack, read in the background.

    Every property is what the pack said last. Look at `stale` before relying on one: it is True
    when nothing new has come for a second, and while the port is gone (`connected` False). A
    serial port or directory is looked for again until `close`. Leaving changes nothing on the
    pack.
    """

    def __init__(
        self, place: str | os.PathLike[str], timeout_s: float = 3.0, *, wait: bool = True
    ) -> None:
        """place: a serial port, a running simulation's directory, or `sim:SCENARIO[@FACTOR]`.

        Waits until the pack has told what it is and how it does; LinkError, in one line, when it
        does not within timeout_s or runs other firmware. wait=False returns at once: until
        something came `state` is "" and every number NaN.
        """
        self.place = os.fspath(place)
        self.error = ""  # why it is not connected, one line
        self.info: dict[str, str] = {}  # what the pack told of itself: board, pack, boot, ...
        self.status: Status | None = None  # the last one, whole
        self._cells: Cells | None = None
        self._heard_s = -math.inf
        self._connected = False
        self._shedding = False
        self._changed = threading.Condition()
        self._on_shed: list[Callable[[float], Any]] = []
        self._on_event: list[Callable[[Event], Any]] = []
        self._calls: queue.SimpleQueue[tuple[Callable[[Any], Any], Any] | None] = (
            queue.SimpleQueue()
        )
        self._caller = threading.Thread(target=self._call, name="battery calls", daemon=True)
        self._caller.start()
        self._reader = Reader(self.place, timeout_s, self._heed, self._lost)
        if wait:
            with self._changed:
                self._changed.wait_for(lambda: self._connected or self.error, 2 * timeout_s + 5)
                why = "" if self._connected else self.error or f"{self.place}: no Status"
            if why:
                self.close()
                raise LinkError(why)

    def __enter__(self) -> Battery:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening. The pack goes on as it is."""
        self._reader.close()
        self._calls.put(None)

    @property
    def connected(self) -> bool:
        """Whether the pack answers there."""
        return self._connected

    @property
    def age_s(self) -> float:
        """Seconds since the last Status that was a new one."""
        return time.monotonic() - self._heard_s

    @property
    def stale(self) -> bool:
        """Whether what the properties say may have changed since."""
        return not self._connected or self.age_s > STALE_S

    @property
    def state(self) -> str:
        """One of boot, off, on, shedding, tripped, ship."""
        status = self.status
        return status.state if status else ""

    @property
    def soc(self) -> float:
        """State of charge, 0 to 1."""
        return self._word("soc_ppm", 1e6)

    @property
    def bound(self) -> float:
        """How far `soc` may be off: meant to hold 95 times of 100."""
        return self._word("soc_bound_ppm", 1e6)

    @property
    def energy_wh(self) -> float:
        """Usable energy left, at this temperature and the mean current."""
        return self._word("energy_mwh", 1e3)

    @property
    def empty_s(self) -> float | None:
        """Seconds to empty at the mean current, None while it does not discharge."""
        return self._span("empty_s")

    @property
    def full_s(self) -> float | None:
        """Seconds to full at the mean current, None while it does not charge."""
        return self._span("full_s")

    @property
    def limits(self) -> Limits:
        """Keep your currents within these: beyond them the pack trips sooner or later."""
        return Limits(self._word("charge_limit_ma", 1e3), self._word("discharge_limit_ma", 1e3))

    @property
    def voltage_v(self) -> float:
        """Pack voltage."""
        return self._word("pack_uv", 1e6)

    @property
    def current_a(self) -> float:
        """Current, charge positive."""
        return self._word("current_ua", 1e6)

    @property
    def temp_c(self) -> float:
        """The hottest sensor."""
        return self._word("temp_max_mdegc", 1e3)

    @property
    def cells_v(self) -> list[float]:
        """Every cell, twice a second."""
        cells = self._cells
        return [uv / 1e6 for uv in cells.uv] if cells else []

    @property
    def temps_c(self) -> list[float]:
        """Every sensor, twice a second."""
        cells = self._cells
        return [mdegc / 1e3 for mdegc in cells.mdegc] if cells else []

    @property
    def shed_left_s(self) -> float | None:
        """Seconds until the pack cuts the discharge path, None when it does not mean to."""
        status = self.status
        return status["shed_left_ms"] / 1e3 if status and status["shed_left_ms"] >= 0 else None

    @property
    def warned(self) -> bool:
        """Whether a warning or a shed stands: draw less, go home."""
        return bool(self.status and self.status["warned"])

    @property
    def trips(self) -> list[str]:
        """Rules that have acted and stand: why the pack is cut, or will be."""
        return self.status.acted(R.TRIP) if self.status else []

    @property
    def warnings(self) -> list[str]:
        """Rules that warn and stand."""
        return self.status.acted(R.WARN) if self.status else []

    def on_shed(self, callback: Callable[[float], Any]) -> None:
        """Call back with the seconds left when the pack asks its load to shut down.

        Sit down, stop drawing, then `ack`: the pack cuts at once, else when the time is over. Also
        called when that has already begun. Callbacks run one after the other in a thread of their
        own; they may use the battery, and what they raise is logged.
        """
        with self._changed:
            self._on_shed.append(callback)
            left_s = self.shed_left_s
            if self._shedding and left_s is not None:
                self._calls.put((callback, left_s))

    def on_event(self, callback: Callable[[Event], Any]) -> None:
        """Call back for everything that happens: kind and detail as in events.csv, and
        `connected`, `disconnected`, `lost`. Runs as `on_shed` callbacks do."""
        self._on_event.append(callback)

    def ack(self) -> bool:
        """Tell the pack that the load has shut down: it cuts now. As `request_on`."""
        return self._ask(L.REQUEST, W.ACK)

    def request_on(self) -> bool:
        """Ask the pack to close its gates; return whether it has heard.

        Whether it does shows in `state`: it may have reasons not to (`trips`, event `refused`).
        """
        return self._ask(L.REQUEST, W.CLOSE)

    def request_off(self) -> bool:
        """Ask the pack to open its gates, at once. As `request_on`."""
        return self._ask(L.REQUEST, W.OPEN)

    def clear(self) -> bool:
        """Say that a person has looked at the trip: rules that wait for it may recover."""
        return self._ask(L.REQUEST, W.CLEAR)

    def draw(self, current_a: float) -> bool:
        """In a simulation: draw this much in place of the scenario's load. False on a pack."""
        if self.info.get("board") != "sim":
            return False
        return self._ask(L.INJECT, L.INJECT_DRAW, round(current_a * 1e3))

    def wait_for(self, *states: str, timeout_s: float = 10.0) -> bool:
        """Wait until the pack is in one of these states; return whether it is."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._connected and self.state in states, timeout_s
            )

    def _span(self, name: str) -> float | None:
        status = self.status
        return float(status[name]) if status and status[name] >= 0 else None

    def _word(self, name: str, per: float) -> float:
        status = self.status
        return status[name] / per if status else math.nan

    def _ask(self, kind: int, code: int, argument: int = 0) -> bool:
        if not self._connected:
            return False
        return self._reader.ask(kind, code, argument) == L.RESULTS[L.TAKEN]

    # The rest but `_call` runs in the reader's thread.

    def _heed(self, message: Message) -> None:
        if isinstance(message, Status):
            self._heard(message)
        elif isinstance(message, Cells):
            self._cells = message
        elif isinstance(message, Hello):
            self.info = message.info
        elif isinstance(message, Event):
            self._happened(message)

    def _heard(self, status: Status) -> None:
        with self._changed:
            began = not self._connected
            if began or self.status is None or status["t_ms"] != self.status["t_ms"]:
                self._heard_s = time.monotonic()
            self.status = status
            self._connected = True
            self.error = ""
            self._changed.notify_all()
            left_ms = status["shed_left_ms"]
            if left_ms >= 0 and not self._shedding:
                for callback in self._on_shed:
                    self._calls.put((callback, left_ms / 1e3))
            self._shedding = left_ms >= 0
        if began:
            self._happened(Event(status["t_ms"], "connected", self.place, 0))

    def _lost(self, why: str) -> None:
        with self._changed:
            was = self._connected
            self._connected = False
            self._shedding = False  # seen again, a shed is told again
            self.error = why
            self._changed.notify_all()
        if was:
            t_ms = self.status["t_ms"] if self.status else 0
            self._happened(Event(t_ms, "disconnected", why, 0))

    def _happened(self, event: Event) -> None:
        for callback in self._on_event:
            self._calls.put((callback, event))

    def _call(self) -> None:
        while (call := self._calls.get()) is not None:
            callback, argument = call
            try:
                callback(argument)
            except Exception:
                _log.exception("battery: a callback of yours failed")
