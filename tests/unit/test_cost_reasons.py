"""Why a customer is dear: named against the others, with its runs, its spiral and its step."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from penstock import Agent, Settings, tool
from penstock.events.messages import ToolCall
from penstock.ports.model import ModelRequest, Price
from penstock.runs.client import Penstock
from penstock.testing import ScriptedModel, tool_call
from penstock.views.cost_reasons import explain
from penstock.wiring import open_in_memory

PRICE = Price(1_000.0, 2_000.0, source="test")
HOUR = 3_600_000_000


@tool(effect="read")
async def search(query: str) -> str:
    """Finds nothing, ever."""
    return "no match"


@tool(effect="read")
async def look_up(order: str) -> str:
    """Finds the order."""
    return f"order {order} was shipped on day {len(order)}"


class Desk(ScriptedModel):
    """Looks once and answers; asked about something strange it searches the same thing over and over."""

    def __init__(self) -> None:
        super().__init__([self._next], "test:desk", PRICE, repeat=True)

    @staticmethod
    def _next(request: ModelRequest) -> ToolCall | str:
        messages = request.messages
        question = next(message.text for message in messages if message.role == "user")
        done = sum(len(message.tool_calls) for message in messages if message.role == "assistant")
        if "strange" in question:
            return tool_call("search", query="the same") if done < 12 else "I do not know."
        return tool_call("look_up", order=question) if not done else "It was shipped."


desk = Agent("desk", instructions="Be brief.", model=Desk(), tools=[search, look_up])


@pytest.fixture
async def platform() -> AsyncIterator[Penstock]:
    async with open_in_memory(Settings(usage_every_seconds=0.05)) as platform:
        yield platform


async def work(platform: Penstock, customer: str, *questions: str, feature: str = "inbox") -> list[UUID]:
    tags = {"customer": customer, "feature": feature}
    runs = [await platform.submit(desk, question, tags=tags) for question in questions]
    await asyncio.gather(*(platform.result(run) for run in runs))
    return runs


async def counted(platform: Penstock) -> int:
    """When all that has ended is in the sums; the time."""
    async with asyncio.timeout(20):
        while await platform.journal.usage.behind(1):
            await asyncio.sleep(0.01)
    return await platform.journal.now()


async def test_a_spiral_is_named(platform: Penstock) -> None:
    """ "Customer X's workflow Y costs so much a run, because it spirals"."""
    for number in range(3):
        await work(platform, f"calm-{number}", "order 1", "order 22")
    strange = await work(platform, "acme", "strange 1", "strange 2")
    await work(platform, "acme", "order 1", "order 22")
    now = await counted(platform)
    found = await explain(platform.journal, "default", "acme", feature="inbox", since=now - HOUR, until=now)
    assert (found.runs, found.peers) == (4, 3)
    assert found.ratio > 2
    top = found.reasons[0]
    assert (top.code, top.name, top.runs) == ("spiral", "search", 2)
    assert set(top.examples) == set(strange)
    rows = [await platform.journal.get_run("default", run) for run in strange]
    spent = sum(row.summary.nano for row in rows if row)
    assert (top.nano, round(top.share, 6)) == (spent, round(spent / found.nano, 6))
    assert found.words.startswith("customer acme's workflow inbox costs $")
    assert "because it spirals: 2 of 4 runs" in found.words
    assert "`search` repeated" in found.words
    assert [one.row.id in strange for one in found.dearest] == [True, True, False, False]
    assert max(found.by_step, key=lambda name: found.by_step[name]) == "search"
    assert sum(found.by_step.values()) == found.nano == sum(found.by_kind.values())
    assert "more_steps" in [reason.code for reason in found.reasons]
    assert not found.partial


async def test_an_honest_customer_is_not_blamed(platform: Penstock) -> None:
    for number in range(3):
        await work(platform, f"calm-{number}", "order 1", "order 22")
    await work(platform, "dear", "strange 1")
    now = await counted(platform)
    found = await explain(platform.journal, "default", "calm-0", since=now - HOUR, until=now)
    assert found.reasons == []
    assert "nothing in it stands out" in found.words
    assert [one.circles for one in found.dearest] == ["", ""]


async def test_what_is_not_counted_yet_is_in_it(platform: Penstock) -> None:
    await work(platform, "acme", "order 1")
    now = await platform.journal.now()
    found = await explain(platform.journal, "default", "acme", since=now - HOUR, until=now + HOUR)
    assert found.runs == 1
    assert found.nano > 0


async def test_nobody_and_other_tenants(platform: Penstock) -> None:
    await work(platform, "acme", "order 1")
    now = await counted(platform)
    for tenant, customer in (("default", "nobody"), ("other", "acme")):
        found = await explain(platform.journal, tenant, customer, since=now - HOUR, until=now)
        assert (found.nano, found.runs, found.dearest, found.reasons) == (0, 0, [], [])
        assert "has spent nothing" in found.words
