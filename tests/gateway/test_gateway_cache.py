"""Answers that the gateway gives again, and those that it does not."""

import asyncio
from typing import Any

import anthropic
import httpx2 as httpx
import openai
import pytest
from tests.gateway.test_runs import CHAT, asked, caller
from tests.gateway.world import TENANT, World, world

from penstock.events import BudgetRecord, ModelIntent, ModelOutcome
from penstock.integrations.gateway.config import CacheConfig
from penstock.ports.controls import Scope
from penstock.ports.records import Stop

KEPT = CacheConfig(seconds=3600, temperature_max=1.0)
EACH = {"*": KEPT}
TOOL = {"name": "look_up", "input_schema": {"type": "object"}}
FUNCTION = {"name": "look_up", "parameters": {"type": "object", "properties": {}}}


def gpt(it: World) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{it.url}/openai/v1", api_key=it.key, max_retries=0)


async def chat(it: World, text: str, *, stream: bool) -> Any:
    said: Any = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}], "seed": 7}
    said["tools"] = [{"type": "function", "function": FUNCTION}]
    async with gpt(it) as client:
        if not stream:
            return (await client.chat.completions.create(**said)).model_dump(exclude_none=True)
        said["stream_options"] = {"include_usage": True}
        async with client.chat.completions.stream(**said) as events:
            async for _ in events:
                pass
            return (await events.get_final_completion()).model_dump(exclude_none=True)


async def response(it: World, text: str, *, stream: bool) -> Any:
    said: Any = {"model": "gpt-4o-mini", "input": text, "tools": [{"type": "function", **FUNCTION, "strict": False}]}
    async with gpt(it) as client:
        if not stream:
            return (await client.responses.create(**said)).model_dump(exclude_none=True)
        async with client.responses.stream(**said) as events:
            words = [event.delta async for event in events if event.type == "response.output_text.delta"]
            whole = await events.get_final_response()
        assert "".join(words) == whole.output_text
        return whole.model_dump(exclude_none=True)


async def message(it: World, text: str, *, stream: bool) -> Any:
    said: Any = {"model": "claude-haiku", "max_tokens": 50, "messages": [{"role": "user", "content": text}]}
    said["tools"] = [TOOL]
    async with anthropic.AsyncAnthropic(base_url=f"{it.url}/anthropic", api_key=it.key, max_retries=0) as client:
        if not stream:
            return (await client.messages.create(**said)).model_dump(exclude_none=True)
        async with client.messages.stream(**said) as events:
            return (await events.get_final_message()).model_dump(exclude_none=True)


def bare(answer: Any) -> Any:
    """An answer without what the clients add to streamed ones."""
    if isinstance(answer, dict):
        return {name: bare(value) for name, value in answer.items() if name not in ("parsed", "parsed_arguments")}
    return [bare(value) for value in answer] if isinstance(answer, list) else answer


@pytest.mark.parametrize("call", [chat, response, message])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_an_answer_is_given_again_whole_and_streamed(call: Any, streamed: bool) -> None:
    async with world(cache=EACH) as it:
        for text in ("hello [[tokens=3]]", "look [[tool=look_up]]"):
            it.provider.requests.clear()
            first = bare(await call(it, text, stream=streamed))
            await it.ended(len(await it.runs()))
            again = [bare(await call(it, text, stream=stream)) for stream in (False, True)]
            # That tool calls have a place is something only streams say.
            for answer in (first, *again):
                for choice in answer.get("choices", ()):
                    for each in choice["message"].get("tool_calls", ()):
                        each.pop("index", None)
            assert again == [first, first]
            assert len(it.provider.requests) == 1
        rows = await it.ended(6)
        costs = [row.summary.nano for row in rows]
        assert sorted(costs)[:4] == [0] * 4
        assert sorted(costs)[4] > 0
        tape = await it.tape(rows[0].id)
        assert [event.__struct_config__.tag for event in tape] == [
            *("run.submitted", "run.claimed", "model.intent", "model.outcome", "run.ended")
        ]
        outcome = next(event for event in tape if isinstance(event, ModelOutcome))
        assert (outcome.status, outcome.used.nano, outcome.saved_nano) == ("cached", 0, max(costs))
        assert outcome.source is not None
        assert outcome.source.run == rows[2].id


