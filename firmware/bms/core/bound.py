"""How far SoC may be off, from the filter's covariance and from how well its model fits.

    bound^2 = kappa^2 (2.7^2 P_zz + 0.5 %^2 + start^2),
    kappa^2: mean square of the innovations over ten minutes against the residual that the cell's
    tables promise, at least 1,

start: what a start under load leaves, twice the residual over the slope of OCV, fading over 40
minutes and over half a capacity, whichever takes longer. A SoC that was read off a rested cell is
off by what two errors of OCV are there, on a curve that bends more than the covariance has: at
least that, fading as the cell moves away (Filter.told). kappa tells a cell that its tables fit
badly, or a temperature that is wrong. What it was found on and what it holds: docs/soc.md.

Slack only: squares need more than 31 bits on their way; every word that stays has 31.
"""

from array import array

from bms.compat import const

FIELDS = (
    "square_high",  # mean square of the innovation, uV2, in two words of 30 bits
    "square_low",
    "start_ppm",  # a start under load: at most this is still in the bound
    "start_moves",  # charge that must still flow before it is left out, ppm, 8 fractional bits
    "told_ppm",  # a start at rest: the bound is at least this
    "sd_ppm",  # standard deviation of SoC
    "bound_ppm",
)
_START_PPM = const(2)
_START_MOVES = const(3)
_TOLD_PPM = const(4)
SD_PPM = const(5)
BOUND_PPM = const(6)
_LOW = const(0x3FFFFFFF)

_FULL = const(1000000)
_SQUARE_MS = const(600000)
_START_MS = const(2400000)
_MOVES = const(128000000)
_FLOOR_PPM2 = const(25000000)  # 0.5 %: never nearer, however sure the filter is


class Bound:
    """Bound of one pack. `v` holds `FIELDS`."""

    def __init__(self):
        self.v = array("i", [0] * len(FIELDS))
        self.v[BOUND_PPM] = _FULL
        self.square = 0

    def start(self, sd_ppm, rested, residual_uv):
        """Begin anew from a SoC of this standard deviation."""
        v = self.v
        v[SD_PPM] = sd_ppm
        v[BOUND_PPM] = min(2 * sd_ppm, _FULL)
        v[_START_PPM] = 0 if rested else v[BOUND_PPM]
        v[_START_MOVES] = _MOVES
        v[_TOLD_PPM] = 0
        self._keep(residual_uv * residual_uv)

    def doubt(self, ppm):
        """SoC may be off by this much more, as after a start."""
        v = self.v
        v[_START_PPM] = min(max(v[_START_PPM], ppm), _FULL)
        v[_START_MOVES] = _MOVES
        v[BOUND_PPM] = min(v[BOUND_PPM] + ppm, _FULL)

    def anchored(self):
        """SoC was found at rest: no start is left in it."""
        self.v[_START_PPM] = 0

    def told(self, ppm):
        """SoC was read off a rested cell and may be off by this much."""
        v = self.v
        v[_TOLD_PPM] = min(ppm, _FULL)
        v[BOUND_PPM] = max(v[BOUND_PPM], v[_TOLD_PPM])

    def moved(self, ppm):
        """So much charge has flowed, ppm with 8 fractional bits."""
        self.v[_START_MOVES] = max(self.v[_START_MOVES] - ppm, 0)

    def see(self, y_uv, dt_ms):
        """Take in an innovation."""
        change = (y_uv * y_uv - self.square) * min(dt_ms, _SQUARE_MS) // _SQUARE_MS
        self._keep(self.square + change)

    def _keep(self, square):
        self.square = square
        self.v[0] = square >> 30
        self.v[1] = square & _LOW

    def publish(self, var_ppm2, residual_uv, slope, age_ms, told, error_uv):
        """Write the bound: variance of SoC, residual, slope of OCV (uV a ppm, 16 fractional bits),
        time since the start, what is left of a reading at rest (24 fractional bits), error of OCV
        (uV)."""
        v = self.v
        v[SD_PPM] = root(var_ppm2, v[SD_PPM])
        square = (29 * var_ppm2 >> 2) + _FLOOR_PPM2
        left = max((_START_MS - age_ms) // (_START_MS >> 7), v[_START_MOVES] // (_MOVES >> 7))
        if left <= 0:
            v[_START_PPM] = 0
        elif v[_START_PPM]:
            start = min((residual_uv << 10) * left // slope, v[_START_PPM])
            square += start * start
        # What a reading at rest has told of SoC has OCV's error in it, and so have innovations.
        promised = residual_uv * residual_uv + (error_uv * error_uv * told >> 24)
        if self.square > promised:
            square = square * self.square // promised
        told_ppm = v[_TOLD_PPM] * told >> 24
        v[BOUND_PPM] = min(max(root(square, v[BOUND_PPM]), told_ppm), _FULL)


def root(x, near):
    """Return the whole square root of x >= 0; near: a guess, which costs or saves time only."""
    if x <= 0:
        return 0
    r = max(near, 1)
    r = (r + x // r) >> 1  # Newton: from here on at or above the root
    while True:
        less = (r + x // r) >> 1
        if less >= r:
            return r
        r = less
