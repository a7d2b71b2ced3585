"""One tick: front end, Frame, core, gates; then, in the slack, estimate, links and rest."""

from bms.compat import collect, heap_lock, heap_unlock, sleep_ms
from bms.core import frame as F
from bms.core.balance import MASK
from bms.core.core import Core
from bms.core.fixed import TICKS_MAX, ticks_diff
from bms.core.switch import BOOT, CHG_ON, CLEAR, DSG_ON, FUSE, STATE
from bms.mailbox import Mailbox

_GC_EVERY = 20  # ticks: a second's garbage of the links is some 10 kB
_LOOK_MS = 10  # between two looks at the links in `task`


class Bms:
    """The running firmware of one pack on one board.

    board: `drivers(pack)` gives the objects whose `read(frame)` fill the Frame, the front end
    first, which takes `balance(mask)` where the pack bleeds cells and is told whether a gate is
    `closed`; `tested()` the flags of the
    boot test (CODE_OK, PINS_OK); `gates.set(chg_on, dsg_on)` commands and feeds,
    `gates.dropped()` tells that hardware holds open what is commanded closed, `gates.blow()` blows
    the fuse (packs that have one to blow); `ticks_ms()` is the clock; `saved()` the (soc_ppm,
    bound_ppm) kept over the last boot, -1 for none; `links(bms)` whoever hears of the pack, each
    with a `step()` that returns whether it had something to tell;
    `failed(error)` hears of a lost feature or link; `ticked()` is the last of a whole tick;
    `pump()` looks at the links between two ticks;
    `sleep_until(t_ms, mailbox)` rests, leaves in the mailbox what was asked meanwhile, and returns
    whether to go on.
    """

    def __init__(self, board, pack):
        self.board = board
        self.core = Core(pack)
        self.mailbox = Mailbox()
        self.drivers = board.drivers(pack)
        self.links = board.links(self)
        self._flags = board.tested()
        self._opened = False  # gates were opened past the switch, which still holds them closed
        self._ticks = 0
        self.next_ms = board.ticks_ms()
        f = self.core.frame.v
        f[F.SAVED_SOC_PPM], f[F.SAVED_BOUND_PPM] = board.saved()

    def run(self):
        """Tick until the board says stop."""
        try:
            while self.cycle():
                pass
        finally:
            self._open()  # whatever ended the loop: nobody ticks any more

    def cycle(self):
        """Run one tick and rest until the next; return whether the board wants another."""
        self.tick()
        return self.board.sleep_until(self.next_ms, self.mailbox)

    def step(self):
        """For a loop of your own: run a tick if one is due; return the ms until the next is."""
        wait_ms = ticks_diff(self.next_ms, self.board.ticks_ms())
        if not 0 < wait_ms <= self.core.period_ms():  # due, or the clock ran back
            self.tick()
            wait_ms = ticks_diff(self.next_ms, self.board.ticks_ms())
        else:
            self.board.pump()
        return max(wait_ms, 0)

    async def task(self):
        """For asyncio: `create_task(bms.task())` ticks beside your own tasks."""
        try:
            while True:
                await sleep_ms(min(self.step(), _LOOK_MS))
        finally:
            self._open()

    def lose(self, error):
        """Take an error beside the ticks as a lost feature: the pack warns and sheds."""
        if not self._flags & F.FEATURE_LOST:
            self._flags |= F.FEATURE_LOST
            self.board.failed(error)

    def tick(self):
        """Run one whole tick."""
        heap_lock()
        try:
            self._protect()
        except BaseException as error:
            # Whatever went wrong before the gates were set: open them first, then let it rise.
            self._open()
            raise error
        finally:
            heap_unlock()
        self._slack()

    def _open(self):
        # The switch does not know: should somebody tick again, that is a gate dropped, not one to
        # be closed again without a request.
        self._opened = True
        self.board.gates.set(0, 0)

    def _protect(self):
        core = self.core
        frame = core.frame
        gates = self.board.gates
        now = self.board.ticks_ms()
        frame.v[F.T_MS] = now
        self._opened = self._opened and core.switch.closed()
        dropped = gates.dropped() or self._opened
        frame.v[F.FLAGS] = self._flags | F.GATE_DROPPED if dropped else self._flags
        frame.v[F.CHARGE_UAS] = 0
        for driver in self.drivers:
            driver.read(frame)
        self.mailbox.take(frame, now)
        core.protect()
        switch = core.switch.v
        gates.set(switch[CHG_ON], switch[DSG_ON])
        if switch[FUSE]:
            gates.blow()

    def _slack(self):
        core = self.core
        board = self.board
        # A front end with FETs of its own is not configured under a gate that is to be closed.
        self.drivers[0].closed = core.switch.closed()
        # After the gates a failure costs its feature, never the pack. Limits and SoC are needed:
        # a rule warns and sheds, and a clear request tries again. A link is not.
        if core.request == CLEAR:
            self._flags &= ~F.FEATURE_LOST
        try:
            core.estimate()
            if core.pack.balance_cells:
                self.drivers[0].balance(core.balance.v[MASK])
        except Exception as error:
            self.lose(error)
        if core.switch.v[STATE] == BOOT:
            self._flags |= board.tested()  # what the first readings have healed counts
        busy = False
        for link in self.links:
            try:
                busy = link.step() or busy
            except Exception as error:
                self.links = [other for other in self.links if other is not link]
                board.failed(error)
        # Garbage in a tick that has little else to do, if one comes soon.
        self._ticks += 1
        if (self._ticks >= _GC_EVERY and not busy) or self._ticks >= 2 * _GC_EVERY:
            self._ticks = 0
            collect()
        period_ms = core.period_ms()
        # Late by more than a tick, or a clock that ran back: begin anew from here.
        late_ms = ticks_diff(board.ticks_ms(), self.next_ms)
        if not 0 <= late_ms <= period_ms:
            self.next_ms = board.ticks_ms()
        self.next_ms = (self.next_ms + period_ms) & TICKS_MAX
        board.ticked()
