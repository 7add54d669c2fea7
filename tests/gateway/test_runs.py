"""Runs that several calls share, and what becomes of calls that are stopped, left or cut."""

import asyncio
import contextlib
import gc
import json

import httpx2 as httpx
import pytest
from tests.gateway.world import TENANT, World, world

from penstock.events import BudgetRecord, ModelIntent, ModelOutcome
from penstock.gates.run.context import RunContext
from penstock.integrations.gateway.run import GatewayRun
from penstock.ports.controls import Scope
from penstock.ports.records import Status, Stop

CHAT = "/openai/v1/chat/completions"


def asked(text: str, **more: object) -> dict[str, object]:
    return {"model": "gpt-4o-mini", "max_tokens": 50, "messages": [{"role": "user", "content": text}], **more}


def caller(it: World, key: str = "", **headers: str) -> httpx.AsyncClient:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.AsyncClient(base_url=it.url, headers={"authorization": f"Bearer {key or it.key}", **named}, timeout=20)


async def test_calls_with_one_name_are_one_run_until_it_is_ended() -> None:
    async with world() as it, caller(it, penstock_run="task-1") as client:
        first = await client.post(CHAT, json=asked("one"))
        second = await client.post(CHAT, json=asked("two"), headers={"penstock-run-end": "true"})
        assert first.headers["penstock-run"] == second.headers["penstock-run"]
        assert [first.headers["penstock-call"], second.headers["penstock-call"]] == ["0", "1"]
        (row,) = await it.ended()
        assert row.summary.model_calls == 2
        assert row.summary.nano == it.provider.nano
        third = await client.post(CHAT, json=asked("three"))
        assert third.headers["penstock-run"] != first.headers["penstock-run"]


async def test_a_conversation_that_grows_is_stored_and_bounded_from_where_it_grew() -> None:
    async with world() as it, caller(it, penstock_run="task-1") as client:
        said = [{"role": "system", "content": "be brief " * 100}, {"role": "user", "content": "one"}]
        for number in range(3):
            answer = (await client.post(CHAT, json=asked("", messages=said))).json()
            said += [answer["choices"][0]["message"], {"role": "user", "content": f"go on {number}"}]
        (row,) = await it.runs()
        intents = [event for event in await it.tape(row.id) if isinstance(event, ModelIntent)]
        assert [len(event.payloads["messages"]) for event in intents] == [2, 2, 2]
        assert [(event.prefix_path, event.prefix_count) for event in intents] == [("", 0), ("0", 2), ("1", 4)]
        # The first prompt is bounded by its bytes; of the later ones only what is new, beside the provider's own count.
        assert intents[0].reserved.tokens_in > 1000 > intents[2].reserved.tokens_in


async def test_concurrent_calls_of_one_run_never_overspend() -> None:
    async with world() as it:
        key = await it.add_key("poor", budget=BudgetRecord(nano=300_000))
        async with caller(it, key, penstock_run="burst") as client:
            answers = await asyncio.gather(*(client.post(CHAT, json=asked("[[tokens=50]]")) for _ in range(32)))
        statuses = [answer.status_code for answer in answers]
        assert statuses.count(200) >= 3
        assert set(statuses) == {200, 429}
        assert it.provider.nano <= 300_000
        (row,) = await it.runs()
        assert row.summary.nano == it.provider.nano
        assert row.summary.reserved_nano == 0


async def test_a_run_belongs_to_its_key_and_tags() -> None:
    async with world() as it:
        other = await it.add_key("other-bot", customer="umbrella")
        async with caller(it, penstock_run="task-1") as client, caller(it, other, penstock_run="task-1") as foreign:
            assert (await client.post(CHAT, json=asked("one"))).status_code == 200
            refused = await foreign.post(CHAT, json=asked("two"))
            assert (refused.status_code, refused.headers["penstock-error"]) == (409, "run_differs")
            own = await foreign.post(CHAT, json=asked("x"), headers={"penstock-tags": "customer=acme"})
            assert (own.status_code, own.headers["penstock-error"]) == (403, "tag_bound")
            bad = await foreign.post(CHAT, json=asked("x"), headers={"penstock-tags": "nonsense"})
            assert (bad.status_code, bad.headers["penstock-error"]) == (400, "invalid_header")


