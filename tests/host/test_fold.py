"""Folded source means the same, on the same lines."""

import pytest
from bms.core import frame as F
from bms.core import plausible as P
from bms.core.fixed import TICKS_MAX
from solidbms.fold import fold
from solidbms.schema import ROOT

FIRMWARE = sorted((ROOT / "firmware" / "bms").rglob("*.py"))


@pytest.mark.parametrize(
    ("source", "folded"),
    [
        ("from bms.core import frame as F\nx = f[F.FLAGS]\n", f"x = f[{F.FLAGS}]\n"),
        ("from bms.core.fixed import TICKS_MAX\nx = a & TICKS_MAX\n", f"x = a & {TICKS_MAX}\n"),
        ("from bms.core.rules import BELOW\nx = 3 -BELOW\n", "x = 3 -(-1)\n"),
        ("from bms.core.plausible import DT_MS as D\nx = sig[D]\n", f"x = sig[{P.DT_MS}]\n"),
        ("from bms.core.rules import ROWS\nx = ROWS\n", "x = ROWS\n"),  # no integer
        ("from bms.core import frame as F\nx = a.F.FLAGS\n", "x = a.F.FLAGS\n"),
        ("from bms.core import frame as F\nF = G\nx = F.FLAGS\n", "F = G\nx = F.FLAGS\n"),
        ("from bms.core.rules import ID\ndef f(ID):\n    pass\n", "def f(ID):\n    pass\n"),
        ("from bms.core.rules import ID\nf(ID=ID)\n", "f(ID=0)\n"),
        ("from bms.core.rules import ID\nx = 'ID', a.ID  # ID\n", "x = 'ID', a.ID  # ID\n"),
        ("from machine import Pin\nx = Pin.OUT\n", "x = Pin.OUT\n"),
    ],
)  # fmt: skip
def test_what_is_folded(source: str, folded: str):
    assert fold(source).partition("\n")[2] == folded


@pytest.mark.parametrize("path", FIRMWARE, ids=lambda p: p.stem)
def test_the_firmware_folds_line_by_line(path):
    source = path.read_text()
    folded = fold(source)
    compile(folded, str(path), "exec")
    assert len(folded.splitlines()) == len(source.splitlines())
    for before, after in zip(source.splitlines(), folded.splitlines(), strict=True):
        if not after:
            assert not before or before.startswith(('    "', '    #'))  # in FIELDS
            continue
        assert before.split("#")[-1] == after.split("#")[-1] or "#" not in before


def test_names_of_words_stay_on_the_host():
    source = 'FIELDS = (\n    "a",\n    "b",  # why\n)\nx = [0] * len(FIELDS)\n'
    assert fold(source) == "FIELDS = (\n\n\n)\nx = [0] * 2\n"


@pytest.mark.parametrize(
    "source",
    [
        'FIELDS = (\n    "a",\n)\nx = list(FIELDS)\n',  # read here,
        f"FIELDS = {F.FIELDS}\nx = 1\n",  # by another module, see bms.links.news,
        "FIELDS = A + B\nx = len(FIELDS)\n",  # not spelled out
    ],
)
def test_names_that_are_read_on_the_board_stay(source: str):
    assert fold(source) == source


def test_no_lookup_of_a_constant_is_left_from_frame_to_gates():
    core = ROOT / "firmware" / "bms" / "core"
    for name in ("plausible", "protect", "switch"):
        folded = fold((core / f"{name}.py").read_text())
        body = folded.partition("class ")[2]
        for made_once in ("R.ROWS", "R.RUN_BACK"):
            body = body.replace(made_once, "")
        assert "F." not in body and "R." not in body, name
