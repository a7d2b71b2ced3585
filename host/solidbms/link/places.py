"""Where a pack answers: a serial port, the directory of a running simulation, `sim:SCENARIO`."""

from __future__ import annotations

import errno
import json
import os
import select
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from serial import Serial

LINK_FILE = "link.json"
HERE = "127.0.0.1"
_WRITE_S = 0.5


class LinkError(Exception):
    """No pack there, or none that can be understood: one line."""


class Wire(Protocol):
    """Bytes to and from a pack. OSError when it is gone."""

    def read(self, timeout_s: float) -> bytes:
        """Return what has come, waiting up to timeout_s for the first byte."""
        ...

    def write(self, data: bytes) -> None:
        """Send everything."""
        ...

    def close(self) -> None:
        """Let go."""
        ...


class SerialWire:
    """A serial port."""

    def __init__(self, place: str) -> None:
        from serial import Serial, SerialException

        try:
            self.port: Serial = Serial(place, timeout=0, write_timeout=_WRITE_S, exclusive=True)
        except (SerialException, OSError, ValueError) as error:
            raise LinkError(f"{place}: {_reason(error)}; valid here: {_ports()}") from None

    def read(self, timeout_s: float) -> bytes:
        self.port.timeout = timeout_s
        first = self.port.read(1)
        if not first:
            return b""
        return first + self.port.read(min(self.port.in_waiting, 65536))

    def write(self, data: bytes) -> None:
        self.port.write(data)

    def close(self) -> None:
        self.port.close()


class SocketWire:
    """A simulation on this machine; closed: called at the end."""

    def __init__(self, number: int, closed: Callable[[], None] | None = None) -> None:
        self.socket = socket.create_connection((HERE, number), timeout=_WRITE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._closed = closed

    def read(self, timeout_s: float) -> bytes:
        if not select.select([self.socket], [], [], timeout_s)[0]:
            return b""
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("the simulation has ended")
        return data

    def write(self, data: bytes) -> None:
        self.socket.sendall(data)

    def close(self) -> None:
        self.socket.close()
        if self._closed is not None:
            self._closed()


def open_wire(place: str) -> Wire:
    """Open a place; LinkError in one line when that does not work."""
    if place.startswith("sim:"):
        from solidbms.link.simulation import start

        simulation = start(place[4:])
        return SocketWire(simulation.number, simulation.stop)
    path = Path(place)
    if not path.is_dir():
        return SerialWire(place)
    try:
        number = json.loads((path / LINK_FILE).read_text(encoding="ascii"))["port"]
        return SocketWire(int(number))
    except (OSError, ValueError, KeyError, TypeError):  # no file, or one that a run left behind
        raise LinkError(
            f"{place}: no simulation runs there; `solidbms run SCENARIO --link` starts one"
        ) from None


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None)
    if number in (errno.EAGAIN, errno.EBUSY):
        return "in use by another program"
    return os.strerror(number) if number else str(error)


def _ports() -> str:
    from serial.tools.list_ports import comports

    found = [f"{port.device} ({port.description})" for port in comports() if port.vid]
    return ", ".join([*found, "the directory of a running simulation", "sim:SCENARIO"])
