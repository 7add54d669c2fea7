"""The HTTP API: runs submitted over 50 and 500 connections, and lists of runs beside a million of them.

The server is a process of its own without a worker; the load comes from this one, over sockets that stay open and send
the next request when the last is answered. What a list costs is the time until its answer is there on one connection,
and beside it the processor time of the database's session and of the server, which other work on the machine does not
change.
"""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import asyncpg

from benchmarks.bench import Bench
from benchmarks.child import Child
from benchmarks.figures import Figure, quantile
from penstock.kernel.canonical import stable_json

GROUP = "The HTTP API"
TENANT = "api"
STORED, QUICK_STORED = 1_000_000, 50_000
AT_A_TIME = 50_000
READS, QUICK_READS = 400, 60
CONNECTIONS = (50, 500)

_STORE = """
INSERT INTO penstock.runs (tenant, id, agent, release, env, format, status, outcome, code, last_seq, head, subject,
    request_digest, session, priority, parent_path, root, deadline, created_at, ended_at, wake_at, waiting, tags, steps,
    model_calls, tokens, nano, customer)
SELECT $1, n.id, 'agent-' || n.agent, 'agent-' || n.agent || '-r' || (3 * n.i / $4), 'bench', 1, n.status,
    CASE WHEN n.status = 'ended' THEN n.outcome END,
    CASE WHEN n.status = 'ended' AND n.outcome = 'failed' THEN (ARRAY['tool_failed', 'model_failed'])[1 + n.i % 2]
         ELSE '' END,
    20, '\\x00', n.id::text, '', CASE WHEN n.i % 3 = 0 THEN 'session-' || n.i % 20000 ELSE '' END, 0, '', n.id, 0, n.at,
    CASE WHEN n.status = 'ended' THEN n.at + interval '20 seconds' END, NULL,
    convert_to(CASE WHEN n.status = 'parked'
        THEN '[{"kind":"' || (ARRAY['timer', 'child', 'approval'])[1 + n.i % 3] || '","path":"3","name":"refund","id":"'
            || md5(n.i::text) || '","until":' || 1900000000000000 + n.i || '}]'
        ELSE '[]' END, 'UTF8'),
    jsonb_build_object('customer', 'customer-' || n.customer, 'feature', 'f' || n.i % 9, 'task_type', 't' || n.i % 7,
        'x_team', 'team-' || n.i % 40),
    6, 6, 9000, (exp(random() * 6) * 100000)::bigint, 'customer-' || n.customer
FROM (
    SELECT uuidv7((m.i - $4::bigint) * interval '2 seconds') AS id, m.i,
           clock_timestamp() + (m.i - $4::bigint) * interval '2 seconds' AS at,
           floor(power(random(), 2) * 14)::integer AS agent, floor(power(random(), 3) * 2000)::integer AS customer,
           CASE WHEN random() < 0.98 THEN 'ended' ELSE 'parked' END AS status,
           CASE WHEN random() < 0.9 THEN 'succeeded' WHEN random() < 0.8 THEN 'failed' ELSE 'exhausted' END AS outcome
    FROM generate_series($3::bigint, $3::bigint + $2 - 1) AS m(i)
) AS n"""
_SESSIONS = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'penstock'"""


class Connection:
    """One connection of a client: a request, its answer, the next."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
        self._reader = reader
        self._writer = writer
        self._key = key

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """The status and the body of the answer."""
        self._writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {self._key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
        )
        return int(head[9:12]), await self._reader.readexactly(length)

    def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def connections(port: int, key: str, count: int) -> AsyncIterator[list[Connection]]:
    """So many of them, open."""
    opened = [Connection(*await asyncio.open_connection("127.0.0.1", port), key) for _ in range(count)]
    try:
        yield opened
    finally:
        for one in opened:
            one.close()


async def measure(bench: Bench) -> list[Figure]:
    """See the module."""
    server = await Child.start("api_server", dsn=bench.server.dsn, tenant=TENANT)
    port, key = server.said["port"], server.said["key"]
    memory = server.said["resident"] / 2**20
    figures = [Figure(GROUP, "memory of the server at rest", memory, "MiB", "250 MiB", "without a worker")]
    try:
        for count in CONNECTIONS:
            bench.say(f"submitting over {count} connections")
            figures += await _submit(bench, server, port, key, count)
        stored = QUICK_STORED if bench.quick else STORED
        connection = await asyncpg.connect(bench.server.dsn, command_timeout=1800)
        try:
            await _store(bench, connection, stored)
            figures += await _lists(bench, server, connection, port, key, stored)
        finally:
            await connection.close()
    finally:
        await server.stop()
    return figures


