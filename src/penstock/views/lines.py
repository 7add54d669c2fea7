"""One line of words for every event: for following a run as it goes, and for the margin of its trace."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from penstock.events import (
    Amount,
    ApprovalDecided,
    ApprovalEdited,
    ApprovalRequested,
    ApprovalVoted,
    ChildIntent,
    ChildOutcome,
    ControlApplied,
    DecisionRecorded,
    DocumentIntent,
    DocumentRead,
    DocumentWritten,
    Event,
    LimitReached,
    MessageDelivered,
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
    StageEntered,
    TimerFired,
    TimerSet,
    ToolDoubted,
    ToolIntent,
    ToolOutcome,
    VerdictRecorded,
    WaitBegun,
    WaitEnded,
    Waiting,
)
from penstock.kernel.money import NANO, show_usd
from penstock.views.cached import source_words
from penstock.views.document_span import document_line

QUESTIONS = {"may_run": "may it run?", "did_it_happen": "did it happen?", "help": "what now?"}
NUDGES = {70: "told to wrap up", 90: "must answer next", 100: "stopped"}
DECISIONS = {
    "approve": "approved",
    "edit": "allowed with other arguments",
    "deny": "denied",
    "expired": "expired: nobody decided in time",
    "withdrawn": "withdrawn",
    "happened": "settled: it happened",
    "did_not_happen": "settled: it did not happen",
    "answer": "answered",
    "stale": "asked anew, for the policy has changed: allowed",
    "void": "asked anew, for who allowed it may not any more: allowed",
}


def event_line(event: Event) -> str:
    """What an event says, without any content of payloads."""
    words: str = _WORDS[type(event)](event)
    return words


def _ended(event: RunEnded) -> str:
    code = f" [{event.code}]" if event.code else ""
    return event.outcome + code + (f": {event.reason}" if event.reason else "")


def _claimed(event: RunClaimed) -> str:
    again = f", claim {event.claims} without progress" if event.claims > 1 else ""
    return f"taken by worker {event.worker_name}{again}"


def _asked(event: ApprovalRequested) -> str:
    question = QUESTIONS.get(event.question, event.question)
    people = f", {event.terms.count} people" if event.terms is not None and event.terms.count > 1 else ""
    return f"{event.tool} waits for a person: {question} ({event.approval}{people})"


def _verdict(event: VerdictRecorded) -> str:
    return f"{event.gate} {event.name} {event.verdict}: {'; '.join(verdict_words(v) for v in event.verdicts)}"


def _decided(event: DecisionRecorded) -> str:
    sure = "" if event.confidence is None else f", confidence {event.confidence:.2f}"
    return f"decided {event.name}: option {event.chosen + 1} of {event.options}{sure}"


def _model_line(event: ModelIntent | ModelOutcome) -> str:
    if isinstance(event, ModelIntent):
        instead = f" instead of {event.instead_of}" if event.instead_of else ""
        hedge = " beside the attempt before" if event.because == "hedge" else ""
        return f"asks {event.model}{instead}{hedge}{_attempt(event.attempt)}, at most {amount_words(event.reserved)}"
    words = f"answers in {duration(event.latency)}, {amount_words(event.used)}"
    if event.source is not None:
        return f"is given {source_words(event.source)}, which saves {show_usd(event.saved_nano)}"
    if event.status != "ok":
        failure = f": {event.failure.words or event.failure.code}" if event.failure else ""
        words = f"{event.status}{failure}, {amount_words(event.used)}"
    return (
        words + (" (charged at the maximum)" if event.at_maximum else "") + (" (simulated)" if event.simulated else "")
    )


def _tool_line(event: ToolIntent | ToolDoubted | ToolOutcome) -> str:
    if isinstance(event, ToolIntent):
        return f"calls {event.tool}{_attempt(event.attempt)} ({event.effect}, {event.risk} risk)"
    if isinstance(event, ToolDoubted):
        return f"{event.tool} is in doubt after a {event.cause}; not settled before {clock_time(event.settle_at)}"
    failure = f": {event.failure.words or event.failure.code}" if event.failure else ""
    if event.source is not None:
        return f"is given {source_words(event.source)}"
    settled = f", settled by {event.settled_by}" if event.settled_by else ""
    return f"{event.status}{failure}{settled}, {duration(event.latency)}"


def _child_line(event: ChildIntent | ChildOutcome) -> str:
    if isinstance(event, ChildIntent):
        return f"delegates to {event.child_agent} (run {event.child})"
    return f"child {event.outcome}" + (f": {event.reason or event.code}" if event.code or event.reason else "")


def _awaited(event: WaitBegun) -> str:
    if event.what == "run":
        return f"the end of run {event.target}"
    sender = f" from run {event.target}" if event.target else ""
    return f"the event {event.name}" + (f" of {event.key}" if event.key else sender)


def _wait_ended(event: WaitEnded) -> str:
    match event.status:
        case "received":
            return f"received it from {event.sender or 'outside'}"
        case "ended":
            return f"run {event.target} ended as {event.outcome}" + (f": {event.reason}" if event.reason else "")
        case "timed_out":
            return "waited in vain: the time is over"
        case "cycle":
            return f"refused: these runs would wait for each other for ever: {', '.join(map(str, event.circle))}"
    return f"there is no run {event.target}"


def _attempt(number: int) -> str:
    return f", attempt {number}" if number > 1 else ""


def verdict_words(verdict: RuleVerdict) -> str:
    """A rule's remark: rule and version, its answer, its reason."""
    return f"{verdict.rule}@{verdict.version} {verdict.verdict}" + (f": {verdict.reason}" if verdict.reason else "")


