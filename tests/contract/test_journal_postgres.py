"""The journal in PostgreSQL passes the conformance suite, and keeps what only a database can break."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.contract.journal_suite import JournalSuite
from tests.contract.journal_world import World, letter, new_run, payload

from penstock.adapters.postgres import migrate, queries
from penstock.adapters.postgres.database import ConnectionSettings, as_journal_error
from penstock.adapters.postgres.journal import PostgresJournal, open_journal
from penstock.kernel.errors import (
    JournalError,
    JournalFull,
    JournalUnavailable,
    SchemaTooNew,
    ServerTooOld,
)
from penstock.ports.controls import of_all
from penstock.ports.journal import Journal
from penstock.ports.records import Answer, Move, Post, Status, Stop, Summary


class PostgresWorld(World):
    def __init__(self, journal: PostgresJournal) -> None:
        self.postgres = journal
        as_port: Journal = journal
        super().__init__(as_port)

    async def advance(self, seconds: float) -> None:
        """The database's clock cannot be moved, so what is compared with it is."""
        async with self.postgres.connection() as connection:
            await connection.execute(
                "UPDATE penstock.workers SET lease_until = lease_until - $1 * interval '1 second'", seconds
            )
            await connection.execute("UPDATE penstock.runs SET wake_at = wake_at - $1 * interval '1 second'", seconds)


@pytest.fixture
async def world(journal_dsn: str) -> AsyncIterator[PostgresWorld]:
    journal = await open_journal(ConnectionSettings(journal_dsn, seal_tries=5))
    yield PostgresWorld(journal)
    await journal.close()


class TestPostgresJournal(JournalSuite):
    pass


