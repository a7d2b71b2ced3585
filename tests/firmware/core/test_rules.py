"""What each row is for, said a second time: the generated tests follow the table, right or wrong.

A row changed by mistake fails here. A new row needs no line: test_rules_generated tests it as it
stands; a line keeps it that way.
"""

from __future__ import annotations

import pytest
from bms.core import plausible as P
from bms.core import rules as R

# id: signal, side, level, path, recovery, then what is not the rule for most rows.
MEANT = """
cell_ov_warn   cell_max_uv      above warn charge    self
cell_ov        cell_max_uv      above trip charge    self
cell_ov_cut    cell_max_uv      above trip charge    hand
cell_uv        cell_min_uv      below trip discharge charger   sheds
cell_uv_cut    cell_min_uv      below trip discharge charger
pack_ov        pack_uv          above trip charge    self
pack_uv        pack_uv          below trip discharge charger   sheds
imbalance      spread_uv        above warn both      self
imbalance_cut  spread_uv        above trip charge    self
charge_oc      charge_ua        above trip charge    hand
charge_oc_cut  charge_ua        above trip charge    hand
charge_rate    charge_over_ua   above trip charge    hand
dsg_oc_warn    discharge_ua     above warn discharge self
dsg_oc         discharge_ua     above trip discharge load_gone
dsg_oc_cut     discharge_ua     above trip discharge load_gone
short          shorts           above trip both      load_gone
charge_hot     temp_max_mdegc   above trip charge    self
charge_cold    temp_min_mdegc   below trip charge    self      crossed
hot_note       temp_max_mdegc   above note both      self
hot_warn       temp_max_mdegc   above warn both      self
hot            temp_max_mdegc   above trip both      hand      sheds
hot_cut        temp_max_mdegc   above trip both      hand
core_hot       hot_mdegc        above trip both      hand      sheds
dsg_cold       temp_min_mdegc   below trip discharge self      sheds
spread_warn    spread_mdegc     above warn both      self
temp_spread    spread_mdegc     above trip both      hand      sheds
temp_stuck     stuck_mdegc      above trip both      hand      sheds
runaway        rise_udegps      above trip both      hand      sheds
runaway_cut    rise_udegps      above trip both      hand
cell_sag       sag_uv           above trip charge    hand
cell_r_warn    r_low_ppm        above warn both      self
cell_r_low     r_low_ppm        above trip both      hand      sheds
cell_r_high    r_high_ppm       above warn both      self
fet_hot        fet_mdegc        above trip both      hand      sheds
fet_hot_cut    fet_mdegc        above trip both      hand
board_hot      board_mdegc      above trip both      hand      sheds
pre_failed     pre_ms           above trip both      hand
chg_welded     weld_ms          above trip both      hand      sheds
chg_burn       weld_ms          above burn both      hand
dsg_welded     leak_ms          above trip both      hand
fet_open       fet_open_ms      above trip both      hand      sheds
chg_held       chg_held_ms      above trip charge    self
dsg_held       dsg_held_ms      above trip discharge load_gone
open_wire      wire_uv          above trip both      hand      sheds
stack_odd      stack_ppm        above trip both      hand      sheds
current_odd    odd_steps        above trip both      hand      sheds
current_gain   answer_ppm       above trip both      hand      sheds
current_zero   offset_ua        above warn both      self
frozen         frozen_ms        above trip both      hand      sheds closed
fe_lost        fe_lost_ms       above trip both      self      sheds
fe_unsteady    fe_unsteady_ms   above trip both      self      sheds
temp_lost      temp_lost_ms     above trip both      self      sheds
overrun        overrun_ms       above trip both      self      sheds closed
stalled        overrun_ms       above trip both      self      sheds closed
clock          clock_ppm        above trip both      hand      sheds
feature_lost   features_lost    above trip both      hand      sheds
config         config_bad       above trip both      hand      sheds
gate_dropped   gates_dropped    above trip both      hand
charge_long    charge_time_ms   above trip charge    hand
overcharge     overcharge_ms    above trip charge    hand
"""
LINES = [line.split() for line in MEANT.strip().splitlines()]
ROWS = {row[R.ID]: row for row in R.ROWS}


def test_every_row_has_its_line():
    assert [line[0] for line in LINES] == list(ROWS)


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[0])
def test_a_row_is_what_it_is_meant_to_be(line: list[str]):
    name, signal, side, level, path, recovery, *more = line
    row = ROWS[name]
    assert P.FIELDS[row[R.SIGNAL]] == signal
    assert row[R.SIDE] == {"above": 1, "below": -1}[side]
    assert R.LEVELS[row[R.LEVEL]] == level
    assert R.PATHS[row[R.PATH]] == path
    assert row[R.RECOVERY] == ("self", "charger", "load_gone", "hand").index(recovery)
    assert row[R.SHED] == ("sheds" in more)
    assert row[R.WHEN] == ("closed" in more)
    assert row[R.UNTRUSTED] == ("crossed" in more)
    assert not set(more) - {"sheds", "closed", "crossed"}


def test_delays_that_run_back_are_those_of_charge_current():
    assert set(R.RUN_BACK) == {"charge_oc", "charge_rate"}


def test_the_words_stand_for_the_numbers():
    assert R.LEVELS == ("note", "warn", "trip", "burn")
    assert (R.NOTE, R.WARN, R.TRIP, R.BURN) == (0, 1, 2, 3)
    assert R.PATHS == ("none", "charge", "discharge", "both")
    assert (R.CHARGE, R.DISCHARGE, R.BOTH) == (1, 2, 3)
    assert tuple(range(len(R.RECOVERIES))) == (R.SELF, R.CHARGER, R.LOAD_GONE, R.HAND)
    assert R.ABOVE == -R.BELOW == 1
    assert tuple(range(len(R.WHENS))) == (R.ALWAYS, R.CLOSED)
    assert tuple(range(len(R.UNTRUSTEDS))) == (R.HOLD, R.CROSSED)
    assert (R.CUT, R.SHEDS) == (0, 1)
