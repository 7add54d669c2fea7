"""Agent code that makes tasks of its own: a framework's loop as one branch of a run, its calls in scopes.

A framework runs in tasks that the engine does not drive, so its calls cannot be told apart by position. Each is made
in a *scope*, which has a name of the framework's own and is a branch while a call is under way. Calls inside a scope
are sequential and replay like any others. The order across scopes is the tape's, but nothing is promised of it.

What the engine cannot see is whether such code still moves between two calls. It counts as moving whenever no call is
under way; and while some are, until all that it announced are under way (`Scopes.expect`), or nothing has happened for
`SETTLE_SECONDS`. Only then can the run park, and only then does an outcome on the tape that nobody waits for diverge.
"""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from penstock.gates.order.branches import UNWOUND, Branch, outside_runs
from penstock.gates.run.context import RunContext
from penstock.kernel.errors import GateCancelled, GateMisused

T = TypeVar("T")

SETTLE_SECONDS = 5.0
"""Code between two calls that is silent for so long, while other calls of it wait, counts as waiting for them."""


async def host(ctx: RunContext, work: "Callable[[Scopes], Coroutine[Any, Any, T]]") -> T:
    """Run a framework's code, which makes its calls through the scopes it is given; what it returns.

    When the run is put away the code is cancelled, in its own tasks and after its calls were closed.

    Raises:
        GateMisused: not from a branch of this run.
    """
    branch = ctx.schedule.bind()
    path = branch.next_path()
    ctx.schedule.unbind(branch)
    scopes = Scopes(ctx, branch, path)
    result: T = await scopes.drive(work(scopes))
    return result


class Scopes:
    """The scopes of one framework's code, inside one branch of a run."""

    def __init__(self, ctx: RunContext, branch: Branch, path: str) -> None:
        self.ctx = ctx
        self._schedule = ctx.schedule
        self._branch = branch
        self._path = path
        self._done: asyncio.Future[None] = ctx.schedule.loop.create_future()
        self._counters: dict[str, int] = {}
        self._under_way = 0
        self._expected: set[str] = set()
        self._settled = False
        self._closed = False
        self._watch: asyncio.Task[None] | None = None

    async def drive(self, coro: Coroutine[Any, Any, T]) -> T:
        """Run the framework's main coroutine in a task of its own, and wait for it as the branch."""
        task = self._schedule.loop.create_task(coro, context=contextvars.copy_context())
        task.add_done_callback(self._ended)
        try:
            await self._done
        finally:
            self._closed = True
            self._unwatch()
            if not task.done():
                task.cancel()
        return task.result()

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        if not task.cancelled():
            task.exception()  # whoever put the run away does not ask for it
        if not self._closed:
            self._move()
            self._done.set_result(None)

    def expect(self, names: "set[str]") -> None:
        """The calls that the framework makes next, side by side, each in its scope; some may not come."""
        self._expected = set(names)

    async def call(self, name: str, body: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What ``body()``, which makes gate calls, returns; it runs as the branch of that scope.

        May be awaited in any task of the framework. One that is cancelled while it waits waits all the same until the
        call has ended: what a call did is never left unrecorded.

        Raises:
            GateMisused: the run is being put away, or the scope has a call under way already.
        """
        if self._closed:
            raise GateMisused("a gate was called while the run was being put away", hint="`finally` blocks cannot act")
        if name in self._counters and self._counters[name] < 0:
            raise GateMisused(f"two calls at once in the scope {name}", hint="make them one after the other")
        outcome: asyncio.Future[T] = self._schedule.loop.create_future()
        self._begin(name, body(), outcome)
        cancelled: asyncio.CancelledError | None = None
        while not outcome.done():
            over: asyncio.Future[None] = self._schedule.loop.create_future()
            outcome.add_done_callback(partial(_wake, over))
            try:
                await over
            except asyncio.CancelledError as error:
                if self._closed:
                    raise
                cancelled = error
        if cancelled is not None:
            outcome.exception()
            raise cancelled
        return outcome.result()

    def _begin(self, name: str, coro: Coroutine[Any, Any, T], outcome: "asyncio.Future[T]") -> None:
        """Start the call as a branch."""
        schedule = self._schedule
        context = contextvars.copy_context()
        branch = schedule.begin(f"{self._path}.{name}.", context)
        branch.counter = self._counters.get(name, 0)
        self._counters[name] = -1
        self._under_way += 1

        async def drive() -> None:
            result: Any = None
            failure: BaseException | None = None
            try:
                result = await branch.drive(coro)
            except asyncio.CancelledError as error:
                failure = GateCancelled("a call of the framework's was cancelled inside the gate")
                failure.__cause__ = error
            except Exception as error:
                failure = error
            if result is UNWOUND:
                return
            self._counters[name] = branch.counter
            self._under_way -= 1
            self._expected.discard(name)
            # Before anything else is released: what it leads to may be a call that the tape is waiting for.
            if self._under_way == 0:
                self._move()
            if failure is None:
                outcome.set_result(result)
            else:
                outcome.set_exception(failure)
            schedule.finish(branch)
            self._consider()

        branch.coro = coro
        branch.task = schedule.loop.create_task(drive(), context=context)
        self._consider()

    def _consider(self) -> None:
        """Whether the framework can do nothing now but wait; otherwise look again later."""
        if self._closed or self._under_way == 0:
            return
        if all(self._counters.get(name, 0) < 0 for name in self._expected):
            self._settle()
        else:
            self._move()
            self._watch = self._schedule.loop.create_task(self._settle_later(), context=outside_runs())

    async def _settle_later(self) -> None:
        await self.ctx.services.clock.sleep(SETTLE_SECONDS)
        self._watch = None
        self._settle()

    def _settle(self) -> None:
        """The framework waits for its calls: the branch stands still in them."""
        self._unwatch()
        if self._settled or self._closed or self._under_way == 0 or self._branch.suspended_on is None:
            return
        self._settled = True
        self._branch.bound = True
        self._schedule.resumed(self._branch)
        self._schedule.loose -= 1
        self._schedule.step()

    def _move(self) -> None:
        """The framework moves: nothing is known of what it does next."""
        self._unwatch()
        if self._settled:
            self._settled = False
            self._branch.bound = False
            self._schedule.loose += 1
            self._schedule.suspended(self._branch, self._done)

    def _unwatch(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None and watch is not asyncio.current_task():
            watch.cancel()


def _wake(waiter: "asyncio.Future[None]", _: object) -> None:
    if not waiter.done():
        waiter.set_result(None)
