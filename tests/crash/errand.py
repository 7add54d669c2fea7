"""The run whose worker is killed: every kind of call there is, with effects in the world outside."""

import re
from dataclasses import dataclass
from typing import Any

from tests.crash.world import World

from penstock import Agent, Budget, IdempotencyKey, Run, ToolContext, agent, tool
from penstock.agents.function import FunctionAgent
from penstock.events.messages import ToolCall, ToolResult
from penstock.ports.model import ModelRequest, ModelResponse, Price
from penstock.testing import ScriptedModel, tool_call

PRICE = Price(250.0, 1000.0, source="test")
MODEL = "scripted:errand"
TIMEOUT = 1.0
SHIPPING_SECONDS = 0.15
WRITES = ("pay", "set_limit", "notify", "print_card", "refund", "book")
_TAG = re.compile(r"tag=([\w.-]+)")


class MeteredModel(ScriptedModel):
    """Answers by what it is asked alone, and keeps an account of its own in the world."""

    def __init__(self, world: World) -> None:
        super().__init__([_answer], MODEL, PRICE, repeat=True)
        self._world = world

    async def request(self, request: ModelRequest) -> ModelResponse:
        """Count the call where no crash can lose it, then answer."""
        n = self._world.fate.next_effect()
        self._world.fate.reach("effect", n, "entry")
        response = await super().request(request)
        assert response.used is not None
        nano = PRICE.of(response.used)
        self._world.fate.reach("effect", n, "uncommitted")
        await self._world.ask("INSERT INTO world.model_calls VALUES ($1, $2)", _tag_of(request), nano)
        self._world.fate.reach("effect", n, "committed")
        return response


def _tag_of(request: ModelRequest) -> str:
    found = _TAG.search(" ".join(message.text for message in request.messages))
    assert found is not None
    return found.group(1)


def _answer(request: ModelRequest) -> str | ToolCall:
    if not request.tools:
        return "billing"
    results = [part for message in request.messages for part in message.parts if isinstance(part, ToolResult)]
    if results:
        return "booked" if results[-1].status == "ok" else results[-1].text
    return tool_call("book", tag=_tag_of(request))


@dataclass(frozen=True, slots=True)
class Errand:
    """The agents of one run. Their releases are its own, so that nobody else's worker takes it."""

    tag: str
    main: FunctionAgent
    child: Agent

    @property
    def agents(self) -> list[Any]:
        return [self.main, self.child]


class Tools:
    """The tools of one process."""

    def __init__(self, world: World) -> None:
        @tool(effect="read", timeout_seconds=TIMEOUT)
        async def look(tag: str, what: str) -> str:
            """Read something."""
            return f"{what} of {tag}"

        @tool(permission="auto", in_doubt="keyed", timeout_seconds=TIMEOUT)
        async def pay(tag: str, key: IdempotencyKey, context: ToolContext) -> str:
            """A receiver that knows its keys."""
            return await keyed("pay", tag, key, context)

        @tool(risk="high", in_doubt="keyed", timeout_seconds=TIMEOUT)
        async def refund(tag: str, key: IdempotencyKey, context: ToolContext) -> str:
            """The same, after a person's approval."""
            return await keyed("refund", tag, key, context)

        @tool(permission="auto", in_doubt="keyed", timeout_seconds=TIMEOUT)
        async def book(tag: str, key: IdempotencyKey, context: ToolContext) -> str:
            """The same, of the child."""
            return await keyed("book", tag, key, context)

        async def keyed(name: str, tag: str, key: str, context: ToolContext) -> str:
            async with world.effect(tag, name, context) as connection:
                fresh = await connection.fetchval(
                    "INSERT INTO world.keys VALUES ($1) ON CONFLICT DO NOTHING RETURNING true", f"{name}:{key}"
                )
                if fresh:
                    await world.count(connection, tag, name, context)
            return "done"

        @tool(permission="auto", in_doubt="idempotent", timeout_seconds=TIMEOUT)
        async def set_limit(tag: str, value: str, context: ToolContext) -> str:
            """The same again changes nothing."""
            async with world.effect(tag, "set_limit", context) as connection:
                await connection.execute(
                    "INSERT INTO world.states VALUES ($1, $2) ON CONFLICT (tag) DO UPDATE SET value = $2", tag, value
                )
                await world.count(connection, tag, "set_limit", context)
            return value

        async def was_notified(tag: str) -> bool:
            return await world.counter(tag, "notify") > 0

        @tool(permission="auto", in_doubt="confirm", confirm=was_notified, timeout_seconds=TIMEOUT)
        async def notify(tag: str, context: ToolContext) -> str:
            """Cannot be repeated, but looked up."""
            async with world.effect(tag, "notify", context) as connection:
                await world.count(connection, tag, "notify", context)
            return "sent"

        @tool(permission="auto", timeout_seconds=TIMEOUT)
        async def print_card(tag: str, context: ToolContext) -> str:
            """Can neither be repeated nor looked up by a program."""
            async with world.effect(tag, "print_card", context) as connection:
                await world.count(connection, tag, "print_card", context)
            return "printed"

        @tool(permission="auto", timeout_seconds=TIMEOUT)
        async def ship(tag: str, parcel: int, context: ToolContext) -> int:
            """Takes its time."""
            async with world.effect(tag, "ship", context, slow_seconds=SHIPPING_SECONDS) as connection:
                await world.count(connection, tag, "ship", context)
            return parcel

        self.ship = ship
        self.look, self.pay, self.refund, self.book = look, pay, refund, book
        self.set_limit, self.notify, self.print_card = set_limit, notify, print_card


