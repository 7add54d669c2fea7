"""Retention in PostgreSQL passes the conformance suite, and does what only a database is asked to."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import pytest
from tests.contract.journal_world import payload
from tests.contract.retention_suite import RetentionSuite, RetentionWorld
from tests.contract.test_journal_postgres import PostgresWorld

from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal
from penstock.adapters.postgres.migrate import add_partitions
from penstock.ports.records import Answer

# The database's clock cannot be moved, so all that is compared with it is.
_ADVANCE = """
WITH ended AS (UPDATE penstock.runs SET ended_at = ended_at - $1 * interval '1 second')
UPDATE penstock.retention_turn
SET lease_until = lease_until - $1 * interval '1 second', due_at = due_at - $1 * interval '1 second'"""


class PostgresRetentionWorld(RetentionWorld):
    def __init__(self, world: PostgresWorld) -> None:
        super().__init__(world)
        self.postgres = world.postgres

    async def advance(self, seconds: float) -> None:
        async with self.postgres.connection() as connection:
            await connection.execute(_ADVANCE, seconds)

    async def partitions(self) -> set[str]:
        async with self.postgres.connection() as connection:
            found = await connection.fetch(
                "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
                " WHERE i.inhparent = 'penstock.events'::regclass"
            )
        return {record[0] for record in found}

    async def made_in(self, year: int, month: int) -> tuple[UUID, str]:
        """An id of a run made in that month, whose partition is there, and the partition's name."""
        moment = datetime(year, month, 15, tzinfo=UTC).timestamp()
        async with self.postgres.connection() as connection:
            await add_partitions(connection, int(moment * 1e6), 1)
        self._made += 1
        return UUID(int=(int(moment * 1000) << 80) + self._made), f"events_{year:04}_{month:02}"


@pytest.fixture
async def world(journal_dsn: str) -> AsyncIterator[PostgresRetentionWorld]:
    journal = await open_journal(ConnectionSettings(journal_dsn, seal_tries=5))
    yield PostgresRetentionWorld(PostgresWorld(journal))
    await journal.close()


