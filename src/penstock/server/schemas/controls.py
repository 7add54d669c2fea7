"""Stops: what they would do, what they did."""

from typing import Literal
from uuid import UUID

from pydantic import Field

from penstock.server.schemas.base import Given, Taken, Words

ScopeKind = Literal["run", "session", "agent", "release", "tool", "customer", "environment", "tenant", "everything"]
Action = Literal["kill", "pause", "resume", "cancel"]


class Scope(Taken):
    """What is meant. ``tool``: no runs, but the calls of that tool in all of them. ``tenant`` is the caller's own;
    ``everything`` crosses tenants and needs the right to it."""

    kind: ScopeKind
    name: str = Field(default="", max_length=200, description="run id, agent's name, ...; empty for tenant, everything")


class ControlAsked(Taken):
    """Look at, or do."""

    scope: Scope
    action: Action
    reason: Words = ""
    armed: str = Field(default="", max_length=200, description="the scope's name typed again; wider than a run")


class OpenEffect(Given):
    """A call that had begun and has no outcome yet."""

    run: UUID
    path: str
    name: str
    attempt: int
    ends_by: int


class ControlPreview(Given):
    """What it would reach, as of one moment."""

    as_of: int
    running: int
    queued: int
    parked: int
    spent_nano: int = Field(description="by the runs it would stop, so far")
    open_effects: list[OpenEffect] = Field(description="at most 100")
    open_total: int
    not_reached: list[str] = Field(description="what one might think it stops and it does not, in words")
    command: str


class ControlShown(Given):
    """A control that is or was in force."""

    id: UUID
    scope: Scope
    action: Action
    actor: str
    reason: str = ""
    at: int
    in_force: bool = Field(default=False, description="it still holds something back")
    lifted_at: int | None = None
    lifted_by: str = ""


class ControlState(ControlShown):
    """How far a stop has come."""

    state: Literal["requested", "not_sealed", "sealed", "quiesced", "lifted"]
    sealed_at: int | None = None
    open_effects: list[OpenEffect] = Field(default_factory=list)
    open_total: int = 0
    latest_end: int | None = Field(default=None, description="when the last of them has ended or passed its time")
    in_doubt: int = 0
    stopped_runs: int = 0
    blockers: list[str] = Field(default_factory=list, description="database sessions that prevent the seal")


class ControlPage(Given):
    """Controls, those in force first."""

    items: list[ControlShown]
    next: str | None = None
