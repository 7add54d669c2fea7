"""The peers, the same nine steps on the same server: LangGraph, DBOS, and LangGraph as jobs of procrastinate."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.bench import Bench
from benchmarks.child import Child
from benchmarks.figures import Figure, others_took

POOL = 10


@dataclass(slots=True, frozen=True)
class Peer:
    """One system that does the same nine steps.

    Attributes:
        modes: its own ways to store, with a word on each.
        tries: tickets at a time, and lanes, in one process, of which the best is taken.
    """

    group: str
    module: str
    modes: tuple[tuple[str, str], ...]
    tries: tuple[tuple[int, int], ...]


PEERS = (
    # A saver holds one lock over its work with the database, so with one for all the pool would be of no use.
    Peer(
        "The peer: LangGraph with AsyncPostgresSaver",
        "peer_worker",
        (('`durability="async"`', "the default"), ('`durability="sync"`', "each step is stored before the next")),
        ((1, 1), (8, 8), (32, 8)),
    ),
    Peer(
        "The peer: DBOS, called directly without its queue",
        "dbos_worker",
        (("workflow of nine steps", "each step is stored before the next"),),
        ((1, 1), (8, 1), (32, 1)),
    ),
    Peer(
        "The peer: LangGraph as jobs of procrastinate",
        "procrastinate_worker",
        (('`durability="sync"`', "one queue for each process, filled before"),),
        ((8, 1), (32, 1)),
    ),
)


@dataclass(slots=True)
class Rate:
    """What one setting reached; CPU in seconds, the rest of the server in bytes."""

    concurrency: int
    lanes: int
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
        RuntimeError: a peer did not do its tools once each.
    """
    await bench.server.make_peer_database()
    figures: list[Figure] = []
    for peer in PEERS:
        figures += await _measure(bench, peer)
    return figures


async def _measure(bench: Bench, peer: Peer) -> list[Figure]:
    dsn = bench.server.peer_dsn
    children = [await Child.start(peer.module, dsn=dsn, pool=POOL, first=place, step=2) for place in range(2)]
    figures: list[Figure] = []
    for mode, words in peer.modes:
        tries = peer.tries[1:2] if bench.quick else peer.tries
        tried = [await _rate(bench, children[:1], mode, how, bench.seconds(3, 1)) for how in tries]
        best = max(tried, key=Rate.a_minute)
        for processes in (1, 2):
            how = best.concurrency, best.lanes
            rate = await _rate(bench, children[:processes], mode, how, bench.seconds(10, 2))
            figures += _told(bench, peer.group, mode, words, processes, rate, tried)
    for child in children:
        await child.stop()
    return figures


async def _rate(bench: Bench, children: Sequence[Child], mode: str, how: tuple[int, int], seconds: float) -> Rate:
    concurrency, lanes = how
    bench.say(f"peer: {mode}, {len(children)} process(es), {concurrency} at a time, {lanes} lane(s)")
    word = mode.split('"')[1] if '"' in mode else mode
    trial = json.dumps({"mode": word, "concurrency": concurrency, "lanes": lanes, "seconds": seconds})
    before = await bench.server.reading(bench.server.peer_dsn)
    said: list[dict[str, Any]] = list(await asyncio.gather(*(child.asked(trial) for child in children)))
    after = await bench.server.reading(bench.server.peer_dsn)
    if any(words["wrong"] for words in said):
        raise RuntimeError("the peer's tools did not act exactly once for each ticket")
    cpu, server_cpu = sum(words["cpu"] for words in said), after.cpu_seconds - before.cpu_seconds
    return Rate(
        concurrency,
        lanes,
        runs=sum(words["ended"] for words in said),
        seconds=max(words["seconds"] for words in said),
        cpu=cpu,
        server_cpu=server_cpu,
        wal_bytes=after.wal_bytes - before.wal_bytes,
        commits=after.commits - before.commits,
        stored=sum(after.sizes.values()) - sum(before.sizes.values()),
        others=after.others(before, cpu + server_cpu),
    )


def _told(
    bench: Bench, group: str, mode: str, words: str, processes: int, rate: Rate, tried: Sequence[Rate]
) -> list[Figure]:
    name = f"{mode}, {processes} process{'es' if processes > 1 else ''}"
    others = ", ".join(f"{item.concurrency}/{item.lanes} {item.a_minute():,.0f}" for item in tried)
    how = f"{words}; tickets at a time/lanes {rate.concurrency}/{rate.lanes}, the best in one process of {others}"
    how += f"; {others_took(rate.others)}"
    figures = [Figure(group, name, rate.a_minute(), "runs a minute", note=how)]
    ours = bench.rates.get(f"penstock {processes}")
    if ours is not None:
        against = f"Penstock, {processes} worker process{'es' if processes > 1 else ''}, from a backlog"
        figures.append(
            Figure(group, f"{name}: **ratio**", ours / rate.a_minute(), "times", note=f"{against}, divided by this")
        )
    if processes == 1:
        stored = f"write-ahead log {rate.wal_bytes / rate.runs:,.0f} bytes"
        figures += [
            Figure(group, f"{name}: CPU of the process", rate.cpu / rate.runs * 1e3, "ms a run"),
            Figure(group, f"{name}: CPU of PostgreSQL", rate.server_cpu / rate.runs * 1e3, "ms a run"),
            *_cpu_ratio(bench, group, name, rate),
            Figure(group, f"{name}: stored", rate.stored / rate.runs, "bytes a run", note=stored),
        ]
    return figures


def _cpu_ratio(bench: Bench, group: str, name: str, rate: Rate) -> list[Figure]:
    """The steadiest comparison: other work on the machine lengthens the wall's time far more."""
    ours = bench.rates.get("penstock cpu")
    if ours is None:
        return []
    note = "both with PostgreSQL's; Penstock's with submission"
    return [
        Figure(group, f"{name}: **ratio of CPU**", (rate.cpu + rate.server_cpu) / rate.runs / ours, "times", note=note)
    ]
