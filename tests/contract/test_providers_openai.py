"""OpenAI's two APIs through the official SDK, against a local server: what goes out, what comes back, what fails."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from penstock.adapters.egress.guard import Egress
from penstock.adapters.egress.hook import enforced
from penstock.adapters.providers import model_by_name, model_from
from penstock.events import Amount
from penstock.events.messages import (
    Message,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    decode_message,
    encode_message,
    say,
)
from penstock.kernel.errors import ProviderInvalid
from penstock.ports.model import Model, ModelError, ModelRequest, ModelResponse, ModelSettings, ToolSpec
from penstock.testing import WireAnswer, WireServer

BODIES = Path(__file__).parent / "wire" / "openai"
CHAT, RESPONSES = "openai-chat:gpt-4o", "openai:gpt-5-mini"
BOTH = pytest.mark.parametrize(("name", "api"), [(CHAT, "chat"), (RESPONSES, "responses")])

ASKED = [say("system", "You work at a bank's support desk."), say("user", "Where is my card?")]
ACCOUNT = ToolSpec(
    "get_account",
    "The account of a customer.",
    {"type": "object", "properties": {"customer_id": {"type": "string"}}, "required": ["customer_id"]},
)
TRANSACTIONS = ToolSpec(
    "list_transactions",
    "The latest transactions of a customer.",
    {
        "type": "object",
        "properties": {"customer_id": {"type": "string"}, "limit": {"type": "integer", "minimum": 1}},
        "required": ["customer_id"],
    },
)
REPLY = ToolSpec("reply", "The answer.", {"type": "object", "properties": {"text": {"type": "string"}}})

Connect = Callable[..., Awaitable[tuple[Model, WireServer]]]


def body(name: str) -> Any:
    return json.loads((BODIES / f"{name}.json").read_text())


def answer(name: str, status: int = 200, **headers: str) -> WireAnswer:
    return WireAnswer.json(body(name), status, **headers)


def events(name: str) -> str:
    return (BODIES / f"{name}.sse").read_text()


def asking(
    messages: list[Message] | None = None,
    tools: tuple[ToolSpec, ...] = (),
    *,
    timeout: float = 5.0,
    extra: dict[str, Any] | None = None,
    **more: Any,
) -> ModelRequest:
    settings = ModelSettings(512, timeout_seconds=timeout, extra=extra or {})
    return ModelRequest(messages or ASKED, tools, settings, **more)


@pytest.fixture
async def connect(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Connect]:
    async with AsyncExitStack() as stack:

        async def connected(name: str, *answers: WireAnswer) -> tuple[Model, WireServer]:
            server = await stack.enter_async_context(WireServer(*answers))
            monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
            monkeypatch.setenv("OPENAI_API_KEY", "key-for-tests")
            model = model_by_name(name)
            stack.push_async_callback(model.aclose)
            return model, server

        yield connected


async def failing(model: Model, request: ModelRequest | None = None) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await model.request(request or asking())
    assert "charged twice" not in str(caught.value), "the words quote the prompt"
    return caught.value


async def read(model: Model, request: ModelRequest | None = None) -> tuple[list[str], ModelResponse]:
    pieces: list[str] = []
    async for item in model.stream(request or asking()):
        if isinstance(item, ModelResponse):
            return pieces, item
        pieces.append(item)
    raise AssertionError("the stream ended without an answer")


async def test_chat_plain(connect: Connect) -> None:
    model, server = await connect(CHAT, answer("chat_plain"))
    response = await model.request(asking())
    assert response.message.text == "Your card is on its way and arrives by Friday."
    assert (response.finish, response.provider_id) == ("stop", "chatcmpl-CUx8Qm1vT4")
    assert response.used == Amount(38, 12)
    (call,) = server.calls
    assert call.path == "/v1/chat/completions"
    assert call.headers["authorization"] == "Bearer key-for-tests"
    assert call.json["max_completion_tokens"] == 512
    assert [message["role"] for message in call.json["messages"]] == ["system", "user"]
    assert (model.name, model.simulated) == (CHAT, False)


async def test_responses_plain(connect: Connect) -> None:
    model, server = await connect(RESPONSES, answer("responses_plain"))
    response = await model.request(asking())
    assert response.message.text == "Your card is on its way and arrives by Friday."
    assert (response.finish, response.provider_id) == ("stop", "resp_68af4030592c81")
    assert response.used == Amount(36, 14)
    (call,) = server.calls
    assert call.path == "/v1/responses"
    assert call.json["max_output_tokens"] == 512
    assert "previous_response_id" not in call.json


@BOTH
async def test_parallel_tool_calls_come_back_as_written(connect: Connect, name: str, api: str) -> None:
    model, server = await connect(name, answer(f"{api}_tools"))
    response = await model.request(asking(tools=(ACCOUNT, TRANSACTIONS)))
    assert [(call.id, call.name, call.args) for call in response.message.tool_calls] == [
        ("call_aTk2pZ", "get_account", '{"customer_id": "c-17"}'),
        ("call_bWq9sL", "list_transactions", '{"customer_id":"c-17","limit":5}'),
    ]
    assert response.finish == "tool_calls"
    assert response.used is not None
    assert response.used.cached in (1536, 1152)
    assert response.used.tokens_in > response.used.cached
    assert response.used.reasoning == (0 if api == "chat" else 128)
    assert len(server.calls) == 1


def calls_as_values(call: dict[str, Any]) -> tuple[str, str, Any]:
    """The library writes the arguments anew, without the spaces the model wrote."""
    function = call.get("function", call)
    return call.get("call_id", call["id"]), function["name"], json.loads(function["arguments"])


def settled(first: Message) -> list[Message]:
    """The conversation goes on: results in another order than the calls, a denied one, a note before and after."""
    return [
        *ASKED,
        decode_message(encode_message(first)),  # as the journal gives it back
        say("note", "2 calls are left."),
        Message("tool", [ToolResult("call_bWq9sL", "list_transactions", "Denied by policy.", "denied")]),
        Message("tool", [ToolResult("call_aTk2pZ", "get_account", '{"name": "Ωmega"}')]),
        say("note", "The next step must answer."),
    ]


async def test_chat_conversation_goes_back_as_it_was(connect: Connect) -> None:
    model, server = await connect(CHAT, answer("chat_tools"), answer("chat_plain"))
    first = await model.request(asking(tools=(ACCOUNT, TRANSACTIONS)))
    await model.request(asking(settled(first.message), (ACCOUNT, TRANSACTIONS)))
    sent = server.calls[1].json["messages"]
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "tool", "tool", "user", "user"]
    received = body("chat_tools")["choices"][0]["message"]["tool_calls"]
    assert [calls_as_values(call) for call in sent[2]["tool_calls"]] == [calls_as_values(call) for call in received]
    assert [(message["tool_call_id"], message["content"]) for message in sent[3:5]] == [
        ("call_aTk2pZ", '{"name": "Ωmega"}'),
        ("call_bWq9sL", "Denied by policy."),
    ]
    assert [message["content"] for message in sent[5:]] == ["2 calls are left.", "The next step must answer."]


async def test_responses_conversation_goes_back_as_it_was(connect: Connect) -> None:
    model, server = await connect(RESPONSES, answer("responses_tools"), answer("responses_plain"))
    first = await model.request(asking(tools=(ACCOUNT, TRANSACTIONS)))
    assert isinstance(first.message.parts[0], Thinking)
    await model.request(asking(settled(first.message), (ACCOUNT, TRANSACTIONS)))
    sent = server.calls[1].json["input"]
    reasoning, *calls = body("responses_tools")["output"]
    assert {key: sent[2][key] for key in ("id", "type", "encrypted_content", "summary")} == reasoning
    assert [calls_as_values(item) for item in sent[3:5]] == [calls_as_values(call) for call in calls]
    assert [item["id"] for item in sent[3:5]] == [call["id"] for call in calls]
    assert [(item["type"], item["call_id"]) for item in sent[5:7]] == [
        ("function_call_output", "call_aTk2pZ"),
        ("function_call_output", "call_bWq9sL"),
    ]
    assert [item["role"] for item in sent[7:]] == ["user", "user"]
    assert "previous_response_id" not in server.calls[1].json


# File, status, headers; code, cause, billed, microseconds to wait.
Refusal = tuple[str, int, dict[str, str], tuple[str, str, bool | None, int]]
REFUSALS: list[Refusal] = [
    ("400", 400, {}, ("model_refused_request", "permanent", False, 0)),
    ("400_context", 400, {}, ("model_context_exceeded", "permanent", False, 0)),
    ("401", 401, {}, ("model_auth", "permanent", False, 0)),
    ("404", 404, {}, ("model_not_found", "permanent", False, 0)),
    ("429", 429, {"retry_after": "7"}, ("model_rate_limited", "rate_limited", False, 7_000_000)),
    ("429", 429, {"retry_after_ms": "1250"}, ("model_rate_limited", "rate_limited", False, 1_250_000)),
    ("429_quota", 429, {}, ("model_quota", "permanent", False, 0)),
    ("500", 500, {}, ("model_unavailable", "transient", None, 0)),
    ("500", 503, {}, ("model_unavailable", "transient", False, 0)),
    ("500", 408, {}, ("model_unavailable", "transient", None, 0)),
    ("500", 409, {}, ("model_unavailable", "transient", None, 0)),
]


@BOTH
@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: f"{refusal[0]} as {refusal[1]}")
async def test_each_refusal_is_one_call_and_its_own_failure(
    connect: Connect, name: str, api: str, refusal: Refusal
) -> None:
    file, status, headers, expected = refusal
    model, server = await connect(name, answer(file, status, **headers))
    error = await failing(model)
    failure = error.failure
    assert (failure.code, failure.cause, error.billed, failure.retry_after_us) == expected
    assert f"status {status}" in failure.words
    assert "repeat" not in failure.words, "the SDK itself must not try again: it would wait before it does"
    assert len(server.calls) == 1


@BOTH
@pytest.mark.parametrize(
    ("broken", "code", "billed"),
    [
        (WireAnswer([b'{"id": "x", "choi'], 200, {"content-type": "application/json"}), "model_bad_response", True),
        (WireAnswer([b"<html>maintenance</html>"], 200, {"content-type": "text/html"}), "model_bad_response", True),
        (WireAnswer.json({"hello": "world"}), "model_bad_response", True),
        (WireAnswer.json([]), "model_bad_response", True),
        (WireAnswer([b'{"id": '], 200, {"content-type": "application/json"}, "cut"), "model_connection", None),
        (WireAnswer([b'{"id": '], 200, {"content-type": "application/json"}, "reset"), "model_connection", None),
        (WireAnswer(ending="cut"), "model_connection", None),
        (WireAnswer(ending="reset"), "model_connection", None),
    ],
    ids=["half json", "html", "other json", "list", "cut body", "reset body", "no answer", "reset"],
)
async def test_a_broken_answer_is_one_call_and_may_be_billed(
    connect: Connect, name: str, api: str, broken: WireAnswer, code: str, billed: bool | None
) -> None:
    model, server = await connect(name, broken)
    error = await failing(model)
    assert (error.failure.code, error.billed) == (code, billed)
    assert len(server.calls) == 1


@BOTH
@pytest.mark.parametrize("before", [WireAnswer(ending="hang"), WireAnswer([b"{"], ending="hang")])
async def test_silence_ends_at_the_time_out_with_one_call(
    connect: Connect, name: str, api: str, before: WireAnswer
) -> None:
    model, server = await connect(name, before)
    begun = time.monotonic()
    error = await failing(model, asking(timeout=0.2))
    assert time.monotonic() - begun < 2
    assert (error.failure.code, error.failure.cause, error.billed) == ("model_timeout", "transient", None)
    assert len(server.calls) == 1


@BOTH
async def test_an_answer_that_trickles_ends_at_the_time_out(connect: Connect, name: str, api: str) -> None:
    """An SDK's time-out begins anew with every byte; ours is for the call."""
    whole = json.dumps(body(f"{api}_plain")).encode()
    halves = [whole[: len(whole) // 2], *(b" " for _ in range(40)), whole[len(whole) // 2 :]]
    slow = WireAnswer(halves, 200, {"content-type": "application/json"}, pause_seconds=0.05)
    streamed = WireAnswer.events(": waiting\n\n" * 40 + events(f"{api}_stream"))
    model, server = await connect(name, slow, replace(streamed, pause_seconds=0.05))
    begun = time.monotonic()
    assert (await failing(model, asking(timeout=0.3))).failure.code == "model_timeout"
    with pytest.raises(ModelError) as caught:
        await read(model, asking(timeout=0.3))
    assert caught.value.failure.code == "model_timeout"
    assert time.monotonic() - begun < 1.5
    assert len(server.calls) == 2


@BOTH
async def test_nobody_there_is_not_billed(connect: Connect, name: str, api: str) -> None:
    model, server = await connect(name)
    await server.__aexit__(None, None, None)
    error = await failing(model)
    assert (error.failure.code, error.failure.cause, error.billed) == ("model_connection", "transient", False)


@BOTH
async def test_missing_usage_is_unknown_not_zero(connect: Connect, name: str, api: str) -> None:
    zero = body(f"{api}_plain")
    zero["usage"] = {key: 0 if isinstance(value, int) else value for key, value in zero["usage"].items()}
    model, _ = await connect(name, answer(f"{api}_no_usage"), WireAnswer.json(zero))
    assert (await model.request(asking())).used is None
    assert (await model.request(asking())).used is None, "no call has an empty prompt"


async def test_refusals_and_cut_off_answers_say_so(connect: Connect) -> None:
    model, _ = await connect(CHAT, answer("chat_refusal"))
    response = await model.request(asking())
    assert (response.message.text, response.finish) == ("I can't help with that.", "content_filter")
    model, _ = await connect(RESPONSES, answer("responses_cut_off"))
    assert (await model.request(asking())).finish == "length"
    model, _ = await connect(RESPONSES, answer("responses_failed"))
    error = await failing(model)
    assert (error.failure.code, error.failure.cause) == ("model_unavailable", "transient")


@BOTH
async def test_a_stream_yields_its_pieces_and_the_whole(connect: Connect, name: str, api: str) -> None:
    model, server = await connect(name, WireAnswer.events(events(f"{api}_stream")))
    pieces, response = await read(model)
    assert len(pieces) == 3
    assert "".join(pieces) == response.message.text
    assert response.message.text.startswith("Your card is on")
    assert response.finish == "stop"
    assert response.used == (Amount(38, 11) if api == "chat" else Amount(36, 14))
    assert server.calls[0].json["stream"] is True
    assert len(server.calls) == 1


@BOTH
async def test_streamed_tool_calls_are_the_same_as_whole_ones(connect: Connect, name: str, api: str) -> None:
    model, _ = await connect(name, WireAnswer.events(events(f"{api}_stream_tools")), answer(f"{api}_tools"))
    pieces, streamed = await read(model, asking(tools=(ACCOUNT, TRANSACTIONS)))
    whole = await model.request(asking(tools=(ACCOUNT, TRANSACTIONS)))
    assert pieces == []
    assert [(call.id, call.name, call.args) for call in streamed.message.tool_calls] == [
        (call.id, call.name, call.args) for call in whole.message.tool_calls
    ]
    assert streamed.finish == "tool_calls"
    if api == "responses":
        first, second = streamed.message.parts[0], whole.message.parts[0]
        assert isinstance(first, Thinking)
        assert isinstance(second, Thinking)
        assert first.bag["signature"] == second.bag["signature"]


@BOTH
@pytest.mark.parametrize("ending", ["whole", "cut", "reset"])
@pytest.mark.parametrize("blocks", [1, 3, 4])
async def test_a_stream_that_breaks_off_is_an_error(
    connect: Connect, name: str, api: str, ending: Any, blocks: int
) -> None:
    """``whole``: the connection ends as if all were well, which SDKs take for the end of the answer."""
    first = "\n\n".join(events(f"{api}_stream").split("\n\n")[:blocks])
    model, server = await connect(name, WireAnswer.events(first + "\n\n: padding\n\n", ending))
    with pytest.raises(ModelError) as caught:
        await read(model)
    assert caught.value.failure.code in ("model_truncated", "model_connection")
    assert caught.value.billed is not False
    assert len(server.calls) == 1


@BOTH
async def test_a_stream_that_falls_silent_ends_at_the_time_out(connect: Connect, name: str, api: str) -> None:
    first = "\n\n".join(events(f"{api}_stream").split("\n\n")[:6])
    model, server = await connect(name, WireAnswer.events(first, "hang"))
    with pytest.raises(ModelError) as caught:
        await read(model, asking(timeout=0.3))
    assert (caught.value.failure.code, caught.value.billed) == ("model_timeout", None)
    assert len(server.calls) == 1


async def test_an_error_inside_a_stream(connect: Connect) -> None:
    model, _ = await connect(RESPONSES, WireAnswer.events(events("responses_stream_error")))
    with pytest.raises(ModelError) as caught:
        await read(model)
    assert (caught.value.failure.code, caught.value.failure.cause) == ("model_unavailable", "transient")
    assert caught.value.billed is None
    assert "charged twice" not in caught.value.failure.words


@BOTH
async def test_a_refused_stream_is_one_call(connect: Connect, name: str, api: str) -> None:
    model, server = await connect(name, answer("429", 429, retry_after="3"))
    with pytest.raises(ModelError) as caught:
        await read(model)
    assert (caught.value.failure.code, caught.value.failure.retry_after_us) == ("model_rate_limited", 3_000_000)
    assert len(server.calls) == 1


async def test_whoever_stops_reading_closes_the_stream_and_can_call_again(connect: Connect) -> None:
    model, server = await connect(CHAT, WireAnswer.events(events("chat_stream"), "hang"), answer("chat_plain"))
    stream = model.stream(asking())
    assert await anext(stream) == "Your card"
    # Between two pieces the consumer's own calls are counted for themselves.
    assert (await model.request(asking())).finish == "stop"
    await stream.aclose()
    assert len(server.calls) == 2


@BOTH
@pytest.mark.parametrize(
    ("choice", "output", "expected"),
    [
        ("auto", None, "auto"),
        ("none", None, "none"),
        ("required", None, "required"),
        ("auto", REPLY, "auto"),
        ("none", REPLY, "reply"),
        ("required", REPLY, "required"),
    ],
)
async def test_tools_stay_defined_whatever_may_be_called(
    connect: Connect, name: str, api: str, choice: Any, output: ToolSpec | None, expected: str
) -> None:
    model, server = await connect(name, answer(f"{api}_plain"))
    await model.request(asking(tools=(ACCOUNT, TRANSACTIONS), tool_choice=choice, output_tool=output))
    sent = server.calls[0].json
    flat = [tool.get("function", tool) for tool in sent["tools"]]
    assert [tool["name"] for tool in flat] == [t.name for t in (ACCOUNT, TRANSACTIONS, *([output] if output else []))]
    assert flat[0]["parameters"] == ACCOUNT.schema
    chosen = sent["tool_choice"]
    assert (chosen if isinstance(chosen, str) else chosen.get("function", chosen)["name"]) == expected


@BOTH
async def test_what_would_break_the_bound_or_pass_by_a_gate_is_not_sent(connect: Connect, name: str, api: str) -> None:
    model, server = await connect(name, answer(f"{api}_plain"))
    forbidden: list[dict[str, Any]] = [
        {"openai_native_tools": [{"type": "web_search"}]},
        {"openai_previous_response_id": "auto"},
        {"openai_background": True},
        {"service_tier": "priority"},
        {"openai_prompt_cache_options": {"ttl": "12h"}},
        {"max_tokens": 100_000},
        {"extra_body": {"n": 3}},
        {"extra_body": {"tools": []}},
        {"extra_body": "n=3"},
    ]
    for extra in forbidden:
        error = await failing(model, asking(extra=extra))
        assert (error.failure.code, error.billed) == ("model_refused_request", False), extra
    error = await failing(model, asking(tool_choice="required"))
    assert error.billed is False
    error = await failing(model, asking(tools=(ACCOUNT, ACCOUNT)))
    assert error.billed is False
    assert server.calls == []
    await model.request(asking(extra={"extra_body": {"metadata": {"team": "desk"}}, "openai_user": "u-1"}))
    assert (server.calls[0].json["metadata"], server.calls[0].json["user"]) == ({"team": "desk"}, "u-1")


@pytest.mark.parametrize(("retries", "settings"), [(0, None), (2, None), (0, {"max_retries": 2, "timeout": 60.0})])
async def test_a_client_that_would_retry_is_held_to_one_call(retries: int, settings: Any) -> None:
    from openai import AsyncOpenAI
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    async with WireServer(answer("500", 500)) as server:
        async with AsyncOpenAI(base_url=server.url, api_key="k", max_retries=retries) as client:
            provider = OpenAIProvider(openai_client=client)
            model = model_from(OpenAIChatModel("gpt-4o", provider=provider, settings=settings))
            assert model.name == "openai:gpt-4o"
            for _ in range(2):
                assert "repeat" not in (await failing(model)).failure.words, "the SDK must not even try"
            assert client.max_retries == retries, "a client that was passed in is not changed"
        assert len(server.calls) == 2


async def test_a_repeat_below_the_sdk_is_stopped() -> None:
    """A redirect is followed inside the HTTP client, where no setting of the SDK reaches."""
    import httpx2
    from openai import AsyncOpenAI
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    elsewhere = WireAnswer([b"{}"], 307, {"location": "/chat/completions"})
    async with (
        WireServer(elsewhere, answer("chat_plain")) as server,
        httpx2.AsyncClient(follow_redirects=True) as http,
        AsyncOpenAI(base_url=server.url, api_key="k", http_client=http) as client,
    ):
        theirs = OpenAIChatModel("gpt-4o", provider=OpenAIProvider(openai_client=client))
        error = await failing(model_from(theirs))
        assert "a repeat inside the SDK was stopped" in error.failure.words
        assert error.billed is False
        assert len(server.calls) == 1
        # What the client's owner does with it is not our business.
        await client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}])


