"""The agents of the browser tests: a model that follows a script, and tools whose effects are counted outside."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from penstock import Agent, Budget, Change, Run, agent, tool
from penstock.events import Amount
from penstock.events.messages import Message, Part, Text, ToolCall
from penstock.ports.model import ModelRequest, ModelResponse, Price
from penstock.testing import ScriptedModel

HOSTILE = "<img src=x onerror=\"window.__pwned='img'\"><script>window.__pwned='script'</script>\u202egpj.exe"
EFFECTS = "SHOP_EFFECTS"


@tool(effect="read")
async def look(order: str) -> str:
    """Look an order up: what it says is somebody else's text."""
    return f"paid twice: {order} {HOSTILE}"


async def refunded(order: str, cents: int) -> list[Change]:
    """What a refund would change: the effects are the state."""
    path = Path(os.environ[EFFECTS])
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    before = sum(done["cents"] for done in map(json.loads, lines) if done["order"] == order)
    return [Change(f"order {order}: refunded", f"${before / 100:.2f}", f"${(before + cents) / 100:.2f}")]


@tool(effect="write", risk="high", labels={"undo": "charging the customer again"}, preview=refunded)
async def refund(order: str, cents: int, note: str) -> str:
    """Pay back: each time that this runs is one line of a file."""
    line = json.dumps({"order": order, "cents": cents}) + "\n"
    with Path(os.environ[EFFECTS]).open("a", encoding="utf-8") as file:
        file.write(line)
    return f"paid back {cents} for {order}"


@tool(effect="read", timeout_seconds=30.0)
async def dawdle(seconds: float) -> str:
    """A look-up that takes its time."""
    await asyncio.sleep(seconds)
    return "done"


@agent("waiter", version="1")
async def waiter(run: Run, value: object) -> object:
    """Looks once, waits for the event ``go``, looks again: it is watched meanwhile."""
    await run.call(look, "o-1")
    got: object = await run.wait_event("go")
    await run.call(look, "o-2")
    return got


@agent("slow", version="1")
async def slow(run: Run, value: float) -> Any:
    """Has one call in flight until its last."""
    await run.call(dawdle, value)
    return "at last"


def _answer(request: ModelRequest) -> ModelResponse:
    turn = sum(message.role == "assistant" for message in request.messages)
    asked = next(
        part.text
        for message in request.messages
        for part in message.parts
        if isinstance(part, Text) and message.role == "user"
    )
    order = asked.rsplit(" ", 1)[-1]
    arguments = json.dumps({"order": order, "cents": 4900, "note": "for \u202egpj.exe"}, ensure_ascii=False)
    said: list[list[Part]] = [
        [Text(f"I will look it up. {HOSTILE}"), ToolCall("c1", "look", json.dumps({"order": order}))],
        [Text("It was paid twice, so I pay back."), ToolCall("c2", "refund", arguments)],
        [Text(f"You get $49.00 back for {order}. {HOSTILE}")],
    ]
    parts = said[min(turn, 2)]
    return ModelResponse(Message("assistant", parts), Amount(900, 40), "stop" if turn >= 2 else "tool_calls")


desk = Agent(
    "desk",
    model=ScriptedModel([_answer], price=Price(1000.0, 2000.0), repeat=True),
    instructions="Help.",
    tools=[look, refund],
    budget=Budget(usd="0.50"),
)
"""Looks an order up, then asks a person whether it may refund $49.00."""


@tool(effect="read", attempts=1)
async def flaky(what: str) -> str:
    """Answers, or does not."""
    if what == "bad":
        raise LookupError("the shelf is gone")
    return what


@agent("finder", version="1")
async def finder(run: Run, what: str) -> str:
    """One look-up that may fail."""
    return str(await run.call(flaky, what))


def _reply(_request: ModelRequest) -> ModelResponse:
    return ModelResponse(Message("assistant", [Text("It is on its way.")]), Amount(900, 40), "stop")


clerk = Agent(
    "clerk",
    model=ScriptedModel([_reply], price=Price(1000.0, 2000.0), repeat=True),
    instructions="Answer.",
    budget=Budget(usd="0.50"),
)
"""Answers with one call of its model, for $0.00098."""


@tool(effect="write")
async def unlock(door: str) -> str:
    """Open a door. The policy wants two people for it."""
    return f"open: {door}"


@agent("porter", version="1")
async def porter(run: Run, door: str) -> str:
    """Opens a door, if it may."""
    return str(await run.call(unlock, door))
