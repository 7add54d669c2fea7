"""The schema across releases: what an older installation may work on, and which format new runs are written in."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.contract.journal_world import Holder, new_run

from penstock.adapters.postgres import migrate as migrations
from penstock.adapters.postgres.journal import open_journal
from penstock.adapters.postgres.migrate import Migration, check_schema, known_migrations, migrate
from penstock.adapters.postgres.upgrade import expand, look
from penstock.events import FORMAT
from penstock.kernel.clock import SystemClock
from penstock.kernel.errors import SchemaBusy, SchemaTooNew
from penstock.kernel.ids import new_id

SPINE = 4
"""The last migration of the first release."""


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(database_url)
    yield opened
    await opened.close()


def as_release(monkeypatch: pytest.MonkeyPatch, *more: Migration, upto: int = 10_000) -> None:
    """Make this an installation of other migrations."""
    known = [item for item in REAL if item.number <= upto]
    monkeypatch.setattr(migrations, "known_migrations", lambda: [*known, *more])


REAL = known_migrations()


async def first_release(connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the database as the first release made it, its own table of migrations included."""
    with monkeypatch.context() as patch:
        as_release(patch, upto=SPINE)
        await migrate(connection)
    await connection.execute("ALTER TABLE penstock.migrations DROP COLUMN compatible_from")


async def format_of(connection: asyncpg.Connection) -> int:
    return int(await connection.fetchval("SELECT max(format) FROM penstock.formats"))


async def test_a_new_database_is_born_finalized(database_url: str, connection: asyncpg.Connection) -> None:
    await migrate(connection)
    assert await format_of(connection) == FORMAT
    assert (await look(database_url, 10)).finalized


@pytest.mark.parametrize("used_by", ["run", "worker"])
async def test_one_that_the_first_release_used_keeps_format_1_until_it_is_finalized(
    database_url: str, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, used_by: str
) -> None:
    await first_release(connection, monkeypatch)
    worker = new_id(SystemClock())
    if used_by == "worker":
        await connection.execute("SELECT penstock.enlist($1, 'old', interval '60 s')", worker)
    else:
        run = new_run()
        await connection.execute(
            "INSERT INTO penstock.runs (tenant, id, agent, release, env, format, last_seq, head, subject,"
            " request_digest, session, priority, parent_path, root, wake_at, deadline)"
            " VALUES ('acme', $1, 'clerk', 'r1', 'e', 1, 1, $2, $3, '', '', 0, '', $1, clock_timestamp(), 0)",
            run.id,
            run.event.hash,
            str(run.id),
        )
    before = await look(database_url, 10)
    assert (before.format, before.pending[0][:4]) == (0, "0005")
    assert [item.name for item in before.workers] == (["old"] if used_by == "worker" else [])
    assert await expand(database_url, 10) == before.pending
    assert await expand(database_url, 10) == []
    assert not (await look(database_url, 10)).finalized
    journal = await open_journal(database_url)
    assert await journal.releases.write_format() == 1
    if used_by == "worker":
        assert await journal.releases.finalize(FORMAT, "ben") == ["old"]
        assert await journal.releases.write_format() == 1
        await connection.execute("UPDATE penstock.workers SET lease_until = clock_timestamp() - interval '1 s'")
    assert await journal.releases.finalize(FORMAT, "ben") == []
    assert await journal.releases.write_format() == FORMAT
    await journal.close()


async def test_a_run_of_a_newer_format_is_not_given_to_an_old_worker(database_url: str) -> None:
    journal = await open_journal(database_url)
    worker = new_id(SystemClock())
    await journal.enlist(worker, "w", 60)
    await journal.submit([new_run(format=1), new_run(format=2)])
    async with journal.connection() as connection:
        claim = "SELECT count(*) FROM penstock.claim($1, '{r1}', 10, 1)"  # what the first release's workers ask
        assert await connection.fetchval(claim, worker) == 1
    claims = await journal.claim(worker, ["r1"], 10)
    assert len(claims) == 1
    assert (await Holder(journal, claims[0]).append()).answer.value == "applied"
    await journal.close()


async def test_an_older_installation_works_on_a_schema_with_newer_additive_migrations(
    database_url: str, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = REAL[-1].number
    additive = Migration(last + 1, f"{last + 1:04}_more.sql", "CREATE TABLE penstock.more (id integer)")
    with monkeypatch.context() as patch:
        as_release(patch, additive)
        await migrate(connection)
    await check_schema(connection)
    assert await migrate(connection) == []
    journal = await open_journal(database_url)
    await journal.close()
    assert (await look(database_url, 10)).newer == [additive.name]


async def test_a_migration_that_older_installations_cannot_bear_says_so_and_is_refused(
    connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = REAL[-1].number
    sql = f"-- Takes something away.\n-- compatible-from: {last + 1}\nCREATE TABLE penstock.less (id integer)"
    with monkeypatch.context() as patch:
        as_release(patch, Migration(last + 1, f"{last + 1:04}_less.sql", sql))
        await migrate(connection)
        await check_schema(connection)
    with pytest.raises(SchemaTooNew, match="cannot work with"):
        await check_schema(connection)
    with pytest.raises(SchemaTooNew):
        await migrate(connection)


def test_every_migration_since_the_first_release_is_additive_to_it() -> None:
    later = [item for item in REAL if item.number > SPINE]
    assert later
    assert {item.compatible_from for item in later} == {SPINE}


TWO_TABLES = Migration(
    9001, "9001_two.sql", "ALTER TABLE penstock.runs ADD x int; ALTER TABLE penstock.events ADD x int"
)


async def test_a_migration_gives_way_to_a_worker_that_takes_tables_the_other_way_round(
    database_url: str, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one of the two is ended as deadlocked, and it may be the worker."""
    await migrate(connection)
    as_release(monkeypatch, TWO_TABLES)
    worker = await asyncpg.connect(database_url)
    try:
        async with worker.transaction():
            await worker.execute("SELECT FROM penstock.events LIMIT 1")
            migrating = asyncio.create_task(migrate(connection))
            await _until_waiting(worker, "penstock.events")  # it holds the runs by now
            assert await worker.fetchval("SELECT count(*) FROM penstock.runs") == 0
            assert not migrating.done()
        assert await migrating == [TWO_TABLES.name]
    finally:
        await worker.close()


async def test_a_migration_that_finds_no_moment_says_so_and_can_be_run_again(
    database_url: str, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate(connection)
    as_release(monkeypatch, TWO_TABLES)
    monkeypatch.setattr(migrations, "TABLE_TRIES", 2)
    worker = await asyncpg.connect(database_url)
    try:
        async with worker.transaction():
            await worker.execute("SELECT FROM penstock.events LIMIT 1")
            with pytest.raises(SchemaBusy):
                await migrate(connection)
        assert await migrate(connection) == [TWO_TABLES.name]
    finally:
        await worker.close()


async def _until_waiting(connection: asyncpg.Connection, table: str) -> None:
    waiting = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = $1::text::regclass"
    async with asyncio.timeout(10):
        while not await connection.fetchval(waiting, table):
            await asyncio.sleep(0.005)
