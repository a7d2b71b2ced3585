"""Simulated cells and surroundings: what the firmware measures and switches."""
