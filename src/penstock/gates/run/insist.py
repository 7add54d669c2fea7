"""Asking a store from within a gate until it answers."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from penstock.gates.run.context import RunContext
from penstock.kernel.backoff import until_answered

T = TypeVar("T")


async def insist(ctx: RunContext, ask: Callable[[], Awaitable[T]]) -> T:
    """The store's answer, however long it cannot be reached: the agent's code has nothing to do with that."""

    async def pause(seconds: float) -> None:
        if ctx.fault is not None:
            await ctx.halt()
        await ctx.services.clock.sleep(seconds)

    return await until_answered(ask, pause)
