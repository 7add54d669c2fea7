"""Keys, sessions and actions in PostgreSQL pass the conformance suites, and do what only a database is asked to."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.contract.access_suite import AccessSuite
from tests.contract.actions_suite import ActionsSuite, new, verified
from tests.contract.journal_world import CLOCK, World
from tests.contract.test_journal_postgres import PostgresWorld

from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal
from penstock.kernel.errors import ChainBroken
from penstock.kernel.ids import new_id

_AGE = """
UPDATE penstock.keys SET created_at = created_at - $1, expires_at = expires_at - $1, used_at = used_at - $1;
UPDATE penstock.sign_ins SET created_at = created_at - $1, expires_at = expires_at - $1, used_at = used_at - $1"""


class AccessWorld(PostgresWorld):
    async def execute(self, statement: str, *args: object) -> None:
        async with self.postgres.connection() as connection:
            await connection.execute(statement, *args)


@pytest.fixture
async def world(journal_dsn: str) -> AsyncIterator[AccessWorld]:
    journal = await open_journal(ConnectionSettings(journal_dsn))
    yield AccessWorld(journal)
    await journal.close()


class TestPostgresAccess(AccessSuite):
    async def age(self, world: World, seconds: float) -> None:
        assert isinstance(world, AccessWorld)
        for statement in _AGE.split(";"):
            await world.execute(statement, int(seconds * 1e6))


async def test_a_second_first_admin_waits_for_the_first(world: AccessWorld) -> None:
    """Two servers that start at once: the one that comes second sees what the first has not committed yet."""
    add = "SELECT id FROM penstock.add_key($1, $2, $3, '', '', ARRAY['admin'], NULL, '', NULL, true)"
    async with world.postgres.connection() as first, world.postgres.connection() as second:
        transaction = first.transaction()
        await transaction.start()
        assert await first.fetchval(add, "acme", new_id(CLOCK), "h1") is not None
        waiting = asyncio.create_task(second.fetchval(add, "acme", new_id(CLOCK), "h2"))
        done, _ = await asyncio.wait({waiting}, timeout=0.3)
        assert not done
        await transaction.commit()
        assert await waiting is None
        assert await second.fetchval(add, "zeta", new_id(CLOCK), "h2") is not None


class TestPostgresActions(ActionsSuite):
    async def test_the_list_only_grows(self, world: AccessWorld) -> None:
        """Whoever writes to the table is told so; whoever goes around that is found by the chain."""
        await world.journal.actions.record([new(body=b"%d" % n) for n in range(4)])
        statements = ("UPDATE penstock.actions SET body = ''", "DELETE FROM penstock.actions WHERE seq = 2")
        for statement in (*statements, "TRUNCATE penstock.actions"):
            with pytest.raises(Exception, match="only grows") as refused:
                await world.execute(statement)
            assert isinstance(refused.value.__cause__, asyncpg.RaiseError)
        assert await verified(world, "acme") == 4
        await world.execute("ALTER TABLE penstock.actions DISABLE TRIGGER USER")
        await world.execute("DELETE FROM penstock.actions WHERE seq = 2")
        with pytest.raises(ChainBroken, match="action 2"):
            await verified(world, "acme")
