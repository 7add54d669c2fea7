"""What a worker does for ever besides its runs, such as firing schedules, while it takes on work."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from penstock.kernel.clock import Clock
from penstock.kernel.errors import JournalError
from penstock.kernel.randomness import jitter

_logger = logging.getLogger("penstock.runs")


async def keep_looking(
    look: Callable[[], Coroutine[Any, Any, int]], full: int, clock: Clock, pause_seconds: float, what: str
) -> None:
    """Look, wait, look again, until cancelled; at once when a look found as much as it takes, ``full``."""
    while True:
        pause = pause_seconds
        try:
            if await look() == full:
                continue
        except JournalError as error:
            _logger.warning("%s cannot be looked at: %s", what, error.what)
            pause += jitter(0, pause)
        except Exception:  # whatever it is, those of everybody else go on
            _logger.exception("looking at %s failed", what)
        await clock.sleep(pause)


class Duties:
    """Coroutine functions that are started with a worker's lease. Each may be cut off at any moment."""

    def __init__(self) -> None:
        self._duties: list[Callable[[], Coroutine[Any, Any, None]]] = []

    def add(self, duty: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do this too, from the next lease on."""
        self._duties.append(duty)

    @contextlib.asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """While the block runs, all duties do."""
        tasks = [asyncio.create_task(duty()) for duty in self._duties]
        for task in tasks:
            task.add_done_callback(_complain)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)


def _complain(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _logger.error("a duty of the worker failed and is not done any more", exc_info=error)
