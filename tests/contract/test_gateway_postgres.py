"""What the gateway keeps in PostgreSQL passes the conformance suite, and does what only a database is asked to."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.contract.gateway_suite import GatewaySuite, begun, first
from tests.contract.test_journal_postgres import PostgresWorld

from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal
from penstock.ports.records import Answer


@pytest.fixture
async def world(journal_dsn: str) -> AsyncIterator[PostgresWorld]:
    journal = await open_journal(ConnectionSettings(journal_dsn))
    yield PostgresWorld(journal)
    await journal.close()


class TestPostgresGateway(GatewaySuite):
    async def test_run_and_intent_are_one_transaction(self, world: PostgresWorld) -> None:
        holder, begin = begun(world, await world.worker())
        await world.journal.append([first(holder, begin)])
        async with world.postgres.connection() as connection:
            found = await connection.fetch(
                "SELECT DISTINCT xmin::text FROM penstock.events WHERE run_id = $1", holder.run
            )
        assert len(found) == 1

    async def test_of_many_that_begin_a_name_at_once_one_gets_it(self, world: PostgresWorld) -> None:
        worker = await world.worker()
        made = [begun(world, worker, name="desk/task") for _ in range(8)]
        answers = await asyncio.gather(*(world.journal.append([first(*pair)]) for pair in made))
        assert sorted(answer.answer for (answer,) in answers) == sorted([Answer.APPLIED] + [Answer.ABSENT] * 7)
