"""Webhooks: who is told what, and what became of it."""

from typing import Literal
from uuid import UUID

from pydantic import Field

from penstock.ports.webhooks import State, Topic
from penstock.server.schemas.base import Given, Taken


class EndpointAsked(Taken):
    """An address to be told."""

    url: str = Field(min_length=8, max_length=2000)
    topics: list[Topic] = Field(min_length=1, max_length=20)
    agent: str = Field(default="", max_length=200, description="only of this agent; empty = of all")
    description: str = Field(default="", max_length=200)


class EndpointShown(Given):
    """An address that is told."""

    id: UUID
    url: str
    topics: list[Topic]
    agent: str = ""
    description: str = ""
    state: Literal["on", "paused", "failing"]
    paused_by: str = Field(default="", description="who paused it; 410 = it answered that it is gone for good")
    failures: int = Field(default=0, description="failed attempts in a row")
    created_at: int
    created_by: str
    waiting: int = Field(description="deliveries not made yet")
    dead: int = Field(description="deliveries given up")
    last_status: str = ""


class EndpointPage(Given):
    """All endpoints of the tenant, oldest first."""

    items: list[EndpointShown]


class EndpointChanged(Taken):
    """Whether an endpoint is told. What happens while it is paused waits."""

    state: Literal["on", "paused"]


class EndpointRemoved(Given):
    """It is told no more, and what it was still to be told is forgotten."""

    id: UUID


class EndpointMade(EndpointShown):
    """A new endpoint, or one with a new secret: the only time that the secret is shown."""

    secret: str = Field(description="whsec_…, as Standard Webhooks has it")


class DeliveryShown(Given):
    """One message to one endpoint."""

    id: str = Field(description="the header webhook-id: the same in every attempt")
    endpoint: UUID
    topic: Topic
    run: UUID | None = None
    state: State
    attempts: int
    created_at: int
    next_at: int | None = None
    last_status: str = Field(default="", description="HTTP status, or why there is none")
    last_at: int | None = None


class DeliveryPage(Given):
    """Deliveries, newest first."""

    items: list[DeliveryShown]
    next: str | None = None


class Replayed(Given):
    """Deliveries that had been given up and are attempted again."""

    replayed: int
