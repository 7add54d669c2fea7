"""A thousand calls at once; a breaker, a budget, the journal or the lease that gives way while calls are under way."""

import asyncio
import json
from typing import Any

import anthropic
import openai
import pytest
from tests.gateway.test_runs import CHAT, asked, caller
from tests.gateway.world import TENANT, World, world

from penstock.adapters.memory import MemoryJournal
from penstock.events import ModelOutcome
from penstock.integrations.gateway import gateway as gateway_module
from penstock.kernel.clock import SystemClock
from penstock.kernel.errors import JournalUnavailable
from penstock.ports.breakers import Breaker, Condition
from penstock.ports.budgets import Budget
from penstock.runs.breakers import Breaking
from penstock.settings import Settings

CROWD = 1000


async def exchange(port: int, key: str, body: dict[str, Any]) -> bytes:
    """One request on a socket of its own; the whole answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data = json.dumps(body).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {key}\r\nconnection: close\r\n"
    writer.write(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data)
    try:
        return await reader.read()
    finally:
        writer.close()


@pytest.mark.timeout(60)
async def test_a_thousand_calls_at_once_are_each_answered_and_paid_for_once() -> None:
    async with world(upstream_seconds=60.0) as it:  # the first answers begin when the last request has come
        port = int(it.url.rpartition(":")[2])
        bodies = [asked(f"[[tokens=3 together={CROWD}]] {n}", stream=bool(n % 2)) for n in range(CROWD)]
        answers = await asyncio.gather(*(exchange(port, it.key, body) for body in bodies))
        assert it.provider.peak == CROWD
        assert len(it.provider.requests) == CROWD
        assert all(answer.startswith(b"HTTP/1.1 200") and answer.count(b"word") == 3 for answer in answers)
        async with asyncio.timeout(20):
            while len(it.gateway.runs):
                await asyncio.sleep(0.05)
        rows = await it.runs()
        assert len(rows) == CROWD
        assert {(row.outcome, row.summary.model_calls, row.summary.reserved_nano) for row in rows} == {
            ("succeeded", 1, 0)
        }
        assert sum(row.summary.nano for row in rows) == it.provider.nano


async def watched(it: World) -> Breaking:
    breaking = Breaking(it.journal, SystemClock(), TENANT)
    await breaking.put(Breaker("", "costs", "agent", "support", (Condition("failures", 3),)), "ops")
    guard = it.platform.services.breakers
    assert guard is not None
    await guard.ready()
    return breaking


async def test_a_breaker_that_trips_cuts_a_stream_with_an_error_that_openais_client_raises() -> None:
    async with world() as it:
        breaking = await watched(it)
        async with openai.AsyncOpenAI(base_url=f"{it.url}/openai/v1", api_key=it.key, max_retries=0) as client:
            said: Any = [{"role": "user", "content": "[[mode=endless]]"}]
            stream = await client.chat.completions.create(model="gpt-4o-mini", messages=said, stream=True)
            await anext(stream)
            began = asyncio.get_running_loop().time()
            await breaking.trip("costs", None, "ops", "too dear")
            with pytest.raises(openai.APIError, match="the breaker costs of agent support is open") as cut:
                async for _ in stream:
                    pass
            assert asyncio.get_running_loop().time() - began < 2
            assert cut.value.code == "breaker_open"
            with pytest.raises(openai.InternalServerError) as refused:
                await client.chat.completions.create(model="gpt-4o-mini", messages=said)
            assert refused.value.response.headers["penstock-error"] == "breaker_open"
            assert int(refused.value.response.headers["retry-after"]) > 0
        assert len(it.provider.requests) == 1
        rows = await it.ended(2)
        outcome = next(event for event in await it.tape(rows[1].id) if isinstance(event, ModelOutcome))
        assert outcome.failure is not None
        assert (outcome.failure.code, outcome.at_maximum) == ("breaker_open", True)
        async with asyncio.timeout(5):
            while it.provider.connections:
                await asyncio.sleep(0.01)


async def test_a_breaker_that_trips_cuts_a_stream_with_an_error_that_anthropics_client_raises() -> None:
    async with world() as it:
        breaking = await watched(it)
        async with anthropic.AsyncAnthropic(base_url=f"{it.url}/anthropic", api_key=it.key, max_retries=0) as client:
            said: Any = [{"role": "user", "content": "[[mode=endless]]"}]
            stream = await client.messages.create(model="claude-haiku", max_tokens=50, messages=said, stream=True)
            await anext(stream)
            await breaking.trip("costs", None, "ops", "too dear")
            with pytest.raises(anthropic.APIStatusError, match="breaker_open"):
                async for _ in stream:
                    pass


async def test_a_budget_that_parks_refuses_a_gateways_call_instead() -> None:
    async with world() as it, caller(it) as client:
        tight = Budget(TENANT, "tight", {"customer": "acme"}, "total", nano=1000, at_end="park")
        await it.journal.budgets.put(tight, "ops")
        shares = it.platform.services.budgets
        assert shares is not None
        shares.listing.forget()
        refused = await client.post(CHAT, json=asked("hello"))
        assert (refused.status_code, refused.headers["penstock-error"]) == (429, "budget_exhausted")
        assert refused.headers["x-should-retry"] == "false"
        (row,) = await it.ended()
        assert (row.outcome, row.code, row.summary.nano) == ("exhausted", "budget_exhausted", 0)
        assert not it.provider.requests


class Away(MemoryJournal):
    """A journal whose appends get no answer while it is away."""

    away = False

    async def append(self, *given: Any, **named: Any) -> Any:
        if self.away:
            raise JournalUnavailable("it is away")
        return await super().append(*given, **named)


async def test_without_the_journal_no_call_is_made_and_afterwards_all_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Away(SystemClock())
    async with world(journal) as it, caller(it) as client, caller(it, penstock_run="task") as named:
        assert (await named.post(CHAT, json=asked("begins"))).status_code == 200
        under_way = asyncio.create_task(client.post(CHAT, json=asked("[[seconds=0.6 tokens=3]]")))
        await until(lambda: it.provider.under_way == 1)
        journal.away = True
        monkeypatch.setattr(gateway_module, "JOURNAL_SECONDS", 0.4)
        refused = await asyncio.gather(client.post(CHAT, json=asked("new")), named.post(CHAT, json=asked("goes on")))
        assert [(answer.status_code, answer.headers["penstock-error"]) for answer in refused] == [
            (503, "journal_unavailable")
        ] * 2
        assert [answer.headers["x-should-retry"] for answer in refused] == ["true"] * 2
        answer = await under_way  # was recorded before it was made, so it is given
        assert answer.status_code == 200
        journal.away = False
        monkeypatch.undo()
        again = await client.post(CHAT, json=asked("new"))
        assert again.status_code == 200
        more = await named.post(CHAT, json=asked("ends"), headers={"penstock-run-end": "true"})
        assert more.status_code == 200
        rows = await it.ended(4)
        assert len(it.provider.requests) == 4
        assert sum(row.summary.nano for row in rows) == it.provider.nano
        assert not [row for row in rows if row.summary.reserved_nano or row.summary.open_intents]


async def test_a_gateway_that_loses_its_lease_says_so_and_the_next_one_charges_its_calls() -> None:
    journal = MemoryJournal(SystemClock())
    soon = Settings(poll_seconds=0.05, worker_concurrency=5000, lease_seconds=3, loop_block_max_seconds=3)
    async with world(journal, soon) as it, caller(it) as client:
        async with client.stream("POST", CHAT, json=asked("[[mode=endless]]", stream=True)) as answer:
            lines = answer.aiter_lines()
            await anext(lines)
            worker = it.platform.worker
            assert worker is not None
            await journal.renew(worker.id, 0.0)
            async with world(journal, name="gateway-next"):
                rest = [line async for line in lines if line]
                error = json.loads(rest[-1].removeprefix("data: "))["error"]
                assert error["code"] == "gateway_lost"
                (row,) = await it.ended()
        assert (row.outcome, row.code, row.summary.reserved_nano) == ("failed", "gateway_lost", 0)
        outcomes = [event for event in await it.tape(row.id) if isinstance(event, ModelOutcome)]
        assert [(event.status, event.at_maximum) for event in outcomes] == [("lost", True)]
        assert row.summary.nano == outcomes[0].used.nano > 0
        assert len(it.provider.requests) == 1
        async with asyncio.timeout(10):  # it goes on under a new lease as soon as it has noticed
            while (later := await client.post(CHAT, json=asked("one more"))).status_code == 503:
                assert later.headers["penstock-error"] == "gateway_lost"
                assert later.headers["x-should-retry"] == "true"
                await asyncio.sleep(0.1)
        assert later.status_code == 200


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)
