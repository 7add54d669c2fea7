"""Retention: how long ended runs are kept, what holds them, and what is left when they are gone.

A run is *marked* first: it has a tombstone, and what it held is not to be read any more. Then it is *emptied* (payloads
and subject's key), then *swept* (events). Each step is small, may be done twice, and goes on where it was cut off. The
run's row stays until the policy says that it is to be *forgotten*. Times are microseconds, by the store's clock. Both
stores pass `tests/contract/retention_suite.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from penstock.ports.records import RunKey, RunRow

MAX_LIST = 1000

TENANT: UUID = UUID(int=0)
"""Instead of a run: the whole tenant is on hold."""


class Action(StrEnum):
    """What becomes of a run when its time is over."""

    ARCHIVE = "archive"  # written to a file, then pruned
    PRUNE = "prune"


@dataclass(slots=True, frozen=True)
class Policy:
    """How long the runs of an agent are kept after their family has ended."""

    tenant: str
    agent: str  # '' = all agents of the tenant that have none of their own
    action: Action
    keep: int  # microseconds after the end
    forget: int = 0  # microseconds after the end until the row goes too, with its idempotency key; 0 = never
    content: bool = True  # archives hold payloads and subjects' keys
    actor: str = ""
    set_at: int = 0


@dataclass(slots=True, frozen=True)
class Hold:
    """Nothing of the run's family, or of the tenant, goes while it is there."""

    tenant: str
    run: UUID  # or TENANT
    reason: str
    actor: str
    at: int


@dataclass(slots=True, frozen=True)
class Marking:
    """Runs of one tenant that are to be marked, as they were when they were read (and archived)."""

    tenant: str
    runs: Sequence[tuple[UUID, int, bytes, bool]]  # id, last_seq, head, the archive holds its subject's key
    ended_before: int
    archive: str = ""  # file name; '' = none
    folder: str = ""
    size: int = 0  # of the file, bytes


@dataclass(slots=True, frozen=True)
class Tombstone:
    """What says that a run's record is gone on purpose."""

    tenant: str
    run: UUID
    agent: str
    subject: str
    last_seq: int
    head: bytes
    archive: str
    pruned_at: int
    emptied: bool
    swept: bool


@dataclass(slots=True, frozen=True)
class Sharer:
    """A kept run of a named subject. Its tape says which payloads of the subject are still needed."""

    run: UUID
    last_seq: int
    running: bool


@dataclass(slots=True, frozen=True)
class Weight:
    """What some runs take up: events, and bytes of events and of payloads that are theirs alone."""

    events: int
    bytes: int


@dataclass(slots=True, frozen=True)
class MonthTotals:
    """Sums over the forgotten runs of one agent that ended in one month (UTC) with one outcome."""

    agent: str
    month: str  # YYYY-MM
    outcome: str
    runs: int
    tokens: int
    nano: int


