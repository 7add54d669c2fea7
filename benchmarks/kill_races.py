"""Seeded races between a stop and the runs that it is of, in one process: when it comes is drawn, to the loop's turn.

Three runs of one kind and one of another call two tools, one that reads and one that writes, one after the other and
side by side. At a moment that the seed draws a stop of some scope is put in force; whatever intent of its scope stands
in a tape behind what stood there at that moment is late. There must be none, and runs outside must not be held.
"""

import asyncio
import random
from dataclasses import dataclass
from uuid import UUID

from penstock import Run, agent, tool
from penstock.adapters.memory import MemoryJournal
from penstock.events import ModelIntent, ToolIntent, decode
from penstock.kernel.errors import CallDenied
from penstock.ports.controls import Scope, ScopeKind, of_all
from penstock.ports.records import Status, Stop
from penstock.settings import Settings
from penstock.wiring import assemble

KINDS: tuple[ScopeKind, ...] = (
    *("run", "session", "agent", "release", "tool", "tool", "tool"),
    *("customer", "environment", "tenant", "everything"),
)
SETTINGS = Settings(poll_seconds=0.01, drain_seconds=0.1)
TENANT = "default"
STEPS = 5
TURNS_MOST = 250


@dataclass(slots=True)
class Race:
    """What came of one seed. ``late``: intents of the scope after the seal; ``before``: those ahead of it."""

    kind: str
    late: int
    before: int
    held: int  # runs outside of the scope that did not succeed


@tool(effect="write", risk="low", permission="auto", in_doubt="idempotent")
async def refund(order: str) -> str:
    """Write."""
    await asyncio.sleep(0)
    return f"{order} done"


@tool(effect="read")
async def look(order: str) -> str:
    """Read."""
    await asyncio.sleep(0)
    return f"{order} open"


async def _try(run: Run, order: str, *, write: bool) -> str:
    try:
        return str(await run.call(refund if write else look, order=order))
    except CallDenied as denied:
        return str(denied.fields["rule"])


@agent("desk")
async def desk(run: Run, seed: int) -> int:
    """Calls, in an order that the seed gives."""
    rng = random.Random(seed)
    for step in range(STEPS):
        if rng.random() < 0.5:
            await _try(run, f"{seed}.{step}", write=rng.random() < 0.6)
        else:
            several = (_try(run, f"{seed}.{step}.{branch}", write=rng.random() < 0.6) for branch in range(3))
            await run.gather(*several)
    return seed


@agent("cook")
async def cook(run: Run, seed: int) -> int:
    """Of another kind in all respects, and calls neither."""
    for step in range(STEPS):
        await run.record(f"step {step}", lambda: seed)
    return seed


async def race(seed: int) -> Race:
    """One of them."""
    rng = random.Random(seed)
    kind, stop = rng.choice(KINDS), rng.choice((Stop.KILL, Stop.KILL, Stop.PAUSE))
    journal = MemoryJournal()
    async with assemble(journal, SETTINGS, agents=[desk, cook]) as platform:
        platform.start_worker("w")
        tags = {"customer": "ada"}
        sessions = [f"s-{number}" for number in range(3)]
        runs = [
            await platform.submit(desk, seed * 10 + number, session=session, tags=tags)
            for number, session in enumerate(sessions)
        ]
        other = await platform.submit(cook, seed, tags={"customer": "bob"})
        for _ in range(rng.randrange(TURNS_MOST)):
            await asyncio.sleep(0)
        scope = _scope(kind, rng, runs, sessions)
        if scope.run is not None:
            await journal.stop_run(TENANT, scope.run, stop, "bench", "race")
        else:
            await journal.stop_scope(scope, stop, "bench", "race")
        lengths = {run: len(await journal.tape(TENANT, run)) for run in (*runs, other)}
        await _settled(journal, runs)
        late = before = 0
        for run, length in lengths.items():
            for row in await journal.tape(TENANT, run):
                if _is_of(scope, run, sessions, runs, row.body):
                    late += row.seq > length
                    before += row.seq <= length
        free = kind not in ("environment", "tenant", "everything")
        held = int(free and not (await platform.result(other, timeout_seconds=20)).ok)
    return Race(kind, late, before, held)


def _scope(kind: ScopeKind, rng: random.Random, runs: list[UUID], sessions: list[str]) -> Scope:
    match kind:
        case "everything" | "tenant":
            return of_all(None if kind == "everything" else TENANT)
        case "run":
            return Scope("run", TENANT, str(rng.choice(runs)))
        case "session":
            return Scope("session", TENANT, rng.choice(sessions))
        case "tool":
            return Scope("tool", TENANT, rng.choice(("refund", "look")))
    names = {"agent": "desk", "release": desk.release, "customer": "ada", "environment": SETTINGS.environment}
    return Scope(kind, TENANT, names[kind])


def _is_of(scope: Scope, run: UUID, sessions: list[str], runs: list[UUID], body: bytes) -> bool:
    event = decode(body)
    if not isinstance(event, ToolIntent | ModelIntent):
        return False
    match scope.kind:
        case "run":
            return str(run) == scope.name
        case "session":
            return run in runs and sessions[runs.index(run)] == scope.name
        case "tool":
            return isinstance(event, ToolIntent) and event.tool == scope.name
    return True


async def _settled(journal: MemoryJournal, runs: list[UUID]) -> None:
    """Until nobody works on them any more: they have ended, wait, or are held back. Then once more, a while later."""
    calm = 0
    async with asyncio.timeout(30):
        while calm < 3:
            rows = [await journal.get_run(TENANT, run) for run in runs]
            calm = 0 if any(row is not None and row.status is Status.RUNNING for row in rows) else calm + 1
            await asyncio.sleep(0.002)


async def races(first: int, count: int) -> list[Race]:
    """Those of so many seeds, one after the other."""
    return [await race(seed) for seed in range(first, first + count)]
