"""Cases: runs that a person has taken into their own hands.

Reached as ``journal.questions.cases``. Two stores answer, PostgreSQL and memory; both pass
`tests/contract/approvals_suite.py`. A case has the id of its run. All times are microseconds since the epoch, UTC, by
the store's clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

CASES_MAX = 500
"""Of a page."""


@dataclass(slots=True, frozen=True)
class Case:
    """A run that people work on.

    Attributes:
        assignee: who is to look at it; '' = nobody in particular.
        due: until when; 0 = no time is set.
        holder: who holds it: nobody else decides what it asks; '' = nobody. A claim that is over holds nothing.
        until: when the claim ends by itself.
        closed_at: when it was put aside; 0 = it is open.
        note: what was said last.
        claims: how often it was claimed.
    """

    tenant: str
    run: UUID
    assignee: str = ""
    assigned_by: str = ""
    due: int = 0
    holder: str = ""
    claimed_at: int = 0
    until: int = 0
    closed_at: int = 0
    closed_by: str = ""
    note: str = ""
    claims: int = 0

    def held_by(self, now: int) -> str:
        """Who holds it at that time; '' = nobody."""
        return self.holder if now < self.until else ""


class Cases(Protocol):
    """Cases of one tenant."""

    async def claim(self, tenant: str, run: UUID, holder: str, seconds: float, *, force: bool = False) -> Case:
        """Take it, or go on holding it, for ``seconds`` from now; ``force``: also from somebody else.

        The case as it stands afterwards: its holder is another when they would not let go. One that was put aside is
        opened again.
        """
        ...

    async def hand_back(self, tenant: str, run: UUID, holder: str, note: str, *, close: bool = False) -> Case | None:
        """Let go of it; ``close`` puts it aside too. None when ``holder`` does not hold it (any more)."""
        ...

    async def assign(self, tenant: str, run: UUID, assignee: str, due: int, by: str) -> Case:
        """Say who is to look at it, and until when; '' and 0 = nobody, no time. It is no claim."""
        ...

    async def known(self, tenant: str, runs: Sequence[UUID]) -> dict[UUID, Case]:
        """The cases of these runs; of those that were never claimed nor assigned there is none."""
        ...

    async def page(self, tenant: str, holder: str, after: UUID | None, limit: int) -> list[Case]:
        """Open cases, in the order of their runs, at most ``limit`` (bounded at `CASES_MAX`); of those that ``holder``
        holds or is assigned, '' = of all."""
        ...

    async def now(self) -> int:
        """The store's clock."""
        ...
