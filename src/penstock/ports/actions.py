"""What people and programs did through the server: a list per tenant that only grows, each entry chained to the one
before it. Both stores pass `tests/contract/actions_suite.py`."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

MAX_LIST = 500
_DOMAIN = b"penstock.actions.1"


@dataclass(slots=True, frozen=True)
class Action:
    """One action as it is stored.

    Attributes:
        seq: 1 for the tenant's first, without gaps.
        at: when it was stored, microseconds since the epoch, by the store's clock.
        body: JSON of `penstock.journal.actions.Said`.
        hash: see `penstock.ports.actions.link_action`; 32 bytes.
    """

    seq: int
    at: int
    body: bytes
    hash: bytes


@dataclass(slots=True, frozen=True)
class ActionHead:
    """The end of a tenant's list: how many there are, and the last one's hash."""

    seq: int
    hash: bytes


@dataclass(slots=True, frozen=True)
class NewAction:
    """An action to be stored. ``actor`` and ``action`` are what the body says too: what the list is searched by."""

    tenant: str
    actor: str
    action: str
    body: bytes


def first_link(tenant: str) -> bytes:
    """What a tenant's first action is linked to; differs for every tenant. 32 bytes."""
    name = tenant.encode()
    return hashlib.sha256(_DOMAIN + len(name).to_bytes(4, "big") + name).digest()


def link_action(previous: bytes, seq: int, at: int, body: bytes) -> bytes:
    """The hash of an action: SHA-256 of the previous hash, its number and time (8 bytes each, big-endian), its body.

    The form of a run's chain (`penstock.journal.chain.link`), but over place and time too: a store numbers actions.
    """
    return hashlib.sha256(previous + seq.to_bytes(8, "big") + at.to_bytes(8, "big") + body).digest()


class Actions(Protocol):
    """Lists of actions."""

    async def record(self, actions: Sequence[NewAction]) -> list[Action]:
        """Append, in order and durably: all of them or none."""
        ...

    async def page(
        self, tenant: str, before: int | None = None, actor: str = "", action: str = "", limit: int = 100
    ) -> list[Action]:
        """Newest first with ``seq < before``, at most ``limit`` (bounded at `MAX_LIST`); '' = of every actor, of every
        kind. ``action`` that ends with a dot is the beginning of the kinds that are meant."""
        ...

    async def since(self, tenant: str, after: int = 0, limit: int = MAX_LIST) -> list[Action]:
        """Oldest first with ``seq > after``: for verification."""
        ...

    async def head(self, tenant: str) -> ActionHead | None:
        """The end of the tenant's list; None = there never was an action."""
        ...

    async def tenants(self) -> list[str]:
        """All tenants with actions, in order: for checks of everything."""
        ...
