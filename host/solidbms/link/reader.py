"""One place, read in a thread of its own, and found again when it went."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future

from bms.links import framing as L

from solidbms.link import LinkError, Message, Port, open_port

_AGAIN_S = 1.0  # between two tries to find it again
_POLL_S = 0.02  # how long a question of yours waits
_SILENT_S = 3.0  # then it is asked what it is: perhaps it was reset, or flashed
_ANSWER_S = 5.0

_log = logging.getLogger(__name__)


class Reader:
    """Hands every message to `heed`, from its own thread; `lost` hears why nothing comes."""

    def __init__(
        self,
        place: str,
        timeout_s: float,
        heed: Callable[[Message], None],
        lost: Callable[[str], None],
    ) -> None:
        """timeout_s: how long the pack may take to tell what it is."""
        self.place = place
        self._timeout_s = timeout_s
        self._heed = heed
        self._lost = lost
        self._closing = False
        self._heard_s = 0.0
        self._jobs: queue.SimpleQueue[tuple[int, int, int, Future[str]]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"link {place}", daemon=True)
        self._thread.start()

    def ask(self, kind: int, code: int, argument: int) -> str:
        """Send from any other thread; return one of framing.RESULTS, or "no answer"."""
        answer: Future[str] = Future()
        self._jobs.put((kind, code, argument, answer))
        try:
            return answer.result(_ANSWER_S)
        except (TimeoutError, CancelledError):
            answer.cancel()  # too late is worse than not at all
            return "no answer"

    def close(self) -> None:
        """Let go of the place."""
        self._closing = True
        self._thread.join(10)

    def _run(self) -> None:
        while not self._closing:
            port = None
            try:
                port = open_port(self.place)
                self._listen(port)
            except (LinkError, OSError) as error:
                self._lost(str(error))
            except Exception as error:
                _log.exception("link: %s", self.place)
                self._lost(f"{self.place}: {error!r}")
            if port is not None:
                with contextlib.suppress(Exception):  # gone already
                    port.close()
            self._forget()
            if self.place.startswith("sim:"):
                break  # it has ended: another one would begin anew
            self._rest()
        if self._closing:
            self._lost("closed")
        self._forget()

    def _listen(self, port: Port) -> None:
        self._take(port.hello(self._timeout_s))
        while not self._closing:
            while not self._jobs.empty():
                kind, code, argument, answer = self._jobs.get()
                if answer.set_running_or_notify_cancel():
                    try:
                        answer.set_result(port.request(kind, code, argument, self._take))
                    except Exception:
                        answer.set_result("no answer")
                        raise
            for message in port.receive(_POLL_S):
                self._take(message)
            if time.monotonic() - self._heard_s > _SILENT_S:
                self._heard_s = time.monotonic()
                port.send(L.ASK, L.ASK_HELLO)

    def _take(self, message: Message) -> None:
        self._heard_s = time.monotonic()
        self._heed(message)

    def _forget(self) -> None:
        while not self._jobs.empty():
            self._jobs.get()[3].cancel()

    def _rest(self) -> None:
        end = time.monotonic() + _AGAIN_S
        while not self._closing and time.monotonic() < end:
            time.sleep(_POLL_S)
