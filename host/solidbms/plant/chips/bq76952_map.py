"""BQ76952: its registers, subcommands and data memory.

Source: TI's technical reference manual SLUUBY2B, below "TRM", chapter 12 for commands and 13 for
the data memory; entries there have the names used here. `MEMORY` holds what the model acts on or a
pack writes; every other byte of the data memory reads as it was written, 0 after a reset.
"""

import struct
from typing import NamedTuple

# Direct commands, TRM 12.
CONTROL_STATUS, SAFETY_ALERT_A, SAFETY_STATUS_A, SAFETY_ALERT_B = 0x00, 0x02, 0x03, 0x04
SAFETY_STATUS_B, SAFETY_ALERT_C, SAFETY_STATUS_C, BATTERY_STATUS = 0x05, 0x06, 0x07, 0x12
CELL_1, STACK, PACK, LD, CC2 = 0x14, 0x34, 0x36, 0x38, 0x3A
SUBCOMMAND, BUFFER, CHECKSUM, LENGTH = 0x3E, 0x40, 0x60, 0x61
ALARM_STATUS, ALARM_RAW, ALARM_ENABLE, INT_TEMP, PIN_TEMP = 0x62, 0x64, 0x66, 0x68, 0x6A
FET_STATUS = 0x7F
INPUTS = 16  # cell inputs; cell k is between VC(k) and VC(k-1)
PINS = ("CFETOFF", "DFETOFF", "ALERT", "TS1", "TS2", "TS3", "HDQ", "DCHG", "DDSG")

# Control Status.
LD_ON, LD_TIMEOUT, DEEP = 1, 2, 4
# Battery Status; SEC reads 1, full access.
CFGUPDATE, PCHG_MODE, SLEEP_EN, POR, WD, COW_CHK = 1, 2, 4, 8, 16, 32
FULL_ACCESS, SS, PF, SLEEPING = 0x100, 0x800, 0x1000, 0x8000
# Safety Alert and Status A, B, C as one number: A | B << 8 | C << 16.
CUV, COV, OCC, OCD1, OCD2, SCD = 1 << 2, 1 << 3, 1 << 4, 1 << 5, 1 << 6, 1 << 7
UTC, UTD, UTINT, OTC, OTD, OTINT, OTF = (1 << n for n in (8, 9, 10, 12, 13, 14, 15))
HWDF, COVL, OCDL, SCDL, OCD3 = 1 << 17, 1 << 20, 1 << 21, 1 << 22, 1 << 23
# Alarm Status, Alarm Raw Status and Alarm Enable.
WAKE, ADSCAN, CB, SHUTV, XDSG, XCHG, FULLSCAN = 1, 2, 4, 0x10, 0x20, 0x40, 0x80
INITCOMP, INITSTART, MSK_SFALERT, ALARM_PF = 0x200, 0x400, 0x1000, 0x2000
SSA, SSBC = 0x4000, 0x8000
# FET Status.
CHG_FET, PCHG_FET, DSG_FET, PDSG_FET, ALRT_PIN = 1, 2, 4, 8, 0x40

# Subcommands, TRM 12.
DEVICE_NUMBER, FW_VERSION, HW_VERSION = 0x0001, 0x0002, 0x0003
EXIT_DEEPSLEEP, DEEPSLEEP, SHUTDOWN, RESET = 0x000E, 0x000F, 0x0010, 0x0012
PDSGTEST, PCHGTEST, CHGTEST, DSGTEST, FET_ENABLE = 0x001C, 0x001E, 0x001F, 0x0020, 0x0022
MANUFACTURING_STATUS, DASTATUS1, DASTATUS5, DASTATUS6 = 0x0057, 0x0071, 0x0075, 0x0076
RESET_PASSQ, CB_ACTIVE_CELLS = 0x0082, 0x0083
SET_CFGUPDATE, EXIT_CFGUPDATE, DSG_PDSG_OFF, CHG_PCHG_OFF = 0x0090, 0x0092, 0x0093, 0x0094
ALL_FETS_OFF, ALL_FETS_ON, FET_CONTROL = 0x0095, 0x0096, 0x0097
SLEEP_ENABLE, SLEEP_DISABLE, OCDL_RECOVER, SCDL_RECOVER = 0x0099, 0x009A, 0x009B, 0x009C
LOAD_DETECT_RESTART, LOAD_DETECT_ON, LOAD_DETECT_OFF = 0x009D, 0x009E, 0x009F
SWAP_COMM_MODE, SWAP_TO_I2C = 0x29BC, 0x29E7
NUMBER = 0x7695
FET_EN = 0x10  # of Manufacturing Status