@pytest.fixture
async def other(journal_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A session of somebody else."""
    connection = await asyncpg.connect(journal_dsn, server_settings={"application_name": "somebody"})
    yield connection
    if not connection.is_closed():
        await connection.close()


class TestRowLocks:
    LOCK = "SELECT FROM penstock.runs WHERE id = $1 FOR UPDATE"

    async def test_a_locked_run_is_skipped_and_its_mates_are_not(
        self, world: PostgresWorld, other: asyncpg.Connection
    ) -> None:
        locked, free = await world.claimed(2)
        async with other.transaction():
            await other.fetch(self.LOCK, locked.run)
            answers = await world.journal.append([locked.batch(), free.batch()])
            assert [answer.answer for answer in answers] == [Answer.SKIPPED, Answer.APPLIED]
        assert (await world.journal.append([locked.batch()]))[0].answer is Answer.APPLIED

    async def test_a_blocking_append_waits_for_the_row(self, world: PostgresWorld, other: asyncpg.Connection) -> None:
        holder = await world.held()
        async with other.transaction():
            await other.fetch(self.LOCK, holder.run)
            waiting = asyncio.create_task(world.journal.append([holder.batch()], blocking=True))
            await _until_waiting(other)
            assert not waiting.done()
        assert (await waiting)[0].answer is Answer.APPLIED

    async def test_a_childs_end_is_put_off_while_its_parent_is_locked(
        self, world: PostgresWorld, other: asyncpg.Connection
    ) -> None:
        parent = await world.held()
        child = new_run(parent=parent.run, root=parent.run)
        await parent.append(children=[child])
        holder = await world.reclaim(child.id)
        post = Post(*parent.key, "child:1", "child", b"")
        batch = holder.batch(move=Move(Status.ENDED, outcome="succeeded", post=post))
        async with other.transaction():
            await other.fetch(self.LOCK, parent.run)
            assert (await world.journal.append([batch]))[0].answer is Answer.SKIPPED
        assert await world.status(holder) is Status.RUNNING
        assert (await world.journal.append([batch]))[0].answer is Answer.APPLIED
        assert (await parent.append()).letters == 1

    async def test_an_append_without_a_move_updates_its_row_in_place(self, world: PostgresWorld) -> None:
        holders = await world.claimed(20)
        async with world.postgres.connection() as connection:
            before = await _updates(connection)
        for _ in range(5):
            batches = [holder.batch(summary=Summary(steps=1, nano=5)) for holder in holders]
            await world.journal.append(batches)
            for holder, batch in zip(holders, batches, strict=True):
                holder.follow(batch)
        async with world.postgres.connection() as connection:
            after = await _updates(connection)
        assert after[0] - before[0] == 100
        assert after[1] - before[1] >= 90, "almost all in place; a full page forces a few out"


class TestStops:
    async def test_a_kill_is_sealed_only_when_appends_under_way_have_ended(
        self, world: PostgresWorld, other: asyncpg.Connection
    ) -> None:
        """An append that has read the controls before the kill may still commit its intent: the kill waits for it."""
        holder = await world.held()
        opened = Summary(open_intents=1)
        async with other.transaction():
            await other.fetch(TestRowLocks.LOCK, holder.run)
            batch = holder.batch(holder.intent(), intent=True, summary=opened)
            appending = asyncio.create_task(world.journal.append([batch], blocking=True))
            await _until_waiting(other)
            sealing = asyncio.create_task(world.journal.stop_scope(of_all("acme"), Stop.KILL, "eve", "why"))
            while not await world.journal.stopped("acme"):
                await asyncio.sleep(0.005)
            done, _ = await asyncio.wait({sealing}, timeout=0.15)
            assert not done
        assert (await appending)[0].answer is Answer.APPLIED
        sealed = await sealing
        assert sealed.sealed
        assert [item.run for item in sealed.open_intents] == [holder.run]
        holder.follow(batch)
        assert (await holder.append(holder.intent("2"), intent=True)).answer is Answer.STOPPED

    async def test_a_stuck_append_is_terminated_and_the_kill_is_sealed(
        self, world: PostgresWorld, other: asyncpg.Connection
    ) -> None:
        transaction = other.transaction()
        await transaction.start()
        await other.fetch("SELECT pg_advisory_xact_lock_shared(penstock.append_lock())")
        holder = await world.held()
        sealing = asyncio.create_task(world.journal.stop_scope(of_all(None), Stop.KILL, "eve", "why"))
        sealed = await sealing
        assert (sealed.sealed, sealed.blockers) == (True, [])
        assert other.is_closed(), "the session in the way was terminated"
        assert (await holder.append(holder.intent(), intent=True)).answer is Answer.STOPPED

    async def test_a_session_that_cannot_be_terminated_is_named(
        self, world: PostgresWorld, other: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(queries, "TERMINATE", "SELECT $1::int")
        holder, stuck = await world.claimed(2)
        async with other.transaction():
            await other.fetch("SELECT pg_advisory_xact_lock_shared(penstock.append_lock())")
            sealed = await world.journal.stop_scope(of_all(None), Stop.KILL, "eve", "why")
            assert not sealed.sealed
            assert len(sealed.blockers) == 1
            assert "(somebody, idle in transaction)" in sealed.blockers[0]
            # The control holds all the same for whatever begins now, and nobody was frozen meanwhile.
            assert (await holder.append(holder.intent(), intent=True)).answer is Answer.STOPPED
            assert (await holder.append()).answer is Answer.APPLIED
        async with other.transaction():
            await other.fetch(TestRowLocks.LOCK, stuck.run)
            sealed = await world.journal.stop_run(*stuck.key, Stop.KILL, "eve", "why")
            assert not sealed.sealed
            assert "somebody" in sealed.blockers[0]

    async def test_who_asked_for_a_stop_is_kept(self, world: PostgresWorld) -> None:
        holder = await world.held()
        paused = await world.journal.stop_run(*holder.key, Stop.PAUSE, "eve", "smells")
        await world.journal.resume_run(*holder.key, "adam")
        async with world.postgres.connection() as connection:
            row = await connection.fetchrow("SELECT * FROM penstock.controls WHERE id = $1", paused.control)
        assert row is not None
        assert (row["actor"], row["reason"], row["action"], row["lifted_by"]) == ("eve", "smells", "pause", "adam")
        assert row["lifted_at"] > row["at"]


class TestMigrations:
    async def test_processes_that_start_at_once_migrate_once(self, database_url: str) -> None:
        journals = await asyncio.gather(*(open_journal(database_url) for _ in range(4)))
        async with journals[0].connection() as connection:
            rows = await connection.fetch("SELECT number, name, sha256 FROM penstock.migrations ORDER BY number")
            partitions = await connection.fetch(
                "SELECT 1 FROM pg_inherits WHERE inhparent = 'penstock.events'::regclass"
            )
        known = migrate.known_migrations()
        assert [tuple(row) for row in rows] == [(item.number, item.name, item.sha256) for item in known]
        assert [item.number for item in known] == list(range(1, len(known) + 1))
        assert len(partitions) == migrate.MONTHS_AHEAD + 1
        for journal in journals:
            await journal.close()

    async def test_a_newer_schema_is_refused(self, journal_dsn: str, other: asyncpg.Connection) -> None:
        await other.execute("INSERT INTO penstock.migrations (number, name, sha256) VALUES (9000, 'x', 'y')")
        with pytest.raises(SchemaTooNew, match="9000"):
            await open_journal(journal_dsn)

    async def test_an_edited_migration_is_refused(self, journal_dsn: str, other: asyncpg.Connection) -> None:
        digest = hashlib.sha256(b"something else").hexdigest()
        await other.execute("UPDATE penstock.migrations SET sha256 = $1 WHERE number = 1", digest)
        with pytest.raises(JournalError, match="0001_spine"):
            await open_journal(journal_dsn)

    async def test_a_process_that_does_not_prepare_wants_the_schema_it_knows(
        self, journal_dsn: str, other: asyncpg.Connection, database_url: str
    ) -> None:
        journal = await open_journal(journal_dsn, prepare=False)
        await journal.close()
        with pytest.raises(JournalError, match="0001_spine"):
            await open_journal(database_url, prepare=False)
        await other.execute("INSERT INTO penstock.migrations (number, name, sha256) VALUES (9000, 'x', 'y')")
        with pytest.raises(SchemaTooNew):
            await open_journal(journal_dsn, prepare=False)

    async def test_an_old_server_is_refused(self, journal_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(migrate, "OLDEST_SERVER", 10**6)
        with pytest.raises(ServerTooOld):
            await open_journal(journal_dsn)

    async def test_events_go_to_the_partition_of_their_month(self, world: PostgresWorld) -> None:
        await world.held()
        async with world.postgres.connection() as connection:
            where = await connection.fetch(
                "SELECT DISTINCT c.relname AS name FROM penstock.events e JOIN pg_class c ON c.oid = e.tableoid"
            )
            month = await connection.fetchval("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')")
        assert [row["name"] for row in where] == [f"events_{month}"]


class TestConnections:
    async def test_a_session_that_dies_is_an_error_to_try_again(
        self, world: PostgresWorld, other: asyncpg.Connection
    ) -> None:
        holder = await world.held()
        batch = holder.batch()
        async with other.transaction():
            await other.fetch(TestRowLocks.LOCK, holder.run)
            waiting = asyncio.create_task(world.journal.append([batch], blocking=True))
            await _until_waiting(other)
            await other.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            with pytest.raises(JournalUnavailable):
                await waiting
        assert (await world.journal.append([batch]))[0].answer is Answer.APPLIED

    def test_a_full_disk_is_told_from_other_errors(self) -> None:
        assert type(as_journal_error(asyncpg.DiskFullError("no space left"))) is JournalFull
        for lost in (ConnectionResetError(), TimeoutError(), asyncpg.TooManyConnectionsError("x")):
            assert type(as_journal_error(lost)) is JournalUnavailable
        for stopping in (asyncpg.AdminShutdownError("x"), asyncpg.CannotConnectNowError("x")):
            assert type(as_journal_error(stopping)) is JournalUnavailable
        for refused in (asyncpg.UniqueViolationError("x"), asyncpg.UndefinedFunctionError("x")):
            assert type(as_journal_error(refused)) is JournalError

    async def test_no_server_is_an_error_that_says_so(self, short_tmp: object) -> None:
        settings = ConnectionSettings(f"postgresql://x@/x?host={short_tmp}", connect_seconds=0.1)
        with pytest.raises(JournalUnavailable):
            await open_journal(settings)

    async def test_it_works_without_prepared_statements(self, journal_dsn: str) -> None:
        journal = await open_journal(ConnectionSettings(journal_dsn, statement_cache_size=0, pool_size=2))
        world = PostgresWorld(journal)
        holder = await world.held()
        await journal.put_payloads([payload("ann")])
        assert (await holder.append(holder.intent(), intent=True)).answer is Answer.APPLIED
        assert (await journal.stop_scope(of_all("acme"), Stop.KILL, "eve", "why")).sealed
        await journal.close()

    async def test_a_wake_up_reaches_other_processes(self, world: PostgresWorld, journal_dsn: str) -> None:
        elsewhere = await open_journal(journal_dsn)
        waiter = asyncio.create_task(elsewhere.wait_for_work(60))
        async with world.postgres.connection() as connection:
            while not await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'penstock-listen'"
                " AND datname = current_database() AND state = 'idle' AND query LIKE 'LISTEN%'"
            ):
                await asyncio.sleep(0.005)
        holder = await world.held()
        await asyncio.wait_for(waiter, 5)
        for action in (
            world.journal.deliver(letter(holder)),
            holder.append(children=[new_run(parent=holder.run, root=holder.run)]),
            holder.move(Status.PARKED),
        ):
            waiter = asyncio.create_task(elsewhere.wait_for_work(60))
            await asyncio.sleep(0.02)  # what was told before is heard before
            await action
            await asyncio.wait_for(waiter, 5)
        await elsewhere.close()

    async def test_waiting_without_a_listener_ends_with_its_time_out(self, journal_dsn: str) -> None:
        settings = ConnectionSettings(journal_dsn, listen_dsn="postgresql://x@/x?host=/nonexistent")
        journal = await open_journal(settings)
        await asyncio.wait_for(journal.wait_for_work(0.02), 5)
        await journal.close()

    async def test_values_that_cannot_be_stored_are_refused_in_words(self, world: PostgresWorld) -> None:
        with pytest.raises(JournalError, match="refused what was to be stored"):
            await world.journal.submit([new_run(tenant="a\x00b")])


async def _until_waiting(connection: asyncpg.Connection) -> None:
    while not await connection.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    ):
        await asyncio.sleep(0.005)


async def _updates(connection: asyncpg.Connection) -> tuple[int, int]:
    """Updates of ``runs`` so far, and those in place."""
    await connection.execute("SELECT pg_stat_force_next_flush()")
    row = await connection.fetchrow(
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relid = 'penstock.runs'::regclass"
    )
    assert row is not None
    return row[0], row[1]
