"""Who decides: which actors are one person, what roles they hold, where they are written to, and whose right was handed
to whom.

Reached as ``journal.questions.people``. Two stores answer, PostgreSQL and memory; both pass
`tests/contract/approvals_suite.py`. All times are microseconds since the epoch, UTC, by the store's clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

PEOPLE_MAX = 500
"""Of a page."""
DELEGATIONS_MAX = 500


@dataclass(slots=True, frozen=True)
class Person:
    """What is known of an actor.

    Attributes:
        person: whose name is under it: actors of one person count once. See `default_person`.
        roles: what they are besides what their credential says, such as ``finance``: what policies ask for.
        barred: they decide nothing any more, whatever credential they have.
        mail: where they are told that something waits; '' = nowhere.
    """

    tenant: str
    actor: str
    person: str
    roles: tuple[str, ...] = ()
    mail: str = ""
    barred: bool = False
    set_by: str = ""
    set_at: int = 0


@dataclass(slots=True, frozen=True)
class Delegation:
    """The right to decide, handed on for a time.

    Attributes:
        giver: who handed it on; ``giver_key``: the key they did it with, for it ends with that; None = another way.
        roles: what the giver held then: what the taker decides by.
        ended_at: 0 = not before ``until``.
    """

    tenant: str
    id: UUID
    giver: str
    taker: str
    roles: tuple[str, ...]
    giver_key: UUID | None = None
    reason: str = ""
    made_at: int = 0
    until: int = 0
    ended_at: int = 0
    ended_by: str = ""

    def holds(self, now: int) -> bool:
        """Whether it is in force."""
        return not self.ended_at and now < self.until


class People(Protocol):
    """People and delegations of one tenant."""

    async def put(self, person: Person) -> Person:
        """Say what is known of an actor, in place of what was."""
        ...

    async def forget(self, tenant: str, actor: str) -> bool:
        """Know nothing of the actor any more; False when nothing was."""
        ...

    async def known(self, tenant: str, actors: Sequence[str]) -> dict[str, Person]:
        """What is known of these actors; of those of whom nothing is there is no entry."""
        ...

    async def page(self, tenant: str, after: str, limit: int) -> list[Person]:
        """In the order of their actors, at most ``limit`` (bounded at `PEOPLE_MAX`)."""
        ...

    async def delegate(self, delegation: Delegation, seconds: float) -> Delegation:
        """Store one that is in force for ``seconds``."""
        ...

    async def end_delegation(self, tenant: str, delegation: UUID, by: str) -> Delegation | None:
        """Take the right back; None when there is no such delegation. Again is no error, and changes nothing."""
        ...

    async def delegation(self, tenant: str, delegation: UUID) -> Delegation | None:
        """One delegation, also one that is over."""
        ...

    async def delegations(self, tenant: str, actor: str, limit: int) -> list[Delegation]:
        """Those that are in force, newest first, at most ``limit`` (bounded at `DELEGATIONS_MAX`); of those given or
        taken by ``actor``, '' = of all."""
        ...


def default_person(actor: str) -> str:
    """The name under an actor of whom nothing is known: its own, without what it signed in with.

    So ``key:ada``, ``cli:ada`` and ``Ada`` are one person until somebody says that they are not: a mistake here makes
    people wait, the other one lets somebody count twice.
    """
    kind, _, name = actor.partition(":")
    return (name if kind in ("key", "cli") and name else actor).casefold()
