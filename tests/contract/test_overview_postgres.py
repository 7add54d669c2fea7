"""How runs stand, in PostgreSQL."""

from collections.abc import AsyncIterator

import pytest
from tests.contract.overview_suite import OverviewSuite
from tests.contract.test_journal_postgres import PostgresWorld

from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal


@pytest.fixture
async def world(journal_dsn: str) -> AsyncIterator[PostgresWorld]:
    journal = await open_journal(ConnectionSettings(journal_dsn, seal_tries=5))
    yield PostgresWorld(journal)
    await journal.close()


class TestPostgresOverview(OverviewSuite):
    pass