def make_errand(tag: str, tools: Tools) -> Errand:
    """The agents of the run with this tag. ``only.pay.1`` is that of a run with a single write, ``slow.1`` of one with
    many slow ones, ``held.1`` of one that waits for a person."""
    if tag.startswith("only."):
        return _make_single(tag, tools, tag.split(".")[1])
    if tag.startswith("held."):
        return _make_single(tag, tools, "refund")
    if tag.startswith("slow."):
        return _make_slow(tag, tools)
    child = Agent(f"book-{tag}", model=MODEL, instructions=f"Book it. tag={tag}", tools=[tools.book])

    @agent(f"errand-{tag}", version=tag, budget=Budget(usd="1", tokens=100_000))
    async def main(run: Run, tag: str) -> dict[str, str | None]:
        opened = await run.record("opened", lambda: f"for {tag}")
        label = await run.ask(MODEL, f"Which kind? tag={tag}", max_tokens=16)
        account, history = await run.gather(run.call(tools.look, tag, "account"), run.call(tools.look, tag, "history"))
        paid, limit = await run.gather(run.call(tools.pay, tag), run.call(tools.set_limit, tag, label))
        sent = await run.call(tools.notify, tag)
        await run.sleep(0.01)
        printed, booked = await run.gather(run.call(tools.print_card, tag), run.call(child, "please"))
        refunded = await run.call(tools.refund, tag)
        return {
            "opened": opened,
            "account": account,
            "history": history,
            "paid": paid,
            "limit": limit,
            "sent": sent,
            "printed": printed,
            "booked": booked,
            "refunded": refunded,
        }

    return Errand(tag, main, child)


def _make_single(tag: str, tools: Tools, name: str) -> Errand:
    child = Agent(f"book-{tag}", model=MODEL, instructions=f"Book it. tag={tag}", tools=[tools.book])

    @agent(f"errand-{tag}", version=tag)
    async def main(run: Run, tag: str) -> str | None:
        answer: str | None = await run.call(getattr(tools, name), tag)
        return answer

    return Errand(tag, main, child)


def _make_slow(tag: str, tools: Tools) -> Errand:
    child = Agent(f"book-{tag}", model=MODEL, instructions=f"Book it. tag={tag}", tools=[tools.book])

    @agent(f"errand-{tag}", version=tag, budget=Budget(usd="1"))
    async def main(run: Run, tag: str) -> str:
        for step in range(6):
            await run.ask(MODEL, f"Which kind of {step}? tag={tag}", max_tokens=16)
            await run.gather(*(run.call(tools.ship, tag, 2 * step + half) for half in (0, 1)))
        return tag

    return Errand(tag, main, child)


def expected(tag: str) -> dict[str, str]:
    """What the run gives when no answer is lost."""
    return {
        "opened": f"for {tag}",
        "account": f"account of {tag}",
        "history": f"history of {tag}",
        "paid": "done",
        "limit": "billing",
        "sent": "sent",
        "printed": "printed",
        "booked": "booked",
        "refunded": "done",
    }
