"""Audit logs in PostgreSQL pass the conformance suite, and only grow."""

from collections.abc import AsyncIterator

import pytest
from tests.contract.audit_suite import AuditSuite, ahead, signer
from tests.contract.test_journal_postgres import PostgresWorld

from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal
from penstock.journal.sealing import seal


@pytest.fixture
async def world(journal_dsn: str) -> AsyncIterator[PostgresWorld]:
    journal = await open_journal(ConnectionSettings(journal_dsn))
    yield PostgresWorld(journal)
    await journal.close()


class TestPostgresAudit(AuditSuite):
    async def test_the_log_only_grows(self, world: PostgresWorld) -> None:
        by = await signer(world)
        await seal(world.journal.audit, by, ahead(2), 1)
        for statement in (
            "UPDATE penstock.audit_leaves SET data = ''",
            "DELETE FROM penstock.audit_leaves WHERE index = 1",
            "TRUNCATE penstock.audit_leaves",
            "DELETE FROM penstock.audit_tiles",
            "UPDATE penstock.audit_keys SET public = ''",
        ):
            with pytest.raises(Exception, match="only grows"):
                async with world.postgres.connection() as connection:
                    await connection.execute(statement)