async def test_models_that_call_several_times_are_refused() -> None:
    import httpx2
    from openai import AsyncOpenAI
    from pydantic_ai.models.fallback import FallbackModel
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    class RetryTransport(httpx2.AsyncHTTPTransport):
        pass

    async with (
        httpx2.AsyncClient(transport=RetryTransport()) as http,
        AsyncOpenAI(base_url="http://localhost", api_key="k", http_client=http) as client,
    ):
        plain = OpenAIChatModel("gpt-4o", provider=OpenAIProvider(openai_client=client))
        with pytest.raises(ProviderInvalid, match="RetryTransport"):
            model_from(plain)
        with pytest.raises(ProviderInvalid, match="FallbackModel"):
            model_from(FallbackModel(plain, plain))


async def test_settings_of_a_model_object_are_checked_like_those_of_a_call() -> None:
    from openai import AsyncOpenAI
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider
    from pydantic_ai.settings import ModelSettings as LibrarySettings

    forbidden: list[tuple[str, LibrarySettings]] = [
        ("service_tier", {"service_tier": "priority"}),
        ("tool_choice", {"tool_choice": "required"}),
        ("extra_body.n", {"extra_body": {"n": 2}}),
    ]
    async with AsyncOpenAI(base_url="http://localhost", api_key="k") as client:
        for name, settings in forbidden:
            theirs = OpenAIChatModel("gpt-4o", provider=OpenAIProvider(openai_client=client), settings=settings)
            with pytest.raises(ProviderInvalid, match=name):
                model_from(theirs)


