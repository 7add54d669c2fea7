"""What all runs of a worker share."""

from collections.abc import Callable
from dataclasses import dataclass, field

from penstock.gates.breakers.guard import BreakerGuard
from penstock.gates.budgets.shares import Shares
from penstock.gates.cache.shelf import AnswerCache
from penstock.gates.environment.admission import EnvironmentGuard
from penstock.gates.policy.guard import PolicyGuard
from penstock.gates.rates.throttle import Throttle
from penstock.gates.stops.guard import ToolStopGuard
from penstock.journal.decisions import DecisionKeys
from penstock.journal.payloads import PayloadReader
from penstock.kernel.clock import Clock
from penstock.ports.agents import AgentDirectory, ModelDirectory
from penstock.ports.journal import Journal
from penstock.ports.live import Live
from penstock.ports.rollouts import Routing
from penstock.ports.tools import Isolation
from penstock.rules.filters.filters import Filters
from penstock.settings import Settings


@dataclass(slots=True)
class Services:
    """What all runs of a worker share."""

    journal: Journal
    reader: PayloadReader
    clock: Clock
    settings: Settings
    agents: AgentDirectory
    isolation: Isolation
    models: ModelDirectory
    on_overhead: Callable[[float], None] = lambda seconds: None
    """Told how long an intent took to be durable, in seconds: what the engine adds to a step."""
    outside: int = 0
    """Calls of models and tools under way: whoever waits for one leaves the engine alone."""
    throttle: Throttle | None = None
    """The shared rate limits; None = none are kept here."""
    live: Live | None = None
    """Where models are heard while they speak; None = nowhere."""
    cache: AnswerCache | None = None
    """Answers that are given again; None = each call is made."""
    resources_had: int = 0
    """Resources that were claimed here so far: now and then old claims are cleared away."""
    stops: ToolStopGuard | None = None
    """The stops of tools; None = none are kept here."""
    breakers: BreakerGuard | None = None
    """The circuit breakers; None = none are kept here."""
    filters: Filters | None = None
    """Of agents that declare none."""
    policy: PolicyGuard | None = None
    """The policy that calls are held to; None = there is none."""
    environment: EnvironmentGuard | None = None
    """What tools stand for in this environment, and their secrets; None = there is no environments file."""
    decisions: DecisionKeys = field(default_factory=DecisionKeys)
    """The key that signs people's decisions here, and those whose decisions count."""
    budgets: Shares | None = None
    """This process's shares of the budgets above the task; None = none are kept here."""
    rollouts: Routing | None = None
    """Which releases new runs get; None = the code as it is offered."""
