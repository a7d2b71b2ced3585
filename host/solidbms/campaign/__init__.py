"""The evidence behind docs/safety.md: each single fault tried on a pack, shifts without any.

`cases` says what is tried, `build` makes a scenario of it, `one` runs it in this process, `judge`
holds what came against what may be expected, `pool` runs many. `solidbms campaign PACK`.
"""
