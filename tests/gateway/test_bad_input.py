"""Requests that cannot be passed on, and providers that do not keep to their format."""

import dataclasses
import json

import msgspec
import pytest
from tests.gateway.test_runs import CHAT, asked, caller
from tests.gateway.world import world

from penstock.events import BudgetRecord, ModelOutcome
from penstock.integrations.gateway.targets import Provider

MESSAGES = "/anthropic/v1/messages"


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        (CHAT, b"{not json", "invalid_json"),
        (CHAT, b"[1, 2]", "invalid_json"),
        (CHAT, b"\xff\xfe", "invalid_json"),
        (CHAT, b"[" * 100_000, "invalid_json"),
        (CHAT, b"{}", "invalid_value"),
        (CHAT, json.dumps(asked("x", model=7)).encode(), "invalid_value"),
        (CHAT, json.dumps(asked("x", messages=[])).encode(), "invalid_value"),
        (CHAT, json.dumps(asked("x", messages=[7])).encode(), "invalid_value"),
        (CHAT, json.dumps(asked("x", max_tokens=-1)).encode(), "invalid_value"),
        (CHAT, json.dumps(asked("x", max_tokens=10**30)).encode(), "invalid_value"),
        (CHAT, json.dumps(asked("x", n=1000)).encode(), "invalid_value"),
        (CHAT, json.dumps(asked("x", stream="yes")).encode(), "invalid_value"),
        (CHAT, json.dumps(asked("x", stream_options=[])).encode(), "invalid_value"),
        (CHAT, json.dumps(asked("x", web_search_options={})).encode(), "unpriced_feature"),
        (CHAT, json.dumps(asked("x", service_tier="priority")).encode(), "unpriced_feature"),
        (CHAT, json.dumps(asked("x", modalities=["text", "audio"])).encode(), "unpriced_feature"),
        (CHAT, json.dumps(asked("x", tools=[{"type": "web_search"}])).encode(), "hosted_tool"),
        (CHAT, json.dumps(asked("x", tools=7)).encode(), "invalid_value"),
        (CHAT, json.dumps(asked("x" * 2_000_000)).encode(), "too_large"),
        (MESSAGES, json.dumps(asked("x", mcp_servers=[{}])).encode(), "unpriced_feature"),
        (MESSAGES, json.dumps(asked("x", messages=[{"role": "user"}])).encode(), "invalid_value"),
        ("/openai/v1/responses", b'{"model": "gpt-4o-mini", "input": 7}', "invalid_value"),
        ("/openai/v1/responses", b'{"model": "m", "input": "x", "background": true}', "unpriced_feature"),
        ("/openai/v1/embeddings", b'{"model": "embed", "input": []}', "invalid_value"),
        ("/openai/v1/files", b"{}", "not_found"),
    ],
)
async def test_a_request_that_cannot_be_passed_is_refused_and_costs_nothing(path: str, body: bytes, code: str) -> None:
    async with world(body_max_bytes=1_000_000) as it, caller(it) as client:
        answer = await client.post(path, content=body)
        assert answer.headers["penstock-error"] == code
        assert 400 <= answer.status_code < 500
        error = answer.json()["error"]
        assert error["message"]
        assert error["type"]
        assert it.provider.requests == []


async def test_of_two_fields_of_one_name_the_provider_sees_the_one_that_was_judged() -> None:
    async with world() as it, caller(it) as client:
        body = b'{"model": "gpt-4o", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}], "max_tokens": 7'
        await client.post(CHAT, content=body + b', "model": "gpt-4o-mini"}')
        sent = it.provider.requests[0][2]
        assert (sent["model"], sent["max_tokens"]) == ("gpt-4o-mini", 7)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("mode", ["no_usage", "negative", "absurd"])
