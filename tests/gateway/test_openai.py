"""The official OpenAI client through the gateway."""

import json
from typing import Any

import openai
import pytest
from tests.gateway.world import World, world

from penstock.events import BudgetRecord, ModelIntent, ModelOutcome
from penstock.journal.payloads import ref_address

MODEL = "gpt-4o-mini"


def opened(it: World, key: str = "", **headers: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        base_url=f"{it.url}/openai/v1", api_key=key or it.key, max_retries=0, default_headers=headers
    )


def say(text: str) -> Any:
    return [{"role": "user", "content": text}]


async def in_turn(calls: list[Any]) -> None:
    """One after the other, until one fails; the others are not made."""
    try:
        while calls:
            await calls.pop()
    finally:
        for call in calls:
            call.close()


async def test_a_chat_completion_passes_unchanged_and_is_journalled() -> None:
    async with world() as it, opened(it) as client:
        raw = await client.chat.completions.with_raw_response.create(
            model=MODEL, messages=say("hello [[tokens=3]]"), seed=7
        )
        answer = raw.parse()
        assert answer.choices[0].message.content == "word word word "
        assert answer.model_extra == {"x_unknown": "kept"}
        assert answer.usage is not None
        path, headers, body = it.provider.requests[0]
        assert path == "/v1/chat/completions"
        assert headers["authorization"] == "Bearer sk-upstream"
        assert body["seed"] == 7
        assert body["max_completion_tokens"] == 8192
        rows = await it.ended()
        assert raw.headers["penstock-run"] == str(rows[0].id)
        nano = answer.usage.prompt_tokens * 150 + 3 * 600
        assert rows[0].summary.nano == nano == it.provider.nano
        assert float(raw.headers["penstock-cost"]) == nano / 1e9
        tape = await it.tape(rows[0].id)
        kinds = [event.__struct_config__.tag for event in tape]
        assert kinds == ["run.submitted", "run.claimed", "model.intent", "model.outcome", "run.ended"]
        assert tape[0].tags == {"customer": "acme", "key": "support-bot"}
        assert (rows[0].agent, rows[0].outcome) == ("support", "succeeded")
        stored = json.dumps([repr(event) for event in tape])
        assert "sk-upstream" not in stored
        assert "hello" not in stored  # content is in payloads, under the subject's key
        for event in tape:
            for refs in event.payloads.values():
                for ref in refs:
                    data = await it.platform.services.reader.read("default", rows[0].subject, ref_address(ref))
                    assert data[:1] == b"{"


async def test_a_stream_passes_and_its_forced_usage_is_hidden() -> None:
    async with world() as it, opened(it) as client:
        stream = await client.chat.completions.create(model=MODEL, messages=say("hello [[tokens=3]]"), stream=True)
        chunks = [chunk async for chunk in stream]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "word word word "
        assert all(chunk.usage is None for chunk in chunks)
        rows = await it.ended()
        assert rows[0].summary.nano == it.provider.nano > 0
        wanted = await client.chat.completions.create(
            model=MODEL, messages=say("hello"), stream=True, stream_options={"include_usage": True}
        )
        assert [chunk.usage async for chunk in wanted][-1] is not None


@pytest.mark.parametrize("stream", [False, True])
async def test_tools_pass_unchanged(stream: bool) -> None:
    tools: Any = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]
    async with world() as it, opened(it) as client:
        asked: Any = {"model": MODEL, "messages": say("find it [[tool=look_up]]"), "tools": tools}
        if stream:
            async with client.chat.completions.stream(**asked) as events:
                answer = await events.get_final_completion()
        else:
            answer = await client.chat.completions.create(**asked)
        assert answer.choices[0].finish_reason == "tool_calls"
        calls = answer.choices[0].message.tool_calls
        assert calls is not None
        assert calls[0].function.name == "look_up"
        result = {"role": "tool", "tool_call_id": calls[0].id, "content": "found"}
        said = [*say("find it [[tool=look_up]]"), answer.choices[0].message.model_dump(exclude_none=True), result]
        last = await client.chat.completions.create(model=MODEL, messages=said, tools=tools)
        assert last.choices[0].message.content == "word " * 4
        assert it.provider.requests[0][2]["tools"] == tools


async def test_responses_pass_whole_and_streamed() -> None:
    async with world() as it, opened(it) as client:
        answer = await client.responses.create(model=MODEL, input="hello [[tokens=3]]", instructions="be brief")
        assert answer.output_text == "word word word "
        async with client.responses.stream(model=MODEL, input="hello [[tokens=2]]") as events:
            kinds = [event.type async for event in events]
            last = await events.get_final_response()
        assert last.output_text == "word word "
        assert kinds[-1] == "response.completed"
        rows = await it.ended(2)
        assert sum(row.summary.nano for row in rows) == it.provider.nano


