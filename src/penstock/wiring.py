"""The one place where parts are put together from settings."""

import contextlib
import gc
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from penstock.adapters.egress.guard import Egress
from penstock.adapters.egress.hook import enforce, lift
from penstock.adapters.environments import EnvironmentSecrets, read_environments
from penstock.adapters.isolation import ToolIsolation
from penstock.adapters.policy_files import PolicyFiles
from penstock.adapters.postgres.configured import configured_server
from penstock.adapters.postgres.database import ConnectionSettings, database_hosts
from penstock.adapters.postgres.journal import open_journal
from penstock.adapters.prices import PriceList
from penstock.adapters.providers import model_by_name
from penstock.gates.breakers.guard import BreakerGuard
from penstock.gates.budgets.shares import Shares
from penstock.gates.cache.shelf import AnswerCache
from penstock.gates.environment.admission import EnvironmentGuard
from penstock.gates.policy.guard import PolicyGuard
from penstock.gates.rates.throttle import Throttle
from penstock.gates.run.checks import Checks
from penstock.gates.run.services import Services
from penstock.gates.stops.guard import ToolStopGuard
from penstock.journal.decisions import DecisionKeys
from penstock.journal.payloads import PayloadReader
from penstock.journal.writer import GroupWriter, WriterSettings
from penstock.kernel.clock import Clock, SystemClock
from penstock.kernel.errors import EnvironmentInvalid, PenstockError
from penstock.ports.agents import AgentDef
from penstock.ports.environments import Environment
from penstock.ports.journal import Journal
from penstock.ports.model import Model
from penstock.rules.filters.filters import read_filters
from penstock.runs.client import Penstock
from penstock.runs.registry import Registry
from penstock.runs.rollouts.routing import RolloutGuard
from penstock.runs.rollouts.signing import Keyring
from penstock.settings import Settings, load_settings

if TYPE_CHECKING:
    from penstock.adapters.providers.adapter import ProviderModel
    from penstock.ports.embeddings import Embedder

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


def environment() -> dict[str, str]:
    """The variables of this process, for files that name those which hold their secrets."""
    return dict(os.environ)


class Home:
    """This process's environment, as the environments file has it."""

    def __init__(self, environment: Environment, hidden: Iterable[str]) -> None:
        self.environment = environment
        self.guard = EnvironmentGuard(environment, EnvironmentSecrets(environment.secrets, os.environ.get))
        self._hidden = frozenset(hidden)

    def variables(self) -> dict[str, str]:
        """The variables of this process without those that hold secrets of any environment."""
        return {name: value for name, value in os.environ.items() if name not in self._hidden}

    def enter(self, settings: Settings, agents: Sequence[AgentDef]) -> Callable[[], Awaitable[None]] | None:
        """Check the bindings for the agents that are offered here, and have this process connect to what is listed
        alone until what is returned is called; None = to anything.

        Raises:
            EnvironmentInvalid: the bindings cannot be kept, or the event loop goes past what is listed.
        """
        if agents:
            self.guard.check(agents)
        if self.environment.egress is None:
            return None
        egress = Egress(self.environment.egress)
        for host, port in own_hosts(settings):
            egress.allow_also(host, port, own=True)
        enforce(egress)

        async def leave() -> None:
            lift(egress)

        return leave


def home_of(settings: Settings) -> Home | None:
    """This process's environment; None = there is no environments file, and nothing but the word is its own.

    Raises:
        EnvironmentInvalid: the file cannot be read, or does not have this environment.
    """
    if settings.environments is None:
        return None
    known = read_environments(settings.environments)
    found = known.get(settings.environment)
    if found is None:
        raise EnvironmentInvalid(
            f"{settings.environments} has no environment {settings.environment}",
            hint=f"add [{settings.environment}], which may be empty, or set PENSTOCK_ENVIRONMENT to one that it has",
        )
    hidden = {source.env for other in known.values() for source in other.secrets.values() if source.env}
    return Home(found, hidden)


def own_hosts(settings: Settings) -> list[tuple[str, int]]:
    """What the settings have this installation reach: the database, and the server of its mails."""
    hosts = database_hosts(settings.database_url) if settings.database_url is not None else []
    return [*hosts, (settings.smtp_host, settings.smtp_port)] if settings.smtp_host else hosts


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
    home = home_of(settings)
    isolation = ToolIsolation(
        max_threads=settings.tool_threads,
        max_processes=settings.tool_processes,
        result_max_bytes=settings.payload_max_bytes,
        egress=home.environment.egress if home is not None else None,
        variables=home.variables if home is not None else None,
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
        decisions=DecisionKeys.of(settings),
        environment=home.guard if home is not None else None,
    )
    writer = GroupWriter(journal, WriterSettings.of(settings), clock)
    writer.checks = Checks(breakers, stops)
    leave = home.enter(settings, registry.agents) if home is not None else None
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
        *([leave] if leave is not None else []),
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
        dsn = await stack.enter_async_context(configured_server(settings))
        connection = ConnectionSettings.of(settings, dsn)
        journal = await open_journal(connection)

        async def open_lease() -> Journal:
            own = ConnectionSettings(dsn, pool_size=1, application_name="penstock lease")
            return await open_journal(own, prepare=False)

        try:
            platform = assemble(journal, settings, agents=agents, models=models, open_lease=open_lease)
        except PenstockError:  # nothing was put together that would close it
            await journal.close()
            raise
        await stack.enter_async_context(platform)
        if worker is not None:
            platform.start_worker(worker)
        yield platform


@contextlib.asynccontextmanager
async def open_in_memory(
    settings: Settings | None = None, *, agents: Iterable[AgentDef] = (), models: Iterable[Model] = ()
) -> AsyncIterator[Penstock]:
    """A platform without a database, with a worker: for unit tests and debuggers. All is gone when it closes."""
    from penstock.adapters.memory import MemoryJournal  # only those pay for its import who use it

    settings = settings or Settings()
    async with assemble(MemoryJournal(), settings, agents=agents, models=models) as platform:
        platform.start_worker("in-memory")
        yield platform
