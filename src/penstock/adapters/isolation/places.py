"""A bounded number of places, given out in the order of asking, not later than a reading of the boot clock."""

import asyncio

from penstock.kernel.clock import Clock
from penstock.ports.tools import StartedTooLate


class Places:
    """``most`` places for calls that must start by a given time."""

    def __init__(self, most: int, what: str, clock: Clock) -> None:
        """``what``: what the places are, in the plural, for the words of an error."""
        self._free = asyncio.Semaphore(most)
        self._most = most
        self._what = what
        self._clock = clock
        self.closed = False

    async def take(self, start_by_boot_ns: int) -> None:
        """Wait for a place.

        Raises:
            StartedTooLate: there is none in time, or there will be none any more.
        """
        left = (start_by_boot_ns - self._clock.boot_ns()) / 1e9
        if left < 0:
            raise StartedTooLate("the start allowance was over before the call")
        if not self.closed and self._free.locked():
            try:
                async with asyncio.timeout(left):
                    await self._free.acquire()
            except TimeoutError:
                raise StartedTooLate(f"none of {self._most} {self._what} came free in time") from None
        else:
            await self._free.acquire()
        if self.closed:
            self._free.release()
            raise StartedTooLate("the platform is closing")

    def give_back(self) -> None:
        """Free a place."""
        self._free.release()
