"""The audit log."""

from typing import Any
from uuid import UUID

from pydantic import Field

from penstock.server.schemas.base import Given, Taken


class LogPoint(Given):
    """A checkpoint: a signed note (c2sp.org/tlog-checkpoint), to be kept where the operator cannot change it."""

    size: int = Field(description="leaves of the log")
    at: int
    checkpoint: str = Field(description="the note with all its signatures, line ends included")
    witnesses: int = Field(description="signatures of witnesses")


class LogShown(Given):
    """How the tenant's log stands."""

    newest: LogPoint | None = Field(description="null = nothing has been sealed yet")
    keys: list[str] = Field(description="public keys of the log in one line each (name+id+key), the newest last")
    history: list[str] = Field(description="the statement by which each key came to sign: signed notes")
    sealed_at: int = Field(description="when something was sealed last, of any tenant; 0 = never")
    problem: str = Field(description="what is in the way of sealing; '' = nothing")


class LogPointPage(Given):
    """Checkpoints, newest first."""

    items: list[LogPoint]
    next: str | None = None


class InclusionShown(Given):
    """That a leaf is in the log: RFC 6962, 2.1.1. Hashes in hexadecimal, the lowest first."""

    run: UUID
    event: int = Field(description="the last event of the run that the leaf covers")
    index: int
    size: int
    leaf: str = Field(description="its text; its hash is SHA-256 of a zero byte and these bytes")
    proof: list[str]
    checkpoint: str


class ConsistencyAsked(Taken):
    """A checkpoint that somebody holds, as it was given out."""

    checkpoint: str = Field(max_length=16_384)


class ConsistencyShown(Given):
    """That the log has only grown: RFC 6962, 2.1.2."""

    old: int
    size: int
    proof: list[str]
    checkpoint: str


class CosignaturesGiven(Taken):
    """Signature lines of witnesses (c2sp.org/tlog-cosignature), or a checkpoint with them."""

    signatures: str = Field(min_length=1, max_length=16_384)
    size: int | None = Field(default=None, ge=1, le=2**53, description="of the checkpoint; without it the newest one")


class CosignaturesTaken(Given):
    """Whose signatures were kept."""

    taken: list[str]


class AccountsShown(Given):
    """Who answers for the calls of a run; see docs/explanation/audit.md."""

    run: UUID
    calls: list[dict[str, Any]]
    watched: list[dict[str, Any]] = Field(
        default=[], description="who had the run in their hands, or was to look at it, and when; until 0 = still"
    )
