"""The overview."""

from uuid import UUID

from pydantic import Field

from penstock.server.schemas.base import Amounts, Given


class Need(Given):
    """Something that needs a person, the most urgent first."""

    kind: str = Field(
        description="approval | doubt | quarantined | stranded | control | breaker | budget | webhook | worker"
    )
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
