"""Structured concurrency that replays: branches, their paths, and who is allowed to move.

An agent is one branch; `run.gather` and `run.map` add more. A branch is *loose* while agent code may run in it, and
bound while it is inside a gate or waits for branches of its own. Outcomes are released one at a time, each only when
no branch is loose (one that is suspended on a future of its own, say a semaphore, does not count until that future is
done). So the order of what agent code does depends on the order of outcomes alone, live and in replay alike.
"""

import asyncio
import contextvars
from collections.abc import Coroutine, Generator
from typing import Any, Final, Protocol

from penstock.kernel.canonical import describe

CURRENT: contextvars.ContextVar["Branch | None"] = contextvars.ContextVar("penstock_branch", default=None)

UNWOUND: Final = object()
"""What driving a branch gives when the engine closed it before it returned."""


def outside_runs() -> contextvars.Context:
    """The current context, but of no run. For timers and tasks that belong to the process: the loop keeps cancelled
    timers for a while, and with their context all of a run that has ended."""
    context = contextvars.copy_context()
    context.run(CURRENT.set, None)
    return context


class Scheduler(Protocol):
    """Who is told of a branch's moves."""

    def suspended(self, branch: "Branch", on: "asyncio.Future[Any]") -> None:
        """A loose branch waits for a future that is no gate's."""
        ...

    def resumed(self, branch: "Branch") -> None:
        """It goes on."""
        ...


class Branch:
    """One line of control of a run. Awaiting it drives its coroutine."""

    __slots__ = (
        "bound",
        "call",
        "closed",
        "context",
        "coro",
        "counter",
        "cut",
        "prefix",
        "run",
        "suspended_on",
        "task",
    )

    def __init__(self, run: Scheduler, prefix: str, context: contextvars.Context) -> None:
        """``context`` is the one the branch's task was made with; the coroutine is closed in it."""
        self.run = run
        self.prefix = prefix
        self.context = context
        self.counter = 0
        self.bound = False
        self.closed = False
        self.cut = False  # a time-out around it has fired: no outcome is released to it any more
        self.call: Any = None  # the gate call it is in, until its outcome is released
        self.suspended_on: asyncio.Future[Any] | None = None
        self.coro: Coroutine[Any, Any, Any] | None = None
        self.task: asyncio.Task[Any] | None = None

    def next_path(self) -> str:
        path = f"{self.prefix}{self.counter}"
        self.counter += 1
        return path

    async def drive(self, coro: Coroutine[Any, Any, Any]) -> Any:
        """Run ``coro`` as this branch in the current task; its result, or ``UNWOUND``."""
        self.coro = coro
        self.task = asyncio.current_task()
        CURRENT.set(self)
        try:
            return await self
        except (Exception, asyncio.CancelledError, GeneratorExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            # SystemExit would end the worker, and one of the user's own would end the task without an outcome.
            raise RuntimeError(f"the agent's code raised {describe(error)}") from error
        finally:
            CURRENT.set(None)  # the task has this context, the context the branch, and the branch the task

    def __await__(self) -> Generator[Any, Any, Any]:
        coro = self.coro
        assert coro is not None
        error: BaseException | None = None
        while True:
            try:
                waited = coro.send(None) if error is None else coro.throw(error)
            except StopIteration as stop:
                return UNWOUND if self.closed else stop.value
            error = None
            if not self.bound and waited is not None:
                self.suspended_on = waited
                self.run.suspended(self, waited)
            try:
                yield waited
            except GeneratorExit:
                coro.close()
                raise
            except BaseException as thrown:
                error = thrown
            if self.suspended_on is not None:
                self.suspended_on = None
                self.run.resumed(self)
            if self.closed:
                error = None  # its traceback holds this frame
                return UNWOUND

    def close(self) -> BaseException | None:
        """Close the coroutine where it stands and let its task go; what it objected with, if it refused.

        The coroutine's ``finally`` blocks run here, in the run's own context.
        """
        self.closed = True
        objection: BaseException | None = None
        if self.coro is not None:
            try:
                self.context.run(self.coro.close)
            except BaseException as error:
                # Any other error is that of a `finally` block: the coroutine has ended with it.
                if isinstance(error, RuntimeError) and "ignored GeneratorExit" in str(error):
                    objection = error
        if self.task is not None:
            self.task.cancel()
        return objection
