"""The emulated machine: files, console, resets, watchdog, and that it repeats itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.emulated import pico, said

pytest.importorskip("rp2040py", reason="emu: no emulator of the RP2040 on this system")


def test_runs_its_files_and_writes_new_ones(uf2: Path) -> None:
    board = pico(uf2, "with open('new', 'w') as f: f.write('x' * 5000)\nprint('end')")
    said(board)
    assert board.files()["new"] == b"x" * 5000


def test_repeats_to_the_cycle(uf2: Path) -> None:
    program = """
import time
for k in range(5):
    time.sleep_ms(7)
    print(k, time.ticks_us())
print('end')
"""
    runs = []
    for _ in range(2):
        board = pico(uf2, program)
        runs.append((said(board), board.now_ns, board.chip.core.cycles))
    assert runs[0] == runs[1]


def test_console_takes_input(uf2: Path) -> None:
    board = pico(uf2, "print(input().upper())\nprint('end')")
    board.boot()
    board.wait_for(lambda: board.cable.connected)
    board.run_for(50e6)
    board.send(b"abc\r")
    assert said(board)[-1] == "ABC"


def test_watchdog_resets_and_can_be_stopped(uf2: Path) -> None:
    program = """
import machine, time
if machine.reset_cause() == machine.WDT_RESET:
    print('again')
    print('end')
else:
    dog = machine.WDT(timeout=100)
    machine.mem32[0x4005B000] = 1 << 30  # CTRL: clear ENABLE
    time.sleep_ms(300)
    machine.mem32[0x4005A000] = 1 << 30  # set it again
    dog.feed()
    while True:
        time.sleep_ms(1)
"""
    board = pico(uf2, program)
    assert said(board)[-1] == "again"
    assert [reset.cause for reset in board.resets] == ["power", "watchdog"]
    assert 400e6 < board.resets[1].t_ns < 430e6


def test_run_pin_starts_it_anew_and_says_so(uf2: Path) -> None:
    program = """
import machine, time
if machine.mem32[0x40064008] & 1 << 16:  # CHIP_RESET: HAD_RUN
    print('end')
time.sleep(1)
"""
    board = pico(uf2, program)
    board.boot()
    board.run_for(50e6)
    board.reset()
    said(board)
    assert [reset.cause for reset in board.resets] == ["power", "run pin"]


def test_core_stands_still_while_a_sector_is_erased(uf2: Path) -> None:
    program = """
import rp2, time
flash = rp2.Flash()
t = time.ticks_ms()
flash.writeblocks(300, bytearray(4096))
print(time.ticks_diff(time.ticks_ms(), t))
print('end')
"""
    board = pico(uf2, program)
    board.chip.flash_ns[0x20] = 400e6
    assert 400 <= int(said(board)[-1]) < 420


def test_uart_writes_and_returns(uf2: Path) -> None:
    program = """
import machine, time
port = machine.UART(0, 115200)
port.write(b'x' * 100)
time.sleep_ms(20)
print('end')
"""
    assert said(pico(uf2, program)) == []


def test_a_file_that_is_no_image_is_refused(tmp_path: Path) -> None:
    bad = tmp_path / "bad.uf2"
    bad.write_bytes(b"x" * 512)
    with pytest.raises(ValueError, match="block 0"):
        pico(bad, "")
