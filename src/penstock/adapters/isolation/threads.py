"""Synchronous reads: a bounded pool of daemon threads."""

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from penstock.adapters.isolation.faults import raised_by_tool
from penstock.adapters.isolation.places import Places
from penstock.kernel.clock import Clock
from penstock.kernel.errors import IsolationFull
from penstock.ports.tools import StartedTooLate, ToolDef, ToolTimedOut, TransientToolError


@dataclass(slots=True, frozen=True)
class _Ended:
    value: Any = None
    error: Exception | None = None


@dataclass(slots=True, eq=False)
class _Job:
    call: Callable[..., Any]
    kwargs: dict[str, Any]
    start_by_boot_ns: int
    report: Callable[[_Ended], None]
    given_up: bool = False


_Inbox = SimpleQueue[_Job | None]


class ThreadPool:
    """At most ``max_threads`` threads, started when needed, each waiting for its next call.

    They are daemons, unlike those of `concurrent.futures`: one that hangs must not keep the process from ending.
    """

    def __init__(self, max_threads: int, clock: Clock) -> None:
        self._clock = clock
        self._max = max_threads
        self._places = Places(max_threads, "threads", clock)
        self._idle: list[_Inbox] = []
        self._started = 0
        self._hanging: dict[_Job, str] = {}  # calls that nobody waits for any more, with the tool's name

    async def run(self, tool: ToolDef, kwargs: dict[str, Any], timeout_seconds: float, start_by_boot_ns: int) -> Any:
        """See `ToolIsolation.run`."""
        self._refuse_if_all_hang()
        try:
            await self._places.take(start_by_boot_ns)
        except StartedTooLate:
            self._refuse_if_all_hang()
            raise
        inbox = self._thread()
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[_Ended] = loop.create_future()

        def report(outcome: _Ended) -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody is left to be told
                loop.call_soon_threadsafe(self._take_back, job, inbox, ended, outcome)

        job = _Job(tool.call, kwargs, start_by_boot_ns, report)
        inbox.put(job)
        try:
            await asyncio.wait({ended}, timeout=timeout_seconds)
        finally:
            if not ended.done():
                job.given_up = True
                self._hanging[job] = tool.name
        if not ended.done():
            raise ToolTimedOut(f"no answer within {timeout_seconds:g} s; the thread is left to itself")
        outcome = ended.result()
        if outcome.error is not None:
            raise outcome.error
        return outcome.value

    def close(self) -> None:
        """Let idle threads end; one that is busy ends after its call."""
        self._places.closed = True
        for inbox in self._idle:
            inbox.put(None)
        self._idle.clear()

    def _refuse_if_all_hang(self) -> None:
        if len(self._hanging) < self._max:
            return
        names = ", ".join(f"{name} ({count})" for name, count in Counter(self._hanging.values()).most_common(5))
        raise IsolationFull(f"all {self._max} threads for synchronous reads hang in calls over their time-out: {names}")

    def _thread(self) -> _Inbox:
        if self._idle:
            return self._idle.pop()
        inbox: _Inbox = SimpleQueue()
        name = f"penstock-read-{self._started}"
        try:
            threading.Thread(target=_work, args=(inbox, self._clock), name=name, daemon=True).start()
        except RuntimeError as error:
            self._places.give_back()
            raise TransientToolError(f"no thread could be started: {error}") from error
        self._started += 1
        return inbox

    def _take_back(self, job: _Job, inbox: _Inbox, ended: "asyncio.Future[_Ended]", outcome: _Ended) -> None:
        self._hanging.pop(job, None)
        if self._places.closed:
            inbox.put(None)
        else:
            self._idle.append(inbox)
        self._places.give_back()
        ended.set_result(outcome)


def _work(inbox: _Inbox, clock: Clock) -> None:
    while (job := inbox.get()) is not None:
        job.report(_perform(job, clock))
        del job  # arguments and result must not live on while the thread is idle


def _perform(job: _Job, clock: Clock) -> _Ended:
    if job.given_up or clock.boot_ns() > job.start_by_boot_ns:
        return _Ended(error=StartedTooLate("the start allowance was over when the thread was about to call"))
    try:
        return _Ended(job.call(**job.kwargs))
    except BaseException as error:  # noqa: BLE001 - whatever the tool raises is its outcome
        return _Ended(error=raised_by_tool(error))
