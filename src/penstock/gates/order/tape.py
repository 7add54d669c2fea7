"""The tape: what a run's journal says happened, arranged for giving it back call by call."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from penstock.events import (
    ApprovalDecided,
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
    MessageDelivered,
    MessageReceived,
    MessageSent,
    ModelIntent,
    ModelOutcome,
    NoteRecorded,
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
    ToolIntent,
    ToolOutcome,
    VerdictRecorded,
    WaitBegun,
    WaitEnded,
    decode,
)
from penstock.kernel.errors import EventUnreadable
from penstock.ports.records import Row

_OUTSIDE_CALLS = (
    RunSubmitted,
    RunClaimed,
    RunParked,
    RunHandedBack,
    RunAdopted,
    RunEnded,
    LimitReached,
    ControlApplied,
    MessageReceived,
)
NOT_APPROVED = ("deny", "expired", "withdrawn")
"""Decisions that end a call without making it."""
ANSWERED = "answer"
"""The decision that ends a call with a person's own words."""
_ALWAYS_LAST = (
    VerdictRecorded,
    ChildOutcome,
    TimerFired,
    NoteRecorded,
    RunPatched,
    RunContinued,
    DecisionRecorded,
    MessageDelivered,
    WaitEnded,
    StageEnded,
    DocumentRead,
    DocumentWritten,
)


class Identity(msgspec.Struct, frozen=True, gc=False):
    """What a call is known by, besides its path."""

    kind: str  # model | tool | child | timer | note | patch | decision | message | wait | stage | continue
    # document read | document write
    name: str
    digest: str


def is_last(event: Event) -> bool:
    """Whether the agent saw the call end with this event."""
    if isinstance(event, ModelOutcome | ToolOutcome):
        return not event.again
    if isinstance(event, ApprovalDecided):
        return event.decision in NOT_APPROVED or event.decision == ANSWERED
    return isinstance(event, _ALWAYS_LAST)


def is_begin(event: Event) -> bool:
    """Whether the event opens a time-out: what goes on inside it starts in its turn, as if it were an outcome."""
    return isinstance(event, TimerSet) and event.name == "timeout"


def is_in_doubt(events: Sequence[Event]) -> bool:
    """Whether an attempt of a call has no outcome yet, whatever was asked about it since."""
    return bool(open_intents(events))


def open_intents(events: Sequence[Event]) -> list[ModelIntent | ToolIntent]:
    """The attempts of a call that have no outcome yet: one, or two when it was hedged."""
    found: dict[int, ModelIntent | ToolIntent] = {}
    for event in events:
        if isinstance(event, ModelIntent | ToolIntent):
            found[event.attempt] = event
        elif isinstance(event, ModelOutcome | ToolOutcome):
            found.pop(event.attempt, None)
    return list(found.values())


_IDENTITIES: dict[type[Event], Callable[[Any], Identity]] = {
    ModelIntent: lambda event: Identity("model", event.instead_of or event.model, event.digest),
    ToolIntent: lambda event: Identity("tool", event.tool, event.digest),
    ApprovalRequested: lambda event: Identity("tool", event.tool, event.call_digest),
    VerdictRecorded: lambda event: Identity(event.gate, event.name, event.digest),
    ChildIntent: lambda event: Identity("child", event.child_agent, event.digest),
    TimerSet: lambda event: Identity("timer", event.name, str(event.duration)),
    NoteRecorded: lambda event: Identity("note", event.name, event.digest),
    RunContinued: lambda event: Identity("continue", event.agent, event.digest),
    RunPatched: lambda event: Identity("patch", event.patch, ""),
    DecisionRecorded: lambda event: Identity("decision", event.name, ""),
    MessageSent: lambda event: Identity("message", event.topic, event.digest),
    WaitBegun: lambda event: Identity("wait", event.name or event.what, event.digest),
    StageEntered: lambda event: Identity("stage", event.name, ""),
    DocumentRead: lambda event: Identity("document read", f"{event.of} {event.name}", ""),
    DocumentIntent: lambda event: Identity("document write", f"{event.of} {event.name}", event.digest),
}


