"""Which driver a pack's front end has; a chip's file is loaded only where the pack names it."""

from bms.compat import const
from bms.drivers.ntc import Ntc

INA228 = const(0)


def drivers(i2c, pack, adc):
    """Return what fills the Frame, the front end first.

    adc: called with the number of a thermistor that hangs on a pin, returns its ADC.
    """
    from bms.drivers.ina228 import Ina228

    return [Ina228(i2c, pack)] + [Ntc(adc(k), pack, k) for k in range(pack.temps)]