async def test_embeddings_and_the_list_of_models() -> None:
    async with world() as it, opened(it) as client:
        made = await client.embeddings.create(model="embed", input=["one text", "another"])
        assert len(made.data) == 2
        rows = await it.ended()
        assert rows[0].summary.nano == made.usage.prompt_tokens * 20
        assert [model.id async for model in client.models.list()] == ["gpt-4o-mini"]
        assert len(await it.runs()) == 1


async def test_the_providers_errors_come_through_as_they_are() -> None:
    async with world() as it, opened(it) as client:
        with pytest.raises(openai.RateLimitError) as limited:
            await client.chat.completions.create(model=MODEL, messages=say("[[status=429]]"))
        assert limited.value.code == "simulated"
        assert limited.value.response.headers["retry-after"] == "7"
        assert limited.value.response.headers["x-ratelimit-limit-requests"] == "3"
        with pytest.raises(openai.BadRequestError, match="simulated 400"):
            await client.chat.completions.create(model=MODEL, messages=say("[[status=400]]"), stream=True)
        with pytest.raises(openai.InternalServerError, match="simulated 500"):
            await client.chat.completions.create(model=MODEL, messages=say("[[status=500]]"))
        rows = {row.code: row for row in await it.ended(3)}
        assert sorted(row.outcome or "" for row in rows.values()) == ["failed", "failed", "failed"]
        outcomes = [
            event for row in await it.runs() for event in await it.tape(row.id) if isinstance(event, ModelOutcome)
        ]
        charged = {event.failure.words[-3:]: event.at_maximum for event in outcomes if event.failure}
        assert charged == {"429": False, "400": False, "500": True}


async def test_an_unknown_key_is_refused_as_the_provider_would() -> None:
    async with world() as it, opened(it, "sk-wrong") as client:
        with pytest.raises(openai.AuthenticationError):
            await client.chat.completions.create(model=MODEL, messages=say("x"))
        assert await it.runs() == []
        assert it.provider.requests == []


async def test_a_budgets_end_is_an_error_that_clients_do_not_repeat() -> None:
    async with world() as it:
        key = await it.add_key("poor", budget=BudgetRecord(nano=400_000))
        async with opened(it, key, **{"Penstock-Run": "one"}) as client:
            client.max_retries = 5
            first = await client.chat.completions.with_raw_response.create(
                model=MODEL, messages=say("hello [[tokens=90]]"), max_tokens=100
            )
            assert first.headers["penstock-left"].startswith("usd=0.000")
            again = [
                client.chat.completions.create(model=MODEL, messages=say("hello [[tokens=90]]"), max_tokens=100)
                for _ in range(20)
            ]
            with pytest.raises(openai.RateLimitError) as over:
                await in_turn(again)
            assert over.value.code == "insufficient_quota"
            assert over.value.response.headers["x-should-retry"] == "false"
            assert over.value.response.headers["penstock-error"] == "budget_exhausted"
        assert it.provider.nano <= 400_000
        (row,) = await it.runs()
        assert row.summary.nano == it.provider.nano
        assert row.summary.reserved_nano == 0


async def test_a_maximum_is_put_in_and_lowered_to_what_is_left() -> None:
    async with world() as it:
        key = await it.add_key("poor", budget=BudgetRecord(nano=200_000))
        async with opened(it, key) as client:
            answer = await client.chat.completions.create(model=MODEL, messages=say("hello [[tokens=100000]]"))
        assert answer.choices[0].finish_reason == "length"
        sent = it.provider.requests[0][2]["max_completion_tokens"]
        assert 0 < sent < 8192
        (row,) = await it.ended()
        assert row.summary.nano == it.provider.nano <= 200_000
        intent = next(event for event in await it.tape(row.id) if isinstance(event, ModelIntent))
        assert intent.max_tokens == sent
        assert intent.reserved.nano <= 200_000


async def test_a_model_without_a_price_is_refused_under_a_money_budget() -> None:
    async with world() as it:
        key = await it.add_key("poor", budget=BudgetRecord(nano=10**9))
        async with opened(it, key) as client:
            with pytest.raises(openai.BadRequestError) as unknown:
                await client.chat.completions.create(model="no-such-model", messages=say("x"))
        assert unknown.value.code == "price_unknown"
        assert it.provider.requests == []


async def test_another_model_answers_when_the_first_fails() -> None:
    async with world() as it, opened(it) as client:
        answer = await client.chat.completions.create(model="falling", messages=say("[[tokens=2]]"))
        assert answer.model == "gpt-4o-mini"
        with pytest.raises(openai.InternalServerError):
            await client.chat.completions.create(model="falling", messages=say("[[status=503]]"))
        assert [body["model"] for _, _, body in it.provider.requests] == ["gpt-4o-mini", "gpt-4o-mini", "gpt-4o"]
        rows = await it.ended(2)
        intents = [event for event in await it.tape(rows[0].id) if isinstance(event, ModelIntent)]
        assert [(event.model, event.because) for event in intents] == [
            ("openai:gpt-4o-mini", ""),
            ("openai:gpt-4o", "fallback"),
        ]