def limit_words(event: LimitReached) -> str:
    """Which threshold was crossed, and what follows from it."""
    if event.limit == "loop":
        return f"{event.level} % mark: nothing new comes back; {NUDGES.get(event.level, 'noted')}"
    used, of = f"{event.used:,g}", f"{event.of:,g}"
    if event.limit == "usd":
        used, of = show_usd(round(event.used * NANO)), show_usd(round(event.of * NANO))
    how_far = f"{used} of {of} {event.limit}" if event.of else event.limit
    return f"{event.level} % mark: {how_far} used; {NUDGES.get(event.level, 'noted')}"


def waiting_words(waiting: Waiting) -> str:
    """What a parked run waits for."""
    match waiting.kind:
        case "approval":
            words = f"approval {waiting.id} of {waiting.name}"
        case "doubt" if not waiting.id:
            words = f"the first call of {waiting.name} to be over"
        case "doubt":
            words = f"a person to say whether {waiting.name} happened (approval {waiting.id})"
        case "child":
            words = f"child {waiting.id} of {waiting.name}"
        case "timer":
            words = "a timer"
        case "rate":
            words = f"its turn under the limits of {waiting.name}"
        case "breaker":
            words = f"the circuit breaker of {waiting.name} to let it through"
        case "stop":
            words = f"the stop of the tool {waiting.name} to be lifted"
        case "resource":
            words = f"another run to be done with what {waiting.name} is to change"
        case "budget":
            words = f"room in the budget {waiting.name}"
        case "event":
            words = f"the event {waiting.name}" + (f" of {waiting.id}" if waiting.id else "")
        case "run":
            words = f"the end of run {waiting.id}"
        case _:
            words = f"{waiting.kind} {waiting.name}".strip()
    return words + (f" until {clock_time(waiting.until)}" if waiting.until else "")


def amount_words(amount: Amount) -> str:
    """Tokens and money of a call."""
    return f"{amount.tokens_in:,}+{amount.tokens_out:,} tokens, {show_usd(amount.nano)}"


def duration(microseconds: int) -> str:
    """A duration in the unit that suits it."""
    if microseconds < 1000:
        return f"{max(microseconds, 0)} µs"
    if microseconds < 1_000_000:
        return f"{microseconds / 1000:.3g} ms"
    seconds = microseconds / 1e6
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes = seconds / 60
    if minutes < 120:
        return f"{minutes:.3g} min"
    return f"{minutes / 60:.3g} h" if minutes < 48 * 60 else f"{minutes / 1440:.3g} days"


def clock_time(microseconds: int) -> str:
    """A moment, UTC, to the second; '-' for none."""
    if not microseconds:
        return "-"
    return datetime.fromtimestamp(microseconds / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


_WORDS: dict[type[Event], Callable[[Any], str]] = {
    RunSubmitted: lambda event: f"submitted by {event.actor or 'unknown'}",
    RunClaimed: _claimed,
    RunParked: lambda event: f"parked: waits for {', '.join(map(waiting_words, event.waiting)) or 'its inbox'}",
    RunHandedBack: lambda event: f"handed back: {event.reason}",
    RunAdopted: lambda event: f"adopted from release {event.from_release} to {event.to_release}",
    RunPatched: lambda event: f"patch {event.patch}: {'new' if event.taken else 'old'} branch",
    RunContinued: lambda event: f"goes on as run {event.next_run}",
    RunEnded: _ended,
    ModelIntent: _model_line,
    ModelOutcome: _model_line,
    ToolIntent: _tool_line,
    ToolDoubted: _tool_line,
    ToolOutcome: _tool_line,
    DecisionRecorded: _decided,
    VerdictRecorded: _verdict,
    ApprovalRequested: _asked,
    ApprovalVoted: lambda event: (
        f"a vote that does not count: {event.problem}"
        if event.problem
        else f"allowed by {event.actor}{f' for {event.behalf}' if event.behalf else ''}"
    ),
    ApprovalEdited: lambda event: f"allowed with other arguments by {event.actor}",
    ApprovalDecided: lambda e: (
        f"asked anew, for what was delivered is no decision: {e.problem}"
        if e.problem
        else f"{DECISIONS.get(e.decision, e.decision)} by {e.actor or 'nobody'}"
    ),
    ChildIntent: _child_line,
    ChildOutcome: _child_line,
    MessageSent: lambda event: f"sent {event.topic} to run {event.to_run}",
    MessageReceived: lambda event: f"received {event.topic}",
    MessageDelivered: lambda event: f"message {event.status}",
    WaitBegun: lambda event: f"waits for {_awaited(event)}",
    WaitEnded: _wait_ended,
    TimerSet: lambda event: (
        f"{'has' if event.name == 'timeout' else 'sleeps'} {duration(event.duration)}, until {clock_time(event.until)}"
    ),
    TimerFired: lambda event: (
        ("what was cut short has ended" if event.settled else "its time is over")
        + (f", {duration(event.late)} late" if event.late else "")
    ),
    LimitReached: limit_words,
    ControlApplied: lambda event: f"{event.action} of {event.scope} by {event.actor}",
    NoteRecorded: lambda event: f"recorded {event.name}" + (f": {event.failure.words}" if event.failure else ""),
    DocumentRead: document_line,
    DocumentIntent: document_line,
    DocumentWritten: document_line,
    StageEntered: lambda event: f"begins stage {event.name}",
    StageEnded: lambda event: f"{event.name} ended" + (f": {event.failure.words}" if event.failure else ""),
}
