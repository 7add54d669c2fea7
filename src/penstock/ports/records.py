"""The plain values that pass between the engine and a journal.

Those that a worker makes thousands of times a second are msgspec structs: made in half the time, and (``gc=False``,
since they hold nothing but bytes, text and numbers) not looked at by the garbage collector.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

import msgspec

from penstock.kernel.errors import PenstockError
from penstock.ports.budgets import Charge

CONTINUED = "continued"
"""Code of an end after which the run goes on in another."""

RunKey = tuple[str, UUID]
"""``(tenant, run id)``: nothing is ever looked up without its tenant."""

PayloadKey = tuple[str, str, bytes]
"""``(tenant, subject, address)``."""


class Answer(StrEnum):
    """What an append said of one run's batch."""

    APPLIED = "applied"
    SKIPPED = "skipped"  # the row was locked: put it in the next batch
    GAP = "gap"  # last_seq is not the one expected: a bug, or a batch of this claim applied before
    FENCED = "fenced"  # another epoch holds the run: the claim is lost
    ABSENT = "absent"  # no such run
    STOPPED = "stopped"  # the batch holds an intent and a kill, cancel or pause covers it; nothing was written
    STALE = "stale"  # its intents were checked against breakers that have changed since; nothing was written
    REFUSED = "refused"  # the store cannot hold this batch, see ``error``; nothing of it was written


class Status(StrEnum):
    """Where a run's row stands. Arrows: queued → running → parked → running → ended; running → queued (handed back)."""

    QUEUED = "queued"
    RUNNING = "running"
    PARKED = "parked"
    QUARANTINED = "quarantined"  # poison, divergence or unreadable state: waits for a person
    ENDED = "ended"


class Stop(StrEnum):
    """Sticky wish that a run should not go on. The stronger one wins: pause < cancel < kill."""

    PAUSE = "pause"
    CANCEL = "cancel"
    KILL = "kill"


class Row(msgspec.Struct, frozen=True, gc=False):
    """One stored event. ``at`` is the store's own time of the commit, microseconds; it is not part of the chain."""

    seq: int
    body: bytes
    hash: bytes
    at: int = 0


class Payload(msgspec.Struct, frozen=True, gc=False):
    """One payload as stored. ``subject`` is the data subject's name, or the run's id in text for the run's own."""

    tenant: str
    subject: str
    address: bytes  # HMAC-SHA256(subject key, raw bytes), 32 bytes
    data: bytes
    codec: str  # "raw" | "zstd"
    size: int  # of the raw bytes


@dataclass(slots=True)
class NewRun:
    """A run to be created, with its first event (``seq`` 1)."""

    tenant: str
    id: UUID
    agent: str
    release: str
    event: Row
    subject: str
    subject_key: bytes  # 32 random bytes; ignored when the subject has a key already
    env: str = "development"
    key: str | None = None  # idempotency key, unique per tenant
    request_digest: str = ""  # of agent and input: tells a repeat from a conflict
    session: str = ""
    priority: int = 0  # higher first
    rank: int | None = None  # from `Queue.admit`; None = the store gives it one
    parent: UUID | None = None
    parent_path: str = ""
    root: UUID | None = None  # the top of the family; None = itself
    deadline: int = 0  # microseconds since the epoch; 0 = none
    format: int = 1
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True, frozen=True)
class Submitted:
    """The run that a submission made, or that its key had made before."""

    id: UUID
    created: bool
    conflict: bool = False  # the key exists with another request_digest; ``id`` is that run


@dataclass(slots=True, frozen=True)
class Claim:
    """A run taken by a worker: everything the worker needs besides the tape."""

    tenant: str
    run: UUID
    epoch: int
    last_seq: int
    head: bytes
    agent: str
    release: str
    subject: str
    subject_key: bytes
    parent: UUID | None
    parent_path: str
    root: UUID
    claims: int  # claims since the last progress, this one included
    stop: Stop | None
    now: int  # the store's clock, microseconds
    deadline: int = 0


class Summary(msgspec.Struct, frozen=True, gc=False):
    """Columns of the run's row that lists and dashboards read; written with every append."""

    steps: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    tokens: int = 0
    nano: int = 0
    reserved_nano: int = 0
    open_intents: int = 0


@dataclass(slots=True, frozen=True)
class Post:
    """A letter for a run's inbox. ``dedup`` makes a repeated delivery harmless."""

    tenant: str
    run: UUID
    dedup: str
    kind: str  # approval | child | message | settle
    body: bytes


@dataclass(slots=True, frozen=True)
class Letter:
    """A letter not yet journalled by the holder."""

    dedup: str
    kind: str
    body: bytes
    at: int


