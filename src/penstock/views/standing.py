"""How a call stands after each of its events: what it is, what it is called, and what became of it.

The tree of `runs show` and the waterfall both go by this, so they cannot disagree.
"""

from collections.abc import Callable
from typing import Any

from penstock.events import (
    ApprovalDecided,
    ApprovalEdited,
    ApprovalRequested,
    ApprovalVoted,
    ChildIntent,
    ChildOutcome,
    DecisionRecorded,
    DocumentIntent,
    DocumentRead,
    DocumentWritten,
    Event,
    MessageDelivered,
    MessageSent,
    ModelIntent,
    ModelOutcome,
    NoteRecorded,
    RunPatched,
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
    kind_of,
)

Standing = tuple[str, str, str]
"""``(kind, name, status)``. Kind: model | tool | child | timer | note | patch | decision | message | wait | stage |
document | gather, or the tag of an event that is none of these."""

BEGUN: Standing = ("note", "", "open")
"""Before its first event."""

ENDS = {
    "succeeded": "It succeeded",
    "failed": "It failed",
    "exhausted": "It was stopped by a limit",
    "refused": "It was refused",
    "escalated": "It was handed to a person",
    "cancelled": "It was cancelled",
    "killed": "It was killed",
}
"""How a run of each outcome ended, in words."""

UNFINISHED = frozenset({"open", "waiting", "in_doubt"})
"""Statuses of a call that is not over."""

NOT_APPROVED = frozenset({"deny", "expired", "withdrawn"})
ANSWERED = "answer"


def standing_after(event: Event, before: Standing) -> Standing:
    """How the call stands after a further event of it."""
    rule = _AFTER.get(type(event))
    return rule(event, before) if rule is not None else (kind_of(event), before[1], "ok")


def _outcome(event: ModelOutcome | ToolOutcome, before: Standing) -> Standing:
    status = "ok" if event.status == "cached" else event.status
    return before[0], before[1], "open" if event.again else status


def _failed_or_ok(event: NoteRecorded | StageEnded) -> str:
    return "error" if event.failure else "ok"


def _written(event: DocumentRead | DocumentWritten) -> Standing:
    fine = event.status in ("ok", "absent", "erased", "written")
    return "document", f"{event.of} {event.name}", "ok" if fine else event.status


def _wait_ended(event: WaitEnded, before: Standing) -> Standing:
    kind = "wait" if before[0] == "note" else before[0]
    return kind, before[1], "ok" if event.status in ("received", "ended") else event.status


def _decided(event: ApprovalDecided, before: Standing) -> Standing:
    ends = {ANSWERED: "ok", **dict.fromkeys(NOT_APPROVED, "denied")}
    return before[0], before[1], ends.get(event.decision, "open")


_AFTER: dict[type[Event], Callable[[Any, Standing], Standing]] = {
    ModelIntent: lambda event, before: ("model", event.model, "open"),
    ModelOutcome: _outcome,
    ToolIntent: lambda event, before: ("tool", event.tool, "open"),
    ToolDoubted: lambda event, before: (before[0], before[1], "in_doubt"),
    ToolOutcome: _outcome,
    ApprovalRequested: lambda event, before: ("tool", event.tool, "waiting"),
    ApprovalVoted: lambda event, before: before,
    ApprovalEdited: lambda event, before: (before[0], before[1], "open"),
    ApprovalDecided: _decided,
    VerdictRecorded: lambda event, before: (
        event.gate,
        event.name,
        "denied" if event.verdict == "deny" else event.verdict,
    ),
    ChildIntent: lambda event, before: ("child", event.child_agent, before[2]),
    ChildOutcome: lambda event, before: (
        before[0],
        before[1],
        "ok" if event.outcome == "succeeded" else event.outcome,
    ),
    TimerSet: lambda event, before: ("timer", event.name, "waiting"),
    TimerFired: lambda event, before: (before[0], before[1], "error" if before[1] == "timeout" else "ok"),
    NoteRecorded: lambda event, before: ("note", event.name, _failed_or_ok(event)),
    RunPatched: lambda event, before: ("patch", event.patch, "ok"),
    DecisionRecorded: lambda event, before: ("decision", event.name, "ok"),
    StageEntered: lambda event, before: ("stage", event.name, before[2]),
    StageEnded: lambda event, before: (before[0], before[1], _failed_or_ok(event)),
    MessageSent: lambda event, before: ("message", event.topic, "open"),
    MessageDelivered: lambda event, before: (
        before[0],
        before[1],
        "ok" if event.status in ("delivered", "known") else event.status,
    ),
    WaitBegun: lambda event, before: ("wait", event.name or f"run {event.target}", "waiting"),
    WaitEnded: _wait_ended,
    DocumentRead: lambda event, before: _written(event),
    DocumentIntent: lambda event, before: ("document", f"{event.of} {event.name}", "open"),
    DocumentWritten: lambda event, before: _written(event),
}
