"""The staircase: five-step runs arriving at a rate that climbs, whatever the platform can take.

Arrivals are open-loop (Poisson, by a process of their own): a platform that falls behind does not slow them down, and
a run's wait is counted from when it was due, not from when somebody got round to submitting it.
"""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from benchmarks import ticket
from benchmarks.bench import Bench
from benchmarks.child import Child
from benchmarks.figures import Figure, others_took, quantile, shown
from benchmarks.runs import TENANT
from penstock.events import ModelOutcome, RunClaimed, ToolOutcome, decode

GROUP = "The staircase"
STAIRS = ((100, 20.0), (1_000, 20.0), (10_000, 60.0), (30_000, 30.0), (100_000, 20.0))
"""Arrivals a minute, and for how many seconds."""
QUICK_SECONDS = 4.0
WORKERS = 2
SAMPLE = 3_000  # runs whose tapes are read, chosen evenly
HELD_SECONDS = 2.0  # a stair is held when its last run has ended this long after the last was due
FIRST_TICKET = 10_000_000  # apart from those of other measurements
BUSY_CORES = 1.8  # of two: above it the processors give way

_TAPES = "SELECT run_id, body FROM penstock.events WHERE tenant = $1 AND run_id = ANY ($2::uuid[]) ORDER BY run_id, seq"
_ENDED = """
SELECT count(*) FILTER (WHERE outcome = 'succeeded'), count(*),
       (extract(epoch FROM max(ended_at)) * 1000000)::bigint
FROM penstock.runs WHERE tenant = $1 AND id = ANY ($2::uuid[])"""


@dataclass(slots=True)
class Stair:
    """What one rate came to. Times in seconds; waits from when a run was due to when a worker began it."""

    rate: int
    seconds: float
    runs: int
    waits: list[float]
    steps: list[float]  # from one outcome to the next: all that the platform adds, since the model takes no time
    drained: float  # from the last arrival to the last end
    worker_cores: list[float]
    submit_cores: float
    server_cores: float
    wal_bytes: float
    others: float

    @property
    def held(self) -> bool:
        return self.drained <= HELD_SECONDS

    def gave_way(self) -> str:
        """What was exhausted first."""
        busy = sum(self.worker_cores) + self.server_cores + self.submit_cores
        parts = f"workers {sum(self.worker_cores):.2f}, PostgreSQL {self.server_cores:.2f}, submitter "
        parts += f"{self.submit_cores:.2f} cores"
        if busy + self.others >= BUSY_CORES:
            return f"the processors ({parts})"
        return f"not the processors ({parts}): waits for the disk or for locks"


async def measure(bench: Bench) -> list[Figure]:
    """See the module.

    Raises:
        RuntimeError: a run was lost or doubled, or did not succeed.
    """
    submitter = await Child.start("staircase_submitter", dsn=bench.server.dsn)
    figures: list[Figure] = []
    stairs: list[Stair] = []
    first = FIRST_TICKET
    for rate, seconds in STAIRS:
        held = QUICK_SECONDS if bench.quick else seconds
        bench.say(f"{rate:,} arrivals a minute for {held:g} s")
        stair = await _stair(bench, submitter, first, rate, held)
        first += stair.runs
        stairs.append(stair)
        figures += _told(stair)
    await submitter.stop()
    best = max((stair.rate for stair in stairs if stair.held), default=0)
    given = next((stair for stair in stairs if not stair.held), None)
    note = f"at {given.rate:,} a minute gave way: {given.gave_way()}" if given else "no stair gave way"
    return [*figures, Figure(GROUP, "**highest stair held**", best, "arrivals a minute", "10,000; aim 100,000", note)]


