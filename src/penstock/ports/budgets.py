"""Budgets above the task: what a customer, a feature, an agent, a key or the whole tenant may spend in a period.

A **budget** says which calls it covers, how much they may use, and in which period. An **account** is one budget's book
for one period and, where the budget is counted by each value of a tag, for one value. A process that makes calls is a
**holder**: it has a **share** of each account it uses, granted by the store, and reserves from its shares without
asking anybody (P. E. O'Neil, "The Escrow Transactional Method", ACM TODS 11(4), 1986). The transaction that writes a
call's intent adds its reservation to the share, and fails when the share does not hold it: whatever a process believes,
what is spent and held never exceeds what is granted, and what is granted never exceeds the limit.

Reached as ``journal.budgets``. Two stores answer, PostgreSQL and memory; both pass `tests/contract/budgets_suite.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from penstock.kernel.errors import PenstockError

Period = Literal["run", "hour", "day", "month", "total"]
PERIODS: tuple[Period, ...] = ("run", "hour", "day", "month", "total")
AtEnd = Literal["stop", "park"]
AT_ENDS: tuple[AtEnd, ...] = ("stop", "park")

EACH: Final = "*"
"""As the value of a dimension: one account for each value."""
OTHER: Final = "(other)"
"""The value of the account that all further values share when a budget has `ACCOUNTS_MAX` in a period."""
AGENT: Final = "agent"
"""The dimension that is not a tag."""

BUDGETS_MAX: Final = 10_000
"""Budgets of all tenants together."""
DIMENSIONS_MAX: Final = 8
ACCOUNTS_MAX: Final = 10_000
"""Accounts of one budget in one period; not of budgets for each run, whose accounts go with their runs."""
LIST_MAX: Final = 1_000
UNLIMITED: Final = 1 << 62
"""What is granted where there is no limit."""
LEVELS: Final = (70, 90, 100)
"""Per cent of a limit at which somebody is told."""
RECALL_US: Final = 3_000_000
"""How long a call for unused shares stands, unless it is made again."""
SPREAD: Final = 8
"""A holder that asks gets this part of what is left, divided by the holders there are, when that is more than it needs:
so shares shrink as an account nears its end, and the last cent is still usable."""

Triple = tuple[int, int, int]
"""``(nano-dollars, tokens, calls)``."""


class Charge(msgspec.Struct, frozen=True, gc=False):
    """What one event changes in one share. ``nano``, ``tokens`` and ``calls`` are spent; ``held_*`` reserved."""

    account: int
    holder: UUID
    held_nano: int = 0
    held_tokens: int = 0
    held_calls: int = 0
    nano: int = 0
    tokens: int = 0
    calls: int = 0

    @property
    def reserves(self) -> bool:
        """Whether it is the charge of an intent, which the share must be able to hold."""
        return self.held_calls > 0 or self.held_nano > 0 or self.held_tokens > 0


class Charges(Protocol):
    """The charges of one event, and who is told what became of them."""

    @property
    def items(self) -> Sequence[Charge]:
        """What is charged."""
        ...

    def applied(self) -> None:
        """They are durable, with their event."""
        ...

    def dropped(self, error: PenstockError) -> None:
        """Their event was not written, as far as ``error`` says so."""
        ...


@dataclass(slots=True, frozen=True)
class Budget:
    """One budget. A limit of 0 is none.

    ``match`` says which calls it covers: by dimension (``agent``, or the name of a tag) the value they must have, or
    `EACH`. Empty = every call of the tenant. ``id`` is the store's, and another when the budget begins anew.
    """

    tenant: str
    name: str
    match: Mapping[str, str] = field(default_factory=dict)
    period: Period = "month"
    timezone: str = "UTC"
    nano: int = 0
    tokens: int = 0
    calls: int = 0
    at_end: AtEnd = "stop"
    id: int = 0

    @property
    def limits(self) -> Triple:
        return self.nano, self.tokens, self.calls

    @property
    def each(self) -> list[str]:
        """The dimensions with an account for each value, in order."""
        return sorted(name for name, value in self.match.items() if value == EACH)

    def covers(self, agent: str, tags: Mapping[str, str]) -> bool:
        """Whether a call of that agent and with those tags counts."""
        for name, value in self.match.items():
            if value != EACH and value != (agent if name == AGENT else tags.get(name, "")):
                return False
        return True

    def who(self, agent: str, tags: Mapping[str, str], root: str) -> tuple[str, ...]:
        """The values that name the call's account; ``root`` is the top run of its family."""
        values = tuple(agent if name == AGENT else tags.get(name, "") for name in self.each)
        return (*values, root) if self.period == "run" else values

    def begins_anew(self, other: "Budget") -> bool:
        """Whether it counts something else than ``other`` did, so that its accounts start empty."""
        ours, theirs = (self.period, self.timezone, dict(self.match)), (other.period, other.timezone, dict(other.match))
        return ours != theirs


@dataclass(slots=True, frozen=True)
class AccountKey:
    """An account by what it is for. ``since`` and ``until``: microseconds; 0 = no end."""

    tenant: str
    budget: int
    who: tuple[str, ...]
    since: int = 0
    until: int = 0


