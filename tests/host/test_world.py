"""Chips, gates, clock and faults between the firmware and the plant."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from bms.core.fixed import TICKS_MAX
from bms.core.frame import Frame
from bms.core.pack import Pack
from bms.drivers.bq76952 import Bq76952
from solidbms.faults import EIO, ETIMEDOUT, FaultFile
from solidbms.packc import compile_pack, load
from solidbms.plant.fet import FetPair
from solidbms.scenario import FaultUse, Request
from solidbms.schema import BadInput
from solidbms.targets import cpython
from solidbms.world import World

FILE, _, _ = load("bench_1s")
ROBOT = compile_pack("robot_14s")
ROBOT_CHIP = ROBOT.file.front_end.address
ADDRESS = 0x40
VBUS, DEVICE_ID = 0x05, 0x3F  # table 7-3


class Still:
    """A plant that does nothing but remember."""

    def __init__(self) -> None:
        self.bus_v = self.out_v = 3.6
        self.cells_v = [3.6]
        self.current_a = self.mean_a = -2.0
        self.temps_c = [25.0]
        self.fet_c = self.die_c = 25.0
        self.bleeds = 0
        self.charger_enabled = True
        self.fuse_blown = False
        self.steps: list[tuple[float, float]] = []

    def step(self, t_s: float, dt_s: float, fets: FetPair, limits_a: tuple[float, float]) -> None:
        self.steps.append((t_s, dt_s))

    def truth(self) -> tuple[float, float]:
        return 0.5, 25.0


def fault(
    where: str, kind: str, value: float = 0.0, begin: float = 1.0, end: float = 2.0,
    index: int | None = None,
):  # fmt: skip
    use = FaultUse(use="x", from_s=begin, until_s=end, index=index)
    return use, FaultFile.model_validate(
        {"name": "x", "about": "", "where": where, "kind": kind, "value": value}
    )


def world(*faults, seconds: float = 10.0, **more) -> World:
    return World(FILE, Still(), seconds, list(faults), seed=1, **more)


def at(w: World, seconds: float) -> World:
    while w.elapsed_ms < seconds * 1000:
        w.sleep_until((w.now_ms + 50) & TICKS_MAX)
    return w


def code(w: World, register: int) -> int:
    return int.from_bytes(w.read(ADDRESS, register, 3), "big", signed=True) >> 4


def test_time_stands_still_within_a_tick_and_passes_in_steps_of_50_ms():
    w = world()
    assert isinstance(w.plant, Still)
    begin = len(w.plant.steps)
    assert w.now_ms == 0
    w.read(ADDRESS, VBUS, 3)
    assert w.now_ms == 0
    assert w.sleep_until(120) == (0, True)
    assert w.now_ms == 120
    assert [dt for _, dt in w.plant.steps[begin:]] == pytest.approx([0.05, 0.05, 0.02])
    assert w.sleep_until(100) == (0, True)  # late already: nothing to wait for
    assert w.now_ms == 120


def test_ends_when_its_time_has_passed():
    w = world(seconds=0.2)
    assert w.sleep_until(150) == (0, True)
    assert w.sleep_until(200) == (0, False)


def test_the_clock_wraps():
    w = world(start_ms=TICKS_MAX - 20)
    w.sleep_until(29)
    assert (w.now_ms, w.elapsed_ms) == (29, 50)


def test_voltage_reaches_the_register():
    assert code(at(world(), 1), VBUS) == round(3.6 / 195.3125e-6)


def test_a_wrong_address_and_a_dead_bus():
    w = world(fault("bus", "nack"), fault("bus", "stuck_bus", begin=3, end=4))
    with pytest.raises(OSError) as caught:
        w.read(0x41, VBUS, 3)
    assert caught.value.args[0] == EIO
    w.read(ADDRESS, VBUS, 3)
    at(w, 1.5)
    with pytest.raises(OSError) as caught:
        w.write(ADDRESS, 0, b"\0\0")
    assert caught.value.args[0] == EIO
    at(w, 2.5).read(ADDRESS, VBUS, 3)
    at(w, 3.5)
    with pytest.raises(OSError) as caught:
        w.read(ADDRESS, VBUS, 3)
    assert caught.value.args[0] == ETIMEDOUT
    found = [(t // 100, name) for t, word, name in w.events if word == "fault"]
    assert found == [(10, "x"), (20, "x over"), (30, "x")]


def test_faults_of_the_bus_may_overlap():
    w = world(
        fault("bus", "nack", begin=1, end=3), fault("bus", "stuck_bus", begin=2, end=5),
        fault("bus", "bit_flip", begin=4, end=6),
    )  # fmt: skip
    for seconds, errno in ((1.5, EIO), (2.5, EIO), (3.5, ETIMEDOUT), (4.5, ETIMEDOUT)):
        with pytest.raises(OSError) as caught:
            at(w, seconds).read(ADDRESS, VBUS, 3)
        assert caught.value.args[0] == errno
    garbled = at(w, 5.5).read(ADDRESS, VBUS, 3)
    assert garbled != at(w, 6.5).read(ADDRESS, VBUS, 3) == w.read(ADDRESS, VBUS, 3)


def test_another_chip_answers():
    w = at(world(fault("chip", "wrong_chip")), 0.5)
    assert int.from_bytes(w.read(ADDRESS, DEVICE_ID, 2), "big") >> 4 == 0x228
    assert int.from_bytes(at(w, 1.5).read(ADDRESS, DEVICE_ID, 2), "big") >> 4 != 0x228


def test_a_chip_reset_brings_the_defaults_back():
    w = world(fault("chip", "reset"))
    w.write(ADDRESS, 0x02, b"\x12\x34")
    assert at(w, 0.5).read(ADDRESS, 0x02, 2) == b"\x12\x34"
    assert at(w, 1.5).read(ADDRESS, 0x02, 2) == b"\x10\x00"  # section 7.6.1.3


def test_frozen_registers_thaw():
    w = at(world(fault("chip", "stuck")), 1.5)
    was = code(w, VBUS)
    w.plant.bus_v = 3.0
    assert code(at(w, 1.9), VBUS) == was
    assert code(at(w, 2.5), VBUS) == round(3.0 / 195.3125e-6)


@pytest.mark.parametrize(("kind", "value", "expected"), [
    ("offset", 0.1, 3.7), ("scale", 1.1, 3.96), ("stuck", 0.0, 3.6),
])  # fmt: skip
def test_sensor_faults_change_what_is_seen(kind, value, expected):
    w = at(world(fault("cell_v", kind, value)), 1.5)
    if kind == "stuck":
        w.plant.bus_v = 3.0
        at(w, 1.8)
    assert code(w, VBUS) == pytest.approx(expected / 195.3125e-6, abs=1)


def test_noise_is_seeded():
    def seen(seed: int) -> list[int]:
        w = World(FILE, Still(), 9.0, [fault("cell_v", "noise", 0.01)], seed=seed)
        return [code(at(w, 1 + k / 10), VBUS) for k in range(1, 9)]

    assert seen(1) == seen(1) != seen(2)
    assert len(set(seen(1))) > 4


def test_thermistor_lost_and_shorted():
    w = at(world(fault("temp_c", "lost"), fault("temp_c", "short", begin=3, end=4)), 0.5)
    assert 30000 < w.adc(0) < 36000
    assert at(w, 1.5).adc(0) > 64500
    assert at(w, 3.5).adc(0) < 1000


def test_a_stalled_clock_comes_late():
    w = at(world(fault("clock", "stall", 150.0)), 1.2)
    before = w.now_ms
    w.sleep_until(before + 50)
    assert w.now_ms == before + 200


def test_fets_weld_and_recover():
    w = world(fault("chg_fet", "welded"), fault("dsg_fet", "open", begin=1, end=2))
    w.gates(0, 1)
    assert not w.fets.conducts(1)
    at(w, 1.5)
    assert w.fets.charge.fault == "welded" and w.fets.discharge.fault == "open"
    at(w, 2.5)
    assert w.fets.charge.fault is None and w.fets.discharge.fault is None


def test_requests_come_once_in_order():
    w = world(requests=[Request(at_s=2, do="open"), Request(at_s=1, do="close")])
    codes = []
    while w.elapsed_ms < 3000:
        codes.append(w.sleep_until(w.now_ms + 50)[0])
    assert [c for c in codes if c] == [2, 1]
    assert [e for e in w.events if e[1] == "request"] == [
        (1000, "request", "close"), (2000, "request", "open"),
    ]  # fmt: skip


def test_truth_is_kept_each_second():
    w = at(world(), 3)
    assert [t for t, _, _ in w.truth] == [0, 1000, 2000, 3000]


# Packs whose front end has FETs of its own ------------------------------------------------------


class Stack(Still):
    """14 still cells, nothing at the terminals but what the FETs let through."""

    def __init__(self) -> None:
        super().__init__()
        self.cells_v = [3.9] * 14
        self.bus_v = sum(self.cells_v)
        self.temps_c = [24.0, 25.0, 26.0]
        self.out_v = 0.0
        self.current_a = self.mean_a = 0.0
        self.held_down = False  # by what hangs at the terminals

    def step(self, t_s: float, dt_s: float, fets: FetPair, limits_a: tuple[float, float]) -> None:
        self.out_v = self.bus_v if any(fets.ways) and not self.held_down else 0.0


class Robot:
    """The robot pack's world and driver; `run` ticks, gates as the test last said."""

    def __init__(self, *faults) -> None:
        self.plant = Stack()
        self.world = World(ROBOT.file, self.plant, 1e6, list(faults), seed=1)
        pack: Any = Pack(ROBOT.blob)
        self.frame = Frame(pack.cells, pack.temps)
        self.driver = Bq76952(cpython._Bus(self.world), pack)
        self.gates: tuple[int, int] = (0, 0)

    def run(self, seconds: float) -> Robot:
        end_ms = self.world.elapsed_ms + seconds * 1000
        while self.world.elapsed_ms < end_ms:
            self.frame.v[0] = self.world.now_ms
            self.frame.v[1] = 0
            self.driver.read(self.frame)
            self.world.gates(*self.gates)
            self.world.sleep_until((self.world.now_ms + 50) & TICKS_MAX)
        return self

    @property
    def fets(self) -> tuple[bool, bool, bool, bool]:
        return self.world.fets.ways