async def test_vectors_are_given_again() -> None:
    async with world(cache={"support": CacheConfig(seconds=60)}) as it, caller(it) as client:
        said = {"model": "embed", "input": ["one", "two"]}
        first, again = [await client.post("/openai/v1/embeddings", json=said) for _ in range(2)]
        assert first.json() == again.json()
        assert len(first.json()["data"]) == 2
        assert [answer.headers["penstock-cache"] for answer in (first, again)] == ["miss", "hit"]
        assert len(it.provider.requests) == 1


async def test_a_burst_of_equal_calls_is_paid_for_once() -> None:
    async with world(cache=EACH) as it, caller(it) as client:
        calls = [client.post(CHAT, json=asked("[[seconds=0.3]]", stream=bool(n % 2))) for n in range(40)]
        answers = await asyncio.gather(*calls)
        assert {answer.status_code for answer in answers} == {200}
        assert sorted(answer.headers["penstock-cache"] for answer in answers) == ["hit"] * 39 + ["miss"]
        assert len(it.provider.requests) == 1
        rows = await it.ended(40)
        assert sum(row.summary.nano for row in rows) == it.provider.nano


async def test_headers_say_what_it_cost_and_the_client_can_say_no() -> None:
    async with world(cache=EACH) as it, caller(it) as client:

        async def ask(**headers: str) -> httpx.Response:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return await client.post(CHAT, json=asked("hello"), headers=named)

        answers = [await ask(penstock_cache="no-store"), await ask(), await ask(), await ask(penstock_cache="no-store")]
        assert [answer.headers["penstock-cache"] for answer in answers] == ["off", "miss", "hit", "off"]
        assert len(it.provider.requests) == 3
        assert float(answers[2].headers["penstock-cost"]) == 0 < float(answers[1].headers["penstock-cost"])
        assert answers[2].headers["content-type"] == "application/json"
        wrong = await ask(penstock_cache="maybe")
        assert (wrong.status_code, wrong.headers["penstock-error"]) == (400, "invalid_header")


async def test_it_is_off_unless_it_is_asked_for() -> None:
    async with world(cache={"other": KEPT}) as it, caller(it) as client:
        answers = [await client.post(CHAT, json=asked("hello")) for _ in range(2)]
        assert [answer.headers["penstock-cache"] for answer in answers] == ["off", "off"]
        assert len(it.provider.requests) == 2


def seen(text: str = "x") -> Any:
    return [{"role": "user", "content": [{"type": "text", "text": text}, picture]}]


picture = {"type": "image_url", "image_url": {"url": "https://example.com/now.png"}}


@pytest.mark.parametrize(
    ("body", "state"),
    [
        (asked("hello", n=2), "off"),
        (asked("", messages=seen()), "off"),
        (asked("hello", temperature=1.5), "off"),
        (asked("hello", temperature="warm"), "off"),
        (asked("hello [[tokens=99]]"), "miss"),  # cut off at its length
        (asked("[[mode=not_json]]"), "miss"),
        (asked("[[status=500]]"), "miss"),
    ],
)
async def test_what_may_differ_and_what_failed_is_made_again(body: Any, state: str) -> None:
    async with world(cache=EACH) as it, caller(it) as client:
        for _ in range(2):
            assert (await client.post(CHAT, json=body)).headers["penstock-cache"] == state
        assert len(it.provider.requests) == 2


async def test_who_shares_an_answer_is_what_the_scope_says() -> None:
    scopes = {"support": KEPT, "desk": CacheConfig(seconds=60, scope="tenant", temperature_max=1.0), "*": KEPT}
    async with world(cache=scopes) as it:
        one = it.key
        keys = [
            await it.add_key("same", customer="acme"),
            await it.add_key("umbrella", customer="umbrella"),
            await it.add_key("nobody"),
            await it.add_key("desk-1", agent="desk", customer="acme"),
            await it.add_key("desk-2", agent="desk", customer="umbrella"),
            await it.add_key("other", agent="other", customer="acme"),
        ]
        states = []
        for key in (one, *keys):
            async with caller(it, key) as client:
                states.append((await client.post(CHAT, json=asked("hello"))).headers["penstock-cache"])
        # A run without the tag has no scope of its own, and there is no drawer for all of those.
        assert states == ["miss", "hit", "miss", "off", "miss", "hit", "miss"]


