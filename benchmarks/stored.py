"""What an event costs when a thousand, a hundred thousand and a million runs are stored already.

The stored runs are rows made by SQL in the image of one that ended: as many rows and index entries as real ones, with
bodies cut to a hundred bytes, so that the million fits on a small disk. What is measured are real appends of real runs.
"""

import asyncpg

from benchmarks import append
from benchmarks.bench import Bench
from benchmarks.figures import Figure
from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal

GROUP = "Cost of an event by what is stored"
SIZES, QUICK_SIZES = (1_000, 100_000, 1_000_000), (1_000, 20_000)
EVENTS_EACH = 21  # of a five-step run
BODY_BYTES = 100
AT_A_TIME = 20_000  # runs made in one transaction
BATCH = 180  # events a call
TENANT = "stored"

_RUNS = """
INSERT INTO penstock.runs (tenant, id, agent, release, env, format, status, outcome, last_seq, head, subject, key,
    request_digest, session, priority, parent_path, root, deadline, ended_at)
SELECT $1, n.id, 'stored', 'stored', 'bench', 1, 'ended', 'succeeded', $3, '\\x00', n.id::text, NULL, '', '', 0, '',
    n.id, 0, clock_timestamp()
FROM (SELECT uuidv7(interval '-1 hour') AS id FROM generate_series(1, $2)) AS n
RETURNING id"""
_EVENTS = """
INSERT INTO penstock.events (tenant, run_id, seq, body, hash)
SELECT $1, r.id, s.seq, decode(repeat('7b', $3), 'hex'), decode(repeat('00', 32), 'hex')
FROM unnest($2::uuid[]) AS r(id), generate_series(1, $4) AS s(seq)"""


async def measure(bench: Bench) -> list[Figure]:
    """See the module."""
    sizes = QUICK_SIZES if bench.quick else SIZES
    connection = await asyncpg.connect(bench.server.dsn, command_timeout=600)
    journal = await open_journal(ConnectionSettings(bench.server.dsn, pool_size=2))
    figures: list[Figure] = []
    costs: list[float] = []
    stored = 0
    try:
        for size in sizes:
            bench.say(f"storing {size - stored:,} more runs")
            while stored < size:
                count = min(AT_A_TIME, size - stored)
                async with connection.transaction():
                    made = [row[0] for row in await connection.fetch(_RUNS, TENANT, count, EVENTS_EACH)]
                    await connection.execute(_EVENTS, TENANT, made, BODY_BYTES, EVENTS_EACH)
                stored += count
            await connection.execute("CHECKPOINT")
            await connection.execute("VACUUM (ANALYZE) penstock.runs")
            bench.say(f"appending beside {stored:,} stored runs")
            before = await bench.server.reading()
            done = await append.keep_appending(journal, BATCH, bench.seconds(10, 1))
            after = await bench.server.reading()
            costs.append((after.cpu_seconds - before.cpu_seconds) / done.events * 1e6)
            note = f"CPU of PostgreSQL; {done.events / done.seconds:,.0f} events/s, {BATCH} a call; other work took "
            note += f"{after.others(before, after.cpu_seconds - before.cpu_seconds):.2f} cores, ours included"
            figures.append(Figure(GROUP, f"beside {stored:,} runs", costs[-1], "µs an event", note=note))
    finally:
        await journal.close()
        await connection.close()
    ratio = costs[-1] / costs[0]
    figures.append(Figure(GROUP, "**ratio**", ratio, "times", "within a tenth", "the last divided by the first"))
    return figures
