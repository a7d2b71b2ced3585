"""Pack: limits and tables of one pack, read from the blob that packc compiled.

The blob is little-endian: the magic, then 32-bit integers - version, count of integers that
follow, `FIELDS` in order, one (limit, release, delay_ms, shed_ms) a rule, `TABLES` each as its
length and its entries - and last the CRC-32 of all before it.
"""

from array import array
from binascii import crc32

from bms.compat import const
from bms.core.rules import ROWS

MAGIC = b"SBMS"
VERSION = 4

FIELDS = (
    "rows",  # rules the blob was compiled for
    "cells",
    "temps",
    "tick_ms",  # period while a gate is closed
    "idle_tick_ms",  # period while every gate is open
    "recover_ms",  # inside the release this long before a row recovers
    "charger_ua",  # charge current from here on is a charger
    "frozen_step_ua",  # a voltage that ignores this change of current is frozen
    "charge_max_ma",
    "discharge_max_ma",
    "uas_per_ppm",  # charge that moves SoC by 1 ppm: the capacity in As
    "gain_error_ppm",  # current sensor, for the bound
    "capacity_error_ppm",
    "offset_error_ua",
    "rest_ua",  # below this current the pack rests
    "rest_ms",  # rest before OCV is believed
    "rest_cold_ms",  # the same below 0 degC
    "tau1_ms",  # time constants of the estimator's R1 and R2
    "tau2_ms",
    "isolates",  # 1: no current flows past open gates, so what is read then is the offset
    "has_fet",  # 1: the FETs have a sensor
    "has_board",  # 1: so has the board
    "pre_discharge",  # 1: the front end brings up the terminals first
    "weld_ua",  # current that must not flow past an open gate
    "vds_uv",  # voltage that must not lie across closed gates
    "quiet_ua",  # below this current drops over R0 and R1 are next to nothing
    "heat_mj_per_k",  # of one cell
    "cool_tau_s",  # of one cell to its surroundings
    "sensor_tau_ms",  # of a sensor behind its cell
    "full_uv",  # a cell is full here, with the current
    "taper_ua",  # below this,
    "refill_uv",  # until it has fallen below this
    "precharge_uv",  # below this a cell is charged with
    "precharge_ma",  # no more than this
    "high_uv",  # limits keep cells between these
    "low_uv",
    "balance_cells",  # that may bleed at once, 0 for no balancing
    "balance_start_uv",  # above the lowest cell
    "balance_from_uv",  # lowest cell: below it voltage does not tell charge
    "balance_board_mdegc",  # no bleeding with the front end hotter
    "chip",  # which front end: see bms.drivers.front
    "chip_address",
    "chip_crc",  # 1: every byte on its bus has a check byte
    "ua_num",  # current in uA is the chip's code * ua_num // ua_den
    "ua_den",
    "charge_num",  # likewise the charge in uAs, where its accumulator has a scale of its own
    "charge_den",
    "ntc_low",  # ADC codes outside ntc_low .. ntc_high: sensor open or shorted
    "ntc_high",
    "simulated",  # 1: the board simulates the front end and a cell
    "alert_charge",  # the front end's own limits, in its codes
    "alert_discharge",
    "alert_over",
)
TABLES = (
    "dcir_uohm",  # R0 of a cell over temperature (mdegC)
    "polar_uohm",  # R1 + R2 over temperature
    "r1s_uohm",  # what a cell's voltage answers within 1 s, at its worst SoC
    "r10s_uohm",  # within 10 s
    "charge_derate_ppm",  # of charge_max_ma over temperature
    "discharge_derate_ppm",
    "usable_ppm",  # of the capacity, over temperature: a cold cell ends before it is empty
    "ntc_mdegc",  # temperature over ADC code (16 bit); empty where the chip reads the sensors
    "chip_memory",  # what the driver writes into the chip: address, value, ... in its own terms
    # The cell as the estimator sees it, see celltable: axes, and tables with a row a temperature.
    "cell_mdegc",
    "cell_ocv_ppm",
    "cell_ocv_uv",
    "cell_hysteresis_uv",  # one row, empty where OCV has one branch
    "cell_r_ppm",
    "cell_r0_uohm",
    "cell_r1_uohm",
    "cell_r2_uohm",
    "cell_residual_uv",  # one column: what the model leaves of voltage under load, RMS,
    "cell_ocv_error_uv",  # and the table of rested OCV
)
RULE_SIZE = const(4)


class BadPack(ValueError):
    """The blob is cut, corrupt, or made for other firmware."""


class Pack:
    """Every entry of `FIELDS` and `TABLES` as an attribute of integers or array of them."""

    def __init__(self, blob):
        """Read a blob; BadPack says what is wrong with it."""
        if len(blob) < 16 or len(blob) & 3 or bytes(blob[:4]) != MAGIC:
            raise BadPack("not a pack")
        v = array("i", bytes(blob[4:-4]))
        if v[0] != VERSION or v[1] != len(v) - 2:
            raise BadPack("pack of another version, or cut")
        if crc32(blob[:-4]) != int.from_bytes(bytes(blob[-4:]), "little"):
            raise BadPack("pack corrupt: CRC differs")
        at = 2
        for name in FIELDS:
            setattr(self, name, v[at])
            at += 1
        if v[2] != len(ROWS):
            raise BadPack("pack made for other rules")
        self._rules = v[at : at + RULE_SIZE * len(ROWS)]
        at += RULE_SIZE * len(ROWS)
        for name in TABLES:
            setattr(self, name, v[at + 1 : at + 1 + v[at]])
            at += 1 + v[at]

    def tables(self):
        """Return every array of limits and tables, to be checked now and then."""
        return [self._rules] + [getattr(self, name) for name in TABLES]

    def rule(self, r):
        """Return (limit, release, delay_ms, shed_ms) of row r, in the units of its signal."""
        return self._rules[RULE_SIZE * r : RULE_SIZE * (r + 1)]
