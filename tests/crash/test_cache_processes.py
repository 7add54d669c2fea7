"""A burst of equal requests over worker processes is paid for once, and once more for a worker that was lost."""

import asyncio
import signal
from typing import Any

import pytest
from tests.crash.cache_agents import COUNTER_URL, clerk
from tests.crash.test_shared_limits import counter
from tests.crash.workers import Workers, live_workers

from penstock import Settings
from penstock.events import ModelOutcome, RunClaimed, decode
from penstock.runs.client import Penstock
from penstock.runs.submit import Request
from penstock.wiring import open_penstock

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

TARGET = "tests.crash.cache_agents"
BURST = 100


async def until_up(dsn: str, count: int) -> None:
    async with asyncio.timeout(60):
        while len(await live_workers(dsn)) < count:
            await asyncio.sleep(0.05)


async def ended(platform: Penstock, runs: list[Any]) -> tuple[list[str], set[str]]:
    """How the model calls of runs ended, and which workers had them."""
    statuses, workers = [], set()
    for run in runs:
        result = await platform.result(run, timeout_seconds=120)
        assert (result.outcome, result.output) == ("succeeded", "So.")
        events = [decode(row.body) for row in await platform.journal.tape(platform.tenant, run)]
        statuses += [event.status for event in events if isinstance(event, ModelOutcome)]
        workers |= {event.worker_name for event in events if isinstance(event, RunClaimed)}
    return statuses, workers


async def test_a_burst_of_100_over_two_processes_pays_once(journal_dsn: str) -> None:
    settings = Settings(database_url=journal_dsn, poll_seconds=0.1)
    async with counter(answer_seconds=1.0) as counted, open_penstock(settings) as platform:
        environment = {COUNTER_URL: counted.url, "PENSTOCK_CLAIM_BATCH": "10", "PENSTOCK_WORKER_CONCURRENCY": "60"}
        async with Workers(journal_dsn, TARGET, 2, environment):
            await until_up(journal_dsn, 2)
            runs = await platform.submit_many([Request(clerk, "Well?") for _ in range(BURST)])
            statuses, workers = await ended(platform, runs)
    assert len(workers) == 2, "both had a part in it"
    assert len(counted.arrivals) == 1
    assert sorted(statuses) == ["cached"] * (BURST - 1) + ["ok"]


async def test_a_worker_that_is_lost_with_the_call_holds_nobody_up(journal_dsn: str) -> None:
    settings = Settings(database_url=journal_dsn, poll_seconds=0.1)
    async with (
        counter(answer_seconds=3.0) as counted,
        open_penstock(settings) as platform,
        Workers(journal_dsn, TARGET, 1, {COUNTER_URL: counted.url}) as first,
    ):
        await until_up(journal_dsn, 1)
        runs = await platform.submit_many([Request(clerk, "Well?") for _ in range(20)])
        async with asyncio.timeout(60):
            while not counted.arrivals:
                await asyncio.sleep(0.02)
        first.tell(signal.SIGKILL)
        statuses, _ = await ended(platform, runs)
    # What the lost worker had called is charged, and called anew by its run; of the others one more may have led.
    assert 2 <= len(counted.arrivals) <= 3
    assert statuses.count("lost") == 1
    assert statuses.count("cached") >= 18
