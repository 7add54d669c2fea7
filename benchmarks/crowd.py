"""A thousand of a million parked runs are woken: what the others cost them, and what they cost a worker that is idle.

All of them are as a worker leaves them: the first is parked by a worker, the others are made in its image by
`filling.fill_parked`, each with its own chain, key and payload. Those that are woken are chosen by chance among them.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

import penstock
from benchmarks import crowd_worker
from benchmarks.bench import Bench, clock
from benchmarks.child import Child
from benchmarks.figures import Figure, others_took, quantile
from benchmarks.filling import fill_parked, settle
from penstock import Settings
from penstock.events import RunClaimed, RunEnded, decode
from penstock.views.audit import verify_run

GROUP = "A million parked runs"
TENANT = "crowd"
SENDERS = 16  # letters under way at a time
GAP_SECONDS = 0.05  # between two that are woken one by one
POLL_SECONDS = 0.1

_PARKED = "SELECT id FROM penstock.runs WHERE tenant = $1 AND status = 'parked'"
_CHOSEN = f"{_PARKED} ORDER BY sha256(uuid_send(id)) LIMIT $2"
_OVER = "SELECT id FROM penstock.runs WHERE tenant = $1 AND status = 'ended'"
_ENDED = "SELECT count(*) FROM penstock.runs WHERE tenant = $1 AND id = ANY ($2::uuid[]) AND outcome = 'succeeded'"
_AFTER = "SELECT run_id, body FROM penstock.events WHERE tenant = $1 AND run_id = ANY ($2::uuid[]) AND seq > $3"
_SIZE = """
SELECT sum(pg_total_relation_size(oid)) FROM pg_class
WHERE relnamespace = 'penstock'::regnamespace AND relkind = 'r'"""


@dataclass(slots=True, frozen=True)
class Size:
    """How many runs are made, woken at once, woken one by one, and verified; seconds that idleness is watched."""

    few: int
    many: int
    woken: int
    paced: int
    verified: int
    idle_seconds: float


FULL = Size(few=2_500, many=1_000_000, woken=1_000, paced=200, verified=200, idle_seconds=30)
QUICK = Size(few=500, many=20_000, woken=100, paced=20, verified=20, idle_seconds=3)


@dataclass(slots=True, frozen=True)
class Woken:
    """Seconds of runs that were woken: each from its letter's being durable; ``total`` from the first to the last."""

    claimed: list[float]
    ended: list[float]
    total: float


@dataclass(slots=True, frozen=True)
class Idle:
    """Cores that an idle worker and its server take, and what else was busy; bytes in the worker's memory."""

    worker: float
    server: float
    others: float
    rss: int


async def measure(bench: Bench) -> list[Figure]:
    """See the module.

    Raises:
        RuntimeError: a woken run did not end, or a chain does not hold.
    """
    size = QUICK if bench.quick else FULL
    connection = await asyncpg.connect(bench.server.dsn, command_timeout=1800)
    worker = await Child.start("crowd_worker", dsn=bench.server.dsn)
    figures: list[Figure] = []
    bursts: list[Woken] = []
    try:
        async with penstock.open(Settings(database_url=bench.server.dsn)) as platform:
            await platform.submit(crowd_worker.waiter, 1, tenant=TENANT)
            while not await connection.fetch(_PARKED, TENANT):  # noqa: ASYNC110 - rows say it, no event does
                await asyncio.sleep(POLL_SECONDS)
            for count in (size.few, size.many):
                filled = await _fill(bench, connection, count)
                idle = await _idle(bench, worker, size.idle_seconds)
                paced = await _wake(platform, connection, size.paced, at_once=False)
                bursts.append(await _wake(platform, connection, size.woken, at_once=True))
                figures += _told(count, idle, paced, bursts[-1], size)
                figures.append(await _verified(bench, platform, connection, count, size.verified, filled))
    finally:
        await connection.close()
    await worker.stop()
    ratio = bursts[1].total / bursts[0].total
    note = f"{size.woken:,} among {size.many:,} : among {size.few:,}, from the first letter to the last end"
    return [*figures, Figure(GROUP, "**ratio**", ratio, "times", "1", note)]


async def _fill(bench: Bench, connection: asyncpg.Connection, count: int) -> str:
    """Make parked runs until there are ``count``; how, in words.

    Raises:
        RuntimeError: there are not.
    """
    (image,) = await connection.fetchrow(_CHOSEN, TENANT, 1)
    missing = count - int(await connection.fetchval(f"SELECT count(*) FROM ({_PARKED}) AS p", TENANT))
    bench.say(f"making {missing:,} parked runs")
    begun = clock()
    await fill_parked(connection, TENANT, image, missing)
    seconds = clock() - begun
    await settle(connection)
    parked = int(await connection.fetchval(f"SELECT count(*) FROM ({_PARKED}) AS p", TENANT))
    if parked != count:
        raise RuntimeError(f"{parked:,} of {count:,} runs are parked")
    size = int(await connection.fetchval(_SIZE)) / 2**20
    bench.say(f"beside {count:,} parked runs, made in {seconds:.0f} s")
    return (
        f"made by COPY in {seconds:.0f} s in the image of one that parked by itself, each with its own events, chain, "
        f"key and payload; all tables with indexes {size:,.0f} MiB"
    )


