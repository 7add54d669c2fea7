"""The kill switch: how many calls begin after a stop is sealed, and how soon it is, in races of an engine in one
process and of several worker processes on PostgreSQL.

A simulated race is of one seed: see `kill_races`. A real one has three worker processes with 24 runs that write all the
time; at a moment that is drawn a scope is killed (a run, a session, an agent, a release, a tool, a customer, an
environment, a tenant, everything). Counted are intents in the scope that the database stamped later than the seal, and
writes that began later and were not on the list of open calls that the seal came with. Afterwards all is resumed.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import penstock
from benchmarks.bench import Bench
from benchmarks.child import Child
from benchmarks.figures import Figure, quantile
from benchmarks.kill_races import races
from benchmarks.kill_worker import clerk_of
from penstock import Settings
from penstock.events import ToolIntent, decode
from penstock.ports.controls import Scope, ScopeKind, of_all
from penstock.ports.records import Sealed, Stop
from penstock.runs.client import Penstock
from penstock.runs.submit import Request

GROUP = "Kill switch"
KINDS: tuple[ScopeKind, ...] = (
    *("run", "session", "agent", "release", "tool", "tool", "customer", "environment"),
    *("tenant", "everything"),
)
TENANT = "bench-kill"
RACES, QUICK_RACES = 50, 5
SEEDS, QUICK_SEEDS = 1_000, 50
WORKERS = 3
RUNS = 24
SESSIONS = 6


@dataclass(slots=True)
class Raced:
    """What came of a real race."""

    kind: str
    intents: int  # of its scope after the seal
    starts: int  # of writes of its scope after the seal that were not listed
    seen: int  # intents of the scope in all
    seconds: float  # until it was sealed


async def measure(bench: Bench) -> list[Figure]:
    """Both.

    Raises:
        RuntimeError: a stop was not sealed, or what it did not cover did not go on.
    """
    seeds = QUICK_SEEDS if bench.quick else SEEDS
    bench.say(f"{seeds:,} simulated races")
    simulated = await races(0, seeds)
    if any(item.held for item in simulated):
        raise RuntimeError("a run outside of a stop's scope did not go on")
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(Counter(item.kind for item in simulated).items()))
    figures = [
        Figure(
            GROUP,
            f"intents after the seal, {seeds:,} seeded races in one process",
            sum(item.late for item in simulated),
            "",
            "0",
            f"{sum(item.before for item in simulated):,} intents before it; {kinds}",
        )
    ]
    return figures + await _real(bench)


async def _real(bench: Bench) -> list[Figure]:
    count = QUICK_RACES if bench.quick else RACES
    bench.say(f"{count} races of {WORKERS} worker processes")
    file = bench.folder / "kill-starts"
    options = {"dsn": bench.server.dsn, "file": str(file)}
    workers = [await Child.start("kill_worker", name=f"kill-{number}", **options) for number in range(WORKERS)]
    try:
        found = await race_all(bench.server.dsn, file, [KINDS[number % len(KINDS)] for number in range(count)])
    finally:
        for worker in workers:
            worker.kill()
    seconds = [item.seconds for item in found]
    kinds = ", ".join(f"{kind} {times}" for kind, times in sorted(Counter(item.kind for item in found).items()))
    return [
        Figure(
            GROUP,
            f"intents after the seal, {count} races of {WORKERS} processes on PostgreSQL",
            sum(item.intents for item in found),
            "",
            "0",
            f"{sum(item.seen for item in found):,} intents of the scopes in all; {kinds}",
        ),
        Figure(
            GROUP, "writes that began after the seal and were not listed with it", sum(i.starts for i in found), "", "0"
        ),
        Figure(
            GROUP,
            "until it is sealed, the longest",
            max(seconds) * 1e3,
            "ms",
            "at most 1,000",
            f"median {quantile(seconds, 0.5) * 1e3:.0f} ms; while {WORKERS} processes write",
        ),
    ]


async def race_all(dsn: str, file: Path, kinds: Sequence[ScopeKind], runs: int = RUNS) -> list[Raced]:
    """Races, one after the other, against workers that are there already. ``file``: where they note starts.

    Raises:
        RuntimeError: a stop was not sealed.
    """
    settings = Settings(database_url=dsn, tenant=TENANT)
    async with penstock.open(settings, agents=[clerk_of(str(file))]) as platform:
        return [await _race(platform, file, kind, seed, runs) for seed, kind in enumerate(kinds)]


async def _race(platform: Penstock, file: Path, kind: ScopeKind, seed: int, many: int) -> Raced:
    rng = random.Random(seed)
    clerk = platform.registry.find("clerk")
    assert clerk is not None
    requests = [
        Request(clerk, f"{seed}.{number}", session=f"s-{seed}-{number}", tags={"customer": f"c-{number % SESSIONS}"})
        for number in range(many)
    ]
    runs = await platform.submit_many(requests)
    await _begun(file, runs)
    await asyncio.sleep(rng.uniform(0, 0.4))
    names = {
        "run": str(rng.choice(runs)),
        "session": f"s-{seed}-{rng.randrange(many)}",
        "agent": "clerk",
        "release": clerk.release,
        "tool": "refund",
        "customer": f"c-{rng.randrange(SESSIONS)}",
        "environment": platform.services.settings.environment,
    }
    scope = Scope(kind, TENANT, names[kind]) if kind in names else of_all(TENANT if kind == "tenant" else None)
    begun = time.monotonic()
    if scope.run is not None:
        sealed = await platform.kill(scope.run, actor="bench", reason="race")
    else:
        sealed = await platform.stop(scope, Stop.KILL, actor="bench", reason="race")
    seconds = time.monotonic() - begun
    if not sealed.sealed:
        raise RuntimeError(f"the kill of {scope} was not sealed: {sealed.blockers}")
    await asyncio.sleep(rng.uniform(0.1, 0.3))  # in which something might begin
    raced = None
    if scope.run is None:
        await platform.quiesced(scope, timeout_seconds=30)
        raced = await _judge(platform, file, scope, sealed, runs)
        await platform.resume(scope, actor="bench")
    for run in runs:
        await platform.result(run, timeout_seconds=60)
    if raced is None:
        raced = await _judge(platform, file, scope, sealed, runs)
    raced.seconds = seconds
    return raced


async def _judge(platform: Penstock, file: Path, scope: Scope, sealed: Sealed, runs: list[UUID]) -> Raced:
    covered = {run for number, run in enumerate(runs) if _covers(scope, run, number)}
    late = seen = 0
    for run in covered:
        for row in await platform.journal.tape(TENANT, run):
            if isinstance(decode(row.body), ToolIntent):
                seen += 1
                late += row.at > sealed.at
    listed = {(str(item.run), item.path, item.attempt) for item in sealed.open_intents}
    starts = 0
    for line in await _lines(file):
        at, run_text, path, attempt = line.split()
        is_late = int(at) > sealed.at and UUID(run_text) in covered
        starts += is_late and (run_text, path, int(attempt)) not in listed
    return Raced(scope.kind, late, starts, seen, 0.0)


def _covers(scope: Scope, run: UUID, number: int) -> bool:
    match scope.kind:
        case "run":
            return run == scope.run
        case "session":
            return scope.name.endswith(f"-{number}")
        case "customer":
            return scope.name == f"c-{number % SESSIONS}"
    return True


async def _begun(file: Path, runs: list[UUID]) -> None:
    """Until half of the runs write."""
    wanted = {str(run) for run in runs}
    async with asyncio.timeout(60):
        while True:
            if len(wanted & {line.split()[1] for line in await _lines(file)}) >= len(runs) // 2:
                return
            await asyncio.sleep(0.02)


async def _lines(file: Path) -> list[str]:
    """Those that are whole."""
    text = await asyncio.to_thread(lambda: file.read_text(encoding="utf-8") if file.exists() else "")
    return [line for line in text.splitlines() if line.count(" ") == 3]