@dataclass(slots=True, frozen=True)
class Ask:
    """What a holder wants of one account.

    ``least`` is what must have been granted to it in all for its next call, ``ample`` for all that wait; None = it
    wants nothing. ``keep``: it gives back what was granted beyond this. ``leave``: it has no more use for its share.
    """

    tenant: str
    account: int
    least: Triple | None = None
    ample: Triple = (0, 0, 0)
    keep: Triple | None = None
    leave: bool = False


@dataclass(slots=True, frozen=True)
class Standing:
    """An account as it stands, and what is granted to the holder who asked. ``gone``: the budget was removed.

    ``wanted``: some holder needs what others do not use.
    """

    account: int
    gone: bool = False
    wanted: bool = False
    granted: Triple = (0, 0, 0)
    limits: Triple = (0, 0, 0)
    used: Triple = (0, 0, 0)
    held: Triple = (0, 0, 0)


@dataclass(slots=True, frozen=True)
class Exchange:
    """An answer. ``alive`` False: the holder's lease was over, its shares are gone, and nothing was done. ``change``
    counts changes of budgets. ``now``: the store's clock, microseconds."""

    now: int
    alive: bool
    change: int
    standings: list[Standing] = field(default_factory=list)


@dataclass(slots=True, frozen=True)
class Account:
    """An account for people: what was spent and what is held now by calls under way."""

    id: int
    who: dict[str, str]
    since: int
    until: int
    used: Triple
    held: Triple
    told: int = 0  # the highest level that somebody was told of


class Budgets(Protocol):
    """The budgets and their accounts.

    Whatever happens to those who ask: what all batches together have reserved and not settled, and what they have spent
    of their reservations, is at no commit more than an account's limit.
    """

    async def put(self, budget: Budget, actor: str) -> Budget:
        """Make or change a budget; as it is stored. Accounts go on when only limits or ``at_end`` change.

        Runs that wait for the budget are woken. A limit below what is spent refuses from now on.

        Raises:
            InputInvalid: there are `BUDGETS_MAX` budgets.
        """
        ...

    async def remove(self, tenant: str, name: str) -> bool:
        """Lift a budget, and forget its accounts; False when there was none. Runs that wait for it are woken."""
        ...

    async def budgets(self, tenant: str | None) -> list[Budget]:
        """The tenant's budgets by name; None = of all tenants."""
        ...

    async def change(self) -> int:
        """Grows with every change of a budget."""
        ...

    async def open(self, keys: Sequence[AccountKey]) -> list[tuple[int, tuple[str, ...]]]:
        """The ids of the accounts, made where they are missing, and what they are for in fact: `OTHER` when a budget
        has too many. 0 where the budget is gone."""
        ...

    async def exchange(self, holder: UUID, lease_seconds: float, asks: Sequence[Ask], *, fresh: bool) -> Exchange:
        """Renew the holder's lease, take back what it does not need, and grant what it does, as far as there is some.

        Standings are of the accounts asked about, in order, then of those others it has a share of that are wanted. A
        share whose holder's lease is over is taken back first: what it has spent and still holds stays charged.

        Args:
            fresh: the holder is a new one.
        """
        ...

    async def accounts(
        self, tenant: str, name: str, limit: int = 100, *, since: int = 0, after: int = 0
    ) -> list[Account]:
        """Accounts of a budget whose period had not ended at ``since``, the newest first; ``after`` is the id of the
        last one known (0 = from the first). At most `LIST_MAX`."""
        ...

    async def wait(self, tenant: str, account: int, run: UUID, path: str) -> int:
        """Note that the run's call at ``path`` waits for the account's budget to change; the number of changes so far,
        ``n``. At the next change of it the run gets a letter of kind ``budget``, whose ``dedup`` is
        ``budget:{path}:{account}:{n}``."""
        ...

    async def forget(self, before: int, limit: int) -> int:
        """Forget accounts in which nothing is held, of periods that ended before, or of runs that were not heard of
        since; at most ``limit``. How many."""
        ...


def period_at(period: Period, timezone: str, at: int) -> tuple[int, int]:
    """When the period that holds a moment begins and ends, in microseconds since the epoch; an end of 0 is none.

    Days and months begin at local midnight, or at the first moment after it where a clock change skips midnight; an
    hour that a clock change repeats is two hours.
    """
    if period in ("run", "total"):
        return 0, 0
    zone = ZoneInfo(timezone)
    local = (datetime.fromtimestamp(at // 1_000_000, UTC)).astimezone(zone)
    if period == "hour":
        start = (at // 1_000_000 - 60 * local.minute - local.second) * 1_000_000
        return start, start + 3_600_000_000
    first = datetime(local.year, local.month, local.day if period == "day" else 1, tzinfo=zone)
    if period == "day":
        after = (first.replace(tzinfo=None) + timedelta(days=1)).replace(tzinfo=zone)
    else:
        after = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return _us(first), _us(after)


def _us(local: datetime) -> int:
    return int(local.astimezone(UTC).timestamp()) * 1_000_000
