"""The loop that most agents run in today: ask the model, run what it asks for, again, until it answers.

This is what the first two modes of the demo use, with the same prompt, tools and model as Penstock: without limits, and
with a limit on steps. It is not made worse than such loops are: tool errors go back to the model, parallel calls run
in parallel, calls carry a fresh idempotency key each, an answer that was not sent is sent, and what was left undone
goes to a person.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from penstock.agents.agent import ESCALATE_TOOL
from penstock.agents.tool import Tool
from penstock.demo.support import SupportDesk, customer_of
from penstock.events.messages import Message, ToolCall, ToolResult, say
from penstock.ports.model import Model, ModelRequest
from penstock.ports.tools import ToolArgsInvalid, ToolDef


@dataclass(frozen=True, slots=True)
class PlainEnd:
    """How a ticket ended. ``answer`` is what the model gave to the output tool."""

    reason: Literal["answered", "escalated", "step_limit"]
    steps: int
    answer: Mapping[str, Any] | None = None


async def work(desk: SupportDesk, model: Model, text: str, *, max_steps: int) -> PlainEnd:
    """Work one message with at most ``max_steps`` model calls, without Penstock.

    Raises:
        ModelError: the model failed.
    """
    tools = {name: known.definition for name, known in desk.tools.items() if isinstance(known, Tool)}
    end = await _ask_until_answered(desk, model, tools, text, max_steps)
    reply = end.answer.get("reply") if end.answer else None
    if isinstance(reply, str) and await desk.replies_sent.function(customer_of(text)) == 0:
        args = msgspec.json.encode({"customer_id": customer_of(text), "text": reply}).decode()
        await _run(tools["send_reply"], ToolCall(f"{customer_of(text)}-reply", "send_reply", args))
    if end.answer and end.answer.get("left_to_do"):
        return PlainEnd("escalated", end.steps, end.answer)
    return end


async def _ask_until_answered(
    desk: SupportDesk, model: Model, tools: Mapping[str, ToolDef], text: str, max_steps: int
) -> PlainEnd:
    output = desk.output_tool
    assert output is not None
    messages = [say("system", desk.instructions), say("user", text)]
    for step in range(1, max_steps + 1):
        response = await model.request(ModelRequest(tuple(messages), desk.specs, desk.settings, output_tool=output))
        calls = response.message.tool_calls
        answer = next((_object(call.args) for call in calls if call.name == output.name), None)
        if answer is not None:
            return PlainEnd("answered", step, answer)
        if any(call.name == ESCALATE_TOOL for call in calls):
            return PlainEnd("escalated", step)
        if not calls:
            return PlainEnd("answered", step, {"reply": response.message.text})
        messages.append(response.message)
        results = await asyncio.gather(*(_run(tools.get(call.name), call) for call in calls))
        messages.append(Message("tool", list(results)))
    return PlainEnd("step_limit", max_steps)


async def _run(tool: ToolDef | None, call: ToolCall) -> ToolResult:
    if tool is None:
        return ToolResult(call.id, call.name, f"there is no tool named {call.name}", "error")
    try:
        kwargs = tool.bind(tool.read_args(call.args))
        if tool.key_param:
            kwargs[tool.key_param] = call.id
        value = await tool.call(**kwargs)
    except ToolArgsInvalid as error:
        return ToolResult(call.id, call.name, f"the arguments are not valid: {error}", "error")
    except Exception as error:  # noqa: BLE001 - such loops tell the model whatever happened
        return ToolResult(call.id, call.name, f"{type(error).__name__}: {error}", "error")
    return ToolResult(call.id, call.name, msgspec.json.encode(value).decode())


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None
    return value if isinstance(value, dict) else None
