"""What a person needs who decides: what the run was for and has done, what the agent said, and how like questions were
decided before. Everything is read from the journal; what the agent said is its own words, verified by nobody."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec

from penstock.events import (
    ANSWERED,
    ApprovalRequested,
    Event,
    ModelIntent,
    ModelOutcome,
    RunClaimed,
    RunParked,
    RunSubmitted,
    decode,
)
from penstock.journal.payloads import unpack
from penstock.kernel.errors import EventUnreadable
from penstock.ports.journal import Journal
from penstock.ports.questions import EXPIRED, Decided
from penstock.ports.records import Payload, PayloadKey, RunRow
from penstock.views.contents import Contents, read_contents
from penstock.views.lines import event_line
from penstock.views.run_page import goal_of
from penstock.views.summary import summary_of

EVENTS_SHOWN = 200
"""Events of the run before the question that are read."""
LINES_MAX = 40
LIKE_MAX = 200
"""Earlier decisions that are counted."""
RECENT = 5
CONFLICTS_OF = 50
"""Runs that wait for people, among which others with the same arguments are looked for."""
SAYS_MAX_CHARS = 4000


@dataclass(slots=True, frozen=True)
class Past:
    """An earlier decision on the like."""

    decided: Decided
    summary: str
    reason: str


@dataclass(slots=True, frozen=True)
class Among:
    """A number among those approved before."""

    value: float
    median: float
    percentile: float  # share of earlier ones at or below it, 0 to 100
    count: int


@dataclass(slots=True, frozen=True)
class Like:
    """How people decided on the same tool of the same agent, of the newest `LIKE_MAX`, and how often nobody did."""

    approved: int = 0
    denied: int = 0
    expired: int = 0
    edited: int = 0  # allowed with other arguments
    median_seconds: float | None = None
    recent: list[Past] = field(default_factory=list)
    numbers: dict[str, Among] = field(default_factory=dict)


@dataclass(slots=True, frozen=True)
class ApprovalContext:
    """What is beside a question. Money in nano-dollars; 0 = no budget of money."""

    goal: str
    agent_says: str
    so_far: list[str]
    spent_nano: int
    budget_nano: int
    like: Like
    conflicts: list[UUID]


async def read_context(
    journal: Journal, row: RunRow, approval: str, tool: str, question: str, args: Any, digest: str, *, contents: bool
) -> ApprovalContext:
    """The context of a question that a run asks.

    Args:
        args: of the call, plain JSON.
        digest: of what is asked; another run that asks the same has the same.
        contents: the viewer may see content.
    """
    start = max(0, row.last_seq - EVENTS_SHOWN)
    stored = await journal.tape(row.tenant, row.id, start, EVENTS_SHOWN)
    if start:
        stored = [*await journal.tape(row.tenant, row.id, limit=1), *stored]
    events = [decode(item.body) for item in stored]
    request = next((item for item in events if isinstance(item, ApprovalRequested) and item.approval == approval), None)
    before = events if request is None else [item for item in events if item.seq < request.seq]
    submitted = events[0] if events and isinstance(events[0], RunSubmitted) else None
    answer = _asking_answer(before)
    read = None
    if contents:
        wanted: list[Event] = [item for item in (submitted, answer) if item is not None]
        read = await read_contents(journal, row.tenant, row.subject, wanted)
    past = await journal.questions.like(row.tenant, row.agent, tool, question, LIKE_MAX)
    return ApprovalContext(
        goal_of(submitted, read),
        _words(answer, read),
        _lines(before, max(0, start - 1)),
        row.summary.nano,
        submitted.budget.nano if submitted else 0,
        await _like(journal, tool, past, args, contents=contents),
        await _conflicts(journal, row, tool, digest),
    )


def _asking_answer(events: Sequence[Event]) -> ModelOutcome | None:
    """The model's answer that the call came from: the last before the question."""
    return next((item for item in reversed(events) if isinstance(item, ModelOutcome) and item.status in ANSWERED), None)


def _words(answer: ModelOutcome | None, read: Contents | None) -> str:
    if answer is None or read is None:
        return ""
    said = [message.text for message in read.messages(answer, "response") if hasattr(message, "text")]
    return "\n".join(text for text in said if text)[:SAYS_MAX_CHARS]


def _lines(events: Sequence[Event], unread: int) -> list[str]:
    """The run until then, the newest lines; what only the engine cares for is left out."""
    lines = [event_line(item) for item in events if not isinstance(item, RunClaimed | RunParked | ModelIntent)]
    left_out = max(0, len(lines) - LINES_MAX) + unread
    return [f"… {left_out:,} earlier ones", *lines[-LINES_MAX:]] if left_out > 0 else lines


async def _like(journal: Journal, tool: str, past: Sequence[Decided], args: Any, *, contents: bool) -> Like:
    everything, past = past, [item for item in past if item.decision != EXPIRED]
    approved = [item for item in past if item.decision in ("approve", "happened")]
    edited = sum(item.decision == "edit" for item in past)
    waited = [(item.at - item.asked_at) / 1e6 for item in past if item.asked_at]
    kept: dict[PayloadKey, Payload] = {}
    if contents and past:
        keys = [(item.tenant, item.subject, item.args) for item in past if item.args]
        keys += [(item.tenant, item.subject, item.reason) for item in past[:RECENT] if item.reason]
        kept = await journal.fetch_payloads(keys)
    known = {item.approval: _read(kept.get((item.tenant, item.subject, item.args))) for item in past}
    return Like(
        len(approved),
        len(past) - len(approved) - edited,
        len(everything) - len(past),
        edited,
        statistics.median(waited) if waited else None,
        [
            Past(
                item,
                summary_of(tool, known[item.approval]) if known[item.approval] is not None else "",
                _text(kept.get((item.tenant, item.subject, item.reason))) if item.reason else "",
            )
            for item in past[:RECENT]
        ],
        _numbers(args, [known[item.approval] for item in approved]) if contents else {},
    )


def _numbers(args: Any, earlier: Sequence[Any]) -> dict[str, Among]:
    found: dict[str, Among] = {}
    for name, value in args.items() if isinstance(args, dict) else ():
        if not _is_number(value):
            continue
        others = [item[name] for item in earlier if isinstance(item, dict) and _is_number(item.get(name))]
        if others:
            share = 100 * sum(other <= value for other in others) / len(others)
            found[name] = Among(float(value), float(statistics.median(others)), share, len(others))
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


async def _conflicts(journal: Journal, row: RunRow, tool: str, digest: str) -> list[UUID]:
    """Other runs that wait for a person with the same question."""
    found: list[UUID] = []
    for item in await journal.questions.asking(row.tenant, None, CONFLICTS_OF):
        other = item.row
        if other.id == row.id or msgspec.json.encode(tool) not in other.waiting:
            continue
        start = max(0, other.last_seq - EVENTS_SHOWN)
        for stored in await journal.tape(other.tenant, other.id, start, EVENTS_SHOWN):
            event = decode(stored.body)
            if isinstance(event, ApprovalRequested) and event.digest == digest:
                found.append(other.id)
                break
    return found


def _read(payload: Payload | None) -> Any:
    """The value of a payload; None when it is gone."""
    try:
        return None if payload is None else msgspec.json.decode(unpack(payload))
    except (EventUnreadable, msgspec.DecodeError):
        return None


def _text(payload: Payload | None) -> str:
    try:
        return "" if payload is None else unpack(payload).decode(errors="replace")
    except EventUnreadable:
        return ""
