"""Battery management firmware: core logic, chip drivers, links to the world."""
