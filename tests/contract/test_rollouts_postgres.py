"""Managed releases in PostgreSQL pass the conformance suite."""

from collections.abc import AsyncIterator

import pytest
from tests.contract.rollouts_suite import RolloutsSuite
from tests.contract.test_journal_postgres import PostgresWorld

from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal


@pytest.fixture
async def world(journal_dsn: str) -> AsyncIterator[PostgresWorld]:
    journal = await open_journal(ConnectionSettings(journal_dsn, seal_tries=5))
    yield PostgresWorld(journal)
    await journal.close()


class TestPostgresRollouts(RolloutsSuite):
    pass
