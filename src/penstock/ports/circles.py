"""Runs that wait for each other for ever although none of their waits closed a circle when it began.

Two stores answer: PostgreSQL and memory. Both pass `tests/contract/circles_suite.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

import msgspec

from penstock.events import Waiting

LOOKED_AT_MOST = 1000
"""Waits that one look begins from, at most; the next look goes on after them."""


class CircleLetter(msgspec.Struct, frozen=True):
    """Body of the letter that ends a wait: each of these runs waits for the next, the last for the first."""

    circle: list[UUID]


@dataclass(slots=True, frozen=True)
class HeldWait:
    """A wait without an end, for a run's end or for an event that only it sends. ``arrival``: the later the higher."""

    path: str
    target: UUID
    arrival: int


@dataclass(slots=True, frozen=True)
class Sleeper:
    """A run that does nothing until something comes from outside.

    Attributes:
        epoch: it is another as soon as somebody has claimed the run.
        waiting: all that may wake it; empty for one that is queued.
        held: those of its waits that are for another run.
        behind: the runs whose end it waits for in its session, of one that has not begun.
    """

    run: UUID
    epoch: int
    waiting: list[Waiting]
    held: list[HeldWait] = field(default_factory=list)
    behind: list[UUID] = field(default_factory=list)


@dataclass(slots=True, frozen=True)
class Broken:
    """A wait that is to be ended, and the runs (with epochs) on whose sleep that rests."""

    tenant: str
    run: UUID
    wait: HeldWait
    circle: list[UUID]
    sleeping: dict[UUID, int]

    @property
    def dedup(self) -> str:
        return cycle_dedup(self.wait.path, self.wait.target)

    @property
    def body(self) -> bytes:
        return msgspec.json.encode(CircleLetter(self.circle))


def cycle_dedup(path: str, target: UUID | None) -> str:
    """The dedup id of the letter that ends the wait at that path for that run."""
    return f"cycle:{path}:{target}"


class Circles(Protocol):
    """Finding and breaking circles that were closed late."""

    async def look(self, every_seconds: float, limit: int) -> list[tuple[str, UUID]]:
        """Tenant and run of parked runs that wait for others without an end: those of the next ``limit`` waits.

        Nothing when some worker has looked less than ``every_seconds`` ago.
        """
        ...

    async def sleepers(self, tenant: str, runs: Sequence[UUID]) -> list[Sleeper]:
        """Those of the runs that are parked with no time to wake at, or queued behind others of their session."""
        ...

    async def break_wait(self, broken: Broken) -> bool:
        """End the wait with a letter, atomically with the check that all ``sleeping`` runs still do as they did; False
        when one has moved, and nothing was done."""
        ...
