"""The stops of tools as one process knows them.

The store has the truth; here is a copy. That it may be old does no harm: an append refuses intents that were checked
against an older version, and they are checked again (`penstock.journal.checks`). So from the moment at which a stop is
sealed no intent of its tool is written, whatever the workers know of it.
"""

import asyncio
import contextlib

from penstock.events import ToolIntent
from penstock.gates.order.branches import outside_runs
from penstock.kernel.backoff import until_answered
from penstock.kernel.clock import Clock
from penstock.kernel.errors import IntentRefused, JournalError, PenstockError, ToolStopped
from penstock.ports.controls import Control, Controls
from penstock.ports.records import Stop

FRESH_SECONDS = 0.5
"""At this age the stops are looked at again, by the way, when a call asks."""


class ToolStopGuard:
    """The stops of tools that are in force.

    Attributes:
        version: of the store's view that is known here; None = none yet, and no intent of a tool is let through.
    """

    def __init__(self, store: Controls, clock: Clock) -> None:
        self.version: int | None = None
        self._store = store
        self._clock = clock
        self._stops: dict[tuple[str, str], Control] = {}
        self._looked_ns = 0
        self._looking: asyncio.Task[None] | None = None

    def of(self, tenant: str, tool: str) -> Control | None:
        """The stop of that tool, a kill before a pause; None when it may be called."""
        return self._stops.get((tenant, tool)) if self._stops else None

    async def ready(self) -> None:
        """Return when the stops are known. While there are some, look again, by the way, when that was long ago; a new
        one is found by the append that it refuses."""
        if self.version is None:
            await until_answered(self.refresh, self._clock.sleep)
        elif self._stops and self._clock.boot_ns() - self._looked_ns > FRESH_SECONDS * 1e9:
            self.heard()

    def heard(self) -> None:
        """Something may have changed: look, without anybody waiting for it."""
        if self._looking is None or self._looking.done():
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop = asyncio.get_running_loop()
                self._looking = loop.create_task(self._look(), context=outside_runs())

    def objection(self, event: ToolIntent, *, awaited: bool) -> PenstockError | None:
        """See `penstock.journal.checks`. ``awaited``: the call is not made before its intent is written.

        A read that was called already cannot be refused any more: its run is taken out of the worker's hands as by a
        pause, and what followed from it is not written.
        """
        if self.version is not None and self.of(event.tenant, event.tool) is None:
            return None
        return ToolStopped(f"the tool {event.tool} was stopped") if awaited else IntentRefused(Stop.PAUSE)

    async def look_again(self, than: int) -> None:
        """See `penstock.journal.checks`."""
        while self.version is None or self.version <= than:
            await self.refresh()

    async def refresh(self) -> None:
        """Read all of them.

        Raises:
            JournalError: they cannot be read.
        """
        found = await self._store.of_tools()
        if self.version is not None and found.version < self.version:
            return  # an answer that was overtaken
        self._looked_ns = self._clock.boot_ns()
        pauses_first = sorted(found.stops, key=lambda stop: stop.action == "kill")
        self._stops = {(stop.scope.tenant or "", stop.scope.name): stop for stop in pauses_first}
        self.version = found.version

    async def close(self) -> None:
        """Nothing more is asked."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})

    async def _look(self) -> None:
        with contextlib.suppress(JournalError):
            await self.refresh()
