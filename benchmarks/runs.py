"""Five-step runs from submission to their last event: runs a minute, and what each costs.

Workers are processes of their own. *Backlog*: all runs are submitted before the workers start. *Submitting*: one
process submits while the workers work, and counts.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import asyncpg

import penstock
from benchmarks import ticket
from benchmarks.bench import Bench, clock
from benchmarks.child import Child, cpu_seconds
from benchmarks.desk import AGENT
from benchmarks.figures import Figure, others_took
from penstock import Settings
from penstock.ports.agents import AgentDef
from penstock.runs.submit import Request
from penstock.views.audit import Audit, verify_run

GROUP = "Five-step runs"
SUBMIT_AT_A_TIME = 500
FIRST_GUESS = 300.0  # runs a second, for the size of the first warm-up only
TENANT = "bench"
TAGS = {"customer": "acme", "feature": "inbox"}

_OUTCOMES = "SELECT status, outcome, count(*) FROM penstock.runs WHERE tenant = $1 GROUP BY 1, 2"
_SAMPLE = "SELECT id FROM penstock.runs WHERE tenant = $1 ORDER BY md5(id::text) LIMIT $2"


@dataclass(slots=True, frozen=True)
class Desk:
    """Who does the tickets: the module whose ``AGENT`` the workers offer, that agent, tenant and tags of its runs."""

    module: str
    agent: AgentDef
    tenant: str
    tags: Mapping[str, str] = field(default_factory=lambda: TAGS)


@dataclass(slots=True)
class Spent:
    """What some runs took, all together. Seconds are of the wall for ``seconds``, else of processors."""

    runs: int
    seconds: float
    submit_seconds: float
    submit_cpu: float
    worker_cpu: float
    server_cpu: float
    wal_bytes: float
    commits: int
    blocks: int
    stored: dict[str, int]
    rss: int
    others: float  # cores that other work took meanwhile

    def a_minute(self) -> float:
        return 60 * self.runs / self.seconds

    def per_run(self, amount: float) -> float:
        return amount / self.runs


async def measure(bench: Bench) -> list[Figure]:
    """See the module.

    Raises:
        RuntimeError: a run was lost or doubled, did not succeed, or its chain does not hold.
    """
    numbers = Numbers()
    seconds = bench.seconds(26, 4)
    warm = await spend(bench, numbers, workers=1, runs=int(FIRST_GUESS * bench.seconds(5, 2)), alongside=False)
    rate = warm.runs / warm.seconds
    figures: list[Figure] = []
    for workers in (1, 2):
        backlog = await spend(bench, numbers, workers, int(rate * seconds), alongside=False)
        rate = backlog.runs / backlog.seconds
        submitting = await spend(bench, numbers, workers, int(rate * seconds * 0.8), alongside=True)
        figures += _told(workers, backlog, submitting)
        bench.rates[f"penstock {workers}"] = backlog.a_minute()
        if workers == 1:
            bench.rates["penstock cpu"] = backlog.per_run(backlog.worker_cpu + backlog.server_cpu + backlog.submit_cpu)
        else:
            figures += await _stored(bench, backlog)
    figures.append(await _verified(bench, numbers.next))
    return figures


class Numbers:
    """Ticket numbers, each given once."""

    def __init__(self) -> None:
        self.next = 0

    def take(self, count: int) -> range:
        taken = range(self.next, self.next + count)
        self.next = taken.stop
        return taken


async def spend(
    bench: Bench, numbers: Numbers, workers: int, runs: int, *, alongside: bool, desk: Desk | None = None
) -> Spent:
    """Submit so many runs, let the workers do them, and check that each was done once."""
    how = "while they are submitted" if alongside else "from a backlog"
    bench.say(f"{runs:,} runs, {workers} worker{'s' if workers > 1 else ''}, {how}")
    tickets = numbers.take(runs)
    desk = desk or Desk("benchmarks.desk", AGENT, TENANT)
    children = [
        await Child.start("runs_worker", dsn=bench.server.dsn, name=f"w{number}", desk=desk.module)
        for number in range(workers)
    ]
    before = await bench.server.reading()
    async with penstock.open(Settings(database_url=bench.server.dsn)) as platform:
        cpu, begun = cpu_seconds(), clock()
        submitting = asyncio.create_task(_submit(platform, tickets, desk))
        if not alongside:
            await submitting
        go = clock()
        for child in children:
            child.tell("go")
        submit_seconds = await submitting
        submit_cpu = cpu_seconds() - cpu
    await asyncio.gather(*(_until_all_ended(child, children, runs) for child in children))
    said = [await child.stop() for child in children]
    after = await bench.server.reading()
    counts: Counter[tuple[str, str]] = Counter()
    for words in said:
        for number, tool, times in words["done"]:
            counts[number, tool] += times
    if wrong := ticket.wrong(counts, tickets):
        raise RuntimeError(f"the tools of {len(wrong)} tickets did not act exactly once, among them {wrong[:5]}")
    worker_cpu = sum(words["cpu"] for words in said)
    server_cpu = after.cpu_seconds - before.cpu_seconds
    return Spent(
        runs=runs,
        seconds=max(words["last"] for words in said) - (begun if alongside else go),
        submit_seconds=submit_seconds,
        submit_cpu=submit_cpu,
        worker_cpu=worker_cpu,
        server_cpu=server_cpu,
        wal_bytes=after.wal_bytes - before.wal_bytes,
        commits=after.commits - before.commits,
        blocks=after.blocks - before.blocks,
        stored={name: size - before.sizes.get(name, 0) for name, size in after.sizes.items()},
        rss=max(words["rss"] for words in said),
        others=after.others(before, worker_cpu + server_cpu + submit_cpu),
    )


async def _until_all_ended(child: Child, children: list[Child], runs: int) -> None:
    await child.until(lambda _: sum(other.said.get("ended", 0) for other in children) >= runs)
    for other in children:
        other.changed.set()


async def _submit(platform: "penstock.Penstock", tickets: range, desk: Desk) -> float:
    """Submit the tickets in groups; seconds it took."""
    begun = clock()
    for start in range(0, len(tickets), SUBMIT_AT_A_TIME):
        group = tickets[start : start + SUBMIT_AT_A_TIME]
        await platform.submit_many(
            [Request(desk.agent, ticket.text_of(number), tags=dict(desk.tags), tenant=desk.tenant) for number in group]
        )
    return clock() - begun


def _told(workers: int, backlog: Spent, submitting: Spent) -> list[Figure]:
    who = f"{workers} worker process{'es' if workers > 1 else ''}"
    figures = [
        Figure(
            GROUP,
            f"{who}, from a backlog",
            backlog.a_minute(),
            "runs a minute",
            "100,000" if workers == 2 else "",
            f"{backlog.runs:,} runs in {backlog.seconds:.1f} s; {others_took(backlog.others)}",
        ),
        Figure(
            GROUP,
            f"{who}, submitting included",
            submitting.a_minute(),
            "runs a minute",
            note=f"{submitting.runs:,} runs in {submitting.seconds:.1f} s, submitted by a further process meanwhile, "
            f"which took {submitting.per_run(submitting.submit_cpu) * 1e3:.2f} ms of CPU a run; "
            f"{others_took(submitting.others)}",
        ),
        Figure(GROUP, f"{who}: CPU of the workers", backlog.per_run(backlog.worker_cpu) * 1e3, "ms a run"),
        Figure(
            GROUP,
            f"{who}: CPU of PostgreSQL",
            backlog.per_run(backlog.server_cpu) * 1e3,
            "ms a run",
            note="all its processes, submission included",
        ),
        Figure(
            GROUP,
            f"{who}: cores busy",
            (backlog.worker_cpu + backlog.server_cpu) / (backlog.seconds + backlog.submit_seconds),
            "cores",
            note="workers and PostgreSQL, over submission and work",
        ),
    ]
    if workers == 1:
        rate = backlog.runs / backlog.submit_seconds
        figures.append(Figure(GROUP, "submitting alone", rate, "runs/s", note=f"{SUBMIT_AT_A_TIME} at a time"))
    return figures


async def _stored(bench: Bench, spent: Spent) -> list[Figure]:
    """What a run leaves behind. ``spent`` is the last backlog."""
    connection = await asyncpg.connect(bench.server.dsn)
    try:
        events = await connection.fetchval("SELECT avg(last_seq)::float8 FROM penstock.runs WHERE tenant = $1", TENANT)
    finally:
        await connection.close()
    parts = ", ".join(
        f"{name} {size / spent.runs:,.0f}"
        for name, size in sorted(spent.stored.items(), key=lambda item: -item[1])
        if size
    )
    return [
        Figure(GROUP, "events", events, "a run", note="from submission to the end, each chained to the one before"),
        Figure(GROUP, "events, 2 workers", events * spent.runs / spent.seconds, "events/s", note="durable, end to end"),
        Figure(
            GROUP,
            "stored",
            spent.per_run(sum(spent.stored.values())),
            "bytes a run",
            note=f"growth of the tables with indexes, of which {parts}",
        ),
        Figure(GROUP, "write-ahead log", spent.per_run(spent.wal_bytes), "bytes a run", note="submission included"),
        Figure(GROUP, "commits", spent.per_run(spent.commits), "a run", note="group commit; every append is flushed"),
        Figure(GROUP, "memory of a worker", spent.rss / 2**20, "MiB", note="resident, at the end"),
    ]


async def _verified(bench: Bench, runs: int) -> Figure:
    """All runs ended well, and a sample of chains holds."""
    sample = 100 if bench.quick else 1000
    bench.say(f"verifying {runs:,} outcomes and {sample:,} chains")
    connection = await asyncpg.connect(bench.server.dsn)
    try:
        outcomes = await connection.fetch(_OUTCOMES, TENANT)
        ids = await connection.fetch(_SAMPLE, TENANT, sample)
    finally:
        await connection.close()
    if [tuple(row) for row in outcomes] != [("ended", "succeeded", runs)]:
        raise RuntimeError(f"{runs:,} runs were submitted; the journal has {[tuple(row) for row in outcomes]}")
    audit = Audit()
    async with penstock.open(Settings(database_url=bench.server.dsn)) as platform:
        for (run,) in ids:
            one = await verify_run(platform.journal, TENANT, run)
            audit.runs += one.runs
            audit.events += one.events
            audit.broken += one.broken
    if not audit.ok:
        raise RuntimeError(f"{len(audit.broken)} chains do not hold, the first: {audit.broken[0]}")
    return Figure(
        GROUP,
        "lost, doubled or unverified",
        0,
        "runs",
        note=f"all {runs:,} ended as succeeded; each of their {ticket.TOOL_CALLS} tools acted once, counted inside it; "
        f"{audit.runs:,} sampled chains and their payloads verify",
    )
