"""People who decide, and rights that were handed on. Times are microseconds since the epoch; 0 = none."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from penstock.server.schemas.base import Given, Taken, Words

Role = Annotated[str, Field(pattern="^[a-z][a-z0-9_-]{0,62}$")]


class PersonLine(Given):
    """What is known of an actor."""

    actor: str
    person: str = Field(description="actors of one person count once")
    roles: list[str] = Field(description="what they are besides what their credential says")
    mail: str = ""
    barred: bool = Field(default=False, description="they decide nothing any more")
    set_by: str = ""
    set_at: int = 0


class PersonPage(Given):
    """Actors, in the order of their names."""

    items: list[PersonLine]
    next: str | None = None


class PersonSaid(Taken):
    """What is known from now on."""

    person: str = Field(default="", max_length=200, description="empty: the name that is under the actor by itself")
    roles: list[Role] = Field(default_factory=list, max_length=50)
    mail: str = Field(default="", max_length=320)
    barred: bool = False


class PersonForgotten(Given):
    """Nothing is known of the actor any more."""

    actor: str
    known: bool


class DelegationLine(Given):
    """A right to decide that was handed on."""

    id: UUID
    giver: str
    to: str
    roles: list[str]
    reason: str = ""
    made_at: int
    until: int
    ended_at: int = 0
    ended_by: str = ""


class DelegationPage(Given):
    """Rights that are handed on now: the caller's, given and taken; of everybody for whoever manages keys."""

    items: list[DelegationLine]
    roles: list[str] = Field(description="what the caller decides by, and could hand on")
    why_not: str = Field(default="", description="why the caller can hand nothing on")


class DelegationAsked(Taken):
    """To whom, and for how long."""

    to: str = Field(min_length=1, max_length=200)
    seconds: float = Field(ge=1, le=90 * 86_400)
    roles: list[Role] = Field(
        default_factory=list,
        max_length=50,
        description="only these of the caller's; empty: all. They are what counts where a policy asks for a role",
    )
    reason: Words = ""
