"""Parked runs that should not be asleep any more.

Whoever ends what a run waits for wakes it in the same transaction. So a run that sleeps although its wait is over is a
defect, and not a state that the engine passes through: it is woken, written down, and to be reported.

Two stores answer: PostgreSQL and memory. Both pass `tests/contract/wakeups_suite.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol
from uuid import UUID

LOOKED_AT_MOST = 1000
"""Unended runs that one look goes through, at most; the next look goes on after them."""
LISTED_MOST = 1000

Why = Literal["stop", "letter", "time", "child", "run", "decision", "event"]
"""What should have woken the run: a cancel or kill; a letter in its inbox; a time that its row does not hold; the end
of a child or of another run; a decision; an event."""


@dataclass(slots=True, frozen=True)
class Rescue:
    """A run that slept although what it waited for had come.

    Attributes:
        epoch: of the claim under which it was parked.
        child: the run whose end it was not told of. When it is given the run still sleeps: nobody but the caller can
            make the letter.
        at: when it was found, the store's microseconds.
    """

    tenant: str
    run: UUID
    epoch: int
    why: Why
    child: UUID | None = None
    at: int = 0


class Wakeups(Protocol):
    """Reached as ``journal.wakeups``."""

    async def look(self, every_seconds: float, limit: int) -> Sequence[Rescue]:
        """Go through the next ``limit`` unended runs, wake those that should not be asleep, and write them down.

        Nothing when some worker has looked less than ``every_seconds`` ago.
        """
        ...

    async def rescued(self, limit: int) -> list[Rescue]:
        """The latest that were found, of all tenants, newest first; kept for 90 days."""
        ...
