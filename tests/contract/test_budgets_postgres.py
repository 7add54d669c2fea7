"""Budgets in PostgreSQL pass the conformance suite."""

from collections.abc import AsyncIterator

import pytest
from tests.contract.budgets_suite import BudgetsSuite, BudgetsWorld
from tests.contract.test_journal_postgres import PostgresWorld

from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal


class PostgresBudgetsWorld(PostgresWorld, BudgetsWorld):
    async def advance(self, seconds: float) -> None:
        await super().advance(seconds)
        async with self.postgres.connection() as connection:
            by = int(seconds * 1e6)
            await connection.execute("UPDATE penstock.budget_holders SET until = until - $1", by)
            await connection.execute("UPDATE penstock.budget_accounts SET wanted_until = wanted_until - $1", by)


@pytest.fixture
async def world(journal_dsn: str) -> AsyncIterator[BudgetsWorld]:
    journal = await open_journal(ConnectionSettings(journal_dsn, seal_tries=5))
    yield PostgresBudgetsWorld(journal)
    await journal.close()


class TestPostgresBudgets(BudgetsSuite):
    pass
