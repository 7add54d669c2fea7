"""Triggers in PostgreSQL pass the conformance suite, and do what only a database is asked to."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.contract.journal_world import World
from tests.contract.test_journal_postgres import PostgresWorld
from tests.contract.triggers_suite import TriggersSuite, event, publish, take, trigger

from penstock import Run, Settings, agent
from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal
from penstock.kernel.errors import JournalError
from penstock.ports.records import RunFilter
from penstock.ports.waits import Sent
from penstock.runs.triggers.triggering import Triggering
from penstock.wiring import assemble


class TriggersWorld(PostgresWorld):
    async def advance(self, seconds: float) -> None:
        await self.execute("UPDATE penstock.firings SET look_at = look_at - $1", int(seconds * 1e6))

    async def execute(self, statement: str, *args: object) -> None:
        async with self.postgres.connection() as connection:
            await connection.execute(statement, *args)


@pytest.fixture
async def world(journal_dsn: str) -> AsyncIterator[TriggersWorld]:
    journal = await open_journal(ConnectionSettings(journal_dsn, seal_tries=5))
    yield TriggersWorld(journal)
    await journal.close()


class TestPostgresTriggers(TriggersSuite):
    async def age(self, world: World, seconds: float) -> None:
        assert isinstance(world, TriggersWorld)
        await world.execute("UPDATE penstock.firings SET expires_at = expires_at - $1", int(seconds * 1e6))


@agent("clerk", version="1")
async def clerk(run: Run, value: dict[str, int]) -> int:
    return value["n"]


async def test_workers_that_look_at_once_share_what_is_due(world: TriggersWorld) -> None:
    await trigger(world, pending_max=100)
    await publish(world, *(event(str(n)) for n in range(60)), most=100)
    taken = await asyncio.gather(*(take(world, limit=20) for _ in range(8)))
    dedups = [firing.dedup for batch in taken for firing in batch]
    dedups += [firing.dedup for firing in await take(world, limit=100)]
    assert sorted(dedups) == sorted(str(n) for n in range(60))


async def test_the_event_and_its_firings_are_one_transaction(world: TriggersWorld) -> None:
    """What cannot be fired is not accepted, and what is accepted is fired for."""
    await trigger(world)
    await world.execute("ALTER TABLE penstock.firings ADD CONSTRAINT none CHECK (dedup <> '1')")
    with pytest.raises(JournalError):
        await publish(world, event("1"))
    await world.execute("ALTER TABLE penstock.firings DROP CONSTRAINT none")
    assert await publish(world, event("1")) == [Sent.DELIVERED]
    assert len(await take(world)) == 1


async def test_a_trigger_that_is_removed_while_events_come(world: TriggersWorld) -> None:
    """Nothing is refused, and nothing of it stays."""

    async def coming_and_going(n: int) -> None:
        if n % 3 == 0:
            await world.journal.triggers.remove("acme", f"t{n}")
        else:
            await publish(world, event(str(n)), most=1000)

    for n in range(0, 60, 3):
        await trigger(world, f"t{n}")
    await asyncio.gather(*(coming_and_going(n) for n in range(60)))
    assert await world.journal.triggers.list_triggers("acme") == []
    async with world.postgres.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM penstock.firings") == 0


async def test_what_is_not_due_is_not_looked_at(world: TriggersWorld) -> None:
    """Neither failed events nor those of a paused trigger: the look reads the index of what is due."""
    due = await trigger(world, "due")
    paused = await trigger(world, "paused")
    for stored, look_at in ((due, None), (paused, 2**63 - 1)):
        await world.execute(
            "INSERT INTO penstock.firings (tenant, trigger_id, agent, event, key, dedup, body, at, expires_at, look_at)"
            " SELECT 'acme', $1, 'clerk', 'paid', 'k', n::text, '', 0, 0, $2 FROM generate_series(1, 3000) AS n",
            stored.id,
            look_at,
        )
    await world.journal.triggers.pause("acme", "paused", "ada")
    await publish(world, event())
    await world.execute("ANALYZE penstock.firings")
    async with world.postgres.connection() as connection, connection.transaction():
        before = await connection.fetchrow(_READS)
        taken = await connection.fetch("SELECT * FROM penstock.take_firings(ARRAY['clerk'], 60000000, 100)")
        after = await connection.fetchrow(_READS)
    assert [row["trigger_id"] for row in taken] == [due.id]
    assert after["rows"] - before["rows"] <= 4
    assert after["whole"] == before["whole"]


_READS = """
SELECT pg_stat_get_xact_tuples_fetched(c.oid)
    + coalesce(sum(pg_stat_get_xact_tuples_returned(i.indexrelid)), 0) AS rows,
    pg_stat_get_xact_numscans(c.oid) AS whole
FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid WHERE c.oid = 'penstock.firings'::regclass GROUP BY c.oid"""


async def test_workers_that_are_cut_off_make_one_run_of_each_event(world: TriggersWorld) -> None:
    """The real statements and the real submission, cut off at any moment, and done by several at once."""
    platform = assemble(world.postgres, Settings())
    await platform.triggers.add("bill", "paid", clerk, tags={"customer": "$key"})
    for n in range(150):
        assert await platform.publish_event("paid", f"order-{n}", {"n": n}, dedup=f"webhook-{n}")
    workers = [Triggering(platform.services, lambda: ["clerk"]) for _ in range(4)]
    for cut_after in (0.01, 0.02, 0.04):
        cut_off = asyncio.create_task(workers[0].look())
        await asyncio.sleep(cut_after)
        cut_off.cancel()
        await asyncio.gather(cut_off, *(worker.look() for worker in workers[1:]), return_exceptions=True)
        await world.advance(60)
    while await workers[1].look():
        pass
    runs = await world.journal.list_runs("default", RunFilter(), 1000)
    assert len(runs) == 150
    assert {run.tags["customer"] for run in runs} == {f"order-{n}" for n in range(150)}
    assert (await platform.triggers.get("bill")).fired == 150
    assert (await platform.triggers.backlog("bill")).pending == 0
