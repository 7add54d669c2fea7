"""How a tenant's runs stand at one moment: what a dashboard shows, in one cheap read.

Reached as ``journal.overview``. Two stores answer, PostgreSQL and memory; both pass `tests/contract/overview_suite.py`.
"""

from dataclasses import dataclass, field
from typing import Protocol

WORKERS_MAX = 200
"""Workers of one answer, at most; those that hold most of the tenant's runs."""


@dataclass(slots=True, frozen=True)
class LiveWorker:
    """A worker. ``running``: how many of the tenant's runs it holds; times in microseconds since the epoch."""

    name: str
    since: int
    lease_until: int
    running: int


@dataclass(slots=True, frozen=True)
class Standing:
    """One moment. Times in microseconds since the epoch; 0 = there is none.

    Attributes:
        oldest_due: since when the queued run that is due longest has been due.
        approvals, doubts: runs that wait for a person to allow a call, or to say whether one happened.
        quarantined_since: when the first of those set aside was made.
        dead: workers whose lease is over and that hold runs of the tenant.
    """

    at: int
    queued: int = 0
    running: int = 0
    parked: int = 0
    quarantined: int = 0
    oldest_due: int = 0
    approvals: int = 0
    doubts: int = 0
    quarantined_since: int = 0
    workers: list[LiveWorker] = field(default_factory=list)
    dead: list[LiveWorker] = field(default_factory=list)


class Overview(Protocol):
    """Reads over all runs of a tenant that have not ended."""

    async def standing(self, tenant: str) -> Standing:
        """How they stand now."""
        ...
