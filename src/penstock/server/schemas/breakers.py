"""Circuit breakers: what they watch, how they stand, what tripped them."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from penstock.ports.breakers import CONDITIONS_MAX
from penstock.server.schemas.base import Given, Taken, Words

ScopeKind = Literal["agent", "task_type", "customer", "tool", "model"]
ConditionKind = Literal["cost_mean", "failures", "cost_rate", "error_rate", "latency", "drift"]
Meanwhile = Literal["fail", "fallback", "queue"]
Number = Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=10**15)]


class BreakerCondition(Taken):
    """When it trips. 0 = the default of its kind."""

    kind: ConditionKind
    limit: Number = Field(default=0, description="factor, failures in a row, nano-dollars, or share of calls")
    calls: Count = Field(default=0, description="cost_mean: of the rolling mean; shares: calls that it needs at least")
    seconds: Number = Field(default=0, description="cost_rate, error_rate, latency: the window")
    expected: Count = Field(default=0, description="cost_mean: nano-dollars; 0 = learned from the first calls")
    of: Literal["call", "run"] = Field(default="call", description="cost_mean: the cost of what")
    slow_seconds: Number = Field(default=0, description="latency: a call that takes longer is slow")
    baseline: Count = Field(default=0, description="cost_mean, drift: how many calls are learned from")


class BreakerSet(Taken):
    """What to make, or to replace."""

    scope: ScopeKind
    value: str = Field(default="*", min_length=1, max_length=256, description="a name; * = each for itself")
    conditions: list[BreakerCondition] = Field(min_length=1, max_length=CONDITIONS_MAX)
    open_seconds: Number = 60.0
    probes: int = Field(default=3, ge=1, le=100)
    meanwhile: Meanwhile = "fail"
    fallback: str = Field(default="", max_length=256, description="the model that is asked meanwhile")
    cancel_in_flight: bool = Field(default=True, description="cut off model calls and reads under way; never writes")


class BreakerCircuit(Given):
    """One circuit. Those that never tripped and have learned nothing are not listed."""

    value: str
    state: Literal["closed", "open", "half_open"]
    opened_at: int | None
    until: int | None = Field(description="open: when probes are let through")
    probes_ok: int
    expected_nano: int | None = Field(description="the mean cost that is expected; null = it is still being learned")
    trip: UUID | None = Field(description="the last one")


class BreakerShown(Given):
    """One breaker and how it stands."""

    name: str
    scope: ScopeKind
    value: str
    conditions: list[BreakerCondition]
    open_seconds: float
    probes: int
    meanwhile: Meanwhile
    fallback: str
    cancel_in_flight: bool
    open: int = Field(description="circuits that are open")
    half_open: int
    circuits: list[BreakerCircuit] = Field(description="those that are not closed first; in a list at most 20")


class BreakerPage(Given):
    """Breakers by name."""

    items: list[BreakerShown]
    next: str | None


class BreakerTrip(Given):
    """One time that a circuit was opened."""

    id: UUID
    value: str
    at: int
    by: str = Field(description="the worker that saw it, or who tripped it by hand")
    sealed: bool = Field(description="nothing that was checked before it could start after it")
    closed_at: int | None
    closed_by: str = Field(description="probes, or who closed it")
    evidence: dict[str, Any] = Field(description="the condition, its figures, and the calls that led to it")


class BreakerTripPage(Given):
    """Trips of one breaker, newest first."""

    items: list[BreakerTrip]
    next: str | None


class BreakerReset(Taken):
    """What to close."""

    value: str | None = Field(default=None, min_length=1, max_length=256, description="one circuit; null = all")
    relearn: bool = Field(default=False, description="forget what is expected, too")
    reason: Words = Field(default="", description="for the record of actions")


class BreakerTripped(Taken):
    """What to open."""

    value: str | None = Field(default=None, min_length=1, max_length=256)
    seconds: Number | None = None
    reason: Words = ""


class BreakerDone(Given):
    """What became of it. ``closed``: circuits that were open."""

    trip: UUID | None = None
    closed: int = 0
