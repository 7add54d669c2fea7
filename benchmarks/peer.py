"""The peer: LangGraph with its PostgreSQL checkpointer, the same nine steps on the same server."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.bench import Bench
from benchmarks.child import Child
from benchmarks.figures import Figure, others_took

GROUP = "The peer: LangGraph with AsyncPostgresSaver"
POOL = 10
TRIES = ((1, 1), (8, 8), (32, 8))
"""Tickets at a time and savers in one process, of which the best is taken. A saver holds one lock over its work with
the database, so with one for all the pool would be of no use."""
DURABILITIES = (("async", "the default"), ("sync", "each step is stored before the next"))


@dataclass(slots=True)
class Rate:
    """What one setting reached; CPU in seconds, the rest of the server in bytes."""

    concurrency: int
    savers: int
    runs: int
    seconds: float
    cpu: float
    server_cpu: float
    wal_bytes: float
    commits: int
    stored: int
    others: float  # cores that other work took meanwhile

    def a_minute(self) -> float:
        return 60 * self.runs / self.seconds


async def measure(bench: Bench) -> list[Figure]:
    """See the module.

    Raises:
        RuntimeError: a graph did not do its tools once each.
    """
    await bench.server.make_peer_database()
    dsn = bench.server.peer_dsn
    children = [await Child.start("peer_worker", dsn=dsn, pool=POOL, first=place, step=2) for place in range(2)]
    figures: list[Figure] = []
    for durability, words in DURABILITIES:
        tries = TRIES[1:2] if bench.quick else TRIES
        tried = [await _rate(bench, children[:1], durability, how, bench.seconds(3, 1)) for how in tries]
        best = max(tried, key=Rate.a_minute)
        for processes in (1, 2):
            how = best.concurrency, best.savers
            rate = await _rate(bench, children[:processes], durability, how, bench.seconds(10, 2))
            figures += _told(bench, f'`durability="{durability}"`', words, processes, rate, tried)
    for child in children:
        await child.stop()
    return figures


async def _rate(bench: Bench, children: Sequence[Child], durability: str, how: tuple[int, int], seconds: float) -> Rate:
    concurrency, savers = how
    bench.say(f"peer: {durability}, {len(children)} process(es), {concurrency} at a time, {savers} saver(s)")
    trial = json.dumps({"durability": durability, "concurrency": concurrency, "savers": savers, "seconds": seconds})
    before = await bench.server.reading(bench.server.peer_dsn)
    said: list[dict[str, Any]] = list(await asyncio.gather(*(child.asked(trial) for child in children)))
    after = await bench.server.reading(bench.server.peer_dsn)
    if any(words["wrong"] for words in said):
        raise RuntimeError("the peer's tools did not act exactly once for each ticket")
    cpu, server_cpu = sum(words["cpu"] for words in said), after.cpu_seconds - before.cpu_seconds
    return Rate(
        concurrency,
        savers,
        runs=sum(words["ended"] for words in said),
        seconds=max(words["seconds"] for words in said),
        cpu=cpu,
        server_cpu=server_cpu,
        wal_bytes=after.wal_bytes - before.wal_bytes,
        commits=after.commits - before.commits,
        stored=sum(after.sizes.values()) - sum(before.sizes.values()),
        others=after.others(before, cpu + server_cpu),
    )


def _told(bench: Bench, durability: str, words: str, processes: int, rate: Rate, tried: Sequence[Rate]) -> list[Figure]:
    name = f"{durability}, {processes} process{'es' if processes > 1 else ''}"
    others = ", ".join(f"{item.concurrency}/{item.savers} {item.a_minute():,.0f}" for item in tried)
    how = f"{words}; tickets at a time/savers {rate.concurrency}/{rate.savers}, the best in one process of {others}"
    how += f"; {others_took(rate.others)}"
    figures = [Figure(GROUP, name, rate.a_minute(), "runs a minute", note=how)]
    ours = bench.rates.get(f"penstock {processes}")
    if ours is not None:
        against = f"Penstock, {processes} worker process{'es' if processes > 1 else ''}, from a backlog"
        figures.append(
            Figure(GROUP, f"{name}: **ratio**", ours / rate.a_minute(), "times", note=f"{against}, divided by this")
        )
    if processes == 1:
        stored = f"write-ahead log {rate.wal_bytes / rate.runs:,.0f} bytes"
        figures += [
            Figure(GROUP, f"{name}: CPU of the process", rate.cpu / rate.runs * 1e3, "ms a run"),
            Figure(GROUP, f"{name}: CPU of PostgreSQL", rate.server_cpu / rate.runs * 1e3, "ms a run"),
            *_cpu_ratio(bench, name, rate),
            Figure(GROUP, f"{name}: stored", rate.stored / rate.runs, "bytes a run", note=stored),
        ]
    return figures


def _cpu_ratio(bench: Bench, name: str, rate: Rate) -> list[Figure]:
    """The steadiest comparison: other work on the machine lengthens the wall's time far more."""
    ours = bench.rates.get("penstock cpu")
    if ours is None:
        return []
    note = "both with PostgreSQL's; Penstock's with submission"
    return [
        Figure(GROUP, f"{name}: **ratio of CPU**", (rate.cpu + rate.server_cpu) / rate.runs / ours, "times", note=note)
    ]
