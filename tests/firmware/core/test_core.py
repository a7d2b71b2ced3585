"""The whole core: names fit words, the hash sees every word, Status says what is."""

from __future__ import annotations

from array import array

import pytest
from bms.core import (
    balance,
    bound,
    capacity,
    cellstep,
    cellwatch,
    charging,
    filter,
    gatewatch,
    outlook,
    scale,
    selfcheck,
    thermal,
)
from bms.core import frame as F
from bms.core import limits as L
from bms.core import plausible as P
from bms.core import protect as T
from bms.core import rules as R
from bms.core import soc as S
from bms.core import switch as W
from bms.core.balance import MASK
from bms.core.charging import STAGE
from bms.core.core import Core
from bms.core.protect import ACTED, PENDING, RELEASING, STRIDE
from bms.core.status import FIELDS, Status
from solidbms.record import part_names
from support.packs import NAMES, compiled, read
from support.rig import Rig

PACK = read(compiled("bench_1s").blob)


def index_names(module, names) -> None:
    """Hold a module's index constants against the order of its names."""
    for k, name in enumerate(names):
        constant = getattr(module, name.upper(), getattr(module, f"_{name.upper()}", None))
        assert constant is None or constant == k, name


def running() -> Rig:
    rig = Rig(PACK)
    rig.close()
    rig.shunt_code = -1000
    for _ in range(30):
        rig.tick()
    return rig


@pytest.mark.parametrize("name", NAMES)
def test_names_fit_the_words(name: str):
    core = Core(read(compiled(name).blob))
    parts, names = core.parts(), part_names(core)
    assert [len(part) for part in parts] == [len(fields) for _, fields in names]
    flat = [f"{part}.{field}" for part, fields in names for field in fields]
    assert len(set(flat)) == len(flat)
    index_names(F, F.FIELDS)
    index_names(P, P.FIELDS)
    index_names(W, W.FIELDS)
    index_names(S, S.FIELDS)
    index_names(L, L.FIELDS)
    for module in (balance, bound, capacity, cellstep, cellwatch, charging, filter, gatewatch,
                   outlook, scale, selfcheck, thermal):  # fmt: skip
        index_names(module, module.FIELDS)
    frame = F.Frame(3, 2)
    assert frame.names()[F.CELL0 :] == [
        "cell0_uv", "cell1_uv", "cell2_uv", "temp0_mdegc", "temp1_mdegc"]  # fmt: skip
    assert frame.names()[frame.temp0] == "temp0_mdegc"
    assert len(T.PHASES) == T.RELEASING + 1


def digest_after(part: int = 0, word: int = 0, by: int = 0) -> int:
    core = Core(PACK)
    parts = core.parts()
    core.digest(parts)
    parts[part][word] += by
    return core.digest(parts)


@pytest.mark.parametrize("part", range(len(Core(PACK).parts())))
def test_the_hash_sees_one_unit_of_any_word(part: int):
    plain = digest_after()
    assert 0 <= plain < 1 << 30
    size = len(Core(PACK).parts()[part])
    changed = {digest_after(part, word, by) for word in range(size) for by in (-1, 1)}
    assert plain not in changed
    assert len(changed) == 2 * size


def test_the_hash_keeps_what_was():
    one, two = Core(PACK), Core(PACK)
    one.frame.v[F.PACK_UV] = 1
    first = one.digest(one.parts()), two.digest(two.parts())
    one.frame.v[F.PACK_UV] = 0
    assert first[0] != first[1]
    assert one.digest(one.parts()) != two.digest(two.parts())


def test_the_hash_takes_the_status_just_published():
    rig = running()
    core = rig.core
    parts = core.parts()
    for _ in range(3):
        core.estimate()
        core.digest(parts)
        assert parts[-1] is core.status.v
        assert core.parts()[-1] is core.status.v


