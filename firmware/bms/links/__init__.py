"""What the pack says to the world, one file a link; each steps in the slack of a tick."""
