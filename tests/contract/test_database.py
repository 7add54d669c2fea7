"""Connections are kept between statements; whoever waits for one gets it, and none that is broken is used again."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from penstock.adapters.postgres.database import ConnectionSettings, Database
from penstock.kernel.errors import JournalError, JournalUnavailable

SESSION = "SELECT pg_backend_pid()"


@pytest.fixture
async def database(server_dsn: str) -> AsyncIterator[Database]:
    opened = await Database.connect(ConnectionSettings(server_dsn, pool_size=1))
    yield opened
    await opened.close()


async def test_many_statements_share_few_connections(database: Database) -> None:
    found = await asyncio.gather(*(database.value(SESSION) for _ in range(20)))
    assert len(set(found)) == 1


async def test_a_kept_connection_is_given_to_who_wants_a_whole_one(database: Database) -> None:
    kept = await database.value(SESSION)
    async with database.connection() as connection:
        assert await connection.fetchval(SESSION) == kept
        waiting = asyncio.create_task(database.value(SESSION))
        await asyncio.sleep(0)
        assert not waiting.done()
    assert await asyncio.wait_for(waiting, 10) == kept


async def test_a_statement_that_was_cancelled_leaves_nothing_behind(database: Database) -> None:
    kept = await database.value(SESSION)
    slow = asyncio.create_task(database.fetch("SELECT pg_sleep(60)"))
    watching = await Database.connect(database.settings)
    try:
        busy = "SELECT state = 'active' FROM pg_stat_activity WHERE pid = $1 AND query LIKE '%pg_sleep%'"
        while not await watching.value(busy, kept):
            await asyncio.sleep(0.01)
    finally:
        await watching.close()
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    assert await asyncio.wait_for(database.value("SELECT 7"), 10) == 7


async def test_a_statement_that_fails_keeps_nobody_from_the_next(database: Database) -> None:
    with pytest.raises(JournalError, match="division by zero"):
        await database.value("SELECT 1 / 0")
    assert await database.value("SELECT 7") == 7


async def test_a_session_that_was_ended_while_it_was_kept_is_replaced(database: Database) -> None:
    kept = await database.value(SESSION)
    other = await Database.connect(database.settings)
    await other.value("SELECT pg_terminate_backend($1)", kept)
    await other.close()
    found = kept
    async with asyncio.timeout(10):
        while found == kept:
            try:
                found = await database.value(SESSION)
            except JournalUnavailable:  # as long as the end of the session has not come in
                await asyncio.sleep(0.01)


async def test_closing_does_not_wait_for_what_is_kept(server_dsn: str) -> None:
    database = await Database.connect(ConnectionSettings(server_dsn))
    await asyncio.gather(*(database.value(SESSION) for _ in range(4)))
    async with asyncio.timeout(4):
        await database.close()
    with pytest.raises(JournalError):
        await database.value(SESSION)
