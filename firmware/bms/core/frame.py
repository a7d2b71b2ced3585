"""Frame: one set of readings, the only input of the core.

An array of 32-bit integers made once; `FIELDS` names its fixed part, then come the cells (uV)
and the temperatures (mdegC). Everything that reaches the core, requests and saved SoC included,
passes through here, so that a recorded Frame replays to the same states.
"""

from array import array

from bms.compat import const

FIELDS = (
    "t_ms",  # time of the readings, wraps at 2^30
    "flags",  # which readings are valid, see below
    "pack_uv",
    "current_ua",  # charge positive
    "charge_uas",  # moved since the last Frame, from the chip's own accumulator
    "fe_resets",  # how often the front end was found reset
    "req_seq",  # mailbox: changes with every request
    "req_code",
    "req_arg",
    "req_age_ms",
    "saved_soc_ppm",  # what was saved before this boot, -1 for nothing
    "saved_bound_ppm",
    "out_uv",  # terminals behind the gates
    "fet_mdegc",
    "board_mdegc",
    "fe_time_ms",  # the front end's own clock, wraps at 2^30
    "fe_alerts",  # protections of the front end that stand, in its own bits
)

T_MS = const(0)
FLAGS = const(1)
PACK_UV = const(2)
CURRENT_UA = const(3)
CHARGE_UAS = const(4)
FE_RESETS = const(5)
REQ_SEQ = const(6)
REQ_CODE = const(7)
REQ_ARG = const(8)
REQ_AGE_MS = const(9)
SAVED_SOC_PPM = const(10)
SAVED_BOUND_PPM = const(11)
OUT_UV = const(12)
FET_MDEGC = const(13)
BOARD_MDEGC = const(14)
FE_TIME_MS = const(15)
FE_ALERTS = const(16)
CELL0 = const(17)  # first cell; the temperatures follow the last cell

# Bits of `flags`.
VOLT_OK = const(1)  # pack and cells
CURRENT_OK = const(2)
CHARGE_OK = const(4)
LOAD_GONE = const(8)  # the front end sees no load on the terminals
CODE_OK = const(16)  # boot: CRC of code and pack
CHIP_OK = const(32)  # boot: identity and configuration read back as written
CHARGE_OWED = const(128)  # more charge follows in the next Frames
FEATURE_LOST = const(64)  # something after the gates failed and was switched off
TEMP_OK = const(256)  # sensor k has the bit TEMP_OK << k, k < 8
GATE_DROPPED = const(65536)  # the dead-man holds a gate open that is commanded closed
PINS_OK = const(131072)  # boot: gate path and pins
ALERTED = const(262144)  # the front end's own limits acted since the last Frame
OUT_OK = const(524288)
FET_TEMP_OK = const(1048576)
BOARD_TEMP_OK = const(2097152)
FETS_OK = const(4194304)  # the front end tells of its FETs:
CHG_SHOWN = const(8388608)  # what it really drives on,
DSG_SHOWN = const(16777216)
PRE_SHOWN = const(33554432)  # and its pre-discharge FET
SHORTED = const(67108864)  # its short-circuit protection acted
FE_TIME_OK = const(134217728)


class Frame:
    """Readings of `cells` cells and `temps` temperature sensors, made once."""

    def __init__(self, cells, temps):
        self.v = array("i", [0] * (CELL0 + cells + temps))
        self.v[SAVED_SOC_PPM] = -1
        self.v[SAVED_BOUND_PPM] = -1
        self.temp0 = CELL0 + cells

    def names(self):
        """Return the name of every field, in order."""
        n = self.temp0 - CELL0
        cells = ["cell%d_uv" % k for k in range(n)]
        temps = ["temp%d_mdegc" % k for k in range(len(self.v) - self.temp0)]
        return list(FIELDS) + cells + temps
