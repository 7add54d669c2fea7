"""Making keys: for routes, the command line and the first start alike."""

from collections.abc import Sequence

from penstock.kernel.clock import Clock
from penstock.kernel.errors import InputInvalid, JournalError, KeysFull
from penstock.kernel.ids import new_id
from penstock.ports.access import Access, KeyRecord, NewKey
from penstock.server.access.credentials import digest_of, key_text, new_handle, new_secret
from penstock.server.access.roles import check_roles

NAME_MAX_CHARS = 200
EXPIRES_MIN_SECONDS = 60.0
EXPIRES_MAX_SECONDS = 3660 * 86_400.0
TRIES = 5
"""Handles that are tried: 40 random bits are taken once in a million makings when there are a million keys."""


async def make_key(
    access: Access,
    clock: Clock,
    tenant: str,
    name: str,
    roles: Sequence[str],
    *,
    most: int,
    created_by: str,
    permissions: Sequence[str] | None = None,
    expires_seconds: float | None = None,
    first_admin: bool = False,
) -> tuple[KeyRecord, str] | None:
    """Make and store a key; with its text, which nobody can find out later. None only with ``first_admin``: there is an
    admin's key.

    Args:
        most: keys that the tenant may have. Several that are made at once may exceed it: it is a bound, not a quota.
        permissions: fewer than the roles give; None = all of them.
        expires_seconds: None = never.

    Raises:
        InputInvalid: a name or time that cannot be.
        RoleUnknown: a role or permission that there is not.
        KeysFull: the tenant has as many as it may have.
    """
    given = check_roles(roles, permissions)
    name = name.strip()
    if not 1 <= len(name) <= NAME_MAX_CHARS or not name.isprintable():
        raise InputInvalid(f"a key's name has 1 to {NAME_MAX_CHARS} printable characters")
    if expires_seconds is not None and not EXPIRES_MIN_SECONDS <= expires_seconds <= EXPIRES_MAX_SECONDS:
        raise InputInvalid("a key lasts from a minute to ten years, or for ever")
    if await access.count_keys(tenant) >= most:
        raise KeysFull(f"the tenant {tenant!r} has {most:,} keys that can be used")
    only = None if permissions is None else tuple(sorted(set(permissions)))
    for _ in range(TRIES):
        handle, secret = new_handle(), new_secret()
        new = NewKey(tenant, new_id(clock), handle, digest_of(secret), name, given, only, created_by, expires_seconds)
        made = await access.add_key(new, first_admin=first_admin)
        if made is not None:
            return made, key_text(handle, secret)
        if first_admin and await access.has_admin(tenant):
            return None
    raise JournalError("no key could be made: every handle that was tried is taken", hint="report this")


async def make_first_admin(access: Access, clock: Clock, tenant: str, most: int) -> str | None:
    """The text of a new admin's key, when the tenant has none that can be used; else None. Of several processes that
    start at once, one gets it."""
    if await access.has_admin(tenant):
        return None
    made = await make_key(
        access, clock, tenant, "first-admin", ["admin"], most=most, created_by="penstock serve", first_admin=True
    )
    return None if made is None else made[1]
