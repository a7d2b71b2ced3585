"""Emulated boards for tests: a program of one file, and the whole firmware with closed gates."""

from __future__ import annotations

import ast
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bms.core.switch import CLOSE
from bms.links import framing as L
from solidbms.jobs import scenario_job
from solidbms.link import Message, Status
from solidbms.schema import BOARDS
from solidbms.targets import emu

if TYPE_CHECKING:
    from solidbms.emu.pico import Pico


def pico(uf2: Path, program: str) -> Pico:
    """Return a Pico with this program as its main.py, switched off."""
    from solidbms.emu.pico import Pico

    return Pico(uf2, {"main.py": program.encode()})


def said(board: Pico, limit_s: float = 5.0) -> list[str]:
    """Run until the program prints `end`; return the lines before it."""
    if not board.resets:
        board.boot()
    ended = board.wait_for(lambda: b"end\r\n" in board.console, limit_s * 1e9)
    lines = board.console.decode().splitlines()
    assert ended, lines
    return lines[: lines.index("end")]


class Closed:
    """The firmware on an emulated board, both gates closed, current flowing, nothing traced.

    scenario: a file beside this one. `in_child` runs a test's doings on a copy: booting once
    takes ten times as long.
    """

    def __init__(self, uf2: Path, scenario: str = "loaded.toml") -> None:
        job = scenario_job(str(Path(__file__).with_name(scenario)))
        self.compiled = job.compiled
        self.records: list[bytes] = []
        blob = job.compiled.blob
        self.session = emu.Session(emu.board(uf2, blob), job.world, blob, self.records.append)
        self.pico, self.wired, self.world = self.session.pico, self.session.wired, job.world
        self.statuses: list[Status] = []
        self.frames: list[tuple[int, ...]] = []  # of the ticks since `trace`
        self.session.heed.append(self._heed)
        self.session.start()
        self.serve_until(lambda: bool(self.statuses) and self.statuses[-1].state == "off")
        self.session.send(L.ASK, L.ASK_TRACE_OFF)
        self.session.send(L.ASK, L.ASK_RATE, 60000)
        self.session.send(L.REQUEST, CLOSE)
        self.serve_until(self.closed)
        self.serve_for(0.6)

    def _heed(self, message: Message) -> None:
        if isinstance(message, Status):
            self.statuses.append(message)

    def trace(self) -> None:
        """Collect frames from here on; what came before is not repeated, so digests are not."""
        self.session._ticks.add = lambda trace: self.frames.append(trace.frame)
        self.session.send(L.ASK, L.ASK_TRACE_ON)

    def closed(self) -> bool:
        """Whether both gates are closed now."""
        self.pico.chip.settle_pio()
        now_ns = self.pico.now_ns
        return self.wired.charge.closed(now_ns) and self.wired.discharge.closed(now_ns)

    def serve_until(self, done: Callable[[], bool], limit_s: float = 5.0) -> None:
        """Serve until done() holds."""
        end_ns = self.pico.now_ns + limit_s * 1e9
        while not done():
            assert self.pico.now_ns < end_ns, f"not within {limit_s} s"
            self.session.serve(0.02)

    def serve_for(self, span_s: float) -> None:
        """Serve for so long."""
        end_ns = self.pico.now_ns + span_s * 1e9
        self.serve_until(lambda: self.pico.now_ns >= end_ns, span_s + 1)

    def break_it(self, fault: str, argument: int = 0) -> None:
        """Ask the rig on the board for a fault of boards/pico/rig.py."""
        self.session.send(L.INJECT, _faults().index(fault), argument)

    def in_child(self, act: Callable[[], Any]) -> Any:
        """Return what act() returns on a copy of this board and world."""
        into, out = os.pipe()
        child = os.fork()
        if not child:
            try:
                result = True, act()
            except BaseException as error:
                result = False, repr(error)
            with os.fdopen(out, "wb") as pipe:
                pickle.dump(result, pipe)
            os._exit(0)
        os.close(out)
        with os.fdopen(into, "rb") as pipe:
            fine, result = pickle.load(pipe)
        os.waitpid(child, 0)
        assert fine, result
        return result


def _faults() -> list[str]:
    tree = ast.parse((BOARDS / "pico" / "rig.py").read_text())
    tables = [node for node in tree.body if isinstance(node, ast.Assign)]
    return next(ast.literal_eval(t.value) for t in tables if ast.unparse(t.targets[0]) == "FAULTS")