@dataclass(slots=True, frozen=True)
class Move:
    """A change of the run's status at the end of a batch; the claim is given up with it."""

    status: Status  # QUEUED (handed back), PARKED, QUARANTINED or ENDED
    wake_at: int | None = None  # microseconds; None = only the inbox wakes it (QUEUED: now)
    waiting: bytes = b"[]"  # JSON list of events.Waiting, for lists of what waits for whom
    outcome: str | None = None
    code: str = ""
    post: Post | None = None  # the child's end, for its parent's inbox; same transaction, always the batch's tenant


class Begin(msgspec.Struct, frozen=True):
    """A run that is made in the transaction that writes its first batch, held by the worker that makes it (epoch 1).

    When ``name`` is not empty and an unended run of the tenant has it, no run is made, and the batch's answer is
    ``ABSENT``; so it is when the worker's lease is over.
    """

    worker: UUID
    run: NewRun
    name: str = ""  # by which later calls of the gateway find it


class Batch(msgspec.Struct):
    """Events of one run that follow ``last_seq``. One batch a run is in flight at a time."""

    tenant: str
    run: UUID
    epoch: int
    last_seq: int  # what the row must hold
    rows: list[Row]
    summary: Summary
    intent: bool = False  # holds at least one intent: refused while a stop covers the run
    consumed: list[str] = msgspec.field(default_factory=list)  # dedup ids of letters that these events journal
    children: list[NewRun] = msgspec.field(default_factory=list)
    move: Move | None = None
    waiting: bytes | None = None  # new value of the row's list without a move; None = unchanged
    checked: int | None = None  # at which version of the breakers its intents were checked; None = not at all
    charges: list[Charge] = msgspec.field(default_factory=list)  # to budgets, of events of this batch
    begin: Begin | None = None  # the run does not exist yet


class Applied(msgspec.Struct, frozen=True):
    """Answer to one batch, with what the row says now: the holder needs no further poll while it appends."""

    answer: Answer
    letters: int = 0  # letters not yet journalled, after this batch
    stop: Stop | None = None
    at: int = 0  # the store's time stamped on these events
    error: PenstockError | None = None  # with REFUSED


@dataclass(slots=True, frozen=True)
class Flags:
    """A held run that has something to notice."""

    tenant: str
    run: UUID
    epoch: int  # the row's; when it is not the holder's, the claim is lost
    letters: int
    stop: Stop | None


@dataclass(slots=True, frozen=True)
class OpenIntent:
    """An intent without an outcome, as a kill finds it. ``ends_by`` = commit + allowance + time-out."""

    tenant: str
    run: UUID
    path: str
    name: str
    attempt: int
    ends_by: int


@dataclass(slots=True, frozen=True)
class RunRow:
    """A run as its row shows it."""

    tenant: str
    id: UUID
    agent: str
    release: str
    env: str
    status: Status
    outcome: str | None
    code: str
    stop: Stop | None
    epoch: int
    last_seq: int
    head: bytes
    subject: str
    key: str | None
    session: str
    priority: int
    parent: UUID | None
    parent_path: str
    root: UUID
    worker: UUID | None
    claims: int
    wake_at: int | None
    created_at: int
    ended_at: int | None
    deadline: int
    summary: Summary
    waiting: bytes
    tags: dict[str, str]
    pruned_at: int | None = None  # its events and payloads are gone, or going: see ports/retention.py


@dataclass(slots=True, frozen=True)
class RunFilter:
    """Which runs to list. Empty fields do not filter."""

    status: Status | None = None
    outcome: str | None = None
    agent: str | None = None
    root: UUID | None = None
    parent: UUID | None = None
    waiting_for: str | None = None  # kind of Waiting, for example "approval"
    before: UUID | None = None  # keyset: ids below this one (newest first)
    from_id: UUID | None = None  # and not below this one
    release: str | None = None
    session: str | None = None
    code: str | None = None
    shown: str | None = None  # see ports/lists.py
    tags: dict[str, str] = field(default_factory=dict)  # all of them, exactly
    any_tag: str | None = None  # some tag has this value
    min_nano: int = 0
    since: int = 0  # by the time in the id (a child's is that of its family's first run), microseconds; 0 = no bound
    until: int = 0


@dataclass(slots=True, frozen=True)
class Sealed:
    """Acknowledgement of a kill: from here on no intent commits in its scope."""

    control: UUID
    sealed: bool  # False: a database session that could not be moved prevented it; see ``blockers``
    at: int
    open_intents: list[OpenIntent]
    blockers: list[str] = field(default_factory=list)
