"""Pure contracts and decisions: no I/O, clock, randomness or vendor package."""
