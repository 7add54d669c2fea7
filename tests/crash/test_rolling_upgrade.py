"""Moving from the first release to the present one under load: real workers of both on one database, which is migrated
while they work. And a worker that is told to stop under load.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from tests.crash.releases import PRESENT, Release, unpacked, until

from penstock.adapters.postgres.journal import PostgresJournal, open_journal
from penstock.events import FORMAT, RunEnded, ToolDoubted, ToolIntent, decode
from penstock.journal.chain import verify
from penstock.ports.records import RunFilter, RunRow, Status

pytestmark = pytest.mark.crash

QUICK = {
    "PENSTOCK_LEASE_SECONDS": "3",
    "PENSTOCK_LOOP_BLOCK_MAX_SECONDS": "3",
    "PENSTOCK_POLL_SECONDS": "0.1",
    "PENSTOCK_START_ALLOWANCE_SECONDS": "1",
    "PENSTOCK_DOUBT_MARGIN_SECONDS": "0.2",
    "PENSTOCK_DATABASE_POOL_SIZE": "4",
}


@pytest.fixture
def old(database_url: str, tmp_path: Path) -> Release:
    """The first release."""
    return Release(unpacked(tmp_path / "old"), database_url, tmp_path / "ledger", QUICK)


@pytest.fixture
def new(database_url: str, tmp_path: Path) -> Release:
    """The present code."""
    return Release(PRESENT, database_url, tmp_path / "ledger", QUICK)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def check(journal: PostgresJournal, row: RunRow) -> list[Any]:
    """A run's events; its chain verifies, and it has ended once, rightly."""
    tape = await journal.tape(row.tenant, row.id)
    verify(row.tenant, row.id, tape, row.head, row.last_seq)
    events = [decode(item.body) for item in tape]
    assert row.outcome == "succeeded", (row.agent, row.status, row.outcome, row.code)
    assert sum(isinstance(event, RunEnded) for event in events) == 1
    return events


async def all_runs(journal: PostgresJournal) -> list[RunRow]:
    return await journal.list_runs("default", RunFilter(), 1000)


def keys(ledger: Path) -> Counter[str]:
    return Counter(ledger.read_text().split())


async def test_from_the_first_release_to_this_one_under_load(
    old: Release, new: Release, database: asyncpg.Connection
) -> None:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(old.worker("old-1"))
        second = await stack.enter_async_context(old.worker("old-2"))
        leases = "SELECT count(*) = 2 FROM pg_stat_activity WHERE application_name = 'penstock lease'"
        await until(lambda: database.fetchval(leases))
        wanted = [*[("courier", 200)] * 6, *[("sleeper", 4)] * 3, ("sleeper", 600), *[("asker", 3)] * 3, ("family", 10)]
        await old.submit(*wanted)
        await until(
            lambda: database.fetchval(
                "SELECT count(*) = 3 FROM penstock.runs WHERE waiting <> '[]' AND agent = 'asker' AND status = 'parked'"
            )
        )
        assert await database.fetchval("SELECT max(number) FROM penstock.migrations") == 4

        code, out, err = await new.command("upgrade", "expand", "--json")
        assert code == 0, err
        assert "0009_upgrade.sql" in out
        marked = await database.fetchval("SELECT count(*) FROM penstock.events")
        under = "SELECT count(*) > $1 + 50 FROM penstock.events"
        await until(lambda: database.fetchval(under, marked))
        assert first.process.returncode is None
        assert second.process.returncode is None

        await stack.enter_async_context(new.worker("new-1"))
        await new.submit(*[("courier", 5)] * 3, ("family", 2))
        code, out, err = await new.command("upgrade", "finalize")
        assert code != 0
        assert "old-1, old-2" in err
        assert "not_finalized" in err

        first.process.kill()  # what it held is taken over: a record by the first release, replayed by this one or it
        assert await second.drained(60) == 0
        journal = await open_journal(new.dsn)
        stack.push_async_callback(journal.close)
        await _approve_all(new)
        rest = "SELECT count(*) FROM penstock.runs WHERE status <> 'ended'"
        await until(lambda: _is(database.fetchval(rest), 1), 60)

        code, _, err = await new.command("upgrade", "finalize")
        assert code == 0, err
        late = await new.submit(("courier", 2))
        await until(lambda: _is(database.fetchval(rest), 1))

        rows = await all_runs(journal)
        sleeping = next(row for row in rows if row.status is not Status.ENDED)
        assert (sleeping.agent, sleeping.status) == ("sleeper", Status.PARKED)
        ended = [row for row in rows if row is not sleeping]
        events = {row.id: await check(journal, row) for row in ended}
        by_both = [
            run
            for run, tape in events.items()
            if len({event.worker_name for event in tape if type(event).__name__ == "RunClaimed"}) > 1
        ]
        assert by_both, "no run was begun by one release and finished by the other"
        formats = dict(await database.fetch("SELECT id, format FROM penstock.runs"))
        assert formats.pop(UUID(late[0])) == FORMAT
        assert set(formats.values()) == {1}
        _check_effects(events, keys(new.ledger))

        code, _, err = await old.command("runs", "ls")
        assert code == 3, "the first release does not start on what it does not know"
        assert "schema_too_new" in err


def _check_effects(events: dict[UUID, list[Any]], lines: Counter[str]) -> None:
    """Each write happened, and again only where it was in doubt."""
    made = {event.key: 0 for tape in events.values() for event in tape if isinstance(event, ToolIntent)}
    for tape in events.values():
        for event in tape:
            if isinstance(event, ToolDoubted):
                made[f"{event.run.hex}-{event.path}"] += 1
    assert set(made) <= set(lines)
    assert {key: count for key, count in lines.items() if count > 1 + made.get(key, 0)} == {}


async def _is(asked: Any, value: object) -> bool:
    return bool(await asked == value)


async def _approve_all(release: Release) -> None:
    import json

    code, out, err = await release.command("approvals", "ls", "--json")
    assert code == 0, err
    waiting = json.loads(out)
    assert len(waiting) == 3
    for item in waiting:
        code, _, err = await release.command("approvals", "approve", item["id"])
        assert code == 0, err


async def test_sigterm_under_load_hands_everything_over_and_nothing_is_in_doubt(
    new: Release, database_url: str
) -> None:
    journal = await open_journal(database_url)
    async with new.worker("leaving") as leaving, new.worker("staying"):
        runs = await new.submit(*[("courier", 40)] * 16, *[("family", 10)] * 2)
        await until(lambda: _has_begun(new.ledger, 100))
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await leaving.drained(20) == 0
        took = loop.time() - began
        assert b"drained" in leaving.said
        assert took < 10, f"{took:.1f} s, although its calls take 0.03 s"

        async def over() -> bool:
            return all(row.status is Status.ENDED for row in await all_runs(journal))

        await until(over, 60)
    rows = await all_runs(journal)
    assert len(rows) == len(runs) + 4
    handed = 0
    for row in rows:
        events = await check(journal, row)
        assert not any(isinstance(event, ToolDoubted) for event in events)
        handed += any(type(event).__name__ == "RunHandedBack" for event in events)
    assert handed > 0, "the worker had nothing in hand when it was told to stop"
    assert set(keys(new.ledger).values()) == {1}
    assert sum(keys(new.ledger).values()) == 16 * 40 + 2 * (2 * 10 + 1)
    await journal.close()


async def _has_begun(ledger: Path, lines: int) -> bool:
    return ledger.exists() and sum(keys(ledger).values()) >= lines
