"""Lists in PostgreSQL pass the conformance suite, read through their indexes, and lose no late commit."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from tests.contract.lists_suite import ListsSuite, filters, populate
from tests.contract.test_journal_postgres import PostgresWorld

from penstock.adapters.postgres import lists
from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal
from penstock.ports.records import Move, RunFilter, Status


@pytest.fixture
async def world(journal_dsn: str) -> AsyncIterator[PostgresWorld]:
    journal = await open_journal(ConnectionSettings(journal_dsn))
    yield PostgresWorld(journal)
    await journal.close()


@pytest.fixture
async def bounded(world: PostgresWorld, monkeypatch: pytest.MonkeyPatch) -> PostgresWorld:
    monkeypatch.setattr(lists, "LOOKED_AT_MOST", 5)
    monkeypatch.setattr(lists, "LOOKED_AT_APART", 3)
    return world


@pytest.fixture
async def other(journal_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A session of somebody else."""
    connection = await asyncpg.connect(journal_dsn)
    yield connection
    if not connection.is_closed():
        await connection.close()


class TestPostgresLists(ListsSuite):
    pass


async def test_every_filter_is_answered_through_an_index_that_gives_the_order(
    world: PostgresWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without sorting: a request that sorts has read all there is, however few it was asked for. Of a table this small
    all of it may be read and sorted just as well, so sorting is made dear: it is done only where there is no index."""
    await populate(world)
    seen: list[tuple[str, list[object]]] = []
    database = world.postgres._database
    fetch = database.fetch

    async def noting(query: str, *args: object) -> list[Any]:
        seen.append((query, list(args)))
        return await fetch(query, *args)

    monkeypatch.setattr(database, "fetch", noting)
    for where in filters(40):
        await world.journal.lists.page("acme", where, 7)
    monkeypatch.undo()
    async with world.postgres.connection() as connection, connection.transaction():
        await connection.execute("SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off")
        for query, args in seen:
            [[plan]] = await connection.fetch(f"EXPLAIN (FORMAT JSON) {query}", *args)
            nodes = {node["Node Type"] for node in _nodes(json.loads(plan)[0]["Plan"])}
            assert not nodes & {"Sort", "Incremental Sort", "Seq Scan", "Bitmap Heap Scan"}, (query, args, nodes)


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", ()) for node in _nodes(child))]


async def test_appends_still_update_rows_in_place(world: PostgresWorld) -> None:
    holder = await world.held(tags={"customer": "ada", "x_team": "red"}, session="s")
    count = "SELECT n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'runs'"
    async with world.postgres.connection() as connection:
        await connection.execute("SELECT pg_stat_force_next_flush()")
        before = await connection.fetchval(count)
    for _ in range(20):
        await holder.append()
    async with world.postgres.connection() as connection:
        for _ in range(100):
            await connection.execute("SELECT pg_stat_force_next_flush()")
            await connection.execute("SELECT pg_stat_clear_snapshot()")
            if await connection.fetchval(count) - before >= 20:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"of 20 appends {await connection.fetchval(count) - before} were in place")


async def test_an_end_that_commits_late_is_not_lost(world: PostgresWorld, journal_dsn: str) -> None:
    """One append has taken its number and does not commit; others that came later have."""
    late, early = await world.claimed(2)
    held = await asyncpg.connect(journal_dsn)
    lists_of = world.journal.lists
    try:
        transaction = held.transaction()
        await transaction.start()
        await held.execute("SELECT pg_advisory_xact_lock_shared(penstock.append_lock())")
        await held.execute(
            "UPDATE penstock.runs SET status = 'ended', outcome = 'succeeded', ended_at = now() WHERE id = $1", late.run
        )
        await early.append(move=Move(Status.ENDED, outcome="succeeded"))
        reading = asyncio.create_task(lists_of.ends("acme", 0, 10))
        await asyncio.wait({reading}, timeout=0.3)
        assert not reading.done(), "it must not pass the number that is not committed"
        await transaction.commit()
        found = await reading
        assert [item.row.id for item in found.items] == [late.run, early.run]
    finally:
        await held.close()


async def test_a_stuck_append_holds_results_back_and_loses_none(
    world: PostgresWorld, other: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "SETTLE_MS", 20)
    [run] = await world.claimed(1)
    await run.append(move=Move(Status.ENDED, outcome="succeeded"))
    async with other.transaction():
        await other.execute("SELECT pg_advisory_xact_lock_shared(penstock.append_lock())")
        assert (await world.journal.lists.ends("acme", 0, 10)).items == []
    assert len((await world.journal.lists.ends("acme", 0, 10)).items) == 1


async def test_many_writers_and_a_reader_who_never_looks_back(world: PostgresWorld, journal_dsn: str) -> None:
    """Six connections end runs in batches; a reader with a cursor gets each run once."""
    runs = await world.claimed(240)
    journals = [await open_journal(journal_dsn, prepare=False) for _ in range(6)]
    read: list[Any] = []
    ended = asyncio.Event()

    async def end(journal: Any, mine: list[Any]) -> None:
        for start in range(0, len(mine), 4):
            batches = [holder.batch(move=Move(Status.ENDED, outcome="succeeded")) for holder in mine[start : start + 4]]
            left = batches
            while left:
                answers = await journal.append(left)
                left = [batch for batch, answer in zip(left, answers, strict=True) if answer.answer == "skipped"]

    async def follow() -> None:
        after = 0
        while True:
            was_over = ended.is_set()
            found = await world.journal.lists.ends("acme", after, 7)
            read.extend(item.row.id for item in found.items)
            if was_over and found.next == after:
                return
            after = found.next

    reader = asyncio.create_task(follow())
    await asyncio.gather(*(end(journal, runs[number::6]) for number, journal in enumerate(journals)))
    ended.set()
    async with asyncio.timeout(30):
        await reader
    assert len(read) == len(set(read)) == 240
    assert set(read) == {holder.run for holder in runs}
    for journal in journals:
        await journal.close()


async def test_runs_of_before_have_no_number_and_are_listed_all_the_same(world: PostgresWorld) -> None:
    [run] = await world.claimed(1, tags={"customer": "ada"})
    await run.append(move=Move(Status.ENDED, outcome="succeeded"))
    async with world.postgres.connection() as connection:
        await connection.execute("UPDATE penstock.runs SET ended_no = NULL, customer = ''")
    assert (await world.journal.lists.ends("acme", 0, 10)).items == []
    page = await world.journal.lists.page("acme", RunFilter(tags={"customer": "ada"}), 10)
    assert [row.id for row in page.rows] == [run.run]
