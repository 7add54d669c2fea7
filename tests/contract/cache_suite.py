"""What every store of cached answers must do: serve what was kept to whoever has its key, and let one of many call."""

import asyncio
from typing import Any

from tests.contract.journal_world import LEASE, SECOND, Holder, World

from penstock.events import CacheSource
from penstock.ports.cache import COUNTS_KEPT_DAYS, HOUR, Bounds, CacheEntries, Count, Entry, Held, Scope, Seat, Which
from penstock.ports.records import Move, Status

ROOM = Bounds(1000, 1_000_000)
KEY = b"k" * 32
LIFE = 3600.0
FLIGHT = 600.0


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def seat(holder: Holder, path: str = "1") -> Seat:
    return Seat(holder.run, holder.claim.epoch, path)


def entry(holder: Holder, **fields: Any) -> Entry:
    """What the holder's call at path 1 came to."""
    data = fields.pop("data", b"So.")
    return Entry(
        **{
            "tenant": holder.tenant,
            "key": KEY,
            "gate": "model",
            "scope": "customer",
            "scope_name": "acme",
            "agent": "clerk",
            "name": "openai:gpt-5-mini",
            "subject": holder.claim.subject,
            "source": CacheSource(holder.run, "1", 0),
            "data": data,
            "codec": "raw",
            "size": len(data),
            "digest": b"d" * 32,
            "finish": "stop",
            "tokens": 7,
            "nano": 70,
            **fields,
        }
    )


async def keep(cache: CacheEntries, holder: Holder, life: float = LIFE, bounds: Bounds = ROOM, **fields: Any) -> bool:
    """Lead, and keep an answer."""
    made = entry(holder, **fields)
    taken = await cache.take(made.tenant, made.key, seat(holder), FLIGHT)
    assert taken.state == "lead"
    return await cache.put(made, seat(holder), taken.now, life, bounds)


async def state(cache: CacheEntries, holder: Holder, which: bytes = KEY, path: str = "9") -> str:
    """What somebody who asks is told; a flight that he would lead he leaves again."""
    taken = await cache.take(holder.tenant, which, seat(holder, path), FLIGHT)
    if taken.state == "lead":
        await cache.let_go(holder.tenant, which, seat(holder, path), 0)
    return taken.state


