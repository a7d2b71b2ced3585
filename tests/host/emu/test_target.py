"""The target `emu`: a scenario on the emulated board, tick by tick."""

from __future__ import annotations

from pathlib import Path

import pytest
from solidbms.jobs import scenario_job
from solidbms.run import Job, replay_frames
from solidbms.scenario import Request
from solidbms.targets import emu


def _job(tmp_path: Path, duration_s: float) -> tuple[Job, Path]:
    job = scenario_job(str(Path(__file__).parents[2] / "support" / "loaded.toml"))
    job.world.end_ms = round(duration_s * 1000)
    pack = tmp_path / "pack.bin"
    pack.write_bytes(job.compiled.blob)
    return job, pack


def test_every_tick_repeats_here(uf2: Path, tmp_path: Path) -> None:
    from solidbms.record import Writer, read

    job, pack = _job(tmp_path, 0.9)
    job.world.requests = [Request(at_s=0.4, do="close")]
    writer = Writer(tmp_path / "ticks.bin", job.compiled.blob, {})
    emu.run(job.world, pack, (-1, -1), writer.add, uf2)
    writer.close()
    record = read(tmp_path)
    assert len(record.words) >= 12
    assert (replay_frames(record) == record["hash"]).all()
    assert job.world.gate_log[-1][1] == 3
    assert 400 <= job.world.gate_log[-1][0] <= 400 + 270  # an idle tick and its way to the pins


def test_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job, pack = _job(tmp_path, 1)
    monkeypatch.delenv(emu.IMAGE, raising=False)
    with pytest.raises(RuntimeError, match="get one from"):
        emu.run(job.world, pack, (-1, -1), lambda tick: None)
    monkeypatch.setenv(emu.IMAGE, str(tmp_path / "none.uf2"))
    with pytest.raises(RuntimeError, match="no file"):
        emu.run(job.world, pack, (-1, -1), lambda tick: None)


def test_gives_no_saved_charge(tmp_path: Path) -> None:
    job, pack = _job(tmp_path, 1)
    with pytest.raises(RuntimeError, match="keeps no SoC"):
        emu.run(job.world, pack, (500000, 20000), lambda tick: None, tmp_path)
