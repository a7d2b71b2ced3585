"""A pack of the test's own behind the link of a simulation, in a directory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bms.core import switch as W
from bms.core.core import Core
from bms.core.frame import T_MS
from bms.core.pack import Pack
from bms.core.rules import ID, ROWS
from bms.core.status import FIELDS
from solidbms.link.server import Server
from support.packs import compiled

BLOB = compiled("bench_1s").blob
NAMES: list[str] = list(FIELDS)


def acted(*names: str) -> dict[str, int]:
    """Return the words of Status that say these rows have acted."""
    bits = sum(1 << k for k, row in enumerate(ROWS) if row[ID] in names)
    return {"acted_low": bits & (1 << 30) - 1, "acted_high": bits >> 30}


class ServedPack(threading.Thread):
    """Says what the test wants: words of Status by name; `asked` collects requests."""

    def __init__(self, directory: Path, **words: int) -> None:
        super().__init__(daemon=True)
        self.words = words
        self.asked: list[int] = []
        self.quiet = False  # says nothing
        self.stuck = False  # says the same again and again
        self.over = False
        self.server = Server(BLOB, self.asked.append, {"pack": "p"}, directory, 1.0)
        self.core = Core(Pack(BLOB))
        self.start()

    def run(self) -> None:
        parts = self.core.parts()
        while not self.over:
            self.core.frame.v[T_MS] += 20
            if not self.stuck:
                self.words["t_ms"] = self.core.frame.v[T_MS]
            for name, value in self.words.items():
                self.core.status.v[NAMES.index(name)] = value
            self.core.switch.v[W.STATE] = self.words.get("state", 0)
            record = b"".join([part.tobytes() for part in parts] + [bytes(4)])
            if self.quiet:
                time.sleep(0.02)
            else:
                self.server.tick(record)

    def end(self) -> None:
        self.over = True
        self.join()
        self.server.close()


def until(condition: Callable[[], Any], timeout_s: float = 10.0) -> bool:
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True