class CacheSuite:
    """Subclasses give the fixture ``world``."""

    async def test_what_was_kept_is_served_as_it_was(self, world: World) -> None:
        holder, other = await world.claimed(2)
        cache = world.journal.cache
        await cache.secret("acme")
        before = await world.journal.now()
        assert await keep(cache, holder, tags=("accounts", "look"), simulated=True)
        taken = await cache.take("acme", KEY, seat(other), FLIGHT)
        assert taken.state == "hit"
        found = taken.entry
        assert found is not None
        assert (found.source.run, found.source.path) == (holder.run, "1")
        assert before <= found.source.at <= await world.journal.now()
        assert found == entry(holder, tags=("accounts", "look"), simulated=True, source=found.source)
        assert await cache.held("acme") == Held(1, 3)

    async def test_another_tenant_finds_nothing_under_the_same_key(self, world: World) -> None:
        holder = await world.held()
        (other,) = await world.claimed(1, tenant="zeta")
        cache = world.journal.cache
        for tenant in ("acme", "zeta"):
            await cache.secret(tenant)
        await keep(cache, holder, tags=("t",))
        assert await state(cache, other) == "lead"
        assert await cache.held("zeta") == Held(0, 0)
        assert await cache.drop("zeta", ["t"]) == 0
        assert await cache.clear("zeta", Which()) == 0
        assert await cache.counts("zeta", 0, 2**60) == []
        assert await cache.held("acme") == Held(1, 3)

    async def test_each_tenant_has_a_secret_of_its_own_for_good(self, world: World) -> None:
        cache = world.journal.cache
        secrets = await asyncio.gather(*(cache.secret("acme") for _ in range(5)))
        assert len(set(secrets)) == 1
        assert len(secrets[0]) == 32
        assert await cache.secret("zeta") != secrets[0]

    async def test_one_of_many_makes_the_call(self, world: World) -> None:
        holders = await world.claimed(20)
        cache = world.journal.cache
        await cache.secret("acme")
        taken = await asyncio.gather(*(cache.take("acme", KEY, seat(holder), FLIGHT) for holder in holders))
        states = [item.state for item in taken]
        assert sorted(states) == ["busy"] * 19 + ["lead"]
        leader = holders[states.index("lead")]
        again = await cache.take("acme", KEY, seat(leader), FLIGHT)
        assert again.state == "lead", "asked again, because the answer was lost"
        assert await cache.put(entry(leader), seat(leader), again.now, LIFE, ROOM)
        taken = await asyncio.gather(*(cache.take("acme", KEY, seat(holder), FLIGHT) for holder in holders))
        assert {item.state for item in taken} == {"hit"}

    async def test_who_lets_go_makes_room_for_the_next(self, world: World) -> None:
        one, two, three = await world.claimed(3)
        cache = world.journal.cache
        await cache.secret("acme")
        assert (await cache.take("acme", KEY, seat(one), FLIGHT)).state == "lead"
        await cache.let_go("acme", KEY, seat(two), 0)  # not its own
        assert await state(cache, two) == "busy"
        await cache.let_go("acme", KEY, seat(one), 0)
        assert (await cache.take("acme", KEY, seat(two), FLIGHT)).state == "lead"
        await cache.let_go("acme", KEY, seat(two), 5.0)
        assert [await state(cache, who) for who in (one, two, three)] == ["alone"] * 3
        await world.advance(6)
        assert await state(cache, three) == "lead"

    async def test_a_call_whose_worker_is_lost_holds_nobody_up(self, world: World) -> None:
        one = await world.held()
        cache = world.journal.cache
        await cache.secret("acme")
        assert (await cache.take("acme", KEY, seat(one), 10 * LEASE)).state == "lead"
        await world.advance(2 * LEASE)
        two = await world.held()
        assert await state(cache, two) == "lead"

    async def test_a_run_that_changed_hands_or_ended_leads_no_longer(self, world: World) -> None:
        one, two, other = await world.claimed(3)
        cache = world.journal.cache
        await cache.secret("acme")
        assert (await cache.take("acme", KEY, seat(one), FLIGHT)).state == "lead"
        await one.append(move=Move(Status.ENDED, outcome="failed"))
        assert (await cache.take("acme", KEY, seat(two), FLIGHT)).state == "lead"
        assert await state(cache, other) == "busy"
        await two.append(move=Move(Status.QUEUED))
        assert await state(cache, other) == "lead"

    async def test_a_flight_ends_with_its_time(self, world: World) -> None:
        one, two = await world.claimed(2)
        cache = world.journal.cache
        await cache.secret("acme")
        assert (await cache.take("acme", KEY, seat(one), 5.0)).state == "lead"
        assert await state(cache, two) == "busy"
        await world.advance(6)
        taken = await cache.take("acme", KEY, seat(two), FLIGHT)
        assert taken.state == "lead"
        assert await cache.put(entry(one), seat(one), taken.now, LIFE, ROOM), "its answer is good all the same"
        assert await state(cache, one) == "hit"

    async def test_what_has_lived_its_life_is_not_served_and_swept(self, world: World) -> None:
        holder = await world.held()
        cache = world.journal.cache
        await cache.secret("acme")
        await keep(cache, holder, life=5.0)
        await keep(cache, holder, key=key(2), life=500.0)
        assert await state(cache, holder) == "hit"
        await world.advance(6)
        assert await state(cache, holder) == "lead"
        assert await cache.held("acme") == Held(2, 6)
        assert await cache.sweep(100) == 1
        assert await cache.held("acme") == Held(1, 3)
        assert await state(cache, holder, key(2)) == "hit"

    async def test_what_was_not_used_for_longest_makes_room(self, world: World) -> None:
        holder = await world.held()
        cache = world.journal.cache
        await cache.secret("acme")
        bounds = Bounds(3, 1000)
        for number in range(3):
            await keep(cache, holder, bounds=bounds, key=key(number))
            await world.advance(120)
        assert await state(cache, holder, key(0)) == "hit"  # used again
        await keep(cache, holder, bounds=bounds, key=key(3))
        assert [await state(cache, holder, key(number)) for number in range(4)] == ["hit", "lead", "hit", "hit"]
        assert await cache.held("acme") == Held(3, 9)
        assert await keep(cache, holder, bounds=bounds, key=key(4), data=b"x" * 995)
        assert await cache.held("acme") == Held(2, 998)
        assert not await keep(cache, holder, bounds=bounds, key=key(5), data=b"x" * 1001)
        assert await cache.held("acme") == Held(2, 998)
        assert await state(cache, holder, key(5)) == "lead", "its flight has ended"

    async def test_an_answer_takes_the_place_of_the_one_before(self, world: World) -> None:
        one, two = await world.claimed(2)
        cache = world.journal.cache
        await cache.secret("acme")
        await keep(cache, one)
        now = await world.journal.now()
        assert await cache.put(entry(two, data=b"Rather so."), seat(two), now, LIFE, ROOM)
        taken = await cache.take("acme", KEY, seat(one), FLIGHT)
        assert taken.entry is not None
        assert (taken.entry.data, taken.entry.source.run) == (b"Rather so.", two.run)
        assert await cache.held("acme") == Held(1, 10)

    async def test_what_is_erased_of_a_person_is_erased_here(self, world: World) -> None:
        person = await world.held(subject="p-7")
        (other,) = await world.claimed(1, tenant="zeta", subject="p-7")
        cache = world.journal.cache
        for tenant in ("acme", "zeta"):
            await cache.secret(tenant)
        await keep(cache, person)
        await keep(cache, person, key=key(2), subject="p-8")
        await keep(cache, other)
        taken = await cache.take("acme", key(3), seat(person), FLIGHT)
        await world.journal.erase_subject("acme", "p-7")
        assert await cache.held("acme") == Held(1, 3)
        assert await cache.held("zeta") == Held(1, 3)
        assert await state(cache, person) == "lead"
        assert not await cache.put(entry(person, key=key(3)), seat(person), taken.now, LIFE, ROOM), "it came too late"
        assert await cache.held("acme") == Held(1, 3)

    async def test_what_is_erased_of_a_run_is_erased_here(self, world: World) -> None:
        holder = await world.held()
        cache = world.journal.cache
        await cache.secret("acme")
        await keep(cache, holder)
        await world.journal.erase_subject("acme", str(holder.run))
        assert await cache.held("acme") == Held(0, 0)

    async def test_a_write_drops_what_it_makes_wrong_and_what_was_read_before_it(self, world: World) -> None:
        holder = await world.held()
        cache = world.journal.cache
        await cache.secret("acme")
        await keep(cache, holder, key=key(1), tags=("get_account", "accounts"))
        await keep(cache, holder, key=key(2), tags=("get_order", "orders"))
        began = await cache.take("acme", key(3), seat(holder), FLIGHT)
        assert await cache.drop("acme", ["accounts", "nothing"]) == 1
        assert await state(cache, holder, key(1)) == "lead"
        assert await state(cache, holder, key(2)) == "hit"
        read_before = entry(holder, key=key(3), tags=("accounts",))
        assert not await cache.put(read_before, seat(holder), began.now, LIFE, ROOM)
        assert await keep(cache, holder, key=key(3), tags=("accounts",)), "read after it"
        began = await cache.take("acme", key(4), seat(holder), FLIGHT)
        assert await cache.drop("acme", ["accounts"]) == 1
        assert await cache.put(entry(holder, key=key(4), tags=("orders",)), seat(holder), began.now, LIFE, ROOM)

    async def test_clearing_takes_what_is_meant(self, world: World) -> None:
        holder = await world.held()
        cache = world.journal.cache
        await cache.secret("acme")
        scopes: list[tuple[Scope, str]] = [("customer", "acme"), ("customer", "zeta"), ("tenant", "")]
        for number, (scope, name) in enumerate(scopes):
            await keep(cache, holder, key=key(number), scope=scope, scope_name=name)
        await keep(cache, holder, key=key(3), gate="tool", name="look", tags=("look",), scope="agent", agent="other")
        began = await cache.take("acme", key(9), seat(holder), FLIGHT)
        assert await cache.clear("acme", Which(scope="customer", scope_name="zeta")) == 1
        assert await cache.clear("acme", Which(agent="nobody")) == 0
        assert await cache.clear("acme", Which(gate="model", name="look")) == 0
        assert await cache.clear("acme", Which(tag="look", agent="other")) == 1
        assert await cache.held("acme") == Held(2, 6)
        assert await cache.clear("acme", Which(gate="model")) == 2
        assert await cache.held("acme") == Held(0, 0)
        assert not await cache.put(entry(holder, key=key(9)), seat(holder), began.now, LIFE, ROOM)

    async def test_counts_are_added_up(self, world: World) -> None:
        cache = world.journal.cache
        hour = (await world.journal.now()) // HOUR * HOUR
        for number in (0, 1):
            await cache.count(
                [
                    Count("acme", hour + number * HOUR, "model", "clerk", "m", hits=3, saved_nano=10, tokens_cached=5),
                    Count("acme", hour, "tool", "clerk", "look", misses=1),
                    Count("zeta", hour, "model", "clerk", "m", hits=100),
                ]
            )
        assert await cache.counts("acme", hour, hour + 2 * HOUR) == [
            Count("acme", 0, "model", "clerk", "m", hits=6, saved_nano=20, tokens_cached=10),
            Count("acme", 0, "tool", "clerk", "look", misses=2),
        ]
        assert [item.hits for item in await cache.counts("acme", hour, hour + HOUR)] == [3, 0]
        await cache.count([])

    async def test_counts_that_are_too_old_are_swept(self, world: World) -> None:
        cache = world.journal.cache
        hour = (await world.journal.now()) // HOUR * HOUR
        old = hour - (COUNTS_KEPT_DAYS * 24 + 1) * HOUR
        await cache.count([Count("acme", old, "model", "clerk", "m", hits=1)])
        await cache.count([Count("acme", hour, "model", "clerk", "m", hits=2)])
        await cache.sweep(10)
        assert [item.hits for item in await cache.counts("acme", 0, hour + SECOND)] == [2]
