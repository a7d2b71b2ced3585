"""`solidbms monitor`: a pack on a terminal, live, from a port or a running simulation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Footer, RichLog, Static

from solidbms.battery import Battery, Event
from solidbms.monitor import gauges
from solidbms.monitor.gauges import BAD, DULL, GOOD, WARM, line, number

_PERIOD_S = 0.1
_BAR_MIN = 10
_AROUND_BAR = 50  # columns of names, numbers and notes
_EVENT_STYLE = {
    "trip": BAD, "warn": WARM, "recover": GOOD, "refused": WARM, "disconnected": BAD,
    "connected": GOOD, "feature lost": BAD, "gate dropped": BAD, "reset": WARM, "lost": WARM,
}  # fmt: skip


class Monitor(App[None]):
    """One pack. Leaving it changes nothing on the pack."""

    CSS = """
    Screen { layout: vertical; }
    #head, #gauges, #cells { height: auto; padding: 0 1; }
    #gauges, #cells { border: round $primary-darken-2; }
    #events { border: round $primary-darken-2; height: 1fr; min-height: 5; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "ask('on')", "on"),
        Binding("f", "ask('off')", "off"),
        Binding("c", "ask('clear')", "clear"),
        Binding("a", "ask('ack')", "ack"),
        Binding("q", "quit", "quit"),
    ]
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, place: str) -> None:
        """place: as `Battery` takes it."""
        super().__init__()
        self.place = place
        self.battery: Battery | None = None
        self._head = Static(id="head")
        self._gauges = Static(id="gauges")
        self._cells = Static(id="cells")
        self._events = RichLog(id="events", max_lines=500, wrap=True)

    def compose(self) -> ComposeResult:
        yield self._head
        with Vertical():
            yield self._gauges
            yield self._cells
            yield self._events
        yield Footer()

    def on_mount(self) -> None:
        self.title = f"solidbms {self.place}"
        self._gauges.border_title = "pack"
        self._cells.border_title = "cells"
        self._events.border_title = "events"
        self.battery = Battery(self.place, wait=False)
        self.battery.on_event(lambda event: self.call_later(self._note, event))
        self.set_interval(_PERIOD_S, self._draw)
        self._draw()

    def on_unmount(self) -> None:
        if self.battery is not None:
            self.battery.close()

    def action_ask(self, what: str) -> None:
        """Ask the pack for something, and write down whether it heard."""
        battery = self.battery
        if battery is None:
            return
        asks: dict[str, Callable[[], bool]] = {
            "on": battery.request_on, "off": battery.request_off,
            "clear": battery.clear, "ack": battery.ack,
        }  # fmt: skip

        def ask() -> None:
            if not asks[what]():
                self.call_later(self._write, f"{what}: no answer", BAD)

        self.run_worker(ask, thread=True)

    def _note(self, event: Event) -> None:
        seconds = event.t_ms // 1000
        clock = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        words = f"{clock}.{event.t_ms % 1000:03}  {event.kind}  {event.detail}"
        self._write(words, _EVENT_STYLE.get(event.kind, ""))

    def _write(self, words: str, style: str) -> None:
        self._events.write(Text(words, style=style))

    def _draw(self) -> None:
        battery = self.battery
        if battery is None:
            return
        width = max(self.size.width - _AROUND_BAR, _BAR_MIN)
        self._head.update(self._told(battery))
        self._gauges.update(self._measured(battery, width))
        self._cells.update(self._each(battery, width))

    def _told(self, battery: Battery) -> Text:
        info = battery.info
        told = [info[key] for key in ("pack", "board", "firmware", "scenario") if key in info]
        text = Text().append(f"{self.place}  ", style="bold")
        text.append("  ".join(told) + "\n", style=DULL)
        if not battery.connected:
            asked = battery.error or "asking"
            return text.append(f" NOBODY ANSWERS \u2013 {asked} ", style="bold white on red")
        if battery.stale:
            silent = f" SILENT for {battery.age_s:.0f} s: what you see is old "
            return text.append(silent, style="bold white on red")
        state = battery.state
        text.append(f" {state.upper()} ", style=gauges.STATE_STYLE.get(state, "bold"))
        for name, on in (("charge", "chg_on"), ("discharge", "dsg_on")):
            closed = battery.status is not None and battery.status[on]
            text.append(f"  {name} ", style=DULL)
            text.append("closed" if closed else "open", style=GOOD if closed else DULL)
        if battery.shed_left_s is not None:
            words = f" CUT IN {battery.shed_left_s:.1f} s \u2013 shut the load down, then press a "
            text.append("   ").append(words, style="bold white on red")
        for name, rules, style in (
            ("trips", battery.trips, BAD), ("warnings", battery.warnings, WARM),
        ):  # fmt: skip
            if rules:
                text.append(f"\n{name}: {', '.join(rules)}", style=style)
        return text

    def _measured(self, battery: Battery, width: int) -> Text:
        charge_a, discharge_a = battery.limits
        most_a = max(self._limit("charge_ua", 1e6), self._limit("discharge_ua", 1e6))
        low_c, high_c = self._limit("temp_min_mdegc", 1e3), self._limit("temp_max_mdegc", 1e3)
        bound = number(battery.bound * 100, 1, "%")
        lines = [
            line("SoC", number(battery.soc * 100, 1, "%"),
                 gauges.charge(battery.soc, battery.bound, width), f"+-{bound}"),
            line("current", number(battery.current_a, 2, "A"),
                 gauges.current(battery.current_a, discharge_a, charge_a, most_a, width),
                 gauges.between(-discharge_a, charge_a, 1, "A")),
            line("temperature", number(battery.temp_c, 1, "degC"),
                 gauges.level(battery.temp_c, low_c, high_c, width),
                 f"{low_c:.0f} .. {high_c:.0f} degC"),
            line("pack", number(battery.voltage_v, 3, "V"), Text()),
        ]  # fmt: skip
        return Text("\n").join(lines)

    def _each(self, battery: Battery, width: int) -> Text:
        low_v, high_v = self._limit("cell_min_uv", 1e6), self._limit("cell_max_uv", 1e6)
        lines = [
            line(f"cell {k}", number(volt, 3, "V"), gauges.level(volt, low_v, high_v, width),
                 f"{low_v:.2f} .. {high_v:.2f} V")
            for k, volt in enumerate(battery.cells_v, 1)
        ]  # fmt: skip
        return Text("\n").join(lines)

    def _limit(self, key: str, per: float) -> float:
        battery = self.battery
        try:
            return int(battery.info[key]) / per if battery else 0.0
        except (KeyError, ValueError):
            return 0.0


def screenshot(
    place: str,
    path: Path,
    until: Callable[[Battery], bool],
    timeout_s: float = 60.0,
    size: tuple[int, int] = (100, 26),
) -> None:
    """Write an SVG of the monitor as it looks when `until` first says so; TimeoutError if never.

    size: columns and lines.
    """

    async def shoot() -> None:
        app = Monitor(place)
        async with app.run_test(size=size) as pilot, asyncio.timeout(timeout_s):
            while app.battery is None or not app.battery.connected or not until(app.battery):
                await asyncio.sleep(0.01)
            await pilot.pause(2 * _PERIOD_S)
            path.write_text(app.export_screenshot(title=f"solidbms monitor {place}"), "utf-8")

    asyncio.run(shoot())
