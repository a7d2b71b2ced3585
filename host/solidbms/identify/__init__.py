"""Cell parameters from measurements: `solidbms identify FILES --name N --out N.toml`.

reading (files, sorted) -> ocv (slow tests) -> fit (pulses, drives) -> finish -> write, plot.
Needs scipy. docs/identify.md is for users.
"""

from solidbms.identify.job import identify, lithium_ocv
from solidbms.identify.reading import Options

__all__ = ["Options", "identify", "lithium_ocv"]
