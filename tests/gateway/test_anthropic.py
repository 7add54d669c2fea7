"""The official Anthropic client through the gateway."""

from typing import Any

import anthropic
import pytest
from tests.gateway.world import World, world

from penstock.events import BudgetRecord

MODEL = "claude-haiku"


def opened(it: World, key: str = "") -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=f"{it.url}/anthropic", api_key=key or it.key, max_retries=0)


def say(text: str) -> Any:
    return [{"role": "user", "content": text}]


async def test_messages_pass_whole_and_streamed() -> None:
    async with world() as it, opened(it) as client:
        answer = await client.messages.create(model=MODEL, max_tokens=50, messages=say("hello [[tokens=3]]"))
        assert answer.content[0].text == "word word word "  # type: ignore[union-attr]
        async with client.messages.stream(model=MODEL, max_tokens=2, messages=say("hello [[tokens=3]]")) as stream:
            assert "".join([text async for text in stream.text_stream]) == "word word "
            last = await stream.get_final_message()
        assert last.stop_reason == "max_tokens"
        rows = await it.ended(2)
        billed = sum(usage.input_tokens * 1000 + usage.output_tokens * 5000 for usage in (answer.usage, last.usage))
        assert sum(row.summary.nano for row in rows) == billed
        path, headers, body = it.provider.requests[0]
        assert path == "/v1/messages"
        assert headers["x-api-key"] == "sk-upstream"
        assert headers["anthropic-version"] == client.default_headers["anthropic-version"]
        assert body["max_tokens"] == 50


@pytest.mark.parametrize("stream", [False, True])
async def test_tools_pass_unchanged(stream: bool) -> None:
    tools: Any = [{"name": "look_up", "input_schema": {"type": "object"}}]
    asked: Any = {"model": MODEL, "max_tokens": 50, "messages": say("find [[tool=look_up]]"), "tools": tools}
    async with world() as it, opened(it) as client:
        if stream:
            async with client.messages.stream(**asked) as events:
                answer = await events.get_final_message()
        else:
            answer = await client.messages.create(**asked)
        assert answer.stop_reason == "tool_use"
        call = answer.content[0]
        assert call.type == "tool_use"
        assert call.input == {"q": "x"}
        result = {"type": "tool_result", "tool_use_id": call.id, "content": "found"}
        said: Any = [
            *say("find [[tool=look_up]]"),
            {"role": "assistant", "content": [call.model_dump(exclude_none=True)]},
            {"role": "user", "content": [result]},
        ]
        last = await client.messages.create(model=MODEL, max_tokens=50, messages=said, tools=tools)
        assert last.stop_reason == "end_turn"


async def test_tokens_are_counted_without_a_run() -> None:
    async with world() as it, opened(it) as client:
        counted = await client.messages.count_tokens(model=MODEL, messages=say("hello"))
        assert counted.input_tokens == 11
        assert await it.runs() == []


async def test_errors_have_the_providers_shape() -> None:
    async with world() as it:
        async with opened(it) as client:
            with pytest.raises(anthropic.APIStatusError, match="simulated 529") as overloaded:
                await client.messages.create(model=MODEL, max_tokens=50, messages=say("[[status=529]]"))
            assert overloaded.value.status_code == 529
            search: Any = [{"type": "web_search_20250305", "name": "web_search"}]
            with pytest.raises(anthropic.BadRequestError, match="past the gates"):
                await client.messages.create(model=MODEL, max_tokens=50, messages=say("x"), tools=search)
        async with opened(it, "pk_wrong") as client:
            with pytest.raises(anthropic.AuthenticationError):
                await client.messages.create(model=MODEL, max_tokens=50, messages=say("x"))
        key = await it.add_key("poor", budget=BudgetRecord(nano=1000))
        async with opened(it, key) as client:
            client.max_retries = 5
            with pytest.raises(anthropic.APIStatusError) as over:
                await client.messages.create(model=MODEL, max_tokens=50, messages=say("x"))
            assert over.value.status_code == 402
            assert over.value.body == {
                "type": "error",
                "error": {"type": "billing_error", "message": over.value.body["error"]["message"]},  # type: ignore[index]
            }
        assert len(it.provider.requests) == 1
