"""The blob: what packc wrote is what the firmware reads, and nothing else is read."""

from __future__ import annotations

from array import array
from binascii import crc32

import pytest
from bms.core import rules as R
from bms.core.pack import FIELDS, MAGIC, TABLES, VERSION, BadPack, Pack
from hypothesis import given, settings
from hypothesis import strategies as st
from support.packs import compiled, packs, read

BLOB = compiled("bench_1s").blob


def sealed(words: array[int]) -> bytes:
    """Return a blob of these words with a CRC that holds."""
    body = MAGIC + words.tobytes()
    return body + crc32(body).to_bytes(4, "little")


def words_of(blob: bytes) -> array[int]:
    return array("i", blob[4:-4])


@settings(max_examples=25)
@given(packs())
def test_what_was_compiled_is_read_back(pack):
    found = read(pack.blob)
    assert found.rows == len(R.ROWS) and found.cells == pack.file.cells_in_series
    assert found.temps == pack.file.thermistor.count and found.tick_ms == pack.file.tick_ms
    for name in FIELDS:
        assert isinstance(getattr(found, name), int)
    paired = TABLES[: TABLES.index("chip_memory")]
    for name in paired:  # y over x
        table = list(getattr(found, name))
        xs = table[: len(table) // 2]
        assert len(table) % 2 == 0 and len(xs) >= 2 and xs == sorted(xs)
    assert found.cell_ocv_ppm[0] == 0 and found.cell_ocv_ppm[-1] == 1_000_000
    rows = len(found.cell_mdegc)
    assert len(found.cell_ocv_uv) == rows * len(found.cell_ocv_ppm)
    for name in ("cell_r0_uohm", "cell_r1_uohm", "cell_r2_uohm"):
        assert len(getattr(found, name)) == rows * len(found.cell_r_ppm)
    for k, row in enumerate(R.ROWS):
        limit, release, delay_ms, shed_ms = found.rule(k)
        assert (limit - release) * row[R.SIDE] >= 0
        given = pack.file.rules.get(row[R.ID])
        if given is None:  # a row that the pack does without
            assert limit == release == row[R.SIDE] * R.OFF and delay_ms == shed_ms == 0
            continue
        assert delay_ms == round(given["delay_s"] * 1000)
        assert shed_ms == round(given.get("shed_s", 0) * 1000)


@given(st.integers(0, 8 * len(BLOB) - 1))
def test_any_flipped_bit_is_found(bit: int):
    blob = bytearray(BLOB)
    blob[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BadPack):
        Pack(blob)


@given(st.integers(0, len(BLOB) - 1))
def test_any_cut_is_found(size: int):
    with pytest.raises(BadPack):
        Pack(BLOB[:size])


@given(st.binary(max_size=200))
def test_anything_else_is_no_pack(data: bytes):
    for blob in (data, MAGIC + data):
        with pytest.raises(BadPack):
            Pack(blob)


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("by", [-1, 1])
def test_another_version_size_or_other_rules(at: int, by: int):
    words = words_of(BLOB)
    assert words[0] == VERSION and words[1] == len(words) - 2 and words[2] == len(R.ROWS)
    assert read(sealed(words)).rows == len(R.ROWS)
    words[at] += by
    with pytest.raises(BadPack):
        Pack(sealed(words))
