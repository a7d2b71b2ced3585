"""Chips, gates, clock and faults between the firmware and the plant."""

import pytest
from bms.core.fixed import TICKS_MAX
from solidbms.faults import EIO, ETIMEDOUT, FaultFile
from solidbms.packc import load
from solidbms.plant.fet import FetPair
from solidbms.scenario import FaultUse, Request
from solidbms.world import World

FILE, _, _ = load("bench_1s")
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


def fault(where: str, kind: str, value: float = 0.0, begin: float = 1.0, end: float = 2.0):
    use = FaultUse(use="x", from_s=begin, until_s=end)
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
