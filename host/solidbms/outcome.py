"""What came of a run: trace.csv, events.csv and summary.json out of the record and the truth."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bms.core import frame, protect, rules, switch
from numpy.typing import NDArray

from solidbms.packc import Compiled
from solidbms.packrules import Rule
from solidbms.reaction import Witness
from solidbms.record import Record
from solidbms.scenario import Expect
from solidbms.world import World

Event = tuple[int, str, str]
LEVEL_WORD = rules.LEVELS


@dataclass
class Trip:
    """One time a row acted; times in ms of the run."""

    rule: Rule
    crossed_ms: int
    acted_ms: int
    until_ms: int
    gate_ms: int | None = None

    def reaction_ms(self) -> int:
        """From the crossing to the gate; to the end of the trip, where no gate opened."""
        return (self.until_ms if self.gate_ms is None else self.gate_ms) - self.crossed_ms


class Outcome:
    """Reads a record once; every output derives from it.

    What the world saw (truth, events, readings, gate pins) is measured against what the firmware
    says of itself.
    """

    def __init__(
        self,
        record: Record,
        compiled: Compiled,
        world: World,
    ) -> None:
        self.record = record
        self.compiled = compiled
        self.truth = np.array(world.truth, float).reshape(-1, 3)
        self.world_events = world.events
        self.witness = Witness(world, compiled.blob)
        self.lag_ms = world.lag_ms
        self.t_ms = record.elapsed_ms
        self.state = record["status.state"]
        self.phases = {r.id: record[f"rule.{r.id}.phase"] for r in compiled.rules}
        self.acted = {name: phase >= protect.ACTED for name, phase in self.phases.items()}
        self.trips = self._trips()

    def events(self) -> list[Event]:
        """Return (t_ms, event, detail) in order of time."""
        found: list[Event] = list(self.world_events)
        if not len(self.t_ms):
            return found
        found.append((0, "boot", self.compiled.file.name))
        states = switch.STATES
        for k in _changes(self.state):
            found.append((self._at(k), "state",
                          f"{states[self.state[k - 1]]}->{states[self.state[k]]}"))  # fmt: skip
        gates = self._gates()
        for k in _changes(gates):
            word = f"chg={gates[k] & 1} dsg={gates[k] >> 1}"
            found.append((self._at(k), "gate", word))
        for rule in self.compiled.rules:
            acted = self.acted[rule.id]
            for k in _changes(acted, first=True):
                word = LEVEL_WORD[rule.row[rules.LEVEL]] if acted[k] else "recover"
                found.append((self._at(k), word, rule.id))
        for name, word in (("frame.fe_resets", "reset"), ("status.corrections", "rest")):
            for k in _changes(self.record[name]):
                soc = self.record["status.soc_ppm"][k] / 1e4
                found.append((self._at(k), word, f"soc {soc:.1f} %" if word == "rest" else ""))
        for k in _changes(self.record["status.refused"]):
            found.append((self._at(k), "refused", "close"))
        lost = self.record["frame.flags"] & frame.FEATURE_LOST
        found += [(self._at(k), "feature lost", "") for k in _changes(lost)]
        found.append((self._at(-1), "end", states[self.state[-1]]))
        return sorted(found, key=lambda e: e[0])

    def write_trace(self, path: Path) -> None:
        """Write trace.csv, one row a second: the first tick of it."""
        record = self.record
        rows = np.flatnonzero(np.diff(self.t_ms // 1000, prepend=-1) > 0)
        true_at = np.searchsorted(self.truth[:, 0], self.t_ms[rows], side="right") - 1

        def scaled(name: str, per: float, digits: int) -> list[str]:
            return [f"{x / per:.{digits}f}" for x in record[name][rows]]

        columns: dict[str, list[str]] = {
            "t_s": [str(t // 1000) for t in self.t_ms[rows]],
            "state": [switch.STATES[s] for s in self.state[rows]],
            "trips": self._words(rows, rules.TRIP),
            "soc_pct": scaled("status.soc_ppm", 1e4, 3),
            "soc_bound_pct": scaled("status.soc_bound_ppm", 1e4, 3),
            "pack_v": scaled("status.pack_uv", 1e6, 4),
            "current_a": scaled("status.current_ua", 1e6, 4),
            "cell_min_v": scaled("status.cell_min_uv", 1e6, 4),
            "cell_max_v": scaled("status.cell_max_uv", 1e6, 4),
            "temp_min_c": scaled("status.temp_min_mdegc", 1e3, 2),
            "temp_max_c": scaled("status.temp_max_mdegc", 1e3, 2),
            "chg_on": [str(x) for x in record["status.chg_on"][rows]],
            "dsg_on": [str(x) for x in record["status.dsg_on"][rows]],
            "charge_limit_a": scaled("status.charge_limit_ma", 1e3, 2),
            "discharge_limit_a": scaled("status.discharge_limit_ma", 1e3, 2),
            "shed_left_s": [
                f"{x / 1e3:.1f}" if x >= 0 else "" for x in record["status.shed_left_ms"][rows]
            ],
            "warns": self._words(rows, rules.WARN),
            "notes": self._words(rows, rules.NOTE),
            "true_soc_pct": [f"{self.truth[k, 1] * 100:.3f}" if k >= 0 else "" for k in true_at],
            "true_temp_c": [f"{self.truth[k, 2]:.2f}" if k >= 0 else "" for k in true_at],
        }
        with path.open("w", newline="", encoding="ascii") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))

    def write_events(self, path: Path) -> None:
        """Write events.csv."""
        with path.open("w", newline="", encoding="ascii") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("t_ms", "event", "detail"))
            writer.writerows(self.events())

    def soc_score(self, skip_s: float = 0.0) -> dict[str, Any]:
        """Return error and bound against the truth, from skip_s after the estimate began."""
        started = np.flatnonzero(self.record["soc.started"])
        if not len(started) or not len(self.truth):
            return {}
        begin = self.t_ms[started[0]] + skip_s * 1000
        truth = self.truth[(self.truth[:, 0] >= begin) & (self.truth[:, 0] <= self.t_ms[-1])]
        if not len(truth):
            return {}
        at = np.searchsorted(self.t_ms, truth[:, 0], side="right") - 1
        estimate = self.record["status.soc_ppm"][at] / 1e4
        bound = self.record["status.soc_bound_ppm"][at] / 1e4
        error = estimate - truth[:, 1] * 100
        return {
            "rmse_pct": round(float(np.sqrt(np.mean(error**2))), 4),
            "max_pct": round(float(np.abs(error).max()), 4),
            "end_pct": round(float(error[-1]), 4),
            "bound_held": bool((np.abs(error) <= bound).all()),
            "bound_held_pct": round(float((np.abs(error) <= bound).mean() * 100), 3),
            "bound_max_pct": round(float(bound.max()), 4),
            "bound_end_pct": round(float(bound[-1]), 4),
            "scored_from_s": round(skip_s, 3),
        }

    def check(self, expect: Expect) -> list[dict[str, Any]]:
        """Return one line for everything that the scenario expects."""
        lines: list[dict[str, Any]] = []
        if expect.state is not None and len(self.state):
            got = switch.STATES[self.state[-1]]
            lines.append({"what": f"ends {expect.state}", "ok": got == expect.state, "got": got})
        for level, wanted in (
            (rules.TRIP, expect.trips), (rules.WARN, expect.warns), (rules.NOTE, expect.notes),
        ):  # fmt: skip
            if wanted is None:
                continue
            acted = [t.rule.id for t in self.trips if t.rule.row[rules.LEVEL] == level]
            got_ids = list(dict.fromkeys(acted))
            word = ", ".join(wanted) or "none"
            lines.append({
                "what": f"{rules.LEVELS[level]}s: {word}",
                "ok": got_ids == wanted,
                "got": ", ".join(got_ids) or "none",
            })  # fmt: skip
        if expect.within_promise:
            trips = [t for t in self.trips if t.rule.row[rules.LEVEL] == rules.TRIP]
            late = [t for t in trips if t.reaction_ms() > self._promise_ms(t)]
            lines.append({
                "what": "every trip within its promise",
                "ok": not late,
                "got": ", ".join(t.rule.id for t in late) + " late" if late
                else f"{len(trips)} in time",
            })  # fmt: skip
        lines.append(self._pins())
        soc = self.soc_score()
        if expect.soc_error_pct_max is not None:
            got_pct = soc.get("max_pct")
            ok = got_pct is not None and got_pct <= expect.soc_error_pct_max
            what = f"SoC within {expect.soc_error_pct_max:g} %"
            lines.append({"what": what, "ok": ok, "got": f"{got_pct} %"})
        if expect.soc_bound_holds:
            held = soc.get("bound_held_pct")
            what = "SoC bound holds"
            lines.append({"what": what, "ok": bool(soc.get("bound_held")), "got": f"{held} %"})
        return lines

    def trip_table(self) -> list[dict[str, Any]]:
        """Return one entry for every time a row acted, with promise and measurement."""
        return [
            {
                "rule": trip.rule.id,
                "level": rules.LEVELS[trip.rule.row[rules.LEVEL]],
                "path": rules.PATHS[trip.rule.row[rules.PATH]],
                "signal": trip.rule.signal,
                "limit": trip.rule.limit,
                "crossed_ms": trip.crossed_ms,
                "acted_ms": trip.acted_ms,
                "gate_ms": trip.gate_ms,
                "promise_ms": self._promise_ms(trip),
                "measured_ms": None if trip.gate_ms is None else trip.reaction_ms(),
                "shed_ms": trip.rule.shed_ms,
            }
            for trip in self.trips
        ]

    def _trips(self) -> list[Trip]:
        trips = []
        for rule in self.compiled.rules:
            acted = self.acted[rule.id]
            clear = np.flatnonzero(self._inside(rule))
            for k in _changes(acted, first=True):
                if not acted[k]:
                    continue
                crossed = self.witness.crossed_ms(rule, self._at(k))
                if crossed is None:
                    before = clear[clear < k]
                    crossed = self._at(before[-1]) if len(before) else 0
                ends = np.flatnonzero(~acted[k:])
                until = self._at(k + ends[0]) if len(ends) else self._at(-1)
                trip = Trip(rule, crossed, self._at(k), until)
                if rule.row[rules.LEVEL] == rules.TRIP:
                    path = rule.row[rules.PATH]
                    trip.gate_ms = self.witness.opened_ms(path, crossed, until)
                trips.append(trip)
        return sorted(trips, key=lambda t: t.acted_ms)

    def _inside(self, rule: Rule) -> NDArray[np.bool_]:
        """Return the ticks at which a row's delay does not run."""
        clear = self.phases[rule.id] == protect.CLEAR
        if rule.id not in rules.RUN_BACK:
            return clear
        timer_ms = self.record[f"rule.{rule.id}.timer_ms"]
        return clear | (np.diff(timer_ms, prepend=0) < 0)

    def _pins(self) -> dict[str, Any]:
        """Return the line that holds the gate pins against Status, tick by tick."""
        shown = self.witness.gates_at(self.t_ms + self.lag_ms)
        wrong = np.flatnonzero(shown != self._gates())
        return {
            "what": "gate pins as Status says",
            "ok": not len(wrong),
            "got": f"from {self._at(wrong[0])} ms on they differ" if len(wrong) else "the same",
        }

    def _promise_ms(self, trip: Trip) -> int:
        # With the gates open ticks come slower; the promise of the pack is for closed gates.
        gates = self._gates()
        k = int(np.searchsorted(self.t_ms, trip.crossed_ms))
        open_then = not gates[max(0, k)]
        file = self.compiled.file
        return trip.rule.promise_ms(file.idle_tick_ms if open_then else file.tick_ms)

    def _gates(self) -> NDArray[np.int32]:
        return self.record["status.chg_on"] | self.record["status.dsg_on"] << 1

    def _words(self, rows: NDArray[np.int64], level: int) -> list[str]:
        words = [""] * len(rows)
        for rule in self.compiled.rules:
            if rule.row[rules.LEVEL] == level:
                for k in np.flatnonzero(self.acted[rule.id][rows]):
                    words[k] = f"{words[k]} {rule.id}".lstrip()
        return words

    def _at(self, k: int | np.integer[Any]) -> int:
        return int(self.t_ms[k])


def _changes(values: NDArray[Any], first: bool = False) -> NDArray[np.int64]:
    """Return where values differ from the one before; with first, also a true first one."""
    k = np.flatnonzero(values[1:] != values[:-1]) + 1
    if first and len(values) and values[0]:
        k = np.concatenate([[0], k])
    return k


def limits_of(compiled: Compiled) -> dict[str, float]:
    """Return the limits that a report draws: the tightest trip of each kind, V, A, degC."""
    by_id = {rule.id: rule for rule in compiled.rules}
    return {
        "cell_max_v": by_id["cell_ov"].limit / 1e6,
        "cell_min_v": by_id["cell_uv"].limit / 1e6,
        "temp_max_c": by_id["hot"].limit / 1e3,
        "charge_a": by_id["charge_oc"].limit / 1e6,
        "discharge_a": by_id["dsg_oc"].limit / 1e6,
    }


def write_summary(path: Path, summary: dict[str, Any]) -> None:
    """Write summary.json."""
    path.write_text(json.dumps(summary, indent=1) + "\n", encoding="ascii")
