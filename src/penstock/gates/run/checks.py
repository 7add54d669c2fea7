"""What is asked of the intents of all runs of a process just before they are sent; see `penstock.journal.checks`."""

from penstock.events import Event, ToolIntent
from penstock.gates.breakers.guard import BreakerGuard
from penstock.gates.stops.guard import ToolStopGuard
from penstock.kernel.errors import PenstockError


class Checks:
    """Implements `penstock.journal.checks.IntentChecks`: breakers and stops of tools, which share their version."""

    def __init__(self, breakers: BreakerGuard, stops: ToolStopGuard) -> None:
        self._breakers = breakers
        self._stops = stops

    @property
    def version(self) -> int | None:
        """The older of the two: an append that has seen anything newer refuses."""
        known = [version for version in (self._breakers.version, self._stops.version) if version is not None]
        return min(known, default=None)

    def objection(self, event: Event) -> PenstockError | None:
        """The first that one of them has."""
        if isinstance(event, ToolIntent):
            is_free = event.effect == "read" and not event.charged
            awaited = not is_free or (event.run, event.path, event.attempt) in self._breakers.awaited
            if (objection := self._stops.objection(event, awaited=awaited)) is not None:
                return objection
        return self._breakers.objection(event)

    async def look_again(self, than: int) -> None:
        """Both."""
        await self._stops.look_again(than)
        if self._breakers.version is not None:
            await self._breakers.look_again(than)
