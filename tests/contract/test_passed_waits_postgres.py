"""A holder that was passed changes nothing of the waits in PostgreSQL, however the statements meet."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.contract.journal_world import LEASE
from tests.contract.passed_waits_suite import PassedWaitsSuite, letters, received
from tests.contract.test_journal_postgres import PostgresWorld
from tests.contract.waits_suite import HOUR, end, for_event, for_run, published

from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal
from penstock.ports.waits import Begun, Wait

CLAIM = "SELECT epoch FROM penstock.claim($1, ARRAY['r1'], 10, 1000)"
OLD_RETURN = "SELECT penstock.return_event($1, $2, $3, $4, $5)"


@pytest.fixture
async def world(journal_dsn: str) -> AsyncIterator[PostgresWorld]:
    journal = await open_journal(ConnectionSettings(journal_dsn, seal_tries=5))
    yield PostgresWorld(journal)
    await journal.close()


@pytest.fixture
async def other(journal_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(journal_dsn)
    yield connection
    await connection.close()


class TestPostgresPassedWaits(PassedWaitsSuite):
    pass


async def until_one_waits(other: asyncpg.Connection) -> None:
    """Somebody waits for a lock that is held here."""
    async with asyncio.timeout(30):
        while not await other.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"):
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("late", ["give_back", "withdraw", "begin"])
async def test_a_claim_under_way_is_waited_for(world: PostgresWorld, other: asyncpg.Connection, late: str) -> None:
    """The run is being claimed by the next holder when the last one's statement comes."""
    zombie, waiter = await world.claimed(2)
    waits, wait = world.journal.waits, for_event(zombie, key="k")
    await waits.begin(wait)
    if late == "give_back":
        await waits.publish(published("1"), 10, HOUR)
    await waits.begin(for_event(waiter, key="k"))
    await world.advance(LEASE + 1)
    next_worker = await world.worker()
    async with other.transaction():
        assert [row["epoch"] for row in await other.fetch(CLAIM, next_worker)] == [2, 2]
        asked = asyncio.create_task(getattr(waits, late)(wait))
        await until_one_waits(other)
    answer = await asked
    if late == "begin":
        assert answer.answer is Begun.LOST
    if late != "give_back":
        await waits.publish(published("1"), 10, HOUR)
    assert await letters(world, zombie) == ["topic:0"]
    assert await letters(world, waiter) == []


async def test_a_worker_of_an_older_release_frees_no_event_of_a_run_that_goes_on(
    world: PostgresWorld, other: asyncpg.Connection
) -> None:
    """It does not say under which claim it asks. The event is free again when the run has ended."""
    holder, waiter = await world.claimed(2)
    waits = world.journal.waits
    await waits.begin(for_event(holder, key="k"))
    await waits.begin(for_event(holder, "1", key="l"))
    await waits.publish(published("1"), 10, HOUR)
    await waits.begin(for_event(waiter, key="k"))
    assert not await other.fetchval(OLD_RETURN, *holder.key, "0", "go", "k")
    assert await letters(world, holder) == ["topic:0"]
    assert not await other.fetchval(OLD_RETURN, *holder.key, "1", "go", "l")
    await waits.publish(published("1", key="l"), 10, HOUR)
    assert await letters(world, holder) == ["topic:0"], "a wait without an event is over"
    await end(holder)
    await waits.follow_up(10)
    assert await letters(world, waiter) == ["topic:0"]


async def test_what_was_received_is_not_freed_when_the_run_has_ended(world: PostgresWorld) -> None:
    holder, waiter = await world.claimed(2)
    waits = world.journal.waits
    for run in (holder, waiter):
        await waits.begin(for_event(run, key="k"))
    await waits.publish(published("1"), 10, HOUR)
    await holder.append(received(holder), consumed=["topic:0"])
    await end(holder)
    await waits.follow_up(10)
    assert await letters(world, waiter) == []


async def test_two_rows_are_locked_in_the_order_of_all_others(world: PostgresWorld, other: asyncpg.Connection) -> None:
    """Somebody has the lower row and is about to lock the higher one, as an append of both runs does."""
    lower, higher = sorted(await world.claimed(2), key=lambda holder: holder.run)
    waits, lock = world.journal.waits, "SELECT FROM penstock.runs WHERE tenant = $1 AND id = $2 FOR NO KEY UPDATE"
    await waits.begin(for_event(higher, key="k"))
    await waits.publish(published("1"), 10, HOUR)
    await waits.begin(for_event(lower, key="k"))
    async with other.transaction():
        await other.execute(lock, *lower.key)
        given_back = asyncio.create_task(waits.give_back(for_event(higher, key="k")))
        await until_one_waits(other)
        await other.execute(lock, *higher.key)
    await given_back
    assert await letters(world, lower) == ["topic:0"]


async def test_what_many_give_back_and_wait_for_again_is_nobodys_in_the_end(world: PostgresWorld) -> None:
    runs = await world.claimed(6)
    waits = world.journal.waits
    for number in range(6):
        await waits.publish(published(str(number)), 100, HOUR)

    async def step(number: int) -> None:
        wait = for_event(runs[number % 6], str(number % 6), key="k")
        await waits.begin(wait)
        await waits.give_back(wait)

    await asyncio.gather(*(step(number) for number in range(120)))
    async with world.postgres.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM penstock.published WHERE taken_by IS NULL") == 6
        assert await connection.fetchval("SELECT count(*) FROM penstock.inbox") == 0
        assert await connection.fetchval("SELECT sum(letters) FROM penstock.runs") == 0


async def test_an_unknown_run_is_no_lost_claim(world: PostgresWorld) -> None:
    run = await world.held()
    foreign = Wait("zeta", run.run, "0", "run", target=run.run, epoch=7)
    assert (await world.journal.waits.begin(foreign)).answer is Begun.ABSENT
    assert (await world.journal.waits.begin(for_run(run, run))).answer is Begun.CYCLE
