"""Cutting off a model call or a read that is in flight when a breaker that covers it trips. Never a write."""

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from penstock.events import Failure

if TYPE_CHECKING:
    from penstock.gates.breakers.guard import BreakerGuard, Covered

CUT = Failure("breaker_open", "permanent", "a circuit breaker tripped while the call was under way")


class CallCut(Exception):
    """The call was cut off."""


class Cut:
    """For one plain await of a task: when one of the circuits opens inside the ``with`` block, the task is cancelled
    and `CallCut` raised instead. Inside a `penstock.gates.limits.alarm.Alarm`, not around one."""

    __slots__ = ("_circuits", "_guard", "_has_rung", "_task")

    def __init__(self, guard: "BreakerGuard", circuits: "Covered", task: "asyncio.Task[Any]") -> None:
        self._guard = guard
        self._circuits = circuits
        self._task = task
        self._has_rung = False

    def __enter__(self) -> Self:
        for circuit in self._circuits:
            circuit.cuts.add(self)
        self._guard.entered()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for circuit in self._circuits:
            circuit.cuts.discard(self)
        self._guard.left()
        if self._has_rung and self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise CallCut from error

    def ring(self) -> None:
        """Cut it off."""
        if not self._has_rung:
            self._has_rung = True
            self._task.cancel()
