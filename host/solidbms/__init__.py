"""Host side of solidbms: plant, targets, pack compiler, reports."""

__version__ = "0.1.0"