# Comm Type, TRM 13.3: those with a CRC. The plain BQ76952 powers up without one, other versions
# with (data sheet SLUSE13B, device comparison table).
COMM_CRC = (0x11, 0x12)
COMM_I2C_FAST, COMM_I2C_FAST_CRC = 0x08, 0x12


class Row(NamedTuple):
    """One entry of the data memory: type as in TRM 3.3 (U1, I2, H2, F4, ...), default."""

    name: str
    kind: str
    default: float


FIRST, LAST = 0x9180, 0x93FF
MEMORY = {  # TRM 13.2 calibration, 13.3 settings, 13.4 power, 13.6 protections
    0x91A8: Row("CC Gain", "F4", 7.4768),  # over the shunt in mohm
    0x91AC: Row("Capacity Gain", "F4", 7.4768 * 298261.6178),
    0x922D: Row("Coulomb Counter Deadband", "U1", 9),  # 234 nV
    0x9234: Row("Power Config", "H2", 0x2982),
    0x9236: Row("REG12 Config", "H1", 0),
    0x9237: Row("REG0 Config", "H1", 0),
    0x9239: Row("Comm Type", "U1", 0),
    0x923A: Row("I2C Address", "U1", 0),
    0x9241: Row("Shutdown Stack Voltage", "I2", 600),  # 10 mV
    0x9248: Row("Sleep Current", "I2", 20),  # mA
    0x924A: Row("Voltage Time", "U1", 5),  # s between two scans asleep
    0x924B: Row("Wake Comparator Current", "I2", 500),  # mA
    0x924D: Row("Sleep Hysteresis Time", "U1", 10),  # s
    0x925F: Row("Protection Configuration", "H2", 0x0002),
    0x9261: Row("Enabled Protections A", "H1", 0x88),
    0x9262: Row("Enabled Protections B", "H1", 0x00),
    0x9263: Row("Enabled Protections C", "H1", 0x00),
    0x9265: Row("CHG FET Protections A", "H1", 0x98),
    0x9266: Row("CHG FET Protections B", "H1", 0xD5),
    0x9267: Row("CHG FET Protections C", "H1", 0x56),
    0x9269: Row("DSG FET Protections A", "H1", 0xE4),
    0x926A: Row("DSG FET Protections B", "H1", 0xE6),
    0x926B: Row("DSG FET Protections C", "H1", 0xE2),
    0x926D: Row("Default Alarm Mask", "H2", 0xF800),
    0x926F: Row("SF Alert Mask A", "H1", 0xFC),
    0x9270: Row("SF Alert Mask B", "H1", 0xF7),
    0x9271: Row("SF Alert Mask C", "H1", 0xF4),
    0x9273: Row("Body Diode Threshold", "I2", 50),  # mA
    0x9275: Row("CUV Threshold", "U1", 50),  # 50.6 mV
    0x9276: Row("CUV Delay", "U2", 74),  # 3.3 ms
    0x9278: Row("COV Threshold", "U1", 86),
    0x9279: Row("COV Delay", "U2", 74),
    0x927B: Row("CUV Recovery Hysteresis", "U1", 2),
    0x927C: Row("COV Recovery Hysteresis", "U1", 2),
    0x927D: Row("COVL Latch Limit", "U1", 0),
    0x927E: Row("COVL Counter Dec Delay", "U1", 10),  # s
    0x927F: Row("COVL Recovery Time", "U1", 15),
    0x9280: Row("OCC Threshold", "U1", 2),  # 2 mV
    0x9281: Row("OCC Delay", "U1", 4),  # 3.3 ms
    0x9282: Row("OCD1 Threshold", "U1", 4),
    0x9283: Row("OCD1 Delay", "U1", 1),
    0x9284: Row("OCD2 Threshold", "U1", 3),
    0x9285: Row("OCD2 Delay", "U1", 7),
    0x9286: Row("SCD Threshold", "U1", 0),  # SCD_MV
    0x9287: Row("SCD Delay", "U1", 2),  # 15 us, less one
    0x9288: Row("OCC Recovery Threshold", "I2", -200),  # mA
    0x928A: Row("OCD3 Threshold", "I2", -4000),  # userA
    0x928C: Row("OCD3 Delay", "U1", 2),  # s
    0x928D: Row("OCD Recovery Threshold", "I2", 200),  # mA
    0x928F: Row("OCDL Latch Limit", "U1", 0),
    0x9290: Row("OCDL Counter Dec Delay", "U1", 10),
    0x9291: Row("OCDL Recovery Time", "U1", 15),
    0x9292: Row("OCDL Recovery Threshold", "I2", 200),
    0x9294: Row("SCD Recovery Time", "U1", 5),  # s
    0x9295: Row("SCDL Latch Limit", "U1", 0),
    0x9296: Row("SCDL Counter Dec Delay", "U1", 10),
    0x9297: Row("SCDL Recovery Time", "U1", 15),
    0x9298: Row("SCDL Recovery Threshold", "I2", 200),
    0x929A: Row("OTC Threshold", "I1", 55),  # degC, s, degC
    0x929B: Row("OTC Delay", "U1", 2),
    0x929C: Row("OTC Recovery", "I1", 50),
    0x929D: Row("OTD Threshold", "I1", 60),
    0x929E: Row("OTD Delay", "U1", 2),
    0x929F: Row("OTD Recovery", "I1", 55),
    0x92A0: Row("OTF Threshold", "I1", 80),
    0x92A1: Row("OTF Delay", "U1", 2),
    0x92A2: Row("OTF Recovery", "I1", 65),
    0x92A3: Row("OTINT Threshold", "I1", 85),
    0x92A4: Row("OTINT Delay", "U1", 2),
    0x92A5: Row("OTINT Recovery", "I1", 80),
    0x92A6: Row("UTC Threshold", "I1", 0),
    0x92A7: Row("UTC Delay", "U1", 2),
    0x92A8: Row("UTC Recovery", "I1", 5),
    0x92A9: Row("UTD Threshold", "I1", 0),
    0x92AA: Row("UTD Delay", "U1", 2),
    0x92AB: Row("UTD Recovery", "I1", 5),
    0x92AC: Row("UTINT Threshold", "I1", -20),
    0x92AD: Row("UTINT Delay", "U1", 2),
    0x92AE: Row("UTINT Recovery", "I1", -15),
    0x92AF: Row("Recovery Time", "U1", 3),  # s
    0x92B0: Row("OCC PACK-TOS Delta", "I2", 200),  # 10 mV
    0x92B2: Row("HWD Delay", "U2", 60),  # s
    0x92B4: Row("Load Detect Active Time", "U1", 0),  # s
    0x92B5: Row("Load Detect Retry Delay", "U1", 50),
    0x92B6: Row("Load Detect Timeout", "U2", 1),  # h
    0x92C0: Row("Enabled PF A", "H1", 0x00),
    0x92C1: Row("Enabled PF B", "H1", 0x00),
    0x92C2: Row("Enabled PF C", "H1", 0x07),
    0x92C3: Row("Enabled PF D", "H1", 0x00),
    **{0x92FA + k: Row(f"{name} Pin Config", "H1", 0) for k, name in enumerate(PINS)},
    0x92FD: Row("TS1 Pin Config", "H1", 0x07),
    0x9303: Row("DA Configuration", "H1", 0x05),
    0x9304: Row("Vcell Mode", "H2", 0x0000),
    0x9307: Row("CC3 Samples", "U1", 80),
    0x9308: Row("FET Options", "H1", 0x0D),
    0x9309: Row("Chg Pump Control", "H1", 0x01),
    0x930A: Row("Precharge Start Voltage", "I2", 0),  # mV
    0x930C: Row("Precharge Stop Voltage", "I2", 0),
    0x930E: Row("Predischarge Timeout", "U1", 5),  # 10 ms, 0 for none
    0x930F: Row("Predischarge Stop Delta", "U1", 50),  # 10 mV, 0 for none
    0x9310: Row("Dsg Current Threshold", "I2", 100),  # userA
    0x9312: Row("Chg Current Threshold", "I2", 50),
    0x9314: Row("Cell Open-Wire Check Time", "U1", 5),  # s
    0x9335: Row("Balancing Configuration", "H1", 0x00),
    0x9336: Row("Min Cell Temp", "I1", -20),
    0x9337: Row("Max Cell Temp", "I1", 60),
    0x9338: Row("Max Internal Temp", "I1", 70),
    0x9339: Row("Cell Balance Interval", "U1", 20),  # s
    0x933A: Row("Cell Balance Max Cells", "U1", 1),
    0x9343: Row("Mfg Status Init", "H2", 0x0040),
}
ADDRESS = {row.name: address for address, row in MEMORY.items()}
FORMATS = {"U1": "B", "H1": "B", "I1": "b", "U2": "H", "H2": "H", "I2": "h", "F4": "f"}

