"""10 k NTC thermistor in a divider, read the way MicroPython's `ADC.read_u16` does.

A 10 k resistor goes to 3.3 V, the NTC to ground, and the ADC's reference is the same 3.3 V, so the
supply cancels out. Beta equation R = R25 * exp(B * (1/T - 1/T25)), T in kelvin; B 3950 and 10 k at
25 degC are what the common 10 k bead thermistors state.
"""

import math

R25_OHM = 10_000.0
BETA_K = 3950.0
T25_K = 298.15
PULL_UP_OHM = 10_000.0
ADC_TOP = 4095  # 12 bits


def resistance_ohm(temp_c: float, r25_ohm: float = R25_OHM, beta_k: float = BETA_K) -> float:
    """Resistance of the NTC at a temperature; ValueError at or below absolute zero."""
    temp_k = temp_c + 273.15
    if temp_k <= 0.0:
        raise ValueError(f"temp_c: {temp_c} is not above absolute zero (-273.15)")
    # Far below any cell's range exp() would overflow; the divider is at its rail long before.
    return r25_ohm * math.exp(min(beta_k * (1.0 / temp_k - 1.0 / T25_K), 100.0))


def share(
    temp_c: float,
    r25_ohm: float = R25_OHM,
    beta_k: float = BETA_K,
    pullup_ohm: float = PULL_UP_OHM,
) -> float:
    """Share of the supply that lies across the NTC, 0 to 1."""
    ntc_ohm = resistance_ohm(temp_c, r25_ohm, beta_k)
    return ntc_ohm / (ntc_ohm + pullup_ohm)


def adc_u16(
    temp_c: float,
    open: bool = False,
    short: bool = False,
    r25_ohm: float = R25_OHM,
    beta_k: float = BETA_K,
    pullup_ohm: float = PULL_UP_OHM,
) -> int:
    """What `read_u16` returns (0..65535): 12 bits spread over 16.

    open: the NTC or its wire is broken, the pull-up wins; short: its wire lies on ground. With
    both the short wins, as it does in a harness cut into a shield.
    """
    if short:
        raw = 0
    elif open:
        raw = ADC_TOP
    else:
        part = share(temp_c, r25_ohm, beta_k, pullup_ohm)
        raw = min(ADC_TOP, int((ADC_TOP + 1) * part))
    # MicroPython ports/rp2/machine_adc.c: the top bits fill the low ones, so 4095 gives 65535.
    return raw << 4 | raw >> 8


def temp_c_of(adc_u16: int) -> float:
    """Temperature at the middle of the ADC step that gave this reading.

    Raises ValueError outside 0..65535 and at either rail, where the sensor is open or shorted.
    """
    if not 0 <= adc_u16 <= 65535:
        raise ValueError(f"adc_u16: {adc_u16} is not within 0..65535")
    raw = adc_u16 >> 4
    if raw in (0, ADC_TOP):
        raise ValueError(f"adc_u16: {adc_u16} is at a rail, the sensor is open or shorted")
    part = (raw + 0.5) / (ADC_TOP + 1)
    ntc_ohm = PULL_UP_OHM * part / (1.0 - part)
    return 1.0 / (1.0 / T25_K + math.log(ntc_ohm / R25_OHM) / BETA_K) - 273.15
