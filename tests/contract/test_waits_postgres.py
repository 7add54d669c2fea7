"""Waiting in PostgreSQL passes the conformance suite, and survives what only a database can do."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.contract.test_journal_postgres import PostgresWorld
from tests.contract.waits_suite import HOUR, WaitsSuite, end, for_event, for_run, published, sent

from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal
from penstock.ports.waits import Begun


@pytest.fixture
async def world(journal_dsn: str) -> AsyncIterator[PostgresWorld]:
    journal = await open_journal(ConnectionSettings(journal_dsn, seal_tries=5))
    yield PostgresWorld(journal)
    await journal.close()


class TestPostgresWaits(WaitsSuite):
    pass


async def test_two_edges_that_share_no_run_are_checked_one_after_the_other(
    world: PostgresWorld, journal_dsn: str
) -> None:
    """A → B and C → D stand; B → C and D → A come at once, and both have looked before one is written."""
    a, b, c, d = await world.claimed(4)
    waits = world.journal.waits
    await waits.begin(for_run(a, b))
    await waits.begin(for_run(c, d))
    other = await asyncpg.connect(journal_dsn)
    async with other.transaction():
        await other.execute("LOCK TABLE penstock.waits IN SHARE MODE")
        last = [asyncio.create_task(waits.begin(wait)) for wait in (for_run(b, c), for_run(d, a))]
        async with asyncio.timeout(30):
            while await other.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") < 2:
                await asyncio.sleep(0.01)
    await other.close()
    answers = [(await begun).answer for begun in last]
    assert sorted(answers) == [Begun.CYCLE, Begun.WAITING]


async def test_many_at_once_wait_for_no_lock_in_a_circle(world: PostgresWorld) -> None:
    """Events, waits, appends and ends of the same few runs: nothing is refused by the database."""
    runs = await world.claimed(6)
    waits = world.journal.waits

    async def step(n: int) -> None:
        run, target = runs[n % 6], runs[(n * 5 + 1) % 6]
        match n % 4:
            case 0:
                await waits.begin(for_run(run, target, str(n)))
            case 1:
                await waits.send(sent(run, str(n)), 1000)
            case 2:
                await waits.begin(for_event(run, str(n), key="k"))
                await waits.publish(published(str(n)), 1000, HOUR)
            case _:
                both = [holder.batch(count=0, waiting=b"[]") for holder in (run, target) if holder is not target]
                await world.journal.append(both or [run.batch(count=0, waiting=b"[]")], blocking=True)

    await asyncio.gather(*(step(n) for n in range(400)))
    for run in runs:
        await end(run)
    while (found := await waits.follow_up(3)).ended:
        for ended in found.ended:
            await waits.followed_up(ended.tenant, ended.run)
    assert await waits.edges("acme", 100) == []
