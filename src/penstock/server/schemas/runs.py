"""Runs: submitted, listed, looked at."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from penstock.server.schemas.base import Amounts, Given, Name, Taken, Waited, Words

BATCH_MAX = 500
"""Runs of one batch at most."""


class BudgetGiven(Taken):
    """Limits instead of the agent's own. Absent or 0: no limit of that kind."""

    tokens: int = Field(default=0, ge=0)
    usd: str = Field(default="", pattern=r"^(\d{1,9}(\.\d{1,9})?)?$", description="dollars as decimal text: 0.10")
    steps: int = Field(default=0, ge=0)
    calls: int = Field(default=0, ge=0)
    attempts: int = Field(default=0, ge=0)
    seconds: float = Field(default=0, ge=0)


class RunSubmit(Taken):
    """One run to be made. Its idempotency key is the header ``Idempotency-Key``, in a batch the field ``key``."""

    agent: Name
    input: Any = None
    key: str | None = Field(default=None, min_length=1, max_length=200)
    tags: dict[str, str] = Field(
        default_factory=dict, description="customer, feature, task_type, user, kind, and own: x_…"
    )
    session: str = Field(default="", max_length=200)
    priority: int = 0
    deadline: int = Field(default=0, ge=0, description="not worth starting after this; 0 = none")
    subject: str = Field(default="", max_length=200, description="pseudonym of the person it is about")
    behalf: str = Field(default="", max_length=200, description="pseudonym of the person it runs for")
    budget: BudgetGiven | None = None
    max_wait_seconds: float | None = Field(default=None, ge=0, description="refuse when it would wait longer")


class RunBatch(Taken):
    """Several runs in one transaction."""

    runs: Annotated[list[RunSubmit], Field(min_length=1, max_length=BATCH_MAX)]


class RunAccepted(Given):
    """A run that was made, or that its key had made before."""

    id: UUID
    status: str
    created: bool = Field(description="False: the idempotency key had made it before")
    location: str


class BatchAccepted(Given):
    """The runs of a batch, in its order."""

    runs: list[RunAccepted]


class RunLine(Given):
    """A run in a list."""

    id: UUID
    agent: str
    release: str
    environment: str
    status: str = Field(description="queued | running | parked | quarantined | ended")
    shown: str = Field(
        description="what to show: the outcome when ended, else paused | waiting_approval | in_doubt | retrying | "
        "waiting | queued | running | quarantined | stopping"
    )
    outcome: str | None = None
    code: str = ""
    stop: str | None = None
    session: str = ""
    priority: int = 0
    parent: UUID | None = None
    root: UUID
    tags: dict[str, str] = Field(default_factory=dict)
    steps: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    tokens: int = 0
    nano: int = 0
    reserved_nano: int = 0
    open_intents: int = 0
    created_at: int
    ended_at: int | None = None
    wake_at: int | None = None
    waiting: list[Waited] = Field(default_factory=list)


class RunPage(Given):
    """A page of a list, newest first."""

    items: list[RunLine]
    next: str | None = Field(default=None, description="cursor of the next page; None = this is the last")
    looked_to: int | None = Field(
        default=None,
        description="the page ends early because enough runs were looked at: nothing is known yet of those submitted "
        "before this time; ``next`` goes on there",
    )
    read_as: str = Field(default="", description="how ``q`` was understood: id | session | customer | tag")
    as_of: int = Field(description="the journal's clock when the list was read")


class Content(Given):
    """A piece of content. Long ones are cut here: the whole is at ``/v1/runs/{id}/payloads/{ref}``."""

    ref: str = Field(default="", description="commitment; empty for what is stored in the event itself")
    size: int = Field(description="bytes of the whole, as UTF-8 JSON or text")
    cut: bool = Field(default=False, description="value holds only the first bytes, as text")
    value: Any = None
    hidden: str = Field(default="", description="why there is no value: forbidden | erased | archived | missing")


class BudgetShown(Given):
    """The limits that a run was given; 0 = none of that kind."""

    tokens: int = 0
    nano: int = 0
    steps: int = 0
    calls: int = 0
    attempts: int = 0
    seconds: float = 0


