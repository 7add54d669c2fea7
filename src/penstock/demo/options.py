"""What a demo is asked to do."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from penstock.kernel.errors import UsageError

SWEEP_RATES = (0.0, 0.05, 0.15, 0.30)
CONCURRENCY_MAX = 1000


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """The command line's options.

    Attributes:
        tickets: how many; None = 300 of the package's own, or all of the file's.
        tickets_file: CSV with the columns ``text`` and, if known, ``category``.
        seed: of tickets, bank and simulated behaviour.
        spiral_rate: share of tickets on which the simulated model spirals.
        concurrency: tickets worked at a time.
        model: a provider's model instead of the simulated one; spends real money.
        sweep: also work the tickets at other spiral rates (simulated model only).
        proofs: also run the three live proofs.

    Raises:
        UsageError: a rate outside [0, 1], or a concurrency outside its bounds.
    """

    tickets: int | None = None
    tickets_file: Path | None = None
    seed: int = 7
    spiral_rate: float = 0.15
    concurrency: int = 50
    model: str | None = None
    sweep: bool = True
    proofs: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.spiral_rate <= 1:
            raise UsageError(f"the spiral rate is {self.spiral_rate}", hint="give a number from 0 to 1")
        if not 1 <= self.concurrency <= CONCURRENCY_MAX:
            raise UsageError(
                f"the concurrency is {self.concurrency}", hint=f"give a number from 1 to {CONCURRENCY_MAX}"
            )


class Progress(Protocol):
    """Where the demo says how far it is."""

    def stage(self, title: str, total: int) -> Callable[[int], None]:
        """Begin a stage; the answer is called with how many of ``total`` are done."""
        ...


class NoProgress:
    """Says nothing."""

    def stage(self, title: str, total: int) -> Callable[[int], None]:
        """Ignore it."""
        del title, total
        return lambda done: None
