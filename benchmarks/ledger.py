"""Asking the ledger: what was spent, by three tags and by other dimensions, over ten million calls of thirty days.

The sums are those that the counting makes of two and a half million runs of four calls each: of two hundred customers
of very different size, eight features with an agent each, six task types, three releases, three models, and some two
users of each customer at work on any day; the calls of one run in twenty are retries. They are made by SQL from as many
made-up runs, which are not stored themselves, and lie in the order of their hours, as they do where they are counted.
"""

import time
from typing import Any

import asyncpg

from benchmarks.bench import Bench
from benchmarks.figures import Figure, quantile
from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import PostgresJournal, open_journal
from penstock.ports.usage import HOUR
from penstock.views.costs import read_costs

GROUP = "Asking the ledger"
TENANT = "ledger"
RUNS, QUICK_RUNS, CALLS = 2_500_000, 100_000, 4
AT_A_TIME = 250_000
READS, QUICK_READS = 40, 5
DAYS = 30

_RUNS = """
CREATE TEMP TABLE IF NOT EXISTS made AS SELECT 0::bigint AS hour, '' AS customer, '' AS feature, '' AS agent,
    '' AS task_type, '' AS release, '' AS model, '' AS by_user, '' AS kind, 0::bigint AS nano WHERE false"""
# Customers by a power law: the largest has some seven in a hundred runs.
_MAKE = """
INSERT INTO made
SELECT r.hour, 'customer-' || r.c, 'feature-' || r.f, 'agent-' || r.f, 'task-' || r.t,
    'release-' || r.hour / 864000000000, 'openai:model-' || (r.c + r.f) % 3,
    'user-' || r.c || '-' || (r.day * 2 + r.u) % 50,
    CASE WHEN k.retry THEN 'retry' ELSE 'work' END, 1000000 + 1000 * r.t
FROM (
    SELECT $2::bigint - (random() * 720)::bigint * 3600000000 AS hour, floor(200 * power(random(), 2.2))::int AS c,
        floor(random() * 8)::int AS f, floor(random() * 6)::int AS t, floor(random() * 2)::int AS u,
        floor(random() * 30)::int AS day
    FROM generate_series(1, $1)
) AS r CROSS JOIN LATERAL (SELECT random() < 0.05 AS retry) AS k"""
_SUMS = """
INSERT INTO penstock.{table} (
    tenant, generation, grain, hour, slot, customer, feature, agent, task_type, release, model,
    runs, used_by, model_calls, tokens_in, tokens_out, nano, nano_at_maximum, dearest, dearest_nano, kind, {own}
    kind_runs, used_in, cached
)
SELECT $1, 1, g.grain, m.hour - m.hour % (g.grain * 3600000000), gen_random_uuid(), m.customer, m.feature, m.agent,
    m.task_type, m.release, p.model, sum(CASE WHEN p.model = '' THEN m.runs ELSE 0 END),
    sum(CASE WHEN p.model = '' THEN 0 ELSE m.runs END), sum(CASE WHEN p.model = '' THEN 0 ELSE m.runs * $2::int END),
    sum(CASE WHEN p.model = '' THEN 0 ELSE m.runs * 4000 END), sum(CASE WHEN p.model = '' THEN 0 ELSE m.runs * 400 END),
    sum(CASE WHEN p.model = '' THEN 0 ELSE m.nano END), 0, gen_random_uuid(), max(m.most), p.kind, {mine}
    sum(CASE WHEN p.model = '' THEN 0 ELSE m.runs END), sum(CASE WHEN p.model = '' THEN 0 ELSE m.runs END),
    sum(CASE WHEN p.model = '' THEN 0 ELSE m.runs * 1500 END)
FROM (
    SELECT hour, customer, feature, agent, task_type, release, model, kind, {own} count(*) AS runs, sum(nano) AS nano,
        max(nano) AS most
    FROM made GROUP BY hour, customer, feature, agent, task_type, release, model, {own} kind
) AS m CROSS JOIN LATERAL (VALUES ('', ''), (m.model, m.kind)) AS p(model, kind)
CROSS JOIN (VALUES (1), (24), (168)) AS g(grain)
GROUP BY 3, 4, 6, 7, 8, 9, 10, 11, p.kind {by}
ORDER BY 3, 4"""
_PLACE = """
INSERT INTO penstock.usage_places (tenant, generation, is_current, number, is_old, until_us)
VALUES ($1, 1, true, 0, false, penstock.to_us(clock_timestamp()))"""
# As sums of an older version are, if in larger steps.
_UNCARRIED = "INSERT INTO penstock.usage_uncarried VALUES ($1, 1, -9223372036854775808)"
_CARRY = "SELECT penstock.carry_usage(500000)"


