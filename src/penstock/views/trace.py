"""The trace of a run: its calls as a tree of spans, read from its events and payloads."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from penstock.events import BudgetRecord, Event, RunClaimed, RunEnded, RunSubmitted, Totals, Waiting, decode
from penstock.kernel.errors import EventUnreadable, RunPruned, RunUnknown
from penstock.ports.journal import Journal
from penstock.ports.records import RunRow
from penstock.views.contents import Contents, read_contents
from penstock.views.lines import event_line
from penstock.views.rows import find_row
from penstock.views.spans import MARKS, Mark, Span, span_of, totals_of
from penstock.views.waiting import waits_of

PAGE = 10_000
"""Events read at a time."""
CHILDREN_MAX = 200
"""Child runs that one trace expands; those beyond are named only."""


@dataclass(slots=True)
class Trace:
    """A run with all its calls. Times are microseconds since the epoch, money is nano-dollars."""

    run: UUID
    tenant: str
    agent: str
    release: str
    env: str
    status: str
    outcome: str
    code: str
    reason: str
    stop: str
    actor: str
    behalf: str
    tags: dict[str, str]
    parent: UUID | None
    key: str
    session: str
    priority: int
    deadline: int
    budget: BudgetRecord
    submitted_at: int
    ended_at: int
    workers: list[str]
    events: int
    totals: Totals
    simulated: bool
    input: Any
    output: Any
    partial: bool  # the output is what there was when the run was stopped
    missing: list[str]
    needed: list[str]
    waiting: list[Waiting]
    absent: int  # payloads that are not in the store
    spans: list[Span] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)


async def read_trace(journal: Journal, tenant: str, run: UUID, *, children: bool = True) -> Trace:
    """The trace of a run, and with ``children`` those of the runs it delegated to, in their places.

    Raises:
        RunUnknown: no such run for this tenant.
        RunPruned: its record is not in the journal any more. A child whose record is gone is named only.
        EventUnreadable: an event cannot be read.
    """
    room = [CHILDREN_MAX if children else 0]
    return await _read(journal, tenant, run, room)


async def read_events(journal: Journal, tenant: str, run: UUID, after: int = 0) -> list[Event]:
    """The events of a run beyond ``after``, in order."""
    events: list[Event] = []
    while True:
        rows = await journal.tape(tenant, run, after=after, limit=PAGE)
        events += [decode(row.body) for row in rows]
        if len(rows) < PAGE:
            return events
        after = rows[-1].seq


async def _read(journal: Journal, tenant: str, run: UUID, room: list[int]) -> Trace:
    row = await find_row(journal, tenant, run)
    events = await read_events(journal, tenant, run)
    trace = build_trace(row, events, await read_contents(journal, tenant, row.subject, events))
    for span in walk(trace.spans):
        if span.child is not None and room[0] > 0:
            room[0] -= 1
            try:
                span.trace = await _read(journal, tenant, span.child, room)
                span.simulated = span.trace.simulated
            except RunUnknown:
                continue  # its intent is on the tape, but it was never made
            except RunPruned as gone:
                archive = gone.fields["archive"]
                span.about["record"] = f"archived in {archive}" if archive else "pruned"
    return trace


def build_trace(row: RunRow, events: Sequence[Event], contents: Contents) -> Trace:
    """Arrange a run's events; pure.

    Raises:
        EventUnreadable: the first event is not the submission.
    """
    if not events or not isinstance(events[0], RunSubmitted):
        raise EventUnreadable(f"the first event of run {row.id} is not its submission")
    first, last = events[0], events[-1]
    end = last if isinstance(last, RunEnded) else None
    totals, simulated = totals_of(events)
    return Trace(
        run=row.id,
        tenant=row.tenant,
        agent=row.agent,
        release=row.release,
        env=row.env,
        status=row.status.value,
        outcome=end.outcome if end else "",
        code=end.code if end else row.code,
        reason=end.reason if end else "",
        stop=row.stop.value if row.stop else "",
        actor=first.actor,
        behalf=first.behalf,
        tags=first.tags,
        parent=first.parent,
        key=first.key,
        session=first.session,
        priority=first.priority,
        deadline=first.deadline,
        budget=first.budget,
        submitted_at=first.at,
        ended_at=end.at if end else 0,
        workers=list(dict.fromkeys(e.worker_name for e in events if isinstance(e, RunClaimed))),
        events=len(events),
        totals=end.totals if end else totals,
        simulated=end.simulated if end else simulated,
        input=contents.one(first, "input"),
        output=contents.one(end, "output") if end else None,
        partial=end is not None and end.outcome != "succeeded" and "output" in end.payloads,
        missing=end.missing if end else [],
        needed=end.needed if end else [],
        waiting=waits_of(row),
        absent=contents.absent,
        spans=_nest(_spans(events, contents)),
        marks=_marks(events, contents),
    )


def walk(spans: Sequence[Span]) -> list[Span]:
    """All spans below, in order."""
    found = []
    for span in spans:
        found.append(span)
        found += walk(span.spans)
    return found


def _spans(events: Sequence[Event], contents: Contents) -> list[Span]:
    calls: dict[str, list[Event]] = {}
    for event in events:
        if event.path and not isinstance(event, MARKS):
            calls.setdefault(event.path, []).append(event)
    return [span_of(path, call, contents) for path, call in calls.items()]


def _nest(spans: Sequence[Span]) -> list[Span]:
    """Put the calls of branches below the gather they belong to: ``4.0.1`` is call 1 of branch 0 of gather ``4``."""
    tops: list[Span] = []
    gathers: dict[str, Span] = {}
    groups = {span.path: span for span in spans if span.kind == "stage"}

    def place(span: Span) -> None:
        steps = [] if span.kind == "patch" else span.path.split(".")
        if len(steps) < 3:
            tops.append(span)
            return
        path = ".".join(steps[:-2])
        gather = groups.get(path) or gathers.get(path)
        if gather is None:
            gather = gathers[path] = Span(path, "gather", "", "ok", span.seq, span.started_at)
            place(gather)
        gather.spans.append(span)

    for span in spans:
        place(span)
    for path in sorted(gathers, key=lambda path: -path.count(".")):  # an outer one is over when those in it are
        _sum_up(gathers[path])
    return tops


def _sum_up(gather: Span) -> None:
    branches = {span.path.split(".")[-2] for span in gather.spans}
    gather.name = f"{len(branches)} branches"
    if all(span.ended_at for span in gather.spans):
        gather.ended_at = max(span.ended_at for span in gather.spans)
    else:
        gather.status = "open"


def _marks(events: Sequence[Event], contents: Contents) -> list[Mark]:
    """What happened to the run besides its calls: stops, limits, and every change of hands after the first claim."""
    marks = []
    claims = 0
    for event in events:
        if not isinstance(event, MARKS):
            continue
        claims += isinstance(event, RunClaimed)
        if isinstance(event, RunSubmitted | RunEnded) or (isinstance(event, RunClaimed) and claims == 1):
            continue
        said = {name: _unpacked(contents.all(event, name)) for name in event.payloads}
        marks.append(Mark(str(event.__struct_config__.tag), event.path, event.seq, event.at, event_line(event), said))
    return marks


def _unpacked(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values
