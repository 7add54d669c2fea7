"""What the console reads: the skeleton of a run of 2,000 and of 50,000 spans, the overview and the costs beside a
million stored runs.

The stored runs are rows made by SQL that ended over a week, with four hundred customers, and the sums over them as the
counting would have made them; some thousand have not ended. Skeletons are built from tapes made in memory: what is
measured is this process's CPU, from the stored events to the compressed answer.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from benchmarks.bench import Bench
from benchmarks.figures import Figure, quantile
from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import PostgresJournal, open_journal
from penstock.events import (
    Amount,
    BudgetRecord,
    ModelIntent,
    ModelOutcome,
    RunClaimed,
    RunEnded,
    RunSubmitted,
    ToolIntent,
    ToolOutcome,
    encode,
)
from penstock.kernel.clock import SystemClock
from penstock.ports.records import Row
from penstock.ports.usage import HOUR
from penstock.views.costs import read_costs
from penstock.views.overview import Overviews
from penstock.views.skeleton_builder import SkeletonBuilder
from penstock.views.skeleton_reading import pack_skeleton

GROUP = "What the console reads"
TENANT = "console"
STORED, QUICK_STORED = 1_000_000, 50_000
AT_A_TIME = 50_000
READS, QUICK_READS = 60, 10
SPANS = (2_000, 50_000)
RULES = ["control@1", "limits@1", "permission@1", "schema@1", "validation@1", "repeats@1"]

_ENDED = """
INSERT INTO penstock.runs (tenant, id, agent, release, env, format, status, outcome, code, last_seq, head, subject, key,
    request_digest, session, priority, parent_path, root, deadline, created_at, ended_at, ended_no, tags, steps,
    model_calls, tokens, nano, customer)
SELECT $1, n.id, 'agent-' || n.i % 4, 'r' || n.i % 3, 'bench', 1, 'ended',
    CASE WHEN n.i % 20 = 0 THEN 'failed' ELSE 'succeeded' END, CASE WHEN n.i % 20 = 0 THEN 'tool_failed' ELSE '' END,
    21, '\\x00', n.id::text, NULL, '', '', 0, '', n.id, 0, clock_timestamp(),
    clock_timestamp() - (1 - ($3 + n.i) / $4::float8) * interval '7 days', nextval('penstock.ends'),
    jsonb_build_object('customer', 'customer-' || n.i % 400, 'feature', 'f' || n.i % 5, 'task_type', 't' || n.i % 6),
    5, 5, 4000, 2000000, ''
FROM (SELECT uuidv7(interval '-1 day') AS id, i FROM generate_series(1, $2) AS i) AS n"""
_OPEN = """
INSERT INTO penstock.runs (tenant, id, agent, release, env, format, status, last_seq, head, subject, key,
    request_digest, session, priority, parent_path, root, deadline, wake_at, tags, tokens, nano, waiting)
SELECT $1, n.id, 'agent-1', 'r1', 'bench', 1, $2, 5, '\\x00', n.id::text, NULL, '', '', 0, '', n.id, 0,
    CASE WHEN $2 = 'queued' THEN clock_timestamp() END, jsonb_build_object('customer', 'customer-' || n.i % 400), 900,
    500000, convert_to($4, 'UTF8')
FROM (SELECT uuidv7() AS id, i FROM generate_series(1, $3) AS i) AS n"""
_HOURS = """
INSERT INTO penstock.usage_hourly
SELECT r.tenant, 1, g.grain, penstock.to_us(r.ended_at) / (g.grain * 3600000000) * (g.grain * 3600000000),
    gen_random_uuid(), r.tags ->> 'customer',
    r.tags ->> 'feature', r.agent, r.tags ->> 'task_type', r.release, m.model,
    sum((m.model = '')::int), count(*), sum(r.model_calls), sum(r.tokens) * 9 / 10, sum(r.tokens) / 10,
    sum(CASE WHEN m.model = '' THEN 0 ELSE r.nano END), 0, (array_agg(r.id))[1], max(r.nano)
FROM penstock.runs r CROSS JOIN (VALUES (''), ('openai:large')) AS m(model)
CROSS JOIN (VALUES (1), (24), (168)) AS g(grain)
WHERE r.tenant = $1 AND r.status = 'ended'
GROUP BY 1, 3, 4, 6, 7, 8, 9, 10, 11"""
_MINUTES = """
INSERT INTO penstock.usage_minutes
SELECT r.tenant, 1, (penstock.to_us(r.ended_at) / 60000000) * 60000000, gen_random_uuid(), r.agent, r.outcome, r.code,
    count(*), count(*), (array_agg(r.id))[1]
