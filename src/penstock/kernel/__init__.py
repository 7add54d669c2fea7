"""Layer 0: the only code that reads the clock and the source of randomness."""
