"""What both stores of keys and sessions must do. A subclass has a fixture ``world`` and can let time pass."""

import asyncio
from dataclasses import replace
from typing import Any

from tests.contract.journal_world import CLOCK, World

from penstock.kernel.ids import new_id
from penstock.kernel.randomness import token_bytes
from penstock.ports.access import KeyRecord, NewKey, SessionRecord

HOUR = 3600.0


def new_key(tenant: str = "acme", **fields: Any) -> NewKey:
    identity = {"id": new_id(CLOCK), "handle": token_bytes(4).hex(), "digest": token_bytes(32)}
    shown: dict[str, Any] = {"name": "ci", "roles": ("operator",), "permissions": None, "created_by": "ada"}
    return NewKey(tenant, **{**identity, **shown, **fields})


async def stored(world: World, new: NewKey) -> KeyRecord:
    made = await world.journal.access.add_key(new)
    assert made is not None
    return made


async def session(
    world: World, key: KeyRecord | None = None, *, actor: str = "key:ci", seconds: float = HOUR, most: int = 10
) -> tuple[SessionRecord, bytes]:
    digest = token_bytes(32)
    tenant = key.tenant if key else "acme"
    asked = SessionRecord(tenant, new_id(CLOCK), actor, "Ada é", ("viewer",), ("runs:read",), key.id if key else None)
    return await world.journal.access.open_session(asked, digest, seconds, most), digest


