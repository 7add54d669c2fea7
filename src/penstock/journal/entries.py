"""What waits in a log to become part of a batch."""

import asyncio
from dataclasses import dataclass, field

from penstock.events import Event, ModelIntent, ModelOutcome, ToolDoubted, ToolIntent, ToolOutcome, encode, kind_of
from penstock.kernel.errors import EventTooLarge, InputInvalid, PenstockError
from penstock.ports.budgets import Charges
from penstock.ports.records import CONTINUED, Move, NewRun, Status


@dataclass(slots=True)
class Rare:
    """What few events bring along for their transaction."""

    move: Move | None = None
    children: list[NewRun] = field(default_factory=list)
    consumed: list[str] = field(default_factory=list)


class Entry:
    """Something added and not yet durable. ``event`` is None for a change of the row alone."""

    __slots__ = ("charges", "event", "future", "intent", "lazy", "rare")

    def __init__(self, event: Event | None, future: asyncio.Future[None] | None, *, intent: bool, lazy: bool) -> None:
        self.event = event
        self.future = future
        self.intent = intent
        self.lazy = lazy
        self.rare: Rare | None = None
        self.charges: Charges | None = None

    def done(self) -> None:
        """It is durable: tell who waits, and whose budgets it was charged to."""
        if self.charges is not None:
            self.charges.applied()
        future = self.future
        if future is not None and not future.done():
            future.set_result(None)

    def fail(self, error: PenstockError) -> None:
        """It is not written: tell who waits, if somebody does, and take back what it would have charged."""
        if self.charges is not None:
            self.charges.dropped(error)
        future = self.future
        if future is not None and not future.done():
            future.set_exception(error)
            future.exception()  # the log's callbacks have told the holder; an unawaited future need not complain


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


def encoded(event: Event, limit: int) -> bytes:
    """The stored form of an event.

    Raises:
        InputInvalid: it has none.
        EventTooLarge: it has more than ``limit`` bytes.
    """
    try:
        body = encode(event)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InputInvalid(f"a {kind_of(event)} cannot be stored: {error}") from error
    if len(body) > limit:
        raise EventTooLarge(
            f"a {kind_of(event)} has {len(body):,} bytes; the bound is {limit:,}",
            hint="put what is large into a payload, or raise PENSTOCK_EVENT_MAX_BYTES",
        )
    return body


def track(calls: set[tuple[str, str, int]], family: tuple[str, bool], event: Event) -> None:
    """Keep the set of calls that are open: kind, path and number of the attempt."""
    call = family[0], event.path, getattr(event, "attempt", 1)
    if family[1]:
        calls.add(call)
    else:
        calls.discard(call)
