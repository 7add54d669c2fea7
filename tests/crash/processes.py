"""Worker processes: real ones, forked from a server that has imported everything, so that many are cheap."""

import asyncio
import multiprocessing
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from multiprocessing.process import BaseProcess
from typing import Any, cast

from tests.crash.errand import MeteredModel, Tools, make_errand
from tests.crash.world import Doom, Fate, Stage, World

from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal
from penstock.events import ToolIntent, decode
from penstock.ports.journal import Journal
from penstock.ports.records import Applied, Batch, Payload
from penstock.runs.client import Penstock
from penstock.runs.work.lease import LeaseKeeper
from penstock.settings import Settings
from penstock.wiring import assemble

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["pytest", "tests.crash.processes", "penstock.cli"])

QUICK: dict[str, Any] = {
    "poll_seconds": 0.1,
    "start_allowance_seconds": 3.0,
    "doubt_margin_seconds": 0.1,
    "database_pool_size": 2,
}
"""Doubts are settled soon, yet a loaded machine does not run over the allowance."""

DOOMED: dict[str, Any] = {"lease_seconds": 1.0, "loop_block_max_seconds": 1.0, "batch_max_events": 1}
"""Others take over soon; and one event an append, so that each boundary between events is one between appends."""


class FatedJournal:
    """A journal that passes everything on, and ends its process where its fate says."""

    def __init__(self, inner: Journal, fate: Fate) -> None:
        self._inner = inner
        self._fate = fate

    async def append(
        self, batches: Sequence[Batch], payloads: Sequence[Payload] = (), *, blocking: bool = False
    ) -> list[Applied]:
        n = self._fate.next_append()
        self._reach(n, batches, "before")
        answers = await self._inner.append(batches, payloads, blocking=blocking)
        self._reach(n, batches, "after")
        return answers

    def _reach(self, n: int, batches: Sequence[Batch], stage: Stage) -> None:
        self._fate.reach("append", n, stage)
        for batch in batches:
            for row in batch.rows:
                event = decode(row.body)
                if isinstance(event, ToolIntent):
                    self._fate.reach(f"intent:{event.tool}", event.attempt, stage)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@asynccontextmanager
async def platform(
    dsn: str, settings: Settings, world: World, *, wrap: Callable[[Journal], Journal] | None = None
) -> AsyncIterator[Penstock]:
    """A platform on a database of tests, without a worker."""
    journal: Journal = await open_journal(ConnectionSettings(dsn, pool_size=settings.database_pool_size), prepare=False)
    if wrap is not None:
        journal = wrap(journal)

    async def open_lease() -> Journal:
        return await open_journal(ConnectionSettings(dsn, pool_size=1), prepare=False)

    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(
            assemble(journal, settings, models=[MeteredModel(world)], open_lease=open_lease)
        )


def doomed(dsn: str, tag: str, doom: Doom | None, options: dict[str, Any]) -> None:
    """Work on one run until the doom, or until the run has ended: then leave a census of what was done."""
    if doom is not None and doom.signal == signal.SIGSTOP:
        # A process that was stopped for long ends itself as soon as it notices. Here it never does: the worst zombie.
        LeaseKeeper._die = lambda self, why: None  # type: ignore[method-assign]
    asyncio.run(_doomed(dsn, tag, doom, options))


async def _doomed(dsn: str, tag: str, doom: Doom | None, options: dict[str, Any]) -> None:
    fate = Fate(doom)
    world = World(dsn, fate)
    errand = make_errand(tag, Tools(world))
    settings = Settings(**{**QUICK, **DOOMED, **options})

    def wrap(inner: Journal) -> Journal:
        return cast("Journal", FatedJournal(inner, fate))

    async with platform(dsn, settings, world, wrap=wrap) as penstock:
        for item in errand.agents:
            penstock.registry.add(item)
        penstock.start_worker(f"doomed-{tag}")
        run = await world.ask("SELECT id FROM penstock.runs WHERE agent = $1", errand.main.name)
        await penstock.result(run)
    await world.ask("INSERT INTO world.census VALUES ($1, $2, $3)", tag, fate.appends, fate.effects)


def finisher(dsn: str, name: str, options: dict[str, Any]) -> None:
    """Work on every run whose worker has died, for ever."""
    asyncio.run(_finisher(dsn, name, options))


async def _finisher(dsn: str, name: str, options: dict[str, Any]) -> None:
    world = World(dsn)
    tools = Tools(world)
    settings = Settings(**{**QUICK, "lease_seconds": 20.0, "loop_block_max_seconds": 20.0, **options})
    known: set[str] = set()
    async with platform(dsn, settings, world) as penstock:
        penstock.start_worker(name)
        while True:
            for record in await world.all("SELECT tag FROM world.orphans"):
                if record[0] not in known:
                    known.add(record[0])
                    for item in make_errand(record[0], tools).agents:
                        penstock.registry.add(item)
            await asyncio.sleep(0.1)


def spawn(target: Callable[..., None], *args: Any) -> BaseProcess:
    """Start a process that dies with this one."""
    process = _context.Process(target=target, args=args, daemon=True)
    process.start()
    return process


async def ended(process: BaseProcess) -> int:
    """Wait for the end of a process; its exit code, negative for a signal. Killed when nobody waits any more."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_reader(process.sentinel, over.set)
    try:
        await over.wait()
    except asyncio.CancelledError:
        process.kill()
        raise
    finally:
        loop.remove_reader(process.sentinel)
    process.join()
    code = process.exitcode
    assert code is not None
    return code


async def until(condition: Callable[[], Awaitable[Any]], seconds: float = 20.0, every: float = 0.02) -> Any:
    """Wait until a condition holds; its value."""
    async with asyncio.timeout(seconds):
        while not (value := await condition()):
            await asyncio.sleep(every)
        return value
