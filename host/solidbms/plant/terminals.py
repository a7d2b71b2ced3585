"""What flows between the stack of cells and what hangs on the terminals, past the FETs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from solidbms.plant.fet import FetPair
from solidbms.plant.outside import Outside
from solidbms.surroundings import Charge, Output

NEAR_CV = 0.02  # a charger within this share of its voltage is looked at often
FULL_V = 1e-3  # a capacitance so near what feeds it is full


@dataclass
class Flow:
    """Currents of a stretch of time, charge positive."""

    current_a: float = 0.0  # at the end of a step
    mean_a: float = 0.0
    peak_a: float = 0.0  # the furthest that it goes
    load_a: float = 0.0  # what the load asked for
    through: bool = False  # the large FETs join stack and terminals
    held_v: float | None = None  # what the terminals stay at, where not the stack gives it
    brief: bool = False  # holds for one step
    watched: bool = False  # depends on voltage


class Terminals:
    """The voltage behind the FETs: a capacitance, filled through them and drained by the load.

    While the large FETs conduct it follows the stack; what the capacitance takes and gives then is
    left out (2 mF and a load step of 5 V: 10 mAs), but for the rush when they close on it.
    """

    def __init__(self, outside: Outside, output: Output, shunt_ohm: float) -> None:
        self.v = 0.0
        self._outside = outside
        self._farad = output.capacitance_uf * 1e-6
        self._leak_s = 1 / output.leak_ohm if output.leak_ohm else 0.0
        self._shunt_ohm = shunt_ohm
        self._through = False

    def flow(
        self,
        stack: tuple[float, float],
        fets: FetPair,
        limits_a: tuple[float, float],
        enabled: bool,
        dt_s: float,
    ) -> Flow:
        """Return what flows from now on. stack: its voltage without current, its resistance;
        enabled: the charger's input."""
        stack_v, stack_ohm = stack
        ohm = stack_ohm + self._shunt_ohm + 2 * fets.rds_on_ohm
        charge, discharge, pre_discharge, pre_charge = fets.ways
        charger = self._outside.charger
        if charger is not None and charger.heeds_inhibit and not enabled:
            charger = None
        flow = Flow(load_a=self._outside.load_a(limits_a))
        current = flow.load_a
        slow_a = 0.0  # of the charger by the small FET
        if charger is not None:
            away_v = charger.cv_v - stack_v - (0.0 if discharge else fets.diode_v)
            if pre_charge and not charge:
                slow_a = self._outside.charge_a(
                    charger, limits_a[0], away_v / (stack_ohm + fets.pre_charge_ohm)
                )
            current += self._outside.charge_a(charger, limits_a[0], away_v / ohm - current)
        siemens = self._outside.siemens + self._leak_s
        if siemens and discharge:
            current -= siemens * (stack_v + current * ohm) / (1 + siemens * ohm)
        flow.through = discharge or (current > 0 and charge)
        if current > 0 and not charge:
            current = slow_a
            # A charger that is kept out holds the terminals above the stack.
            flow.through = discharge and charger is None
        elif current < 0 and not discharge:
            current = 0.0
        flow.current_a = flow.mean_a = flow.peak_a = current
        flow.watched = self._outside.siemens > 0 or _near_cv(charger, stack_v + current * ohm)
        if flow.through:
            self._rush(flow, stack_v, ohm, dt_s)
        elif charger is not None:
            flow.held_v = charger.cv_v
        elif pre_discharge:
            source_v = stack_v if charge else stack_v - fets.diode_v
            self._fill(flow, source_v, stack_ohm + fets.pre_discharge_ohm, dt_s)
        self._through = flow.through
        return flow

    def _rush(self, flow: Flow, stack_v: float, ohm: float, dt_s: float) -> None:
        """The large FETs close on a capacitance that is not full: over within a step."""
        gap_v = stack_v - self.v
        if self._farad and not self._through and gap_v > FULL_V:
            flow.mean_a -= self._farad * gap_v / dt_s
            flow.peak_a = min(flow.peak_a, -gap_v / ohm)
            flow.brief = True

    def _fill(self, flow: Flow, source_v: float, ohm: float, dt_s: float) -> None:
        """Through the small FET's resistor; what hangs on the terminals drains it meanwhile."""
        siemens = self._outside.siemens + self._leak_s
        settled_v = source_v / (1 + ohm * siemens)
        gap_v, tau_s = self.v - settled_v, self._farad / (siemens + 1 / ohm)
        left = math.exp(-dt_s / tau_s) if tau_s else 0.0
        flow.peak_a = (self.v - source_v) / ohm
        flow.brief = abs(gap_v) > FULL_V
        self.v = flow.held_v = settled_v + gap_v * left
        flow.current_a = (self.v - source_v) / ohm
        flow.mean_a = (settled_v + gap_v * (1 - left) * tau_s / dt_s - source_v) / ohm

    def after(
        self, flow: Flow, fets: FetPair, stack_v: list[float], dt_s: float
    ) -> list[float]:
        """Return the terminals' voltage after each step, the stack's being stack_v."""
        if flow.held_v is not None:
            return [flow.held_v] * len(stack_v)
        if flow.through:
            drop_v = fets.drop_v(flow.current_a)
            return [v + drop_v for v in stack_v]
        if self._farad == 0.0 or self.v == 0.0:
            return [0.0] * len(stack_v)
        left = math.exp(-dt_s * (self._outside.siemens + self._leak_s) / self._farad)
        drawn_v = min(flow.load_a, 0.0) * dt_s / self._farad
        v, found = self.v, []
        for _ in stack_v:
            v = max(v * left + drawn_v, 0.0)
            found.append(v)
        return found


def _near_cv(charger: Charge | None, terminals_v: float) -> bool:
    return charger is not None and terminals_v > charger.cv_v * (1 - NEAR_CV)
