"""A thousand viewers of one run, and of the list of runs, as server-sent events of `penstock serve` over HTTP: the time
until an event is there, what each costs the server, and whether more viewers make it read more.

The server is a process of its own without a worker; the run is worked on in another, and the viewers are in others
again. All share the machine: the time until an event is there holds the viewers' own share. When it is over, each
viewer has to have seen the same, and that has to be what the journal holds.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from benchmarks.bench import Bench, Unavailable, clock
from benchmarks.child import Child
from benchmarks.figures import Figure
from benchmarks.served import Asking, Served, asking, serving
from benchmarks.viewers_worker import TICKS
from benchmarks.watched import EVERY_SECONDS

RUN_GROUP = "Viewers of one run"
LIST_GROUP = "Viewers of the list of runs"
COUNTS, QUICK_COUNTS = (1, 100, 1_000), (1, 20, 100)
A_PROCESS = 500
"""Viewers in one process."""
QUIET = (6.0, 3.0)
GOING = (12.0, 4.0)
SETTLE_SECONDS = 2.5
"""After joining: longer than the server's heartbeat."""
IDLE_SECONDS = 10.5
"""After many have joined: a session of PostgreSQL that has become idle tells after ten seconds what it has committed
(PGSTAT_IDLE_INTERVAL), and that belongs to the joining."""
WARM_RUNS = 20
PATIENCE_SECONDS = 30.0
RUNS_A_SECOND = 5
AGENT = "watched"
LIST_LIMIT = 100
"""Runs whose changes the server tells."""
_COMMITS = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"


@dataclass(slots=True, frozen=True)
class Spent:
    """What a stretch of time took: seconds of the wall, of the server's CPU, transactions of the whole database."""

    seconds: float
    cpu: float
    commits: int


@dataclass(slots=True)
class Watched:
    """What so many viewers saw, and what it took."""

    viewers: int
    quiet: Spent
    going: Spent
    late: Counter[int]
    frames: int
    resident: float  # MiB, with all of them there

    def late_ms(self, share: float) -> float:
        """The time within which that share of the frames was there."""
        left = int(share * self.late.total())
        for ticks in sorted(self.late):
            left -= self.late[ticks]
            if left < 0:
                return ticks * 1000 / TICKS
        raise ValueError("no viewer has seen anything")


async def measure(bench: Bench) -> list[Figure]:
    """See the module.

    Raises:
        RuntimeError: a viewer missed an event, or saw one twice, or another one than the journal has.
        Unavailable: no process here may have so many files open.
    """
    counts = QUICK_COUNTS if bench.quick else COUNTS
    _check_files(max(counts))
    worker = await Child.start("runs_worker", dsn=bench.server.dsn, name="watched", desk="benchmarks.watched")
    worker.tell("go")
    connection = await asyncpg.connect(bench.server.dsn)
    try:
        async with serving(bench, "viewers", "benchmarks.watched", "--no-worker") as served:
            server = _Server(bench, served, asking(served), worker, connection)
            await server.warm()
            rest = served.resident_mib()
            alone = await server.run(0)
            runs = [await server.run(count) for count in counts]
            bare = await server.topic(0)
            lists = [await server.topic(count) for count in (counts[0], counts[-1])]
    finally:
        await connection.close()
        await worker.stop()
    return [*_told(RUN_GROUP, alone, runs, rest), *_told(LIST_GROUP, bare, lists, rest), _whole(runs, lists)]


