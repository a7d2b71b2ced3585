"""A cell as the estimator sees it: tables over temperature and SoC.

    V = OCV(SoC, T) + R0(SoC, T) I + u1 + u2,    u_k: lag tau_k of R_k(SoC, T) I

(two RC pairs, Plett, Battery Management Systems vol. 1, ch. 2). Rows are temperatures, columns
SoC; between them lines, beyond the ends the end's own value. OCV has columns of its own: its
slope decides what a reading tells, and must not be smoothed away. The tables are the pack's, made
by the pack compiler. Slack only: some steps need more than 31 bits.
"""

from bms.compat import const
from bms.core.fixed import below

_ONE = const(1024)
_FULL = const(1000000)


def place(axis, x):
    """Return (k, share): x lies share/1024 of the way from axis[k] to axis[k + 1]."""
    last = len(axis) - 1
    if last < 1 or x <= axis[0]:
        return 0, 0
    if x >= axis[last]:
        return last - 1, _ONE
    low = below(axis, last + 1, x)
    return low, ((x - axis[low]) << 10) // (axis[low + 1] - axis[low])


class CellTable:
    """Tables of one pack's cell at the temperature that `warm` was told last."""

    def __init__(self, pack):
        self.pack = pack
        self.row = 0
        self.share = 0
        self.residual_uv = 0
        self.ocv_error_uv = 0
        self.r0_uohm = 0
        self.r0_slope = 0  # uohm per ppm, 16 fractional bits
        self.r1_uohm = 0
        self.r2_uohm = 0

    def warm(self, mdegc):
        """Take the rows for this temperature."""
        pack = self.pack
        self.row, self.share = place(pack.cell_mdegc, mdegc)
        self.residual_uv = self._mix(pack.cell_residual_uv, 1, 0)
        self.ocv_error_uv = self._mix(pack.cell_ocv_error_uv, 1, 0)

    def _mix(self, table, width, column):
        # One column, between the two rows.
        at = self.row * width + column
        y = table[at]
        if self.share:
            y += (table[at + width] - y) * self.share >> 10
        return y

    def ocv(self, ppm):
        """Return (uV, uV per ppm with 16 fractional bits) at a SoC."""
        pack = self.pack
        axis = pack.cell_ocv_ppm
        k, share = place(axis, ppm)
        low = self._mix(pack.cell_ocv_uv, len(axis), k)
        step = self._mix(pack.cell_ocv_uv, len(axis), k + 1) - low
        return low + (step * share >> 10), (step << 16) // (axis[k + 1] - axis[k])

    def resist(self, ppm):
        """Look up the resistances at a SoC."""
        pack = self.pack
        axis = pack.cell_r_ppm
        width = len(axis)
        k, share = place(axis, ppm)
        low = self._mix(pack.cell_r0_uohm, width, k)
        step = self._mix(pack.cell_r0_uohm, width, k + 1) - low
        self.r0_uohm = low + (step * share >> 10)
        self.r0_slope = (step << 16) // (axis[k + 1] - axis[k])
        self.r1_uohm = self._between(pack.cell_r1_uohm, width, k, share)
        self.r2_uohm = self._between(pack.cell_r2_uohm, width, k, share)

    def _between(self, table, width, k, share):
        low = self._mix(table, width, k)
        return low + ((self._mix(table, width, k + 1) - low) * share >> 10)

    def hysteresis_uv(self, ppm):
        """Return half of what lies between the branches of charge and discharge."""
        table = self.pack.cell_hysteresis_uv
        if not table:
            return 0
        k, share = place(self.pack.cell_ocv_ppm, ppm)
        return table[k] + ((table[k + 1] - table[k]) * share >> 10)

    def find_ppm(self, uv, ua):
        """Return the SoC whose OCV + R0 I is uv, 0 or full beyond the ends.

        With current, R0 may bend the curve: the highest such SoC counts.
        """
        pack = self.pack
        axis = pack.cell_ocv_ppm
        width = len(axis)
        above = 0
        for k in range(width - 1, -1, -1):
            v = self._mix(pack.cell_ocv_uv, width, k)
            if ua:
                self.resist(axis[k])
                v += self.r0_uohm * ua // 1000000
            if v <= uv:
                if k == width - 1:
                    return _FULL
                return axis[k] + (axis[k + 1] - axis[k]) * (uv - v) // max(above - v, 1)
            above = v
        return 0
