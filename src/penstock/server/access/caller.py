"""The caller of a route, and what a route demands of it.

A route takes ``caller: Annotated[Caller, needs("runs:read")]``. One for everybody who is signed in takes
``Annotated[Caller, signed_in]``; one that is open to all says so with ``dependencies=[open_to_all]``. A route that says
none of these cannot be served: `penstock.server.app.create_app` refuses it.
"""

from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from fastapi import Depends, Request

from penstock.kernel.errors import PermissionMissing
from penstock.server.access.roles import PERMISSIONS
from penstock.server.exchange import exchange_of


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as a credential says.

    Attributes:
        actor: pseudonym under which actions are recorded: ``key:NAME`` or ``oidc:…``.
        tenant: the only tenant whose things the caller can see or change.
        credential: id of the key, or of the session.
        key: id of the key that was, or that the session was, signed in with; None = another way.
        expires_at: microseconds since the epoch; None = never.
        csrf: of a session: what has to come with a change.
        request: id of the request.
    """

    actor: str
    name: str
    tenant: str
    roles: tuple[str, ...]
    permissions: frozenset[str]
    signed_in: Literal["key", "session"]
    credential: UUID
    key: UUID | None = None
    expires_at: int | None = None
    csrf: str = ""
    request: str = ""

    def may(self, permission: str) -> bool:
        """Whether the caller has the permission."""
        return permission in self.permissions

    def demand(self, permission: str) -> None:
        """For what depends on more than the route.

        Raises:
            PermissionMissing: the caller does not have it.
        """
        if permission not in self.permissions:
            raise PermissionMissing(f"{self.actor} does not have the permission {permission}", permission=permission)


class Demand:
    """What a route demands; '' = only to be signed in."""

    def __init__(self, permission: str) -> None:
        self.permission = permission

    async def __call__(self, request: Request) -> Caller:
        # Below /v1 the frame has found out before the body was read; elsewhere it is found out here.
        caller = exchange_of(request.scope).caller or await request.app.state.server.doorkeeper.caller(request)
        if self.permission:
            caller.demand(self.permission)
        assert isinstance(caller, Caller)
        return caller


def needs(permission: str) -> Any:
    """The dependency that gives a caller who has the permission; anybody else is refused with 401 or 403."""
    assert permission in PERMISSIONS, permission
    return Depends(Demand(permission))


signed_in = Depends(Demand(""))


async def openly() -> None:
    """What `open_to_all` depends on: nothing."""


open_to_all = Depends(openly)
"""For routes that everybody may ask."""