class _Server:
    """The measured server, and all that is asked of it."""

    def __init__(
        self, bench: Bench, served: Served, ask: Asking, worker: Child, connection: asyncpg.Connection
    ) -> None:
        self._bench = bench
        self._served = served
        self._ask = ask
        self._worker = worker
        self._connection = connection
        self._ended = 0

    async def warm(self) -> None:
        """Have the server and the worker do once what is measured later."""
        for _ in range(WARM_RUNS):
            self._submit(1, waits=False)
        await self._worker.until(lambda words: words.get("ended", 0) >= WARM_RUNS)
        self._ended = WARM_RUNS

    async def run(self, viewers: int) -> Watched:
        """A run with so many viewers, from the quiet before it until all have seen its end."""
        self._bench.say(f"one run, {viewers:,} viewers")
        beats = int(self._bench.seconds(*GOING) / EVERY_SECONDS)
        run = self._submit(beats, waits=True)

        async def is_parked() -> bool:
            return bool(self._ask.get(f"/v1/runs/{run}")["status"] == "parked")

        await self._until(is_parked, "the run waits")
        children = await self._join(f"/v1/runs/{run}/stream", "event", viewers)
        quiet = await self._spent(asyncio.sleep(self._bench.seconds(*QUIET)))
        said: list[dict[str, Any]] = []
        resident = self._served.resident_mib()

        async def watch() -> None:
            self._ask.post(f"/v1/runs/{run}/events", {"name": "go"})
            said.extend(await asyncio.gather(*(child.asked("over") for child in children)))
            await self._worker.until(lambda words: words.get("ended", 0) > self._ended)

        going = await self._spent(watch())
        self._ended = self._worker.said["ended"]
        stored = self._ask.get(f"/v1/runs/{run}/events?limit=1000")["items"]
        wanted = [[item["seq"], item["body"]] for item in stored]
        if len(wanted) < 2 * beats or [item[0] for item in wanted] != list(range(1, len(wanted) + 1)):
            raise RuntimeError(f"the run has {len(wanted)} events after {beats} calls")
        for words in said:
            if words.get("seen") != wanted:
                raise RuntimeError(words.get("wrong", "the viewers saw other events than the journal has"))
        if sum(words["frames"] for words in said) != viewers * len(wanted):
            raise RuntimeError("an event was lost or doubled")
        return await self._watched(viewers, quiet, going, said, children, resident)

    async def topic(self, viewers: int) -> Watched:
        """The topic of runs with so many viewers, while runs are submitted."""
        self._bench.say(f"the list of runs, {viewers:,} viewers")
        children = await self._join("/v1/stream?topics=runs", "runs", viewers)
        count = int(self._bench.seconds(*GOING)) * RUNS_A_SECOND

        async def submit() -> None:
            begun = clock()
            for number in range(count):
                await asyncio.sleep(max(0.0, begun + number / RUNS_A_SECOND - clock()))
                self._submit(0, waits=False)
            await self._worker.until(lambda words: words.get("ended", 0) >= self._ended + count)

        resident = self._served.resident_mib()
        going = await self._spent(submit())
        self._ended = self._worker.said["ended"]
        said: list[dict[str, Any]] = []

        async def is_told() -> bool:
            items = self._ask.get(f"/v1/runs?limit={LIST_LIMIT}")["items"]
            said[:] = await asyncio.gather(*(child.asked("lines") for child in children))
            return all("lines" in words and all(words["lines"].get(i["id"]) == i for i in items) for words in said)

        await self._until(is_told, "all viewers have the list as it is")
        # Their last news came to all at once, so from here on their heartbeats fall together: the worst case.
        await asyncio.sleep(SETTLE_SECONDS)
        quiet = await self._spent(asyncio.sleep(self._bench.seconds(*QUIET)))
        return await self._watched(viewers, quiet, going, said, children, resident)

    def _submit(self, beats: int, *, waits: bool) -> str:
        given = {"agent": AGENT, "input": {"beats": beats, "waits": waits}}
        return str(self._ask.post("/v1/runs", given)["id"])

    async def _join(self, path: str, kind: str, viewers: int) -> list[Child]:
        options = {"port": self._served.port, "key": self._served.key, "path": path, "kind": kind}
        children = []
        for start in range(0, viewers, A_PROCESS):
            many = min(A_PROCESS, viewers - start)
            children.append(await Child.start("viewers_worker", **options, count=many))
        await asyncio.gather(*(child.asked("joined") for child in children))
        await asyncio.sleep(SETTLE_SECONDS if viewers <= 1 or self._bench.quick else IDLE_SECONDS)
        await asyncio.gather(*(child.asked("go") for child in children))
        return children

    async def _spent(self, work: Awaitable[None]) -> Spent:
        cpu, commits, begun = self._served.cpu_seconds(), await self._commits(), clock()
        await work
        seconds = clock() - begun
        return Spent(seconds, self._served.cpu_seconds() - cpu, await self._commits() - commits)

    async def _commits(self) -> int:
        """Sessions tell what they committed at most once a second: over ten seconds a tenth of them is uncertain."""
        await self._connection.execute("SELECT pg_stat_clear_snapshot()")
        return int(await self._connection.fetchval(_COMMITS))

    async def _watched(
        self,
        viewers: int,
        quiet: Spent,
        going: Spent,
        said: Sequence[dict[str, Any]],
        children: Sequence[Child],
        resident: float,
    ) -> Watched:
        late: Counter[int] = Counter()
        for words in said:
            late.update({int(ticks): count for ticks, count in words["late"].items()})
        for child in children:
            await child.stop()
        frames = sum(words["frames"] for words in said)
        return Watched(viewers, quiet, going, late, frames, max(resident, self._served.resident_mib()))

    async def _until(self, holds: Callable[[], Awaitable[bool]], what: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not await holds():  # noqa: ASYNC110 - other processes make it so
                    await asyncio.sleep(0.2)
        except TimeoutError:
            raise RuntimeError(f"not within {PATIENCE_SECONDS:.0f} s: {what}") from None


def _check_files(viewers: int) -> None:
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= hard < viewers + 200:
        raise Unavailable(f"a process may have {hard:,} files open here; {viewers:,} viewers need more: ulimit -Hn")


def _told(group: str, alone: Watched, watched: Sequence[Watched], rest: float) -> list[Figure]:
    figures = []
    for one in watched:
        name = f"{one.viewers:,} viewer{'s' if one.viewers > 1 else ''}"
        when = "from the commit of an event" if group == RUN_GROUP else "from a run's submission"
        quantiles = f"P50 {one.late_ms(0.5):.0f} ms, P99 {one.late_ms(0.99):.0f} ms"
        note = f"{when} until a viewer has it, by the journal's clock; {quantiles}; {one.frames:,} frames"
        figures.append(Figure(group, f"{name}: delivery, P95", one.late_ms(0.95), "ms", note=note))
        reads = one.going.commits / one.going.seconds - alone.going.commits / alone.going.seconds
        still = one.quiet.commits / one.quiet.seconds - alone.quiet.commits / alone.quiet.seconds
        note = f"beyond those without viewers; {still:.1f} while nothing happens"
        figures.append(Figure(group, f"{name}: reads of the journal", reads, "transactions/s", "not to grow", note))
    most = watched[-1]
    added = most.going.cpu - alone.going.cpu / alone.going.seconds * most.going.seconds
    idle = most.quiet.cpu / most.quiet.seconds - alone.quiet.cpu / alone.quiet.seconds
    name = f"{most.viewers:,} viewers"
    busy = f"{most.going.cpu / most.going.seconds:.2f} cores, {most.frames / most.going.seconds:,.0f} frames/s"
    beats = "heartbeats, and whether each may go on looking"
    grown = most.resident - rest
    size = f"{rest:.0f} MiB before; {grown * 1024 / most.viewers:.0f} KiB a viewer"
    return [
        *figures,
        Figure(group, f"{name}: a delivered event", added / most.frames * 1e6, "µs of CPU", note=f"server; {busy}"),
        Figure(group, f"{name}, nothing happens", idle * 1000, "ms of CPU a second", note=f"server; {beats}"),
        Figure(group, f"{name}: memory of the server", most.resident, "MiB", note=size),
    ]


def _whole(runs: Sequence[Watched], lists: Sequence[Watched]) -> Figure:
    frames = sum(one.frames for one in runs)
    note = (
        f"each viewer saw what the journal holds, in its order: {frames:,} events compared; and all who looked at the "
        f"list ended with it as it is: {sum(one.viewers for one in lists):,} lists compared"
    )
    return Figure(RUN_GROUP, "lost, doubled or out of order", 0, "events", note=note)
