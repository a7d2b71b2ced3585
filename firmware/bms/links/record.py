"""Hands on every tick as it is recorded: all words and the running hash."""


class Record:
    """A link to whoever keeps the record."""

    def __init__(self, core, take):
        """take: called with the arrays of `Core.parts` and the hash of this tick."""
        self.core = core
        self.take = take
        self.parts = core.parts()

    def step(self):
        """Hand on the tick that has just been published."""
        self.take(self.parts, self.core.digest(self.parts))
