"""Hedged calls: a second attempt when the first is slow; the first good answer counts, the other is given up.

Source: J. Dean and L. A. Barroso, "The Tail at Scale", CACM 56(2), 2013. Only for what does not change the world:
model calls and reads. The second attempt has its own intent, reservation, place under the shared rate limits, and
counts as a try again in the retry budget.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from penstock.gates.rates.throttle import Kind, Permit
from penstock.gates.run.call import Call
from penstock.gates.run.context import RunContext
from penstock.rules.retries import allows_another

T = TypeVar("T")


async def hedged(
    ctx: RunContext,
    call: Call,
    after_seconds: float,
    first: Coroutine[Any, Any, T],
    leave: Callable[[], Coroutine[Any, Any, bool]],
    second: Callable[[], Awaitable[Coroutine[Any, Any, T] | None]],
    is_good: Callable[[T], bool],
) -> tuple[list[T], int]:
    """What the attempts came to, in the order in which they began, and which of them counts.

    Args:
        after_seconds: how long the first attempt has before there is a second.
        first, second: attempts; a cancelled one gives its result too. ``second`` writes its intent and then gives the
            attempt, or None when there is to be none.
        leave: waits until the second may start; False = it should not.
        is_good: an answer; when the first to end is none, the other is waited for.
    """
    # Each attempt is let begin before anything can cancel it: one that has begun gives a result in any case.
    tasks = [ctx.schedule.loop.create_task(first)]
    await asyncio.sleep(0)
    aside: list[asyncio.Task[Any]] = [ctx.schedule.loop.create_task(ctx.services.clock.sleep(after_seconds))]
    ended: list[int] = []
    try:
        if await _comes_before(ctx, call, aside[0], tasks[0]) and allows_another(ctx.facts):
            aside.append(ctx.schedule.loop.create_task(leave()))
            if await _comes_before(ctx, call, aside[1], tasks[0]) and _says_yes(aside[1]):
                body = await second()
                if body is not None:
                    tasks.append(ctx.schedule.loop.create_task(body))
                    await asyncio.sleep(0)
        ended = await _first_good(ctx, call, tasks, is_good)
    except asyncio.CancelledError:
        ctx.cancelled(call)
    except GeneratorExit:
        for task in [*tasks, *aside]:
            task.cancel()
        raise
    for task in [*tasks, *aside]:
        task.cancel()
    await asyncio.wait(tasks)
    if len(tasks) == 1 and len(aside) == 2 and _says_yes(aside[1]) and call.path in ctx.permits:
        ctx.permits[call.path].pop()[2].settle(0)
    results = [task.result() for task in tasks]
    good = [index for index in ended if is_good(results[index])]
    return results, good[0] if good else ended[-1] if ended else len(tasks) - 1


def _says_yes(task: "asyncio.Task[bool]") -> bool:
    return task.done() and not task.cancelled() and task.exception() is None and task.result()


async def _comes_before(ctx: RunContext, call: Call, task: "asyncio.Task[Any]", other: "asyncio.Task[Any]") -> bool:
    await ctx.interruptible(call.branch, _any_of(task, other))
    return task.done() and not other.done()


async def _any_of(*tasks: "asyncio.Task[Any]") -> None:
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)


async def _first_good(
    ctx: RunContext, call: Call, tasks: "list[asyncio.Task[T]]", is_good: Callable[[T], bool]
) -> list[int]:
    """Wait until one is good or all have ended; the indices of those that have, in the order of their end."""
    ended: list[int] = []
    while len(ended) < len(tasks):
        going = [task for index, task in enumerate(tasks) if index not in ended]
        await ctx.interruptible(call.branch, _any_of(*going))
        now = [index for index, task in enumerate(tasks) if task.done() and index not in ended]
        ended += now
        if any(is_good(tasks[index].result()) for index in now):
            break
    return ended


async def leave_of_limits(ctx: RunContext, call: Call, kind: Kind, name: str, tokens: Callable[[], int]) -> bool:
    """Whether the shared rate limits let a second attempt start; waits for its turn, but not for long."""
    service = ctx.services.throttle
    if service is None:
        return True
    lane = await service.lane_of(ctx.claim.tenant, kind, name)
    if lane is None:
        return True
    customer = ctx.claim.tenant, ctx.tape.submitted.tags.get("customer", "")
    permit = await service.enter(lane, customer, ctx.claim.release, tokens(), ctx.in_line)
    if not isinstance(permit, Permit):
        return False
    ctx.permits.setdefault(call.path, []).append((kind, name, permit))
    return True
