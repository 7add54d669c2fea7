"""The one place where parts are put together from settings."""

import asyncio
import contextlib
import gc
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from penstock.adapters.isolation import ToolIsolation
from penstock.adapters.memory import MemoryJournal
from penstock.adapters.policy_files import PolicyFiles
from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.embedded import EmbeddedServer, start_embedded
from penstock.adapters.postgres.journal import open_journal
from penstock.adapters.prices import PriceList
from penstock.adapters.providers import model_by_name
from penstock.gates.breakers.guard import BreakerGuard
from penstock.gates.budgets.shares import Shares
from penstock.gates.cache.shelf import AnswerCache
from penstock.gates.policy.guard import PolicyGuard
from penstock.gates.rates.throttle import Throttle
from penstock.gates.run.checks import Checks
from penstock.gates.run.services import Services
from penstock.gates.stops.guard import ToolStopGuard
from penstock.journal.payloads import PayloadReader
from penstock.journal.writer import GroupWriter, WriterSettings
from penstock.kernel.clock import Clock, SystemClock
from penstock.kernel.errors import PenstockError
from penstock.ports.agents import AgentDef
from penstock.ports.journal import Journal
from penstock.ports.model import Model
from penstock.rules.filters.filters import read_filters
from penstock.runs.client import Penstock
from penstock.runs.registry import Registry
from penstock.runs.rollouts.routing import RolloutGuard
from penstock.runs.rollouts.signing import Keyring
from penstock.settings import Settings

if TYPE_CHECKING:
    from penstock.adapters.providers.adapter import ProviderModel
    from penstock.ports.embeddings import Embedder

SERVER_CHECK_SECONDS = 1.0
SIMULATED_NAME = "simulated:support-desk"


class Models:
    """Models by name: those handed in, else a provider's by its pydantic-ai name, made once."""

    def __init__(self, settings: Settings, known: Iterable[Model] = ()) -> None:
        self._known = {model.name: model for model in known}
        self._settings = settings
        self._prices: PriceList | None = None
        self._made: list[ProviderModel] = []

    def find(self, name: str) -> Model:
        """The model of that name.

        Raises:
            ModelUnknown, ProviderInvalid: there is none, or it cannot be called from here.
        """
        model = self._known.get(name)
        if model is None and name == SIMULATED_NAME:
            from penstock.adapters.simulated import SimulatedModel

            model = self._known[name] = SimulatedModel(seed=0)
        if model is None:
            if self._prices is None:
                self._prices = PriceList.from_file(self._settings.prices_file)
            made = model_by_name(name, self._prices)
            self._made.append(made)
            model = self._known[name] = made
        return model

    async def close(self) -> None:
        """Close the connections of the models made here; those handed in are their owners'."""
        for model in self._made:
            await model.aclose()


PROVIDER_KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY")
"""Variables that hold the keys of the providers whose libraries are installed."""


def provider_keys() -> dict[str, bool]:
    """Which of the providers' keys are set; never the keys themselves."""
    return {name: bool(os.environ.get(name, "").strip()) for name in PROVIDER_KEYS}


def load_settings() -> Settings:
    """The settings that the environment describes.

    Raises:
        SettingUnknown, SettingInvalid: see there.
    """
    return Settings.from_env(os.environ)


def environment() -> dict[str, str]:
    """The variables of this process, for files that name those which hold their secrets."""
    return dict(os.environ)


