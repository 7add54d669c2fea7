"""A worker is killed in the middle of thousands of calls: how long until every one of them goes on elsewhere.

Each run has made three calls and is in a fourth. The clock starts when the dead worker's lease is over (before that
nobody may touch its runs) and stops when the last run's call has been intended again by another worker, durably.
"""

import asyncio
from uuid import UUID

import asyncpg

import penstock
from benchmarks.bench import Bench
from benchmarks.child import Child
from benchmarks.figures import Figure
from benchmarks.recovery_worker import busy
from penstock import Settings
from penstock.runs.submit import Request

GROUP = "Recovery"
TENANT = "recovery"
RUNS, QUICK_RUNS = 10_000, 500
SUBMIT_AT_A_TIME = 500
SURVIVORS = 2
POLL_SECONDS = 0.1

_IN_FLIGHT = "SELECT count(*) FROM penstock.runs WHERE tenant = $1 AND status = 'running' AND open_intents > 0"
_LEASE = "SELECT id, lease_until FROM penstock.workers WHERE name = $1"
_GOING_AGAIN = """
SELECT count(*) FROM penstock.runs WHERE tenant = $1 AND status = 'running' AND worker <> $2 AND open_intents > 0"""
_LAST = """
SELECT max(e.at) FROM penstock.events e
WHERE e.tenant = $1 AND position('"epoch":2'::bytea IN e.body) > 0
  AND position('"kind":"tool.intent"'::bytea IN e.body) > 0"""


async def measure(bench: Bench) -> list[Figure]:
    """See the module.

    Raises:
        RuntimeError: a run was lost.
    """
    runs = QUICK_RUNS if bench.quick else RUNS
    victim = await Child.start("recovery_worker", dsn=bench.server.dsn, name="victim", places=runs)
    survivors = [
        await Child.start("recovery_worker", dsn=bench.server.dsn, name=f"survivor-{number}", places=runs)
        for number in range(SURVIVORS)
    ]
    connection = await asyncpg.connect(bench.server.dsn)
    try:
        victim.tell("go")
        await victim.until(lambda said: "working" in said)
        bench.say(f"{runs:,} runs in flight on one worker")
        async with penstock.open(Settings(database_url=bench.server.dsn)) as platform:
            for start in range(0, runs, SUBMIT_AT_A_TIME):
                numbers = range(start, min(runs, start + SUBMIT_AT_A_TIME))
                await platform.submit_many([Request(busy, number, tenant=TENANT) for number in numbers])
        await _until(connection, runs, _IN_FLIGHT, TENANT)
        for survivor in survivors:
            survivor.tell("go")
            await survivor.until(lambda said: "working" in said)
        victim.kill()
        worker: UUID
        worker, lease = await connection.fetchrow(_LEASE, "victim")
        bench.say("killed; waiting for its lease to end and its runs to go on")
        await _until(connection, runs, _GOING_AGAIN, TENANT, worker)
        seconds = (await connection.fetchval(_LAST, TENANT) - lease).total_seconds()
    finally:
        await connection.close()
    for survivor in survivors:
        survivor.kill()
    note = f"{runs:,} runs, each replayed to its fourth call by one of {SURVIVORS} other workers; from the lease's end"
    return [Figure(GROUP, "all runs of a killed worker go on", seconds, "s", "10 s", note)]


async def _until(connection: asyncpg.Connection, count: int, query: str, *args: object) -> None:
    while await connection.fetchval(query, *args) < count:  # noqa: ASYNC110 - rows say it, no event does
        await asyncio.sleep(POLL_SECONDS)
