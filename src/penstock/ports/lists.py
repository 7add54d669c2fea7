"""What the console and the API ask of a store: pages of runs, what those share, and results in the order of ends.

Reached as ``journal.lists``. Two stores answer, PostgreSQL and memory; both pass `tests/contract/lists_suite.py`.

No request reads without bound. A page ends early when enough runs were looked at; it says so, and its cursor goes on.
"""

from dataclasses import dataclass, field, replace
from typing import Protocol
from uuid import UUID

from penstock.ports.records import Row, RunFilter, RunRow, Status, Stop

LOOKED_AT_MOST = 10_000
"""Runs that one request goes through in the order of their ids, which is nearly that in which they are stored."""
LOOKED_AT_APART = 3_000
"""The same through an index by something else: each may lie in a place of its own."""
PAGE_MAX = 1000
FACETS_OF = 10_000
"""Of as many runs found, the newest, it is counted what they share, and of as many others of the same time."""
FACET_VALUES = 20
FACET_NAMES = ("agent", "release", "outcome", "code", "customer", "feature", "task_type")
BINS = 60
BEFORE_COUNTED = 10_000
SETTLE_MS = 1000
"""How long a reader of results waits for appends under way."""

SHOWN_OPEN = (
    "queued",
    "running",
    "quarantined",
    "paused",
    "stopping",
    "waiting_approval",
    "in_doubt",
    "retrying",
    "waiting",
)
"""What is shown of a run that has not ended; of one that has, its outcome."""


@dataclass(slots=True, frozen=True)
class Page:
    """Runs, newest first. ``next``: for `RunFilter.before` of the next page; None = there are no more.

    ``looked_to``: the page ends here because enough runs were looked at, and nothing is known of older ones than this.
    """

    rows: list[RunRow]
    next: UUID | None = None
    looked_to: UUID | None = None


@dataclass(slots=True, frozen=True)
class Shared:
    """A value of ``FACET_NAMES``: how many of the runs found have it, and how many of the others of the same time."""

    name: str
    value: str
    found: int
    others: int


@dataclass(slots=True, frozen=True)
class Bin:
    """Runs found that were submitted in one stretch of time (``at``, microseconds) and are shown as ``shown``."""

    at: int
    shown: str
    count: int


@dataclass(slots=True, frozen=True)
class Sharing:
    """What the runs found share. ``sampled``: not all were counted, or looked at."""

    found: int
    others: int
    sampled: bool
    shared: list[Shared] = field(default_factory=list)
    bins: list[Bin] = field(default_factory=list)
    width: int = 0  # of a bin, microseconds


@dataclass(slots=True, frozen=True)
class Ended:
    """A run that has ended, and its last event; None when that was pruned."""

    row: RunRow
    last: Row | None


@dataclass(slots=True, frozen=True)
class Ends:
    """Runs in the order in which they ended. ``next`` goes on after them; it is there also when there are none yet."""

    items: list[Ended]
    next: int


@dataclass(slots=True, frozen=True)
class Place:
    """Where a queued run stands. ``before``: runs that are taken before it, at most `BEFORE_COUNTED` are counted;
    ``expected``: how long that takes, microseconds, None when nothing was taken of late."""

    before: int
    expected: int | None


class Lists(Protocol):
    """Reads of many runs of one tenant."""

    async def page(self, tenant: str, where: RunFilter, limit: int) -> Page:
        """Newest first, at most ``limit`` (bounded at `PAGE_MAX`)."""
        ...

    async def sharing(self, tenant: str, where: RunFilter) -> Sharing:
        """What the newest runs that the filter finds share, and how others of the same time differ."""
        ...

    async def place(self, tenant: str, run: UUID) -> Place | None:
        """Where a run stands in its queue; None when it is not queued, or waits behind its session."""
        ...

    async def ends(self, tenant: str, after: int, limit: int, *, children: bool = False) -> Ends:
        """Runs whose ends come after that place, in the order of ends, each of them once.

        A run whose end is committed later than others' comes after them, never before a place that was given out.
        Without ``children`` only those that somebody submitted, and of those that go on in others the last.
        """
        ...


def shown(status: Status, stop: Stop | None, outcome: str | None, waiting: bytes) -> str:
    """Where a run stands, in one word: see `SHOWN_OPEN`."""
    if status is Status.ENDED:
        return outcome or "ended"
    if stop in (Stop.CANCEL, Stop.KILL):
        return "stopping"
    if stop is Stop.PAUSE:
        return "paused"
    if status is not Status.PARKED:
        return status.value
    # The stored form has no spaces, and quotes inside its strings are escaped: this finds kinds and nothing else.
    for kind, word in ((b"approval", "waiting_approval"), (b"doubt", "in_doubt"), (b"retry", "retrying")):
        if b'"kind":"' + kind + b'"' in waiting:
            return word
    return "waiting"


async def listed(lists: Lists, tenant: str, where: RunFilter, limit: int) -> list[RunRow]:
    """As many pages as it takes: the newest ``limit`` runs that the filter finds, however far back they are."""
    rows: list[RunRow] = []
    while len(rows) < limit:
        page = await lists.page(tenant, where, limit - len(rows))
        rows += page.rows
        if page.next is None:
            break
        where = replace(where, before=page.next)
    return rows
