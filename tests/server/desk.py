"""The agents that the tests of the server work with."""

import asyncio
from typing import Literal

from penstock import Agent, Budget, Change, Run, agent, tool
from penstock.events import Amount
from penstock.events.messages import Message, Text, ToolCall
from penstock.ports.model import ModelRequest, ModelResponse, Price
from penstock.testing import ScriptedModel


@agent("echo", version="1")
async def echo(run: Run, value: object) -> object:
    """Gives back what it was given."""
    return value


@agent("broken", version="1")
async def broken(run: Run, value: object) -> object:
    """Always fails."""
    raise ValueError("the case has no answer")


@tool(effect="read")
async def look(order: str) -> str:
    """Look an order up."""
    return f"paid twice: {order}"


async def refunded(order: str, cents: int) -> list[Change]:
    """What a refund would change."""
    return [Change(f"order {order}: refunded", "$0.00", f"${cents / 100:.2f}")]


@tool(effect="write", risk="high", preview=refunded)
async def refund(order: str, cents: int) -> str:
    """Waits for a person before it pays back."""
    return f"paid back {cents} for {order}"


@agent("waiter", version="1")
async def waiter(run: Run, value: object) -> object:
    """Waits for the event ``go``."""
    return await run.wait_event("go")


@tool(effect="read", timeout_seconds=60)
async def dawdle(seconds: float) -> str:
    """A slow look-up."""
    await asyncio.sleep(seconds)
    return "done"


@agent("slow", version="1")
async def slow(run: Run, value: float) -> object:
    """Has one call in flight for so many seconds."""
    return await run.call(dawdle, value)


def _answer(request: ModelRequest) -> ModelResponse:
    turn = sum(message.role == "assistant" for message in request.messages)
    said: list[Text | ToolCall] = [
        ToolCall("c1", "look", '{"order": "o-1"}'),
        ToolCall("c2", "refund", '{"order": "o-1", "cents": 500}'),
        Text("You get 5.00 back."),
    ]
    finish: Literal["stop", "tool_calls"] = "stop" if turn >= 2 else "tool_calls"
    return ModelResponse(Message("assistant", [said[min(turn, 2)]]), Amount(100, 20), finish)


desk = Agent(
    "desk",
    model=ScriptedModel([_answer], price=Price(1000.0, 2000.0), repeat=True),
    instructions="Help.",
    tools=[look, refund],
    budget=Budget(usd="0.50"),
)
"""Looks an order up, then asks a person whether it may refund 5.00."""

AGENTS = [echo, broken, waiter, slow, desk]