def test_status_says_what_is():
    rig = running()
    core = rig.core
    # Values that no other field has, so that a swap shows.
    words = [core.frame.v, core.plausible.v, core.switch.v, core.soc.v, core.limits.v]
    for k, part in enumerate(words):
        for at in range(len(part)):
            part[at] = 1000 * (k + 1) + at
    for k in range(0, len(core.rules.v), STRIDE):
        core.rules.v[k] = PENDING
    for row, phase in ((0, ACTED), (3, RELEASING), (29, ACTED), (30, RELEASING), (52, ACTED)):
        core.rules.v[STRIDE * row] = phase
    core.rules.calm = False
    core.rules.blocked, core.rules.shed_left_ms, core.rules.warned = 11, 12, True
    ticks = core.status.ticks
    status: Status = core.status
    core.charging.v[STAGE], core.balance.v[MASK] = 13, 14
    core.outlook.v[: outlook.FULL_S + 1] = array("i", [15, 16, 17])
    core.soc.capacity.v[capacity.RATIO_PPM] = 18
    status.publish(core)
    f, sig, w, soc, limits = words
    expected = {
        "t_ms": f[F.T_MS], "state": w[W.STATE], "chg_on": w[W.CHG_ON], "dsg_on": w[W.DSG_ON],
        "blocked": 11, "shed_left_ms": 12, "soc_ppm": soc[S.SOC_PPM],
        "soc_bound_ppm": soc[S.BOUND_PPM], "pack_uv": f[F.PACK_UV],
        "current_ua": f[F.CURRENT_UA], "cell_min_uv": sig[P.CELL_MIN_UV],
        "cell_max_uv": sig[P.CELL_MAX_UV], "temp_min_mdegc": sig[P.TEMP_MIN_MDEGC],
        "temp_max_mdegc": sig[P.TEMP_MAX_MDEGC], "charge_limit_ma": limits[L.CHARGE_MA],
        "discharge_limit_ma": limits[L.DISCHARGE_MA], "fe_lost_ms": sig[P.FE_LOST_MS],
        "fe_resets": f[F.FE_RESETS], "warned": 1, "refused": w[W.REFUSED],
        "corrections": soc[S.CORRECTIONS], "ticks": ticks + 1,
        "acted_low": 1 << 0 | 1 << 3 | 1 << 29, "acted_high": 1 << 0 | 1 << 22,
        "overruns": core.status.overruns,
        "out_uv": f[F.OUT_UV], "hot_mdegc": sig[P.HOT_MDEGC], "fet_mdegc": sig[P.FET_MDEGC],
        "board_mdegc": sig[P.BOARD_MDEGC], "charge_1s_ma": limits[L.CHARGE_1S_MA],
        "discharge_1s_ma": limits[L.DISCHARGE_1S_MA], "charge_10s_ma": limits[L.CHARGE_10S_MA],
        "discharge_10s_ma": limits[L.DISCHARGE_10S_MA], "charging": 13, "balancing": 14,
        "fuse": w[W.FUSE], "fe_alerts": f[F.FE_ALERTS], "energy_mwh": 15, "empty_s": 16,
        "full_s": 17, "capacity_ppm": 18,
    }  # fmt: skip
    named = dict(zip(FIELDS, status.v, strict=True))
    assert named == expected
    assert len(R.ROWS) <= 60, "two words of 30 bits"


def test_the_status_on_show_is_never_half_written():
    core = running().core
    shown = core.status.v
    before = list(shown)
    core.frame.v[F.PACK_UV] += 1
    core.estimate()
    assert core.status.v is not shown and list(shown) == before


def test_the_period_follows_the_gates():
    rig = Rig(PACK)
    assert rig.core.period_ms() == PACK.tick_ms  # the boot test is soon over
    while rig.core.switch.v[W.STATE] == W.BOOT:
        rig.tick()
    assert rig.core.period_ms() == PACK.idle_tick_ms
    rig.close()
    assert rig.core.period_ms() == PACK.tick_ms


def test_a_request_goes_to_rules_and_switch_in_the_same_tick():
    rig = running()
    row = next(k for k, row in enumerate(R.ROWS) if row[R.SIGNAL] == P.FE_LOST_MS)
    rig.nack = True
    while not rig.acted(row):
        rig.tick()
    assert rig.commanded == (1, 1) and rig.core.switch.v[W.STATE] == W.SHEDDING
    rig.tick(W.ACK)
    assert rig.commanded == (0, 0)
    rig = running()
    rig.tick(W.OPEN)
    assert rig.commanded == (0, 0)
