"""On the board, beside the firmware: a wearable that beats a haptic motor and watches its pack.

    mpremote cp examples/wearable.py :app.py

The firmware calls `main` with the running pack (`bms.loop.Bms`). Every number of the pack is an
integer with its unit in the name, as docs/formats.md lists them; your own tasks must give way
(`await`) at least every tick, 50 ms: whoever holds the processor longer than 145 ms lets the
dead-man drop the gates. So with gates closed: no `print` (it waits up to 500 ms for a host that
has stopped reading), no file written (an erase takes up to 400 ms). Pins 4, 5, 6, 14, 15, 26 and
the second PIO block (state machines 4 to 7) are the pack's. If a task ends in an error, the pack
warns, waits ten seconds and opens.
"""

import asyncio

from bms.core.limits import DISCHARGE_MA
from bms.core.soc import BOUND_PPM, SOC_PPM
from bms.core.switch import ACK, BOOT, CLOSE, SHEDDING, STATE
from board import reset_cause  # pyright: ignore[reportAttributeAccessIssue] - of the Pico
from machine import Pin  # pyright: ignore[reportMissingModuleSource] - on the board

MOTOR_PIN = 16
MOTOR_MA = 120  # what the motor draws
BEAT_MS = 1000


def ask(pack, code):
    """Leave a request for the next tick: CLOSE, OPEN, ACK, CLEAR of bms.core.switch."""
    pack.mailbox.put(code, 0, pack.board.ticks_ms())


async def beat(pack, motor):
    """Beat while the pack can give the current; fall silent and say so when it warns."""
    core = pack.core
    while True:
        if core.switch.v[STATE] == SHEDDING:
            motor.value(0)
            ask(pack, ACK)  # down: the pack need not wait any longer
        elif core.limits.v[DISCHARGE_MA] >= MOTOR_MA:
            motor.value(1)
            await asyncio.sleep_ms(BEAT_MS // 10)
            motor.value(0)
        await asyncio.sleep_ms(BEAT_MS)


async def tell(pack):
    """Keep SoC at hand for whoever shows it: here nobody, a display in yours."""
    soc = pack.core.soc.v
    while True:
        shown = (soc[SOC_PPM] // 10000, soc[BOUND_PPM] // 10000)  # percent, and its bound
        del shown
        await asyncio.sleep_ms(5000)


async def power(pack):
    """Ask for power once the boot test has passed; after a crash that is for a person to do."""
    if reset_cause() == "watchdog":
        return  # it may have been a trip that wanted a person: a reset forgets it
    while pack.core.switch.v[STATE] == BOOT:
        await asyncio.sleep_ms(50)
    ask(pack, CLOSE)


async def everything(pack):
    """Tick, and do the rest beside it; what ends one of them ends the program."""
    motor = Pin(MOTOR_PIN, Pin.OUT, value=0)
    await asyncio.gather(pack.task(), power(pack), beat(pack, motor), tell(pack))


def main(pack):
    """Run until the pack ends."""
    asyncio.run(everything(pack))
