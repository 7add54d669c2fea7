"""Rate limits hold across worker processes, counted where the calls arrive."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.crash.fatal_agents import COUNTER_URL, ringer
from tests.crash.workers import Workers, live_workers

from penstock import Settings
from penstock.events import RunClaimed, decode
from penstock.ports.rates import STALE_US, Limit
from penstock.wiring import open_penstock

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

TARGET = "tests.crash.fatal_agents"


class Counter:
    """A server that notes when each request came, and how many were there at a time."""

    def __init__(self, answer_seconds: float) -> None:
        self.arrivals: list[float] = []
        self.most = 0
        self.url = ""
        self._answer_seconds = answer_seconds
        self._there = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.arrivals.append(time.monotonic())
        self._there += 1
        self.most = max(self.most, self._there)
        await asyncio.sleep(self._answer_seconds)
        self._there -= 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        await writer.drain()
        writer.close()


@asynccontextmanager
async def counter(answer_seconds: float = 0.0) -> AsyncIterator[Counter]:
    made = Counter(answer_seconds)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield made


async def ring(dsn: str, counted: Counter, limit: Limit, *, runs: int) -> float:
    """Let three worker processes ring four times for each run; how many seconds it took from the first to the last."""
    settings = Settings(database_url=dsn, poll_seconds=0.1)
    async with open_penstock(settings) as platform:
        await platform.journal.rates.set_limit(limit, "ops")
        few = {COUNTER_URL: counted.url, "PENSTOCK_WORKER_CONCURRENCY": "5"}
        async with Workers(dsn, TARGET, 3, few) as workers:
            async with asyncio.timeout(30):
                while len(await live_workers(dsn)) < 3:
                    await asyncio.sleep(0.05)
            ids = [await platform.submit(ringer, number * 4) for number in range(runs)]
            for run in ids:
                result = await platform.result(run, timeout_seconds=150)
                assert result.output == 4, result
            assert workers.deaths == []
        tapes = [await platform.journal.tape("default", run) for run in ids]
        claims = [event for tape in tapes for row in tape if isinstance(event := decode(row.body), RunClaimed)]
        assert len({claim.worker for claim in claims}) == 3, "all workers took part"
    assert len(counted.arrivals) == runs * 4
    return counted.arrivals[-1] - counted.arrivals[0]


async def test_requests_of_all_workers_together_keep_the_pace(database_url: str) -> None:
    limit = Limit("*", "tool", "ri*", requests=600, burst=4)
    async with counter() as counted:
        took = await ring(database_url, counted, limit, runs=16)
    arrivals = sorted(counted.arrivals)
    late = STALE_US / 1e6
    for place, first in enumerate(arrivals):
        for count, last in enumerate(arrivals[place:], 1):
            assert count <= limit.burst + (last - first + late) * 10 + 1
    ideal = (len(arrivals) - limit.burst) / 10
    assert ideal - late <= took <= ideal * 1.5 + 2, "no more than the limit, and not much less"


async def test_calls_at_a_time_are_bounded_across_workers(database_url: str) -> None:
    async with counter(0.05) as counted:
        await ring(database_url, counted, Limit("*", "tool", "ring", concurrent=3), runs=12)
    assert counted.most == 3
