"""Schedules: what is to run again and again, when, and what happens when that cannot be kept to.

All times are microseconds since the epoch, UTC; 0 means none. Both stores pass `tests/contract/schedules_suite.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol
from uuid import UUID

import msgspec

MAX_LIST = 1000
LOOK_AGAIN_US = 1_000_000
"""How often a schedule with a time that waits for a run to end is looked at."""

Missed = Literal["skip", "once", "all"]
"""What becomes of times that nobody was there for: nothing, one run for the latest, or one each, up to ``catch_up``."""

Overlap = Literal["allow", "skip", "queue", "cancel_previous"]
"""What happens at a time at which the run before has not ended: both run; the new one does not; the new one waits (one
at most does); or the old one is cancelled."""


class Plan(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a schedule says. Exactly one of ``cron`` and ``every`` is set."""

    cron: str = ""  # five fields, read by the clock of ``timezone``
    every: int = 0  # microseconds from one time to the next, counted from ``anchor``
    anchor: int = 0
    timezone: str = "UTC"  # an IANA name
    start: int = 0  # no time before this one
    end: int = 0  # no time from this one on; 0 = for ever
    jitter: int = 0  # each run is put off by up to this long
    missed: Missed = "once"
    catch_up: int = 10  # with missed="all": runs made up for, at most; the latest ones
    overlap: Overlap = "skip"
    max_runs: int = 0  # runs in all; 0 = any number
    tags: dict[str, str] = {}
    priority: int = 0
    session: str = ""
    environment: str = ""  # whose workers fire it; "" = any


@dataclass(slots=True, frozen=True)
class Schedule:
    """A schedule and where it stands.

    ``next_at`` is the next time by the plan, and ``due_at`` the same with its jitter; 0 = never again. Its input is
    the payload at ``address`` of its own ``subject``, so that it can be erased by itself.
    """

    tenant: str
    id: UUID
    name: str
    agent: str
    plan: Plan
    subject: str
    address: bytes
    next_at: int
    due_at: int
    created_at: int = 0
    created_by: str = ""
    paused: bool = False
    paused_by: str = ""
    queued_at: int = 0  # a time that waits for the run before to end
    requested_at: int = 0  # somebody asked for a run out of turn
    fired: int = 0
    skipped: int = 0
    last_at: int = 0  # the latest time that was fired for
    last_run: UUID | None = None
    last_error: str = ""


@dataclass(slots=True, frozen=True)
class Due:
    """A schedule that a worker took in order to fire it. Others leave it alone until the lease is over."""

    schedule: Schedule
    now: int  # the store's clock when it was first taken: one taken again comes to the same decisions
    open: bool  # the last run has not ended
    token: int  # of this taking; a later one makes it worthless


@dataclass(slots=True, frozen=True)
class Fired:
    """Where a schedule stands after it was fired. ``fired`` and ``skipped`` are added to what there was."""

    next_at: int
    due_at: int
    queued_at: int = 0
    requested_at: int = 0  # the request that was met
    fired: int = 0
    skipped: int = 0
    last_at: int = 0  # 0 = as it was
    last_run: UUID | None = None  # None = as it was
    error: str = ""


class Schedules(Protocol):
    """The schedules of all tenants."""

    async def put(self, schedule: Schedule, *, replace: bool, limit: int) -> bool:
        """Store a schedule; False when the tenant has one of that name (without ``replace``).

        One that is replaced keeps its id, its counters, its pause and who created it.

        Raises:
            SchedulesFull: the tenant has ``limit`` already.
        """
        ...

    async def get(self, tenant: str, name: str) -> Schedule | None:
        """One schedule."""
        ...

    async def list_schedules(self, tenant: str, after: str = "", limit: int = 100) -> list[Schedule]:
        """By name, those after ``after``, at most ``limit`` (bounded at 1000)."""
        ...

    async def pause(self, tenant: str, name: str, actor: str) -> bool:
        """Fire it no more; False when there is none of that name."""
        ...

    async def resume(self, tenant: str, name: str, next_at: int, due_at: int) -> bool:
        """Fire it again, from that time on; what lay in between is not made up for. False when there is none."""
        ...

    async def remove(self, tenant: str, name: str) -> bool:
        """Forget it; False when there is none of that name. Its runs stay."""
        ...

    async def request(self, tenant: str, name: str) -> bool:
        """Have it fired once, soon, out of turn, also while it is paused; False when there is none of that name."""
        ...

    async def take_due(
        self, agents: Sequence[str], lease_seconds: float, limit: int, environment: str = ""
    ) -> list[Due]:
        """Take up to ``limit`` schedules of these agents that are to be fired now, for as long as the lease: those of
        that environment, and those of none.

        Due, or asked for, or with a time that waits for a run which has ended. None of a tenant that is stopped.
        """
        ...

    async def settle(self, due: Due, fired: Fired) -> bool:
        """Write down what came of a taking; False when it is worthless: the lease was over, and another took it."""
        ...
