"""The files on a board: which slot stays, the image into the other, the selector, the switch."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from hashlib import sha256

from solidbms.image import ARCHES, SELECTOR, BoardFile
from solidbms.mpboard import BoardError, Session

Say = Callable[[str], None]
Found = dict[str, tuple[int, str] | None]  # path to size and SHA-256, None for a folder

_SPARE_BLOCKS = 6  # for `slot`, the selector, and what littlefs needs to rename
_MARK = SELECTOR.read_bytes().split(b"\n", 1)[0]  # first line of every selector


class Failed(Exception):
    """One line on why the board was not flashed."""


class Slots:
    """One board at its raw REPL. `state` says at any time what a failure leaves behind."""

    def __init__(self, session: Session, board: BoardFile, say: Say) -> None:
        self.session = session
        self.board = board
        self.say = say
        self.keep: str | None = None  # the slot that stays
        self.idle = "a"
        self.state = "nothing was changed"

    def fill(self, image: dict[str, bytes]) -> None:
        """Bring an image into the idle slot and its selector beside it, all read back."""
        self._check(image)
        self._settle()
        present = self._present()
        todo = {
            path: data for path, data in image.items()
            if path == "manifest" or present.get(path) != (len(data), sha256(data).hexdigest())
        }  # fmt: skip
        folders = {folder for path in image for folder in _folders(path)}
        gone = [p for p in present if p in todo or p not in {*image, *folders}]
        new = sorted(folders - present.keys())
        self._room(todo, len(new), [present[path] for path in gone])
        self._clear(gone, present)
        self._write(todo, new, len(image))
        self._selector()

    def switch(self) -> None:
        """Put the idle slot on trial: the one step from old to new."""
        none = f"slot {self.keep}" if self.keep else "none"
        self.state = f"the board starts slot {self.idle} if the switch came that far, else {none}"
        self.session.run(f"selector['write']('{self.idle} {self.keep or '-'}')")
        self.state = f"the board tries slot {self.idle}; if that does not pass, {none} runs"

    def words(self) -> list[str]:
        """Return the words of the board's file `slot`."""
        source = SELECTOR.read_text()
        self.session.run(f"selector = {{'__name__': 'selector'}}\nexec({source!r}, selector)")
        return self.session.value("selector['read']()")

    def _check(self, image: dict[str, bytes]) -> None:
        name, version, machine, mpy = self.session.value(
            "(sys.implementation[0], tuple(sys.implementation[1][:3]),"
            " getattr(sys.implementation, '_machine', '?'),"
            " getattr(sys.implementation, '_mpy', 0))"
        )
        board = self.board
        told = f"{name} {'.'.join(str(part) for part in version)} on {machine}"
        least = tuple(int(part) for part in board.micropython.split("."))
        if name != "micropython" or version < least:
            raise Failed(f"{told}: MicroPython {board.micropython} or later is needed, from "
                         f"{board.get}")  # fmt: skip
        arch = mpy >> 10 & 15
        if arch != ARCHES[board.arch]:
            known = next((key for key, value in ARCHES.items() if value == arch), f"number {arch}")
            raise Failed(f"{told}: its architecture is {known}, that of {board.name} is "
                         f"{board.arch}; another BOARD= is valid")  # fmt: skip
        for path, data in image.items():
            if path.endswith(".mpy") and not _loads(data, mpy):
                raise Failed(f"{told}: takes .mpy {mpy & 255}.{mpy >> 8 & 3}, {path} is "
                             f"{data[1]}.{data[2] & 3}; get another from {board.get}")  # fmt: skip
        self.say(told)

    def _settle(self) -> None:
        """Find out which slot stays and have `slot` name it: a trial that is pending ends here."""
        words = self.words()
        sound = self.session.value("[s for s in 'ab' if selector['whole'](s)]")
        self.keep = kept(words, sound)
        self.idle = "b" if self.keep == "a" else "a"
        if self.keep and words[:1] != [self.keep]:
            self.session.run(f"selector['write']('{self.keep}')")

    def _present(self) -> Found:
        """Return what the idle slot holds."""
        root = f"slots/{self.idle}"
        try:
            found = self.session.value(f"list(tree('{root}'))")
        except BoardError as error:
            if error.number is None:
                raise
            return {}
        return {path[len(root) + 1 :]: value for path, value in found}

    def _room(
        self, todo: dict[str, bytes], folders: int, gone: list[tuple[int, str] | None]
    ) -> None:
        status = self.session.value("os.statvfs('.')")
        block, free = status[0], status[3]
        need = sum(-(-len(data) // block) for data in todo.values()) + _SPARE_BLOCKS + 2 * folders
        # A small file lies in its folder's block and gives nothing back.
        need -= sum(-(-size[0] // block) for size in gone if size and size[0] > block // 8)
        if need > free:
            raise Failed(f"its file system has {free * block >> 10} kB free, the image needs "
                         f"{need * block >> 10} kB: delete files of yours")  # fmt: skip

    def _clear(self, gone: list[str], present: Found) -> None:
        """Take the manifest away, then whatever the image has not got just so."""
        root = f"slots/{self.idle}/"
        runs = f"the board runs slot {self.keep}" if self.keep else "no slot is whole: flash again"
        self.state = f"slot {self.idle} is incomplete, {runs}"
        for path in sorted(gone, key=lambda path: path != "manifest"):
            # A folder comes after what is in it.
            call = "rmdir" if present[path] is None else "remove"
            self.session.run(f"os.{call}({root + path!r})")

    def _write(self, todo: dict[str, bytes], folders: list[str], count: int) -> None:
        root = f"slots/{self.idle}/"
        for folder in ("slots", root[:-1], *(root + folder for folder in folders)):
            # Only that it is there is no error: a full file system has no room for it either.
            self.session.run(f"try:\n os.mkdir({folder!r})\n"
                             "except OSError as e:\n if e.errno != 17: raise")  # fmt: skip
        began = time.monotonic()
        size = sum(map(len, todo.values()))
        with _progress(f"slot {self.idle}", size) as wrote:
            for path, data in todo.items():
                self._put(root + path, data, wrote)
        if not self.session.value(f"selector['whole']('{self.idle}')"):
            raise Failed(f"slot {self.idle} does not read back as its manifest says")
        runs = f"but the board runs slot {self.keep}" if self.keep else "and starts with the next"
        self.state = f"slot {self.idle} is whole, {runs}"
        took_s = time.monotonic() - began
        self.say(f"slot {self.idle}: {len(todo)} files, {size / 1000:.1f} kB written and read "
                 f"back in {took_s:.1f} s; {count - len(todo)} were there")  # fmt: skip

    def _put(self, path: str, data: bytes, wrote: Callable[[int], None]) -> None:
        if not self.session.write(path, data, wrote):
            raise Failed(f"{path} reads back otherwise than it was written")

    def _selector(self) -> None:
        """Install the selector as main.py; keep somebody else's main.py beside it."""
        ours = SELECTOR.read_bytes()
        files = self.session.value("[name for name in os.listdir() if name[:4] == 'main']")
        now = self.session.value("sha('main.py')") if "main.py" in files else ""
        if now == sha256(ours).hexdigest():
            return
        head = f"bytes(next(blocks('main.py'), b''))[:{len(_MARK)}]"
        if now and self.session.value(head) != _MARK:
            self._keep_main(files, now)
        self._put("main.py.new", ours, lambda size: None)
        self.session.run("os.rename('main.py.new', 'main.py')")

    def _keep_main(self, files: list[str], now: str) -> None:
        for name in ("main_before.py", *(f"main_before_{k}.py" for k in range(2, 100))):
            if name not in files:
                self.session.run(f"copy('main.py', '{name}')")
            elif self.session.value(f"sha('{name}')") != now:
                continue
            self.say(f"the board's own main.py is kept as {name}")
            return
        raise Failed("main_before*.py: too many; delete some on the board")


def kept(words: list[str], sound: list[str]) -> str | None:
    """Return the slot that stays: the one that is proven, if it is whole, else the other.

    words: of the file `slot`. sound: the slots that are whole.
    """
    first = words[0] if words else "a"
    other = "a" if first == "b" else "b"
    trial = words[1:2] == [other] and words[2:3] != ["failed"]
    order = (other, first) if trial else (first, other)
    return next((slot for slot in order if slot in sound), None)


def _loads(module: bytes, mpy: int) -> bool:
    """Return whether a board takes a .mpy; mpy: its sys.implementation._mpy."""
    native = module[2] >> 2 != 0
    return module[1] == mpy & 255 and (not native or module[2] & 3 == mpy >> 8 & 3)


def _folders(path: str) -> list[str]:
    """Return every folder above a path: a, a/b of a/b/c."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[: k + 1]) for k in range(len(parts))]


@contextlib.contextmanager
def _progress(what: str, size: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(24), DownloadColumn(), TimeRemainingColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip
    with bar:
        task = bar.add_task(what, total=size)
        yield lambda count: bar.advance(task, count)
