"""Frame to gates in C (tests/bench/c), compiled -O2 for the Cortex-M0+, on the emulated RP2040.

The C does the Python core's work word for word: `cycles_of` compares every state after every
tick with what the Python core holds, and raises `Mismatch` before it gives a figure.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import NamedTuple

from bench.work import SLACK, Work, core_of, state_names, states_of
from bms.core import fixed, frame, plausible, protect, rules, switch
from bms.core import pack as layout
from bms.core.core import Core
from rp2040py.rp2040 import RP2040

SOURCES = Path(__file__).parent / "c"
CROSS = "arm-none-eabi-gcc"
HOW = f"{CROSS} is missing: apt install gcc-arm-none-eabi, or brew install arm-none-eabi-gcc"
_OBJCOPY = "arm-none-eabi-objcopy"  # comes with it
_OPTIONS = ("-O2", "-std=c11", "-Wall", "-Wextra")
_CROSS_OPTIONS = ("-mcpu=cortex-m0plus", "-mthumb", "-ffreestanding", "-nostdlib",
                  "-T", str(SOURCES / "flat.ld"))  # fmt: skip
_MODULES = {"F": frame, "P": plausible, "R": rules, "T": protect, "W": switch, "X": fixed}
_RAM = 0x20000000
_RETURN = 0x20041000  # nothing is there: where a call's return ends the run
_ENDLESS = 1_000_000  # cycles


class Mismatch(AssertionError):
    """The C does not do what the Python core does: which tick, which word."""


class NoCompiler(RuntimeError):
    """There is no cross-compiler; says how to get one."""


class Cycles(NamedTuple):
    """Cycles from Frame to gates: median over the quiet ticks, worst and best of all, each."""

    median: int
    worst: int
    each: list[int]


def cycles_of(w: Work) -> Cycles:
    """Return what the C takes for this work; Mismatch, NoCompiler."""
    with tempfile.TemporaryDirectory() as folder:
        each, states = run_emulated(build(w, Path(folder), cross=True), w)
    compare(w, states)
    return summary(w, each)


def summary(w: Work, each: list[int]) -> Cycles:
    """Return the figures of a run that took `each` cycles a tick, in C or elsewhere."""
    return Cycles(round(median(each[k] for k in w.quiet)), max(each), each)


def compare(w: Work, states: list[array[int]]) -> None:
    """Hold the states after each tick against the Python core's; Mismatch: what differs first."""
    names = state_names(w)
    wanted = states_of(w)
    for tick, (want, got) in enumerate(zip(wanted, states, strict=False)):
        for name, a, b in zip(names, want, got, strict=True):
            if a != b:
                raise Mismatch(f"{w.name}: tick {tick}, {name}: Python {a}, C {b}")
    if len(states) != len(wanted):
        raise Mismatch(f"{w.name}: {len(wanted)} ticks in Python, {len(states)} in C")


def build(w: Work, folder: Path, cross: bool) -> Path:
    """Compile the C for this work; return a flat binary for the RP2040, or a native program."""
    compiler = shutil.which(CROSS if cross else "cc")
    if compiler is None:
        raise NoCompiler(HOW if cross else "no C compiler (cc)")
    (folder / "declared.h").write_text(declared(w))
    out = folder / "core"
    files = [SOURCES / "core.c", SOURCES / ("flat.c" if cross else "native.c")]
    options = [*_OPTIONS, *(_CROSS_OPTIONS if cross else ()), f"-I{folder}"]
    libraries = ["-lgcc"] if cross else []
    subprocess.run([compiler, *options, *files, "-o", out, *libraries], check=True)
    if cross:
        flat = out.with_suffix(".bin")
        subprocess.run([_OBJCOPY, "-O", "binary", out, flat], check=True)
        return flat
    return out


