"""`python -m solidbms.monitor OUT.svg`: the picture of the README, a pack about to cut."""

import sys
from pathlib import Path

from solidbms.monitor import screenshot

CUT_IN_S = 8.0

if __name__ == "__main__":
    screenshot(
        "sim:robot_warned@10",
        Path(sys.argv[1]),
        lambda battery: battery.shed_left_s is not None and battery.shed_left_s < CUT_IN_S,
    )
