"""The run page: the skeleton of all spans in columns, one span in detail, comparison of two runs."""

from typing import Any
from uuid import UUID

from pydantic import Field

from penstock.server.schemas.base import Amounts, Given, RuleSaid
from penstock.server.schemas.runs import Content


class SpanColumns(Given):
    """All spans of a run, one list a column, in order of ``seq``; the same index is the same span.

    ``kind``, ``name``, ``status`` and ``verdict`` are indices into the lists of words beside them.
    """

    path: list[str]
    parent: list[int] = Field(description="index of the span it belongs to; -1 = the run")
    kind: list[int]
    name: list[int]
    status: list[int]
    verdict: list[int] = Field(description="the worst verdict of its gates: allow 0 | flag 1 | hold 2 | deny 3")
    seq: list[int] = Field(description="of its first event")
    end_seq: list[int] = Field(description="of its last event so far")
    start: list[int] = Field(description="microseconds after the run's submission")
    duration: list[int] = Field(description="microseconds; -1 = it has not ended")
    tokens: list[int]
    nano: list[int]
    attempts: list[int]
    same: list[int] = Field(description="number of the group of calls with the same name and arguments; 0 = alone")
    child: dict[int, UUID] = Field(default_factory=dict, description="index → the child run")


class CriticalPart(Given):
    """A stretch of the critical path."""

    span: int = Field(description="index; -1 = the queue, or no span")
    part: str = Field(description="queue | model | tool | approval | wait | engine")
    start: int
    duration: int


class BudgetPoint(Given):
    """What was used and reserved after an event."""

    seq: int
    at: int = Field(description="microseconds after the run's submission")
    nano: int
    reserved_nano: int
    tokens: int
    steps: int


class BudgetMark(Given):
    """A threshold that was crossed, and by which call."""

    level: int = Field(description="70 | 90 | 100")
    resource: str = Field(description="money | tokens | steps | calls | attempts | seconds")
    seq: int
    span: int


class LoopShown(Given):
    """Calls repeated without anything new."""

    name: str
    spans: list[int]
    nano: int
    tokens_growth: float = Field(description="prompt tokens of the last over those of the first")
    said: str = Field(description="in words")


class RunMark(Given):
    """Something that happened to the run between its calls."""

    kind: str
    seq: int
    at: int
    words: str


class Trace(Given):
    """The skeleton of a run: everything the waterfall draws, without content."""

    run: UUID
    agent: str
    as_of_seq: int
    submitted_at: int
    ended: bool
    total: int = Field(description="microseconds from submission to the end, or to now")
    kinds: list[str]
    names: list[str]
    statuses: list[str]
    spans: SpanColumns
    critical: list[CriticalPart]
    critical_share: dict[str, float] = Field(description="part → share of the total, 0 to 1")
    budget: list[BudgetPoint] = Field(description="at most 2,000 points; the extremes are kept")
    marks: list[BudgetMark]
    loops: list[LoopShown]
    events: list[RunMark]
    children: list["ChildShown"] = Field(default_factory=list)
    sentence: str = Field(default="", description="what happened, in one sentence that a stranger understands")


class ChildShown(Given):
    """A run that this one delegated to, for the tree of agents."""

    run: UUID
    parent: UUID
    agent: str
    path: str
    status: str
    outcome: str | None = None
    nano: int = 0
    first_failed: bool = False


class AttemptShown(Given):
    """One attempt of a call."""

    number: int
    status: str
    started_at: int
    ended_at: int = 0
    latency: int = 0
    reserved: Amounts = Amounts()
    used: Amounts = Amounts()
    at_maximum: bool = False
    because: str = ""
    failure: str = ""
    doubt: str = ""
    settled_by: str = ""


class AskedPerson(Given):
    """A question to a person that the call gave rise to."""

    id: str
    question: str
    risk: str
    asked_at: int
    expires: int
    decision: str = ""
    decided_at: int = 0
    actor: str = ""
    reason: str = ""


class SpanShown(Given):
    """One span with its content."""

    path: str
    kind: str
    name: str
    status: str
    seq: int
    started_at: int
    ended_at: int = 0
    sentence: str = Field(default="", description="what happened, in one sentence")
    input: Content | None = None
    output: Content | None = None
    reasoning: list[str] = Field(default_factory=list)
    asks: list[dict[str, str]] = Field(default_factory=list, description="tool calls in a model's answer")
    error: str = ""
    used: Amounts = Amounts()
    cached: int = 0
    simulated: bool = False
    about: dict[str, str] = Field(default_factory=dict)
    verdicts: list[RuleSaid] = Field(default_factory=list)
    passed: list[str] = Field(default_factory=list, description="rules that allowed without a remark, name@version")
    attempts: list[AttemptShown] = Field(default_factory=list)
    approvals: list[AskedPerson] = Field(default_factory=list)
    decision: dict[str, Any] | None = Field(default=None, description="options, chosen, why, facts; None: not stated")
    same_as: list[str] = Field(default_factory=list, description="paths of calls with the same name and arguments")
    child: UUID | None = None
    command: str = ""


class DiffRow(Given):
    """A pair of calls of two runs at the same place, or one that the other has not."""

    place: str = Field(description="same | changed | only_left | only_right")
    left: int | None = Field(default=None, description="index in the left run's trace")
    right: int | None = None
    differs: list[str] = Field(default_factory=list, description="what differs: input, output, status, model, ...")


class RunDiff(Given):
    """Two runs, call by call."""

    left: UUID
    right: UUID
    first: int | None = Field(description="index of the first row that differs; None: they are the same")
    rows: list[DiffRow] = Field(description="rows before the first difference are left out but for the last five")
    skipped: int = Field(description="equal rows left out at the beginning")
    more: int = Field(default=0, description="rows left out at the end: at most 20,000 are given")
    nano: int = Field(description="right less left")
    duration: int
    steps: int
