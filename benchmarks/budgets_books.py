"""What is simulated of budgets, what happened, and what the calls may have cost by the journal alone."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from penstock.events import Event, ModelIntent, ModelOutcome
from penstock.ports.budgets import Triple

TENANT: Final = "t"
CALL_NANO: Final = 1_000_000
CALL_TOKENS: Final = 1_000
"""The most that a call reserves: between a tenth of this and all of it; it uses between a twentieth and all of that."""
MEAN_USED: Final = 0.55 * 0.525
"""Of `CALL_NANO`."""


@dataclass(slots=True, frozen=True)
class Plan:
    """What is simulated.

    Attributes:
        limit: of a customer's budget, in the largest calls: at least so many, at most half as many again.
        incidents: 0 = nothing fails, and it lasts for ``seconds``; else it lasts until so much has gone wrong, and all
            budgets are raised every second by less than what is wanted of them.
        shared: the organisation's limit and the features' together, in seconds of all calls.
    """

    customers: int
    features: int
    processes: int
    calls_a_second: int
    seconds: float = 0.0
    incidents: int = 0
    limit: int = 101
    shared: float = 5.0
    crash_every: float = 0.3
    stall_every: float = 0.6
    seed: int = 6


class Truth:
    """What was written down that calls may cost and did cost, by account."""

    def __init__(self) -> None:
        self.limits: dict[int, Triple] = {}
        self.charged: dict[int, list[int]] = {}
        self.exposed: dict[int, list[int]] = {}
        """What was charged, and what calls under way may still cost."""
        self.over = 0
        """The most that any account was exposed beyond its limit, in its unit."""
        self._open: dict[UUID, dict[int, ModelIntent]] = {}

    def know(self, account: int, limits: Triple) -> None:
        self.limits[account] = limits
        self.charged.setdefault(account, [0, 0, 0])
        self.exposed.setdefault(account, [0, 0, 0])

    def written(self, event: Event) -> None:
        """An event that the journal has just taken."""
        if isinstance(event, ModelIntent):
            self._open.setdefault(event.run, {})[event.attempt] = event
            self._add(self.exposed, event, (event.reserved.nano, event.reserved.tokens, 1))
            for account in event.charged:
                for limit, exposed in zip(self.limits[account], self.exposed[account], strict=True):
                    if limit:
                        self.over = max(self.over, exposed - limit)
        elif isinstance(event, ModelOutcome):
            intent = self._open[event.run].pop(event.attempt)
            self._settle(intent, (event.used.nano, event.used.tokens, int(event.status != "not_started")))
        else:
            for intent in self._open.pop(event.run, {}).values():
                self._settle(intent, (intent.reserved.nano, intent.reserved.tokens, 1))

    def _settle(self, intent: ModelIntent, used: Triple) -> None:
        self._add(self.charged, intent, used)
        reserved = intent.reserved.nano, intent.reserved.tokens, 1
        self._add(self.exposed, intent, (used[0] - reserved[0], used[1] - reserved[1], used[2] - reserved[2]))

    def _add(self, where: dict[int, list[int]], intent: ModelIntent, amount: Triple) -> None:
        for account in intent.charged:
            book = where[account]
            for part in range(3):
                book[part] += amount[part]


@dataclass(slots=True)
class Counts:
    """What happened."""

    asked: int = 0
    refused: int = 0
    crashes: int = 0
    stalls: int = 0
    interrupted: int = 0
    lost_appends: int = 0
    lost_turns: int = 0
    retries: int = 0
    at_maximum: int = 0
    share_lost: int = 0

    @property
    def incidents(self) -> int:
        return self.crashes + self.stalls + self.interrupted + self.lost_appends + self.lost_turns + self.retries
