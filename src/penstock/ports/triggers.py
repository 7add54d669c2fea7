"""Triggers: events that start runs, and firings: the runs that accepted events still have to become.

All times are microseconds since the epoch, UTC; 0 means none. Both stores pass `tests/contract/triggers_suite.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import msgspec

MAX_LIST = 1000
NOBODY = UUID(int=0)
"""Who took an event that fired its triggers, and that no waiting run is to get."""


class TriggerPlan(msgspec.Struct, frozen=True, omit_defaults=True):
    """What each run of a trigger is like. Texts may be paths into the event: see `penstock.runs.triggers.mapping`."""

    input: Any = "$"
    tags: dict[str, str] = {}
    session: str = ""
    priority: int = 0
    environment: str = ""  # whose workers make its runs; "" = any


@dataclass(slots=True, frozen=True)
class Trigger:
    """One trigger and what came of it.

    Attributes:
        event, prefix: the events that it is for: of that name, with a key that begins so.
        pending_max: events that it holds which are no runs yet, at most.
        fired: runs that it made.
        failed: events that could not become a run: with the mapping as it was, or for the agent as it was.
        last_error: of the latest event, when that failed.
    """

    tenant: str
    id: UUID
    name: str
    event: str
    prefix: str
    agent: str
    plan: TriggerPlan
    pending_max: int
    created_at: int = 0
    created_by: str = ""
    paused: bool = False
    paused_by: str = ""
    fired: int = 0
    failed: int = 0
    last_at: int = 0  # when the latest run was made
    last_run: UUID | None = None
    last_error: str = ""


@dataclass(slots=True, frozen=True)
class Firing:
    """An event that a worker took in order to make a run of it. Others leave it alone until the lease is over."""

    tenant: str
    trigger: UUID
    id: int
    agent: str
    event: str
    key: str
    dedup: str
    body: bytes  # JSON of ports.waits.EventLetter
    at: int  # when the event was accepted
    token: int  # of this taking; a later one makes it worthless
    error: str = ""


@dataclass(slots=True, frozen=True)
class Fired:
    """What became of a firing: a run, or the reason why it can never become one."""

    firing: Firing
    run: UUID | None
    error: str = ""


@dataclass(slots=True, frozen=True)
class Backlog:
    """A trigger's events that are no runs: yet to become one, and failed (kept for a while, see `Triggers.retry`)."""

    pending: int
    failed: int


class Triggers(Protocol):
    """The triggers of all tenants. `Waits.publish` makes their firings, in the transaction that accepts the event."""

    async def put(self, trigger: Trigger, *, replace: bool, limit: int, same_event: int) -> bool:
        """Store a trigger; False when the tenant has one of that name (without ``replace``).

        One that is replaced keeps its id, its counters, its pause and who created it; what it holds already becomes
        runs by the new plan.

        Raises:
            TriggersFull: the tenant has ``limit`` already, or ``same_event`` for that event.
        """
        ...

    async def get(self, tenant: str, name: str) -> Trigger | None:
        """One trigger."""
        ...

    async def by_id(self, tenant: str, trigger: UUID) -> Trigger | None:
        """One trigger, by its id."""
        ...

    async def list_triggers(self, tenant: str, after: str = "", limit: int = 100) -> list[Trigger]:
        """By name, those after ``after``, at most ``limit`` (bounded at 1000)."""
        ...

    async def pause(self, tenant: str, name: str, actor: str) -> bool:
        """Take no events, and hold back those that are no runs yet; False when there is none of that name."""
        ...

    async def resume(self, tenant: str, name: str) -> bool:
        """Take events again, and let go those held back. False when there is none of that name."""
        ...

    async def remove(self, tenant: str, name: str) -> bool:
        """Forget it, with the events that are no runs yet; False when there is none of that name. Its runs stay."""
        ...

    async def backlog(self, tenant: str, trigger: UUID, most: int) -> Backlog:
        """How many of its events are no runs, each counted up to ``most``."""
        ...

    async def failures(self, tenant: str, trigger: UUID, limit: int) -> list[Firing]:
        """Those that failed, the latest first, at most ``limit`` (bounded at 1000)."""
        ...

    async def retry(self, tenant: str, trigger: UUID, limit: int) -> int:
        """Have the oldest ``limit`` of those that failed tried again; how many they were."""
        ...

    async def take(
        self, agents: Sequence[str], lease_seconds: float, limit: int, environment: str = ""
    ) -> list[Firing]:
        """Take up to ``limit`` firings for these agents, for as long as the lease: of triggers of that environment, and
        those of none. None of a tenant that is stopped."""
        ...

    async def settle(self, fired: Sequence[Fired]) -> int:
        """Write down what became of firings; how many were still the caller's."""
        ...

    async def expire(self, limit: int) -> int:
        """Forget failed ones that were kept long enough, at most ``limit``; how many."""
        ...
