"""How long the trials are: short in ``make test``, as long and with as many seeds as asked for in ``make crash``."""

import os

SECONDS = float(os.environ.get("CRASH_SECONDS", "0"))
"""Of faults in each trial; 0 = each trial's own short form."""
SEEDS = [int(text) for text in os.environ.get("CRASH_SEEDS", "1").replace(",", " ").split()]
RATE = 8.0 if SECONDS == 0 else float(os.environ.get("CRASH_RATE", "15"))
"""Runs submitted a second."""
TIMEOUT = 180 + 4 * SECONDS
"""Of one test, in seconds; a trial's own are shorter and tell more."""


def seconds_of(short: float) -> float:
    """How long a trial goes on: as long as asked for, else its own short form."""
    return SECONDS or short
