"""Stops by scope in PostgreSQL pass the conformance suite, and what only a database can get wrong."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.contract.journal_world import World
from tests.contract.resources_suite import ResourcesSuite
from tests.contract.scopes_suite import NARROW, REFUND, ScopesSuite, ToolStopsSuite, held, inside, outside
from tests.contract.test_journal_postgres import PostgresWorld

from penstock.adapters.postgres import rows
from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal
from penstock.ports.records import Answer, Stop


@pytest.fixture
async def world(journal_dsn: str) -> AsyncIterator[World]:
    journal = await open_journal(ConnectionSettings(journal_dsn))
    yield PostgresWorld(journal)
    await journal.close()


class TestPostgresScopes(ScopesSuite):
    pass


class TestPostgresToolStops(ToolStopsSuite):
    pass


class TestPostgresResources(ResourcesSuite):
    pass


async def test_workers_of_older_code_start_nothing_while_a_tool_is_stopped(
    world: PostgresWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would hold no intent against it, and of what tool an intent is cannot be told: all of theirs are refused."""
    mine, foreign = await held(world, inside(), inside(tenant="zeta"))
    await world.journal.stop_scope(REFUND, Stop.KILL, "eve", "")
    version = (await world.journal.controls.of_tools()).version
    monkeypatch.setattr(rows, "CHECKS_TOOLS", 0)
    for checked in (None, version):
        answer = await mine.append(mine.intent(), intent=True, checked=checked)
        assert (answer.answer, answer.stop) == (Answer.STOPPED, Stop.PAUSE)
    assert (await foreign.append(foreign.intent(), intent=True, checked=version)).answer is Answer.APPLIED
    assert (await mine.append()).answer is Answer.APPLIED, "what is no intent is written"
    await world.journal.resume_scope(REFUND, "eve")
    assert (await mine.append(mine.intent(), intent=True, checked=None)).answer is Answer.APPLIED


async def test_many_held_runs_are_walked_once_and_all_come_back(world: PostgresWorld) -> None:
    """Two thousand runs of a paused agent before one of another: after some claims they are out of the way."""
    held = [inside(session="", priority=5) for _ in range(2_000)]
    other = outside(session="")
    await world.journal.submit(held)
    await world.journal.submit([other])
    await world.journal.stop_scope(NARROW[0], Stop.PAUSE, "eve", "")
    assert [claim.run for claim in await world.claim()] == [other.id]
    async with world.postgres.connection() as connection:
        aside = await connection.fetchval("SELECT count(*) FROM penstock.runs WHERE aside")
        assert aside == 2_000
        await world.journal.resume_scope(NARROW[0], "eve")
    taken: set[object] = set()
    async with asyncio.timeout(60):
        while len(taken) < 2_000:
            taken |= {claim.run for claim in await world.claim()}
    assert taken == {run.id for run in held}


async def test_an_append_that_missed_the_control_is_waited_for(world: PostgresWorld) -> None:
    """The stop is not sealed while an append that began before it may still commit."""
    await world.journal.submit([inside()])
    async with world.postgres.connection() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock_shared(penstock.append_lock())")
        stopping = asyncio.create_task(world.journal.stop_scope(NARROW[0], Stop.PAUSE, "eve", ""))
        done, _ = await asyncio.wait({stopping}, timeout=0.3)
        assert not done
    assert (await stopping).sealed
