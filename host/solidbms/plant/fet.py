"""Charge and discharge MOSFET in series, back to back. Charge current is positive.

Each blocks one direction only: past a FET that is off, current of the other direction still flows
through the body diode. High or low side makes no difference here. Beside each may lie a small FET
with a resistor: pre-discharge fills what hangs on the terminals, pre-charge lifts an empty cell.
"""

from dataclasses import dataclass, field
from typing import Literal

Fault = Literal["welded", "open"]


@dataclass
class Fet:
    """One MOSFET. gate: what the firmware commands.

    fault "welded": the channel conducts whatever the gate. "open": the channel (or its gate drive)
    is dead and never conducts; the body diode remains. A blown bond wire, which would take the
    diode along, is not modelled.
    """

    gate: bool = False
    fault: Fault | None = None

    @property
    def on(self) -> bool:
        """Whether the channel conducts."""
        if self.fault == "welded":
            return True
        return self.gate and self.fault is None


@dataclass
class FetPair:
    """The pack's switch. rds_on_ohm: of each channel; diode_v: drop of each body diode;
    pre_discharge_ohm, pre_charge_ohm: small FET and its resistor."""

    rds_on_ohm: float = 0.005
    diode_v: float = 0.7
    charge: Fet = field(default_factory=Fet)
    discharge: Fet = field(default_factory=Fet)
    pre_discharge: Fet = field(default_factory=Fet)
    pre_charge: Fet = field(default_factory=Fet)
    pre_discharge_ohm: float = 100.0
    pre_charge_ohm: float = 100.0

    @property
    def ways(self) -> tuple[bool, bool, bool, bool]:
        """What conducts: charge, discharge, pre-discharge, pre-charge."""
        return self.charge.on, self.discharge.on, self.pre_discharge.on, self.pre_charge.on

    def conducts(self, current_sign: float) -> bool:
        """Whether current of this sign can flow past the large FETs; for 0, whether any can."""
        if current_sign > 0:
            return self.charge.on
        if current_sign < 0:
            return self.discharge.on
        return self.charge.on or self.discharge.on

    def path(self, want_a: float) -> float:
        """The current that flows when the outside wants `want_a`: all of it or none."""
        return want_a if self.conducts(want_a) else 0.0

    def drop_v(self, current_a: float) -> float:
        """Voltage across the pair, with the sign of the current; pack less cell stack.

        Raises ValueError for a current that the pair blocks.
        """
        if current_a == 0.0:
            return 0.0
        if not self.conducts(current_a):
            way = "charge" if current_a > 0 else "discharge"
            raise ValueError(f"current_a: {current_a} cannot flow, the {way} FET is off")
        channel_v = abs(current_a) * self.rds_on_ohm
        passed = self.discharge if current_a > 0 else self.charge
        # The body diode lies beside the channel, so it also caps what a channel can drop.
        passed_v = min(channel_v, self.diode_v) if passed.on else self.diode_v
        return (channel_v + passed_v) * (1.0 if current_a > 0 else -1.0)

    def loss_w(self, current_a: float) -> float:
        """Heat in the pair at this current, W. Raises as `drop_v`."""
        return self.drop_v(current_a) * current_a
