"""Late circles in PostgreSQL pass the conformance suite; of several workers that see one, one breaks it."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.contract.circles_suite import CirclesSuite, asleep, found, letters, two_in_a_circle
from tests.contract.test_journal_postgres import PostgresWorld
from tests.contract.waits_suite import sent
from tests.unit.test_late_circles import AGENTS, SOON, check_two_branched

from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal
from penstock.wiring import assemble


@pytest.fixture
async def world(journal_dsn: str) -> AsyncIterator[PostgresWorld]:
    journal = await open_journal(ConnectionSettings(journal_dsn, seal_tries=5))
    yield PostgresWorld(journal)
    await journal.close()


class TestPostgresCircles(CirclesSuite):
    pass


async def test_of_many_that_see_a_circle_one_breaks_it(world: PostgresWorld) -> None:
    first, second = await two_in_a_circle(world)
    [broken] = await found(world, first, second)
    answers = await asyncio.gather(*(world.journal.circles.break_wait(broken) for _ in range(8)))
    assert sorted(answers) == [False] * 7 + [True]
    assert len(await letters(world, second)) == 1
    assert await letters(world, first) == []


async def test_of_many_that_look_one_has_the_turn(world: PostgresWorld) -> None:
    await two_in_a_circle(world)
    answers = await asyncio.gather(*(world.journal.circles.look(60, 10) for _ in range(8)))
    assert sorted(len(answer) for answer in answers) == [0] * 7 + [2]


async def test_runs_that_slept_for_each_other_go_on(world: PostgresWorld) -> None:
    """Agents, a worker and its follow-up on the real store."""
    async with assemble(world.postgres, SOON, agents=AGENTS) as platform:
        platform.start_worker("w")
        await check_two_branched(platform)


async def until_one_waits(other: asyncpg.Connection) -> None:
    """Somebody waits for a lock that is held here."""
    async with asyncio.timeout(30):
        while not await other.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"):
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("woken", ["the one whose wait is to fail", "another"])
async def test_a_run_that_is_being_woken_is_in_no_circle(world: PostgresWorld, journal_dsn: str, woken: str) -> None:
    """The circle stood when it was looked at. While the row of its youngest waiter is locked, one of the two gets the
    event that it waits for; only then could the wait be ended."""
    youngest, first = sorted(await world.claimed(2), key=lambda holder: holder.run)
    await asleep(world, first, youngest)
    await asleep(world, youngest, first)
    [broken] = await found(world, first, youngest)
    assert broken.run == youngest.run
    other = await asyncpg.connect(journal_dsn)
    async with other.transaction():
        lock = "SELECT status FROM penstock.runs WHERE tenant = $1 AND id = $2 FOR NO KEY UPDATE"
        assert await other.fetchval(lock, *youngest.key) == "parked"
        ended = asyncio.create_task(world.journal.circles.break_wait(broken))
        await until_one_waits(other)
        if woken == "another":
            await world.journal.waits.send(sent(first, sender=youngest.run), 10)
        else:
            event = sent(youngest, sender=first.run)
            send = "SELECT penstock.send_event($1, $2, $3, $4, $5, $6, 10)"
            assert await other.fetchval(send, *youngest.key, event.dedup, event.name, first.run, event.body) == 1
    await other.close()
    assert not await ended, "they do not wait for each other any more"
    assert f"cycle:0:{first.run}" not in await letters(world, youngest)
