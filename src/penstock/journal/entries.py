"""What waits in a log to become part of a batch."""

import asyncio
from dataclasses import dataclass, field

from penstock.events import Event, ModelIntent, ModelOutcome, ToolDoubted, ToolIntent, ToolOutcome, kind_of
from penstock.kernel.errors import EventTooLarge, PenstockError
from penstock.ports.records import CONTINUED, Move, NewRun, Status


@dataclass(slots=True)
class Rare:
    """What few events bring along for their transaction."""

    move: Move | None = None
    children: list[NewRun] = field(default_factory=list)
    consumed: list[str] = field(default_factory=list)


class Entry:
    """Something added and not yet durable. ``event`` is None for a change of the row alone."""

    __slots__ = ("event", "future", "intent", "lazy", "rare")

    def __init__(self, event: Event | None, future: asyncio.Future[None] | None, *, intent: bool, lazy: bool) -> None:
        self.event = event
        self.future = future
        self.intent = intent
        self.lazy = lazy
        self.rare: Rare | None = None


FAMILIES: dict[type[Event], tuple[str, bool]] = {
    ToolIntent: ("tool", True),
    ToolOutcome: ("tool", False),
    ModelIntent: ("model", True),
    ModelOutcome: ("model", False),
}
"""Kinds that open (True) or close a call in the outside world."""


def follows(entry: Entry) -> bool:
    """Whether this may be a consequence of an answer that was given to the agent before: then it is not written when
    that answer is not. Outcomes of calls whose intents are durable happened whatever the agent knew."""
    event = entry.event
    return event is not None and bool(event.path) and not isinstance(event, ToolOutcome | ModelOutcome | ToolDoubted)


def concludes(entry: Entry) -> bool:
    """Whether this ends or parks the run, for reasons that may be such a consequence."""
    move = None if entry.rare is None else entry.rare.move
    return move is not None and move.status in (Status.ENDED, Status.PARKED)


def yields_to_stops(move: Move) -> bool:
    """Whether the move is refused, as an intent is, when a stop covers the run: a run that was stopped does not end as
    if it had not been. One that goes on in another has been stopped there."""
    return move.status is Status.ENDED and move.outcome not in ("killed", "cancelled") and move.code != CONTINUED


def too_large(event: Event, size: int, limit: int) -> EventTooLarge:
    """The error for an event over its bound."""
    return EventTooLarge(
        f"a {kind_of(event)} has {size:,} bytes; the bound is {limit:,}",
        hint="put what is large into a payload, or raise PENSTOCK_EVENT_MAX_BYTES",
    )


def fail(future: asyncio.Future[None] | None, error: PenstockError) -> None:
    """Fail who waits, if somebody does."""
    if future is not None and not future.done():
        future.set_exception(error)
        future.exception()  # the log's callbacks have told the holder; an unawaited future need not complain
