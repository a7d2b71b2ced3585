"""The monitor: what it shows, what its keys ask, and that looking changes nothing."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bms.core import switch as W
from solidbms.monitor import Monitor, gauges, screenshot
from support.served import ServedPack, acted, until
from textual.widgets import RichLog, Static


@pytest.fixture
def pack(tmp_path: Path) -> Iterator[ServedPack]:
    made = ServedPack(
        tmp_path, state=W.ON, chg_on=1, dsg_on=1, shed_left_ms=-1, soc_ppm=683000,
        soc_bound_ppm=55000, pack_uv=3_841_000, current_ua=-5_000_000, charge_limit_ma=3800,
        discharge_limit_ma=17000, temp_max_mdegc=31_500,
    )  # fmt: skip
    yield made
    made.end()


def shown(app: Monitor, part: str) -> str:
    return str(app.query_one(f"#{part}", Static).render())


def events(app: Monitor) -> str:
    return "\n".join(strip.text for strip in app.query_one(RichLog).lines)


def drive(place: Any, steps: Callable[[Monitor, Any], Any]) -> None:
    async def run() -> None:
        app = Monitor(str(place))
        async with app.run_test(size=(100, 30)) as pilot:
            await steps(app, pilot)

    asyncio.run(run())


async def soon(pilot: Any, condition: Callable[[], Any]) -> None:
    for _ in range(600):
        if condition():
            return
        await pilot.pause(0.02)
    raise AssertionError("not within 12 s")


def test_it_shows_what_the_pack_says(pack, tmp_path):
    async def steps(app: Monitor, pilot: Any) -> None:
        await soon(pilot, lambda: "ON" in shown(app, "head") and "cell 1" in shown(app, "cells"))
        head = shown(app, "head")
        assert "charge closed" in head and "discharge closed" in head and "CUT" not in head
        drawn = shown(app, "gauges")
        for words in ("68.3 %", "+-5.5 %", "-5.00 A", "-17.0 .. +3.8 A", "31.5 degC",
                      "-20 .. 60 degC", "3.841 V"):  # fmt: skip
            assert words in drawn, words
        assert "2.80 .. 4.20 V" in shown(app, "cells")
        await soon(pilot, lambda: "connected" in events(app))
        pack.words.update(
            state=W.SHEDDING, shed_left_ms=7400, chg_on=0, **acted("hot", "hot_warn")
        )
        await soon(pilot, lambda: "CUT IN 7.4 s" in shown(app, "head"))
        await soon(pilot, lambda: "trips: hot" in shown(app, "head"))
        head = shown(app, "head")
        assert "SHEDDING" in head and "trips: hot" in head and "warnings: hot_warn" in head
        assert "charge open" in head

    drive(tmp_path, steps)


def test_its_keys_ask(pack, tmp_path):
    async def steps(app: Monitor, pilot: Any) -> None:
        await soon(pilot, lambda: "ON" in shown(app, "head"))
        for key, code in (("o", W.CLOSE), ("f", W.OPEN), ("c", W.CLEAR), ("a", W.ACK)):
            await pilot.press(key)
            await soon(pilot, lambda code=code: pack.asked[-1:] == [code])
        assert len(pack.asked) == 4
        await pilot.press("q")

    drive(tmp_path, steps)
    assert len(pack.asked) == 4, "leaving asks nothing"


def test_nobody_there_is_said_clearly_until_somebody_is(tmp_path):
    async def steps(app: Monitor, pilot: Any) -> None:
        await soon(pilot, lambda: "NOBODY ANSWERS" in shown(app, "head"))
        await soon(pilot, lambda: "no simulation runs there" in shown(app, "head"))
        await pilot.press("o")
        await soon(pilot, lambda: "on: no answer" in events(app))
        made = ServedPack(tmp_path, state=W.OFF)
        await soon(pilot, lambda: "OFF" in shown(app, "head"))
        made.end()
        await soon(pilot, lambda: "NOBODY ANSWERS" in shown(app, "head"))
        await soon(pilot, lambda: "disconnected" in events(app))

    drive(tmp_path, steps)


def test_old_values_are_said_to_be_old(pack, tmp_path):
    async def steps(app: Monitor, pilot: Any) -> None:
        await soon(pilot, lambda: "ON" in shown(app, "head"))
        pack.quiet = True
        await soon(pilot, lambda: "what you see is old" in shown(app, "head"))
        pack.quiet = False
        await soon(pilot, lambda: "ON" in shown(app, "head"))

    drive(tmp_path, steps)


def test_a_simulation_and_its_picture(tmp_path):
    path = tmp_path / "monitor.svg"
    screenshot("sim:robot_warned@8", path, lambda battery: battery.shed_left_s is not None)
    picture = path.read_text().replace("&#160;", " ")
    for words in ("SHEDDING", "SoC", "cell 1", "on-&gt;shedding", "ack"):
        assert words in picture, words
    with pytest.raises(TimeoutError):
        screenshot("sim:robot_warned@40", path, lambda battery: False, 0.3)


def test_it_draws_at_any_size(pack, tmp_path):
    async def steps(app: Monitor, pilot: Any) -> None:
        await soon(pilot, lambda: "ON" in shown(app, "head"))
        for size in ((20, 8), (300, 80), (100, 30)):
            await pilot.resize_terminal(*size)
            await pilot.pause(0.2)
        assert "68.3 %" in shown(app, "gauges")

    drive(tmp_path, steps)


def test_the_pack_stays_as_it_is_when_nobody_looks(pack):
    assert until(lambda: pack.asked == [])


# Gauges.


def styles(text: Any) -> set[str]:
    return {str(span.style) for span in text.spans} | {str(text.style)}


def test_a_level_fills_and_reddens():
    half = gauges.level(3.5, 2.8, 4.2, 20)
    assert half.plain.count("\u2588") == 10 and gauges.GOOD in styles(half)
    assert gauges.WARM in styles(gauges.level(2.9, 2.8, 4.2, 20))
    over = gauges.level(4.3, 2.8, 4.2, 20)
    assert over.plain.count("\u2588") == 20 and gauges.BAD in styles(over)
    for value, low, high in ((math.nan, 0, 1), (1, 0, 0), (1e9, 0, 1), (-1e9, 0, 1)):
        assert len(gauges.level(value, low, high, 20).plain) == 21


def test_charge_shows_what_is_certain_and_what_may_be():
    text = gauges.charge(0.5, 0.1, 100)
    assert text.plain.count("\u2588") == 40 and text.plain.count("\u2592") == 20
    assert len(gauges.charge(math.nan, math.nan, 50).plain) == 51
    assert len(gauges.charge(0.99, 0.5, 50).plain) == 51


def test_current_grows_from_the_middle_and_marks_the_limits():
    text = gauges.current(-5.0, 17.0, 3.8, 18.0, 40)
    assert len(text.plain) == 41 and text.plain[20] == "\u2502"
    assert "\u2588" in text.plain[:20] and "\u2588" not in text.plain[21:]
    assert text.plain.count("\u2503") == 2
    assert gauges.BAD not in styles(text)
    assert gauges.BAD in styles(gauges.current(-18.0, 17.0, 3.8, 18.0, 40))
    assert gauges.BAD in styles(gauges.current(3.9, 17.0, 3.8, 18.0, 40))
    for value in (math.nan, 1e9, -1e9, 0.0):
        assert len(gauges.current(value, 0.0, 0.0, 0.0, 40).plain) == 41


def test_numbers_that_are_none_are_dashes():
    assert gauges.between(math.nan, math.nan, 1, "A") == "-"
    assert gauges.between(-17.0, 3.8, 1, "A") == "-17.0 .. +3.8 A"
    assert gauges.number(math.nan, 1, "V") == "- V" and gauges.number(1.25, 2, "V") == "1.25 V"
