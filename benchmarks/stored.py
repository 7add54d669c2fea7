"""What an event costs when a thousand, a hundred thousand and a million runs are stored already.

The stored runs are made by `filling.fill_ended` in the image of one that a worker did: as many rows and index entries
as real ones, with bodies cut to a hundred bytes, in the same partition. What is measured beside them is real: appends
alone, and five-step runs from submission to their last event.
"""

import time
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from benchmarks import append
from benchmarks.bench import Bench
from benchmarks.figures import Figure, others_took, quantile
from benchmarks.filling import BODY_BYTES, fill_ended, settle
from benchmarks.runs import TENANT, Numbers, spend
from benchmarks.server import Reading
from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal

GROUP = "Cost of an event by what is stored"
SIZES, QUICK_SIZES = (1_000, 100_000, 1_000_000), (1_000, 20_000)
BATCH = 180  # events a call, of the appends alone
FILLERS = 2  # connections that store side by side
TIMES = 3  # each measurement is repeated, and the middle one taken
WARM_RUNS = 500  # what is done once; one of them is the image of the stored
RUNS, QUICK_RUNS = 1_500, 200  # of one repetition

_LATEST = "SELECT id FROM penstock.runs WHERE tenant = $1 AND outcome = 'succeeded' ORDER BY id DESC LIMIT 1"
_EVENTS = "SELECT avg(last_seq)::float8 FROM penstock.runs WHERE tenant = $1"
_COUNT = "SELECT count(*) FROM penstock.runs"
_END_APPENDED = """
UPDATE penstock.runs SET status = 'ended', outcome = 'succeeded', worker = NULL, ended_at = clock_timestamp()
WHERE tenant = $1 AND status <> 'ended'"""


@dataclass(slots=True, frozen=True)
class Cost:
    """Of one event: microseconds of CPU, bytes of the write-ahead log, and blocks of the database that were looked at;
    ``append`` is PostgreSQL's CPU for appends alone."""

    append: float
    server: float
    worker: float
    wal: float
    blocks: float
    appending: str  # how much was appended, in words
    others: float  # cores that other work took beside the runs, at most


async def measure(bench: Bench) -> list[Figure]:
    """See the module."""
    sizes = QUICK_SIZES if bench.quick else SIZES
    runs = QUICK_RUNS if bench.quick else RUNS
    connections = [await asyncpg.connect(bench.server.dsn, command_timeout=1800) for _ in range(FILLERS)]
    connection = connections[0]
    numbers = Numbers()
    figures: list[Figure] = []
    costs: list[Cost] = []
    filling = 0.0
    try:
        await spend(bench, numbers, 1, min(runs, WARM_RUNS), alongside=False)
        image: UUID = await connection.fetchval(_LATEST, TENANT)
        for size in sizes:
            begun, before = time.monotonic(), int(await connection.fetchval(_COUNT))
            bench.say(f"storing {max(0, size - before):,} more runs")
            await fill_ended(connections, TENANT, image, max(0, size - before))
            filling = time.monotonic() - begun
            await settle(connection)
            stored = int(await connection.fetchval(_COUNT))
            bench.say(f"beside {stored:,} stored runs (made in {filling:.0f} s)")
            costs.append(await _cost(bench, connection, numbers, runs))
            figures += _told(stored, costs[-1], runs)
    finally:
        for one in connections:
            await one.close()
    made = f"stored runs are made in the image of one, bodies cut to {BODY_BYTES} bytes; the last in {filling:.0f} s"
    return [*figures, *_ratios(costs, made)]


async def _cost(bench: Bench, connection: asyncpg.Connection, numbers: Numbers, runs: int) -> Cost:
    appended, words = await _appends(bench, connection)
    spent = [await spend(bench, numbers, 1, runs, alongside=False) for _ in range(TIMES)]
    events = float(await connection.fetchval(_EVENTS, TENANT))

    def middle(*amounts: float) -> float:
        return quantile(amounts, 0.5) / (runs * events)

    return Cost(
        append=appended,
        server=middle(*(one.server_cpu for one in spent)) * 1e6,
        worker=middle(*(one.worker_cpu for one in spent)) * 1e6,
        wal=middle(*(one.wal_bytes for one in spent)),
        blocks=middle(*(one.blocks for one in spent)),
        appending=words,
        others=max(one.others for one in spent),
    )


async def _appends(bench: Bench, connection: asyncpg.Connection) -> tuple[float, str]:
    """PostgreSQL's CPU an event of appends alone, microseconds, and a word on them."""
    journal = await open_journal(ConnectionSettings(bench.server.dsn, pool_size=2))
    costs, events, seconds = [], 0, 0.0
    try:
        for _ in range(TIMES):
            before = await bench.server.reading()
            done = await append.keep_appending(journal, BATCH, bench.seconds(4, 0.7))
            costs.append(_server_cpu(before, await bench.server.reading()) / done.events * 1e6)
            events, seconds = events + done.events, seconds + done.seconds
    finally:
        await journal.close()
    # Left running by a worker that is gone, they would be looked at by every claim of the measurements that follow.
    await connection.execute(_END_APPENDED, append.TENANT)
    await settle(connection)
    return quantile(costs, 0.5), f"{events / seconds:,.0f} events/s, {BATCH} a call, claims of the runs included"


def _server_cpu(before: Reading, after: Reading) -> float:
    return after.cpu_seconds - before.cpu_seconds


def _told(stored: int, cost: Cost, runs: int) -> list[Figure]:
    beside = f"beside {stored:,} runs"
    how = f"the middle one of {TIMES} times {runs:,} five-step runs from submission to end, by a new worker each time"
    return [
        Figure(
            GROUP,
            f"{beside}: appended alone",
            cost.append,
            "µs of CPU an event",
            note=f"PostgreSQL's; the middle one of {TIMES}; {cost.appending}",
        ),
        Figure(
            GROUP,
            f"{beside}: PostgreSQL",
            cost.server,
            "µs of CPU an event",
            note=f"{how}; {others_took(cost.others)}",
        ),
        Figure(GROUP, f"{beside}: worker", cost.worker, "µs of CPU an event", note="the same runs"),
        Figure(GROUP, f"{beside}: write-ahead log", cost.wal, "bytes an event", note="the same runs"),
        Figure(GROUP, f"{beside}: blocks looked at", cost.blocks, "an event", note="by PostgreSQL, in memory or not"),
    ]


def _ratios(costs: list[Cost], made: str) -> list[Figure]:
    """The dearest size over the cheapest: the last over the first would hide one between them."""
    amounts = {
        "appended alone": [cost.append for cost in costs],
        "PostgreSQL": [cost.server for cost in costs],
        "worker": [cost.worker for cost in costs],
        "write-ahead log": [cost.wal for cost in costs],
        "blocks looked at": [cost.blocks for cost in costs],
    }
    return [
        Figure(GROUP, f"**ratio**: {name}", max(values) / min(values), "times", "1.1", f"dearest : cheapest; {made}")
        for name, values in amounts.items()
    ]
