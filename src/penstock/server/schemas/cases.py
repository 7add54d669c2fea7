"""Cases that people take over. Times are microseconds since the epoch; 0 = none."""

from typing import Literal
from uuid import UUID

from pydantic import Field

from penstock.server.schemas.base import Given, Taken, Words


class CaseShown(Given):
    """How a case stands."""

    run: UUID
    assignee: str = Field(default="", description="who is to look at it")
    due: int = Field(default=0, description="until when they are to")
    holder: str = Field(default="", description="who holds it now: nobody else decides what it asks")
    claimed_at: int = 0
    until: int = Field(default=0, description="when the claim ends by itself")
    closed_at: int = Field(default=0, description="when it was put aside")
    note: str = Field(default="", description="what was said when it was last handed back")
    claims: int = 0


class CaseLine(CaseShown):
    """One case of the list."""

    agent: str
    customer: str = ""
    why: Literal["question", "escalated"] = Field(description="its run waits for an answer; its agent gave it up")
    ends: int = Field(default=0, description="when the first of its questions ends")
    late: bool = False
    questions: list[str] = Field(default_factory=list, description="the approvals that its run waits for")


class CasePage(Given):
    """Cases."""

    items: list[CaseLine]
    mine: int = Field(description="those that the caller holds")


class CaseClaimed(Taken):
    """For how long."""

    seconds: float = Field(default=3600, ge=1, le=7 * 86_400)
    take_over: bool = Field(default=False, description="also from somebody else; takes the role admin")
    reason: Words = Field(default="", description="why it is taken over; goes on the list of actions")


class CaseBack(Taken):
    """What whoever comes next should know."""

    note: Words = ""
    close: bool = Field(default=False, description="put a case aside whose run has ended")


class CaseAssigned(Taken):
    """Who, and until when."""

    to: str = Field(default="", max_length=200)
    due: int = Field(default=0, ge=0, le=2**53)
