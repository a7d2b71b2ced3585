"""Which driver a pack's front end has; a chip's file is loaded only where the pack names it."""

from bms.compat import const
from bms.drivers.ntc import Ntc

INA228 = const(0)
BQ76952 = const(1)  # reads the thermistors itself


def drivers(i2c, pack, adc):
    """Return what fills the Frame, the front end first.

    adc: called with the number of a thermistor that hangs on a pin, returns its ADC.
    """
    if pack.chip == BQ76952:
        from bms.drivers.bq76952 import Bq76952

        return [Bq76952(i2c, pack)]
    from bms.drivers.ina228 import Ina228

    return [Ina228(i2c, pack)] + [Ntc(adc(k), pack, k) for k in range(pack.temps)]
