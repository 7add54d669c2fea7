"""What is shown of one run besides its calls: what was asked, what came of it, how it stands."""

from dataclasses import dataclass, field
from uuid import UUID

from penstock.events import BudgetRecord, Event, RunEnded, RunSubmitted, Totals, Waiting, decode
from penstock.kernel.canonical import stable_json
from penstock.kernel.errors import RunUnknown
from penstock.ports.controls import holding
from penstock.ports.journal import Journal
from penstock.ports.lists import shown
from penstock.ports.records import RunRow, Status
from penstock.views.answers import AMONG, Answer, answers_of, notes_of
from penstock.views.contents import Contents, Missing, read_contents
from penstock.views.lines import clock_time, waiting_words
from penstock.views.pieces import Piece, Viewer
from penstock.views.standing import ENDS
from penstock.views.waiting import waits_of

GOAL_MAX_CHARS = 300
_ASKED = {"approval": "may run", "doubt": "happened"}
_STANDS = {
    "queued": "It waits for a worker",
    "running": "It is being worked on",
    "quarantined": "It is set aside for a person",
    "paused": "It is paused",
    "stopping": "It is being stopped",
    **ENDS,
}


@dataclass(slots=True, frozen=True)
class RunPage:
    """A run with what its first and last event say. ``archived``: they are not in the journal any more."""

    row: RunRow
    shown: str
    sentence: str
    goal: str = ""
    input: Piece | None = None
    output: Piece | None = None
    reason: str = ""
    missing: list[str] = field(default_factory=list)
    needed: list[str] = field(default_factory=list)
    first_cause: str = ""
    budget: BudgetRecord = BudgetRecord()
    used: Totals = Totals()
    simulated: bool = False
    actor: str = ""
    behalf: str = ""
    archived: bool = False
    answers: list[Answer] = field(default_factory=list)


async def read_run_page(journal: Journal, tenant: str, run: UUID, *, contents: bool) -> RunPage:
    """One run. ``contents``: the viewer may see what was asked and answered.

    Raises:
        RunUnknown: no such run for this tenant.
    """
    row = await journal.get_run(tenant, run)
    if row is None:
        raise RunUnknown(f"there is no run {run} for tenant {tenant!r}")
    word = shown(row.status, row.stop, row.outcome, row.waiting)
    stored = [] if row.pruned_at is not None else await journal.tape(tenant, run, limit=AMONG)
    if not stored:
        hidden = Piece(hidden="archived")
        return RunPage(row, word, _sentence(row, word, ""), input=hidden, output=hidden, archived=True)
    if row.status is Status.ENDED and stored[-1].seq < row.last_seq:
        stored += await journal.tape(tenant, run, after=row.last_seq - 1, limit=1)
    all_events = [decode(item.body) for item in stored]
    events = [all_events[0], *notes_of(all_events), all_events[-1]]
    read = await read_contents(journal, tenant, row.subject, events) if contents else None
    is_erased = read is not None and read.absent > 0 and await journal.subject_key(tenant, row.subject) is None
    viewer = Viewer(read, is_erased=is_erased)
    first, last = events[0], events[-1]
    begun = first if isinstance(first, RunSubmitted) else None
    ended = last if isinstance(last, RunEnded) else None
    summary = row.summary
    held = await _held_back(journal, row)
    output = _piece(viewer, ended, "output") if ended else None
    running = Totals(summary.steps, summary.model_calls, summary.tool_calls, tokens_in=summary.tokens)
    return RunPage(
        row,
        word,
        held or _sentence(row, word, ended.reason if ended else ""),
        goal=goal_of(begun, read),
        input=_piece(viewer, first, "input"),
        output=output,
        reason=ended.reason if ended else "",
        missing=ended.missing if ended else [],
        needed=ended.needed if ended else [],
        first_cause=ended.first_cause if ended else "",
        budget=begun.budget if begun else BudgetRecord(),
        used=ended.totals if ended else running,
        simulated=bool(ended and ended.simulated),
        actor=first.actor,
        behalf=first.behalf,
        answers=answers_of(all_events, output, read),
    )


async def _held_back(journal: Journal, row: RunRow) -> str:
    """What keeps a run from being worked on that could be; "" when nothing does."""
    if row.status is not Status.QUEUED or row.stop is not None:
        return ""
    held = holding(row, await journal.controls.wide(row.tenant))
    if not held:
        return ""
    newest = held[0]
    by = f", ordered by {newest.actor}" if newest.actor and newest.scope.tenant else ""
    return f"It is held back by a {newest.action} of {newest.scope}{by}."


def _piece(viewer: Viewer, event: Event, name: str) -> Piece | None:
    refs = event.payloads.get(name)
    return viewer.piece(refs[0]) if refs else None


def goal_of(begun: RunSubmitted | None, contents: Contents | None) -> str:
    """The input in one line."""
    if begun is None or contents is None:
        return ""
    value = contents.one(begun, "input")
    if isinstance(value, dict) and len(value) == 1:
        [value] = value.values()
    if value is None or isinstance(value, Missing):
        return ""
    words = value if isinstance(value, str) else stable_json(value).decode()
    return " ".join(words.split())[:GOAL_MAX_CHARS]


def _sentence(row: RunRow, word: str, reason: str) -> str:
    waits = "; ".join(_waits_for(item) for item in waits_of(row))
    if word in _STANDS:
        said = _STANDS[word]
        if row.status is Status.QUARANTINED and row.code:
            said += f" ({row.code})"
        if reason and word != "succeeded":
            said += f": {reason.rstrip('.')}"
        return f"{said}."
    return f"It waits for {waits}." if waits else "It waits."


def _waits_for(waiting: Waiting) -> str:
    """As on the tape, but a question to a person by what is asked: its id is among the facts, and leads there."""
    asked = _ASKED.get(waiting.kind)
    if asked is None or not waiting.id:
        return waiting_words(waiting)
    return f"a person to say whether {waiting.name} {asked}" + (
        f", until {clock_time(waiting.until)}" if waiting.until else ""
    )
