"""Votes, cases, people and notices in PostgreSQL pass the conformance suite."""

from collections.abc import AsyncIterator

import pytest
from tests.contract.approvals_suite import CasesSuite, NoticesSuite, PeopleSuite, TidySuite, VotesSuite
from tests.contract.journal_world import World
from tests.contract.test_journal_postgres import PostgresWorld

from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal


@pytest.fixture
async def world(journal_dsn: str) -> AsyncIterator[World]:
    journal = await open_journal(ConnectionSettings(journal_dsn))
    yield PostgresWorld(journal)
    await journal.close()


class TestPostgresApprovals(VotesSuite, TidySuite, CasesSuite, PeopleSuite, NoticesSuite):
    pass
