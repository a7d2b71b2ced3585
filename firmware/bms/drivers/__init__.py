"""One file a chip; each is given its bus or pin and fills its part of the Frame."""
