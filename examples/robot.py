"""A robot that heeds its pack: walks within the limits, and sits down before the cut.

    .venv/bin/python examples/robot.py /dev/ttyACM0         a pack on USB
    .venv/bin/python examples/robot.py sim:robot_warned@5   a simulation, 5 times real time

The pack warns, and gives the robot some seconds. The robot sits down, stops drawing and says so;
the pack cuts then. Without the word it cuts when the seconds are over.
"""

from __future__ import annotations

import sys
import threading
import time

from solidbms.battery import Battery, LinkError

WALKING_A = 5.0
SITTING_A = 0.2
MARGIN = 0.8  # of the limit: it falls while the cells warm
CONTROL_S = 0.05


class Robot:
    """Put your motors where `move` and `sit_down` are."""

    def __init__(self, battery: Battery) -> None:
        self.battery = battery
        self.must_sit = threading.Event()

    def say(self, words: str) -> None:
        """Print with the pack's own time."""
        status = self.battery.status
        print(f"{status['t_ms'] / 1000 if status else 0.0:6.1f} s  {words}", flush=True)

    def warned(self, left_s: float) -> None:
        """Hear that the pack will cut in left_s seconds; runs beside the walking."""
        self.say(f"warned: {left_s:.1f} s left ({', '.join(self.battery.trips)})")
        self.must_sit.set()

    def move(self) -> None:
        """Walk no harder than the pack allows now."""
        self.battery.draw(min(WALKING_A, MARGIN * self.battery.limits.discharge_a))

    def sit_down(self) -> None:
        """Come to rest, and wait until the current has fallen."""
        self.battery.draw(SITTING_A)
        while not self.battery.stale and self.battery.current_a < -2 * SITTING_A:
            time.sleep(CONTROL_S)

    def work(self) -> None:
        """Walk until the pack asks for a rest or cannot be heard."""
        battery = self.battery
        battery.on_shed(self.warned)
        battery.wait_for("off", "on", "shedding", "tripped")  # its boot test is over
        self.say(f"pack: {battery.soc:.0%} +-{battery.bound:.0%}, {battery.voltage_v:.2f} V")
        if not battery.request_on() or not battery.wait_for("on"):
            self.say(f"no power: {battery.state} {', '.join(battery.trips)}")
            return
        self.say("on: walking")
        while not self.must_sit.wait(CONTROL_S) and not battery.stale:
            self.move()
        self.sit_down()
        self.say(f"sat down: {-battery.current_a:.1f} A")
        if battery.ack():
            self.say("acknowledged")
        cut = battery.wait_for("tripped", "off")
        self.say(f"cut: {battery.state}, {', '.join(battery.trips)}" if cut else "not cut")


def main(place: str) -> None:
    """Let the robot work on the pack at this place."""
    try:
        with Battery(place) as battery:
            Robot(battery).work()
    except LinkError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("stopped")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "sim:robot_warned@5")
