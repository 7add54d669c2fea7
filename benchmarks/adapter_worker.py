"""The measured process of `adapter`: the same conversation through our adapter, and past it."""

import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.test import TestModel

from benchmarks import ticket
from benchmarks.child import cpu_seconds, say, told
from benchmarks.desk import AGENT
from penstock.adapters.providers import model_by_name, model_from
from penstock.adapters.providers.messages import to_library
from penstock.events.messages import Message, Text, ToolCall, ToolResult
from penstock.events.messages import say as words_of
from penstock.ports.model import ModelRequest, ModelSettings
from penstock.testing import WireAnswer, WireServer

ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "gpt-4o",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "It is settled."}}],
    "usage": {"prompt_tokens": 300, "completion_tokens": 5, "total_tokens": 305},
}


def conversation() -> list[Message]:
    """A ticket after two tool calls: six messages."""
    messages = [words_of("system", ticket.INSTRUCTIONS), words_of("user", ticket.text_of(7))]
    for turn in range(2):
        said = ticket.answer(turn, "7")
        assert isinstance(said, tuple)
        messages.append(Message("assistant", [Text("One moment."), ToolCall(f"call-{turn}", *said)]))
        messages.append(Message("tool", [ToolResult(f"call-{turn}", said[0], '{"status": "open"}')]))
    return messages


async def per_call(calls: int, call: Callable[[], Awaitable[Any]]) -> float:
    """CPU seconds of one call, after some that warm up."""
    for _ in range(max(20, calls // 10)):
        await call()
    spent = cpu_seconds()
    for _ in range(calls):
        await call()
    return (cpu_seconds() - spent) / calls


async def main() -> None:
    """Measure as often as the line says, until told to stop."""
    say(ready=True)
    while (word := await told()) != "stop":
        say(**await measured(json.loads(word)["calls"]))


async def measured(calls: int) -> dict[str, float]:
    """CPU seconds of one call, by what is called."""
    request = ModelRequest(conversation(), AGENT.specs[:2], ModelSettings(512))
    library = TestModel(call_tools=[], custom_output_text="It is settled.")
    ours = model_from(library, "test:model")
    converted = to_library(request.messages, inline_system=True)
    return {
        "ours": await per_call(calls, lambda: ours.request(request)),
        "bare": await per_call(calls, lambda: library.request(converted, None, ModelRequestParameters())),
        "bound": await per_call(calls, lambda: _bound(ours, request)),
        "wire": await _over_the_wire(request, calls // 4),
    }


async def _bound(model: Any, request: ModelRequest) -> int:
    return int(model.prompt_bound(request.messages, request.tools))


async def _over_the_wire(request: ModelRequest, calls: int) -> float:
    async with WireServer(WireAnswer.json(ANSWER)) as server:
        os.environ["OPENAI_BASE_URL"], os.environ["OPENAI_API_KEY"] = f"{server.url}/v1", "none"
        model = model_by_name("openai-chat:gpt-4o")
        try:
            return await per_call(calls, lambda: model.request(request))
        finally:
            await model.aclose()


if __name__ == "__main__":
    uvloop.run(main())