FROM penstock.runs r WHERE r.tenant = $1 AND r.status = 'ended' AND r.ended_at > clock_timestamp() - interval '2 days'
GROUP BY 1, 3, 5, 6, 7"""
_PLACE = """
INSERT INTO penstock.usage_places (tenant, generation, is_current, number, is_old, until_us)
SELECT $1, 1, true, max(ended_no), false, penstock.to_us(clock_timestamp()) FROM penstock.runs WHERE tenant = $1"""
# As sums of an older version are.
_UNCARRIED = "INSERT INTO penstock.usage_uncarried VALUES ($1, 1, -9223372036854775808)"


async def measure(bench: Bench) -> list[Figure]:
    """See the module."""
    figures = [figure for spans in SPANS for figure in _skeleton(spans)]
    connection = await asyncpg.connect(bench.server.dsn, command_timeout=1800)
    journal = await open_journal(ConnectionSettings(bench.server.dsn, pool_size=2))
    try:
        await _fill(bench, connection)
        figures += await _reads(bench, journal)
    finally:
        await journal.close()
        await connection.close()
    return figures


async def _fill(bench: Bench, connection: asyncpg.Connection) -> None:
    count = QUICK_STORED if bench.quick else STORED
    bench.say(f"storing {count:,} ended runs")
    for start in range(0, count, AT_A_TIME):
        await connection.execute(_ENDED, TENANT, min(AT_A_TIME, count - start), start, count)
    asking = '[{"kind":"approval","path":"3","name":"refund","id":"a-1","until":0}]'
    for status, many, waiting in (("queued", 200, "[]"), ("parked", 2_000, "[]"), ("parked", 100, asking)):
        await connection.execute(_OPEN, TENANT, status, many, waiting)
    bench.say("adding them up")
    for statement in (_HOURS, _MINUTES, _PLACE, _UNCARRIED):
        await connection.execute(statement, TENANT)
    while await connection.fetchval("SELECT penstock.carry_usage(500000)"):
        pass
    for table in ("runs", "usage_hourly", "usage_of_runs", "usage_minutes", "usage_places"):
        await connection.execute(f"VACUUM (ANALYZE) penstock.{table}")
    await connection.execute("CHECKPOINT")


async def _reads(bench: Bench, journal: PostgresJournal) -> list[Figure]:
    reads = QUICK_READS if bench.quick else READS
    now = await journal.now()

    async def overview() -> Any:
        return await Overviews(journal, SystemClock()).get(TENANT)

    async def standing() -> Any:
        return await journal.overview.standing(TENANT)

    def costs(by: Any, days: int) -> Callable[[], Awaitable[Any]]:
        return lambda: read_costs(journal, TENANT, by, since=now - days * 24 * HOUR)

    figures = []
    stored = QUICK_STORED if bench.quick else STORED
    for name, read, aim in (
        ("how runs stand", standing, "20 ms"),
        ("the whole overview, nothing kept", overview, ""),
        ("costs by customer, 7 days", costs("customer", 7), "100 ms"),
        ("costs by agent, 7 days", costs("agent", 7), "100 ms"),
        ("costs by model, 1 day", costs("model", 1), "100 ms"),
    ):
        bench.say(f"reading {name}")
        took = []
        for _ in range(reads):
            begun = time.perf_counter()
            await read()
            took.append((time.perf_counter() - begun) * 1000)
        note = f"P50 {quantile(took, 0.5):.1f} ms, beside {stored:,} stored runs, in this process and the server"
        figures.append(Figure(GROUP, f"{name}, P95", quantile(took, 0.95), "ms", aim, note))
    return figures


def _skeleton(spans: int) -> list[Figure]:
    rows = _tape(spans)
    run = UUID(int=1)
    took = []
    size = 0
    for _ in range(3):
        begun = time.process_time()
        builder = SkeletonBuilder()
        builder.add(rows)
        size = len(pack_skeleton(builder.build(run, "desk", 0)))
        took.append(time.process_time() - begun)
    note = f"CPU, the best of three, from {len(rows):,} stored events to {size / 1000:,.0f} kB compressed"
    return [Figure(GROUP, f"skeleton of {spans:,} spans", min(took), "s", "1 s" if spans > 10_000 else "", note)]


def _tape(spans: int) -> list[Row]:
    """A desk's tape: a model call, then four tools side by side, and so on."""
    said: dict[str, Any] = {"tenant": TENANT, "run": uuid4(), "agent": "desk", "release": "r" * 32, "epoch": 1}
    rows: list[Row] = []
    at = 1_700_000_000_000_000

    def put(kind: Any, **fields: Any) -> None:
        rows.append(Row(len(rows) + 1, encode(kind(seq=len(rows) + 1, at=at, **said, **fields)), b""))

    put(RunSubmitted, budget=BudgetRecord(nano=spans * 2_000))
    at += 5_000
    put(RunClaimed, worker=uuid4(), worker_name="w")
    made = step = 0
    while made < spans:
        at += 300
        asked = {"path": str(step), "model": "openai:large", "digest": f"{step:032x}", "passed": RULES}
        put(ModelIntent, **asked, reserved=Amount(900, 100, 5_000), payloads={"messages": ["m" * 43]})
        at += 900_000
        answered = {"path": str(step), "used": Amount(900 + step, 40, 3_000), "latency": 900_000}
        put(ModelOutcome, **answered, finish="tool_calls", payloads={"response": [f"{step:043}"]})
        group, step = step + 1, step + 2
        for branch in range(4):
            called = {"path": f"{group}.{branch}.0", "tool": "search", "effect": "read", "passed": RULES}
            put(ToolIntent, **called, digest=f"{group * 4 + branch:032x}", payloads={"args": ["a" * 43]})
        for branch in range(4):
            at += 5_000
            found = {"result": [f"{group * 4 + branch:043}"]}
            put(ToolOutcome, path=f"{group}.{branch}.0", latency=5_000, payloads=found)
        made += 6
    put(RunEnded, outcome="succeeded")
    return rows