def test_a_fet_conducts_only_if_pin_and_chip_let_it():
    robot = Robot().run(2)
    assert robot.driver.ready and not any(robot.fets)  # the chip would, the pins do not
    robot.gates = (1, 0)
    assert robot.run(1).fets == (True, False, False, False)
    robot.gates = (1, 1)
    assert robot.run(2).fets == (True, True, False, False)
    robot.plant.cells_v[3] = 4.5  # beyond the chip's own limit: it opens CHG by itself
    assert robot.run(1).fets == (False, True, False, False)
    assert robot.world.gate_log[-1][1] == 3  # and the pins know nothing of it
    robot.gates = (0, 0)
    robot.world.gates(0, 0)
    assert not any(robot.fets)  # at once, in the middle of a tick
    words = [(word, detail) for _, word, detail in robot.world.events]
    assert words[-1] == ("fets", "chg=0 dsg=1 pre-dsg=0 pre-chg=0")


def test_discharge_begins_with_the_small_fet():
    robot = Robot().run(2)
    robot.plant.held_down = True
    robot.gates = (0, 1)
    assert robot.run(1).fets == (False, False, True, False)
    robot.plant.held_down = False
    assert robot.run(1).fets == (False, True, False, False)


def test_a_silent_processor_opens_the_fets_whatever_the_chip_wants():
    robot = Robot().run(2)
    robot.gates = (1, 1)
    assert robot.run(2).fets[:2] == (True, True)
    w = robot.world
    for _ in range(4):  # 200 ms without a feed
        w.advance(50)
    assert w.dropped and not any(robot.fets)


