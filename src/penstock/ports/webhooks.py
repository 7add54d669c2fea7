"""Webhooks: who is told what, and the deliveries that are to be made.

Reached as ``journal.webhooks``. Two stores answer, PostgreSQL and memory; both pass `tests/contract/webhooks_suite.py`.

A delivery is written by the very transaction that moves the run, records the decision or seals the stop: there is none
of what did not happen, none is missing of what did, and no reader has to follow the journal for it. Endpoints are told
what happens from when they are made.

All times are microseconds since the epoch, UTC, by the store's clock.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol
from uuid import UUID

Topic = Literal[
    "run.ended",
    "run.parked",
    "run.quarantined",
    "approval.requested",
    "approval.escalated",
    "approval.decided",
    "control.applied",
    "breaker.opened",
    "breaker.closed",
    "budget.threshold",
]
TOPICS: tuple[Topic, ...] = (
    "run.ended",
    "run.parked",
    "run.quarantined",
    "approval.requested",
    "approval.escalated",
    "approval.decided",
    "control.applied",
    "breaker.opened",
    "breaker.closed",
    "budget.threshold",
)
State = Literal["waiting", "delivered", "dead"]

PAGE_MAX = 500
COUNTED_MOST = 10_000
"""Deliveries of one endpoint that are counted, of each state."""
GONE = "410"
"""Why an endpoint is paused that answered that it is gone for good."""


@dataclass(slots=True, frozen=True)
class Endpoint:
    """An address that is told.

    Attributes:
        agent: only what concerns this agent; '' = all.
        secret: 24 to 64 random bytes, with which messages are signed.
        old_secret: the one before; also in use until ``old_until``.
        paused_why: '' = not paused; else who did it, or `GONE`.
        failures: attempts that failed, in a row.
        failing_since: when the first of them was; None = there were not enough of them.
        hold_until: it asked to be left alone until then.
        last_status: of the last attempt that said something new.
    """

    tenant: str
    id: UUID
    url: str
    topics: tuple[str, ...]
    agent: str
    description: str
    secret: bytes
    created_by: str
    created_at: int = 0
    old_secret: bytes | None = None
    old_until: int = 0
    paused_why: str = ""
    failures: int = 0
    failing_since: int | None = None
    hold_until: int = 0
    last_status: str = ""

    @property
    def state(self) -> Literal["on", "paused", "failing"]:
        """How it stands, in one word."""
        if self.paused_why:
            return "paused"
        return "on" if self.failing_since is None else "failing"


@dataclass(slots=True, frozen=True)
class Delivery:
    """One message to one endpoint. ``facts``: JSON of what it says; ``next_at``: of one that waits."""

    tenant: str
    endpoint: UUID
    id: str
    topic: str
    run: UUID | None
    facts: bytes
    state: State
    attempts: int
    created_at: int
    next_at: int
    last_status: str = ""
    last_at: int | None = None


@dataclass(slots=True, frozen=True)
class Taken:
    """A delivery that a server attempts. Others leave it alone until the lease is over.

    ``token``: of this taking; a later one makes it worthless. ``secrets``: to sign with, the newest first.
    """

    delivery: Delivery
    url: str
    secrets: tuple[bytes, ...]
    token: int


@dataclass(slots=True, frozen=True)
class Attempted:
    """What became of an attempt.

    Attributes:
        state: ``waiting`` = try again after ``again_seconds``.
        status: HTTP status, or why there is none, in words.
        hold_seconds: how long the endpoint asked to be left alone.
        gone: it said that it is gone for good.
    """

    taken: Taken
    state: State
    status: str
    again_seconds: float = 0.0
    hold_seconds: float = 0.0
    gone: bool = False


@dataclass(slots=True, frozen=True)
class Counts:
    """Of an endpoint's deliveries, each counted up to `COUNTED_MOST`."""

    waiting: int
    dead: int


@dataclass(slots=True, frozen=True)
class Trouble:
    """Endpoints of a tenant that fail, or that said that they are gone. ``since``: the first of them; 0 = none."""

    count: int
    since: int = 0


class Webhooks(Protocol):
    """The endpoints and deliveries of all tenants."""

    async def add(self, endpoint: Endpoint, limit: int) -> Endpoint | None:
        """Store an endpoint, as it is stored then; None when the tenant has ``limit`` already."""
        ...

    async def get(self, tenant: str, endpoint: UUID) -> Endpoint | None:
        """One endpoint."""
        ...

    async def list_endpoints(self, tenant: str) -> list[Endpoint]:
        """Oldest first, at most `PAGE_MAX`."""
        ...

    async def remove(self, tenant: str, endpoint: UUID) -> bool:
        """Forget it, with what it was to be told; False when there is none."""
        ...

    async def pause(self, tenant: str, endpoint: UUID, why: str) -> Endpoint | None:
        """Tell it nothing until it is resumed: what happens meanwhile waits. '' = resume. None when there is none."""
        ...

    async def rotate(self, tenant: str, endpoint: UUID, secret: bytes, overlap_seconds: float) -> Endpoint | None:
        """Sign with a new secret; and with the one before too for so long."""
        ...

    async def counts(self, tenant: str, endpoints: Sequence[UUID]) -> dict[UUID, Counts]:
        """How many deliveries wait, and how many are dead."""
        ...

    async def deliveries(
        self, tenant: str, endpoint: UUID, state: State | None, before: tuple[int, str] | None, limit: int
    ) -> list[Delivery]:
        """Newest first; ``before``: time and id of the last one of the page before."""
        ...

    async def replay(self, tenant: str, endpoint: UUID, delivery: str) -> Delivery | None:
        """Attempt it again from now on, whatever became of it, with all attempts that a new one has."""
        ...

    async def replay_dead(self, tenant: str, endpoint: UUID, limit: int) -> int:
        """The same for those that were given up, the oldest ``limit``; how many."""
        ...

    async def take(self, under_way: Mapping[UUID, int], each: int, limit: int, lease_seconds: float) -> list[Taken]:
        """Take up to ``limit`` due deliveries, the longest due first of each endpoint, in no order of endpoints.

        Of one endpoint so many that ``each`` of it are under way with the caller, who says how many are
        (``under_way``); of one that fails, one.
        """
        ...

    async def settle(self, attempted: Attempted, failing_after: int) -> bool:
        """Write down what became of an attempt; False, and nothing done, when the delivery was taken by another.

        An endpoint counts as failing after so many failures in a row.
        """
        ...

    async def trouble(self, tenant: str) -> Trouble:
        """What a person should look at."""
        ...

    async def forget(self, keep_seconds: float, limit: int) -> int:
        """Forget deliveries that were made longer ago than this, at most ``limit``; how many."""
        ...


def delivery_id(endpoint: UUID, topic: str, run: UUID | None, what: str) -> str:
    """The id of a message: the same whenever it is made or sent again. 128 bits of SHA-256.

    ``what`` tells messages of one topic and run apart: the sequence number of the run's last event, or an id.
    """
    named = f"{endpoint}|{topic}|{run or ''}|{what}"
    return "msg_" + hashlib.sha256(named.encode()).hexdigest()[:32]
