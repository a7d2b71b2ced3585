"""The cell file of each run: as it ships, or of A123 a fold made without the file to be scored."""

from __future__ import annotations

from pathlib import Path

from bench.soc.cases import A123_FILES, Run
from solidbms.identify import Options
from solidbms.identify.command import run as identify

FOLD = "a123-"
NAME = "a123_26650"


def make_fold(fold: str, data: Path, folder: Path) -> str:
    """Identify the cell without one dynamic test; return its file."""
    out = folder / f"{fold}.toml"
    left_out = A123_FILES[int(fold.removeprefix(FOLD))]
    paths = sorted(p for p in (data / "a123").glob("*.csv*") if left_out not in p.name)
    folder.mkdir(parents=True, exist_ok=True)
    identify(paths, NAME, out, Options(), lambda text: None)
    return str(out)


def folds(runs: list[Run]) -> list[str]:
    """Return the folds that these runs need."""
    return sorted({r.cell for r in runs if r.cell.startswith(FOLD)})
