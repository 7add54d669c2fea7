"""The queue: how long a quiet customer waits beside another's flood; what claims and submissions cost by depth."""

from collections.abc import Sequence
from uuid import UUID

from benchmarks.bench import Bench, clock
from benchmarks.figures import Figure, quantile
from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import PostgresJournal, open_journal
from penstock.events import RunSubmitted, encode
from penstock.journal.chain import genesis, link
from penstock.kernel.clock import SystemClock
from penstock.kernel.ids import new_id
from penstock.ports.queue import Bounds, Order
from penstock.ports.records import Batch, Claim, Move, NewRun, Row, Status, Summary

GROUP = "The queue"
TENANT, AGENT = "fairness", "bench-fairness"
FLOOD = 10_000
QUIET = 100  # runs of the quiet customer, one after each claim
CLAIM = 64
CUSTOMERS = 100
DEPTHS = (0, 10_000, 200_000)
ROUNDS = 60
BOUNDS = Bounds(10**9, 10**9)


async def measure(bench: Bench) -> list[Figure]:
    """Waits in claims and in time; then calls at several depths. One connection, ends included in the waits."""
    journal = await open_journal(ConnectionSettings(bench.server.dsn, pool_size=2))
    try:
        bench.say("a flood beside a quiet customer")
        figures = await _flood(journal, "fair", FLOOD // 10 if bench.quick else FLOOD)
        release, depth = "deep", 0
        for target in DEPTHS[: 2 if bench.quick else 3]:
            bench.say(f"claims and submissions with {target:,} queued")
            while depth < target:
                count = min(1000, target - depth)
                await _enter(journal, [_run(release, f"c{number % CUSTOMERS}") for number in range(count)])
                depth += count
            figures += await _calls(journal, release, target, 10 if bench.quick else ROUNDS)
    finally:
        await journal.close()
    return figures


async def _flood(journal: PostgresJournal, release: str, size: int) -> list[Figure]:
    worker = await _worker(journal, release)
    for _ in range(size // 1000):
        await _enter(journal, [_run(release, "loud") for _ in range(1000)])
    begun: dict[UUID, tuple[float, int]] = {}
    claimed = 0
    seconds: list[float] = []
    places: list[int] = []
    while len(places) < QUIET:
        if len(begun) < QUIET:
            run = _run(release, "quiet")
            begun[run.id] = clock(), claimed
            await _enter(journal, [run])
        claims = await journal.claim(worker, [release], CLAIM)
        for place, claim in enumerate(claims, claimed + 1):
            if claim.run in begun:
                since, before = begun[claim.run]
                seconds.append(clock() - since)
                places.append(place - before)
        claimed += len(claims)
        await _end(journal, claims)
    note = f"{size:,} runs of another customer were queued before; claims of {CLAIM}, each followed by the ends"
    return [
        Figure(GROUP, "P95 wait of a quiet customer", quantile(places, 0.95), "claimed runs", "4", note),
        Figure(GROUP, "P95 wait of a quiet customer, in time", quantile(seconds, 0.95) * 1e3, "ms", note=note),
    ]


async def _calls(journal: PostgresJournal, release: str, depth: int, rounds: int) -> list[Figure]:
    worker = await _worker(journal, f"{release}-{depth}")
    entering: list[float] = []
    claiming: list[float] = []
    for number in range(rounds):
        runs = [_run(release, f"c{(number + other) % CUSTOMERS}") for other in range(CLAIM)]
        begun = clock()
        await _enter(journal, runs)
        entered = clock()
        claims = await journal.claim(worker, [release], CLAIM)
        claiming.append(clock() - entered)
        entering.append(entered - begun)
        await _end(journal, claims)
    words = f"{depth:,} queued, {CUSTOMERS} customers"
    return [
        Figure(GROUP, f"a claim of {CLAIM}", quantile(claiming, 0.5) * 1e3, "ms", note=f"median; {words}"),
        Figure(GROUP, f"a submission of {CLAIM}", quantile(entering, 0.5) * 1e3, "ms", note=f"median; {words}"),
    ]


async def _worker(journal: PostgresJournal, name: str) -> UUID:
    worker = new_id(SystemClock())
    await journal.enlist(worker, f"fairness-{name}", 3600)
    return worker


def _run(release: str, customer: str) -> NewRun:
    now = SystemClock()
    run = new_id(now)
    tags = {"customer": customer}
    event = RunSubmitted(tenant=TENANT, run=run, agent=AGENT, at=now.now_us(), seq=1, release=release, tags=tags)
    body = encode(event)
    first = Row(1, body, link(genesis(TENANT, run), body))
    return NewRun(TENANT, run, AGENT, release, first, str(run), b"k" * 32, tags=tags)


async def _enter(journal: PostgresJournal, runs: Sequence[NewRun]) -> None:
    orders = [Order(run.tenant, run.agent, run.release, run.tags["customer"]) for run in runs]
    for run, rank in zip(runs, await journal.queue.admit(orders, BOUNDS), strict=True):
        run.rank = rank
    await journal.submit(runs)


async def _end(journal: PostgresJournal, claims: Sequence[Claim]) -> None:
    move = Move(Status.ENDED, outcome="succeeded")
    batches = [
        Batch(claim.tenant, claim.run, claim.epoch, claim.last_seq, [], Summary(), move=move) for claim in claims
    ]
    await journal.append(batches)
