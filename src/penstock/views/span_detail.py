"""One span with its content, as far as its viewer may see it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.events import ApprovalDecided, DecisionRecorded, DocumentIntent, Event, decode
from penstock.events.messages import Thinking, ToolCall
from penstock.kernel.errors import SpanUnknown
from penstock.ports.journal import Journal
from penstock.ports.records import RunRow
from penstock.views.contents import Contents, read_contents
from penstock.views.pieces import CUT_BYTES, Piece, Viewer, text_of
from penstock.views.sentences import span_sentence
from penstock.views.skeleton_reading import PAGE, SpanIndex
from penstock.views.spans import MARKS, Span, span_of

EVENTS_MAX = 10_000
"""Events of one span that are looked at: a call has as many attempts as its budget allows."""
SAME_MAX = 100
"""Paths of equal calls that are named."""

_INPUTS = ("args", "input", "body")
_OUTPUTS = ("result", "output", "error", "decision")
_NOTHING = Contents({})


@dataclass(slots=True)
class SpanDetail:
    """A span; ``span.input`` and its like are empty, what they hold is here as far as the viewer may see it."""

    span: Span
    sentence: str
    input: Piece | None = None
    output: Piece | None = None
    reasoning: list[str] = field(default_factory=list)
    asks: list[dict[str, str]] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)  # of decisions, by approval
    decision: dict[str, Any] | None = None
    same_as: list[str] = field(default_factory=list)


async def read_span(journal: Journal, row: RunRow, path: str, index: SpanIndex, *, contents: bool) -> SpanDetail:
    """The span at a path.

    Args:
        index: where the run's spans stand.
        contents: the viewer may see content.

    Raises:
        SpanUnknown: the run has no such span.
        EventUnreadable: an event cannot be read.
    """
    try:
        at = index.path.index(path)
    except ValueError:
        raise SpanUnknown(f"run {row.id} has no call at {path[:60]!r}") from None
    events = await _events(journal, row, path, index.seq[at], index.end_seq[at])
    if not events:  # a group of branches has none of its own
        return SpanDetail(Span(path, "gather", "", "ok", index.seq[at], 0), "Did several things side by side.")
    span = span_of(path, events, _NOTHING)
    detail = SpanDetail(span, span_sentence(span))
    viewer = Viewer(None)
    if contents:
        found = await read_contents(journal, row.tenant, row.subject, events)
        is_erased = found.absent > 0 and await journal.subject_key(row.tenant, row.subject) is None
        viewer = Viewer(found, is_erased=is_erased)
    for event in events:
        _show(detail, event, viewer)
    group = index.same[at]
    if group:
        alike = (other for other, number in zip(index.path, index.same, strict=True) if number == group)
        detail.same_as = [other for other in alike if other != path][:SAME_MAX]
    return detail


async def _events(journal: Journal, row: RunRow, path: str, first: int, last: int) -> list[Event]:
    """The events of the call, which lie between two places of the tape."""
    wanted = b'"path":"' + path.encode() + b'"'
    events: list[Event] = []
    after = first - 1
    while after < last:
        rows = await journal.tape(row.tenant, row.id, after=after, limit=min(PAGE, last - after))
        if not rows:
            break
        for stored in rows:
            if wanted in stored.body:
                event = decode(stored.body)
                if event.path == path and not isinstance(event, MARKS):
                    events.append(event)
        after = rows[-1].seq
        if len(events) >= EVENTS_MAX:
            break
    return events


def _show(detail: SpanDetail, event: Event, viewer: Viewer) -> None:
    payloads = event.payloads
    for name in _INPUTS:
        if refs := payloads.get(name):
            detail.input = viewer.piece(refs[0])
    if refs := payloads.get("messages"):
        detail.input = viewer.messages(refs)
    if refs := payloads.get("value"):
        if isinstance(event, DocumentIntent):
            detail.input = viewer.piece(refs[0])
        else:
            detail.output = viewer.piece(refs[0])
    for name in _OUTPUTS:
        if refs := payloads.get(name):
            detail.output = viewer.piece(refs[0])
    if refs := payloads.get("response"):
        _show_answer(detail, refs, viewer)
    if isinstance(event, ApprovalDecided) and (refs := payloads.get("reason")):
        detail.reasons[event.approval] = viewer.text(refs[0])
    if isinstance(event, DecisionRecorded):
        detail.decision = _stated(event, detail.output)


def _show_answer(detail: SpanDetail, refs: Sequence[str], viewer: Viewer) -> None:
    detail.output, message = viewer.answer(refs[0])
    if message is None:
        return
    parts = message.parts
    detail.reasoning = [_cut(part.text) for part in parts if isinstance(part, Thinking)]
    detail.asks = [
        {"id": part.id, "name": part.name, "args": _cut(part.args)} for part in parts if isinstance(part, ToolCall)
    ]


def _cut(text: str) -> str:
    raw = text.encode(errors="replace")
    return text if len(raw) <= CUT_BYTES else text_of(raw[:CUT_BYTES])


def _stated(event: DecisionRecorded, content: Piece | None) -> dict[str, Any]:
    """What the agent stated; its words only where content may be seen and was not cut."""
    stated: dict[str, Any] = {
        "name": event.name,
        "chosen_number": event.chosen,
        "options_count": event.options,
        "confidence": event.confidence,
        "facts": [{"source": fact.source, "age": fact.age} for fact in event.facts],
    }
    if content is not None and isinstance(content.value, dict):
        stated |= {name: content.value.get(name) for name in ("options", "chosen", "why")}
    return stated
