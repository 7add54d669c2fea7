"""Reports on runs that did not simply succeed."""

from uuid import UUID

from pydantic import Field

from penstock.server.schemas.base import Given


class EffectShown(Given):
    """A call of a tool that writes, or one that was not made."""

    tool: str
    path: str
    state: str = Field(description="done, undecided, failed, not_begun, denied, not_approved")
    words: str
    at: int


class ReportShown(Given):
    """What became of a run, in one place. Each list has at most 1,000; ``more`` says how many others there are."""

    run: UUID
    agent: str
    outcome: str
    code: str
    what: str = Field(description="in words")
    answered_by: str = Field(description="whose answer stands in for the agent's own; empty: nobody's")
    ended_at: int
    done: list[EffectShown] = Field(description="writes that took effect; taken back when `compensated`")
    undecided: list[EffectShown] = Field(description="writes that may or may not have happened")
    not_done: list[EffectShown] = Field(description="writes that failed or were not made, and calls that were denied")
    missing: list[str]
    needed: list[str]
    compensated: bool
    more: int
