"""One learned factor on every resistance of the cell: age, temperature read wrongly, a void.

Innovation against drop, both between lags of 10 s and 100 s: faster, voltage and current are not
of one instant and a plain regression reads low (0.5 to 0.9 on measured cells); slower, an error
of OCV looks the same. The regression is a filter with one state; what the model gets wrong lasts,
so its noise counts for a hundred times its square.

Slack only: squares need more than 31 bits on their way; every word that stays has 31.
"""

from array import array

from bms.compat import const
from bms.core.fixed import clamp

FIELDS = (
    "scale",  # 24 fractional bits
    "variance",  # 32 fractional bits
    "fast_y",  # innovation and drop after either lag, uV with 8 fractional bits
    "slow_y",
    "fast_x",
    "slow_x",
)
SCALE = const(0)
_VARIANCE = const(1)
_FAST_Y = const(2)
_SLOW_Y = const(3)
_FAST_X = const(4)
_SLOW_X = const(5)

ONE = const(16777216)
_LOW = const(8388608)  # half
_HIGH = const(50331648)  # three times
_START = const(96636764)  # 0.15 squared
_WALK = const(43)  # a second: 1e-4 after one
_NOISE = const(100)
_MOST = const(1000000000)  # 4 V of drop
_FAST_MS = const(10000)
_SLOW_MS = const(100000)
_FROM_MS = const(200000)  # what the start left is gone by then


class Scale:
    """Factor of one pack. `v` holds `FIELDS`."""

    def __init__(self):
        self.v = array("i", [0] * len(FIELDS))
        self.v[SCALE] = ONE
        self.v[_VARIANCE] = _START

    def see(self, y_uv, drop_uv, square_uv2, dt_ms, age_ms):
        """Take in an innovation, the drop that the model saw, this factor in it, the mean square
        of what the model gets wrong, and the times since the last one and the start."""
        v = self.v
        y = y_uv << 8
        x = clamp((drop_uv << 24) // (v[SCALE] >> 8), -_MOST, _MOST)
        fast = min(dt_ms, _FAST_MS)
        slow = min(dt_ms, _SLOW_MS)
        v[_FAST_Y] += (y - v[_FAST_Y]) * fast // _FAST_MS
        v[_FAST_X] += (x - v[_FAST_X]) * fast // _FAST_MS
        v[_SLOW_Y] += (y - v[_SLOW_Y]) * slow // _SLOW_MS
        v[_SLOW_X] += (x - v[_SLOW_X]) * slow // _SLOW_MS
        if age_ms < _FROM_MS:
            return
        x = (v[_FAST_X] - v[_SLOW_X]) >> 8
        y = (v[_FAST_Y] - v[_SLOW_Y]) >> 8
        var = min(v[_VARIANCE] + _WALK * dt_ms // 1000, _START)
        seen = var * x * x >> 32
        total = seen + _NOISE * square_uv2
        v[SCALE] = min(max(v[SCALE] + (var * x * y >> 8) // total, _LOW), _HIGH)
        v[_VARIANCE] = var - var * seen // total
