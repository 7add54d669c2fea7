"""Both stores know the same of deploys."""

from collections.abc import AsyncIterator

import pytest
from tests.contract.releases_suite import ReleasesSuite
from tests.contract.test_journal_memory import MemoryWorld
from tests.contract.test_journal_postgres import PostgresWorld

from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal


class TestMemoryReleases(ReleasesSuite):
    @pytest.fixture
    def world(self) -> MemoryWorld:
        return MemoryWorld()


class TestPostgresReleases(ReleasesSuite):
    @pytest.fixture
    async def world(self, journal_dsn: str) -> AsyncIterator[PostgresWorld]:
        journal = await open_journal(ConnectionSettings(journal_dsn))
        yield PostgresWorld(journal)
        await journal.close()
