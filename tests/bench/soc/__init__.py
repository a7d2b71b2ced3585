"""`make bench-soc`: the estimator and the peers' schemes on measured cells.

cases (what is run) -> cells (of each case) -> replayed (this firmware) and peers, filters (others,
on the same readings) -> score -> table, page. docs/soc.md is for readers of its figures.
"""