async def test_tags_of_a_request_are_the_runs() -> None:
    async with world() as it, caller(it, penstock_tags="feature=chat,x_team=blue%20one") as client:
        assert (await client.post(CHAT, json=asked("one"))).status_code == 200
        (row,) = await it.ended()
        assert row.tags == {"customer": "acme", "feature": "chat", "x_team": "blue one", "key": "support-bot"}


async def test_a_run_that_has_ended_leaves_nothing_behind() -> None:
    async with world() as it, caller(it) as client:
        gc.collect()
        gc.disable()
        try:
            for _ in range(5):
                assert (await client.post(CHAT, json=asked("one"))).status_code == 200
            await it.ended(5)
            async with asyncio.timeout(5):
                while any(isinstance(item, GatewayRun | RunContext) for item in gc.get_objects()):
                    await asyncio.sleep(0.05)
        finally:
            gc.enable()


async def test_an_unused_run_is_ended() -> None:
    async with world(idle_seconds=1.0) as it, caller(it, penstock_run="task-1") as client:
        await client.post(CHAT, json=asked("one"))
        (row,) = await it.ended()
        assert (row.outcome, row.code) == ("succeeded", "idle")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_takes_the_call_along_and_is_charged(stream: bool) -> None:
    async with world() as it, caller(it) as client:
        mode = "[[mode=endless]]" if stream else "[[seconds=30]]"
        with contextlib.suppress(httpx.ReadTimeout):
            async with client.stream("POST", CHAT, json=asked(mode, stream=stream), timeout=0.4) as answer:
                await anext(answer.aiter_bytes())
        (row,) = await it.ended()
        outcome = next(event for event in await it.tape(row.id) if isinstance(event, ModelOutcome))
        assert outcome.failure is not None
        assert outcome.failure.code == "client_gone"
        assert outcome.at_maximum
        assert row.summary.nano > 0
        async with asyncio.timeout(5):
            while stream and it.provider.connections:
                await asyncio.sleep(0.01)


async def test_a_kill_cuts_a_stream_with_an_error_and_seals_the_run() -> None:
    async with world() as it, caller(it, penstock_run="task-1") as client:
        async with client.stream("POST", CHAT, json=asked("[[mode=endless]]", stream=True)) as answer:
            lines = answer.aiter_lines()
            await anext(lines)
            (row,) = await it.runs()
            await it.journal.stop_run(TENANT, row.id, Stop.KILL, "ops", "enough")
            rest = [line async for line in lines if line]
        assert json.loads(rest[-1].removeprefix("data: "))["error"]["code"] == "run_killed"
        (row,) = await it.ended()
        assert row.outcome == "killed"
        assert row.summary.nano > 0


async def test_a_stopped_scope_refuses_calls_and_says_whether_to_come_again() -> None:
    async with world() as it, caller(it) as client:
        scope = Scope("agent", TENANT, "support")
        await it.journal.stop_scope(scope, Stop.PAUSE, "ops", "look first")
        paused = await client.post(CHAT, json=asked("one"))
        assert (paused.status_code, paused.headers["penstock-error"]) == (503, "paused")
        assert paused.headers["retry-after"] == "5"
        await it.journal.resume_scope(scope, "ops")
        await it.journal.stop_scope(scope, Stop.KILL, "ops", "enough")
        killed = await client.post(CHAT, json=asked("one"))
        assert (killed.status_code, killed.headers["penstock-error"]) == (403, "run_killed")
        assert killed.headers["x-should-retry"] == "false"
        await it.journal.resume_scope(scope, "ops")
        assert (await client.post(CHAT, json=asked("one"))).status_code == 200
        assert len(it.provider.requests) == 1
        rows = await it.ended(3)
        assert [row.outcome for row in rows] == ["succeeded", "killed", "cancelled"]
        assert all(row.status is Status.ENDED for row in await it.runs())
