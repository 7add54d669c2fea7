"""When runs of one call are ended: behind the calls that clients wait for."""

import asyncio
from collections.abc import Callable

PUT_OFF_SECONDS = 0.005
"""How long at most: a gateway that is lost meanwhile leaves calls in doubt that had been answered."""
PUT_OFF_MAX = 256
"""Ends that may be put off at a time."""


class Closings:
    """Nobody waits for the end of such a run; but a call that waits for its intent would wait for it too, since the
    process prepares both. So ends are prepared while it waits for the journal to take something else, or soon."""

    def __init__(self) -> None:
        self._put_off: list[Callable[[], None]] = []
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, close: Callable[[], None]) -> None:
        """Call this soon."""
        self._put_off.append(close)
        if len(self._put_off) >= PUT_OFF_MAX:
            self.close_all()
        elif self._timer is None:
            self._timer = self._loop.call_later(PUT_OFF_SECONDS, self.close_all)

    def appending(self) -> None:
        """For the journal's writer: an append is about to leave. It has left two rounds of the loop later."""
        if self._put_off:
            self._loop.call_soon(self._loop.call_soon, self.close_all)

    def close_all(self) -> None:
        """Call all now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        put_off, self._put_off = self._put_off, []
        for close in put_off:
            close()
