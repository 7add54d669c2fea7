"""Circuit breakers in PostgreSQL pass the conformance suite; a trip is exact against appends under way."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.contract.breakers_suite import GPT, MODELS, BreakersSuite, BreakersWorld, unique

from penstock.adapters.postgres.breakers import PostgresBreakers
from penstock.adapters.postgres.database import ConnectionSettings, Database

# The database's clock cannot be moved, so all that is compared with it is.
_ADVANCE = """
WITH moved AS (
    UPDATE penstock.breaker_circuits
    SET until = until - $1 * interval '1 second', probe_until = probe_until - $1 * interval '1 second'
)
UPDATE penstock.breaker_reports SET at = at - $1 * interval '1 second'"""


class PostgresWorld(BreakersWorld):
    def __init__(self, database: Database) -> None:
        self.database = database
        self.breakers = PostgresBreakers(database)

    async def advance(self, seconds: float) -> None:
        await self.database.fetch(_ADVANCE, float(seconds))


@pytest.fixture
async def world(journal_dsn: str) -> AsyncIterator[PostgresWorld]:
    database = await Database.connect(ConnectionSettings(journal_dsn))
    yield PostgresWorld(database)
    await database.close()


class TestPostgresBreakers(BreakersSuite):
    pass


async def test_a_trip_waits_for_appends_under_way(world: PostgresWorld, journal_dsn: str) -> None:
    """While somebody has the lock that appends share, the trip has not happened; it happens when they are done."""
    await world.breakers.put(MODELS, "ops")
    writer = await asyncpg.connect(journal_dsn)
    try:
        async with writer.transaction():
            await writer.execute("SELECT pg_advisory_xact_lock_shared(penstock.append_lock())")
            tripping = asyncio.create_task(world.trip())
            await asyncio.sleep(0.2)
            assert not tripping.done()
            assert await world.state() == "closed"
        assert await tripping
    finally:
        await writer.close()
    (trip,) = await world.breakers.trips("acme", None, None, 1)
    assert trip.sealed


async def test_a_session_that_never_ends_does_not_keep_it_closed(world: PostgresWorld, journal_dsn: str) -> None:
    await world.breakers.put(MODELS, "ops")
    settings = world.database.settings
    assert settings.seal_tries * settings.seal_wait_ms < 10_000
    writer = await asyncpg.connect(journal_dsn)
    try:
        async with writer.transaction():
            await writer.execute("SELECT pg_advisory_xact_lock_shared(penstock.append_lock())")
            assert await world.breakers.trip(GPT, 0, unique(), 10, "worker-1", b"{}")
    finally:
        await writer.close()
    (trip,) = await world.breakers.trips("acme", None, None, 1)
    assert not trip.sealed
