"""Sums of spending in PostgreSQL pass the conformance suite, and lose no end that commits late."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import UUID

import asyncpg
import pytest
from tests.contract.journal_world import Holder
from tests.contract.test_journal_postgres import PostgresWorld
from tests.contract.usage_suite import UsageSuite, by, count, counting, end, ended, model_call

from penstock.adapters.postgres import migrate as migrations
from penstock.adapters.postgres.database import ConnectionSettings, Database
from penstock.adapters.postgres.journal import open_journal
from penstock.adapters.postgres.usage import PostgresUsage
from penstock.events import Amount
from penstock.ports.records import Summary
from penstock.ports.usage import HOUR, HourSum, Step, slot_of

TOP = 2**52
WEEK = 168 * HOUR


@pytest.fixture
async def world(journal_dsn: str) -> AsyncIterator[PostgresWorld]:
    journal = await open_journal(ConnectionSettings(journal_dsn, seal_tries=5))
    yield PostgresWorld(journal)
    await journal.close()


class TestPostgresUsage(UsageSuite):
    pass


async def finish(holder: Holder, nano: int) -> None:
    call = model_call(holder, "0", "m-1", Amount(1, 1, nano))
    await end(holder, *call, summary=Summary(nano=nano, tokens=2))


async def test_an_end_that_commits_late_is_counted_once(world: PostgresWorld, journal_dsn: str) -> None:
    """An append has taken its number and time and does not commit, while others end and are counted."""
    late, early = await world.claimed(2)
    blocker = await asyncpg.connect(journal_dsn)
    try:
        async with world.postgres.connection() as own:
            # The append of the late end waits inside its transaction, after its number: at the events it inserts.
            await own.execute(
                "CREATE FUNCTION penstock.wait_here() RETURNS trigger LANGUAGE plpgsql AS"
                f" $$ BEGIN IF NEW.run_id = '{late.run}' THEN PERFORM pg_advisory_xact_lock(77); END IF;"
                " RETURN NEW; END $$"
            )
            await own.execute(
                "CREATE TRIGGER wait_here BEFORE INSERT ON penstock.events FOR EACH ROW"
                " EXECUTE FUNCTION penstock.wait_here()"
            )
        await blocker.execute("SELECT pg_advisory_lock(77)")
        slow = asyncio.create_task(finish(late, 1_000))
        async with asyncio.timeout(10):
            while not await blocker.fetchval(
                "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 77 AND NOT granted)"
            ):
                await asyncio.sleep(0.01)
        await finish(early, 5)
        who = counting(world)
        await who.look()
        assert sum((await by(world, "agent")).values()) in (0, 5)
        await blocker.execute("SELECT pg_advisory_unlock(77)")
        await slow
        await count(world, who)
        assert await by(world, "agent") == {"clerk": 1_005}
    finally:
        await blocker.close()


async def test_many_end_while_several_count(world: PostgresWorld) -> None:
    """Nothing is lost or counted twice while ends commit in any order and counters take turns."""
    holders = await world.claimed(120)
    done = asyncio.Event()

    async def keep_counting() -> None:
        who = counting(world)
        while not done.is_set():
            await who.look()
            await world.journal.usage.end_turn(who._holder, 0)
            await asyncio.sleep(0)

    counters = [asyncio.create_task(keep_counting()) for _ in range(3)]
    await asyncio.gather(*(finish(holder, 1 << (number % 16)) for number, holder in enumerate(holders)))
    done.set()
    await asyncio.gather(*counters)
    await count(world)
    expected = sum(1 << (number % 16) for number in range(120))
    assert await by(world, "agent") == {"clerk": expected}
    who = counting(world)
    assert await who.again("acme") == 120
    assert await by(world, "agent") == {"clerk": expected}
    async with world.postgres.connection() as connection:
        assert await connection.fetchval("SELECT sum(nano) FROM penstock.runs") == expected


async def test_runs_that_ended_before_ends_were_numbered_are_counted(world: PostgresWorld) -> None:
    for number in range(5):
        await ended(world, 10 + number)
    async with world.postgres.connection() as connection:
        await connection.execute("UPDATE penstock.runs SET ended_no = NULL")
    await ended(world, 1)
    assert await count(world) == 6
    assert await by(world, "agent") == {"clerk": 61}


async def test_what_was_pruned_stays_as_it_was_counted(world: PostgresWorld) -> None:
    """Records that are gone cannot be counted again: their hours are taken over."""
    gone = await ended(world, 1_000, tags={"customer": "a"})
    await count(world)
    async with world.postgres.connection() as connection:
        await connection.execute("UPDATE penstock.runs SET pruned_at = now(), ended_at = ended_at - interval '2 hours'")
        await connection.execute(
            "INSERT INTO penstock.tombstones"
            " (tenant, run_id, agent, ended_at, last_seq, head, archive, named, pruned_at)"
            " SELECT tenant, id, agent, ended_at, last_seq, head, '', false, pruned_at FROM penstock.runs"
        )
        await connection.execute("UPDATE penstock.usage_hourly SET hour = hour - 7200000000 WHERE grain = 1")
        await connection.execute("DELETE FROM penstock.events WHERE run_id = $1", gone.run)
    await ended(world, 5, tags={"customer": "a"})
    who = counting(world)
    assert await who.again("acme") == 1
    assert await by(world, "customer") == {"a": 1_005}
    assert {value: nano for value, nano in (await by(world, "model")).items() if nano} == {"m-1": 1_005}


async def test_a_run_whose_record_was_pruned_before_it_was_counted_counts_by_its_row(world: PostgresWorld) -> None:
    gone = await ended(world, 1_000)
    async with world.postgres.connection() as connection:
        await connection.execute("UPDATE penstock.runs SET pruned_at = now()")
        await connection.execute("DELETE FROM penstock.events WHERE run_id = $1", gone.run)
    assert await count(world) == 1
    assert await by(world, "model") == {"": 1_000}


async def test_what_an_older_worker_counts_is_whole(world: PostgresWorld) -> None:
    """It sends the sums that it knows: of no kind, no user and no class, and with the slots that it knows."""
    usage = world.journal.usage
    place = await usage.place("acme")
    assert place is not None
    sums = {
        "hour": 400 * WEEK,
        "slot": str(UUID(int=1)),
        **dict.fromkeys(("customer", "feature", "agent", "task_type", "release", "model"), "x"),
        **dict.fromkeys(("runs", "used_by", "model_calls", "tokens_in", "tokens_out", "nano_at_maximum"), 1),
        "nano": 1_000,
        "dearest": str(UUID(int=2)),
        "dearest_nano": 1_000,
    }
    async with world.postgres.connection() as connection:
        for number in range(2):
            done = await connection.fetchval(
                "SELECT penstock.count_usage("
                "'acme', 1, $1, penstock.nil(), $2, $3, penstock.nil(), false, 0, $4, '[]')",
                number,
                place.is_old if number == 0 else False,
                number + 1,
                json.dumps([sums]),
            )
            assert done
    for name in ("customer", "kind", "user", "tag.x_team", "model"):
        for until in (400 * WEEK + HOUR, 401 * WEEK, TOP):
            groups = await usage.sums("acme", name, 0, until, {})
            assert sum(group.nano for group in groups) == 2_000, (name, until)
    [row] = await usage.hours("acme", 0, TOP, {}, None, 10)
    assert (row.nano, row.tags, row.classes["cached"]) == (2_000, {}, 0)


ENTRIES = """
SELECT u.grain, u.hour, u.customer, u.feature, u.agent, u.task_type, u.release, sum(u.runs), sum(u.model_calls),
       sum(u.tokens_in), sum(u.tokens_out), sum(u.nano), sum(u.nano_at_maximum), sum(u.cached), sum(u.reasoning),
       max(u.dearest_nano)
