"""Calls in several processes, in their order; Ctrl-C ends them at once and keeps what came."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

Call = tuple[Callable[..., Any], tuple[Any, ...]]


def do_all(calls: list[Call], jobs: int, came: Callable[[int, Any], None]) -> bool:
    """Do calls; hand on the place of each and its result as it comes. Return whether all came."""
    try:
        for at, result in _each(calls, jobs):
            came(at, result)
    except (KeyboardInterrupt, BrokenProcessPool):  # stopped, or a process was killed
        return False
    return True


def _each(calls: list[Call], jobs: int) -> Iterator[tuple[int, Any]]:
    if jobs == 1:
        for at, (function, args) in enumerate(calls):
            yield at, function(*args)
        return
    waiting = list(reversed(list(enumerate(calls))))
    with ProcessPoolExecutor(jobs, initializer=_quiet) as pool:
        running = {}
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    at, (function, args) = waiting.pop()
                    running[pool.submit(function, *args)] = at
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future.result()
        finally:
            for process in list((pool._processes or {}).values()) if running else ():
                process.terminate()


def _quiet() -> None:
    """The process that asked hears Ctrl-C; this one ends with it, and leaves others room."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(5)
