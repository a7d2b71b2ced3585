"""One tick: front end, Frame, core, gates; then, in the slack, estimate, record and rest."""

from bms.compat import collect, heap_lock, heap_unlock
from bms.core import frame as F
from bms.core.core import Core
from bms.core.fixed import TICKS_MAX, ticks_diff
from bms.core.switch import CHG_ON, CLEAR, DSG_ON
from bms.mailbox import Mailbox

_GC_EVERY = 20  # ticks


class Bms:
    """The running firmware of one pack on one board.

    board: `drivers(pack)` gives the objects whose `read(frame)` fill the Frame;
    `gates.set(chg_on, dsg_on)` commands and feeds; `ticks_ms()` is the clock; `saved()` the
    (soc_ppm, bound_ppm) kept over the last boot, -1 for none; `record(parts, digest)` gets every
    tick's record; `failed(error)` hears of a lost feature; `sleep_until(t_ms, mailbox)` ends the
    tick, leaves in the mailbox what was asked meanwhile, and returns whether to go on.
    """

    def __init__(self, board, pack, code_ok=True):
        """code_ok: the CRC of what is running was checked and holds."""
        self.board = board
        self.core = Core(pack)
        self.mailbox = Mailbox()
        self.drivers = board.drivers(pack)
        self._parts = self.core.parts()
        self._flags = F.CODE_OK if code_ok else 0
        self._recording = True
        self._ticks = 0
        self._next_ms = board.ticks_ms()
        f = self.core.frame.v
        f[F.SAVED_SOC_PPM], f[F.SAVED_BOUND_PPM] = board.saved()

    def run(self):
        """Tick until the board says stop."""
        try:
            while self.step():
                pass
        finally:
            # Whatever ended the loop: nobody ticks any more.
            self.board.gates.set(0, 0)

    def step(self):
        """Run one whole tick; return whether the board wants another."""
        heap_lock()
        try:
            self._protect()
        except BaseException as error:
            # Whatever went wrong before the gates were set: open them first, then let it rise.
            self.board.gates.set(0, 0)
            raise error
        finally:
            heap_unlock()
        return self._slack()

    def _protect(self):
        core = self.core
        frame = core.frame
        now = self.board.ticks_ms()
        frame.v[F.T_MS] = now
        frame.v[F.FLAGS] = self._flags
        frame.v[F.CHARGE_UAS] = 0
        for driver in self.drivers:
            driver.read(frame)
        self.mailbox.take(frame, now)
        core.protect()
        gates = core.switch.v
        self.board.gates.set(gates[CHG_ON], gates[DSG_ON])

    def _slack(self):
        core = self.core
        board = self.board
        # After the gates a failure costs its feature, never the pack. Limits and SoC are needed:
        # a rule warns and sheds, and a clear request tries again. A record is not.
        if not self._flags & F.FEATURE_LOST:
            try:
                core.estimate()
            except Exception as error:
                self._flags |= F.FEATURE_LOST
                board.failed(error)
        elif core.request == CLEAR:
            self._flags &= ~F.FEATURE_LOST
        if self._recording:
            try:
                board.record(self._parts, core.digest(self._parts))
            except Exception as error:
                self._recording = False
                board.failed(error)
        self._ticks += 1
        if self._ticks % _GC_EVERY == 0:
            collect()
        period_ms = core.period_ms()
        # Late by more than a tick, or a clock that ran back: begin anew from here.
        late_ms = ticks_diff(board.ticks_ms(), self._next_ms)
        if not 0 <= late_ms <= period_ms:
            self._next_ms = board.ticks_ms()
        self._next_ms = (self._next_ms + period_ms) & TICKS_MAX
        return board.sleep_until(self._next_ms, self.mailbox)
