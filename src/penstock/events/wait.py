"""Waiting for what happens elsewhere: an event from outside, or the end of a run that is no child."""

from typing import ClassVar
from uuid import UUID

from penstock.events.envelope import Event
from penstock.events.filtered import Filtered


class WaitBegun(Event, tag="wait.begun"):
    """The agent waits at ``path``; what it waits for stays the same whoever holds the run."""

    since: ClassVar[int] = 2

    what: str  # event | run
    digest: str  # of all that is waited for: what replay compares
    name: str = ""  # the event's
    key: str = ""  # correlation key; "" = events sent to this run
    target: UUID | None = None  # the run waited for, or the only run that may send the event
    duration: int = 0  # microseconds asked for; 0 = no end
    until: int = 0  # microseconds since the epoch; 0 = no end


class WaitEnded(Event, tag="wait.ended"):
    """The wait is over. ``payloads.value`` is the event's value, or the other run's output."""

    since: ClassVar[int] = 2

    status: str  # received | ended | timed_out | cycle | absent | withheld
    what: str = ""  # of a wait that was refused before it began: event | run | child
    dedup: str = ""  # the letter that ended it
    sender: str = ""
    target: UUID | None = None
    outcome: str = ""  # of the run waited for
    code: str = ""
    reason: str = ""
    circle: list[UUID] = []  # with "cycle": each of these runs would wait for the next, the last for the first
    simulated: bool = False
    filtered: list[Filtered] = []  # what was found in the value before it was released