async def _submit(bench: Bench, server: Child, port: int, key: str, count: int) -> list[Figure]:
    seconds = bench.seconds(10, 2)
    took: list[float] = []
    body = stable_json({"agent": "echo", "input": {"ticket": "I was charged twice", "order": "o-17"}})
    async with connections(port, key, count) as opened:
        await asyncio.gather(*(one.ask("POST", "/v1/runs", body) for one in opened))
        before = (await server.asked("cost"))["cpu"]
        begun = time.perf_counter()
        end = begun + seconds

        async def load(one: Connection) -> None:
            while time.perf_counter() < end:
                sent = time.perf_counter()
                status, answer = await one.ask("POST", "/v1/runs", body)
                assert status == 202, answer
                took.append((time.perf_counter() - sent) * 1000)

        await asyncio.gather(*(load(one) for one in opened))
        passed = time.perf_counter() - begun
        cpu = (await server.asked("cost"))["cpu"] - before
    note = f"{len(took):,} in {passed:.1f} s; {cpu / len(took) * 1000:.2f} ms CPU of the server for each"
    return [
        Figure(GROUP, f"submitted over {count} connections", len(took) / passed, "runs/s", "", note),
        Figure(GROUP, "the same, P99 of an answer", quantile(took, 0.99), "ms", "", f"P50 {quantile(took, 0.5):.1f}"),
    ]


async def _store(bench: Bench, connection: asyncpg.Connection, stored: int) -> None:
    bench.say(f"storing {stored:,} runs")
    for start in range(0, stored, AT_A_TIME):
        await connection.execute(_STORE, TENANT, min(AT_A_TIME, stored - start), start, stored)
    await connection.execute("VACUUM (ANALYZE) penstock.runs")
    await connection.execute("CHECKPOINT")


def _filters(count: int) -> list[dict[str, Any]]:
    """None, one, and up to four at a time, chosen alike at each measurement."""
    choose = random.Random(3)
    now = int(time.time() * 1e6)
    values: dict[str, Sequence[Any]] = {
        "status": ("ended", "parked", "running"),
        "outcome": ("succeeded", "failed", "exhausted", "killed"),
        "shown": ("waiting_approval", "waiting", "failed", "succeeded", "paused"),
        "agent": [f"agent-{number}" for number in range(15)],
        "release": [f"agent-{number}-r{number % 3}" for number in range(14)],
        "customer": [f"customer-{number}" for number in (0, 1, 5, 50, 500, 1999, 5000)],
        "feature": ("f1", "f7", "none"),
        "tag.x_team": ("team-3", "none"),
        "session": ("session-3", "session-999", "none"),
        "code": ("tool_failed", "model_failed", "none"),
        "waiting_for": ("approval", "timer", "message"),
        "min_nano": (1_000_000, 10_000_000, 10**12),
        "since": [now - days * 86_400_000_000 for days in (1, 7, 20)],
        "until": [now - days * 86_400_000_000 for days in (1, 7, 20)],
        "q": ("session-33", "customer-7", "team-5", "nothing like it"),
    }
    chosen = []
    for _ in range(count):
        names = choose.sample(list(values), choose.choice((0, 1, 1, 2, 2, 3, 4)))
        chosen.append({name: choose.choice(list(values[name])) for name in names})
    return chosen


async def _lists(
    bench: Bench, server: Child, connection: asyncpg.Connection, port: int, key: str, stored: int
) -> list[Figure]:
    reads = QUICK_READS if bench.quick else READS
    some = [
        row[0] for row in await connection.fetch("SELECT id FROM penstock.runs WHERE tenant = $1 LIMIT 200", TENANT)
    ]
    paths = {
        "list of runs, any filters": [f"/v1/runs?{urlencode(where)}" for where in _filters(reads)],
        "one run": [f"/v1/runs/{some[number % len(some)]}" for number in range(reads)],
        "what runs share": [f"/v1/runs/facets?{urlencode(where)}" for where in _filters(reads // 8)],
    }
    figures = []
    async with connections(port, key, 1) as [one]:
        for name, asked in paths.items():
            bench.say(f"reading {name}")
            took, busy, early = [], [], 0
            for path in asked:
                before = await _busy(server, connection)
                sent = time.perf_counter()
                status, answer = await one.ask("GET", path)
                took.append((time.perf_counter() - sent) * 1000)
                busy.append((await _busy(server, connection) - before) * 1000)
                assert status in (200, 404), answer
                early += bool(json.loads(answer).get("looked_to"))
            aim = "50 ms" if name != "what runs share" else ""
            note = f"P50 {quantile(took, 0.5):.1f} ms; {stored:,} stored" + (f"; {early} ended early" if early else "")
            figures.append(Figure(GROUP, f"{name}, P95", quantile(took, 0.95), "ms", aim, note))
            words = f"P50 {quantile(busy, 0.5):.1f} ms; of the server and its database sessions"
            figures.append(Figure(GROUP, f"{name}, processor time, P95", quantile(busy, 0.95), "ms", "", words))
    return figures


async def _busy(server: Child, connection: asyncpg.Connection) -> float:
    """Seconds of processor time that the server and its sessions of the database have used."""
    spent: float = (await server.asked("cost"))["cpu"]
    for (pid,) in await connection.fetch(_SESSIONS):
        spent += _processor_seconds(pid)
    return spent


def _processor_seconds(pid: int) -> float:
    """What the kernel's scheduler has counted for a process: finer than the ticks of ``/proc/PID/stat``."""
    return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0]) / 1e9
