"""A time-out inside a run, on the record: what it cuts short, and when the agent learns of it.

A time-out has up to three turns among the run's outcomes. Its beginning (``timer.set``): what goes on inside starts
then. Its firing (``timer.fired``): from then on nothing inside gets an outcome any more, and calls in flight are cut
short where that may be done. Its end (``timer.fired``, settled): every call inside has ended, and those whose effect
was in doubt are settled; the agent's code inside is closed where it stands, and the agent gets `TimedOut`. When what
goes on inside ends first, there is only the beginning.
"""

import asyncio
import inspect
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from penstock.events import (
    ApprovalRequested,
    ApprovalVoted,
    ChildIntent,
    TimerFired,
    TimerSet,
    ToolIntent,
    ToolOutcome,
    Waiting,
)
from penstock.gates.order.branches import Branch, outside_runs
from penstock.gates.order.tape import is_in_doubt
from penstock.gates.run.call import Call
from penstock.gates.run.context import RunContext
from penstock.kernel.errors import InputInvalid, TimedOut

MAX_SECONDS = 366 * 86_400.0

_EXPIRED: Final = object()


async def timeout(ctx: RunContext, seconds: float, body: Coroutine[Any, Any, Any]) -> Any:
    """What ``body`` returns, if it ends within so many seconds of the store's clock, parked ones included.

    Raises:
        TimedOut: it did not. Its calls in flight were cut short, and what became of its writes is known.
        InputInvalid: the time is not from 0 seconds to 366 days.
    """
    started = False
    try:
        if not 0 <= seconds <= MAX_SECONDS:
            raise InputInvalid(f"a time-out is from 0 seconds to 366 days, not {seconds!r}")
        call = ctx.enter("timer", "timeout", str(int(seconds * 1e6)))
        if call.recorded:
            await ctx.schedule.recorded_turn(call.branch, call.path)
            ctx.seen.release(call.recorded[:1])
        else:
            await ctx.schedule.live(call.path)
            await ctx.perform(call, _set(ctx, call, int(seconds * 1e6)))
        started = True
    finally:
        if not started:
            _close_unstarted(body)
    return await Timeout(ctx, call, seconds).run(body)


async def _set(ctx: RunContext, call: Call, duration: int) -> None:
    until = ctx.now() + duration
    ctx.record(call, ctx.event(TimerSet, call.path, until=until, duration=duration, name="timeout"))


