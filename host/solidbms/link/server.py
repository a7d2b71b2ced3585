"""The link of a simulation: the protocol of a board, on a TCP port of this machine.

Messages are built by the firmware's own SerialLink, on a core that is filled from the record.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bms.core.core import Core
from bms.core.fixed import ticks_diff
from bms.core.frame import T_MS
from bms.core.pack import Pack
from bms.links import framing as L
from bms.links.serial import SerialLink

from solidbms import __version__
from solidbms.link.places import HERE, LINK_FILE

DRAW_MAX_MA = 2000000  # as a scenario's load
LAG_MAX_S = 0.5  # further behind than this, time starts anew: no hurry afterwards
_WAITING_MAX = 1 << 16  # bytes for a host that does not read
_LINGER_S = 0.5


class _Recorded(Core):
    """The core as its record has it: filled a tick at a time, never stepped."""

    def __init__(self, pack: Pack) -> None:
        super().__init__(pack)
        self._views = [memoryview(part).cast("B") for part in self.parts()]

    def fill(self, tick: bytes) -> None:
        """Take a tick: every part's words, then the hash."""
        at = 0
        for k, view in enumerate(self._views):
            view[:] = tick[at : at + len(view)]
            at += len(view)
            if k == 0:  # before the switch is what it was after this Frame
                self.request = self.switch.request(self.frame)
        self.hash = int.from_bytes(tick[at:], "little")

    def digest(self, parts: list[array[int]]) -> int:
        """Return the hash of this tick."""
        return self.hash


class _Client:
    """A host: its bytes as the stream of a SerialLink."""

    def __init__(self, sock: socket.socket, bms: Any, info: Any, rig: Any) -> None:
        sock.setblocking(False)
        self.socket = sock
        self.gone = False
        self._in = bytearray()
        self._out = bytearray()
        self.link = SerialLink(self, bms, info, rig)
        self.link.bytes_in = self.link.bytes_out = _WAITING_MAX

    def receive(self, buffer: bytearray) -> int:
        data = self._in[: len(buffer)]
        buffer[: len(data)] = data
        del self._in[: len(data)]
        return len(data)

    def send(self, buffer: bytearray, at: int, end: int) -> int:
        if len(self._out) >= _WAITING_MAX:
            return at
        self._out += buffer[at:end]
        return end

    def serve(self, step: Callable[[], Any]) -> None:
        """Read, let the link work, write; nothing here waits."""
        try:
            with contextlib.suppress(BlockingIOError):
                data = self.socket.recv(_WAITING_MAX)
                self.gone = not data
                self._in += data
            step()
            with contextlib.suppress(BlockingIOError):
                del self._out[: self.socket.send(self._out)]
        except OSError:
            self.gone = True

    def close(self) -> None:
        """Send what waits, for a moment, and let go."""
        with contextlib.suppress(OSError):
            self.socket.settimeout(_LINGER_S)
            self.socket.sendall(self._out)
        self.socket.close()


class Server:
    """Call `tick` with every tick's record; it returns when it is time for the next tick."""

    def __init__(
        self,
        blob: bytes,
        ask: Callable[[int], None],
        info: dict[str, Any],
        directory: Path | None = None,
        factor: float = 1.0,
        draw: Callable[[float], None] | None = None,
        wait: bool = False,
    ) -> None:
        """blob: the compiled pack. ask: takes the code of a request. info: what HELLO tells.

        directory: where link.json says the port. factor: simulated seconds a second. draw: takes
        the current in A that somebody draws. wait: for a host, before the first tick ends.
        """
        self.factor = factor
        self.core = _Recorded(Pack(blob))
        self.closed = False
        self._wait = wait
        self._rig = _Rig(draw) if draw is not None else None
        lines = {"firmware": __version__, "board": "sim", **info}
        self._info = SimpleNamespace(info=lambda: tuple(lines.items()))
        self._bms = SimpleNamespace(
            core=self.core,
            mailbox=SimpleNamespace(put=lambda code, argument, t_ms: ask(code)),
            board=SimpleNamespace(ticks_ms=lambda: self.core.frame.v[T_MS]),
        )
        self._clients: list[_Client] = []
        self._listener = socket.create_server((HERE, 0))
        self.number: int = self._listener.getsockname()[1]
        self._file = directory / LINK_FILE if directory is not None else None
        if self._file is not None:
            self._file.write_text(json.dumps({"port": self.number}) + "\n", encoding="ascii")
        self._due = 0.0
        self._last_ms: int | None = None

    def tick(self, record: bytes) -> None:
        """Show this tick to every host, take what they ask, and wait until the next is due."""
        core = self.core
        core.fill(record)
        now_ms = core.frame.v[T_MS]
        while self._wait and not self.closed and not self._clients:
            self._serve_until(time.monotonic() + 0.1)
        self._wait = False
        for client in self._clients:
            client.serve(client.link.step)
        now = time.monotonic()
        if self._last_ms is not None:
            self._due += ticks_diff(now_ms, self._last_ms) / 1000 / self.factor
        if not now - LAG_MAX_S < self._due:
            self._due = now
        self._last_ms = now_ms
        self._serve_until(self._due)

    def _serve_until(self, due: float) -> None:
        while not self.closed:
            wait_s = max(due - time.monotonic(), 0.0)
            by_socket = {client.socket: client for client in self._clients}
            ready = select.select([self._listener, *by_socket], [], [], min(wait_s, 0.1))[0]
            for sock in ready:
                if sock is self._listener:
                    made = self._listener.accept()[0]
                    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    client = _Client(made, self._bms, self._info, self._rig)
                    self._clients.append(client)
                else:
                    client = by_socket[sock]
                    client.serve(client.link.pump)
            for client in [client for client in self._clients if client.gone]:
                client.socket.close()
                self._clients.remove(client)
            if not wait_s:
                return

    def close(self) -> None:
        """Let every host go; the file that names the port goes first."""
        self.closed = True
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.unlink()
        self._listener.close()
        for client in self._clients:
            client.close()


class _Rig:
    """What a host may do to a simulation: be its load."""

    def __init__(self, draw: Callable[[float], None]) -> None:
        self.draw = draw

    def inject(self, code: int, argument: int) -> int:
        """Take a current that somebody draws; return the result."""
        if code != L.INJECT_DRAW:
            return L.UNKNOWN
        if not 0 <= argument <= DRAW_MAX_MA:
            return L.BAD
        self.draw(argument / 1000)
        return L.TAKEN