# SCD Threshold, TRM 5.2.6
SCD_MV = (10, 20, 40, 60, 80, 100, 125, 150, 175, 200, 250, 300, 350, 400, 450, 500)
CELL_STEP_V = 0.0506  # COV and CUV, TRM 5.2.4 and 5.2.5
DELAY_STEP_US = 3300  # of the comparators: (2 + setting) steps, TRM 5.2.4 to 5.2.8
SHUNT_STEP_V = 0.002  # OCC, OCD1, OCD2
SCD_STEP_US = 15

# Bits of settings.
POWER_SLEEP, POWER_FASTADC = 0x0100, 0x0040  # Power Config
DA_VOLTS_CV, DA_USER_AMPS = 0x04, 0x03  # DA Configuration
USER_MA = (0.1, 1.0, 10.0, 100.0)  # userA, by DA_USER_AMPS
SFET, SLEEPCHG, HOST_FET_EN, FET_CTRL_EN, PDSG_EN, FET_INIT_OFF = 1, 2, 4, 8, 16, 32  # FET Options
PIN_FXN, PIN_OFF, PIN_ALERT, PIN_ADC = 3, 2, 2, 3  # pin configurations
PIN_ACTIVE_LOW = 0x80
THERMISTOR, THERMISTOR_180K, TEMP_CELL, TEMP_FET = 0x03, 0x40, 0x04, 0x0C