class RunShown(RunLine):
    """One run, whole but for its calls."""

    goal: str = Field(default="", description="the input in one line")
    sentence: str = Field(default="", description="how it stands, in one sentence a stranger understands")
    input: Content | None = None
    output: Content | None = None
    reason: str = ""
    missing: list[str] = Field(default_factory=list)
    needed: list[str] = Field(default_factory=list)
    first_cause: str = ""
    budget: BudgetShown = BudgetShown()
    used: Amounts = Amounts()
    simulated: bool = False
    last_seq: int = 0
    head: str = Field(default="", description="hash of the last event, hex")
    actor: str = ""
    behalf: str = ""
    place: int | None = Field(default=None, description="how many runs of its queue come before it, while queued")
    expected_wait: int | None = Field(default=None, description="microseconds, while queued")
    answers: list["AnswerShown"] = Field(default_factory=list, description="what the caller has been given, in order")
    command: str = Field(default="", description="the command line that shows the same")


class AnswerShown(Given):
    """An answer that went out to the caller."""

    at: int
    kind: str = Field(description="provisional | withdrawn | confirmed | replaced | final")
    run: UUID = Field(description="the run that gave it")
    content: Content | None = None


class EventShown(Given):
    """One event of the journal, as it is stored."""

    seq: int
    at: int = Field(description="the store's time of the commit")
    hash: str = Field(description="hex")
    line: str = Field(description="the event in words")
    body: dict[str, Any]


class EventPage(Given):
    """Events in order."""

    items: list[EventShown]
    next: int | None = Field(default=None, description="``after`` of the next page")


class ResultShown(Given):
    """What came of a run."""

    id: UUID
    agent: str
    outcome: str
    code: str = ""
    reason: str = ""
    output: Any = None
    hidden: str = Field(default="", description="why there is no output: forbidden | archived | missing")
    missing: list[str] = Field(default_factory=list)
    needed: list[str] = Field(default_factory=list)
    used: Amounts = Amounts()
    simulated: bool = False
    ended_at: int


class ResultPage(Given):
    """Results in the order in which runs ended. ``next`` is always there: ask again with it for those that come."""

    items: list[ResultShown]
    next: str


class Facet(Given):
    """A value, and how often it occurs among the runs that the filter finds, and among the others of that time."""

    value: str
    count: int
    share: float = Field(description="of the runs found, 0 to 1")
    elsewhere: float = Field(description="share among the other runs of the same time, 0 to 1")


class Facets(Given):
    """What the found runs share."""

    found: int
    others: int = Field(default=0, description="runs of the same time that the filter does not find")
    sampled: bool = Field(default=False, description="True: counted over the newest 10,000 found and as many others")
    agent: list[Facet] = Field(default_factory=list)
    release: list[Facet] = Field(default_factory=list)
    outcome: list[Facet] = Field(default_factory=list)
    code: list[Facet] = Field(default_factory=list)
    customer: list[Facet] = Field(default_factory=list)
    feature: list[Facet] = Field(default_factory=list)
    task_type: list[Facet] = Field(default_factory=list)
    histogram: list["TimeBin"] = Field(default_factory=list)


class TimeBin(Given):
    """Runs submitted in one bin of time, by how they stand."""

    at: int
    width: int
    counts: dict[str, int]


class Reason(Taken):
    """Why somebody steers a run."""

    reason: Words = ""


class Steered(Given):
    """A stop of one run that is in force."""

    run: UUID
    sealed: bool
    at: int
    open_intents: int


class Retried(Given):
    """The new run that was made from an ended one: same agent and input, a new history."""

    id: UUID
    of: UUID
    location: str


class EventGiven(Taken):
    """An event for a run that waits for it, or will."""

    name: Name
    value: Any = None
    dedup: str = Field(default="", max_length=200, description="the same again is not a second event")


class EventTaken(Given):
    """The event is in the run's inbox, durable."""

    run: UUID
    delivered: bool = Field(description="False: it was sent before")


class ReplayShown(Given):
    """What came of replaying a run's record against the agent's code of today: no call, no write."""

    run: UUID
    same: bool
    events: int
    divergence: dict[str, Any] | None = None
