"""Coroutines of an agent that run side by side, each as a branch."""

import asyncio
import contextvars
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from penstock.gates.order.branches import UNWOUND, Branch

if TYPE_CHECKING:
    from penstock.gates.order.schedule import Schedule


class Group:
    """Some coroutines, of which a bounded number runs at a time.

    Attributes:
        results: what they returned or raised, in their order.
        done: set when all have ended; the branch that waits for them counts as loose from then on.
    """

    def __init__(self, schedule: "Schedule", coros: Sequence[Coroutine[Any, Any, Any]], path: str) -> None:
        self.results: list[Any] = [None] * len(coros)
        self.done: asyncio.Future[None] = schedule.loop.create_future()
        self._schedule = schedule
        self._path = path
        self._waiting = deque(enumerate(coros))
        self._left = len(coros)

    def start(self) -> None:
        """Let the next one begin."""
        index, coro = self._waiting.popleft()
        context = contextvars.copy_context()
        child = self._schedule.begin(f"{self._path}.{index}.", context)
        child.coro = coro
        child.task = self._schedule.loop.create_task(self._drive(child, index, coro), context=context)

    def close(self) -> None:
        """Those that have not begun never will."""
        for _, coro in self._waiting:
            coro.close()

    async def _drive(self, child: Branch, index: int, coro: Coroutine[Any, Any, Any]) -> None:
        try:
            self.results[index] = await child.drive(coro)
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            self.results[index] = error
        if self.results[index] is UNWOUND:
            return
        self._left -= 1
        if self._waiting:
            self.start()
        if self._left == 0:
            self._schedule.loose += 1
            self.done.set_result(None)
        self._schedule.finish(child)