async def test_the_same_request_is_the_same_whatever_its_fields_order_and_the_models_alias() -> None:
    async with world(cache=EACH) as it, caller(it) as client:
        body = asked("hello", seed=1)
        same_or_not: list[Any] = [
            body,
            dict(reversed(body.items())),
            {**body, "model": "falling"},  # stands for the same model
            {**body, "seed": 2},
            {**body, "user": "u-1"},
            {**body, "messages": [{"role": "developer", "content": "hello"}]},
            {**body, "messages": [{"role": "system", "content": "hello"}]},
        ]
        states = [(await client.post(CHAT, json=other)).headers["penstock-cache"] for other in same_or_not]
        assert states == ["miss", "hit", "hit", "miss", "miss", "miss", "miss"]


async def test_a_stop_or_an_empty_budget_is_not_got_round_by_the_cache() -> None:
    async with world(cache={"*": CacheConfig(seconds=60, scope="tenant", temperature_max=1.0)}) as it:
        poor = await it.add_key("poor", budget=BudgetRecord(nano=100))
        async with caller(it) as client, caller(it, poor) as other:
            assert (await client.post(CHAT, json=asked("hello"))).headers["penstock-cache"] == "miss"
            assert (await other.post(CHAT, json=asked("hello"))).status_code == 429
            await it.journal.stop_scope(Scope("agent", TENANT, "support"), Stop.KILL, "ops", "enough")
            refused = await client.post(CHAT, json=asked("hello"))
            assert (refused.status_code, refused.headers["penstock-error"]) == (403, "run_killed")
            rows = await it.ended(3)
            assert not [event for event in await it.tape(rows[0].id) if isinstance(event, ModelIntent)]


async def test_a_client_that_leaves_while_it_waits_takes_nothing_along() -> None:
    async with world(cache=EACH) as it, caller(it) as client:
        first = asyncio.create_task(client.post(CHAT, json=asked("[[seconds=1]]")))
        await asyncio.wait_for(it.provider.arrived.wait(), 5)
        with pytest.raises(httpx.ReadTimeout):
            await client.post(CHAT, json=asked("[[seconds=1]]"), timeout=0.3)
        third = await client.post(CHAT, json=asked("[[seconds=1]]"))
        assert (await first).headers["penstock-cache"] == "miss"
        assert third.headers["penstock-cache"] == "hit"
        rows = await it.ended(2)
        assert len(it.provider.requests) == 1
        assert [row.outcome for row in rows if row.outcome != "succeeded"] in ([], ["cancelled"])


async def test_a_conversation_goes_on_from_an_answer_that_was_given_again() -> None:
    async with world(cache=EACH) as it:
        begun = []
        for name in ("first", "second"):
            async with caller(it, penstock_run=name) as client:
                said: list[Any] = [{"role": "user", "content": "hello"}]
                begun.append(await client.post(CHAT, json=asked("", messages=said)))
                said += [begun[-1].json()["choices"][0]["message"], {"role": "user", "content": f"go on, {name}"}]
                assert (await client.post(CHAT, json=asked("", messages=said))).headers["penstock-cache"] == "miss"
        assert begun[1].headers["penstock-cache"] == "hit"
        (row,) = [row for row in await it.runs() if str(row.id) == begun[1].headers["penstock-run"]]
        intents = [event for event in await it.tape(row.id) if isinstance(event, ModelIntent)]
        assert [(event.cache, event.prefix_path, event.prefix_count) for event in intents] == [
            ("hit", "", 0),
            ("miss", "0", 1),
        ]
        assert intents[0].reserved.tokens == 0
        assert len(it.provider.requests) == 3
