"""What a worker does for the cache besides its runs: it writes what was counted, and removes what is over."""

from penstock.gates.run.services import Services
from penstock.runs.duties import keep_looking

FLUSH_SECONDS = 1.0
SWEEP_EVERY = 60
"""Looks from one sweep to the next."""
SWEPT_AT_ONCE = 1_000
NEVER = -1  # no look is full: each has its pace


class CacheKeeping:
    """The duty of a worker whose gates have a cache."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._looks = 0

    async def run(self) -> None:
        """Until cancelled."""
        await keep_looking(self.look, NEVER, self._services.clock, FLUSH_SECONDS, "the cache")

    async def look(self) -> int:
        """Write what was counted; now and then sweep.

        Raises:
            JournalError: the store cannot be reached.
        """
        cache = self._services.cache
        if cache is None:
            return 0
        await cache.flush()
        self._looks += 1
        if self._looks % SWEEP_EVERY == 0:
            while await cache.entries.sweep(SWEPT_AT_ONCE) >= SWEPT_AT_ONCE:
                pass
        return 0
