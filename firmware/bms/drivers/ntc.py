"""Thermistor in a divider on an ADC pin, one a sensor; the table is compiled into the pack."""

from bms.core import frame as F
from bms.core.fixed import interp


class Ntc:
    """Driver of one sensor; codes near the rails mean a broken or shorted wire."""

    def __init__(self, adc, pack, sensor=0):
        """adc: as machine.ADC, `read_u16`. sensor: its place in the Frame."""
        self.adc = adc
        self.pack = pack
        self.sensor = sensor

    def read(self, frame):
        """Fill this sensor's temperature and flag."""
        code = self.adc.read_u16()
        if self.pack.ntc_low <= code <= self.pack.ntc_high:
            frame.v[frame.temp0 + self.sensor] = interp(self.pack.ntc_mdegc, code)
            frame.v[F.FLAGS] |= F.TEMP_OK << self.sensor
