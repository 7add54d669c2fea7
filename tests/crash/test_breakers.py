"""Two worker processes on one database: a breaker that trips holds back both, and cuts off what is under way."""

import asyncio
from collections import Counter
from pathlib import Path
from uuid import UUID

import msgspec
from tests.crash.breaker_workers import HANGS, caller, work
from tests.crash.processes import spawn, until

from penstock.events import ModelIntent, ModelOutcome, RunClaimed, decode
from penstock.ports.breakers import Breaker, Condition
from penstock.runs.client import Penstock
from penstock.runs.submit import Request
from penstock.settings import Settings
from penstock.wiring import open_penstock

RUNS, HANGING = 600, 6
SECOND = 1_000_000


async def test_a_trip_holds_back_every_worker(journal_dsn: str, tmp_path: Path) -> None:
    agent = caller(tmp_path)
    async with open_penstock(Settings(database_url=journal_dsn), agents=[agent]) as known:
        breaker = Breaker("default", "b", "agent", "caller", (Condition("failures", limit=10),), 600.0)
        await known.journal.breakers.put(breaker, "ops")
        workers = [spawn(work, journal_dsn, str(tmp_path), f"w-{number}") for number in range(2)]
        try:
            hanging = await known.submit_many([Request(agent, HANGS) for _ in range(HANGING)])
            await until(lambda: _calls(tmp_path, HANGING))
            runs = await known.submit_many([Request(agent, f"hello {number}") for number in range(RUNS)])
            await until(lambda: _calls(tmp_path, HANGING + 60))
            (tmp_path / "down").touch()
            (trip,) = await until(lambda: known.journal.breakers.trips("default", "b", None, 5))
            results = [await known.result(run, timeout_seconds=60) for run in (*runs, *hanging)]
        finally:
            for worker in workers:
                worker.kill()
        assert trip.sealed
        codes = Counter(result.code for result in results)
        assert set(codes) == {"", "model_failed", "breaker_open"}
        assert codes["breaker_open"] > HANGING + RUNS / 4
        await _check(known, [*runs, *hanging], hanging, trip.at)
        said = msgspec.json.decode(trip.evidence)
        assert (said["condition"], said["figures"]["failures"]) == ("failures", 10)
        assert len(said["calls"]) > 1


async def _check(known: Penstock, runs: list[UUID], hanging: list[UUID], tripped_at: int) -> None:
    """None was admitted after the trip; what hung was cut off at once; both workers were there."""
    after, intents, names, cut = 0, 0, set(), []
    for run in runs:
        for row in await known.journal.tape("default", run):
            event = decode(row.body)
            if isinstance(event, RunClaimed):
                names.add(event.worker_name)
            elif isinstance(event, ModelIntent):
                intents += 1
                after += row.at > tripped_at
            elif isinstance(event, ModelOutcome) and run in hanging:
                assert event.failure is not None
                assert event.failure.code == "breaker_open"
                cut.append(row.at - tripped_at)
    assert after == 0, f"of {intents} calls"
    assert len(names) == 2
    assert len(cut) == HANGING
    assert max(cut) < 1.25 * SECOND, "seen within a second, cut off within a quarter more"


async def _calls(folder: Path, least: int) -> bool:
    calls = folder / "calls"
    return await asyncio.to_thread(lambda: calls.exists() and calls.stat().st_size >= least)
