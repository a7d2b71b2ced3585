"""Pure logic: integers in, integers out; no hardware, no clock, no file."""