def test_the_charge_pin_enables_the_charger():
    robot = Robot().run(2)
    assert not robot.plant.charger_enabled
    robot.gates = (1, 0)
    assert robot.run(0.1).plant.charger_enabled
    robot.world.advance(50)
    for _ in range(3):
        robot.world.advance(50)
    assert not robot.plant.charger_enabled  # nobody feeds the pin
    w = world()
    w.gates(0, 1)
    assert w.plant.charger_enabled  # no such line on the bench


def test_a_blown_fuse_stays_blown_and_is_told_once():
    w = world()
    w.blow()
    w.blow()
    assert w.plant.fuse_blown
    assert [event for event in w.events if event[1] == "fuse"] == [(0, "fuse", "blown")]


def test_the_plant_hears_which_cells_bleed():
    robot = Robot().run(2)
    robot.driver.balance(0b101)
    assert robot.run(1).plant.bleeds == 0b101
    robot.driver.balance(0)
    assert robot.run(1).plant.bleeds == 0


def test_a_fault_of_one_cell_and_of_one_sensor():
    robot = Robot(
        fault("cell_v", "offset", 0.1, index=5), fault("temp_c", "lost", index=1),
        fault("temp_c", "offset", 10.0, begin=3, end=4, index=2),
    ).run(1.8)  # fmt: skip
    cells = robot.frame.v[17:31]
    assert cells[5] == 4_000_000 and set(cells[:5]) | set(cells[6:]) == {3_900_000}
    assert robot.frame.v[1] & 0x700 == 0x500
    temps = robot.run(2).frame.v[31:34]
    assert [round(t, -3) for t in temps] == [24000, 25000, 36000]


