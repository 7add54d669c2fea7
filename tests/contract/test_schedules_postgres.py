"""Schedules in PostgreSQL pass the conformance suite, and do what only a database is asked to."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from tests.contract.schedules_suite import HOUR, LEASE, SchedulesSuite, SchedulesWorld, later
from tests.contract.test_journal_postgres import PostgresWorld

from penstock import Run, Settings, agent
from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal
from penstock.ports.records import RunFilter
from penstock.runs.schedules.firing import Firing
from penstock.wiring import assemble

# The database's clock cannot be moved, so all that is compared with it is.
_ADVANCE = """
UPDATE penstock.schedules SET look_at = look_at - $1"""


class PostgresSchedulesWorld(SchedulesWorld):
    def __init__(self, world: PostgresWorld) -> None:
        super().__init__(world)
        self.postgres = world.postgres

    async def advance(self, seconds: float) -> None:
        async with self.postgres.connection() as connection:
            await connection.execute(_ADVANCE, int(seconds * 1e6))


@pytest.fixture
async def world(journal_dsn: str) -> AsyncIterator[PostgresSchedulesWorld]:
    journal = await open_journal(ConnectionSettings(journal_dsn, seal_tries=5))
    yield PostgresSchedulesWorld(PostgresWorld(journal))
    await journal.close()


class TestPostgresSchedules(SchedulesSuite):
    pass


async def test_workers_that_look_at_once_share_what_is_due(world: PostgresSchedulesWorld) -> None:
    for number in range(60):
        await world.schedule(f"s{number:02}")
    taken = await asyncio.gather(*(world.take(limit=20) for _ in range(8)))
    names = [due.schedule.name for batch in taken for due in batch]
    rest = [due.schedule.name for due in await world.take(limit=100)]
    assert sorted(names + rest) == [f"s{number:02}" for number in range(60)]


async def test_one_that_is_locked_by_somebody_is_passed_over(world: PostgresSchedulesWorld) -> None:
    await world.schedule("free")
    await world.schedule("locked")
    async with world.postgres.connection() as connection, connection.transaction():
        await connection.execute("SELECT FROM penstock.schedules WHERE name = 'locked' FOR UPDATE")
        assert [due.schedule.name for due in await world.take()] == ["free"]
    assert [due.schedule.name for due in await world.take()] == ["locked"]


async def test_thousands_that_are_not_due_cost_nothing(world: PostgresSchedulesWorld) -> None:
    """The look reads the index of what is due, and no row of what is not."""
    await world.schedule("due")
    async with world.postgres.connection() as connection:
        await connection.execute(
            "INSERT INTO penstock.schedules (tenant, name, id, agent, plan, subject, address, created_at, created_by,"
            " next_at, due_at, look_at)"
            " SELECT 'acme', 'later-' || n, gen_random_uuid(), 'clerk', '{}', 's', '', 0, '', look.at, look.at, look.at"
            " FROM generate_series(1, 5000) AS n, (SELECT penstock.now_us() + $1) AS look(at)",
            HOUR,
        )
        await connection.execute("ANALYZE penstock.schedules")
    async with world.postgres.connection() as connection, connection.transaction():
        before = await connection.fetchrow(_READS)
        [row] = await connection.fetch(
            "SELECT * FROM penstock.take_schedules(ARRAY['clerk'], $1, 100)", int(LEASE * 1e6)
        )
        after = await connection.fetchrow(_READS)
    assert row["name"] == "due"
    assert after["rows"] - before["rows"] <= 4
    assert after["whole"] == before["whole"]


_READS = """
SELECT pg_stat_get_xact_tuples_fetched(c.oid)
    + coalesce(sum(pg_stat_get_xact_tuples_returned(i.indexrelid)), 0) AS rows,
    pg_stat_get_xact_numscans(c.oid) AS whole
FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid WHERE c.oid = 'penstock.schedules'::regclass GROUP BY c.oid"""


async def test_the_workers_of_a_batch_settle_each_their_own(world: PostgresSchedulesWorld) -> None:
    for number in range(10):
        await world.schedule(f"s{number}")
    taken = await world.take()
    assert all(await asyncio.gather(*(world.schedules.settle(due, later(due, fired=1)) for due in taken)))
    assert [item.fired for item in await world.schedules.list_schedules("acme")] == [1] * 10


@agent("clerk", version="1")
async def clerk(run: Run, value: int) -> int:
    return value


async def test_two_workers_that_fire_at_once_make_one_run_of_each(world: PostgresSchedulesWorld) -> None:
    """The real statements, the real submission: also when one of them is cut off in between."""
    journal = world.postgres
    platform = assemble(journal, Settings())
    firings = [Firing(platform.services, lambda: ["clerk"]) for _ in range(4)]
    for number in range(40):
        start = datetime.now(UTC) - timedelta(hours=2, minutes=1)
        await platform.schedules.add(f"s{number:02}", clerk, number, every=3600, start=start, overlap="allow")
    async with journal.connection() as connection:  # its time of an hour before, which was a minute ago
        await connection.execute(
            "UPDATE penstock.schedules SET next_at = next_at - $1, due_at = due_at - $1, look_at = look_at - $1", HOUR
        )
    cut_off = asyncio.create_task(firings[0].look())
    await asyncio.sleep(0.02)
    cut_off.cancel()
    await asyncio.gather(cut_off, *(firing.look() for firing in firings[1:]), return_exceptions=True)
    async with journal.connection() as connection:  # what the one that was cut off had taken
        await connection.execute("UPDATE penstock.schedules SET look_at = look_at - 60000000 WHERE taken_at > 0")
    await firings[1].look()
    runs = await journal.list_runs("default", RunFilter(), 1000)
    assert len(runs) == len({run.key for run in runs}) == 40
    stored = await platform.schedules.list_schedules()
    assert {item.last_run for item in stored} == {run.id for run in runs}
    assert all(item.fired == 1 for item in stored)


async def test_one_that_a_newer_installation_wrote_is_left_to_it(
    world: PostgresSchedulesWorld, caplog: pytest.LogCaptureFixture
) -> None:
    await world.schedule("ours")
    await world.schedule("theirs")
    async with world.postgres.connection() as connection:
        await connection.execute(
            """UPDATE penstock.schedules SET plan = '{"overlap": "tomorrow"}' WHERE name = 'theirs'"""
        )
    assert [due.schedule.name for due in await world.take()] == ["ours"]
    assert "theirs" in caplog.text
