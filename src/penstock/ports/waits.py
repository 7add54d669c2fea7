"""What the engine asks of a store about waiting: events, the wait-for graph, and what a run leaves when it ends.

Two stores answer: PostgreSQL and memory. Both pass `tests/contract/waits_suite.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol
from uuid import UUID

import msgspec

CIRCLE_MOST = 1000
"""Runs that are looked at, at most, when a wait begins. A longer way round is not found then."""


class EventLetter(msgspec.Struct, omit_defaults=True, frozen=True):
    """Body of an event on its way to a run. ``value`` is its stored form, JSON."""

    name: str
    value: msgspec.Raw
    sender: str = ""
    run: UUID | None = None  # the run that sent it; None = from outside
    withheld: str = ""  # why the run may not have the value, found when it was journalled before it was waited for


class Sent(StrEnum):
    """What became of an event."""

    DELIVERED = "delivered"
    KNOWN = "known"  # the same ``dedup`` was sent before: nothing was done
    ABSENT = "absent"  # no such run, or it has ended
    FULL = "full"  # the run was sent, or the key holds, as many as are allowed
    BEHIND = "behind"  # a trigger of the event holds as many as it may that are no runs yet


class Begun(StrEnum):
    """How a wait began."""

    WAITING = "waiting"
    HERE = "here"  # the letter is in the inbox already
    ENDED = "ended"  # the run waited for has ended already
    ABSENT = "absent"  # there is no such run
    CYCLE = "cycle"  # nothing was begun: runs would wait for each other for ever
    LOST = "lost"  # nothing was begun: somebody else holds the run by now


@dataclass(slots=True, frozen=True)
class EventPost:
    """An event to be sent, to a run or to a name and key. ``dedup`` makes a repeated sending harmless."""

    tenant: str
    name: str
    dedup: str
    body: bytes  # JSON of EventLetter
    run: UUID | None = None
    key: str = ""
    sender: UUID | None = None


@dataclass(slots=True, frozen=True)
class Wait:
    """One wait of a run. Its kinds:

    * ``event``: for an event ``name``; with ``key`` one sent to that key, with ``target`` one that only that run sends;
    * ``run``: for the end of ``target``;
    * ``child``: ``target`` is about to be made, in the session ``key``, and its end waited for.

    ``alone``: the run has no other branch that could do something meanwhile. ``until``: microseconds, 0 = no end.
    ``epoch``: of the claim under which the run waits; who was passed by another holder changes nothing of its waits.
    """

    tenant: str
    run: UUID
    path: str
    kind: str
    name: str = ""
    key: str = ""
    target: UUID | None = None
    alone: bool = True
    until: int = 0
    epoch: int = 0


@dataclass(slots=True, frozen=True)
class Beginning:
    """The answer to the beginning of a wait. ``circle``: the run itself, the one it would wait for, and so on."""

    answer: Begun
    circle: list[UUID] = field(default_factory=list)


@dataclass(slots=True, frozen=True)
class Ended:
    """A run that has ended, with what is left to do for it: these of its children are to be cancelled."""

    tenant: str
    run: UUID
    agent: str
    children: list[UUID]


@dataclass(slots=True, frozen=True)
class FollowUp:
    """Runs that have ended and left something to do; ``expecting``: some run waits for the end of another."""

    ended: list[Ended]
    expecting: bool


@dataclass(slots=True, frozen=True)
class Edge:
    """One run waits for another. ``kind``: event, run, child, session. ``until``: microseconds, 0 = no end."""

    run: UUID
    target: UUID
    kind: str
    name: str = ""
    until: int = 0


class Waits(Protocol):
    """Events, waits, and what ended runs leave behind."""

    async def send(self, event: EventPost, most: int) -> Sent:
        """Put an event into the inbox of ``event.run``; it wakes the run if the run waits for it.

        ``most``: events that one run is sent in its life.
        """
        ...

    async def publish(self, event: EventPost, most: int, keep_seconds: float) -> Sent:
        """Send an event to ``event.name`` and ``event.key``. The oldest run that waits for them gets it, or the next
        that will, within ``keep_seconds``. Each is given to one run. ``most``: events that one key holds.

        It fires the triggers that it matches, whether a run waits or not: see `penstock.ports.triggers`. One that fires
        triggers is accepted also where the key holds ``most``; then no waiting run gets it.
        """
        ...

    async def begin(self, wait: Wait) -> Beginning:
        """Begin a wait, atomically with the check that it closes no circle. Beginning it again is harmless.

        Needed for events with a key or a sender, for runs, and for children that belong to a session; other waits are
        no edges of the graph, or those of a tree.
        """
        ...

    async def withdraw(self, wait: Wait) -> bool:
        """End a wait whose time is over; False when an event was given to it before: its letter is to be taken.

        For a holder that was passed nothing is done: the wait is the next one's.
        """
        ...

    async def give_back(self, wait: Wait) -> None:
        """End a wait that was cut short; an event that was given to it is free again, and its letter gone.

        Call it when what cut it short is durable: who goes on with the run must not come to wait there again. For a
        holder that was passed, or has put the run away, nothing is done: the wait, and the event with it, are the next
        one's.
        """
        ...

    async def leave_duties(self, tenant: str, run: UUID, children: Sequence[UUID]) -> None:
        """Note, before a run's end is written, which children are to be cancelled after it."""
        ...

    async def follow_up(self, limit: int) -> FollowUp:
        """Ended runs that have left something to do, at most ``limit``. Those that waited for their end have been told,
        events that they were given and did not take are free again. Call `followed_up` when the rest is done."""
        ...

    async def followed_up(self, tenant: str, run: UUID) -> None:
        """Nothing is left to do for the run."""
        ...

    async def expire(self, limit: int) -> int:
        """Forget events that nobody took in time and old records of others, at most ``limit``; how many."""
        ...

    async def edges(self, tenant: str, limit: int) -> list[Edge]:
        """The wait-for graph of a tenant's unended runs: waits for runs, for events of runs, for children, and behind
        others of a session. Newest runs first, at most ``limit`` of each kind."""
        ...
