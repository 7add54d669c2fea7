"""Late circles in PostgreSQL pass the conformance suite; of several workers that see one, one breaks it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.contract.circles_suite import CirclesSuite, found, letters, two_in_a_circle
from tests.contract.test_journal_postgres import PostgresWorld
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