def assemble(
    journal: Journal,
    settings: Settings,
    *,
    agents: Iterable[AgentDef] = (),
    models: Iterable[Model] = (),
    clock: Clock | None = None,
    open_lease: Callable[[], Awaitable[Journal]] | None = None,
    closers: list[Callable[[], Awaitable[None]]] | None = None,
) -> Penstock:
    """A platform on a journal that is open already."""
    clock = clock or SystemClock()
    registry = Registry(agents)
    isolation = ToolIsolation(
        max_threads=settings.tool_threads,
        max_processes=settings.tool_processes,
        result_max_bytes=settings.payload_max_bytes,
    )
    directory = Models(settings, models)
    throttle = Throttle(journal.rates, clock, settings)
    breakers = BreakerGuard(journal.breakers, clock, embedder=_embedder)
    stops = ToolStopGuard(journal.controls, clock)
    journal.breakers.listen(stops.heard)
    budgets = Shares(journal.budgets, clock, settings)
    policy = PolicyGuard(PolicyFiles(settings.policy), clock) if settings.policy is not None else None
    cache = AnswerCache(journal.cache, clock, settings)
    services = Services(
        journal=journal,
        reader=PayloadReader(journal),
        clock=clock,
        settings=settings,
        agents=registry,
        isolation=isolation,
        models=directory,
        throttle=throttle,
        live=journal.live,
        stops=stops,
        breakers=breakers,
        cache=cache,
        budgets=budgets,
        rollouts=RolloutGuard(journal.rollouts, clock, registry, Keyring.of(settings), policy),
        filters=read_filters(settings.filters),
        policy=policy,
    )
    writer = GroupWriter(journal, WriterSettings.of(settings), clock)
    writer.checks = Checks(breakers, stops)
    to_close = [
        throttle.close,
        stops.close,
        breakers.close,
        cache.close,
        budgets.close,
        isolation.close,
        directory.close,
        journal.close,
        *(closers or []),
    ]
    return Penstock(services, writer, registry, open_lease=open_lease, closers=to_close)


def _embedder() -> "Embedder":
    """Made when it is needed: it loads numpy, and at its first use 16 MB of weights."""
    from penstock.adapters.embeddings import WordLlamaEmbedder

    return WordLlamaEmbedder()


def tune_worker_process() -> None:
    """For a process whose business is to run agents: make the garbage collector look less often.

    Runs make many small objects that all live until the run ends; looking at them again every 700 allocations cost a
    third of a worker's CPU (see benchmarks/RESULTS.md). What a run leaves behind is freed without the collector
    (`penstock.gates.run.letting_go`), so that looking seldom costs no memory. Libraries and tests are left alone.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@contextlib.asynccontextmanager
async def _kept_running(server: EmbeddedServer, start_seconds: float) -> AsyncIterator[None]:
    """While the block runs, start the embedded server again whenever it has died."""

    async def keep() -> None:
        while True:
            await asyncio.sleep(SERVER_CHECK_SECONDS)
            with contextlib.suppress(PenstockError):  # said by those who need the server, until it comes back
                await server.join(start_seconds)

    keeper = asyncio.create_task(keep())
    try:
        yield
    finally:
        keeper.cancel()
        await asyncio.wait({keeper})


@contextlib.asynccontextmanager
async def open_penstock(
    settings: Settings | None = None,
    *,
    agents: Iterable[AgentDef] = (),
    models: Iterable[Model] = (),
    worker: str | None = None,
) -> AsyncIterator[Penstock]:
    """Open the configured database, or the embedded one, and work on it.

    Args:
        settings: default: those of the environment.
        agents: what this process offers, besides those it submits.
        models: model objects that agents name.
        worker: name of a worker to run in this process; None = only submit and watch.

    Raises:
        JournalError: the database cannot be started, reached or used; the code says which.
    """
    settings = settings or load_settings()
    async with contextlib.AsyncExitStack() as stack:
        dsn = settings.database_url
        if dsn is None:
            server = await start_embedded(settings.data_dir, start_seconds=settings.embedded_start_seconds)
            stack.push_async_callback(server.close)
            await stack.enter_async_context(_kept_running(server, settings.embedded_start_seconds))
            dsn = server.dsn
        connection = ConnectionSettings.of(settings, dsn)
        journal = await open_journal(connection)

        async def open_lease() -> Journal:
            own = ConnectionSettings(dsn, pool_size=1, application_name="penstock lease")
            return await open_journal(own, prepare=False)

        platform = assemble(journal, settings, agents=agents, models=models, open_lease=open_lease)
        await stack.enter_async_context(platform)
        if worker is not None:
            platform.start_worker(worker)
        yield platform


@contextlib.asynccontextmanager
async def open_in_memory(
    settings: Settings | None = None, *, agents: Iterable[AgentDef] = (), models: Iterable[Model] = ()
) -> AsyncIterator[Penstock]:
    """A platform without a database, with a worker: for unit tests and debuggers. All is gone when it closes."""
    settings = settings or Settings()
    async with assemble(MemoryJournal(), settings, agents=agents, models=models) as platform:
        platform.start_worker("in-memory")
        yield platform
