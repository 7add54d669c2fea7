"""Filters at the gateway, seen by the official clients, the provider and the journal."""

import json
import re
from collections.abc import Callable
from typing import Any

import anthropic
import httpx2 as httpx
import openai
import pytest
from tests.gateway.test_runs import caller
from tests.gateway.world import World, world

from penstock.adapters.memory import MemoryJournal
from penstock.events import Filtered, ModelIntent, ModelOutcome, encode
from penstock.integrations.gateway.config import CacheConfig, FiltersConfig, checked
from penstock.journal.payloads import unpack
from penstock.kernel.errors import GatewayInvalid

CARD, MAIL = "4111 1111 1111 1111", "ada@acme.example"
CARDS = (CARD.encode(), CARD.replace(" ", "").encode())
SECRET = "password=hunter22!x"
TEXT = f"So the card was {CARD}, as far as anybody knows, and the mail {MAIL} of course."
RELEASED = "So the card was [card], as far as anybody knows, and the mail [email] of course."
REDACTING = {"support": FiltersConfig(answers={"card": "redact", "email": "redact", "secret": "block"})}
TOKENS = {"*": FiltersConfig(requests={"email": "tokenise", "card": "redact", "secret": "block"})}
FUNCTION = {"name": "look_up", "parameters": {"type": "object", "properties": {}}}
SIZES = (1, 6)


class Told(Exception):
    """An error that came as an event of a stream."""


def gpt(it: World) -> openai.AsyncOpenAI:
    plain = openai.DefaultAsyncHttpxClient(verify=False)
    return openai.AsyncOpenAI(base_url=f"{it.url}/openai/v1", api_key=it.key, max_retries=0, http_client=plain)


def claude(it: World) -> anthropic.AsyncAnthropic:
    plain = anthropic.DefaultAsyncHttpxClient(verify=False)
    return anthropic.AsyncAnthropic(base_url=f"{it.url}/anthropic", api_key=it.key, max_retries=0, http_client=plain)


async def chat(it: World, text: str, *, stream: bool, **more: Any) -> tuple[str, str, Any]:
    """Words, arguments of the call, and the usage of an answer."""
    said: Any = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}], **more}
    said["tools"] = [{"type": "function", "function": FUNCTION}]
    async with gpt(it) as client:
        if stream:
            said["stream_options"] = {"include_usage": True}
            async with client.chat.completions.stream(**said) as events:
                async for _ in events:
                    pass
                whole: Any = await events.get_final_completion()
        else:
            whole = await client.chat.completions.create(**said)
    message = whole.choices[0].message
    calls = message.tool_calls or []
    return message.content or "", calls[0].function.arguments if calls else "", whole.usage.completion_tokens


async def response(it: World, text: str, *, stream: bool, **more: Any) -> tuple[str, str, Any]:
    said: Any = {"model": "gpt-4o-mini", "input": text, "tools": [{"type": "function", **FUNCTION, "strict": False}]}
    async with gpt(it) as client:
        if stream:
            async with client.responses.stream(**said, **more) as events:
                heard = [event async for event in events]
                if heard[-1].type == "error":  # which this client gives as an event
                    raise Told(heard[-1].message)
                whole: Any = await events.get_final_response()
            words = "".join(event.delta for event in heard if event.type == "response.output_text.delta")
            assert words == whole.output_text, "what came in pieces is what is said at the end"
            numbers = [event.sequence_number for event in heard]
            assert numbers == sorted(set(numbers))
        else:
            whole = await client.responses.create(**said, **more)
    calls = [item.arguments for item in whole.output if item.type == "function_call"]
    return whole.output_text, "".join(calls), whole.usage.output_tokens


async def message(it: World, text: str, *, stream: bool, **more: Any) -> tuple[str, str, Any]:
    said: Any = {"model": "claude-haiku", "max_tokens": 50, "messages": [{"role": "user", "content": text}], **more}
    said["tools"] = [{"name": "look_up", "input_schema": {"type": "object"}}]
    async with claude(it) as client:
        if stream:
            async with client.messages.stream(**said) as events:
                whole: Any = await events.get_final_message()
        else:
            whole = await client.messages.create(**said)
    words = "".join(block.text for block in whole.content if block.type == "text")
    calls = [json.dumps(block.input) for block in whole.content if block.type == "tool_use"]
    return words, "".join(calls), whole.usage.output_tokens


