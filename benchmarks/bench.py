"""What every measurement is given."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.server import Server


class Unavailable(Exception):
    """This machine cannot measure a group; says why. The group is skipped, and keeps the figures that it has."""


@dataclass(slots=True)
class Bench:
    """One call of ``make bench``.

    Attributes:
        server: the PostgreSQL of this call.
        folder: a temporary folder, for data of measurements' own.
        quick: short measurements, to see whether they work; their figures are rough.
        say: tell who watches.
        rates: what earlier measurements found, by name, for ratios and for how much work to prepare.
    """

    server: Server
    folder: Path
    quick: bool
    say: Callable[[str], None]
    rates: dict[str, float] = field(default_factory=dict)

    def seconds(self, full: float, quick: float) -> float:
        """How long to measure something."""
        return quick if self.quick else full


def clock() -> float:
    """Seconds on the clock that all processes of the machine share."""
    return time.monotonic()
