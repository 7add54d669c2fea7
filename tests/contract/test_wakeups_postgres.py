"""Lost wake-ups in PostgreSQL pass the conformance suite, and are found while others work on the same rows."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.contract.journal_world import Holder
from tests.contract.test_journal_postgres import PostgresWorld
from tests.contract.waits_suite import end
from tests.contract.wakeups_suite import Hand, WakeupsSuite, look, parent_and_child, told

from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal
from penstock.ports.records import Move, Status

ACTS = {
    "asleep": "UPDATE penstock.runs SET status = 'parked', wake_at = NULL, letters = 0 WHERE id = $1 AND $2::text = ''",
    "consumed": "UPDATE penstock.inbox SET consumed = true WHERE run_id = $1 AND dedup = $2",
    "no letter": "DELETE FROM penstock.inbox WHERE run_id = $1 AND dedup = $2",
    "no time": "UPDATE penstock.runs SET wake_at = NULL WHERE id = $1 AND $2::text = ''",
}


class LookingWorld(PostgresWorld):
    """Looks come nearer too."""

    async def advance(self, seconds: float) -> None:
        await super().advance(seconds)
        async with self.postgres.connection() as connection:
            await connection.execute("UPDATE penstock.wakeup_looks SET next_at = next_at - $1", int(seconds * 1e6))


@pytest.fixture
async def world(journal_dsn: str) -> AsyncIterator[PostgresWorld]:
    journal = await open_journal(ConnectionSettings(journal_dsn, seal_tries=5))
    yield LookingWorld(journal)
    await journal.close()


@pytest.fixture
def hand(journal_dsn: str) -> Hand:
    async def act(what: str, holder: Holder, dedup: str = "") -> None:
        connection = await asyncpg.connect(journal_dsn)
        assert await connection.execute(ACTS[what], holder.run, dedup) in ("UPDATE 1", "DELETE 1")
        await connection.close()

    return act


class TestPostgresWakeups(WakeupsSuite):
    pass


async def test_a_run_that_is_being_woken_is_not_waited_for_and_not_taken_for_lost(
    world: PostgresWorld, journal_dsn: str
) -> None:
    """The child's end is written and not yet committed while somebody looks."""
    parent, child = await parent_and_child(world)
    other = await asyncpg.connect(journal_dsn)
    async with other.transaction():
        await other.execute("SELECT FROM penstock.runs WHERE id = $1 FOR NO KEY UPDATE", parent.run)
        batch = child.batch(move=Move(Status.ENDED, outcome="succeeded", post=told(parent, child.run)))
        ending = asyncio.create_task(world.journal.append([batch], blocking=True))
        async with asyncio.timeout(10):
            while not await other.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                await asyncio.sleep(0.01)
            assert await look(world) == []
    await ending
    assert await look(world) == []
    assert await world.journal.wakeups.rescued(1) == []
    await other.close()


async def test_of_many_that_look_one_has_the_turn(world: PostgresWorld) -> None:
    _, child = await parent_and_child(world)
    await end(child)
    answers = await asyncio.gather(*(world.journal.wakeups.look(60, 10) for _ in range(8)))
    assert sorted(len(answer) for answer in answers) == [0] * 7 + [1]


async def test_a_look_reads_no_more_than_it_may(world: PostgresWorld, journal_dsn: str) -> None:
    """By the index of unended runs, in its order, whatever the tables' sizes are."""
    await world.claimed(50)
    connection = await asyncpg.connect(journal_dsn)
    await connection.execute("SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off")
    plan = "\n".join(
        row[0]
        for row in await connection.fetch(
            "EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) SELECT r.tenant, r.id FROM penstock.runs r "
            "WHERE r.status <> 'ended' AND (r.tenant, r.id) > ('', penstock.nil()) ORDER BY r.tenant, r.id LIMIT 10"
        )
    )
    await connection.close()
    assert "runs_open" in plan, plan
    assert "Sort" not in plan, plan