def answered(error: BaseException) -> httpx.Response:
    assert isinstance(error, openai.APIStatusError | anthropic.APIStatusError)
    return error.response


CALLS = [chat, response, message]
every = pytest.mark.parametrize("call", CALLS)
both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def in_pieces(say: Callable[[Any], str], size: int) -> Callable[[Any], list[str]]:
    """What the provider says to a request, in pieces of that size."""
    return lambda body: cut(say(body), size)


def cut(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


async def on_record(it: World, runs: int) -> bytes:
    """All that the journal holds of so many runs that have ended."""
    assert isinstance(it.journal, MemoryJournal)
    events = [encode(event) for row in await it.ended(runs) for event in await it.tape(row.id)]
    payloads = [unpack(one) for held in it.journal._store.payloads.values() for one in held.values()]
    kept = [entry.data for entry in it.journal._store.cache.values()] if hasattr(it.journal._store, "cache") else []
    return b"".join([*events, *payloads, *map(bytes, kept)])


@every
async def test_words_and_arguments_of_answers_are_filtered_wherever_they_are_cut(call: Any) -> None:
    arguments = json.dumps({"to": MAIL, "card": 4111111111111111, "note": "as usual"})
    async with world(filters=REDACTING) as it:
        runs = 0
        for stream, size in [(False, 1000), *((True, size) for size in SIZES)]:
            it.provider.says = in_pieces(lambda body: TEXT, size)
            it.provider.calls_with = in_pieces(lambda body: arguments, size)
            words, _, tokens = await call(it, "say it [[tokens=9]]", stream=stream)
            assert (words, tokens) == (RELEASED, 9)
            _, args, _ = await call(it, "call it [[tool=look_up]]", stream=stream)
            assert json.loads(args) == {"to": "[email]", "card": "[card]", "note": "as usual"}
            runs += 2
        rows = await it.ended(runs)
        outcomes = [event for row in rows for event in await it.tape(row.id) if isinstance(event, ModelOutcome)]
        assert all(event.filtered == [Filtered("card", "redact"), Filtered("email", "redact")] for event in outcomes)
        recorded = await on_record(it, runs)
        assert not any(card in recorded for card in CARDS)
        assert MAIL.encode() not in recorded


@every
@both
async def test_a_blocked_answer_is_cut_off_and_paid_for(call: Any, stream: bool) -> None:
    async with world(filters=REDACTING) as it:
        it.provider.says = lambda body: cut(f"It is plain to everybody that the {SECRET} and so on for long", 5)
        with pytest.raises((Told, openai.APIError, anthropic.APIError), match=r"withheld: secret \(1\)") as told:
            await call(it, "say it [[tokens=9 pace=0.02]]", stream=stream)  # it goes on when the client has left
        if not stream:
            assert answered(told.value).status_code == 400
            assert answered(told.value).headers["penstock-error"] == "filter_blocked"
        (row,) = await it.ended()
        assert (row.outcome, row.code) == ("refused", "filter_blocked")
        assert row.summary.tokens == sum(_used(it)), "exactly what it has used, not the maximum"
        assert b"hunter22" not in await on_record(it, 1)


def _used(it: World) -> tuple[int, int]:
    """Tokens in and out of the only request, as the provider counts."""
    body = it.provider.requests[0][2]
    return len(json.dumps(body.get("messages") or body.get("input"))) // 4 + 1, 9


@every
@both
async def test_a_provider_never_has_what_a_token_stands_for_and_the_client_does(call: Any, stream: bool) -> None:
    def token_in(body: Any) -> str:
        return re.search(r"tok_email_[a-z2-7]{16}", json.dumps(body))[0]  # type: ignore[index]

    async with world(filters=TOKENS) as it:
        for size in SIZES if stream else (1000,):
            it.provider.says = in_pieces(lambda body: f"Wrote to {token_in(body)}, not tok_email_abc.", size)
            it.provider.calls_with = in_pieces(lambda body: json.dumps({"to": token_in(body)}), size)
            words, _, _ = await call(it, f"write to {MAIL} with {CARD}", stream=stream)
            assert words == f"Wrote to {MAIL}, not tok_email_abc."
            _, args, _ = await call(it, f"call {MAIL} [[tool=look_up]]", stream=stream)
            assert json.loads(args) == {"to": MAIL}
        sent = json.dumps([body for _, _, body in it.provider.requests])
        assert MAIL not in sent
        assert "with [card]" in sent
        assert CARD not in sent
        assert len({token_in(body) for _, _, body in it.provider.requests}) == 1, "the same in all calls"
        recorded = await on_record(it, len(it.provider.requests))
        assert MAIL.encode() not in recorded
        assert not any(card in recorded for card in CARDS)
        tape = await it.tape((await it.ended())[-1].id)
        (intent,) = [event for event in tape if isinstance(event, ModelIntent)]
        assert intent.filtered == [Filtered("card", "redact"), Filtered("email", "tokenise")]


@every
@both
async def test_a_blocked_request_is_not_sent_and_costs_nothing(call: Any, stream: bool) -> None:
    async with world(filters=TOKENS) as it:
        with pytest.raises((openai.BadRequestError, anthropic.BadRequestError), match="may not leave") as told:
            await call(it, f"the {SECRET}", stream=stream)
        assert answered(told.value).headers["penstock-error"] == "filter_blocked"
        assert answered(told.value).headers["x-should-retry"] == "false"
        if call is not message:
            assert getattr(told.value, "code", "") == "filter_blocked"
        assert it.provider.requests == []
        (row,) = await it.ended()
        assert (row.outcome, row.code, row.summary.nano) == ("refused", "filter_blocked", 0)
        assert b"hunter22" not in await on_record(it, 1)


async def test_all_that_says_something_in_a_request_is_looked_at_and_ids_and_data_are_not() -> None:
    async with world(filters=TOKENS) as it, caller(it) as client:
        card = CARD.replace(" ", "")
        picture = f"data:image/png;base64,{card}AA=="
        call = {"id": f"call_{card}", "type": "function", "function": {"name": "f", "arguments": f'{{"c": {card}}}'}}
        told = await client.post(
            "/openai/v1/chat/completions",
            json={
                "model": "gpt-4o-mini",
                "user": MAIL,
                "messages": [
                    {"role": "system", "content": f"you serve {MAIL}"},
                    {"role": "user", "content": [{"type": "text", "text": CARD}]},
                    {"role": "assistant", "content": None, "tool_calls": [call]},
                    {"role": "tool", "tool_call_id": f"call_{card}", "content": f'{{"mail": "{MAIL}"}}'},
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": picture}}]},
                ],
                "tools": [{"type": "function", "function": {**FUNCTION, "description": f"mails {MAIL}"}}],
            },
        )
        assert told.status_code == 200, told.text
        body = it.provider.requests[0][2]
        system, text, asked, result, image = body["messages"]
        assert MAIL not in json.dumps(body)
        assert body["user"].startswith("tok_email_")
        assert system["content"] == f"you serve {body['user']}"
        assert text["content"][0]["text"] == "[card]"
        assert asked["tool_calls"] == [{**call, "function": {"name": "f", "arguments": '{"c":"[card]"}'}}]
        assert result == {"role": "tool", "tool_call_id": f"call_{card}", "content": f'{{"mail": "{body["user"]}"}}'}
        assert image["content"][0]["image_url"]["url"] == picture
        assert body["tools"][0]["function"]["description"] == f"mails {body['user']}"

        vectors = await client.post("/openai/v1/embeddings", json={"model": "embed", "input": [CARD, "two"]})
        assert vectors.status_code == 200
        assert it.provider.requests[1][2]["input"] == ["[card]", "two"]
        count = {"model": "claude-haiku", "messages": [{"role": "user", "content": CARD}], "system": MAIL}
        assert (await client.post("/anthropic/v1/messages/count_tokens", json=count)).status_code == 200
        assert it.provider.requests[2][2]["messages"][0]["content"] == "[card]"
        count["system"] = SECRET
        refused = await client.post("/anthropic/v1/messages/count_tokens", json=count)
        assert (refused.status_code, refused.headers["penstock-error"]) == (400, "filter_blocked")
        assert len(it.provider.requests) == 3


@every
@both
async def test_an_answer_that_is_given_again_is_kept_without_what_was_taken_out(call: Any, stream: bool) -> None:
    filters = {"*": FiltersConfig(requests={"email": "tokenise"}, answers={"card": "redact"})}
    cache = {"*": CacheConfig(seconds=60, temperature_max=1.0)}
    async with world(filters=filters, cache=cache) as it:
        it.provider.says = lambda body: cut(f"{CARD} of " + re.findall(r"tok_email_[a-z2-7]{16}", str(body))[0], 4)
        expected = f"[card] of {MAIL}"
        for again in (stream, stream, not stream):
            assert (await call(it, f"about {MAIL}", stream=again))[0] == expected
            await it.ended(len(await it.runs()))
        assert len(it.provider.requests) == 1
        kept = [item for row in await it.runs() for item in await it.tape(row.id) if isinstance(item, ModelOutcome)]
        assert sorted(item.status for item in kept) == ["cached", "cached", "ok"]
        recorded = await on_record(it, 3)
        assert not any(card in recorded for card in CARDS)
        assert MAIL.encode() not in recorded


async def test_reasoning_with_a_finding_loses_its_signature_and_log_probabilities_go() -> None:
    from penstock.integrations.gateway.filtering import Wire
    from penstock.integrations.gateway.filtering.events import ChatRewriting, MessagesRewriting
    from penstock.integrations.gateway.filtering.texts import Sifting
    from penstock.integrations.gateway.shapes import MESSAGES
    from penstock.rules.filters.filters import leaving

    place = leaving({"card": "redact"}).places["output"]
    block = {"type": "thinking", "thinking": f"it is {CARD}", "signature": "x"}
    wire = Wire(MESSAGES, place, {})
    said = json.loads(wire.released(json.dumps({"content": [block]}).encode()) or b"")
    assert said == {"content": [{"type": "thinking", "thinking": "it is [card]", "signature": ""}]}

    for text, signs in ((f"it is {CARD}", 0), ("it is nothing", 1)):
        stream = MessagesRewriting(Sifting(place))
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in cut(text, 3)]
        deltas.append({"type": "signature_delta", "signature": "x"})
        events = [
            {"type": "content_block_start", "index": 0, "content_block": {**block, "thinking": "", "signature": ""}}
        ]
        events += [{"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": 0})
        passed = [released for event in events for released in stream.take(event)]
        assert sum("signature" in event.get("delta", {}) for event in passed) == signs
        thought = "".join(event["delta"].get("thinking", "") for event in passed if "delta" in event)
        assert thought == text.replace(CARD, "[card]")

    chunk = {"choices": [{"index": 0, "delta": {"content": CARD}, "logprobs": {"content": [{"token": CARD}]}}]}
    assert CARD not in json.dumps(ChatRewriting(Sifting(place)).take(chunk))


def test_what_the_configuration_says_is_checked() -> None:
    from tests.gateway.world import config_for

    for said in (FiltersConfig(requests={"cards": "redact"}), FiltersConfig(patterns={"x": "(a+)+b"})):
        with pytest.raises(GatewayInvalid, match="the filters of support"):
            checked(config_for("http://127.0.0.1:1", filters={"support": said}))


async def test_only_the_agents_that_are_named_are_filtered() -> None:
    async with world(filters={"other": REDACTING["support"]}) as it:
        it.provider.says = lambda body: [TEXT]
        assert (await chat(it, f"it is {MAIL}", stream=True))[0] == TEXT
        assert it.provider.requests[0][2]["messages"][0]["content"] == f"it is {MAIL}"
