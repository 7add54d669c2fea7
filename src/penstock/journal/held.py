"""The log of a run that is held from the moment it is made: one commit holds its row and its first events."""

import asyncio
from typing import TYPE_CHECKING

from penstock.events import Event, ModelOutcome
from penstock.journal.log import RunLog
from penstock.ports.records import Answer, Applied, Batch, Begin, Claim

if TYPE_CHECKING:
    from penstock.journal.writer import GroupWriter


class HeldLog(RunLog):
    """A run's log whose first batch makes the run; ``claim`` is the one that its maker has by that."""

    def __init__(self, claim: Claim, writer: "GroupWriter", begin: Begin) -> None:
        super().__init__(claim, writer)
        self._begin: Begin | None = begin
        self._lone = not begin.name
        self.waiting_since: dict[str, float] = {}
        """Since when intents wait to be durable, by the call's path: the loop's time, seconds."""

    @property
    def begun(self) -> bool:
        """Whether the run exists."""
        return self._begin is None

    def add(self, event: Event, waiter: bool = False, *, lazy: bool = False) -> "asyncio.Future[None] | None":
        """As the base; but an outcome of a run of one call is written with the run's end, which follows at once."""
        lone = isinstance(event, ModelOutcome) and not event.again and self._lone
        return super().add(event, waiter, lazy=lazy or lone)

    def intent(self, event: Event) -> "asyncio.Future[None]":
        """As the base."""
        self.waiting_since[event.path] = self._loop.time()
        future = super().intent(event)
        future.add_done_callback(lambda _: self.waiting_since.pop(event.path, None))
        return future

    def form(self, room_events: int, room_bytes: int) -> Batch | None:
        """As the base; every batch makes the run until one has."""
        batch = super().form(room_events, room_bytes)
        if batch is not None:
            batch.begin = self._begin
        return batch

    def settle(self, answer: Applied) -> None:
        """As the base. A stop refuses the events, and the run is there all the same, to be ended as stopped."""
        if answer.answer in (Answer.APPLIED, Answer.STOPPED, Answer.STALE):
            self._begin = None
        super().settle(answer)
