"""For whoever looks on while runs go: how far they have come, and a model's words while it speaks.

The words come at most once and are never in anybody's way: what matters is in the journal when the call has ended.
Nothing of them is kept, and pieces that nobody can take in time are dropped.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol
from uuid import UUID

import msgspec

from penstock.ports.records import RunKey


class Piece(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Some text of one attempt at a model call.

    ``offset`` is where the text begins in the attempt's whole text, in characters: a gap means that some was dropped.
    ``reset``: what was shown of the call's earlier attempts is void.
    """

    run: UUID
    path: str
    attempt: int
    offset: int
    text: str
    reset: bool = False


class Live(Protocol):
    """Who is looked at, and what is said."""

    async def heads(self, runs: Sequence[RunKey]) -> dict[RunKey, int]:
        """``last_seq`` of those of the runs that exist: one request for all that are looked at."""
        ...

    def look_at(self, runs: Collection[UUID]) -> None:
        """Runs that this process wants to hear, instead of those it named before. Renewed until it names others."""
        ...

    def is_watched(self, run: UUID) -> bool:
        """Whether anybody wants to hear this run now; as cheap as a look-up."""
        ...

    def say(self, piece: Piece) -> None:
        """Let whoever looks at the run hear it, soon. Never waits, never fails."""
        ...

    def hear(self, listener: Callable[[Piece], None]) -> None:
        """Call the listener for what is said of runs that this process looks at."""
        ...
