"""The overview, and what was spent."""

from typing import Literal
from uuid import UUID

from pydantic import Field

from penstock.server.schemas.base import Amounts, Given

GroupBy = Literal["customer", "feature", "agent", "task_type", "model", "release"]


class Need(Given):
    """Something that needs a person, the most urgent first."""

    kind: str = Field(description="approval | doubt | quarantined | stranded | control | budget | webhook | worker")
    words: str
    count: int = 1
    since: int = 0
    link: str = Field(description="path in the console")


class Minute(Given):
    """Runs that ended in a minute, by outcome."""

    at: int
    counts: dict[str, int]


class Cause(Given):
    """Failures of the last hour with the same first cause."""

    code: str
    words: str
    count: int
    agents: list[str]
    example: UUID


class WorkerShown(Given):
    """A worker that is alive."""

    name: str
    since: int
    lease_until: int
    running: int


class Overview(Given):
    """The state of a tenant's platform at one moment."""

    as_of: int
    environment: str
    tenant: str
    running: int
    queued: int
    oldest_wait: int = Field(description="microseconds that the oldest queued run has waited; 0 = none is queued")
    parked: int
    quarantined: int
    failed_last_hour: int
    ended_last_hour: int
    spent_today: Amounts
    budget_today: int = Field(default=0, description="nano-dollars; 0 = no budget of a day is set")
    per_minute: list[Minute] = Field(description="the last 60")
    causes: list[Cause]
    needs: list[Need]
    quiet_since: int | None = Field(default=None, description="when nothing needs a person: since when")
    workers: list[WorkerShown]


class CostRow(Given):
    """What one value of the grouping has spent."""

    value: str
    used: Amounts
    runs: int
    model_calls: int
    before_nano: int = Field(description="in the stretch of the same length before")
    dearest: UUID | None = Field(default=None, description="its dearest run")


class CostPoint(Given):
    """What was spent in one bin of time, by value."""

    at: int
    nano: dict[str, int]


class Costs(Given):
    """What was spent."""

    since: int
    until: int
    as_of: int
    by: GroupBy
    rows: list[CostRow] = Field(description="dearest first, at most 200; the rest is in ``others``")
    others: Amounts
    total: Amounts
    total_runs: int
    width: int = Field(description="microseconds of a bin")
    series: list[CostPoint]
    counted_until: int = Field(
        description="runs that ended after this are not in it by hour and model yet, but by what their rows say"
    )
    live_nano: int = Field(default=0, description="of the total: by runs that have not ended or are not counted yet")
    partial: bool = Field(default=False, description="too many runs go on: what the oldest have spent is left out")