@pytest.fixture
async def other(journal_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A session of somebody else."""
    connection = await asyncpg.connect(journal_dsn)
    yield connection
    await connection.close()


class TestPostgresRetention(RetentionSuite):
    pass


class TestMonths:
    async def test_a_month_is_dropped_whole_when_all_its_runs_are_gone(self, world: PostgresRetentionWorld) -> None:
        march, name = await world.made_in(2024, 3)
        april, kept_name = await world.made_in(2024, 4)
        gone, kept = await world.ended(id=march), await world.ended(id=april)
        await world.mark(gone)
        assert await world.retention.drop_months() == [], "its payloads are still there"
        await world.retention.empty("acme", 100)
        assert await world.retention.drop_months() == [name]
        assert name not in await world.partitions()
        assert kept_name in await world.partitions()
        assert await world.tape(kept) == 3
        async with world.postgres.connection() as connection:
            assert await connection.fetchval(f"SELECT to_regclass('penstock.{name}_gone')") is None
        assert await world.retention.sweep("acme", await world.journal.now(), 100)
        assert (await world.retention.tombstones([("acme", gone.id)]))["acme", gone.id].swept

    @pytest.mark.parametrize("why", ["open", "kept", "held"])
    async def test_a_month_stays_while_one_run_does(self, world: PostgresRetentionWorld, why: str) -> None:
        first, name = await world.made_in(2024, 3)
        second, _ = await world.made_in(2024, 3)
        gone = await world.ended(id=first, tenant="zeta")
        await world.mark(gone)
        await world.retention.empty("zeta", 100)
        if why == "open":
            await world.runs.held(id=second)
        elif why == "kept":
            await world.ended(id=second, agent="zealot")
        else:
            await world.retention.hold("zeta", UUID(int=0), "ada", "")
        assert await world.retention.drop_months() == []
        assert name in await world.partitions()
        assert await world.tape(gone) == 3

    async def test_what_a_crash_left_between_detach_and_drop_is_dropped(
        self, world: PostgresRetentionWorld, other: asyncpg.Connection
    ) -> None:
        await other.execute("CREATE TABLE penstock.events_2023_01_gone (tenant text)")
        await other.execute("CREATE TABLE penstock.events_2023_02 (tenant text)")  # detached by an operator
        await world.retention.drop_months()
        assert await other.fetchval("SELECT to_regclass('penstock.events_2023_01_gone')") is None
        assert await other.fetchval("SELECT to_regclass('penstock.events_2023_02')") is not None

    async def test_writers_wait_no_longer_than_the_lock_is_tried_for(
        self, world: PostgresRetentionWorld, other: asyncpg.Connection
    ) -> None:
        """A reader holds the month; appends go on all the while, and it is dropped when the reader is done."""
        march, name = await world.made_in(2024, 3)
        gone, holder = await world.ended(id=march), await world.runs.held()
        await world.mark(gone)
        await world.retention.empty("acme", 100)
        transaction = other.transaction()
        await transaction.start()
        await other.fetch("SELECT count(*) FROM penstock.events")
        dropping = asyncio.create_task(world.retention.drop_months())
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'penstock.events'::regclass"
        async with asyncio.timeout(30):
            while not await other.fetchval(waiting):
                await asyncio.sleep(0.005)
        for _ in range(5):
            async with asyncio.timeout(30):
                assert (await holder.append()).answer is Answer.APPLIED
        assert not dropping.done()
        await transaction.rollback()
        assert await dropping == [name]

    async def test_events_in_the_default_partition_are_swept_one_by_one(self, world: PostgresRetentionWorld) -> None:
        old = UUID(int=(int(datetime(2019, 5, 5, tzinfo=UTC).timestamp() * 1000) << 80) + 1)
        row = await world.ended(id=old)
        async with world.postgres.connection() as connection:
            count = "SELECT count(*) FROM penstock.events_default"
            assert await connection.fetchval(count) == 3
            await world.go(row)
            assert await connection.fetchval(count) == 0

    async def test_months_ahead_are_made(self, world: PostgresRetentionWorld, other: asyncpg.Connection) -> None:
        newest = max(await world.partitions() - {"events_default"})
        await other.execute(f"DROP TABLE penstock.{newest}")
        assert await world.retention.add_months() == [newest]
        assert await world.retention.add_months() == []


class TestLocks:
    async def test_a_run_that_somebody_holds_is_left_for_later(
        self, world: PostgresRetentionWorld, other: asyncpg.Connection
    ) -> None:
        locked, free = await world.ended(), await world.ended()
        async with other.transaction():
            await other.fetch("SELECT FROM penstock.runs WHERE id = $1 FOR UPDATE", locked.id)
            async with asyncio.timeout(30):
                assert await world.mark(locked, free) == [free.id]
        assert await world.mark(locked) == [locked.id]

    async def test_a_hold_waits_for_a_mark_under_way_and_then_says_that_it_is_too_late(
        self, world: PostgresRetentionWorld, other: asyncpg.Connection
    ) -> None:
        row = await world.ended()
        transaction = other.transaction()
        await transaction.start()
        marked = await other.fetchval(
            "SELECT penstock.mark_pruned($1, $2, $3, $4, $5, $6, '', '', 0)",
            *("acme", [row.id], [row.last_seq], [row.head], [False], await world.journal.now()),
        )
        assert marked == [row.id]
        holding = asyncio.create_task(world.retention.hold("acme", row.id, "ada", ""))
        async with asyncio.timeout(30):
            while not holding.done() and not await other.fetchval(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory' AND database ="
                " (SELECT oid FROM pg_database WHERE datname = current_database())"
            ):
                await asyncio.sleep(0.01)
        await transaction.commit()
        with pytest.raises(Exception, match="run_pruned"):
            await holding

    async def test_a_payload_that_a_submission_under_way_relies_on_stays(
        self, world: PostgresRetentionWorld, other: asyncpg.Connection
    ) -> None:
        """It found the payload stored and will not store it again; its run is not to be seen yet."""
        gone = await world.ended(subject="c-1")
        stored = payload("c-1")
        await world.journal.put_payloads([stored])
        await world.mark(gone)
        transaction = other.transaction()
        await transaction.start()
        await other.execute("SELECT pg_advisory_xact_lock_shared(penstock.erasure_lock())")
        assert not await world.retention.drop_payloads("acme", "c-1", [stored.address], (0, 0))
        await transaction.rollback()
        assert await world.retention.drop_payloads("acme", "c-1", [stored.address], (0, 0))

    async def test_two_markers_share_and_double_nothing(self, world: PostgresRetentionWorld) -> None:
        rows = [await world.ended() for _ in range(6)]
        marked = await asyncio.gather(*(world.mark(*rows, archive=f"a{number}") for number in range(4)))
        assert sorted(run for part in marked for run in part) == sorted(row.id for row in rows)


async def test_what_is_due_is_found_without_reading_what_is_not(world: PostgresRetentionWorld) -> None:
    row = await world.ended()
    async with world.postgres.connection() as connection:
        await connection.execute(
            "INSERT INTO penstock.runs (tenant, id, agent, release, env, format, status, last_seq, head, subject,"
            " request_digest, session, priority, parent_path, root, deadline, ended_at, pruned_at)"
            " SELECT 'acme', i.id, 'clerk', 'r1', '', 1, 'ended', 1, '', i.id::text, '', '', 0, '', i.id, 0, now(),"
            " CASE WHEN n % 2 = 0 THEN now() END"
            " FROM generate_series(1, 4000) AS n CROSS JOIN LATERAL ("
            "  SELECT lpad(to_hex(CASE WHEN n % 2 = 0 THEN 1 ELSE 2::bigint ^ 47 END::bigint + n), 12, '0')"
            "  || '70008000000000000000' AS hex) AS h CROSS JOIN LATERAL (SELECT h.hex::uuid AS id) AS i"
        )
        await connection.execute("ANALYZE penstock.runs")
        plan = await connection.fetchval(
            "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT id FROM penstock.runs r WHERE tenant = 'acme'"
            " AND agent = 'clerk' AND status = 'ended' AND pruned_at IS NULL AND id > $1 AND id < $2",
            UUID(int=0),
            UUID(int=((await world.journal.now() // 1000) + 86_400_000) << 80),
        )
    assert await world.due() == [row.id]
    assert '"Index Name": "runs_kept"' in plan
