"""Webhooks in PostgreSQL pass the conformance suite, and do what only a database is asked to."""

from collections.abc import AsyncIterator

import pytest
from tests.contract.test_journal_postgres import PostgresWorld
from tests.contract.webhooks_suite import WebhooksSuite, added, ended, take, told

from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal


class WebhooksWorld(PostgresWorld):
    async def advance(self, seconds: float) -> None:
        await super().advance(seconds)
        async with self.postgres.connection() as connection:
            await connection.execute(
                "UPDATE penstock.webhook_deliveries SET next_at = next_at - $1, created_at = created_at - $1",
                int(seconds * 1e6),
            )
            await connection.execute(
                "UPDATE penstock.webhook_endpoints SET hold_until = hold_until - $1, old_until = old_until - $1",
                int(seconds * 1e6),
            )


@pytest.fixture
async def world(journal_dsn: str) -> AsyncIterator[WebhooksWorld]:
    journal = await open_journal(ConnectionSettings(journal_dsn))
    yield WebhooksWorld(journal)
    await journal.close()


class TestPostgresWebhooks(WebhooksSuite):
    pass


async def test_what_is_rolled_back_is_not_told(world: WebhooksWorld) -> None:
    """A delivery and what it tells of are one transaction."""
    endpoint = await added(world)
    holder = await world.held()
    async with world.postgres.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(
            "UPDATE penstock.runs SET status = 'ended', outcome = 'succeeded' WHERE id = $1", holder.run
        )
        assert await connection.fetchval("SELECT count(*) FROM penstock.webhook_deliveries") == 1
        await transaction.rollback()
    assert await told(world, endpoint) == []


async def test_taking_looks_only_at_what_is_due(world: WebhooksWorld) -> None:
    """Ten thousand deliveries that wait for their next attempt cost the others nothing."""
    hung, well = await added(world), await added(world)
    async with world.postgres.connection() as connection:
        await connection.execute(
            """
            INSERT INTO penstock.webhook_deliveries (tenant, endpoint, id, topic, facts, created_at, next_at)
            SELECT 'acme', $1, 'msg_' || n, 'run.ended', '{}', penstock.now_us(), penstock.now_us() + 3600000000
            FROM generate_series(1, 10000) AS n""",
            hung.id,
        )
        await connection.execute("ANALYZE penstock.webhook_deliveries")
    await ended(world)
    async with world.postgres.connection() as connection:
        await connection.execute("SELECT pg_stat_force_next_flush()")
        read = "SELECT idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'webhook_deliveries'"
        before = await connection.fetchval(read)
    taken = await take(world)
    assert sorted(item.delivery.endpoint for item in taken) == sorted([hung.id, well.id])
    async with world.postgres.connection() as connection:
        await connection.execute("SELECT pg_stat_force_next_flush()")
        assert await connection.fetchval(read) - before < 200
