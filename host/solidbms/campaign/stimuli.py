"""One run for each rule: what makes it act, and no other."""

from __future__ import annotations

from solidbms.packc import Compiled

PREFIX = "rule "


def names(compiled: Compiled) -> list[str]:
    """Return the rules of a pack that a run can make act."""
    return []
