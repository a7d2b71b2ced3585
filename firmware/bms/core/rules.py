"""THE table of protection: data only. docs, packs, tests and the time contract derive from it.

A row is (id, signal, side, level, path, recovery, when, untrusted, shed). Numbers live in
the pack: `[rules.ID]` holds limit, release and delay, and shed where the row sheds. A row acts
once its signal has been past the limit for the delay, and recovers once it has been inside the
release for the pack's `recover_ms` and its recovery has happened.
"""

from bms.compat import const
from bms.core.plausible import (
    CELL_MAX_UV,
    CELL_MIN_UV,
    CHARGE_UA,
    DISCHARGE_UA,
    FE_LOST_MS,
    FE_UNSTEADY_MS,
    FEATURES_LOST,
    FROZEN_MS,
    GATES_DROPPED,
    OVERRUN_MS,
    TEMP_LOST_MS,
    TEMP_MAX_MDEGC,
    TEMP_MIN_MDEGC,
)

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
LEVELS = ("note", "warn", "trip")

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

# fmt: off
ROWS = (
    ("cell_ov",      CELL_MAX_UV,    ABOVE, TRIP, CHARGE,    SELF,      ALWAYS, HOLD,    CUT),
    ("cell_uv",      CELL_MIN_UV,    BELOW, TRIP, DISCHARGE, CHARGER,   ALWAYS, HOLD,    SHEDS),
    ("cell_uv_cut",  CELL_MIN_UV,    BELOW, TRIP, DISCHARGE, CHARGER,   ALWAYS, HOLD,    CUT),
    ("charge_oc",    CHARGE_UA,      ABOVE, TRIP, CHARGE,    HAND,      ALWAYS, HOLD,    CUT),
    ("dsg_oc_warn",  DISCHARGE_UA,   ABOVE, WARN, DISCHARGE, SELF,      ALWAYS, HOLD,    CUT),
    ("dsg_oc",       DISCHARGE_UA,   ABOVE, TRIP, DISCHARGE, LOAD_GONE, ALWAYS, HOLD,    CUT),
    ("charge_hot",   TEMP_MAX_MDEGC, ABOVE, TRIP, CHARGE,    SELF,      ALWAYS, HOLD,    CUT),
    ("charge_cold",  TEMP_MIN_MDEGC, BELOW, TRIP, CHARGE,    SELF,      ALWAYS, CROSSED, CUT),
    ("hot_note",     TEMP_MAX_MDEGC, ABOVE, NOTE, BOTH,      SELF,      ALWAYS, HOLD,    CUT),
    ("hot_warn",     TEMP_MAX_MDEGC, ABOVE, WARN, BOTH,      SELF,      ALWAYS, HOLD,    CUT),
    ("hot",          TEMP_MAX_MDEGC, ABOVE, TRIP, BOTH,      HAND,      ALWAYS, HOLD,    SHEDS),
    ("hot_cut",      TEMP_MAX_MDEGC, ABOVE, TRIP, BOTH,      HAND,      ALWAYS, HOLD,    CUT),
    ("dsg_cold",     TEMP_MIN_MDEGC, BELOW, TRIP, DISCHARGE, SELF,      ALWAYS, HOLD,    SHEDS),
    ("fe_lost",      FE_LOST_MS,     ABOVE, TRIP, BOTH,      SELF,      ALWAYS, HOLD,    SHEDS),
    ("fe_unsteady",  FE_UNSTEADY_MS, ABOVE, TRIP, BOTH,      SELF,      ALWAYS, HOLD,    SHEDS),
    ("temp_lost",    TEMP_LOST_MS,   ABOVE, TRIP, BOTH,      SELF,      ALWAYS, HOLD,    SHEDS),
    ("frozen",       FROZEN_MS,      ABOVE, TRIP, BOTH,      HAND,      CLOSED, HOLD,    SHEDS),
    ("overrun",      OVERRUN_MS,     ABOVE, TRIP, BOTH,      SELF,      CLOSED, HOLD,    SHEDS),
    ("stalled",      OVERRUN_MS,     ABOVE, TRIP, BOTH,      SELF,      CLOSED, HOLD,    SHEDS),
    ("feature_lost", FEATURES_LOST,  ABOVE, TRIP, BOTH,      HAND,      ALWAYS, HOLD,    SHEDS),
    ("gate_dropped", GATES_DROPPED,  ABOVE, TRIP, BOTH,      HAND,      ALWAYS, HOLD,    CUT),
)  # type: tuple[tuple, ...]
# fmt: on
