"""What is asked of an intent at the last moment, just before it is sent to the store."""

from typing import Protocol

from penstock.events import Event
from penstock.kernel.errors import PenstockError


class IntentChecks(Protocol):
    """Asked by the writer of a process about the intents of all its runs.

    What it decides by may change in the store at any time. So a batch carries the ``version`` of what its intents were
    checked against, and an append that finds a newer one writes nothing: it is checked again, and what is refused then
    was never written. In between nothing can slip through, whatever the workers know of each other.
    """

    @property
    def version(self) -> int | None:
        """Of what is known here; None = nothing is known, and nothing is checked."""
        ...

    def objection(self, event: Event) -> PenstockError | None:
        """Why this must not be written now; None when nothing is against it. Whoever waits for it is failed with it."""
        ...

    async def look_again(self, than: int) -> None:
        """Return when something newer than that version is known.

        Raises:
            JournalUnavailable: it cannot be read now.
        """
        ...