class Retention(Protocol):
    """Policies, holds, tombstones. Only `policies` with None crosses tenants, for the worker whose turn it is."""

    async def origin(self) -> UUID:
        """Which database this is; a restored copy is the same one."""
        ...

    async def put_policy(self, policy: Policy) -> None:
        """Set or replace the policy of a tenant's agent."""
        ...

    async def remove_policy(self, tenant: str, agent: str) -> bool:
        """False when there is none. Those of its runs that are marked stay so."""
        ...

    async def policies(self, tenant: str | None, after: tuple[str, str] = ("", ""), limit: int = 100) -> list[Policy]:
        """By tenant and agent, beyond ``after`` (the first page begins with the first one), at most ``limit``."""
        ...

    async def hold(self, tenant: str, run: UUID, actor: str, reason: str) -> bool:
        """Put a run's family, or the whole tenant (`TENANT`), on hold. Seen by every later step; False: it was.

        Raises:
            RunUnknown: no such run for this tenant.
            RunPruned: too late.
        """
        ...

    async def release(self, tenant: str, run: UUID, actor: str) -> bool:
        """Take a hold off; False when there is none."""
        ...

    async def holds(self, tenant: str, limit: int = 100) -> list[Hold]:
        """Holds in force, the tenant's own first, at most ``limit`` (bounded at 1000)."""
        ...

    async def take_turn(self, holder: UUID, lease_seconds: float, *, due: bool) -> bool:
        """Whether ``holder`` may work now: nobody else does, and (with ``due``) it is time. Also renews its turn."""
        ...

    async def end_turn(self, holder: UUID, again_seconds: float) -> None:
        """Give the turn up; the next one is due after that time. Nothing happens when somebody else has it."""
        ...

    async def agents(self, tenant: str) -> list[str]:
        """Agents with ended runs that are kept, in order."""
        ...

    async def due(
        self, tenant: str, agent: str, ended_before: int, after: UUID | None = None, limit: int = 100
    ) -> list[RunRow]:
        """Kept runs beyond ``after`` that may go, by id, at most ``limit``.

        They have ended before that time and so has all of their family; nothing of it is on hold; whoever waited for
        their end was told.
        """
        ...

    async def weigh(self, tenant: str, runs: Sequence[UUID]) -> Weight:
        """What those runs take up."""
        ...

    async def mark(self, marking: Marking) -> list[UUID]:
        """Mark those runs that are still due and unchanged, all in one step with the archive's name; which they were.

        Left out are also runs whose subject was erased since their key was archived. An archive's name is used once:
        the runs that were marked with it before are the answer, and no others will be, also when there were none.
        """
        ...

    async def archived_in(self, tenant: str, archive: str) -> list[UUID] | None:
        """The runs that were marked with that archive; None when it is not known."""
        ...

    async def tombstones(self, runs: Sequence[RunKey]) -> dict[RunKey, Tombstone]:
        """Of those that have one."""
        ...

    async def empty(self, tenant: str, limit: int) -> bool:
        """Erase up to ``limit`` payloads of marked runs that are their own subjects, then their keys; True: no more."""
        ...

    async def unemptied(self, tenant: str, after: UUID | None = None, limit: int = 100) -> list[Tombstone]:
        """Marked runs of named subjects whose payloads are still there, by id."""
        ...

    async def sharers(self, tenant: str, subject: str, after: UUID | None = None, limit: int = 1000) -> list[Sharer]:
        """Kept runs of a named subject, by id."""
        ...

    async def drop_payloads(
        self, tenant: str, subject: str, addresses: Sequence[bytes], known: tuple[int, int]
    ) -> bool:
        """Erase payloads of a named subject; False, and nothing was done, when what was ``known`` is out of date.

        Args:
            known: how many kept runs the subject has, and how many events these have together. A run that is being
                executed may be about to refer to anything, so then the answer is False, too.
        """
        ...

    async def set_emptied(self, tenant: str, runs: Sequence[UUID]) -> None:
        """All payloads of these marked runs that nobody else needs are erased."""
        ...

    async def sweep(self, tenant: str, pruned_before: int, limit: int) -> bool:
        """Delete up to ``limit`` events of emptied runs that were marked before that time; True: no more."""
        ...

    async def drop_months(self) -> list[str]:
        """Give back months of events whose runs are all gone, as a whole; their names."""
        ...

    async def add_months(self) -> list[str]:
        """Make room for the events of this month and the next ones; names of what was made."""
        ...

    async def forget(self, tenant: str, agent: str, ended_before: int, limit: int) -> int:
        """Delete up to ``limit`` rows of swept runs whose families are swept; their sums are kept. How many it were."""
        ...

    async def forgettable(self, tenant: str) -> list[str]:
        """Agents with swept runs whose rows are still there, in order."""
        ...

    async def forgotten(self, tenant: str, limit: int = 1000) -> list[MonthTotals]:
        """Sums over forgotten runs, newest month first."""
        ...
