"""What the firmware costs on an emulated Pico that runs the user's MicroPython image.

The emulator counts cycles exactly and knows no flash wait states: silicon is slower. A pin marks
begin and end of what is measured; what marking itself takes is taken off.
"""

from __future__ import annotations

import re
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench.c_reference import Cycles, summary
from bench.work import SLACK, Work
from bms.links import framing as L
from solidbms.emu.pico import CYCLE_NS, Pico
from solidbms.emu.wired import Wired
from solidbms.image import board_files
from solidbms.jobs import scenario_job
from solidbms.link import Event, Port
from solidbms.targets.emu import Place

BOARD = "pico"
CLOCK_HZ = round(1e9 / CYCLE_NS)
SCENARIO_S = 8.0
_MARK, _GC_MARK, _SLICE_MARK = 22, 21, 20
_MARKS = 20  # empty ones first
_LIMIT_NS = 600e9

_FRAMES = """
import sys
sys.path.insert(0, "slots/a")
{prelude}
import gc
from array import array
from micropython import heap_lock, heap_unlock
from machine import Pin
from bms.core.core import Core
from bms.core.pack import Pack
mark = Pin({mark}, Pin.OUT, value=0)
core = Core(Pack(open("work.bin", "rb").read()))
slack = {slack}
def go(protect, frame, signals, frames):
    for _ in range({marks}):
        mark.on()
        mark.off()
    size = len(frame)
    words = array("i", [0] * (size + len(slack)))
    n = 0
    while frames.readinto(words):
        for k in range(size):
            frame[k] = words[k]
        for k in range(len(slack)):
            signals[slack[k]] = words[size + k]
        core.rules.look(signals)
        heap_lock()
        mark.on()
        protect()
        mark.off()
        heap_unlock()
        n += 1
        if n % 50 == 0:
            gc.collect()
go(core.protect, core.frame.v, core.plausible.v, open("frames.bin", "rb"))
print("end")
"""

_TICKS = """
import sys
sys.path.insert(0, "slots/a")
import gc
import board
from bms import loop
from bms.core.pack import Pack
from bms.core.switch import BOOT, CLOSE, STATE
from machine import Pin
def marked(pin, call):
    on, off = pin.on, pin.off
    def go():
        on()
        done = call()
        off()
        return done
    return go
def pin(number):
    return Pin(number, Pin.OUT, value=0)
mark = pin({mark})
loop.collect = marked(pin({gc_mark}), loop.collect)
empty = marked(mark, int)
for _ in range({marks}):
    empty()
here = board.Board(lambda passed: None)
bms = loop.Bms(here, Pack(here.pack_blob()))
bms.tick = marked(mark, bms.tick)
soc_filter = bms.core.soc.filter
soc_filter.slice = marked(pin({slice_mark}), soc_filter.slice)
while bms.core.switch.v[STATE] == BOOT:
    bms.cycle()
bms.mailbox.put(CLOSE, 0, here.ticks_ms())
t0 = here.ticks_ms()
while here.ticks_ms() - t0 < {span_ms}:
    bms.cycle()
here.stopped()
gc.collect()
print("free", gc.mem_free(), "state", bms.core.switch.v[STATE])
print("end")
"""


class Marks:
    """Cycles between the two edges of a pin, time after time."""

    def __init__(self, pico: Pico, pin: int) -> None:
        self.spans: list[int] = []
        self._began_ns = 0.0
        pico.chip.pads[pin].on_edge.append(self._edge)

    def _edge(self, t_ns: float, level: bool) -> None:
        if level:
            self._began_ns = t_ns
        else:
            self.spans.append(round((t_ns - self._began_ns) / CYCLE_NS))

    def net(self) -> list[int]:
        """Return the spans after the empty ones, less what an empty one takes."""
        empty = min(self.spans[:_MARKS])
        return [span - empty for span in self.spans[_MARKS:]]


class Costs(NamedTuple):
    """Cycles and bytes of a pack, wired to its world."""

    tick_median: int
    tick_worst: int
    slice_median: int
    slice_worst: int
    gc_worst: int
    boot: int  # from power-on until gates are allowed
    heap_free: int


def frame_to_gates(uf2: Path, w: Work) -> Cycles:
    """Return what MicroPython takes for a work, as the image builder compiles it."""
    main = _FRAMES.format(prelude=w.prelude, mark=_MARK, marks=_MARKS, slack=SLACK)
    files = board_files(BOARD, w.blob) | {
        "main.py": main.encode(),
        "work.bin": w.blob,
        "frames.bin": b"".join(frame.tobytes() for frame in w.frames),
    }
    pico = Pico(uf2, files)
    marks = Marks(pico, _MARK)
    _run(pico)
    return summary(w, marks.net())


def costs(uf2: Path, scenario: str) -> Costs:
    """Return what a scenario of a drive and then a trip costs, both moved up, and the boot."""
    job = scenario_job(scenario)
    drive, trip = job.world.plant.scenario.load  # type: ignore[attr-defined] - a driven plant
    drive.from_s, drive.until_s, trip.from_s, trip.until_s = 1.0, 5.0, 5.0, 7.0
    main = _TICKS.format(
        mark=_MARK, gc_mark=_GC_MARK, slice_mark=_SLICE_MARK, marks=_MARKS,
        span_ms=round(SCENARIO_S * 1000),
    )  # fmt: skip
    files = board_files(BOARD, job.compiled.blob) | {"main.py": main.encode()}
    pico = Pico(uf2, files)
    ticks, collects, slices = (Marks(pico, pin) for pin in (_MARK, _GC_MARK, _SLICE_MARK))
    Wired(pico, job.world).start()
    said = _run(pico)
    found = re.search(r"free (\d+) state (\d)", said)
    assert found and found[2] == "4", f"no trip: {said}"
    spans = ticks.net()
    return Costs(
        round(median(spans)), max(spans), round(median(slices.spans)), max(slices.spans),
        max(collects.spans), _boot(uf2, scenario), int(found[1])
    )


def _boot(uf2: Path, scenario: str) -> int:
    """Return the cycles from power-on until gates are allowed, by the board's own event."""
    job = scenario_job(scenario)
    pico = Pico(uf2, board_files(BOARD, job.compiled.blob))
    Wired(pico, job.world).start()
    pico.boot()
    port = Port(Place(pico), "emu")
    while not pico.cable.connected:
        pico.run_for(1e6)
    port.send(L.ASK, L.ASK_HELLO, 0, 1)
    while pico.now_ns < _LIMIT_NS:
        for message in port.receive(0.02):
            if isinstance(message, Event) and message.detail == "boot->off":
                return message.t_ms * CLOCK_HZ // 1000
    raise AssertionError("no gate was allowed")


def _run(pico: Pico) -> str:
    pico.boot()
    pico.wait_for(lambda: b"end\r\n" in pico.console or b"Error" in pico.console, _LIMIT_NS)
    said = pico.console.decode(errors="replace")
    assert "end\r\n" in said, said
    return said