def identity_of(event: Event) -> Identity | None:
    """The identity that a call's opening event gives it; None for events that open nothing."""
    identity = _IDENTITIES.get(type(event))
    return None if identity is None else identity(event)


@dataclass(slots=True, frozen=True)
class Before:
    """What a tape that is not whole says in place of the events it lacks. Times are the store's, microseconds.

    Attributes:
        kept: the first rows of the tape, so many, are of the part that is lacking.
        size: bytes of that part.
        format: the newest format that it allows.
        active_us: for how long workers were busy with the run before the last claim of that part.
        claimed_at: when that was.
        until: its last event.
    """

    kept: int
    size: int
    format: int
    active_us: int
    claimed_at: int
    until: int


class Tape:
    """A run's events by call path, with the order in which their outcomes were released."""

    def __init__(self, rows: Iterable[Row], before: Before | None = None) -> None:
        """Decode and arrange. With ``before`` the rows are a few of the run's first events, and all after some event.

        Raises:
            EventUnreadable: an event cannot be read, or the first one is not the submission.
        """
        self.calls: dict[str, list[Event]] = {}
        self.committed: dict[int, int] = {}
        """The store's time of each intent, by seq: what settling a doubt is measured from."""
        self.order: deque[str] = deque()
        self.events: list[Event] = []
        self.before = before
        self.size = 0  # bytes of all events
        self._times: list[int] = []
        for row in rows:
            event = decode(row.body)
            self._times.append(row.at or event.at)  # the store's clock: a worker's may jump
            self.events.append(event)
            if before is None or len(self.events) > before.kept:
                self.size += len(row.body)
            if isinstance(event, _OUTSIDE_CALLS):
                continue
            self.calls.setdefault(event.path, []).append(event)
            if isinstance(event, ToolIntent | ModelIntent):
                self.committed[event.seq] = row.at
            if is_last(event) or is_begin(event):
                self.order.append(event.path)
        if not self.events or not isinstance(self.events[0], RunSubmitted):
            raise EventUnreadable("the run's first event is not its submission")
        self.submitted: RunSubmitted = self.events[0]
        self.doubts = {path for path, events in self.calls.items() if is_in_doubt(events)}
        self.continued = any(isinstance(events[-1], RunContinued) for events in self.calls.values())
        """The run goes on in another; at most its end is missing."""
        adoptions = [event for event in self.events if isinstance(event, RunAdopted)]
        self.format = max([self.submitted.format, *(event.format for event in adoptions)])
        if before is not None:
            self.size += before.size
            self.format = max(self.format, before.format)
        self.accepted_seq = max((event.seq for event in adoptions if event.arguments), default=0)
        """Calls that had ended before this event may have been made with other arguments: a person accepted that."""

    def accepts(self, recorded: Sequence[Event], known: Identity, made: Identity) -> bool:
        """Whether a recorded call may stand for one that is made with other arguments."""
        same = (known.kind, known.name) == (made.kind, made.name)
        return same and is_last(recorded[-1]) and recorded[-1].seq < self.accepted_seq

    def clear(self) -> None:
        """Let go of all events; nobody looks at the tape any more."""
        self.events.clear()
        self.calls.clear()
        self.order.clear()
        self._times.clear()

    @property
    def ended(self) -> RunEnded | None:
        last = self.events[-1]
        return last if isinstance(last, RunEnded) else None

    def active_us(self) -> int:
        """Microseconds in which some worker was busy with the run: from each claim to its last event."""
        total = begun = latest = skipped = 0
        if self.before is not None:
            total, begun, latest = self.before.active_us, self.before.claimed_at, self.before.until
            skipped = self.before.kept
        for event, at in zip(self.events[skipped:], self._times[skipped:], strict=True):
            if isinstance(event, RunClaimed):
                total += max(0, latest - begun) if begun else 0
                begun = at
            latest = at
        return total + (max(0, latest - begun) if begun else 0)