CRC8 = [0] * 256  # polynomial x^8 + x^2 + x + 1
for _byte in range(256):
    _value = _byte
    for _ in range(8):
        _value = _value << 1 ^ (0x107 if _value & 0x80 else 0)
    CRC8[_byte] = _value
CRC8 = bytes(CRC8)


def crc8(data: bytes, crc: int = 0) -> int:
    """Return the CRC of some bytes, going on from `crc`."""
    for byte in data:
        crc = CRC8[crc ^ byte]
    return crc


def checksum(data: bytes) -> int:
    """Return the check byte of a transfer buffer: address, then data (TRM 3.1)."""
    return ~sum(data) & 0xFF


def defaults() -> bytearray:
    """Return the data memory after a reset, from `FIRST` to `LAST`."""
    memory = bytearray(LAST - FIRST + 1)
    for address, row in MEMORY.items():
        value = row.default if row.kind == "F4" else int(row.default)
        struct.pack_into("<" + FORMATS[row.kind], memory, address - FIRST, value)
    return memory


def cell_inputs(cells: int) -> tuple[int, ...]:
    """Return which input, from 0, each cell is wired to: the last one always the top.

    VC16 carries the top of the stack; unused inputs below it are shorted (data sheet SLUSE13B,
    10.1.2, usage of VC pins).
    """
    if not 3 <= cells <= INPUTS:
        raise ValueError(f"cells: 3 to {INPUTS} is valid, not {cells}")
    return (*range(cells - 1), INPUTS - 1)
