"""Gateways killed while many calls run against one budget: counted at the wire, it is never overspent."""

import asyncio
import random
import signal
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from tests.gateway.processes import fleet
from tests.gateway.upstream import provider

pytestmark = [pytest.mark.crash, pytest.mark.timeout(240)]

CHAT = "/openai/v1/chat/completions"
SOON = {"PENSTOCK_LEASE_SECONDS": "6", "PENSTOCK_LOOP_BLOCK_MAX_SECONDS": "6", "PENSTOCK_POLL_SECONDS": "0.2"}
USD = 0.005
NANO = round(USD * 10**9)
CALLERS = 100


async def test_a_shared_budget_is_never_overspent_however_gateways_die(database_url: str, tmp_path: Path) -> None:
    chance = random.Random(7)
    async with provider() as simulated, fleet(database_url, tmp_path, simulated, **SOON) as gateways:
        key = (await gateways.command("keys", "add", "bot", "--gateway"))["key"]
        await gateways.command("budgets", "set", "bot", "--match", "key=bot", "--period", "total", f"--usd={USD}")
        running = [await gateways.start() for _ in range(3)]
        refused = asyncio.Event()
        statuses: list[int] = []

        async def ask(number: int) -> None:
            declared = {"max_tokens": 60} if number % 2 else {}
            said = [{"role": "user", "content": f"{number} [[tokens=40 seconds=0.05]]"}]
            for _ in range(200):
                url = chance.choice(running)[1]
                try:
                    answer = await client.post(url + CHAT, json={"model": "gpt-4o-mini", "messages": said, **declared})
                except httpx.RequestError:
                    continue
                statuses.append(answer.status_code)
                if answer.status_code == 429:
                    refused.set()
                    return

        async def reap() -> None:
            for _ in range(2):
                await asyncio.sleep(1.0)
                place = chance.randrange(3)
                process, _ = running[place]
                process.send_signal(signal.SIGKILL)
                await process.wait()
                running[place] = await gateways.start()

        limits = httpx.Limits(max_connections=CALLERS, max_keepalive_connections=CALLERS)
        headers = {"authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(headers=headers, timeout=60, limits=limits) as client:
            reaping = asyncio.create_task(reap())
            await asyncio.gather(*map(ask, range(CALLERS)))
            await reaping
        assert refused.is_set()
        assert statuses.count(200) > 50
        assert set(statuses) <= {200, 429, 503}
        assert simulated.nano <= NANO
        shown: Any = await gateways.command("budgets", "show", "bot")
        (account,) = shown["accounts"]
        assert account["spent"]["nano"] > 0.9 * NANO  # what honest calls could use
        assert simulated.nano <= account["spent"]["nano"] + account["held"]["nano"] <= NANO
