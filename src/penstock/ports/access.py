"""Who may come in: keys of programs and people, and the sessions that the console holds.

All times are microseconds since the epoch, UTC, of the store's clock. Secrets are never stored, only SHA-256 digests of
them: they have 256 bits of randomness, so a slow hash would protect nothing more. Both stores pass
`tests/contract/access_suite.py`.
"""

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

MAX_LIST = 500


@dataclass(slots=True, frozen=True)
class KeyRecord:
    """A key, without its secret.

    Attributes:
        handle: the public part of its text, unique among all tenants.
        permissions: fewer than the roles give; None = all of them.
        expires_at, revoked_at, used_at: None = never. ``used_at`` is to the minute.
    """

    tenant: str
    id: UUID
    handle: str
    name: str
    roles: tuple[str, ...]
    permissions: tuple[str, ...] | None
    created_at: int
    created_by: str
    expires_at: int | None = None
    revoked_at: int | None = None
    used_at: int | None = None


@dataclass(slots=True, frozen=True)
class NewKey:
    """A key to be stored. ``digest``: SHA-256 of the secret, 32 bytes. ``expires_seconds``: from now; None = never."""

    tenant: str
    id: UUID
    handle: str
    digest: bytes
    name: str
    roles: tuple[str, ...]
    permissions: tuple[str, ...] | None
    created_by: str
    expires_seconds: float | None = None


@dataclass(slots=True, frozen=True)
class FoundKey:
    """What a handle leads to. ``now``: the store's clock when it was looked up."""

    key: KeyRecord
    digest: bytes
    now: int


@dataclass(slots=True, frozen=True)
class SessionRecord:
    """Somebody who is signed in to the console.

    Attributes:
        key: the key that was signed in with: the session ends with it; None = another way.
        expires_at: when it ends however much it is used.
        used_at: to the minute; it ends too when it has not been used for long.
    """

    tenant: str
    id: UUID
    actor: str
    name: str
    roles: tuple[str, ...]
    permissions: tuple[str, ...]
    key: UUID | None
    created_at: int = 0
    used_at: int = 0
    expires_at: int = 0


class Access(Protocol):
    """Keys and sessions of all tenants. A credential is looked up by itself, since it is what says whose tenant."""

    async def add_key(self, key: NewKey, *, first_admin: bool = False) -> KeyRecord | None:
        """Store a key; None when its handle is taken. With ``first_admin`` also None when the tenant has a key with
        the role ``admin`` that can still be used: of several processes that start at once, one stores its own."""
        ...

    async def find_key(self, handle: str) -> FoundKey | None:
        """The key of that handle, also a revoked or expired one."""
        ...

    async def get_key(self, tenant: str, key: UUID) -> KeyRecord | None:
        """One key of the tenant."""
        ...

    async def list_keys(self, tenant: str, after: UUID | None = None, limit: int = 100) -> list[KeyRecord]:
        """The tenant's keys in the order of their ids, at most ``limit`` (bounded at `MAX_LIST`)."""
        ...

    async def count_keys(self, tenant: str) -> int:
        """How many of the tenant's keys can still be used."""
        ...

    async def revoke_key(self, tenant: str, key: UUID) -> KeyRecord | None:
        """End a key and its sessions, for good; None when the tenant has no such key. Again is no error."""
        ...

    async def has_admin(self, tenant: str) -> bool:
        """Whether the tenant has a key with the role ``admin`` that can still be used."""
        ...

    async def used(self, tenant: str, *, key: UUID | None = None, session: UUID | None = None) -> None:
        """Note that it is in use; what was noted in the last minute is left as it is."""
        ...

    async def open_session(self, session: SessionRecord, digest: bytes, seconds: float, most: int) -> SessionRecord:
        """Store a session that lasts for ``seconds``; the actor's oldest beyond ``most`` end, and those of the tenant
        that are over are forgotten."""
        ...

    async def find_session(self, digest: bytes, idle_seconds: float) -> tuple[SessionRecord, int] | None:
        """The session of that secret, and the store's clock; None when there is none, it is over, it has not been used
        for ``idle_seconds``, or its key was revoked or has expired."""
        ...

    async def end_session(self, tenant: str, session: UUID) -> bool:
        """Sign out; False when there is no such session."""
        ...
