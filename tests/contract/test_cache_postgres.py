"""The cache in PostgreSQL passes the conformance suite, and keeps what only a database can break."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.contract.cache_suite import FLIGHT, KEY, LIFE, ROOM, CacheSuite, entry, keep, key, seat, state
from tests.contract.test_journal_postgres import PostgresWorld

from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal
from penstock.ports.cache import Bounds, Held, Which


@pytest.fixture
async def world(journal_dsn: str) -> AsyncIterator[PostgresWorld]:
    journal = await open_journal(ConnectionSettings(journal_dsn, seal_tries=5))
    yield PostgresWorld(journal)
    await journal.close()


class TestPostgresCache(CacheSuite):
    @pytest.fixture
    async def world(self, journal_dsn: str) -> AsyncIterator[PostgresWorld]:
        """Times here are numbers in rows, not only leases: they come nearer, too."""
        journal = await open_journal(ConnectionSettings(journal_dsn, seal_tries=5))
        yield CachedWorld(journal)
        await journal.close()


class CachedWorld(PostgresWorld):
    async def advance(self, seconds: float) -> None:
        await super().advance(seconds)
        us = int(seconds * 1e6)
        async with self.postgres.connection() as connection:
            await connection.execute(
                f"""
                UPDATE penstock.cache_entries SET expires_at = expires_at - {us}, used_at = used_at - {us};
                UPDATE penstock.cache_flights SET until = until - {us};"""
            )


@pytest.fixture
async def other(journal_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A session of somebody else."""
    connection = await asyncpg.connect(journal_dsn)
    yield connection
    if not connection.is_closed():
        await connection.close()


async def until_waiting(other: asyncpg.Connection, count: int = 1) -> None:
    async with asyncio.timeout(30):
        while await other.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") < count:
            await asyncio.sleep(0.005)


async def test_an_answer_that_is_kept_while_its_subject_is_erased_is_erased_too(
    world: PostgresWorld, other: asyncpg.Connection
) -> None:
    holder = await world.held(subject="p-7")
    cache = world.journal.cache
    await cache.secret("acme")
    taken = await cache.take("acme", KEY, seat(holder), FLIGHT)
    async with other.transaction():
        await other.fetch("SELECT FROM penstock.cache_tenants FOR UPDATE")
        keeping = asyncio.create_task(cache.put(entry(holder), seat(holder), taken.now, LIFE, ROOM))
        await until_waiting(other)
        erasing = asyncio.create_task(world.journal.erase_subject("acme", "p-7"))
        await asyncio.sleep(0.05)
        assert not erasing.done()
    assert await keeping
    await erasing
    assert await cache.held("acme") == Held(0, 0)
    assert await other.fetchval("SELECT count(*) FROM penstock.cache_entries") == 0


async def test_an_answer_that_came_while_one_waited_for_its_flight_is_served(
    world: PostgresWorld, other: asyncpg.Connection
) -> None:
    """Between the look at entries and the claim of the flight the leader was done."""
    one, two = await world.claimed(2)
    cache = world.journal.cache
    await cache.secret("acme")
    async with other.transaction():
        await other.execute(
            "INSERT INTO penstock.cache_flights VALUES ('acme', $1, $2, $3, '1', 2^60)", KEY, one.run, one.claim.epoch
        )
        asking = asyncio.create_task(cache.take("acme", KEY, seat(two), FLIGHT))
        await until_waiting(other)
        await other.fetch(
            "SELECT penstock.cache_put('acme', $1, 'model', 'tenant', '', 'a', 'm', 's', $2, $3, '1', '{}', 'raw', 3,"
            " '', 'So.', 'stop', false, 1, 1, 1, 1000000000, 10, 1000)",
            KEY,
            one.run,
            one.claim.epoch,
        )
    taken = await asking
    assert taken.state == "hit"
    assert await other.fetchval("SELECT count(*) FROM penstock.cache_flights") == 0


async def test_puts_drops_and_evictions_side_by_side_leave_totals_that_are_true(
    world: PostgresWorld, other: asyncpg.Connection
) -> None:
    holder = await world.held()
    cache = world.journal.cache
    await cache.secret("acme")
    now = await world.journal.now()
    bounds = Bounds(15, 100)

    async def put(number: int) -> None:
        made = entry(holder, key=key(number % 30), tags=(f"t{number % 3}",), data=b"x" * (1 + number % 20))
        await cache.put(made, seat(holder), now, LIFE, bounds)
        if number % 7 == 0:
            await cache.drop("acme", [f"t{number % 2}", "t2"])
        if number % 11 == 0:
            await cache.clear("acme", Which(tag="t1"))

    # Entries that are dropped later than ``now`` are not kept again: only those that were there before count.
    await asyncio.gather(*(put(number) for number in range(120)))
    for number in range(120, 160):
        await keep(cache, holder, key=key(number), bounds=bounds, tags=())
    real = await other.fetchrow("SELECT count(*), coalesce(sum(octet_length(data)), 0) FROM penstock.cache_entries")
    assert await cache.held("acme") == Held(real[0], real[1])
    assert 0 < real[0] <= 15
    assert real[1] <= 100


async def test_what_retention_erases_of_a_run_is_erased_here(world: PostgresWorld, other: asyncpg.Connection) -> None:
    holder = await world.held()
    cache = world.journal.cache
    await cache.secret("acme")
    await keep(cache, holder)
    await other.execute("UPDATE penstock.runs SET subject_key = NULL WHERE id = $1", holder.run)
    assert await cache.held("acme") == Held(0, 0)
    assert await state(cache, holder) == "lead"


async def test_serving_and_asking_use_indexes_whatever_the_tables_hold(
    world: PostgresWorld, other: asyncpg.Connection
) -> None:
    holder = await world.held()
    cache = world.journal.cache
    await cache.secret("acme")
    await other.execute(
        """
        INSERT INTO penstock.cache_entries
        SELECT 'acme', sha256(n::text::bytea), 'model', 'tenant', '', 'a', 'm', n::text, $1, '1', 1, 2^60, n, '{x}',
               'raw', 1, '', 'x', 'stop', false, 1, 1
        FROM generate_series(1, 20000) AS n""",
        holder.run,
    )
    await other.execute("UPDATE penstock.cache_tenants SET entries = 20000, bytes = 20000")
    await other.execute("SELECT pg_stat_force_next_flush()")
    before = await other.fetchval("SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'cache_entries'")
    for number in range(20):
        await keep(cache, holder, key=key(number), bounds=Bounds(20_000, 10**9))
    await world.journal.erase_subject("acme", "77")
    async with world.postgres.connection() as connection:
        await connection.execute("SELECT pg_stat_force_next_flush()")
    after = await other.fetchval("SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'cache_entries'")
    assert after == before
    assert await cache.held("acme") == Held(19_999, 19_979 + 60)
