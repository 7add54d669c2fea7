"""What a worker keeps in memory of runs that wait: nothing, for a waiting run is a row."""

import asyncpg

from benchmarks.bench import Bench
from benchmarks.child import Child
from benchmarks.figures import Figure

GROUP = "Parked runs"


async def measure(bench: Bench) -> list[Figure]:
    """Park runs until memory has settled, then as many again several times, and compare.

    Raises:
        RuntimeError: not all of them parked.
    """
    child = await Child.start("parked_worker", dsn=bench.server.dsn)
    first, more = (500, 1000) if bench.quick else (5000, 5000)
    bench.say(f"parking {first + more:,} runs")
    settled = (await child.asked(str(first)))["rss"]
    after = (await child.asked(str(more)))["rss"]
    await child.stop()
    connection = await asyncpg.connect(bench.server.dsn)
    try:
        waiting = await connection.fetchval(
            "SELECT count(*) FROM penstock.runs WHERE status = 'parked' AND agent LIKE 'bench-wait%'"
        )
    finally:
        await connection.close()
    if waiting != first + more:
        raise RuntimeError(f"{waiting} of {first + more} runs are parked")
    note = (
        f"resident memory of a worker with {first + more:,} parked runs ({after / 2**20:.1f} MiB), less that with "
        f"{first:,} ({settled / 2**20:.1f} MiB); half wait for a timer, half for a person"
    )
    return [Figure(GROUP, "memory per 1,000 parked runs", (after - settled) / more * 1000 / 1024, "KiB", "none", note)]