def test_a_model_outlives_its_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections belong to a loop; a second ``asyncio.run`` must not meet those of the first."""
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    model = model_by_name(CHAT)

    async def once() -> tuple[ModelResponse, int]:
        async with WireServer(answer("chat_plain")) as server:
            # The address is the SDK client's; only the HTTP client under it is replaced.
            model._model.client.base_url = f"{server.url}/v1"  # type: ignore[attr-defined]
            try:
                return await model.request(asking()), len(server.calls)
            finally:
                await model.aclose()

    for _ in range(2):
        response, calls = asyncio.run(once())
        assert (response.finish, calls) == ("stop", 1)


@BOTH
async def test_the_bound_holds_for_the_recorded_prompt(connect: Connect, name: str, api: str) -> None:
    """OpenAI's own count of the prompts: 38 and 36 tokens without tools."""
    model, _ = await connect(name, answer(f"{api}_plain"))
    response = await model.request(asking())
    assert response.used is not None
    assert response.used.tokens_in <= model.prompt_bound(ASKED, ())
    price = model.price()
    assert price is not None
    assert price.of(response.used) <= price.at_most(model.prompt_bound(ASKED, ()), 512)


async def test_text_that_utf8_cannot_hold_is_mended(connect: Connect) -> None:
    odd = body("chat_plain")
    odd["choices"][0]["message"]["content"] = "half \ud83d of an emoji"
    model, _ = await connect(CHAT, WireAnswer.json(odd))
    response = await model.request(asking())
    assert response.message.text == "half \ufffd of an emoji"
    assert decode_message(encode_message(response.message)) == response.message


