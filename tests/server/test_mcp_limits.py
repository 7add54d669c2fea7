"""Budgets above the task and breakers before the tools of an MCP server: through the proxy, and in agents."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from mcp import Client
from tests.server.test_mcp_proxy import QUICK, Upstream, meta, proxied

from penstock import Run, agent
from penstock.integrations.mcp import mcp_tools
from penstock.kernel.clock import SystemClock
from penstock.kernel.errors import CallDenied, ToolFailed
from penstock.ports.breakers import Breaker, Condition
from penstock.ports.budgets import Budget
from penstock.runs.breakers import Breaking
from penstock.runs.client import Penstock
from penstock.testing import in_memory

Call = Callable[[str, str], Awaitable[str]]
"""A tool's name and a text; the code of what was in its way, "" = nothing."""


@contextlib.asynccontextmanager
async def through_the_proxy() -> AsyncIterator[tuple[Penstock, Upstream, Call]]:
    """Each second call is of another client, so of another session and run."""
    async with proxied() as world, Client(world.proxy.server) as one, Client(world.proxy.server) as other:
        clients = [one, other]

        async def call(name: str, text: str) -> str:
            clients.reverse()
            result = await clients[0].call_tool(name, {"text": text})
            return str(meta(result).get("penstock/code", ""))

        yield world.platform, world.upstream, call


@contextlib.asynccontextmanager
async def in_agents() -> AsyncIterator[tuple[Penstock, Upstream, Call]]:
    """Each call is of another run."""
    upstream = Upstream()
    server = upstream.server()
    tools = {tool.name: tool for tool in await mcp_tools(server)}

    @agent("caller")
    async def caller(run: Run, given: list[str]) -> str:
        try:
            await run.call(tools[given[0]], text=given[1])
        except CallDenied as denied:
            return str(denied.fields["rule"])
        except ToolFailed as failed:
            return str(failed.fields["failure"])
        return ""

    async with in_memory(QUICK) as platform:

        async def call(name: str, text: str) -> str:
            result = await platform.run(caller, [name, text])
            return result.code if result.output is None else str(result.output)

        yield platform, upstream, call
        upstream.go_on.set()
    await server.close()


WAYS = pytest.mark.parametrize("way", [through_the_proxy, in_agents])


@WAYS
async def test_a_shared_budget_bounds_the_calls_of_all_of_them(way: Any) -> None:
    async with way() as (platform, upstream, call):
        await platform.journal.budgets.put(Budget("default", "calls", {}, "total", calls=5), "ops")
        platform.services.budgets.listing.forget()
        codes = Counter(await asyncio.gather(*(call("write", str(number)) for number in range(12))))
        assert codes == {"": 5, "over_shared_calls": 7}
        assert len(upstream.calls) == 5


@WAYS
async def test_a_breaker_that_its_failures_trip_holds_a_tool_back_until_it_is_closed(way: Any) -> None:
    async with way() as (platform, upstream, call):
        breaking = Breaking(platform.journal, SystemClock(), "default")
        await breaking.put(Breaker("", "look", "tool", "look", (Condition("failures", 3),)), "ops")
        await platform.services.breakers.ready()
        assert await call("look", "0") == ""
        upstream.fails = True
        assert [await call("look", str(number)) for number in range(1, 4)] == ["mcp_tool_error"] * 3
        async with asyncio.timeout(5):
            while not (await breaking.get("look")).count("open"):
                await asyncio.sleep(0.01)
        upstream.fails = False
        asked = len(upstream.calls)
        assert await call("look", "4") == "breaker_open"
        assert await call("write", "5") == "", "other tools go on"
        assert len(upstream.calls) == asked + 1
        await breaking.reset("look", None, "ops")
        await platform.services.breakers.ready()
        async with asyncio.timeout(5):
            while await call("look", "6"):
                await asyncio.sleep(0.01)