async def _stair(bench: Bench, submitter: Child, first: int, rate: int, seconds: float) -> Stair:
    names = [f"stair-{rate}-{number}" for number in range(WORKERS)]
    workers = [await Child.start("runs_worker", dsn=bench.server.dsn, name=name) for name in names]
    before = await bench.server.reading()
    for worker in workers:
        worker.tell("go")
    said = await submitter.asked(json.dumps({"first": first, "rate": rate, "seconds": seconds}))
    ids, due = [UUID(hex=text) for text in said["ids"]], said["due"]
    await asyncio.gather(*(_until_all_ended(worker, workers, len(ids)) for worker in workers))
    done = [await worker.stop() for worker in workers]
    after = await bench.server.reading()
    took = after.at - before.at
    acted: Counter[tuple[str, str]] = Counter()
    for words in done:
        for number, tool, times in words["done"]:
            acted[number, tool] += times
    if wrong := ticket.wrong(acted, range(first, first + len(ids))):
        raise RuntimeError(f"the tools of {len(wrong)} tickets did not act exactly once, among them {wrong[:5]}")
    waits, steps, last = await _read(bench, ids, due)
    worker_cpu, server_cpu = [words["cpu"] for words in done], after.cpu_seconds - before.cpu_seconds
    return Stair(
        rate=rate,
        seconds=seconds,
        runs=len(ids),
        waits=waits,
        steps=steps,
        drained=(last - due[-1]) / 1e6,
        worker_cores=[cpu / took for cpu in worker_cpu],
        submit_cores=said["cpu"] / took,
        server_cores=server_cpu / took,
        wal_bytes=after.wal_bytes - before.wal_bytes,
        others=after.others(before, sum(worker_cpu) + server_cpu + said["cpu"]),
    )


async def _until_all_ended(worker: Child, workers: list[Child], runs: int) -> None:
    await worker.until(lambda _: sum(other.said.get("ended", 0) for other in workers) >= runs)
    for other in workers:
        other.changed.set()


async def _read(bench: Bench, ids: list[UUID], due: list[int]) -> tuple[list[float], list[float], int]:
    """Waits and steps of a sample, and when the last run ended (µs)."""
    connection = await asyncpg.connect(bench.server.dsn)
    try:
        succeeded, found, last = await connection.fetchrow(_ENDED, TENANT, ids)
        if (succeeded, found) != (len(ids), len(ids)):
            raise RuntimeError(f"{len(ids):,} runs were submitted; {found:,} are there and {succeeded:,} succeeded")
        step = max(1, len(ids) // SAMPLE)
        sample = dict(zip(ids[::step], due[::step], strict=True))
        rows = await connection.fetch(_TAPES, TENANT, list(sample))
    finally:
        await connection.close()
    waits, steps, before = [], [], 0
    for run, body in rows:
        event: Any = decode(body)
        if isinstance(event, RunClaimed):
            waits.append((event.at - sample[run]) / 1e6)
            before = event.at
        elif isinstance(event, ModelOutcome | ToolOutcome):
            steps.append((event.at - before) / 1e6)
            before = event.at
    return waits, steps, last


def _told(stair: Stair) -> list[Figure]:
    def of(samples: list[float]) -> str:
        return " / ".join(f"{shown(quantile(samples, share) * 1e3)} ms" for share in (0.5, 0.95, 0.99))

    name = f"{stair.rate:,} a minute"
    verdict = "held" if stair.held else f"**not held**: the last run ended {stair.drained:.0f} s after the last arrival"
    cores = sum(stair.worker_cores) + stair.server_cores + stair.submit_cores
    return [
        Figure(
            GROUP,
            f"{name}: P99 of overhead a step",
            quantile(stair.steps, 0.99) * 1e3,
            "ms",
            "25" if stair.rate == 10_000 else "",
            f"{verdict}; {stair.runs:,} runs in {stair.seconds:g} s; overhead a step P50 / P95 / P99 {of(stair.steps)}",
        ),
        Figure(
            GROUP,
            f"{name}: P99 of wait",
            quantile(stair.waits, 0.99) * 1e3,
            "ms",
            note=f"from due to begun, P50 / P95 / P99 {of(stair.waits)}",
        ),
        Figure(
            GROUP,
            f"{name}: cores busy",
            cores,
            "cores",
            note=f"workers {sum(stair.worker_cores):.2f}, PostgreSQL {stair.server_cores:.2f}, submitter "
            f"{stair.submit_cores:.2f}; write-ahead log {stair.wal_bytes / stair.runs:,.0f} bytes a run; "
            f"{others_took(stair.others)}",
        ),
    ]
