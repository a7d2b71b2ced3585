"""A measured cell instead of a modelled one: what the cycler saw goes through the chip models into
the firmware, and the cycler's counter scores it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from solidbms.measured import Measured, counted_against, open_gap, read_measured
from solidbms.packc import compile_pack
from solidbms.plant.fet import FetPair
from solidbms.run import Job
from solidbms.scenario import Expect, Request
from solidbms.schema import BadInput, shown
from solidbms.world import World

ADC_V = 5.0  # range of --adc-bits for voltage
ADC_A = 40.0  # and, both ways, for current
RANGES = {
    "from_soc": (0.0, 100.0),
    "start_soc": (0.0, 100.0),
    "start_bound_pct": (0.0, 100.0),
    "gain_pct": (-50.0, 50.0),
    "offset_ma": (-10e3, 10e3),
    "temp_offset_c": (-100.0, 100.0),
    "capacity_pct": (-90.0, 900.0),
    "noise_mv": (0.0, 1000.0),
    "temp_step_c": (0.0, 50.0),
    "temp_c": (-60.0, 150.0),
}
SCORE_AFTER_S = 1200.0
CLOSE_S = 2.0  # the boot test has passed by then


@dataclass(frozen=True)
class Options:
    """The options of `solidbms replay`."""

    cell: str
    pack: str = "bench_1s"
    from_soc: float | None = None
    start_soc: float | None = None
    start_bound_pct: float | None = None
    gain_pct: float = 0.0
    offset_ma: float = 0.0
    temp_offset_c: float = 0.0
    capacity_pct: float = 0.0
    noise_mv: float = 0.0
    adc_bits: int | None = None
    temp_step_c: float = 0.0
    temp_c: float | None = None
    discharge_positive: bool = False
    columns: str | None = None
    seed: int = 0


class Playback:
    """The plant of a replay: rows held between their times, faults of the sensors applied.

    The gates do not isolate: what was measured flows on whatever they do.
    """

    def __init__(
        self, data: Measured, capacity_ah: float, options: Options, sensors: int = 1
    ) -> None:
        self.sensors = sensors
        self.t_s = data.t_s
        rng = np.random.default_rng(options.seed)
        gain = 1 + options.gain_pct / 100
        offset_a = options.offset_ma / 1e3
        v = data.v_v + options.noise_mv / 1e3 * rng.standard_normal(len(data))
        i = data.i_a * gain + offset_a
        if options.adc_bits:
            codes = 1 << options.adc_bits
            v = np.clip(np.floor(v / ADC_V * codes + 0.5), 0, codes - 1) * ADC_V / codes
            i = np.clip(np.floor(i / ADC_A * codes / 2 + 0.5), -codes / 2, codes / 2 - 1)
            i = i * 2 * ADC_A / codes
        temp = data.temp_c + options.temp_offset_c
        if options.temp_step_c:
            temp = np.round(temp / options.temp_step_c) * options.temp_step_c
        self.rows = list(zip(v.tolist(), i.tolist(), temp.tolist(), strict=True))
        self.moved_as = data.moved_as * gain + offset_a * data.t_s
        self.soc = 1 + data.ah / capacity_ah
        self.true_temp_c = data.temp_c
        self._times = [*data.t_s.tolist(), np.inf]
        self._moved = [*self.moved_as.tolist(), float(self.moved_as[-1])]
        self._row = 0
        self._before_as = 0.0
        self._now_s = 0.0
        self.bleeds = 0
        self.charger_enabled = True
        self.fuse_blown = False
        self._show(0)
        self.mean_a = self.current_a

    def step(self, t_s: float, dt_s: float, fets: FetPair, limits_a: tuple[float, float]) -> None:
        """Advance to t_s + dt_s."""
        self._now_s = now = max(t_s + dt_s, 0.0)
        # Times are multiples of a millisecond; the sum of two floats may fall just short of one.
        while self._times[self._row + 1] <= now + 1e-6:
            self._row += 1
        k = self._row
        self._show(k)
        begin, end = self._times[k], self._times[k + 1]
        share = (now - begin) / (end - begin)
        moved = self._moved[k] + (self._moved[k + 1] - self._moved[k]) * share
        self.mean_a = (moved - self._before_as) / dt_s
        self._before_as = moved

    def _show(self, row: int) -> None:
        self.bus_v, self.current_a, temp_c = self.rows[row]
        self.out_v, self.cells_v = self.bus_v, [self.bus_v]
        self.die_c = self.fet_c = temp_c
        self.temps_c = [temp_c] * self.sensors

    def truth(self) -> tuple[float, float]:
        """Return the cycler's SoC, between rows in proportion to time, and its temperature."""
        soc = float(np.interp(self._now_s, self.t_s, self.soc))
        return soc, float(self.true_temp_c[self._row])


def replay_job(path: Path, options: Options) -> Job:
    """Return the job of a replay; BadInput for files and options that are not valid."""
    _check(options)
    compiled = compile_pack(
        options.pack, cell=options.cell, capacity_factor=1 + options.capacity_pct / 100
    )
    if compiled.file.cells_in_series != 1:
        raise BadInput(f"--pack: a pack of one cell is valid, not {options.pack!r} of "
                       f"{compiled.file.cells_in_series}")  # fmt: skip
    cell = compiled.cell
    data = read_measured(path, options.columns, options.discharge_positive, options.temp_c)
    if told := counted_against(data):
        raise BadInput(f"{shown(path)}: i_A: {told}; current and counter of one sign are valid")
    if options.from_soc is not None:
        below = np.flatnonzero(1 + data.ah / cell.capacity.ah < options.from_soc / 100)
        if not len(below):
            raise BadInput(f"{shown(path)}: --from-soc: the reference never falls below "
                           f"{options.from_soc:g} %")  # fmt: skip
        data = data.since(int(below[0]))
    if len(data) < 2:
        raise BadInput(f"{shown(path)}: --from-soc: two rows or more after it are valid")
    data = Measured(data.t_s - data.t_s[0], data.i_a, data.v_v, data.temp_c, data.ah,
                    data.moved_as - data.moved_as[0])  # fmt: skip
    plant = Playback(data, cell.capacity.ah, options, compiled.file.thermistor.count)
    world = World(
        compiled.file, plant, float(data.t_s[-1]), requests=[Request(at_s=CLOSE_S, do="close")]
    )
    gap = open_gap(data)
    return Job(
        path.name.removesuffix(".gz").removesuffix(".csv"),
        "replay",
        compiled,
        world,
        Expect(
            within_promise=False, trips=None, warns=None, notes=None, soc_bound_holds=False
        ),
        _saved(options),
        options.seed,
        SCORE_AFTER_S,
        f"{shown(path)}: t_s: {gap}; its last row is held there" if gap else "",
    )


def _check(options: Options) -> None:
    errors = []
    for name, (low, high) in RANGES.items():
        value = getattr(options, name)
        if value is not None and not low <= value <= high:
            option = "--" + name.replace("_", "-")
            errors.append(f"{option}: {low:g} to {high:g} is valid, not {value:g}")
    if options.start_bound_pct is not None and options.start_soc is None:
        errors.append("--start-bound-pct: valid together with --start-soc")
    if errors:
        raise BadInput("\n".join(errors))


def _saved(options: Options) -> tuple[int, int]:
    if options.start_soc is None:
        return -1, -1
    bound = 100.0 if options.start_bound_pct is None else options.start_bound_pct
    return round(options.start_soc * 1e4), round(bound * 1e4)
