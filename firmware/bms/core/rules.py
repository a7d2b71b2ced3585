"""THE table of protection: data only. docs, packs, tests and the time contract derive from it.

A row is (id, signal, side, level, path, recovery, when, untrusted, shed). Numbers live in
the pack: `[rules.ID]` holds limit, release and delay, and shed where the row sheds. A row acts
once its signal has been past the limit for the delay, which starts again where it was inside for a
moment (but see `RUN_BACK`), and recovers once it has been inside the
release for the pack's `recover_ms` and its recovery has happened.
"""

from bms.compat import const
from bms.core import plausible as P

ID = const(0)
SIGNAL = const(1)
SIDE = const(2)
LEVEL = const(3)
PATH = const(4)
RECOVERY = const(5)
WHEN = const(6)
UNTRUSTED = const(7)
SHED = const(8)

ABOVE = const(1)
BELOW = const(-1)

NOTE = const(0)  # recorded
WARN = const(1)  # told to the load; limits shrink
TRIP = const(2)  # opens its path
BURN = const(3)  # blows the fuse that firmware can blow, on packs that have one
LEVELS = ("note", "warn", "trip", "burn")

CHARGE = const(1)
DISCHARGE = const(2)
BOTH = const(3)
PATHS = ("none", "charge", "discharge", "both")

SELF = const(0)  # by itself, inside the release
CHARGER = const(1)  # inside the release while charge current flows
LOAD_GONE = const(2)  # the front end sees no load; a clear request does too
HAND = const(3)  # a clear request; a pack that was cut stays off until asked again
RECOVERIES = ("by itself", "charger there", "load gone", "by hand")

ALWAYS = const(0)
CLOSED = const(1)  # watched only while a gate is closed
WHENS = ("always", "gate closed")

HOLD = const(0)  # an untrusted signal neither clears nor starts: what was pending goes on
CROSSED = const(1)  # an untrusted signal counts as past the limit
UNTRUSTEDS = ("hold", "counts as crossed")

CUT = const(0)  # at once
SHEDS = const(1)  # announced: the load has `shed` to shut down before the path opens

