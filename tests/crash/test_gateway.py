"""Gateways killed while calls are under way: what may have been answered is charged, nothing is called again."""

import asyncio
import signal
from pathlib import Path

import httpx2 as httpx
import pytest
from tests.crash.processes import until
from tests.gateway.processes import fleet
from tests.gateway.upstream import Provider, provider

from penstock import Settings
from penstock.events import ModelOutcome, decode
from penstock.ports.records import RunFilter, RunRow, Status
from penstock.views.audit import verify_run
from penstock.wiring import open_penstock

pytestmark = [pytest.mark.crash, pytest.mark.timeout(120)]

CHAT = "/openai/v1/chat/completions"
SOON = {"PENSTOCK_LEASE_SECONDS": "5", "PENSTOCK_LOOP_BLOCK_MAX_SECONDS": "5", "PENSTOCK_POLL_SECONDS": "0.1"}
"""A dead gateway is missed soon, and a loaded machine does not take one that lives for stuck."""


def asked(text: str) -> dict[str, object]:
    return {"model": "gpt-4o-mini", "max_tokens": 50, "messages": [{"role": "user", "content": text}]}


async def _under_way(simulated: Provider, calls: int) -> bool:
    return simulated.under_way >= calls


async def test_a_killed_gateways_calls_are_charged_at_their_maximum_and_their_runs_end(
    database_url: str, tmp_path: Path
) -> None:
    async with provider() as simulated, fleet(database_url, tmp_path, simulated, **SOON) as gateways:
        first, url = await gateways.start()
        key = (await gateways.command("keys", "add", "bot", "--gateway", "--agent", "support"))["key"]
        headers = {"authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
            for name in ("half", "idle"):
                answer = await client.post(CHAT, json=asked("one"), headers={"penstock-run": name})
                assert answer.status_code == 200
            done = simulated.nano
            calls = [
                asyncio.create_task(client.post(CHAT, json=asked("[[seconds=60]]"), headers=named))
                for named in ({"penstock-run": "half"}, {}, {})
            ]
            await until(lambda: _under_way(simulated, 3), seconds=30)
            first.send_signal(signal.SIGKILL)
            gone = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(error, httpx.RequestError) for error in gone)
        _, url = await gateways.start()
        settings = Settings(database_url=database_url)
        async with open_penstock(settings) as platform:

            async def ended() -> list[RunRow] | None:
                rows = await platform.journal.list_runs("default", RunFilter(), 10)
                return rows if all(row.status is Status.ENDED for row in rows) else None

            rows = await until(ended, seconds=60)
            assert sorted((row.outcome, row.code, row.summary.model_calls) for row in rows) == [
                ("failed", "gateway_lost", 1),
                ("failed", "gateway_lost", 1),
                ("failed", "gateway_lost", 2),
                ("succeeded", "gateway_lost", 1),
            ]
            lost = []
            for row in rows:
                assert (await verify_run(platform.journal, "default", row.id)).ok
                assert row.summary.reserved_nano == row.summary.open_intents == 0
                tape = [decode(event.body) for event in await platform.journal.tape("default", row.id)]
                lost += [event for event in tape if isinstance(event, ModelOutcome) and event.status == "lost"]
            assert len(lost) == 3
            assert all(event.at_maximum and event.used.tokens_out == 50 for event in lost)
            assert sum(row.summary.nano for row in rows) == done + sum(event.used.nano for event in lost)
        assert len(simulated.requests) == 5  # nothing was called again
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
            again = await client.post(CHAT, json=asked("two"), headers={"penstock-run": "half"})
            assert again.status_code == 200


async def test_a_gateway_that_is_told_to_stop_lets_calls_end(database_url: str, tmp_path: Path) -> None:
    async with provider() as simulated, fleet(database_url, tmp_path, simulated) as gateways:
        process, url = await gateways.start()
        key = (await gateways.command("keys", "add", "bot", "--gateway"))["key"]
        async with httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=30) as client:
            call = asyncio.create_task(client.post(CHAT, json=asked("[[seconds=1]]")))
            await until(lambda: _under_way(simulated, 1), seconds=30)
            process.terminate()
            answer = await call
            assert answer.status_code == 200
        assert await process.wait() == 0
        async with open_penstock(Settings(database_url=database_url)) as platform:
            (row,) = await platform.journal.list_runs("default", RunFilter(), 10)
            assert (row.status, row.outcome) == (Status.ENDED, "succeeded")
