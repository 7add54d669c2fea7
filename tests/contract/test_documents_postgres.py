"""Documents in PostgreSQL pass the conformance suite, and keep what only a database can break."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from tests.contract.documents_suite import KEEP, DocumentsSuite, value_of, write
from tests.contract.journal_world import LEASE
from tests.contract.test_journal_postgres import PostgresWorld

from penstock import Run, Settings, agent
from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal
from penstock.journal.documents import read
from penstock.kernel.errors import DocumentUnreadable
from penstock.ports.controls import of_all
from penstock.ports.documents import Written
from penstock.ports.records import Stop
from penstock.wiring import open_penstock


@pytest.fixture
async def world(journal_dsn: str) -> AsyncIterator[PostgresWorld]:
    journal = await open_journal(ConnectionSettings(journal_dsn, seal_tries=5))
    yield PostgresWorld(journal)
    await journal.close()


class TestPostgresDocuments(DocumentsSuite):
    pass


@pytest.fixture
async def other(journal_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A session of somebody else."""
    connection = await asyncpg.connect(journal_dsn)
    yield connection
    if not connection.is_closed():
        await connection.close()


async def until_waiting(other: asyncpg.Connection, count: int = 1) -> None:
    async with asyncio.timeout(30):
        while await other.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") < count:
            await asyncio.sleep(0.005)


ROW = "SELECT FROM penstock.documents WHERE name = 'cart' FOR UPDATE"


async def test_a_kill_is_sealed_after_the_writes_under_way_and_before_all_others(
    journal_dsn: str, other: asyncpg.Connection
) -> None:
    world = PostgresWorld(await open_journal(ConnectionSettings(journal_dsn, seal_tries=1000)))
    one, two = await world.claimed(2)
    documents = world.journal.documents
    await documents.put(write(one, 0, 0), KEEP)
    in_the_way = other.transaction()
    await in_the_way.start()
    await other.execute(
        "INSERT INTO penstock.document_versions SELECT 'acme', 'shared', 'cart', 2, now(), NULL, '', '', ''"
        ", false, false, 'raw', 0, NULL, NULL"
    )
    under_way = asyncio.create_task(documents.put(write(one, 1, 1, "1"), KEEP))
    await until_waiting(other)  # it has seen that nothing stops it
    killing = asyncio.create_task(world.journal.stop_scope(of_all("acme"), Stop.KILL, "ann", ""))
    await asyncio.wait({killing}, timeout=0.5)
    assert not killing.done()
    await in_the_way.rollback()
    sealed = await killing
    assert sealed.sealed
    assert (await under_way).answer == "written"
    assert await documents.put(write(two, 2, 2), KEEP) == Written("stopped", 2, "kill")
    await world.journal.close()


async def test_what_is_written_while_its_subject_is_erased_is_erased_too(
    world: PostgresWorld, other: asyncpg.Connection
) -> None:
    holder = await world.held(subject="p-7")
    documents = world.journal.documents
    await documents.put(write(holder, 0, 0, subject="p-7"), KEEP)
    async with other.transaction():
        await other.fetch(ROW)
        under_way = asyncio.create_task(documents.put(write(holder, 1, "secret", "1", subject="p-7"), KEEP))
        await until_waiting(other)
        erasing = asyncio.create_task(world.journal.erase_subject("acme", "p-7"))
        await asyncio.sleep(0.05)
        assert not erasing.done()
    assert (await under_way).version == 2
    await erasing
    assert await value_of(documents) == "erased"
    assert not await other.fetchval("SELECT count(*) FROM penstock.document_versions WHERE data IS NOT NULL")


async def test_a_claim_that_is_lost_while_the_write_waits_is_noticed(
    world: PostgresWorld, other: asyncpg.Connection
) -> None:
    holder = await world.held()
    documents = world.journal.documents
    await documents.put(write(holder, 0, 0), KEEP)
    async with other.transaction():
        await other.fetch(ROW)
        under_way = asyncio.create_task(documents.put(write(holder, 1, 1, "1"), KEEP))
        await until_waiting(other)
        await world.advance(2 * LEASE)
        await world.reclaim(holder.run)
    assert (await under_way).answer == "fenced"


async def test_the_run_stays_with_its_holder_until_the_write_is_committed(
    world: PostgresWorld, other: asyncpg.Connection
) -> None:
    """The write holds the run's row: a claim passes it over meanwhile."""
    holder = await world.held()
    content = write(holder, 0, 0).content
    async with other.transaction():
        await other.fetch(
            "SELECT * FROM penstock.put_document($1, 'shared', 'cart', 0, $2, '0', $3, '', '', $4, $5, $6, $7, 3, 20)",
            holder.tenant,
            holder.run,
            holder.claim.epoch,
            content.codec,
            content.size,
            content.digest,
            content.data,
        )
        async with world.postgres.connection() as third:
            await third.execute("UPDATE penstock.workers SET lease_until = lease_until - interval '1 hour'")
        assert holder.run not in [claim.run for claim in await world.claim()]
    assert holder.run in [claim.run for claim in await world.claim()]


async def test_a_version_whose_row_is_gone_is_damage_and_not_absence(
    world: PostgresWorld, other: asyncpg.Connection
) -> None:
    holder = await world.held()
    documents = world.journal.documents
    await documents.put(write(holder, 0, 0), KEEP)
    for damage in ("UPDATE penstock.document_versions SET data = NULL", "DELETE FROM penstock.document_versions"):
        await other.execute(damage)
        found = await documents.get("acme", "shared", "cart")
        assert found is not None
        assert found.latest.version == 1
        with pytest.raises(DocumentUnreadable, match="is missing"):
            read(found.latest)


async def test_100_000_idle_sessions_cost_a_worker_nothing(journal_dsn: str, other: asyncpg.Connection) -> None:
    """Somebody has both tables to himself: whoever looked at them would wait for ever."""
    await other.execute(
        """
        INSERT INTO penstock.documents (tenant, kind, name, version)
        SELECT 'default', 'session', 's' || n, 1 FROM generate_series(1, 100000) AS n;
        INSERT INTO penstock.document_versions
            (tenant, kind, name, version, at, path, author, subject, codec, size, digest, data)
        SELECT 'default', 'session', 's' || n, 1, now(), '', '', '', 'raw', 4, sha256('null'), 'null'
        FROM generate_series(1, 100000) AS n"""
    )
    settings = Settings(database_url=journal_dsn, poll_seconds=0.01)
    async with open_penstock(settings, agents=[plain, keeps], worker="w") as platform, asyncio.timeout(30):
        async with other.transaction():
            await other.execute("LOCK TABLE penstock.documents, penstock.document_versions IN ACCESS EXCLUSIVE MODE")
            for _ in range(3):
                runs = [await platform.submit(plain, 0, session=session) for session in ("", "s1", "s2")]
                results = [await platform.result(run) for run in runs]
                assert [result.outcome for result in results] == ["succeeded"] * 3
            waiting = await platform.submit(keeps, 7, session="s1")
            await until_waiting(other)  # the lock holds up whoever does look
        assert (await platform.result(waiting)).output == [None, 2]


@agent("plain", version="1")
async def plain(run: Run, value: int) -> int:
    return value


@agent("keeps", version="1")
async def keeps(run: Run, value: int) -> list[Any]:
    return [await run.session.get(), await run.session.put(value)]
