"""`make flash`: an image into the idle code slot, and one atomic step over to it.

Wherever this ends, the board starts the slot that it ran before or the new one, whole: the idle
slot loses its manifest first and gets the new one last, and the file `slot` changes by a rename.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator

from solidbms.image import BoardFile, build_image, find_board
from solidbms.link import LinkError
from solidbms.mpboard import BoardAway, BoardError, BoardLost, Finder, Session
from solidbms.packc import compile_pack
from solidbms.slots import Failed, Say, Slots
from solidbms.trial import Heard, gates_closed, watch

ANSWER_S = 30.0  # from the reset to the boot report
_ENOSPC = 28


def flash(
    board: str, pack: str, port: str | None = None, serial: str | None = None, rig: bool = False,
    say: Say = print,
) -> int:  # fmt: skip
    """Flash a pack onto a board and wait for its boot report; return the exit status.

    board: see `image.find_board`. port, serial: which board, where there are several. rig: with
    fault injection. BadInput for what the user can put right before anything is touched.
    """
    file, _ = find_board(board)
    compiled = compile_pack(pack)
    image = build_image(board, compiled.blob, rig, pack_name=compiled.file.name)
    return install(file, image, Finder(file, port, serial), rig, say)


def install(
    board: BoardFile, image: dict[str, bytes], find: Callable[[], str], rig: bool = False,
    say: Say = print,
) -> int:  # fmt: skip
    """Bring an image onto the board whose port `find` returns; return the exit status."""
    job = _Flash(board, find, say)
    try:
        job.run(image, rig)
        return 0
    except KeyboardInterrupt:
        line = "stopped"
    except BoardError as error:
        line = "its file system is full" if error.number == _ENOSPC else f"on the board: {error}"
    except (Failed, BoardAway, BoardLost, LinkError) as error:
        line = str(error)
    with _uninterrupted():
        print(f"{line}; {job.abandon()}", file=sys.stderr)
    return 1


class _Flash:
    """One board. `session` is there while the board is at its raw REPL."""

    def __init__(self, board: BoardFile, find: Callable[[], str], say: Say) -> None:
        self.board = board
        self.find = find
        self.say = say
        self.session: Session | None = None
        self.slots: Slots | None = None
        self.state = ""  # once it is another than that of `slots`

    def run(self, image: dict[str, bytes], rig: bool) -> None:
        """Do all of it; one of the exceptions above when something does not work."""
        place = self.find()
        self.say(f"{self.board.about or self.board.name} on {place}")
        if gates_closed(place):
            raise Failed("a gate is closed: open it first, in `solidbms monitor`")
        slots = self._open(place)
        slots.fill(image)
        slots.switch()
        slots.session.reset()
        self._close()
        heard = watch(self.find, slots.idle, ANSWER_S, rig)
        if heard.slot == slots.idle and heard.passed:
            self.say(f"boot report: {report(heard.info)}")
            kept = f", slot {slots.keep} is kept" if slots.keep else ""
            self.say(f"slot {slots.idle} runs{kept}")
        else:
            self._explain(slots.idle, slots.keep, heard)

    def abandon(self) -> str:
        """Let the board run again, as far as it answers; return its state."""
        state = self.state or (self.slots.state if self.slots else "nothing was changed")
        if self.session is None:
            return state
        try:
            self.session.enter(tries=1)
            self.session.reset()
        except (BoardLost, BoardError):
            # One that never let go may have a gate closed: no time to take its power.
            return f"{state}; unplug it and plug it in again" if self.slots else state
        finally:
            self._close()
        return state

    def _open(self, place: str) -> Slots:
        self.session = Session(place)
        self.session.enter()
        slots = Slots(self.session, self.board, self.say)
        self.slots = self.slots or slots
        return slots

    def _close(self) -> None:
        if self.session is not None:
            self.session.close()
            self.session = None

    def _explain(self, idle: str, keep: str | None, heard: Heard) -> None:
        """Raise Failed with why a trial failed, as link and board tell it, and what runs now."""
        if not heard.port:
            raise Failed(f"the board did not come back within {ANSWER_S:.0f} s")
        why = f"slot {idle} did not answer within {ANSWER_S:.0f} s"
        if heard.slot == idle:
            why = f"slot {idle} did not pass its boot test within {ANSWER_S:.0f} s"
        elif heard.console:
            why = f"slot {idle} ended"
        elif heard.other:
            why = "firmware of another version than this host's answers"
        back = f"slot {keep} runs again" if keep else "there is no other: mend it and flash again"
        self.state = f"unplug it and plug it in again: {back}"
        words: list[str] = []
        try:
            words = self._open(self.find()).words()
        except (BoardAway, BoardLost, BoardError):
            self._close()
            if keep and heard.slot == keep:
                self.state = back
        else:
            passed = words == [idle]
            self.state = f"slot {idle} has passed its boot test and runs" if passed else back
            why = f"slot {idle} {words[3].strip()}" if len(words) > 3 else why
        detail = heard.boot or ("" if len(words) > 3 else heard.said)
        raise Failed(f"{why} ({detail})" if detail else why)


def report(info: dict[str, str]) -> str:
    """Return the boot report of a HELLO as one line."""
    keys = ("firmware", "board", "pack", "slot", "reset", "boot", "errors")
    return ", ".join(f"{key} {info[key]}" for key in keys if info.get(key))


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Keep a second Ctrl-C from the few seconds in which the board is let go."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