def declared(w: Work) -> str:
    """Return declared.h: what the Python modules and the pack declare, for the C."""
    core = core_of(w)
    pack = core.pack
    numbers = {
        "CELLS": pack.cells,  # type: ignore[attr-defined] - the blob's layout
        "TEMPS": pack.temps,  # type: ignore[attr-defined] - the blob's layout
        "ROWS": w.rules,
        "USED": len(list(_rows(core))),
        "FRAME_WORDS": len(core.frame.v),
        "SIGNAL_WORDS": len(core.plausible.v),
        "SWITCH_WORDS": len(core.switch.v),
        "SLACK_WORDS": len(SLACK),
    }
    for prefix, module in _MODULES.items():
        numbers |= {f"{prefix}_{name}": value for name, value in _constants(module)}
    numbers |= {f"PACK_{name.upper()}": getattr(pack, name) for name in layout.FIELDS}
    lines = [f"#define {name} ({value})" for name, value in numbers.items()]
    lines += [
        f"#define FIRST_SIGNALS {_braces(core.plausible.v)}",
        f"#define FIRST_GATES {_braces(core.switch.v)}",
        f"static const uint8_t slack[SLACK_WORDS] = {_braces(SLACK)};",
        "",
        "static const Row rows[USED] = {",
    ]
    for row in sorted(_rows(core), key=lambda row: row["at"]):
        lines.append("    {" + ", ".join(f".{name} = {x}" for name, x in row.items()) + "},")
    return "\n".join([*lines, "};", ""])


def _rows(core: Core) -> Iterator[dict[str, int]]:
    """Yield the columns of every row in use as `Protect` has it."""
    for signal, _, _, bit, group in core.rules.groups:
        for k, limit, (side, release, delay_ms, shed_ms, row, back) in group:
            yield {
                "at": k, "limit": limit, "release": release,
                "delay_ms": delay_ms, "shed_ms": shed_ms,
                "signal": signal, "bit": bit.bit_length() - 1, "side": side,
                "level": row[rules.LEVEL], "path": row[rules.PATH],
                "recovery": row[rules.RECOVERY], "when": row[rules.WHEN],
                "untrusted": row[rules.UNTRUSTED], "shed": row[rules.SHED],
                "back": int(back),
            }  # fmt: skip


def _braces(values: Iterable[int]) -> str:
    return "{" + ", ".join(map(str, values)) + "}"


def _constants(module: ModuleType) -> list[tuple[str, int]]:
    return [(name, value) for name, value in vars(module).items() if type(value) is int]


def run_native(program: Path, w: Work) -> list[array[int]]:
    """Return the states of the natively compiled C after each Frame."""
    frames = b"".join(f.tobytes() for f in w.frames)
    done = subprocess.run([program], input=frames, stdout=subprocess.PIPE, check=True)
    words = array("i", done.stdout)
    size = len(state_names(w))
    return [words[at : at + size] for at in range(0, len(words), size)]


def run_emulated(binary: Path, w: Work) -> tuple[list[int], list[array[int]]]:
    """Return cycles of each call and the states after it, on the emulated core."""
    image = binary.read_bytes()
    stack, entry, place = struct.unpack_from("<III", image)
    chip = RP2040()
    core, ram = chip.core, chip.sram
    ram[: len(image)] = image
    at = place - _RAM
    size = len(w.frames[0]) - len(SLACK)
    frame_end = at + 4 * size
    end = frame_end + 4 * len(state_names(w))
    cycles, states = [], []
    for f in w.frames:
        ram[at:frame_end] = f[:size].tobytes()
        for k, s in enumerate(SLACK):
            struct.pack_into("<i", ram, frame_end + 4 * s, f[size + k])
        core.sp, core.lr, core.pc = stack, _RETURN | 1, entry & ~1
        began = core.cycles
        while core.pc != _RETURN:
            core.execute_instruction()
            if core.cycles - began > _ENDLESS:
                raise Mismatch(f"{w.name}: tick {len(cycles)} never returns")
        cycles.append(core.cycles - began)
        states.append(array("i", bytes(ram[frame_end:end])))
    return cycles, states