FROM penstock.{} u GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 1, 2, 3, 4, 5, 6, 7"""


async def test_sums_of_an_older_version_are_carried_over_while_others_count(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every step of it, whatever is counted between two of them, each question has one answer."""
    connection = await asyncpg.connect(database_url)
    known = migrations.known_migrations()
    older = known[: [one.name[5:] for one in known].index("usage_of_runs.sql")]
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "known_migrations", lambda: older)
        await migrations.migrate(connection)
    database = await Database.connect(ConnectionSettings(database_url))
    usage, start, spent = PostgresUsage(database), 400 * WEEK, 0
    place = await usage.place("acme")

    async def add(*hours: int) -> None:
        """Three sums of calls in each of these hours, of which no two are alike."""
        nonlocal place, spent
        assert place is not None
        sums = []
        for hour in hours:
            names = (f"c-{hour % 3}", "f", "a", f"t-{hour % 2}", "r")
            for model, kind in (("", ""), ("m-1", "work"), ("m-2", "retry")):
                nano, slot = 1 + spent % 1_009, slot_of(*names, model, kind)
                one = HourSum(start + hour * HOUR, slot, *names, model, kind=kind, coarse=slot)
                one.runs, one.used_by, one.nano, one.tokens_in, one.reasoning = int(not model), 1, nano, 7, 3
                one.dearest, one.dearest_nano = UUID(int=nano), nano
                sums.append(one)
                spent += nano
        ends = replace(place, number=place.number + 1, is_old=False)
        assert await usage.count(Step(place, ends, [], False), sums, [])
        place = ends

    async def checked() -> None:
        for told in ("customer", "task_type", ("customer", "feature", "task_type"), "model"):
            assert sum(group.nano for group in await usage.sums("acme", told, 0, TOP, {})) == spent, told

    try:
        await add(0, 1, 24, 25, 170, 400)
        await migrations.migrate(connection)
        await checked()
        steps = 0
        while await connection.fetchval("SELECT penstock.carry_usage(1)"):
            steps += 1
            await checked()
            await add(0, 1, 25, 26, 171, 401, 402)
            await checked()
        assert steps >= 5, "each step is bounded"
        of_runs = await connection.fetch(ENTRIES.format("usage_of_runs"))
        assert of_runs == await connection.fetch(ENTRIES.format("usage_hourly"))
        assert len(of_runs) == await connection.fetchval("SELECT count(*) FROM penstock.usage_of_runs")
    finally:
        await database.close()
        await connection.close()


async def test_who_counts_carries_over(world: PostgresWorld) -> None:
    """Until it is done the sums of calls answer, and afterwards those of runs: of the week, for nothing ended later."""
    await ended(world, 1_000, tags={"customer": "a"})
    await count(world)
    until = await world.journal.now() + HOUR
    async with world.postgres.connection() as connection:
        await connection.execute("UPDATE penstock.usage_of_runs SET nano = 2000 WHERE grain = 168")
        await connection.execute("INSERT INTO penstock.usage_uncarried VALUES ('acme', 1, 9223372036854775807)")
        again = PostgresUsage(world.postgres._database)
        assert [group.nano for group in await again.sums("acme", "customer", 0, until, {})] == [1_000]
        for _ in range(2):
            await again.drop_old(0, 0, 10)
        assert not await connection.fetch("SELECT FROM penstock.usage_uncarried")
        assert [group.nano for group in await again.sums("acme", "customer", 0, until, {})] == [2_000]
        assert [group.nano for group in await again.sums("acme", "customer", 0, until - 2 * HOUR, {})] == []
