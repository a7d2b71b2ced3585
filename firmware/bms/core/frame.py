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
CELL0 = const(12)  # first cell; the temperatures follow the last cell

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