def test_a_reference_drifts_with_time():
    robot = Robot(fault("reference", "drift", 36.0, begin=10, end=1000)).run(20)
    mean = sum(robot.frame.v[17:31]) / 14
    assert mean == pytest.approx(3.9e6 * 1.1, rel=3e-3)  # 36 an hour, after 10 s
    assert robot.frame.v[2] == pytest.approx(3.9e6 * 14, rel=1e-3)  # the stack's own path


@pytest.mark.parametrize("kind", ["bit_flip", "nack", "stuck_bus"])
def test_a_bus_that_fails_gives_no_reading(kind):
    robot = Robot(fault("bus", kind, begin=3, end=4)).run(2.9)
    whole = robot.frame.v[1]
    assert whole & 3 == 3
    for _ in range(15):
        robot.run(0.05)
    assert robot.world.readings[-robot.world.row + 1] == 0  # the witness is not heard either
    assert not robot.frame.v[1] & 3
    assert robot.run(1.5).frame.v[1] & 3 == 3


def test_a_torn_answer_is_half_of_the_last():
    w = world(fault("bus", "torn", begin=1, end=2))
    at(w, 1.1)
    w.read(ADDRESS, VBUS, 3)
    before = w.read(ADDRESS, VBUS, 3)
    w.plant.bus_v = 2.0
    at(w, 1.5)
    torn = w.read(ADDRESS, VBUS, 3)
    assert torn == before[:1] + at(w, 2.5).read(ADDRESS, VBUS, 3)[1:]


def test_a_front_end_clock_that_runs_fast():
    robot = Robot(fault("chip", "clock", 0.1, begin=2, end=12)).run(3)
    before = robot.frame.v[15]
    assert robot.run(8).frame.v[15] - before == pytest.approx(8800, abs=1000)


def test_another_chip_is_not_configured():
    robot = Robot(fault("chip", "wrong_chip", begin=0, end=100)).run(5)
    assert not robot.driver.ready


def test_a_bit_of_its_memory_flips():
    robot = Robot(fault("chip", "upset", 0x9278, begin=3, end=4)).run(2.9)  # COV Threshold
    assert robot.driver.resets == 0
    assert robot.run(20).driver.resets == 1


def test_a_fault_that_the_front_end_cannot_have_is_refused():
    with pytest.raises(BadInput, match=r"fault x: front end ina228 has no such; kind reset, "):
        world(fault("chip", "upset", 0x9278))


@pytest.mark.parametrize(("where", "kind", "index"), [
    ("cell_v", "stuck", 14), ("cell_wire", "open", 14), ("temp_c", "lost", 3),
])  # fmt: skip
def test_a_fault_of_a_cell_or_sensor_that_is_not_there_is_refused(where, kind, index):
    Robot(fault(where, kind, index=index - 1))
    with pytest.raises(BadInput, match=rf"fault x: index: 0 to {index - 1} is valid, not {index}"):
        Robot(fault(where, kind, index=index))


def test_readings_show_what_the_registers_do():
    robot = Robot().run(3)
    w = robot.world
    words = list(w.readings[-w.row :])
    assert words[:2] == [w.elapsed_ms, 1]
    pack = Pack(ROBOT.blob)
    shown = {name: w.front.seen(name, words[2:], pack) for name in w.front.REGISTERS}
    assert shown == {
        "cell_max_uv": 3_900_000, "cell_min_uv": 3_900_000, "pack_uv": 54_600_000,
        "charge_ua": 0, "discharge_ua": 0, "temp_max_mdegc": 26_050, "temp_min_mdegc": 24_050,
        "fet_mdegc": 25_050, "board_mdegc": 25_050, "shorts": 0,
    }  # fmt: skip
    assert struct.calcsize("i") * w.row < 64
