"""An event loop on a fake clock that runs many simulated processes.

Each process has its own queue of what is ready, in the order in which it became ready, as its own loop would have;
which process moves next is drawn from the seed. When nothing is ready time jumps to the next timer. A process can be
killed between any two steps (nothing of it runs any more, no `finally` either) or stopped and continued.

A step belongs to the process that is named in its context, so whoever awaits is who goes on.
"""

import asyncio
import contextvars
import heapq
import random
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

STEPS_MAX = 400_000
"""Steps of one simulation; more means that something goes round in a circle."""


class Stuck(AssertionError):
    """Nothing can move any more, or it never comes to rest."""


class Process:
    """One simulated process: its queue, and whether it lives."""

    def __init__(self, name: str, loop: "SimulatedLoop") -> None:
        self.name = name
        self.loop = loop
        self.ready: deque[Step] = deque()
        self.dead = False
        self.stopped = False
        self.steps = 0
        self.fuse = 0  # steps until ``on_fuse``; 0 = none
        self.on_fuse: Callable[[], None] = lambda: None
        self.context = contextvars.copy_context()
        self.context.run(PROCESS.set, self)

    def spawn(self, coro: Coroutine[Any, Any, T], name: str = "task") -> "asyncio.Task[T]":
        """Start a task in this process."""
        return self.loop.create_task(coro, name=name, context=self.context.copy())

    def soon(self, delay: float, callback: Callable[..., object], *args: object) -> "Step":
        """Call back in this process after ``delay`` seconds."""
        return self.loop.call_later(delay, callback, *args, context=self.context)

    def kill(self) -> None:
        """As SIGKILL does."""
        self.dead = True
        self.loop.bury(self)
        self.ready.clear()

    def stop(self) -> None:
        """As SIGSTOP does."""
        self.stopped = True
        self.loop.rest(self)

    def resume(self) -> None:
        """As SIGCONT does."""
        self.stopped = False
        if self.ready:
            self.loop.runnable.append(self)


PROCESS: contextvars.ContextVar[Process] = contextvars.ContextVar("simulated_process")


class Step:
    """A callback that waits for its turn, or for its time: `asyncio.Handle` with nothing in it that costs time."""

    __slots__ = ("args", "callback", "context", "process", "time")

    def __init__(
        self,
        callback: Callable[..., object],
        args: tuple[object, ...],
        context: contextvars.Context,
        process: Process,
        time: float,
    ) -> None:
        self.callback: Callable[..., object] | None = callback
        self.args = args
        self.context = context
        self.process = process
        self.time = time

    def cancel(self) -> None:
        """It will not run."""
        self.callback = None
        self.args = ()

    def cancelled(self) -> bool:
        return self.callback is None

    def when(self) -> float:
        """The loop's time at which it is due."""
        return self.time


class SimulatedLoop(asyncio.BaseEventLoop):
    """See the module."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.set_debug(False)
        self._rng = rng
        self._now = 0.0
        self._timers: list[tuple[float, int, Step]] = []
        self._number = 0
        self.runnable: list[Process] = []
        self.steps = 0
        self.graves: list[asyncio.Task[Any]] = []
        self.over = False
        self.main = Process("main", self)

    def time(self) -> float:
        return self._now

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: object, context: contextvars.Context | None = None
    ) -> Step:
        if context is None:
            context = contextvars.copy_context()
        step = Step(callback, args, context, context.get(PROCESS, self.main), self._now)
        self._enqueue(step)
        return step

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: object, context: contextvars.Context | None = None
    ) -> Step:
        if context is None:
            context = contextvars.copy_context()
        step = Step(callback, args, context, context.get(PROCESS, self.main), when)
        self._number += 1
        heapq.heappush(self._timers, (when, self._number, step))
        return step

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: object, context: contextvars.Context | None = None
    ) -> Step:
        return self.call_at(self._now + max(0.0, delay), callback, *args, context=context)

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, T], *, name: str | None = None, context: contextvars.Context | None = None
    ) -> "asyncio.Task[T]":
        process = (context or contextvars.copy_context()).get(PROCESS, self.main)
        named = f"{process.name}|{name or ''}"
        return asyncio.Task(coro, loop=self, name=named, context=context)

    def bury(self, process: Process) -> None:
        """Keep a dead process's tasks from being collected: that would run their `finally` blocks."""
        self.rest(process)
        prefix = process.name + "|"
        self.graves += [task for task in asyncio.all_tasks(self) if task.get_name().startswith(prefix)]

    def rest(self, process: Process) -> None:
        """The process has nothing to run for now."""
        if process in self.runnable:
            self.runnable.remove(process)

    def finish(self) -> None:
        """Put everything away without running anything in it that would be seen."""
        self.over = True
        self.runnable.clear()
        self._timers.clear()
        self.graves += asyncio.all_tasks(self)
        for task in self.graves:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            _close(task.get_coro())
        self.graves.clear()
        self.close()

    def _enqueue(self, step: Step) -> None:
        process = step.process
        if process.dead or self.over:
            return
        queue = process.ready
        if not queue and not process.stopped:
            self.runnable.append(process)
        queue.append(step)

    def _run_once(self) -> None:
        """Run until somebody stops the loop. (Many steps, for speed; `run_forever` looks at nothing else.)"""
        runnable, draw = self.runnable, self._rng.random
        while not self._stopping:  # type: ignore[attr-defined]
            if not runnable:
                self._advance()
                continue
            process = runnable[0] if len(runnable) == 1 else runnable[int(draw() * len(runnable))]
            if process.fuse:
                process.fuse -= 1
                if not process.fuse:
                    process.on_fuse()
                    continue
            step = process.ready.popleft()
            if not process.ready:
                runnable.remove(process)
            callback = step.callback
            if callback is None:
                continue
            process.steps += 1
            self.steps += 1
            if self.steps > STEPS_MAX:
                raise Stuck(f"{STEPS_MAX} steps, and no end")
            try:
                step.context.run(callback, *step.args)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:  # noqa: BLE001 - as `asyncio.Handle` does
                self.call_exception_handler({"message": f"exception in {callback!r}", "exception": error})

    def _advance(self) -> None:
        """Time jumps to the next timer of a living process."""
        timers = self._timers
        while timers:
            when, _, step = heapq.heappop(timers)
            if step.callback is None or step.process.dead:
                continue
            self._now = max(self._now, when)
            self._enqueue(step)
            if not step.process.stopped:
                return
        raise Stuck("nothing is ready, and no timer is set")

    def _process_events(self, event_list: Any) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nothing comes from other threads."""


def _close(coro: Any) -> None:
    """Close a coroutine whatever it objects with; some await once more in a `finally` block."""
    for _ in range(50):
        try:
            coro.close()
        except BaseException:  # noqa: BLE001 - of no interest: its process is dead
            continue
        return


class ProcessClock:
    """`kernel.clock.Clock` of one process: its wall clock may be wrong and may jump, its boot clock is right."""

    EPOCH_US = 1_800_000_000_000_000

    def __init__(self, loop: SimulatedLoop, skew_us: int = 0) -> None:
        self._loop = loop
        self.skew_us = skew_us

    def now_us(self) -> int:
        return self.EPOCH_US + int(self._loop._now * 1e6) + self.skew_us

    def boot_ns(self) -> int:
        return int(self._loop._now * 1e9) + 1_000_000_000

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
