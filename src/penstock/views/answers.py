"""What the caller has been given, in order: a first answer that was provisional, and what became of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from penstock.agents.hybrid import PROVISIONAL, SETTLED
from penstock.events import ChildOutcome, Event, NoteRecorded, RunEnded
from penstock.views.contents import Contents, Missing
from penstock.views.pieces import FORBIDDEN, MISSING, Piece

AMONG = 200
"""Events of a run's beginning among which its first answer is looked for: a responder has seconds, not hours."""


@dataclass(slots=True, frozen=True)
class Answer:
    """An answer that went out. ``kind``: provisional | withdrawn | confirmed | replaced | final."""

    at: int
    kind: str
    run: UUID  # that gave it
    content: Piece


def notes_of(events: Sequence[Event]) -> list[NoteRecorded]:
    """The notes that tell of answers."""
    return [event for event in events if isinstance(event, NoteRecorded) and event.name in (PROVISIONAL, SETTLED)]


def answers_of(events: Sequence[Event], output: Piece | None, contents: Contents | None) -> list[Answer]:
    """The answers, from a run's first and last events. A run without a responder has one, when it has succeeded."""
    given: list[Answer] = []
    end = events[-1] if isinstance(events[-1], RunEnded) else None
    has_succeeded = end is not None and end.outcome == "succeeded"
    kind = "final"
    for note in notes_of(events):
        if note.name == PROVISIONAL:
            first = "withdrawn" if end is not None and not has_succeeded else "provisional"
            given.append(Answer(note.at, first, _responder(events, note), _output(note, contents)))
        elif contents is not None and isinstance(settled := contents.one(note, "value"), dict):
            kind = str(settled.get("kind", kind))
    if end is not None and has_succeeded and output is not None:
        given.append(Answer(end.at, kind, end.run, output))
    return given


def _responder(events: Sequence[Event], note: NoteRecorded) -> UUID:
    """The child run that gave the answer: the last to end before the note, on the note's branch."""
    branch = note.path.rpartition(".")[0]
    for event in reversed(events):
        if event.seq < note.seq and isinstance(event, ChildOutcome) and event.path.startswith(f"{branch}."):
            return event.child
    return note.run


def _output(note: NoteRecorded, contents: Contents | None) -> Piece:
    if contents is None:
        return Piece(hidden=FORBIDDEN)
    value = contents.one(note, "value")
    if not isinstance(value, dict):
        return Piece(hidden=MISSING)
    ref = note.payloads["value"][0]
    data = contents.raw(ref)
    return Piece(ref, 0 if isinstance(data, Missing) else len(data), value=value.get("output"))