async def test_two_calls_of_one_id_are_told_apart(connect: Connect) -> None:
    odd = body("chat_tools")
    odd["choices"][0]["message"]["tool_calls"][1]["id"] = "call_aTk2pZ"
    odd["choices"][0]["message"]["tool_calls"][1]["function"]["arguments"] = "{broken"
    model, server = await connect(CHAT, WireAnswer.json(odd), answer("chat_plain"))
    message = (await model.request(asking(tools=(ACCOUNT, TRANSACTIONS)))).message
    assert [(call.id, call.args) for call in message.tool_calls] == [
        ("call_aTk2pZ", '{"customer_id": "c-17"}'),
        ("call_aTk2pZ-2", "{broken"),
    ]
    results = [ToolResult(call.id, call.name, "no such customer", "error") for call in message.tool_calls]
    await model.request(asking([*ASKED, message, Message("tool", [*results])], (ACCOUNT, TRANSACTIONS)))
    sent = server.calls[1].json["messages"]
    assert [item["tool_call_id"] for item in sent[3:]] == ["call_aTk2pZ", "call_aTk2pZ-2"]
    assert isinstance(message.parts[0], ToolCall)
    assert not any(isinstance(part, Text) for part in message.parts)


def test_its_server_may_be_reached_where_egress_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://models.internal:8000/v1")
    egress = Egress([])
    with enforced(egress):
        model_by_name("openai:gpt-5-mini")
        egress.check_address("models.internal", 8000)
