"""Anthropic's Messages API through the official SDK, against a local server."""

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from penstock.adapters.providers import model_by_name, model_from
from penstock.events import Amount
from penstock.events.messages import Message, Thinking, ToolResult, decode_message, encode_message, say
from penstock.ports.model import Model, ModelError, ModelRequest, ModelResponse, ModelSettings, ToolSpec
from penstock.testing import WireAnswer, WireServer

BODIES = Path(__file__).parent / "wire" / "anthropic"
NAME = "anthropic:claude-sonnet-4-6"

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
        "properties": {"customer_id": {"type": "string"}, "limit": {"type": "integer"}},
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

        async def connected(*answers: WireAnswer, name: str = NAME) -> tuple[Model, WireServer]:
            server = await stack.enter_async_context(WireServer(*answers))
            monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
            monkeypatch.setenv("ANTHROPIC_API_KEY", "key-for-tests")
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


async def test_plain(connect: Connect) -> None:
    model, server = await connect(answer("plain"))
    response = await model.request(asking())
    assert response.message.text == "Your card is on its way and arrives by Friday."
    assert (response.finish, response.provider_id) == ("stop", "msg_01XFDUDYJgAACzvnptvVoYEL")
    assert response.used == Amount(32, 15)
    (call,) = server.calls
    assert call.path.startswith("/v1/messages")
    assert "key-for-tests" in (call.headers.get("x-api-key") or call.headers["authorization"])
    assert call.json["max_tokens"] == 512
    assert call.json["system"] == "You work at a bank's support desk."
    assert [message["role"] for message in call.json["messages"]] == ["user"]
    assert "tools" not in call.json
    assert (model.name, model.simulated) == (NAME, False)


async def test_a_whole_answer_with_reasoning_and_parallel_calls(connect: Connect) -> None:
    model, _ = await connect(answer("tools"))
    response = await model.request(asking(tools=(ACCOUNT, TRANSACTIONS)))
    assert [type(part).__name__ for part in response.message.parts] == [
        "Thinking",
        "Thinking",
        "Text",
        "ToolCall",
        "ToolCall",
    ]
    assert [(call.id, call.name, json.loads(call.args)) for call in response.message.tool_calls] == [
        ("toolu_01A09q90qw90lq917835lq9", "get_account", {"customer_id": "c-17"}),
        ("toolu_01B55r21xz44mn882190pk3", "list_transactions", {"customer_id": "c-17", "limit": 5}),
    ]
    assert response.finish == "tool_calls"
    # Anthropic's input_tokens leave out what the cache read and wrote; ours hold everything.
    assert response.used == Amount(21 + 1800 + 240, 143, cached=1800, written=240)
    price = model.price()
    assert price is not None
    assert price.of(response.used) == 21 * 3000 + 1800 * 300 + 240 * 3750 + 143 * 15_000