@pytest.mark.parametrize("path", [CHAT, MESSAGES, "/openai/v1/responses"])
async def test_a_usage_that_cannot_be_is_charged_at_the_maximum(path: str, mode: str, stream: bool) -> None:
    async with world() as it, caller(it) as client:
        body = asked(f"[[mode={mode}]]", stream=stream)
        if path == MESSAGES:
            body["model"] = "claude-haiku"
        if path.endswith("responses"):
            body = {"model": "gpt-4o-mini", "input": f"[[mode={mode}]]", "max_output_tokens": 50, "stream": stream}
        answer = await client.post(path, json=body)
        assert answer.status_code == 200
        (row,) = await it.ended()
        assert row.outcome == "succeeded"
        outcome = next(event for event in await it.tape(row.id) if isinstance(event, ModelOutcome))
        assert outcome.at_maximum
        assert outcome.used.tokens_out == 50
        assert row.summary.nano == outcome.used.nano > 0


@pytest.mark.parametrize(
    ("mode", "stream", "code"),
    [
        ("garbage", False, "upstream_garbage"),
        ("not_json", False, "model_bad_response"),
        ("not_json", True, "model_bad_response"),
    ],
)
async def test_a_provider_that_answers_nonsense_is_an_error_and_charged(mode: str, stream: bool, code: str) -> None:
    async with world() as it, caller(it) as client:
        answer = await client.post(CHAT, json=asked(f"[[mode={mode}]]", stream=stream))
        assert (answer.status_code, answer.headers["penstock-error"]) == (502, code)
        (row,) = await it.ended()
        assert row.summary.nano > 0


@pytest.mark.parametrize("mode", ["cut", "bad_event", "unfinished"])
async def test_a_stream_that_breaks_off_says_so_in_its_last_event(mode: str) -> None:
    async with world() as it, caller(it) as client:
        async with client.stream("POST", CHAT, json=asked(f"[[mode={mode} tokens=9]]", stream=True)) as answer:
            lines = [line async for line in answer.aiter_lines() if line]
        assert json.loads(lines[-1].removeprefix("data: "))["error"]["code"] == "stream_broken"
        (row,) = await it.ended()
        outcome = next(event for event in await it.tape(row.id) if isinstance(event, ModelOutcome))
        assert outcome.at_maximum


async def test_a_provider_that_is_not_there_costs_nothing() -> None:
    async with world() as it, caller(it) as client:
        for item in it.gateway.targets.providers.values():
            item.upstream._port = 1
        answer = await client.post(CHAT, json=asked("x"))
        assert (answer.status_code, answer.headers["penstock-error"]) == (502, "upstream_connect")
        (row,) = await it.ended()
        assert row.summary.nano == 0


async def test_a_provider_that_never_ends_is_cut_after_its_time() -> None:
    async with world() as it, caller(it) as client:
        for name, item in it.gateway.targets.providers.items():
            it.gateway.targets.providers[name] = _hurried(item)
        answer = await client.post(CHAT, json=asked("[[seconds=60]]"))
        assert (answer.status_code, answer.headers["penstock-error"]) == (504, "upstream_timeout")
        async with client.stream("POST", CHAT, json=asked("[[mode=endless]]", stream=True)) as streamed:
            lines = [line async for line in streamed.aiter_lines() if line]
        assert json.loads(lines[-1].removeprefix("data: "))["error"]["code"] == "upstream_timeout"
        rows = await it.ended(2)
        assert all(row.summary.nano > 0 for row in rows)


async def test_images_are_bounded_by_the_models_context() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    async with world() as it:
        key = await it.add_key("poor", budget=BudgetRecord(nano=128_000 * 150))
        async with caller(it, key) as client:
            refused = await client.post(CHAT, json=asked("", messages=[{"role": "user", "content": [image]}]))
            assert (refused.status_code, refused.headers["penstock-error"]) == (429, "budget_exhausted")
        async with caller(it) as client:
            passed = await client.post(CHAT, json=asked("", messages=[{"role": "user", "content": [image]}]))
            assert passed.status_code == 200
        assert it.provider.requests[0][2]["messages"][0]["content"] == [image]


def _hurried(item: Provider) -> Provider:
    return dataclasses.replace(item, config=msgspec.structs.replace(item.config, timeout_seconds=0.3))
