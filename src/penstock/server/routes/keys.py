"""The tenant's keys."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from penstock.kernel.errors import KeyUnknown, PermissionMissing
from penstock.ports.access import KeyRecord
from penstock.server.access.caller import Caller, needs
from penstock.server.access.keys import make_key
from penstock.server.context import Here, Server
from penstock.server.schemas.access import KeyAsked, KeyMade, KeyPage, KeyShown
from penstock.server.schemas.base import Limit

router = APIRouter(prefix="/v1/keys", tags=["access"])

Manager = Annotated[Caller, needs("keys:manage")]


@router.get("")
async def keys_list(
    server: Here,
    caller: Manager,
    cursor: Annotated[UUID | None, Query()] = None,
    limit: Annotated[Limit, Query()] = 100,
) -> KeyPage:
    """The tenant's keys, oldest first, also those that can not be used any more. Never their secrets."""
    found = await server.journal.access.list_keys(caller.tenant, cursor, limit)
    more = str(found[-1].id) if len(found) == limit else None
    return KeyPage(items=[KeyShown.model_validate(_shown(server, key)) for key in found], next=more)


@router.post("", status_code=201)
async def keys_make(server: Here, caller: Manager, body: KeyAsked) -> KeyMade:
    """Make a key. Its text is in this answer, and nowhere else, ever. It can do no more than whoever makes it."""
    wanted = server.doorkeeper.permissions(caller.tenant, body.roles, body.permissions)
    if beyond := sorted(wanted - caller.permissions):
        raise PermissionMissing(
            f"{caller.actor} cannot give the permission {beyond[0]}, which it does not have", permission=beyond[0]
        )
    services = server.platform.services
    made = await make_key(
        services.journal.access,
        services.clock,
        caller.tenant,
        body.name,
        body.roles,
        most=server.settings.keys_max,
        created_by=caller.actor,
        permissions=body.permissions,
        expires_seconds=body.expires_seconds,
    )
    assert made is not None
    key, text = made
    detail = {"name": key.name, "roles": list(key.roles), "permissions": body.permissions, "expires_at": key.expires_at}
    await server.actions.record(caller, "key.make", str(key.id), detail)
    return KeyMade.model_validate({**_shown(server, key), "key": text})


@router.delete("/{id}")
async def keys_revoke(server: Here, caller: Manager, id: UUID) -> KeyShown:  # noqa: A002 - as the path has it
    """End a key and the sessions that were signed in to with it, for good. Other servers notice within
    ``PENSTOCK_KEY_CACHE_SECONDS``, this one at once."""
    found = await server.journal.access.revoke_key(caller.tenant, id)
    if found is None:
        raise KeyUnknown(f"there is no key {id}")
    server.doorkeeper.forget(id)
    await server.actions.record(caller, "key.revoke", str(id), {"name": found.name})
    return KeyShown.model_validate(_shown(server, found))


def _shown(server: Server, key: KeyRecord) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "roles": list(key.roles),
        "permissions": sorted(server.doorkeeper.permissions(key.tenant, key.roles, key.permissions)),
        "created_at": key.created_at,
        "created_by": key.created_by,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "used_at": key.used_at,
    }