async def test_the_conversation_goes_back_as_it_was(connect: Connect) -> None:
    model, server = await connect(answer("tools"), answer("plain"))
    first = await model.request(asking(tools=(ACCOUNT, TRANSACTIONS)))
    conversation = [
        *ASKED,
        decode_message(encode_message(first.message)),  # as the journal gives it back
        say("note", "2 calls are left."),
        Message("tool", [ToolResult("toolu_01B55r21xz44mn882190pk3", "list_transactions", "no rows", "error")]),
        Message("tool", [ToolResult("toolu_01A09q90qw90lq917835lq9", "get_account", '{"name": "Ωmega"}')]),
        say("note", "The next step must answer."),
    ]
    await model.request(asking(conversation, (ACCOUNT, TRANSACTIONS)))
    sent = server.calls[1].json["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "user"]
    # Signatures, redacted reasoning and calls byte for byte: Anthropic verifies them.
    assert sent[1]["content"] == body("tools")["content"]
    after = sent[2]["content"]
    assert [block["type"] for block in after] == ["tool_result", "tool_result", "text", "text"]
    assert [(block["tool_use_id"][-3:], block["is_error"]) for block in after[:2]] == [("lq9", False), ("pk3", True)]
    assert after[0]["content"] == [{"type": "text", "text": '{"name": "Ωmega"}'}]
    assert [block["text"] for block in after[2:]] == ["2 calls are left.", "The next step must answer."]


async def test_a_system_message_in_mid_conversation_moves_nothing(connect: Connect) -> None:
    """What was sent before stays byte for byte, or every cache and every bound on the prefix is lost."""
    model, server = await connect(answer("plain"))
    longer = [*ASKED, say("assistant", "By Friday."), say("system", "Be brief."), say("user", "And the PIN?")]
    await model.request(asking(ASKED))
    await model.request(asking(longer))
    before, after = server.calls[0].json, server.calls[1].json
    assert after["system"] == before["system"]
    assert after["messages"][: len(before["messages"])] == before["messages"]
    assert "Be brief." in json.dumps(after["messages"])


# File, status, headers; code, cause, billed, microseconds to wait.
Refusal = tuple[str, int, dict[str, str], tuple[str, str, bool | None, int]]
REFUSALS: list[Refusal] = [
    ("400", 400, {}, ("model_refused_request", "permanent", False, 0)),
    ("400_context", 400, {}, ("model_context_exceeded", "permanent", False, 0)),
    ("400_credit", 400, {}, ("model_quota", "permanent", False, 0)),
    ("401", 401, {}, ("model_auth", "permanent", False, 0)),
    ("404", 404, {}, ("model_not_found", "permanent", False, 0)),
    ("429", 429, {"retry_after": "12"}, ("model_rate_limited", "rate_limited", False, 12_000_000)),
    ("429", 429, {"retry_after": "soon"}, ("model_rate_limited", "rate_limited", False, 0)),
    ("429", 429, {"retry_after": "9" * 30}, ("model_rate_limited", "rate_limited", False, 86_400_000_000)),
    ("500", 500, {}, ("model_unavailable", "transient", None, 0)),
    ("529", 529, {}, ("model_unavailable", "transient", False, 0)),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: f"{refusal[0]} {refusal[2]}")
async def test_each_refusal_is_one_call_and_its_own_failure(connect: Connect, refusal: Refusal) -> None:
    file, status, headers, expected = refusal
    model, server = await connect(answer(file, status, **headers))
    error = await failing(model)
    failure = error.failure
    assert (failure.code, failure.cause, error.billed, failure.retry_after_us) == expected
    assert f"status {status}" in failure.words
    assert "repeat" not in failure.words, "the SDK itself must not try again: it would wait before it does"
    assert len(server.calls) == 1


async def test_the_librarys_own_second_form_of_a_request_is_stopped(connect: Connect) -> None:
    """The library answers this refusal with another call that leaves the reasoning out; that would be unreserved."""
    model, server = await connect(
        answer("400_stale_thinking", 400), answer("plain"), name="anthropic:claude-sonnet-5-5"
    )
    error = await failing(model)
    assert (error.failure.code, error.billed) == ("model_refused_request", False)
    assert len(server.calls) == 1


@pytest.mark.parametrize(
    ("broken", "code", "billed"),
    [
        (WireAnswer([b'{"id": "x", "conte'], 200, {"content-type": "application/json"}), "model_bad_response", True),
        (WireAnswer([b"<html>maintenance</html>"], 200, {"content-type": "text/html"}), "model_bad_response", True),
        (WireAnswer.json({"hello": "world"}), "model_bad_response", True),
        (WireAnswer([b'{"id": '], 200, {"content-type": "application/json"}, "cut"), "model_connection", None),
        (WireAnswer([b'{"id": '], 200, {"content-type": "application/json"}, "reset"), "model_connection", None),
        (WireAnswer(ending="cut"), "model_connection", None),
        (WireAnswer(ending="reset"), "model_connection", None),
    ],
    ids=["half json", "html", "other json", "cut body", "reset body", "no answer", "reset"],
)
async def test_a_broken_answer_is_one_call_and_may_be_billed(
    connect: Connect, broken: WireAnswer, code: str, billed: bool | None
) -> None:
    model, server = await connect(broken)
    error = await failing(model)
    assert (error.failure.code, error.billed) == (code, billed)
    assert len(server.calls) == 1


async def test_silence_ends_at_the_time_out_with_one_call(connect: Connect) -> None:
    model, server = await connect(WireAnswer(ending="hang"))
    begun = time.monotonic()
    error = await failing(model, asking(timeout=0.2))
    assert time.monotonic() - begun < 2
    assert (error.failure.code, error.failure.cause, error.billed) == ("model_timeout", "transient", None)
    assert len(server.calls) == 1


async def test_many_output_tokens_are_no_reason_to_stream_or_refuse(connect: Connect) -> None:
    """The SDK refuses a whole answer that it expects to take ten minutes, unless a time-out is given with the call."""
    model, server = await connect(answer("plain"))
    settings = ModelSettings(60_000, timeout_seconds=5)
    assert (await model.request(ModelRequest(ASKED, (), settings))).finish == "stop"
    assert [call.json["stream"] for call in server.calls] == [False]


async def test_missing_usage_is_unknown_not_zero(connect: Connect) -> None:
    model, _ = await connect(answer("no_usage"))
    response = await model.request(asking())
    assert (response.message.text, response.used) == ("Done.", None)
    opening = json.dumps(body("plain")["usage"] | {"input_tokens": 32, "output_tokens": 2}, separators=(",", ":"))
    assert opening in events("stream")
    model, _ = await connect(WireAnswer.events(events("stream").replace(f',"usage":{opening}', "")))
    _, response = await read(model)
    assert (response.message.text[:9], response.used) == ("Your card", None)


async def test_a_cut_off_answer_says_so(connect: Connect) -> None:
    model, _ = await connect(answer("cut_off"))
    assert (await model.request(asking())).finish == "length"


async def test_a_providers_own_tool_does_not_pass(connect: Connect) -> None:
    model, server = await connect(answer("server_tool"))
    error = await failing(model)
    assert (error.failure.code, error.failure.cause, error.billed) == ("model_bad_response", "permanent", True)
    forbidden: list[dict[str, Any]] = [
        {"anthropic_speed": "fast"},
        {"anthropic_container": {"id": "c"}},
        {"anthropic_context_management": {"edits": []}},
        {"anthropic_cache": "1h"},
        {"extra_body": {"mcp_servers": []}},
    ]
    for extra in forbidden:
        error = await failing(model, asking(extra=extra))
        assert (error.failure.code, error.billed) == ("model_refused_request", False), extra
    assert len(server.calls) == 1


async def test_a_stream_yields_its_pieces_and_the_whole(connect: Connect) -> None:
    model, server = await connect(WireAnswer.events(events("stream")))
    pieces, response = await read(model)
    assert pieces == ["Your card", " is on its way", " – 🚚."]
    assert response.message.text == "".join(pieces)
    assert (response.finish, response.used) == ("stop", Amount(32, 13))
    assert server.calls[0].json["stream"] is True
    assert len(server.calls) == 1


async def test_a_streamed_answer_goes_back_like_a_whole_one(connect: Connect) -> None:
    model, server = await connect(WireAnswer.events(events("stream_tools")), answer("plain"))
    pieces, response = await read(model, asking(tools=(ACCOUNT, TRANSACTIONS)))
    assert pieces == ["Let me look."]
    assert [call.args for call in response.message.tool_calls] == [
        '{"customer_id": "c-17"}',
        '{"customer_id":"c-17","limit":5}',
    ]
    assert response.used == Amount(1840, 143, cached=1800)
    assert isinstance(response.message.parts[0], Thinking)
    results = [ToolResult(call.id, call.name, "none") for call in response.message.tool_calls]
    await model.request(asking([*ASKED, response.message, Message("tool", [*results])], (ACCOUNT, TRANSACTIONS)))
    thinking, _, *rest = body("tools")["content"]
    assert server.calls[1].json["messages"][1]["content"] == [thinking, *rest]


@pytest.mark.parametrize("ending", ["whole", "cut", "reset"])
@pytest.mark.parametrize("blocks", [1, 2, 5, 7])
async def test_a_stream_that_breaks_off_is_an_error(connect: Connect, ending: Any, blocks: int) -> None:
    """``whole``: the connection ends as if all were well, which SDKs take for the end of the answer."""
    first = "\n\n".join(events("stream").split("\n\n")[:blocks])
    model, server = await connect(WireAnswer.events(first + "\n\n: padding\n\n", ending))
    with pytest.raises(ModelError) as caught:
        await read(model)
    assert caught.value.failure.code in ("model_truncated", "model_connection")
    assert caught.value.billed is not False
    assert len(server.calls) == 1


async def test_an_error_inside_a_stream(connect: Connect) -> None:
    model, server = await connect(WireAnswer.events(events("stream_error")))
    with pytest.raises(ModelError) as caught:
        await read(model)
    assert (caught.value.failure.code, caught.value.failure.cause) == ("model_unavailable", "transient")
    assert caught.value.billed is True, "part of the answer had arrived"
    assert "charged twice" not in caught.value.failure.words
    assert len(server.calls) == 1


async def test_a_refused_stream_is_one_call(connect: Connect) -> None:
    model, server = await connect(answer("529", 529))
    with pytest.raises(ModelError) as caught:
        await read(model)
    assert (caught.value.failure.code, caught.value.billed) == ("model_unavailable", False)
    assert len(server.calls) == 1


async def test_a_stream_that_falls_silent_ends_at_the_time_out(connect: Connect) -> None:
    first = "\n\n".join(events("stream").split("\n\n")[:4])
    model, server = await connect(WireAnswer.events(first, "hang"))
    with pytest.raises(ModelError) as caught:
        await read(model, asking(timeout=0.3))
    assert (caught.value.failure.code, caught.value.billed) == ("model_timeout", None)
    assert len(server.calls) == 1


@pytest.mark.parametrize(
    ("choice", "output", "expected"),
    [
        ("auto", None, {"type": "auto"}),
        ("none", None, {"type": "none"}),
        ("required", None, {"type": "any"}),
        ("auto", REPLY, {"type": "auto"}),
        ("none", REPLY, {"type": "tool", "name": "reply"}),
        ("required", REPLY, {"type": "any"}),
    ],
)
async def test_tools_stay_defined_whatever_may_be_called(
    connect: Connect, choice: Any, output: ToolSpec | None, expected: dict[str, str]
) -> None:
    model, server = await connect(answer("plain"))
    await model.request(asking(tools=(ACCOUNT, TRANSACTIONS), tool_choice=choice, output_tool=output))
    sent = server.calls[0].json
    assert [tool["name"] for tool in sent["tools"]] == [
        tool.name for tool in (ACCOUNT, TRANSACTIONS, *([output] if output else []))
    ]
    assert sent["tools"][0]["input_schema"] == ACCOUNT.schema
    assert sent["tool_choice"] == expected


async def test_a_client_that_would_retry_is_held_to_one_call() -> None:
    from anthropic import AsyncAnthropic
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    async with WireServer(answer("529", 529)) as server:
        async with AsyncAnthropic(base_url=server.url, api_key="k", max_retries=3) as client:
            theirs = AnthropicModel("claude-sonnet-4-6", provider=AnthropicProvider(anthropic_client=client))
            model = model_from(theirs)
            assert model.name == NAME
            assert "repeat" not in (await failing(model)).failure.words, "the SDK must not even try"
        assert len(server.calls) == 1


@pytest.mark.parametrize(("file", "tools"), [("plain", ()), ("tools", (ACCOUNT, TRANSACTIONS))])
async def test_the_bound_holds_for_the_recorded_prompt(
    connect: Connect, file: str, tools: tuple[ToolSpec, ...]
) -> None:
    model, _ = await connect(answer(file))
    response = await model.request(asking(tools=tools))
    assert response.used is not None
    if not tools:
        assert response.used.tokens_in <= model.prompt_bound(ASKED, tools)
    # Anthropic's documentation counts 14 tokens for this one, and 403 with a weather tool of one parameter.
    short = [say("system", "You are a scientist"), say("user", "Hello, Claude")]
    assert 14 <= model.prompt_bound(short, ()) < 14 + 400
    assert 403 <= model.prompt_bound([say("user", "What's the weather like in San Francisco?")], (ACCOUNT,)) < 5 * 403
