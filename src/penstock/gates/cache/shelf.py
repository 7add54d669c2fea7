"""What all runs of a worker share of the cache: calls under way here, the tenants' secrets, and what is counted."""

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from penstock.gates.order.branches import outside_runs
from penstock.kernel.clock import Clock
from penstock.kernel.errors import JournalError
from penstock.ports.cache import FIGURES, HOUR, Bounds, CacheEntries, Count, Entry, Gate
from penstock.settings import Settings

SECRETS_HELD = 10_000
"""Tenants whose secrets a worker remembers; then it forgets them all and goes on."""
CLOSE_SECONDS = 2.0
"""For answers on their way to the store when the worker ends."""
COUNTS_HELD = 1_000
"""Different counts that wait to be written; beyond that, while the store is away, further ones are left out."""

_Where = tuple[str, bytes]
_CountKey = tuple[str, int, Gate, str, str]


@dataclass(slots=True, frozen=True)
class Landed:
    """How a flight ended. ``alone``: without an answer that others may have, and nor would the next one have one."""

    entry: Entry | None = None
    alone: bool = False


@dataclass(slots=True, eq=False)
class Flight:
    """A call that one run of this process makes, or waits for, on behalf of all of them.

    What it comes to is only for those who had joined when the store was asked: whoever comes later may come because of
    something that has made the answer wrong meanwhile.
    """

    done: asyncio.Future[Landed]
    _joined: int = 0
    _covered: int = 0

    def join(self) -> int:
        """Wait for it, too; one's place among those who do."""
        self._joined += 1
        return self._joined

    def cover(self) -> None:
        """The store is asked, or told, now."""
        self._covered = self._joined

    def covers(self, place: int) -> bool:
        """Whether what it came to is for whoever has that place."""
        return place <= self._covered


class AnswerCache:
    """The cache as one worker's gates see it."""

    def __init__(self, entries: CacheEntries, clock: Clock, settings: Settings) -> None:
        self.entries = entries
        self.clock = clock
        self.settings = settings
        self.bounds = Bounds(settings.cache_entries_max, settings.cache_bytes_max)
        self._secrets: dict[str, bytes] = {}
        self._flights: dict[_Where, Flight] = {}
        self._counts: dict[_CountKey, dict[str, int]] = {}  # by `FIGURES`, in that order, which is a `Count`'s
        self._errands: set[asyncio.Task[None]] = set()

    async def secret(self, tenant: str) -> bytes:
        """What the tenant's keys are made with."""
        secret = self._secrets.get(tenant)
        if secret is None:
            if len(self._secrets) >= SECRETS_HELD:
                self._secrets.clear()
            secret = self._secrets[tenant] = await self.entries.secret(tenant)
        return secret

    def flight(self, where: _Where) -> Flight | None:
        """The one under way here for a tenant and key."""
        return self._flights.get(where)

    def take_off(self, where: _Where) -> Flight:
        """Begin one; it has to be landed."""
        flight = self._flights[where] = Flight(asyncio.get_running_loop().create_future())
        return flight

    def close_door(self, where: _Where, flight: Flight) -> None:
        """Nobody joins it any more."""
        flight.cover()
        if self._flights.get(where) is flight:
            del self._flights[where]

    def land(self, where: _Where, flight: Flight, landed: Landed) -> None:
        """End one, and tell those who wait."""
        if self._flights.get(where) is flight:
            del self._flights[where]
        if not flight.done.done() and not flight.done.get_loop().is_closed():
            flight.done.set_result(landed)

    def errand(self, body: Coroutine[Any, Any, None]) -> None:
        """Do something that no run waits for. A call that is closed after its loop has ended leaves nothing to do."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            body.close()
            return
        task = loop.create_task(body, context=outside_runs())
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    def count(self, tenant: str, gate: Gate, agent: str, name: str, **figures: int) -> None:
        """Add to this hour's counts."""
        key = tenant, self.clock.now_us() // HOUR * HOUR, gate, agent, name
        known = self._counts.get(key)
        if known is None:
            if len(self._counts) >= COUNTS_HELD:
                return
            known = self._counts[key] = dict.fromkeys(FIGURES, 0)
        for figure, value in figures.items():
            known[figure] += value

    async def flush(self) -> int:
        """Write what was counted; how many counts.

        Raises:
            JournalError: it could not be, and is kept for the next time.
        """
        counts, self._counts = self._counts, {}
        if not counts:
            return 0
        try:
            await self.entries.count([Count(*key, *figures.values()) for key, figures in counts.items()])
        except JournalError:
            for key, figures in counts.items():
                known = self._counts.setdefault(key, figures)
                if known is not figures:
                    for figure, value in figures.items():
                        known[figure] += value
            raise
        return len(counts)

    async def close(self) -> None:
        """Finish what is under way."""
        if self._errands:
            _, late = await asyncio.wait(self._errands, timeout=CLOSE_SECONDS)
            for task in late:
                task.cancel()
        with contextlib.suppress(JournalError):
            await self.flush()
