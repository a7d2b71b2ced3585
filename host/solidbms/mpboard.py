"""The raw REPL of a MicroPython board: the one place that uses mpremote's transport."""

from __future__ import annotations

import ast
import contextlib
import io
import re
import struct
from base64 import b64encode
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

from mpremote.transport import TransportError, TransportExecError
from mpremote.transport_serial import SerialTransport
from serial.tools.list_ports import comports
from serial.tools.list_ports_common import ListPortInfo

from solidbms.image import BoardFile
from solidbms.schema import BadInput

CHUNK = 1536  # bytes a statement: a board with the firmware still in its heap has room for it
_READ_S = 3.0  # most between two bytes of an answer
_ENTER_S = 3

# sha(path) and copy(path, path) on the board; littlefs keeps nothing of an unfinished file.
_TOOLS = """
import gc, os, sys
from binascii import a2b_base64, hexlify
from hashlib import sha256
gc.collect()
def blocks(path):
    view = memoryview(bytearray(1024))
    with open(path, "rb") as file:
        while True:
            n = file.readinto(view)
            if not n:
                break
            yield view[:n]
def sha(path):
    h = sha256()
    for block in blocks(path):
        h.update(block)
    return hexlify(h.digest()).decode()
def copy(path, to):
    with open(to + ".new", "wb") as file:
        for block in blocks(path):
            file.write(block)
    os.rename(to + ".new", to)
def tree(folder):
    for entry in os.ilistdir(folder):
        path = folder + "/" + entry[0]
        if entry[1] & 0x4000:
            yield from tree(path)
            yield path, None
        else:
            yield path, (os.stat(path)[6], sha(path))
"""


class BoardLost(Exception):
    """The board does not answer any more: one line."""


class BoardAway(Exception):
    """The board's port is not there: one line."""


class BoardError(Exception):
    """A statement failed on the board: one line; `number` is that of an OSError."""

    def __init__(self, traceback: str) -> None:
        last = (traceback.strip().splitlines() or ["no reason given"])[-1]
        super().__init__(last)
        found = re.match(r"OSError: (?:\[Errno )?(\d+)", last)
        self.number = int(found[1]) if found else None


class Session:
    """A board at its raw REPL. Close it when done; it stays there until it is reset."""

    def __init__(self, port: str) -> None:
        """Open the port; BoardLost when that does not work."""
        with _lost(f"{port} cannot be opened"):
            self._transport = SerialTransport(port, timeout=_READ_S)
            # Not in its type.
            setattr(self._transport.serial, "write_timeout", _READ_S)  # noqa: B010

    def enter(self, tries: int = 3) -> None:
        """Stop what runs on the board, without a reset; BoardLost when it goes on.

        tries: a program that reads the console may swallow what asks for it.
        """
        for left in reversed(range(tries)):
            try:
                with _lost("the board does not let go of its console, a gate may be closed"):
                    self._transport.enter_raw_repl(soft_reset=False, timeout_overall=_ENTER_S)
                break
            except BoardLost:
                if not left:
                    raise
        self.run(_TOOLS)

    def run(self, code: str) -> str:
        """Run statements on the board and return what they print."""
        with _lost("the board stopped answering"):
            return self._transport.exec(code).decode(errors="replace")

    def value(self, expression: str) -> Any:
        """Return what an expression of plain values gives on the board."""
        said = self.run(f"print(repr({expression}))")
        try:
            return ast.literal_eval(said.strip())
        except (ValueError, SyntaxError):
            raise BoardLost(f"the board answers {said.strip()[:60]!r}") from None

    def write(self, path: str, data: bytes, wrote: Callable[[int], None]) -> bool:
        """Write a file in place; return whether it reads back with the same SHA-256.

        wrote: told of every so many bytes.
        """
        said = ""
        for at in range(0, max(len(data), 1), CHUNK):
            chunk = data[at : at + CHUNK]
            code = f"file.write(a2b_base64({b64encode(chunk)!r}))"
            if at == 0:
                code = f"file = open({path!r}, 'wb')\n{code}"
            if at + CHUNK >= len(data):
                code += f"\nfile.close()\nprint(sha({path!r}))"
            said = self.run(code)
            wrote(len(chunk))
        return said.split()[-1:] == [sha256(data).hexdigest()]

    def reset(self) -> None:
        """Start the board anew, as power-on does; the port may go and come back."""
        with _lost("the board stopped answering"):
            self._transport.exec_raw_no_follow("import machine\nmachine.reset()")

    def close(self) -> None:
        """Let go of the port."""
        with contextlib.suppress(OSError):
            self._transport.close()
        self._transport.serial.close()  # where the other did not get that far


class Finder:
    """Finds the port of one board, and the same board again after a reset: call it."""

    def __init__(self, board: BoardFile, port: str | None, serial: str | None) -> None:
        """port, serial: which one, where there are several."""
        self._board = board
        self._port = port
        self._serial = serial
        self._found = False

    def __call__(self) -> str:
        """Return the port. BadInput the first time, when it is not clear which; BoardAway while a
        board that was there is not."""
        if self._found and self._serial is None:
            assert self._port
            return self._port
        one = self._again() if self._found else self._first()
        self._found = True
        return one

    def _first(self) -> str:
        if self._port is None:
            port = self._only()
            self._port = port.device
            self._serial = port.serial_number
        else:
            same = (port.serial_number for port in comports() if port.device == self._port)
            self._serial = next(same, None)
        return self._port

    def _again(self) -> str:
        for port in comports():
            if port.serial_number == self._serial:
                return port.device
        raise BoardAway("the board is gone")

    def _only(self) -> ListPortInfo:
        ids = self._board.usb
        found = [p for p in comports() if p.vid and f"{p.vid:04X}:{p.pid:04X}" in ids]
        there = ", ".join(f"{port.device} (serial {port.serial_number})" for port in found)
        if self._serial is not None:
            found = [port for port in found if port.serial_number == self._serial]
            if not found:
                raise BadInput(f"SERIAL: no board {self._serial!r}; there are: {there or 'none'}")
        if len(found) > 1:
            raise BadInput(f"{len(found)} boards: {there}; PORT= or SERIAL= chooses one")
        if not found:
            raise BadInput(
                f"no board with USB id {', '.join(ids)}: plug it in; one that is new takes "
                f"MicroPython first, from {self._board.get}; PORT= names one on another id"
            )
        return found[0]


@contextlib.contextmanager
def _lost(what: str) -> Iterator[None]:
    """Turn everything that a transport raises into BoardLost or BoardError, without its prints."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    except TransportExecError as error:
        raise BoardError(error.error_output) from None
    except (TransportError, OSError, struct.error) as error:  # SerialException is an OSError
        reason = str(error).splitlines()[:1]
        raise BoardLost(": ".join([what, *reason])) from None