# One row a line, in columns.
# fmt: off
ROWS = (
    ("cell_ov_warn",  P.CELL_MAX_UV,    ABOVE, WARN, CHARGE,    SELF,      ALWAYS, HOLD,    CUT),
    ("cell_ov",       P.CELL_MAX_UV,    ABOVE, TRIP, CHARGE,    SELF,      ALWAYS, HOLD,    CUT),
    ("cell_ov_cut",   P.CELL_MAX_UV,    ABOVE, TRIP, CHARGE,    HAND,      ALWAYS, HOLD,    CUT),
    ("cell_uv",       P.CELL_MIN_UV,    BELOW, TRIP, DISCHARGE, CHARGER,   ALWAYS, HOLD,    SHEDS),
    ("cell_uv_cut",   P.CELL_MIN_UV,    BELOW, TRIP, DISCHARGE, CHARGER,   ALWAYS, HOLD,    CUT),
    ("pack_ov",       P.PACK_UV,        ABOVE, TRIP, CHARGE,    SELF,      ALWAYS, HOLD,    CUT),
    ("pack_uv",       P.PACK_UV,        BELOW, TRIP, DISCHARGE, CHARGER,   ALWAYS, HOLD,    SHEDS),
    ("imbalance",     P.SPREAD_UV,      ABOVE, WARN, BOTH,      SELF,      ALWAYS, HOLD,    CUT),
    ("imbalance_cut", P.SPREAD_UV,      ABOVE, TRIP, CHARGE,    SELF,      ALWAYS, HOLD,    CUT),
    ("charge_oc",     P.CHARGE_UA,      ABOVE, TRIP, CHARGE,    HAND,      ALWAYS, HOLD,    CUT),
    ("charge_oc_cut", P.CHARGE_UA,      ABOVE, TRIP, CHARGE,    HAND,      ALWAYS, HOLD,    CUT),
    ("charge_rate",   P.CHARGE_OVER_UA, ABOVE, TRIP, CHARGE,    HAND,      ALWAYS, HOLD,    CUT),
    ("dsg_oc_warn",   P.DISCHARGE_UA,   ABOVE, WARN, DISCHARGE, SELF,      ALWAYS, HOLD,    CUT),
    ("dsg_oc",        P.DISCHARGE_UA,   ABOVE, TRIP, DISCHARGE, LOAD_GONE, ALWAYS, HOLD,    CUT),
    ("dsg_oc_cut",    P.DISCHARGE_UA,   ABOVE, TRIP, DISCHARGE, LOAD_GONE, ALWAYS, HOLD,    CUT),
    ("short",         P.SHORTS,         ABOVE, TRIP, BOTH,      LOAD_GONE, ALWAYS, HOLD,    CUT),
    ("charge_hot",    P.TEMP_MAX_MDEGC, ABOVE, TRIP, CHARGE,    SELF,      ALWAYS, HOLD,    CUT),
    ("charge_cold",   P.TEMP_MIN_MDEGC, BELOW, TRIP, CHARGE,    SELF,      ALWAYS, CROSSED, CUT),
    ("hot_note",      P.TEMP_MAX_MDEGC, ABOVE, NOTE, BOTH,      SELF,      ALWAYS, HOLD,    CUT),
    ("hot_warn",      P.TEMP_MAX_MDEGC, ABOVE, WARN, BOTH,      SELF,      ALWAYS, HOLD,    CUT),
    ("hot",           P.TEMP_MAX_MDEGC, ABOVE, TRIP, BOTH,      HAND,      ALWAYS, HOLD,    SHEDS),
    ("hot_cut",       P.TEMP_MAX_MDEGC, ABOVE, TRIP, BOTH,      HAND,      ALWAYS, HOLD,    CUT),
    ("core_hot",      P.HOT_MDEGC,      ABOVE, TRIP, BOTH,      HAND,      ALWAYS, HOLD,    SHEDS),
    ("dsg_cold",      P.TEMP_MIN_MDEGC, BELOW, TRIP, DISCHARGE, SELF,      ALWAYS, HOLD,    SHEDS),
    ("spread_warn",   P.SPREAD_MDEGC,   ABOVE, WARN, BOTH,      SELF,      ALWAYS, HOLD,    CUT),
    ("temp_spread",   P.SPREAD_MDEGC,   ABOVE, TRIP, BOTH,      HAND,      ALWAYS, HOLD,    SHEDS),
    ("temp_stuck",    P.STUCK_MDEGC,    ABOVE, TRIP, BOTH,      HAND,      ALWAYS, HOLD,    SHEDS),
    ("runaway",       P.RISE_UDEGPS,    ABOVE, TRIP, BOTH,      HAND,      ALWAYS, HOLD,    SHEDS),
    ("runaway_cut",   P.RISE_UDEGPS,    ABOVE, TRIP, BOTH,      HAND,      ALWAYS, HOLD,    CUT),
    ("cell_sag",      P.SAG_UV,         ABOVE, TRIP, CHARGE,    HAND,      ALWAYS, HOLD,    CUT),
    ("cell_r_warn",   P.R_LOW_PPM,      ABOVE, WARN, BOTH,      SELF,      ALWAYS, HOLD,    CUT),
    ("cell_r_low",    P.R_LOW_PPM,      ABOVE, TRIP, BOTH,      HAND,      ALWAYS, HOLD,    SHEDS),
    ("cell_r_high",   P.R_HIGH_PPM,     ABOVE, WARN, BOTH,      SELF,      ALWAYS, HOLD,    CUT),
    ("fet_hot",       P.FET_MDEGC,      ABOVE, TRIP, BOTH,      HAND,      ALWAYS, HOLD,    SHEDS),
    ("fet_hot_cut",   P.FET_MDEGC,      ABOVE, TRIP, BOTH,      HAND,      ALWAYS, HOLD,    CUT),
    ("board_hot",     P.BOARD_MDEGC,    ABOVE, TRIP, BOTH,      HAND,      ALWAYS, HOLD,    SHEDS),
    ("pre_failed",    P.PRE_MS,         ABOVE, TRIP, BOTH,      HAND,      ALWAYS, HOLD,    CUT),
    ("chg_welded",    P.WELD_MS,        ABOVE, TRIP, BOTH,      HAND,      ALWAYS, HOLD,    SHEDS),
    ("chg_burn",      P.WELD_MS,        ABOVE, BURN, BOTH,      HAND,      ALWAYS, HOLD,    CUT),
    ("dsg_welded",    P.LEAK_MS,        ABOVE, TRIP, BOTH,      HAND,      ALWAYS, HOLD,    CUT),
    ("fet_open",      P.FET_OPEN_MS,    ABOVE, TRIP, BOTH,      HAND,      ALWAYS, HOLD,    SHEDS),
    ("chg_held",      P.CHG_HELD_MS,    ABOVE, TRIP, CHARGE,    SELF,      ALWAYS, HOLD,    CUT),
    ("dsg_held",      P.DSG_HELD_MS,    ABOVE, TRIP, DISCHARGE, LOAD_GONE, ALWAYS, HOLD,    CUT),
    ("open_wire",     P.WIRE_UV,        ABOVE, TRIP, BOTH,      HAND,      ALWAYS, HOLD,    SHEDS),
    ("stack_odd",     P.STACK_PPM,      ABOVE, TRIP, BOTH,      HAND,      ALWAYS, HOLD,    SHEDS),
    ("current_odd",   P.ODD_STEPS,      ABOVE, TRIP, BOTH,      HAND,      ALWAYS, HOLD,    SHEDS),
    ("current_gain",  P.ANSWER_PPM,     ABOVE, TRIP, BOTH,      HAND,      ALWAYS, HOLD,    SHEDS),
    ("current_zero",  P.OFFSET_UA,      ABOVE, WARN, BOTH,      SELF,      ALWAYS, HOLD,    CUT),
    ("frozen",        P.FROZEN_MS,      ABOVE, TRIP, BOTH,      HAND,      CLOSED, HOLD,    SHEDS),
    ("fe_lost",       P.FE_LOST_MS,     ABOVE, TRIP, BOTH,      SELF,      ALWAYS, HOLD,    SHEDS),
    ("fe_unsteady",   P.FE_UNSTEADY_MS, ABOVE, TRIP, BOTH,      SELF,      ALWAYS, HOLD,    SHEDS),
    ("temp_lost",     P.TEMP_LOST_MS,   ABOVE, TRIP, BOTH,      SELF,      ALWAYS, HOLD,    SHEDS),
    ("overrun",       P.OVERRUN_MS,     ABOVE, TRIP, BOTH,      SELF,      CLOSED, HOLD,    SHEDS),
    ("stalled",       P.OVERRUN_MS,     ABOVE, TRIP, BOTH,      SELF,      CLOSED, HOLD,    SHEDS),
    ("clock",         P.CLOCK_PPM,      ABOVE, TRIP, BOTH,      HAND,      ALWAYS, HOLD,    SHEDS),
    ("feature_lost",  P.FEATURES_LOST,  ABOVE, TRIP, BOTH,      HAND,      ALWAYS, HOLD,    SHEDS),
    ("config",        P.CONFIG_BAD,     ABOVE, TRIP, BOTH,      HAND,      ALWAYS, HOLD,    SHEDS),
    ("gate_dropped",  P.GATES_DROPPED,  ABOVE, TRIP, BOTH,      HAND,      ALWAYS, HOLD,    CUT),
    ("charge_long",   P.CHARGE_TIME_MS, ABOVE, TRIP, CHARGE,    HAND,      ALWAYS, HOLD,    CUT),
    ("overcharge",    P.OVERCHARGE_MS,  ABOVE, TRIP, CHARGE,    HAND,      ALWAYS, HOLD,    CUT),
)  # type: tuple[tuple, ...]
# fmt: on
# Rows whose delay is for brakes, not for a charger that comes and goes: inside the limit it runs
# back at half its speed, so that what is past the limit for more than a third of the time acts.
RUN_BACK = ("charge_oc", "charge_rate")
OFF = const(0x3FFFFFFF)  # the limit of a row that a pack does without: never reached
