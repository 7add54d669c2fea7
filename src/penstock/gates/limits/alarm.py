"""A time-out for one await of the current task: `asyncio.timeout` at a third of its price."""

import asyncio
from types import TracebackType
from typing import Any, Self

from penstock.gates.order.branches import outside_runs


class Alarm:
    """Cancels the task inside the ``with`` block when the time is over, and raises TimeoutError instead.

    For one plain await at a time on the hot path; it does not nest and cannot be moved.
    """

    __slots__ = ("_fired", "_handle", "_seconds", "_task")

    def __init__(self, task: "asyncio.Task[Any]", seconds: float) -> None:
        """``task``: the one that enters the block."""
        self._task = task
        self._seconds = seconds
        self._fired = False

    def __enter__(self) -> Self:
        self._handle = self._task.get_loop().call_later(self._seconds, self._ring, context=outside_runs())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._handle.cancel()
        if self._fired and self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _ring(self) -> None:
        self._fired = True
        self._task.cancel()
