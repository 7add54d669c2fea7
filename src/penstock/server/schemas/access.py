"""Who may do what: keys, people, their actions."""

from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from penstock.server.schemas.base import Given, Name, Taken

RoleName = Literal["viewer", "operator", "approver", "auditor", "witness", "gateway", "admin"]


class Me(Given):
    """The caller."""

    actor: str = Field(description="pseudonym under which actions are recorded: key:NAME or oidc:SUBJECT")
    name: str
    tenant: str
    environment: str
    roles: list[RoleName]
    permissions: list[str]
    signed_in: Literal["key", "session"]
    expires_at: int | None = None
    csrf: str = Field(default="", description="of a session: to be sent back as X-CSRF-Token with whatever changes")
    sign_out: bool = False
    version: str


class SignIn(Taken):
    """Sign in to the console with a key."""

    key: str = Field(min_length=1, max_length=300)


class SignInWays(Given):
    """How one may sign in; open to everybody."""

    key: bool = True
    oidc: str = Field(default="", description="name of the identity provider; empty = none is set up")


class KeyAsked(Taken):
    """A key to be made."""

    name: Name
    roles: list[RoleName] = Field(min_length=1)
    permissions: list[str] | None = Field(default=None, description="fewer than the roles give; None = all of them")
    expires_seconds: int | None = Field(default=None, ge=60, le=86_400 * 3660, description="None = never")


class KeyShown(Given):
    """A key, without its secret."""

    id: UUID
    name: str
    roles: list[RoleName]
    permissions: list[str]
    created_at: int
    created_by: str
    expires_at: int | None = None
    revoked_at: int | None = None
    used_at: int | None = Field(default=None, description="to the minute")


class KeyPage(Given):
    """Keys, oldest first."""

    items: list[KeyShown]
    next: str | None = Field(default=None, description="cursor of the next page; None = this is the last")


class KeyMade(KeyShown):
    """A new key: the only time that its secret is shown."""

    key: str


class ActionShown(Given):
    """One action of a person or program, as it is recorded: each is chained to the one before."""

    seq: int
    at: int
    actor: str
    action: str
    target: str
    detail: dict[str, Any] = Field(default_factory=dict)
    hash: str


class ActionPage(Given):
    """Actions, newest first."""

    items: list[ActionShown]
    next: str | None = None
