"""Budgets above the task: what is set, how accounts stand, what one would have stopped."""

from typing import Annotated, Literal

from pydantic import Field

from penstock.ports.budgets import DIMENSIONS_MAX
from penstock.runs.budgets import LIMIT_MAX, NAME_MAX, VALUE_MAX
from penstock.server.schemas.base import Given, Taken

PeriodName = Literal["run", "hour", "day", "month", "total"]
AtEnd = Literal["stop", "park"]
Most = Annotated[int, Field(ge=0, le=LIMIT_MAX, description="0 = no limit")]
Match = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=NAME_MAX)], Annotated[str, Field(max_length=VALUE_MAX)]],
    Field(
        max_length=DIMENSIONS_MAX,
        description="by agent or the name of a tag: the value that calls must have, or * for an account of each value;"
        " empty = all calls of the tenant",
    ),
]
Zone = Annotated[str, Field(min_length=1, max_length=100, description="IANA name of the time zone of the period")]


class BudgetSet(Taken):
    """A budget. All of it is replaced; its accounts go on unless match, period or time zone are others."""

    match: Match = {}
    period: PeriodName = "month"
    timezone: Zone = "UTC"
    nano: Most = 0
    tokens: Most = 0
    calls: Most = 0
    at_end: AtEnd = Field(default="stop", description="stop: runs end as exhausted; park: they wait until it is raised")


class BudgetAccount(Given):
    """A budget's book for one period, and for one value of each dimension that is counted by value."""

    id: int
    who: dict[str, str]
    since: int = Field(description="when its period began; 0 = of all time, or of one run")
    until: int = Field(description="when it ends; 0 = never")
    nano: int
    tokens: int
    calls: int
    held_nano: int = Field(description="reserved by calls under way")
    held_tokens: int
    held_calls: int
    left_nano: int | None = Field(description="not spent and not held; null = no limit")
    left_tokens: int | None
    left_calls: int | None
    used_percent: float = Field(description="of the limit that is used up furthest")
    threshold: int = Field(description="the highest threshold it has passed: 0, 70, 90 or 100")


class SharedBudget(Given):
    """A budget, and the newest of its accounts whose period is not over."""

    name: str
    match: dict[str, str]
    period: PeriodName
    timezone: str
    nano: int
    tokens: int
    calls: int
    at_end: AtEnd
    thresholds: list[int] = Field(description="per cent of a limit at which endpoints of budget.threshold are told")
    accounts: list[BudgetAccount]
    more_accounts: bool = Field(description="there are more than are shown here")


class BudgetPage(Given):
    """The tenant's budgets, by name."""

    items: list[SharedBudget]
    next: str | None = None


class BudgetAccountPage(Given):
    """Accounts of a budget, the newest first."""

    items: list[BudgetAccount]
    next: str | None = None


class BudgetRemoved(Given):
    """It limits nothing any more, and its accounts are forgotten."""

    name: str


class PreviewAsked(BudgetSet):
    """A budget that is not set. ``since`` is brought down to its hour; without it: seven days before ``until``."""

    since: Annotated[int | None, Field(ge=0, le=2**53)] = None
    until: Annotated[int | None, Field(ge=0, le=2**53)] = None


class PreviewAccount(Given):
    """An account that would have refused calls."""

    who: dict[str, str]
    since: int
    until: int
    nano: int
    tokens: int
    calls: int
    runs: int
    over_nano: int = Field(description="of nano: beyond the limit")
    over_tokens: int
    over_calls: int
    over_runs: int = Field(description="runs that ended in hours after it was reached")
    first_over_at: int = Field(description="the hour in which it would have begun to refuse")


class BudgetPreview(Given):
    """What the budget would have stopped, by the sums of runs that ended in that time."""

    since: int
    until: int
    accounts: int = Field(description="accounts there would have been")
    over_nano: int
    over_runs: int
    stopped: list[PreviewAccount] = Field(description="those with most beyond the limit, at most 1,000")
    partial: bool = Field(description="there was more to read than is read")