class AccessSuite:
    async def age(self, world: World, seconds: float) -> None:
        raise NotImplementedError

    async def test_a_key_is_found_by_its_handle_with_all_it_says(self, world: World) -> None:
        access = world.journal.access
        new = new_key(name="Zoë", roles=("viewer", "approver"), permissions=("runs:read",), expires_seconds=60.0)
        made = await stored(world, new)
        found = await access.find_key(new.handle)
        assert found is not None
        assert (found.key, found.digest) == (made, new.digest)
        assert (made.name, made.roles, made.permissions) == ("Zoë", ("viewer", "approver"), ("runs:read",))
        assert made.expires_at == made.created_at + 60_000_000
        assert (made.revoked_at, made.used_at) == (None, None)
        assert found.now >= made.created_at > 0
        assert await access.find_key("nobodys") is None

    async def test_keys_are_listed_in_order_and_by_pages_of_their_tenant(self, world: World) -> None:
        access = world.journal.access
        mine = sorted([await stored(world, new_key()) for _ in range(3)], key=lambda key: key.id)
        await stored(world, new_key("zeta"))
        assert await access.list_keys("acme") == mine
        assert await access.list_keys("acme", after=mine[0].id, limit=1) == [mine[1]]
        assert await access.get_key("acme", mine[0].id) == mine[0]
        assert await access.get_key("zeta", mine[0].id) is None

    async def test_a_handle_is_taken_once_among_all_tenants(self, world: World) -> None:
        first = await stored(world, new_key())
        assert await world.journal.access.add_key(new_key("zeta", handle=first.handle)) is None
        assert await world.journal.access.list_keys("zeta") == []

    async def test_revoking_is_for_good_and_only_for_the_tenants_own(self, world: World) -> None:
        access = world.journal.access
        key = await stored(world, new_key())
        assert await access.revoke_key("zeta", key.id) is None
        found = await access.find_key(key.handle)
        assert found is not None
        assert found.key.revoked_at is None
        revoked = await access.revoke_key("acme", key.id)
        assert revoked is not None
        assert revoked.revoked_at is not None
        assert await access.revoke_key("acme", key.id) == revoked

    async def test_the_first_admin_is_made_once(self, world: World) -> None:
        access = world.journal.access
        await stored(world, new_key())
        assert not await access.has_admin("acme")
        made = await asyncio.gather(*(access.add_key(new_key(roles=("admin",)), first_admin=True) for _ in range(8)))
        admins = [key for key in made if key is not None]
        assert len(admins) == 1
        assert await access.has_admin("acme")
        assert not await access.has_admin("zeta")
        await access.revoke_key("acme", admins[0].id)
        assert not await access.has_admin("acme")
        assert await access.add_key(new_key(roles=("admin",), expires_seconds=5.0), first_admin=True) is not None
        await self.age(world, 6)
        assert not await access.has_admin("acme")

    async def test_keys_that_can_be_used_are_counted(self, world: World) -> None:
        access = world.journal.access
        await stored(world, new_key("zeta"))
        revoked = await stored(world, new_key())
        await stored(world, new_key(expires_seconds=5.0))
        await stored(world, new_key())
        assert await access.count_keys("acme") == 3
        await access.revoke_key("acme", revoked.id)
        await self.age(world, 6)
        assert await access.count_keys("acme") == 1

    async def test_use_is_noted_to_the_minute(self, world: World) -> None:
        access = world.journal.access
        key = await stored(world, new_key())
        await access.used("zeta", key=key.id)
        assert await access.get_key("acme", key.id) == key
        await access.used("acme", key=key.id)
        first = await access.get_key("acme", key.id)
        assert first is not None
        assert first.used_at is not None
        await access.used("acme", key=key.id)
        assert await access.get_key("acme", key.id) == first
        await self.age(world, 61)
        before = await access.get_key("acme", key.id)
        assert before is not None
        await access.used("acme", key=key.id)
        later = await access.get_key("acme", key.id)
        assert later is not None
        assert later.used_at is not None
        assert later.used_at - (before.used_at or 0) >= 60_000_000

    async def test_a_session_is_found_by_its_secret_until_it_ends(self, world: World) -> None:
        access = world.journal.access
        made, digest = await session(world)
        assert (made.actor, made.name, made.roles, made.permissions) == (
            "key:ci",
            "Ada é",
            ("viewer",),
            ("runs:read",),
        )
        assert made.expires_at == made.created_at + 3_600_000_000
        found = await access.find_session(digest, HOUR)
        assert found is not None
        assert found[0] == made
        assert found[1] >= made.created_at
        assert await access.find_session(token_bytes(32), HOUR) is None
        assert not await access.end_session("zeta", made.id)
        assert await access.find_session(digest, HOUR) is not None
        assert await access.end_session("acme", made.id)
        assert await access.find_session(digest, HOUR) is None
        assert not await access.end_session("acme", made.id)

    async def test_a_session_ends_by_itself(self, world: World) -> None:
        access = world.journal.access
        made, digest = await session(world, seconds=200.0)
        await self.age(world, 100)
        assert await access.find_session(digest, 90.0) is None
        assert await access.find_session(digest, 110.0) is not None
        await access.used("acme", session=made.id)
        assert await access.find_session(digest, 90.0) is not None
        await self.age(world, 101)
        assert await access.find_session(digest, HOUR) is None

    async def test_a_session_ends_with_its_key(self, world: World) -> None:
        access = world.journal.access
        revoked, expiring = await stored(world, new_key()), await stored(world, new_key(expires_seconds=5.0))
        other = await stored(world, new_key())
        digests = [(await session(world, key))[1] for key in (revoked, expiring, other)]
        await access.revoke_key("acme", revoked.id)
        assert await access.find_session(digests[0], HOUR) is None
        assert await access.find_session(digests[1], HOUR) is not None
        await self.age(world, 6)
        assert await access.find_session(digests[1], HOUR) is None
        assert await access.find_session(digests[2], HOUR) is not None

    async def test_one_has_so_many_sessions_and_the_oldest_end(self, world: World) -> None:
        access = world.journal.access
        theirs = (await session(world, actor="key:other"))[1]
        mine = [(await session(world, most=2))[1] for _ in range(4)]
        found = [await access.find_session(digest, HOUR) is not None for digest in mine]
        assert found == [False, False, True, True]
        assert await access.find_session(theirs, HOUR) is not None

    async def test_a_record_holds_what_was_given(self, world: World) -> None:
        """Nothing is mixed up between the columns."""
        made, digest = await session(world, await stored(world, new_key()), actor="oidc:x")
        found = await world.journal.access.find_session(digest, HOUR)
        assert found is not None
        assert replace(found[0], created_at=0, used_at=0, expires_at=0) == replace(
            made, created_at=0, used_at=0, expires_at=0
        )
