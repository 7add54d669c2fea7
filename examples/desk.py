"""A support desk of a small shop: one agent, two tools. Its model is a script, so that it runs offline."""

import asyncio
import os
from pathlib import Path

from penstock import Agent, Budget, IdempotencyKey, tool
from penstock.events.messages import ToolCall, ToolResult
from penstock.ports.model import ModelRequest, Price
from penstock.testing import ScriptedModel, tool_call

PAYMENTS = Path("payments.txt")  # stands for a payment service
SERVICE_SECONDS = float(os.environ.get("SERVICE_SECONDS", "2"))  # how long it takes to answer


def pay_once(key: str, order_id: str, amount_cents: int) -> None:
    """What the payment service does. It knows its keys: the second time changes nothing."""
    if not PAYMENTS.exists() or key not in PAYMENTS.read_text():
        with PAYMENTS.open("a") as payments:
            payments.write(f"{key} {order_id} {amount_cents}\n")


@tool(effect="read")
async def get_order(order_id: str) -> dict[str, str | int]:
    """An order: where it is, and what was charged for it."""
    return {"order": order_id, "state": "on its way", "charges": 2, "each_cents": 2400}


@tool(effect="write", risk="high", in_doubt="keyed", timeout_seconds=SERVICE_SECONDS + 2)
async def refund(order_id: str, amount_cents: int, *, key: IdempotencyKey) -> str:
    """Give money back for an order."""
    await asyncio.to_thread(pay_once, key, order_id, amount_cents)
    await asyncio.sleep(SERVICE_SECONDS)
    return f"refunded {amount_cents} cents of {order_id}"


def script(request: ModelRequest) -> str | ToolCall:
    """What the model says next: it depends on the conversation alone."""
    question = request.messages[1].text
    results = [part for message in request.messages for part in message.parts if isinstance(part, ToolResult)]
    if request.tool_choice == "none":
        return "I looked again and again. Your order is on its way."
    if not results or "everything" in question:
        return tool_call("get_order", order_id="o-17")
    if "twice" in question and len(results) == 1:
        return tool_call("refund", order_id="o-17", amount_cents=2400)
    return "You have your 2400 cents back." if "twice" in question else "Order o-17 is on its way."


desk = Agent(
    "desk",
    model=ScriptedModel([script], "scripted:desk", Price(250.0, 2000.0, source="example"), repeat=True),
    instructions="You help the customers of a small shop.",
    tools=[get_order, refund],
    budget=Budget(usd="0.01", steps=12, seconds=120),
)