async def _idle(bench: Bench, worker: Child, seconds: float) -> Idle:
    """What is spent while nothing is to be done."""
    before, meter = await bench.server.reading(), await worker.asked("meter")
    await asyncio.sleep(seconds)
    after, again = await bench.server.reading(), await worker.asked("meter")
    took = after.at - before.at
    spent, server = again["cpu"] - meter["cpu"], after.cpu_seconds - before.cpu_seconds
    return Idle(spent / took, server / took, after.others(before, spent + server), again["rss"])


async def _wake(platform: "penstock.Penstock", connection: asyncpg.Connection, count: int, *, at_once: bool) -> Woken:
    """Send that many of the parked their word, and read from the record what became of it."""
    ids = [row[0] for row in await connection.fetch(_CHOSEN, TENANT, count)]
    seqs = await connection.fetchval("SELECT max(last_seq) FROM penstock.runs WHERE id = ANY ($1::uuid[])", ids)
    sent: dict[UUID, int] = {}
    waiting = iter(ids)

    async def send() -> None:
        for run in waiting:
            await platform.send_event(run, "go", 1, tenant=TENANT)
            sent[run] = time.time_ns() // 1000
            if not at_once:
                await asyncio.sleep(GAP_SECONDS)

    begun = time.time_ns() // 1000
    await asyncio.gather(*(send() for _ in range(SENDERS if at_once else 1)))
    while await connection.fetchval(_ENDED, TENANT, ids) < count:  # noqa: ASYNC110 - rows say it, no event does
        await asyncio.sleep(POLL_SECONDS)
    claimed, ended = await _moments(connection, ids, seqs)
    return Woken(
        [(claimed[run] - sent[run]) / 1e6 for run in ids],
        [(ended[run] - sent[run]) / 1e6 for run in ids],
        (max(ended.values()) - begun) / 1e6,
    )


async def _moments(
    connection: asyncpg.Connection, ids: Sequence[UUID], seq: int
) -> tuple[dict[UUID, int], dict[UUID, int]]:
    """When each was claimed again and when it ended, microseconds of the worker's clock: this machine's."""
    claimed: dict[UUID, int] = {}
    ended: dict[UUID, int] = {}
    for run, body in await connection.fetch(_AFTER, TENANT, ids, seq):
        event = decode(body)
        if isinstance(event, RunClaimed):
            claimed[run] = event.at
        elif isinstance(event, RunEnded):
            ended[run] = event.at
    return claimed, ended


def _told(count: int, idle: Idle, paced: Woken, burst: Woken, size: Size) -> list[Figure]:
    beside = f"beside {count:,}"
    of_ends = " / ".join(f"{quantile(burst.ended, share) * 1e3:,.0f} ms" for share in (0.5, 0.95, 0.99))
    of_claims = " / ".join(f"{quantile(paced.claimed, share) * 1e3:.1f} ms" for share in (0.5, 0.95))
    return [
        Figure(
            GROUP,
            f"{beside}: {size.woken:,} are woken at once",
            burst.total,
            "s",
            note=f"from the first letter to the last end; each from its letter's commit to its end, P50 / P95 / P99 "
            f"{of_ends}; one worker, {SENDERS} senders",
        ),
        Figure(
            GROUP,
            f"{beside}: P99 of the wait for a claim",
            quantile(paced.claimed, 0.99) * 1e3,
            "ms",
            note=f"{size.paced} woken one by one; from the letter's commit to the claim, P50 / P95 {of_claims}; "
            f"to the run's end, P99 {quantile(paced.ended, 0.99) * 1e3:.1f} ms",
        ),
        Figure(
            GROUP,
            f"{beside}: CPU of an idle worker",
            idle.worker * 1e3,
            "ms a second",
            note=f"and of PostgreSQL {idle.server * 1e3:.1f}; over {size.idle_seconds:.0f} s; "
            f"{others_took(idle.others)}",
        ),
        Figure(GROUP, f"{beside}: memory of an idle worker", idle.rss / 2**20, "MiB", note="resident"),
    ]


async def _verified(
    bench: Bench, platform: "penstock.Penstock", connection: asyncpg.Connection, count: int, sample: int, filled: str
) -> Figure:
    """Chains and payloads of all runs that were woken, and of some that wait."""
    waiting = [row[0] for row in await connection.fetch(_CHOSEN, TENANT, sample)]
    ended = [row[0] for row in await connection.fetch(_OVER, TENANT)]
    bench.say(f"verifying {len(waiting) + len(ended):,} chains")
    for run in [*waiting, *ended]:
        audit = await verify_run(platform.journal, TENANT, run)
        if not audit.ok or audit.payloads == 0:
            raise RuntimeError(f"run {run} does not hold: {audit.broken}")
    note = f"all {len(ended):,} woken so far and {len(waiting)} that wait verify with their payloads; {filled}"
    return Figure(GROUP, f"beside {count:,}: lost or unverified", 0, "runs", note=note)
