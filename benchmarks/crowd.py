"""A thousand of a million parked runs are woken: what the others cost them.

The thousand are real. The rest of the million are rows made by SQL in the image of one of them, without events: what a
claimer meets of a parked run is its row and the indexes over it.
"""

import asyncio
import json
from uuid import UUID

import asyncpg

import penstock
from benchmarks import crowd_worker
from benchmarks.bench import Bench, clock
from benchmarks.child import Child
from benchmarks.figures import Figure
from penstock import Settings
from penstock.runs.submit import Request

GROUP = "A million parked runs"
TENANT = "crowd"
WOKEN, QUICK_WOKEN = 1_000, 100
OTHERS, QUICK_OTHERS = 999_000, 20_000
POLL_SECONDS = 0.05

_COPY = """
INSERT INTO penstock.runs
SELECT (jsonb_populate_record(NULL::penstock.runs, r.plain || jsonb_build_object(
    'id', n.id, 'root', n.id, 'subject', n.id::text))).*
FROM (SELECT uuidv7(interval '-1 day') AS id FROM generate_series(1, $2)) AS n,
     (SELECT to_jsonb(p) AS plain FROM penstock.runs p WHERE p.tenant = $1 AND p.status = 'parked' LIMIT 1) AS r"""


async def measure(bench: Bench) -> list[Figure]:
    """See the module.

    Raises:
        RuntimeError: a woken run did not end.
    """
    woken, others = (QUICK_WOKEN, QUICK_OTHERS) if bench.quick else (WOKEN, OTHERS)
    worker = await Child.start("crowd_worker", dsn=bench.server.dsn)
    connection = await asyncpg.connect(bench.server.dsn, command_timeout=1800)
    try:
        alone = await _wake(bench, connection, worker, woken)
        again = await _wake(bench, connection, worker, woken)
        await _park(bench, connection, 1)
        bench.say(f"making {others:,} more parked rows")
        await connection.execute(_COPY, TENANT, others)
        await connection.execute("ANALYZE penstock.runs")
        among = await _wake(bench, connection, worker, woken)
        size = await connection.fetchval("SELECT pg_total_relation_size('penstock.runs')")
    finally:
        await connection.close()
    await worker.stop()
    baseline = min(alone, again)
    how = f"from the first letter to the last end; {others:,} others parked; rows and indexes {size / 2**20:,.0f} MiB"
    return [
        Figure(GROUP, f"{woken:,} woken among a million", among, "s", note=how),
        Figure(GROUP, f"{woken:,} woken, nobody else parked", baseline, "s", note="the better of two"),
        Figure(GROUP, "**ratio**", among / baseline, "times", "1", "the first divided by the second"),
    ]


async def _wake(bench: Bench, connection: asyncpg.Connection, worker: Child, count: int) -> float:
    ids = await _park(bench, connection, count)
    bench.say(f"waking {count:,}")
    begun = clock()
    said = await worker.asked(json.dumps([run.hex for run in ids]))
    if said["ended"] != count:
        raise RuntimeError(f"{said['ended']} of {count} woken runs ended")
    return float(said["at"]) - begun


async def _park(bench: Bench, connection: asyncpg.Connection, count: int) -> list[UUID]:
    async with penstock.open(Settings(database_url=bench.server.dsn)) as platform:
        ids: list[UUID] = []
        for start in range(0, count, 250):
            group = [Request(crowd_worker.waiter, n, tenant=TENANT) for n in range(start, min(count, start + 250))]
            ids += await platform.submit_many(group)
    parked = "SELECT count(*) FROM penstock.runs WHERE tenant = $1 AND status = 'parked' AND id = ANY ($2::uuid[])"
    while await connection.fetchval(parked, TENANT, ids) < count:  # noqa: ASYNC110 - rows say it, no event does
        await asyncio.sleep(POLL_SECONDS)
    return ids