async def measure(bench: Bench) -> list[Figure]:
    """See the module."""
    connection = await asyncpg.connect(bench.server.dsn, command_timeout=3600)
    journal = await open_journal(ConnectionSettings(bench.server.dsn, pool_size=2))
    try:
        rows = await _fill(bench, connection, await journal.now())
        return await _reads(bench, journal, rows)
    finally:
        await journal.close()
        await connection.close()


async def _fill(bench: Bench, connection: asyncpg.Connection, now: int) -> str:
    runs = QUICK_RUNS if bench.quick else RUNS
    bench.say(f"adding up {runs:,} runs of {CALLS} calls")
    # Millions of rows are grouped here: in memory, and what is read later is read with the server's own settings.
    await connection.execute("SET work_mem = '1GB'; SET maintenance_work_mem = '512MB'; SET jit = off")
    await connection.execute(_RUNS)
    for start in range(0, runs, AT_A_TIME):
        await connection.execute(_MAKE, min(AT_A_TIME, runs - start), now - now % HOUR)
    for table, own, mine, by in (
        ("usage_hourly", "", "", ""),
        ("usage_fine", "by_user, ", "m.by_user, ", ", m.by_user"),
    ):
        await connection.execute(_SUMS.format(table=table, own=own, mine=mine, by=by), TENANT, CALLS)
        await connection.execute(f"VACUUM (ANALYZE) penstock.{table}")
    await connection.execute(_PLACE, TENANT)
    await connection.execute(_UNCARRIED, TENANT)
    while await connection.fetchval(_CARRY):
        pass
    await connection.execute("VACUUM (ANALYZE) penstock.usage_of_runs")
    await connection.execute("CHECKPOINT")
    counted = await connection.fetchrow(
        "SELECT (SELECT count(*) FROM penstock.usage_of_runs), (SELECT count(*) FROM penstock.usage_hourly),"
        " (SELECT count(*) FROM penstock.usage_fine)"
    )
    assert counted is not None
    of_runs, of_calls, fine = counted
    return f"{of_runs:,} rows, by model and kind {of_calls:,}, by user {fine:,}"


async def _reads(bench: Bench, journal: PostgresJournal, rows: str) -> list[Figure]:
    reads = QUICK_READS if bench.quick else READS
    calls = (QUICK_RUNS if bench.quick else RUNS) * CALLS
    now = await journal.now()
    start = now - DAYS * 24 * HOUR
    tags = ("customer", "feature", "task_type")

    async def ask(by: Any, since: int, where: dict[str, str]) -> Any:
        return await journal.usage.sums(TENANT, by, since, now, where)

    async def page(by: Any, since: int, where: dict[str, str]) -> Any:
        return await read_costs(journal, TENANT, by, since=since, where=where)

    figures = []
    for name, read, by, since, where, aim in (
        ("three tags, 30 days", ask, tags, start, {}, "300 ms"),
        ("three tags, 7 days", ask, tags, now - 7 * 24 * HOUR, {}, "300 ms"),
        (
            "three tags of one customer, 30 days",
            ask,
            ("feature", "task_type", "kind"),
            start,
            {"customer": "customer-0"},
            "",
        ),
        ("what was paid for, 30 days", ask, "kind", start, {}, ""),
        ("by user, 7 days", ask, "user", now - 7 * 24 * HOUR, {}, ""),
        ("the page of three tags with its course and the week before, 7 days", page, tags, now - 7 * 24 * HOUR, {}, ""),
    ):
        bench.say(f"asking by {name}")
        took = []
        for _ in range(reads):
            begun = time.perf_counter()
            await read(by, since, where)
            took.append((time.perf_counter() - begun) * 1000)
        note = f"P50 {quantile(took, 0.5):.0f} ms; sums of {calls:,} calls in {rows}"
        figures.append(Figure(GROUP, f"{name}, P95", quantile(took, 0.95), "ms", aim, note))
    return figures
