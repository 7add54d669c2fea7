"""One call of a run as a span: what was asked, what came of it, and everything the gates said on the way."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from penstock.events import (
    ANSWERED,
    Amount,
    ApprovalDecided,
    ApprovalEdited,
    ApprovalRequested,
    ChildIntent,
    ChildOutcome,
    ControlApplied,
    DecisionRecorded,
    DocumentIntent,
    DocumentRead,
    DocumentWritten,
    Event,
    LimitReached,
    MessageReceived,
    MessageSent,
    ModelIntent,
    ModelOutcome,
    NoteRecorded,
    RuleVerdict,
    RunAdopted,
    RunClaimed,
    RunContinued,
    RunEnded,
    RunHandedBack,
    RunParked,
    RunPatched,
    RunSubmitted,
    StageEnded,
    TimerFired,
    TimerSet,
    ToolDoubted,
    ToolIntent,
    ToolOutcome,
    Totals,
    VerdictRecorded,
    WaitBegun,
    WaitEnded,
)
from penstock.events.messages import Message, Thinking, ToolCall
from penstock.views.cached import source_words
from penstock.views.contents import Contents, Missing
from penstock.views.document_span import take_document
from penstock.views.standing import BEGUN, UNFINISHED, standing_after

if TYPE_CHECKING:
    from penstock.views.trace import Trace

MARKS = (
    RunSubmitted,
    RunClaimed,
    RunParked,
    RunHandedBack,
    RunAdopted,
    RunContinued,
    RunEnded,
    LimitReached,
    ControlApplied,
    MessageReceived,
)
"""Events that belong to the run and to no call of it."""


@dataclass(slots=True)
class Mark:
    """Something that happened to the run between its calls."""

    kind: str
    path: str
    seq: int
    at: int
    words: str
    payloads: dict[str, Any] = field(default_factory=dict)  # such as the two calls of a divergence


@dataclass(slots=True)
class Attempt:
    """One intent and its outcome. Times in microseconds, money in nano-dollars."""

    number: int
    started_at: int
    status: str = "open"
    ended_at: int = 0
    latency: int = 0
    reserved: Amount = Amount()
    used: Amount = Amount()
    at_maximum: bool = False
    because: str = ""
    failure: str = ""
    doubt: str = ""  # why it was in doubt, and the tool's declared way to settle that
    settled_by: str = ""


@dataclass(slots=True)
class ApprovalSpan:
    """A question to a person. ``waited`` is in microseconds, 0 while it waits."""

    id: str
    question: str
    risk: str
    asked_at: int
    expires: int
    decision: str = ""
    decided_at: int = 0
    actor: str = ""
    reason: Any = None
    waited: int = 0


@dataclass(slots=True)
class Span:
    """One call, or a group of parallel branches."""

    path: str
    kind: str  # model | tool | child | timer | note | patch | decision | message | wait | stage | gather
    name: str
    status: str
    seq: int  # of its first event
    started_at: int
    ended_at: int = 0  # 0 = not yet
    input: Any = None
    output: Any = None
    reasoning: list[str] = field(default_factory=list)
    asks: list[dict[str, str]] = field(default_factory=list)  # tool calls in a model's answer
    error: str = ""
    used: Amount = Amount()
    simulated: bool = False
    about: dict[str, str] = field(default_factory=dict)  # effect, risk, purpose, finish, ...
    verdicts: list[RuleVerdict] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    approvals: list[ApprovalSpan] = field(default_factory=list)
    child: UUID | None = None
    trace: "Trace | None" = None
    spans: list["Span"] = field(default_factory=list)

    @property
    def duration(self) -> int:
        """Microseconds from its first event to its last; 0 while it is open."""
        return max(0, self.ended_at - self.started_at) if self.ended_at else 0


def span_of(path: str, events: Sequence[Event], contents: Contents) -> Span:
    """The span of the events that share a path."""
    first = events[0]
    span = Span(path, *BEGUN, first.seq, first.at)
    for event in events:
        span.kind, span.name, span.status = standing_after(event, (span.kind, span.name, span.status))
        _take(span, event, contents)
    if span.status not in UNFINISHED:
        span.ended_at = events[-1].at
    return span


def _take(span: Span, event: Event, contents: Contents) -> None:
    match event:
        case ModelIntent() | ModelOutcome():
            _take_model(span, event, contents)
        case ToolIntent() | ToolDoubted() | ToolOutcome():
            _take_tool(span, event, contents)
        case ApprovalRequested() | ApprovalEdited() | ApprovalDecided():
            _take_approval(span, event, contents)
        case VerdictRecorded():
            span.input = contents.one(event, "args") if "args" in event.payloads else span.input
            _remarks(span, event.verdicts, event.passed)
            span.error = "; ".join(verdict.reason for verdict in event.verdicts if verdict.verdict == "deny")
        case ChildIntent():
            span.child = event.child
            span.input = contents.one(event, "input")
            _remarks(span, event.verdicts, event.passed)
        case ChildOutcome():
            span.output = contents.one(event, "output")
            span.error = event.reason or event.code
            totals = event.totals
            span.used = Amount(tokens_in=totals.tokens_in, tokens_out=totals.tokens_out, nano=totals.nano)
        case _:
            _take_primitive(span, event, contents)


def _take_primitive(span: Span, event: Event, contents: Contents) -> None:
    match event:
        case TimerSet():
            span.input = {"seconds": event.duration / 1e6, "until": event.until}
        case TimerFired():
            span.about["late_us"] = str(event.late)
        case NoteRecorded():
            span.error = event.failure.words if event.failure else ""
            span.output = contents.one(event, "value")
        case RunPatched():
            span.output = "new branch" if event.taken else "old branch"
        case DecisionRecorded():
            span.output = contents.one(event, "decision")
            if event.confidence is not None:
                span.about["confidence"] = f"{event.confidence:.2f}"
            if event.facts:
                span.about["facts"] = ", ".join(f"{fact.source} ({fact.age / 1e6:.0f} s old)" for fact in event.facts)
        case StageEnded():
            span.error = event.failure.words if event.failure else ""
            span.output = contents.one(event, "value")
        case MessageSent():
            span.input = contents.one(event, "body")
            span.about["to"] = str(event.to_run)
        case WaitBegun() | WaitEnded():
            _take_wait(span, event, contents)
        case DocumentRead() | DocumentIntent() | DocumentWritten():
            take_document(span, event, contents)
        case _:
            pass


def _take_wait(span: Span, event: WaitBegun | WaitEnded, contents: Contents) -> None:
    if isinstance(event, WaitBegun):
        span.input = {"until": event.until} if event.until else None
        return
    span.error = event.reason if event.status != "ended" or event.outcome != "succeeded" else ""
    span.output = contents.one(event, "value") if "value" in event.payloads else None
    span.simulated |= event.simulated
    if event.outcome:
        span.about["outcome"] = event.outcome


def _take_model(span: Span, event: ModelIntent | ModelOutcome, contents: Contents) -> None:
    if isinstance(event, ModelIntent):
        span.input = contents.messages(event, "messages")
        span.about["purpose"] = event.purpose
        if event.prefix_count:
            span.about["follows"] = f"the {event.prefix_count} messages of call {event.prefix_path}"
        if event.shortened:
            span.about["prompt"] = "shortened: the middle of the conversation was left out"
        _remarks(span, event.verdicts, event.passed)
        span.attempts.append(Attempt(event.attempt, event.at, reserved=event.reserved, because=event.because))
        return
    attempt = _attempt(span, event.attempt, event.at)
    attempt.used, attempt.at_maximum = event.used, event.at_maximum
    _end(attempt, event)
    span.error = "" if event.status in ANSWERED else attempt.failure
    if event.source is not None:
        span.about["served by"] = source_words(event.source)
    span.used = span.used.plus(event.used)
    span.simulated |= event.simulated
    if event.finish:
        span.about["finish"] = event.finish
    message = contents.one(event, "response")
    if isinstance(message, Message):
        span.reasoning = [part.text for part in message.parts if isinstance(part, Thinking)]
        span.output = message.text or None
        span.asks = [
            {"id": part.id, "name": part.name, "args": part.args}
            for part in message.parts
            if isinstance(part, ToolCall)
        ]
    elif isinstance(message, Missing):
        span.output = message


def _take_tool(span: Span, event: ToolIntent | ToolDoubted | ToolOutcome, contents: Contents) -> None:
    if isinstance(event, ToolIntent):
        span.input = contents.one(event, "args")
        span.about |= {"effect": event.effect, "risk": event.risk}
        if event.key:
            span.about["key"] = event.key
        if event.binding:
            span.about["bound to"] = event.binding
        _remarks(span, event.verdicts, event.passed)
        span.attempts.append(Attempt(event.attempt, event.at, reserved=event.reserved, because=event.because))
        return
    attempt = _attempt(span, event.attempt, event.at)
    if isinstance(event, ToolDoubted):
        attempt.doubt = f"{event.cause}, to be settled by {event.way}"
        return
    attempt.used, attempt.settled_by = event.used, event.settled_by
    _end(attempt, event)
    span.error = "" if event.status in ("ok", "happened") else attempt.failure
    if event.source is not None:
        span.about["served by"] = source_words(event.source)
    span.used = span.used.plus(event.used)
    span.output = contents.one(event, "result") if "result" in event.payloads else contents.one(event, "error")


def _take_approval(span: Span, event: ApprovalRequested | ApprovalEdited | ApprovalDecided, contents: Contents) -> None:
    if isinstance(event, ApprovalRequested):
        span.input = contents.one(event, "args")
        span.about["risk"] = event.risk
        _remarks(span, event.verdicts, [])
        span.approvals.append(ApprovalSpan(event.approval, event.question, event.risk, event.at, event.expires))
        return
    for approval in span.approvals:
        if approval.id == event.approval:
            said = "edit" if isinstance(event, ApprovalEdited) else event.decision
            approval.decision, approval.decided_at, approval.actor = said, event.at, _who(event)
            approval.reason = contents.one(event, "reason")
            approval.waited = max(0, event.at - approval.asked_at)


def _who(event: ApprovalEdited | ApprovalDecided) -> str:
    several = event.people if isinstance(event, ApprovalDecided) else []
    return " and ".join(several) or event.actor


def _attempt(span: Span, number: int, at: int) -> Attempt:
    for attempt in reversed(span.attempts):
        if attempt.number == number:
            return attempt
    span.attempts.append(Attempt(number, at))
    return span.attempts[-1]


def _end(attempt: Attempt, event: ModelOutcome | ToolOutcome) -> None:
    attempt.status, attempt.ended_at, attempt.latency = event.status, event.at, event.latency
    if event.failure is not None:
        attempt.failure = event.failure.words or event.failure.code


def _remarks(span: Span, verdicts: Sequence[RuleVerdict], passed: Sequence[str]) -> None:
    """Each remark once: a call that is attempted again is judged again."""
    span.verdicts += [verdict for verdict in verdicts if verdict not in span.verdicts]
    span.passed = list(passed) or span.passed


def totals_of(events: Sequence[Event]) -> tuple[Totals, bool]:
    """What a run that has not ended has used so far, children included; whether a simulated model took part."""
    steps = model_calls = tool_calls = attempts = at_maximum = 0
    used = Amount()
    simulated = False
    for event in events:
        match event:
            case ModelIntent():
                model_calls += 1
                attempts += 1
                steps += event.attempt == 1
            case ToolIntent():
                attempts += 1
                tool_calls += event.attempt == 1
            case ChildIntent():
                tool_calls += 1
            case ModelOutcome() | ToolOutcome():
                used = used.plus(event.used)
                if isinstance(event, ModelOutcome):
                    at_maximum += event.used.nano if event.at_maximum else 0
                    simulated |= event.simulated
            case ChildOutcome(totals=totals):
                used = used.plus(Amount(totals.tokens_in, totals.tokens_out, totals.nano))
            case _:
                pass
    return (
        Totals(
            steps=steps,
            model_calls=model_calls,
            tool_calls=tool_calls,
            attempts=attempts,
            tokens_in=used.tokens_in,
            tokens_out=used.tokens_out,
            nano=used.nano,
            nano_at_maximum=at_maximum,
        ),
        simulated,
    )