class Timeout:
    """One time-out that the agent is in."""

    def __init__(self, ctx: RunContext, call: Call, seconds: float) -> None:
        begun = call.recorded[0]
        assert isinstance(begun, TimerSet)
        self.prefix = f"{call.path}."
        self.until = begun.until
        self.frozen = False
        self._ctx = ctx
        self._call = call
        self._seconds = seconds
        self._over = False
        self._done: asyncio.Future[Any] = ctx.schedule.loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._under: list[Branch] = []
        self._pending: set[Branch] = set()

    async def run(self, body: Coroutine[Any, Any, Any]) -> Any:
        """Run ``body`` inside.

        Raises:
            TimedOut: the time came first.
        """
        ctx, call = self._ctx, self._call
        branch = ctx.schedule.bind()
        ctx.scopes[call.path] = self
        if any(isinstance(event, TimerFired) for event in call.recorded):
            ctx.schedule.post_recorded(branch, call.path, self._fire)
        else:
            ctx.schedule.when_live(branch, self._arm)
        try:
            result = await ctx.schedule.enclose(branch, body, call.path, self._done)
        finally:
            self._over = True
            if self._timer is not None:
                self._timer.cancel()
        del ctx.scopes[call.path]
        if result is _EXPIRED:
            effects = _effects(self._under)
            words = f"what had {self._seconds:g} s at {call.path} was cut short"
            raise TimedOut(words, path=call.path, seconds=self._seconds, took_effect=effects)
        ctx.mail.expect_no_more(call.path)
        ctx.schedule.forget(call.path)
        if isinstance(result, BaseException):
            raise result
        return result

    def ended(self, branch: Branch) -> None:
        """A call in this branch is over."""
        if branch in self._pending:
            self._pending.discard(branch)
            self._settle()

    def _arm(self) -> None:
        """Wait for the time."""
        if self._over:
            return
        path = self._call.path
        self._ctx.mail.expect(Waiting("timer", path, "timeout", until=self.until))
        self._look()

    def _look(self) -> None:
        """Record that the time has come, when it has."""
        ctx, call = self._ctx, self._call
        if self._over or call.branch.cut or ctx.schedule.stopping:
            return
        left = (self.until - ctx.now()) / 1e6
        if left > 0:
            self._timer = ctx.schedule.loop.call_later(left, self._look, context=outside_runs())
            return
        ctx.mail.expect_no_more(call.path)
        ctx.record(call, ctx.event(TimerFired, call.path, late=max(0, ctx.now() - self.until)))
        ctx.schedule.post(call.branch, self._fire)

    def _fire(self) -> None:
        """Its turn has come: nothing inside gets an outcome any more."""
        ctx = self._ctx
        if self._over or self._done.done():
            return  # what went on inside ended a moment before
        self.frozen = True
        self._under = ctx.schedule.cut(self.prefix, _has_to_end)
        ctx.on_objection(ctx.schedule.sever([branch for branch in self._under if branch.suspended_on is not None]))
        for path in [path for path in ctx.mail.waiting if path.startswith(self.prefix)]:
            if path in ctx.scopes:
                ctx.mail.expect_no_more(path)
        self._pending = {branch for branch in self._under if self._goes_on(branch)}
        for branch in self._pending:
            if branch.call.performing:
                ctx.interrupt(branch)
        self._settle()

    def _goes_on(self, branch: Branch) -> bool:
        call = branch.call
        return call is not None and (call.performing or self._ctx.schedule.waits_to_go_live(call.path))

    def _settle(self) -> None:
        """Go on to the end once nothing inside is under way."""
        call, schedule = self._call, self._ctx.schedule
        if self._pending or call.branch.cut:
            return
        if any(isinstance(event, TimerFired) and event.settled for event in call.recorded):
            schedule.post_recorded(call.branch, call.path, self._end)
        else:
            schedule.when_live(call.branch, self._record_end)

    def _record_end(self) -> None:
        ctx, call = self._ctx, self._call
        ctx.record(call, ctx.event(TimerFired, call.path, late=max(0, ctx.now() - self.until), settled=True))
        ctx.schedule.post(call.branch, self._end)

    def _end(self) -> None:
        """Its turn has come: close what is inside, and let the agent go on."""
        ctx = self._ctx
        ctx.seen.release(event for event in self._call.recorded if isinstance(event, TimerFired))
        for branch in self._under:
            if branch.call is not None:
                ctx.seen.release(branch.call.recorded)
        ctx.on_objection(ctx.schedule.sever(self._under))
        for path in [path for path in ctx.mail.waiting if path.startswith(self.prefix)]:
            ctx.mail.expect_no_more(path)
        for path in [path for path in ctx.scopes if path.startswith(self.prefix)]:
            del ctx.scopes[path]
        ctx.schedule.loose += 1
        self._done.set_result(_EXPIRED)


def _close_unstarted(coro: Coroutine[Any, Any, Any]) -> None:
    """Close a coroutine that never ran, and those it was given (`run.gather`'s): else each would warn of itself."""
    frame = getattr(coro, "cr_frame", None)
    held = list(frame.f_locals.values()) if frame is not None else []
    coro.close()
    for value in held:
        for item in value if isinstance(value, tuple | list) else (value,):
            if inspect.iscoroutine(item) and inspect.getcoroutinestate(item) == inspect.CORO_CREATED:
                _close_unstarted(item)


def _has_to_end(branch: Branch) -> bool:
    """Whether the call that the branch is in has begun something whose end must be known."""
    call = branch.call
    if call is None or not call.recorded:
        return False
    if is_in_doubt(call.recorded):
        return True
    last = call.recorded[-1]
    return isinstance(last, ChildIntent | ApprovalRequested | ApprovalVoted)


def _effects(branches: Sequence[Branch]) -> list[str]:
    """Tools whose writes took effect although the agent saw no outcome of theirs."""
    names = []
    for branch in branches:
        events = branch.call.recorded if branch.call is not None else []
        intents = [event for event in events if isinstance(event, ToolIntent) and event.effect == "write"]
        good = any(isinstance(event, ToolOutcome) and event.status in ("ok", "happened") for event in events)
        if intents and good:
            names.append(intents[0].tool)
    return sorted(names)
