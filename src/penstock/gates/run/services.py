"""What all runs of a worker share."""

from collections.abc import Callable
from dataclasses import dataclass

from penstock.gates.breakers.guard import BreakerGuard
from penstock.gates.budgets.shares import Shares
from penstock.gates.cache.shelf import AnswerCache
from penstock.gates.rates.throttle import Throttle
from penstock.journal.payloads import PayloadReader
from penstock.kernel.clock import Clock
from penstock.ports.agents import AgentDirectory, ModelDirectory
from penstock.ports.journal import Journal
from penstock.ports.live import Live
from penstock.ports.tools import Isolation
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
    breakers: BreakerGuard | None = None
    """The circuit breakers; None = none are kept here."""
    budgets: Shares | None = None
    """This process's shares of the budgets above the task; None = none are kept here."""
