"""A small application for the tests of the command line: they name its agents as ``desk_app:…``."""

import asyncio
import os
from pathlib import Path

from penstock import Agent, Budget, Change, IdempotencyKey, Run, agent, tool
from penstock.events import Amount, Failure
from penstock.events.messages import Message, Text, Thinking, ToolCall
from penstock.ports.model import ModelError, ModelRequest, ModelResponse, Price
from penstock.testing import ScriptedModel

ESCAPE = "\x1b]0;owned\x07\x1b[2J"


Answer = ModelResponse | str | ToolCall | ModelError


def answers(*given: Answer) -> ScriptedModel:
    """A model that gives its n-th answer in a conversation's n-th turn, whichever process asks."""

    def answer(request: ModelRequest) -> Answer:
        turn = sum(message.role == "assistant" for message in request.messages)
        return given[min(turn, len(given) - 1)]

    return ScriptedModel([answer], price=Price(1000.0, 2000.0), repeat=True)


def thinks(reasoning: str, *calls: ToolCall) -> ModelResponse:
    return ModelResponse(Message("assistant", [Thinking(reasoning), *calls]), Amount(100, 20), "tool_calls")


@tool(effect="read")
async def look(order: str) -> str:
    """Look an order up."""
    return f"{ESCAPE}paid twice: {order}"


async def refunded(order: str, cents: int) -> list[Change]:
    """What a refund would change; tries to draw on the terminal."""
    return [Change(f"order {order}: refunded", "0.00\x1b[2J", f"{cents / 100:.2f}")]


@tool(effect="write", risk="high", in_doubt="keyed", preview=refunded)
async def refund(order: str, cents: int, *, key: IdempotencyKey) -> str:
    """Pay back; notes each effect in the file that DESK_EFFECTS names."""
    with Path(os.environ["DESK_EFFECTS"]).open("a", encoding="utf-8") as effects:
        effects.write(f"{key} {order} {cents}\n")
    return f"paid back {cents}"


@tool(effect="write", risk="low", permission="auto", in_doubt="escalate", timeout_seconds=1)
async def hang(order: str) -> str:
    """Never answers."""
    await asyncio.sleep(3600)
    return order


CHECK = thinks("They paid twice, so one goes back.", ToolCall("c1", "look", '{"order": "o-1"}'))
simple = Agent("simple", model=answers(CHECK, "done"), instructions="Help.", tools=[look], budget=Budget(usd="0.50"))
desk = Agent(
    "desk",
    model=answers(CHECK, ToolCall("c2", "refund", '{"order": "o-1", "cents": 500}'), "You get 5.00 back."),
    instructions="Help.",
    tools=[look, refund],
)
cut_off = Agent(
    "cut-off",
    model=answers(
        ModelResponse(Message("assistant", [Text("half "), ToolCall("c1", "look", '{"order": "o-1"}')]), Amount(9, 9)),
        ModelError(Failure("provider_down", "permanent", "the provider is down"), billed=False),
    ),
    instructions="Help.",
    tools=[look],
)


@agent("pipeline")
async def pipeline(run: Run, orders: dict[str, str]) -> str:
    """Side by side, delegated, decided, recorded."""
    facts = await run.gather(run.call(look, orders["first"]), run.call(simple, "and this one?"))
    await run.decide("route", ["refund", "reply"], 1, why="nothing is owed", confidence=0.9)
    await run.record("stamp", lambda: 7)
    return f"{facts[1]}: {len(facts)}"


@agent("moody")
async def moody(run: Run, order: str) -> str:
    """Asks for what the environment says: what replay must find out."""
    await run.call(look, order)
    return str(await run.call(look, os.environ.get("DESK_ORDER", order)))


@agent("wavering")
async def wavering(run: Run, order: str) -> str:
    """Asks for what the environment says, and waits to be told to go on: its replay on another worker diverges."""
    await run.call(look, os.environ.get("DESK_ORDER", order))
    await run.wait_event("go")
    return order


@agent("sleepy")
async def sleepy(run: Run, order: str) -> str:
    """Sleeps for an hour."""
    await run.sleep(3600)
    return order


@agent("hanging")
async def hanging(run: Run, order: str) -> str:
    """Calls a tool whose effect nobody learns of."""
    return str(await run.call(hang, order))


@agent("broken")
async def broken(run: Run, order: str) -> str:
    """Raises."""
    await run.call(look, order)
    raise ValueError(f"no way {ESCAPE}")
