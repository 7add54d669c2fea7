"""The tape: what a run's journal says happened, arranged for giving it back call by call."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from penstock.events import (
    ApprovalDecided,
    ApprovalRequested,
    ChildIntent,
    ChildOutcome,
    ControlApplied,
    DecisionRecorded,
    Event,
    LimitReached,
    MessageReceived,
    MessageSent,
    ModelIntent,
    ModelOutcome,
    NoteRecorded,
    RunClaimed,
    RunEnded,
    RunHandedBack,
    RunParked,
    RunPatched,
    RunSubmitted,
    TimerFired,
    TimerSet,
    ToolIntent,
    ToolOutcome,
    VerdictRecorded,
    decode,
)
from penstock.kernel.errors import EventUnreadable
from penstock.ports.records import Row

_OUTSIDE_CALLS = (
    RunSubmitted,
    RunClaimed,
    RunParked,
    RunHandedBack,
    RunEnded,
    LimitReached,
    ControlApplied,
    MessageReceived,
)
NOT_APPROVED = ("deny", "expired", "withdrawn")
"""Decisions that end a call without making it."""
_ALWAYS_LAST = (VerdictRecorded, ChildOutcome, TimerFired, NoteRecorded, RunPatched, DecisionRecorded, MessageSent)


@dataclass(slots=True, frozen=True)
class Identity:
    """What a call is known by, besides its path."""

    kind: str  # model | tool | child | timer | note | patch | decision
    name: str
    digest: str


def is_last(event: Event) -> bool:
    """Whether the agent saw the call end with this event."""
    if isinstance(event, ModelOutcome | ToolOutcome):
        return not event.again
    if isinstance(event, ApprovalDecided):
        return event.decision in NOT_APPROVED
    return isinstance(event, _ALWAYS_LAST)


def is_in_doubt(events: Sequence[Event]) -> bool:
    """Whether a call's last attempt has no outcome yet, whatever was asked about it since."""
    for event in reversed(events):
        if isinstance(event, ModelIntent | ToolIntent):
            return True
        if isinstance(event, ModelOutcome | ToolOutcome):
            return False
    return False


def identity_of(event: Event) -> Identity | None:
    """The identity that a call's opening event gives it; None for events that open nothing."""
    match event:
        case ModelIntent():
            return Identity("model", event.model, event.digest)
        case ToolIntent():
            return Identity("tool", event.tool, event.digest)
        case ApprovalRequested():
            return Identity("tool", event.tool, event.call_digest)
        case VerdictRecorded():
            return Identity(event.gate, event.name, event.digest)
        case ChildIntent():
            return Identity("child", event.child_agent, event.digest)
        case TimerSet():
            return Identity("timer", "sleep", str(event.duration))
        case NoteRecorded():
            return Identity("note", event.name, event.digest)
        case RunPatched():
            return Identity("patch", event.patch, "")
        case DecisionRecorded():
            return Identity("decision", event.name, "")
    return None


class Tape:
    """A run's events by call path, with the order in which their outcomes were released."""

    def __init__(self, rows: Iterable[Row]) -> None:
        """Decode and arrange.

        Raises:
            EventUnreadable: an event cannot be read, or the first one is not the submission.
        """
        self.calls: dict[str, list[Event]] = {}
        self.committed: dict[int, int] = {}
        """The store's time of each intent, by seq: what settling a doubt is measured from."""
        self.order: deque[str] = deque()
        self.events: list[Event] = []
        self.size = 0  # bytes of all events
        self._times: list[int] = []
        for row in rows:
            event = decode(row.body)
            self._times.append(row.at or event.at)  # the store's clock: a worker's may jump
            self.size += len(row.body)
            self.events.append(event)
            if isinstance(event, _OUTSIDE_CALLS):
                continue
            self.calls.setdefault(event.path, []).append(event)
            if isinstance(event, ToolIntent | ModelIntent):
                self.committed[event.seq] = row.at
            if is_last(event):
                self.order.append(event.path)
        if not self.events or not isinstance(self.events[0], RunSubmitted):
            raise EventUnreadable("the run's first event is not its submission")
        self.submitted: RunSubmitted = self.events[0]
        self.doubts = {path for path, events in self.calls.items() if is_in_doubt(events)}

    @property
    def ended(self) -> RunEnded | None:
        last = self.events[-1]
        return last if isinstance(last, RunEnded) else None

    def active_us(self) -> int:
        """Microseconds in which some worker was busy with the run: from each claim to its last event."""
        total = begun = latest = 0
        for event, at in zip(self.events, self._times, strict=True):
            if isinstance(event, RunClaimed):
                total += max(0, latest - begun) if begun else 0
                begun = at
            latest = at
        return total + (max(0, latest - begun) if begun else 0)
