"""The whole logic of one pack: `protect` runs from Frame to gates, `estimate` in the slack."""

from binascii import crc32

from bms.core.balance import Balance
from bms.core.cellstep import CellStep
from bms.core.cellwatch import CellWatch
from bms.core.charging import STAGE, Charging
from bms.core.frame import FEATURE_LOST, FLAGS, Frame
from bms.core.gatewatch import GateWatch
from bms.core.limits import Limits
from bms.core.outlook import Outlook
from bms.core.plausible import Plausible
from bms.core.protect import NO_SHED, Protect
from bms.core.selfcheck import SelfCheck
from bms.core.soc import SOC_PPM, Soc
from bms.core.status import Status
from bms.core.switch import ACK, BOOT, CHG_ON, CLEAR, DSG_ON, NONE, STATE, Switch
from bms.core.thermal import Thermal


class Core:
    """Fill `frame.v`, call `protect`, set the gates from `switch.v`, then call `estimate`.

    `hash` runs over Frame, states and Status of every tick, 30 bits: two runs that agree in it
    have agreed in everything so far.
    """

    def __init__(self, pack):
        self.pack = pack
        self.frame = Frame(pack.cells, pack.temps)
        self.plausible = Plausible(pack)
        self.rules = Protect(pack)
        self.switch = Switch(pack.pre_discharge)
        self.gatewatch = GateWatch(pack)
        self.cellwatch = CellWatch(pack)
        self.cellstep = CellStep(pack)
        self.thermal = Thermal(pack)
        self.charging = Charging(pack)
        self.selfcheck = SelfCheck(pack, self.rules)
        self.soc = Soc(pack)
        self.outlook = Outlook(pack)
        self.limits = Limits(pack)
        self.balance = Balance(pack)
        self.status = Status()
        self.request = NONE
        self.hash = 0

    def period_ms(self):
        """Return how long the tick that starts now should take."""
        v = self.switch.v
        fast = v[CHG_ON] or v[DSG_ON] or v[STATE] == BOOT
        return self.pack.tick_ms if fast else self.pack.idle_tick_ms

    def protect(self):
        """From Frame to the state of the gates, within 31 bits and without an allocation."""
        frame = self.frame
        sig = self.plausible.v
        switch = self.switch
        self.plausible.step(frame, self.period_ms())
        self.request = request = switch.request(frame)
        self.rules.step(
            sig,
            frame.v[FLAGS],
            switch.closed(),
            switch.v[DSG_ON],
            request == CLEAR,
            request == ACK,
        )
        switch.step(frame, sig, self.rules, request)

    def estimate(self):
        """After the gates: the signals that take longer, SoC and limits, and Status in any case.

        Raises what a part of it raised; what protects runs first, and again the next tick.
        """
        frame = self.frame
        sig = self.plausible.v
        try:
            self.gatewatch.step(frame, sig, self.switch.v)
            self.cellwatch.step(frame, sig)
            self.cellstep.step(frame, sig, self.cellwatch.v)
            self.thermal.step(frame, sig)
            self.charging.step(sig)
            self.selfcheck.step(frame, sig, self.switch)
            if not frame.v[FLAGS] & FEATURE_LOST:
                self._optional(frame, sig)
        finally:
            self.rules.look(sig)
            self.status.publish(self)

    def _optional(self, frame, sig):
        rules = self.rules
        stage = self.charging.v[STAGE]
        self.soc.step(frame, sig)
        self.outlook.step(sig, self.soc)
        self.limits.step(sig, rules, stage, self.soc.v[SOC_PPM])
        self.balance.step(frame, sig, rules.shed_left_ms == NO_SHED, stage)

    def parts(self):
        """Return the arrays of one record, in order: Frame, states, Status.

        Status has two buffers: its entry, the last, is renewed by `digest`.
        """
        soc = self.soc
        return [
            self.frame.v,
            self.plausible.v,
            self.rules.v,
            self.switch.v,
            self.gatewatch.v,
            self.cellwatch.v,
            self.cellwatch.last,
            self.cellstep.v,
            self.cellstep.last,
            self.thermal.v,
            self.thermal.last,
            self.charging.v,
            self.selfcheck.v,
            soc.v,
            soc.filter.v,
            soc.filter.scale.v,
            soc.filter.bound.v,
            soc.spread.v,
            soc.capacity.v,
            self.outlook.v,
            self.limits.v,
            self.balance.v,
            self.status.v,
        ]

    def digest(self, parts):
        """Take one tick's record into `hash` and return it."""
        h = self.hash
        parts[-1] = self.status.v
        for part in parts:
            h = crc32(part, h)
        self.hash = h & 0x3FFFFFFF
        return self.hash

