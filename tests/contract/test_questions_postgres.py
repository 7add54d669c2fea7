"""Questions and stops in PostgreSQL pass the conformance suite."""

from collections.abc import AsyncIterator

import pytest
from tests.contract.journal_world import World
from tests.contract.questions_suite import ControlsSuite, QuestionsSuite, ask
from tests.contract.test_journal_postgres import PostgresWorld

from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal
from penstock.events import Waiting


@pytest.fixture
async def world(journal_dsn: str) -> AsyncIterator[World]:
    journal = await open_journal(ConnectionSettings(journal_dsn))
    yield PostgresWorld(journal)
    await journal.close()


class TestPostgresQuestions(QuestionsSuite, ControlsSuite):
    pass


async def test_questions_are_found_through_their_index(world: PostgresWorld) -> None:
    [holder] = await world.claimed(1)
    await ask(holder, Waiting("approval", "1", "refund", "a1", 10))
    from penstock.adapters.postgres.questions import _ASKED_BY, _ASKING

    async with world.postgres.connection() as connection:
        plans = [
            "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {query}", *args))
            for query, args in ((_ASKING, ("acme", 0, holder.run, 10)), (_ASKED_BY, ("acme", "a1")))
        ]
    assert all("runs_questions" in plan for plan in plans), plans
    assert "Sort" not in plans[0]
