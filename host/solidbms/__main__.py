"""`python -m solidbms` is the same as `solidbms`."""

from solidbms.cli import main

main()
