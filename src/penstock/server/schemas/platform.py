"""Agents, tools, sessions, health."""

from typing import Any
from uuid import UUID

from pydantic import Field

from penstock.server.schemas.base import Given
from penstock.server.schemas.runs import BudgetShown, RunLine


class ToolShown(Given):
    """A tool that agents here may call."""

    name: str
    description: str
    effect: str
    risk: str
    permission: str
    in_doubt: str
    timeout_seconds: float
    digest: str
    args: dict[str, Any] = Field(description="JSON Schema of its arguments")
    labels: dict[str, str] = Field(default_factory=dict)
    agents: list[str] = Field(default_factory=list)


class AgentShown(Given):
    """An agent that this process or a live worker offers."""

    name: str
    releases: list[str]
    offered: bool = Field(default=False, description="a live worker offers the release that runs are made in")
    here: bool = Field(description="this process can make runs of it")
    model: str = ""
    simulated: bool = False
    tools: list[str] = Field(default_factory=list)
    budget: BudgetShown = BudgetShown()
    input: dict[str, Any] | None = Field(default=None, description="JSON Schema of its input; None = any JSON")
    output: dict[str, Any] | None = None
    responder: str = Field(default="", description="the agent that answers first, provisionally")


class AgentList(Given):
    """Agents by name."""

    items: list[AgentShown]


class ToolList(Given):
    """Tools by name."""

    items: list[ToolShown]


class DocumentShown(Given):
    """A document that a session, or agents together, hold."""

    name: str
    version: int
    size: int
    updated_at: int
    run: UUID | None = None
    quarantined: str = ""


class SessionShown(Given):
    """A session: its runs in order, what it holds."""

    session: str
    holder: UUID | None = None
    waiting: int
    runs: list[RunLine]
    documents: list[DocumentShown] = Field(default_factory=list)


class Readiness(Given):
    """Whether the process can do its work."""

    ready: bool
    checks: dict[str, str] = Field(description="check → ok, or what is wrong")


class ProblemDescribed(Given):
    """What a code of an error means."""

    code: str
    words: str
    hint: str = Field(default="", description="what to do; a single answer may be more precise")
