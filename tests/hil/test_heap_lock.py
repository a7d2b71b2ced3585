"""The shipped main.py holds heap_lock() from frame to gates: proven by allocating in between."""

import os
from pathlib import Path

import pytest
from fixtures import wasm31
from solidbms.jobs import scenario_job
from solidbms.schema import ROOT
from solidbms.targets import unix

HEAP = ("-X", f"heapsize={unix.HEAP}")
MAIN = ROOT / "firmware" / "main.py"
SIM = ROOT / "boards" / "sim" / "board.py"

BOARD = """
import bms.drivers.ntc
import sim_board
from sim_board import *

AT = 60  # ticks: the gates have closed by then


class Gates(sim_board.Gates):
    def set(self, chg_on, dsg_on):
        {gates}
        super().set(chg_on, dsg_on)


class Ntc(bms.drivers.ntc.Ntc):
    def read(self, frame):
        super().read(frame)
        {driver}


class Board(sim_board.Board):
    def __init__(self, commit):
        super().__init__(commit)
        self.gates = Gates(self.wire)
        self.ticks = 0

    def drivers(self, pack):
        ina228, ntc = super().drivers(pack)
        ntc = Ntc(ntc.adc, pack)
        ntc.board = self
        self.gates.board = self
        return [ina228, ntc]

    def _record(self, parts, digest):
        super()._record(parts, digest)
        self.ticks += 1
        {slack}
"""
WHEN = "if self.board.ticks == AT: {}"
ALLOCATIONS = ["[self]", "bytearray(1)", "(self, frame)", "self.board.ticks + 0.5",
               "self.board.ticks << 60", "'%d' % self.board.ticks"]  # fmt: skip


def machine(kind: str) -> list[str]:
    if kind == "wasm31":
        return wasm31.command(*HEAP, MAIN)
    binary = unix.interpreter()
    if binary is None:
        pytest.skip("no MicroPython for this machine")
    return [str(binary), *HEAP, str(MAIN)]


class Watched:
    """A run of main.py on a board of our own: its gate commands, and how it ended."""

    def __init__(self, directory: Path, kind: str, **inserted: str) -> None:
        lines = {"gates": "pass", "driver": "pass", "slack": "pass", **inserted}
        (directory / "board.py").write_text(BOARD.format(**lines))
        (directory / "sim_board.py").write_text(SIM.read_text())
        job = scenario_job("chip_reset")
        job.world.end_ms = 12_000
        pack = directory / "pack.bin"
        pack.write_bytes(job.compiled.blob)
        path = os.pathsep.join(map(str, (directory, ROOT / "firmware")))
        self.commands: list[tuple[int, int]] = []
        real = job.world.gates

        def gates(chg_on: int, dsg_on: int) -> None:
            self.commands.append((chg_on, dsg_on))
            real(chg_on, dsg_on)

        job.world.gates = gates
        self.ticks = 0
        self.died = ""
        command = ["env", f"MICROPYPATH={path}", *machine(kind)]
        try:
            unix.run(job.world, pack, job.saved, self._tick, command=command)
        except RuntimeError as error:
            self.died = str(error)
        self.elapsed_ms = job.world.elapsed_ms

    def _tick(self, words: bytes) -> None:
        self.ticks += 1


@pytest.mark.parametrize("kind", ["unix", "wasm31"])
@pytest.mark.parametrize("what", ALLOCATIONS)
def test_an_allocation_in_a_driver_opens_the_gates_and_ends_it(tmp_path, kind, what):
    run = Watched(tmp_path, kind, driver=WHEN.format(what))
    assert "MemoryError" in run.died
    assert run.ticks == 60
    assert run.commands[59] == (1, 1)
    assert run.commands[60:] and set(run.commands[60:]) == {(0, 0)}


@pytest.mark.parametrize("kind", ["unix", "wasm31"])
def test_an_allocation_in_setting_the_gates_opens_them_and_ends_it(tmp_path, kind):
    run = Watched(tmp_path, kind, gates=WHEN.format("chg_on and [chg_on]"))
    assert "MemoryError" in run.died
    assert run.ticks == 60
    assert run.commands[59] == (1, 1)
    assert run.commands[60:] and set(run.commands[60:]) == {(0, 0)}


@pytest.mark.parametrize("kind", ["unix", "wasm31"])
def test_an_allocation_in_the_slack_is_allowed(tmp_path, kind):
    run = Watched(tmp_path, kind, slack="[bytearray(64) for _ in range(4)]")
    assert run.died == ""
    assert run.elapsed_ms == 12_000
    assert run.ticks > 150


@pytest.mark.parametrize("kind", ["unix", "wasm31"])
def test_a_failing_record_sheds_and_main_goes_on(tmp_path, kind):
    run = Watched(tmp_path, kind, slack="if self.ticks == AT: raise OSError(28)")
    assert run.died == "" and run.elapsed_ms == 12_000
    assert run.commands[60:100] == [(1, 1)] * 40  # shedding: the load is still served
