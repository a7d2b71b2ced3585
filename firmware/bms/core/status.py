"""Status: the only output. Declared once; CSV columns, messages and docs derive from `FIELDS`."""

from array import array

from bms.compat import const
from bms.core import frame as F
from bms.core import limits as L
from bms.core import outlook as O
from bms.core import plausible as P
from bms.core import soc as S
from bms.core import switch as W
from bms.core.balance import MASK
from bms.core.capacity import RATIO_PPM
from bms.core.charging import STAGE
from bms.core.protect import ACTED, STRIDE

_WORD = const(30)  # rows a word of `acted_*`

FIELDS = (
    "t_ms",  # time of the Frame
    "state",  # index into switch.STATES
    "chg_on",  # charge gate commanded closed
    "dsg_on",  # discharge gate commanded closed
    "blocked",  # paths that a trip keeps open: 1 charge, 2 discharge
    "shed_left_ms",  # until the discharge path opens, -1 when nothing is shed
    "soc_ppm",  # state of charge
    "soc_bound_ppm",  # SoC is within this of the truth, 95 times of 100
    "pack_uv",  # pack voltage
    "current_ua",  # charge positive
    "cell_min_uv",  # lowest cell
    "cell_max_uv",  # highest cell
    "temp_min_mdegc",  # coldest sensor
    "temp_max_mdegc",  # hottest sensor
    "charge_limit_ma",  # charge current the pack takes now
    "discharge_limit_ma",  # discharge current the pack gives now
    "fe_lost_ms",  # since the last believable set of readings
    "fe_resets",  # resets of the front end seen
    "warned",  # 1 while a warning or a shed stands
    "refused",  # requests to close that did not close
    "corrections",  # SoC corrections at rest
    "ticks",  # ticks since boot, wraps at 2^30
    "acted_low",  # bit k: row k of the rules has acted and stands, k < 30
    "acted_high",  # the same for row k + 30
    "overruns",  # ticks that came late by half their period or more
    "out_uv",  # terminals behind the gates, 0 where the front end does not see them
    "hot_mdegc",  # hottest spot between the sensors, by the model
    "fet_mdegc",  # MOSFETs, 0 where nothing measures them
    "board_mdegc",  # front end, 0 where nothing measures it
    "charge_1s_ma",  # charge current the pack takes for a second
    "discharge_1s_ma",  # discharge current the pack gives for a second
    "charge_10s_ma",  # charge current the pack takes for 10 s: what brakes may feed back
    "discharge_10s_ma",  # discharge current the pack gives for 10 s
    "charging",  # index into charging.STAGES
    "balancing",  # bit k: cell k bleeds
    "fuse",  # 1 once the fuse was told to blow
    "fe_alerts",  # protections of the front end that stand, in its own bits
    "energy_mwh",  # usable energy, at this temperature and mean current
    "empty_s",  # time to empty at the mean current, -1: it does not discharge
    "full_s",  # time to full at the mean current, -1: it does not charge
    "capacity_ppm",  # learned capacity against the stated one
)


class Status:
    """Two buffers: `v` is whole, the other is being written; `publish` swaps them."""

    def __init__(self):
        self.v = array("i", [0] * len(FIELDS))
        self._next = array("i", [0] * len(FIELDS))
        self.ticks = 0
        self.overruns = 0

    def publish(self, core):
        """Write one whole Status of a `Core` and make it the current one."""
        f = core.frame.v
        sig = core.plausible.v
        protect = core.rules
        w = core.switch.v
        soc = core.soc
        limits = core.limits
        n = self._next
        self.ticks = (self.ticks + 1) & 0x3FFFFFFF
        n[0] = f[F.T_MS]
        n[1] = w[W.STATE]
        n[2] = w[W.CHG_ON]
        n[3] = w[W.DSG_ON]
        n[4] = protect.blocked
        n[5] = protect.shed_left_ms
        n[6] = soc.v[S.SOC_PPM]
        n[7] = soc.v[S.BOUND_PPM]
        n[8] = f[F.PACK_UV]
        n[9] = f[F.CURRENT_UA]
        n[10] = sig[P.CELL_MIN_UV]
        n[11] = sig[P.CELL_MAX_UV]
        n[12] = sig[P.TEMP_MIN_MDEGC]
        n[13] = sig[P.TEMP_MAX_MDEGC]
        n[14] = limits.v[L.CHARGE_MA]
        n[15] = limits.v[L.DISCHARGE_MA]
        n[16] = sig[P.FE_LOST_MS]
        n[17] = f[F.FE_RESETS]
        n[18] = 1 if protect.warned else 0
        n[19] = w[W.REFUSED]
        n[20] = soc.v[S.CORRECTIONS]
        n[21] = self.ticks
        n[22] = n[23] = 0
        if not protect.calm:  # else no row has anything to tell
            n[22] = _acted(protect.v, 0)
            n[23] = _acted(protect.v, _WORD)
        # Late by half the period, which is dt less what was late.
        if 3 * sig[P.OVERRUN_MS] >= sig[P.DT_MS]:
            self.overruns = (self.overruns + 1) & 0x3FFFFFFF
        n[24] = self.overruns
        n[25] = f[F.OUT_UV]
        n[26] = sig[P.HOT_MDEGC]
        n[27] = sig[P.FET_MDEGC]
        n[28] = sig[P.BOARD_MDEGC]
        n[29] = limits.v[L.CHARGE_1S_MA]
        n[30] = limits.v[L.DISCHARGE_1S_MA]
        n[31] = limits.v[L.CHARGE_10S_MA]
        n[32] = limits.v[L.DISCHARGE_10S_MA]
        n[33] = core.charging.v[STAGE]
        n[34] = core.balance.v[MASK]
        n[35] = w[W.FUSE]
        n[36] = f[F.FE_ALERTS]
        n[37] = core.outlook.v[O.ENERGY_MWH]
        n[38] = core.outlook.v[O.EMPTY_S]
        n[39] = core.outlook.v[O.FULL_S]
        n[40] = soc.capacity.v[RATIO_PPM]
        self._next = self.v
        self.v = n


def _acted(rules, first):
    word = 0
    for k in range(STRIDE * first, min(STRIDE * (first + _WORD), len(rules)), STRIDE):
        if rules[k] >= ACTED:
            word |= 1 << k // STRIDE - first
    return word
