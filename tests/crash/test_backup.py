"""A copy taken under load, read into another server: every chain holds, nothing goes on before somebody says so, then
everything does.
"""

import asyncio
import json
from collections import Counter
from pathlib import Path

import asyncpg
import pytest
from tests.crash.releases import PRESENT, Release, until

from penstock.adapters.postgres.backup import _without_password
from penstock.adapters.postgres.embedded import start_embedded
from penstock.adapters.postgres.journal import open_journal
from penstock.events import RunSubmitted, ToolIntent, decode
from penstock.journal.chain import verify
from penstock.ports.records import RunFilter, RunRow, Status
from penstock.ports.releases import RESTORED_EPOCHS

pytestmark = pytest.mark.crash

QUICK = {
    "PENSTOCK_LEASE_SECONDS": "3",
    "PENSTOCK_LOOP_BLOCK_MAX_SECONDS": "3",
    "PENSTOCK_POLL_SECONDS": "0.1",
    "PENSTOCK_START_ALLOWANCE_SECONDS": "1",
    "PENSTOCK_DOUBT_MARGIN_SECONDS": "0.2",
    "PENSTOCK_DATABASE_POOL_SIZE": "4",
}


async def test_a_copy_taken_under_load_goes_on_in_another_server(
    database_url: str, short_tmp: Path, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    here = Release(PRESENT, database_url, ledger, QUICK)
    copy = tmp_path / "copy"
    async with here.worker("before"):
        await here.submit(*[("courier", 100)] * 6, *[("sleeper", 2)] * 2, *[("asker", 3)] * 2, ("family", 30))
        await until(lambda: _asked(database_url))
        code, out, err = await here.command("backup", "create", str(copy), "--json")
        assert code == 0, err
        assert copy.stat().st_mode & 0o777 == 0o600
        lines_then = len(ledger.read_text().split())
        code, _, err = await here.command("backup", "create", str(copy))
        assert code == 1, "an older copy is not overwritten"
        assert "backup_failed" in err
        code, _, err = await here.command("backup", "restore", str(copy))
        assert code == 1
        assert "holds runs already" in err
    async with await start_embedded(short_tmp) as server:
        there = Release(PRESENT, server.dsn, ledger, QUICK)
        code, out, err = await there.command("backup", "restore", str(copy), "--json")
        assert code == 0, err
        done = json.loads(out)
        assert done["fenced"] == done["held"] > 0
        code, out, err = await there.command("audit", "verify", "--all", "--json")
        assert code == 0, out + err
        journal = await open_journal(server.dsn)
        rows = await journal.list_runs("default", RunFilter(), 100)
        running = [row for row in rows if row.status is Status.QUEUED and row.last_seq > 1]
        assert running, "nothing was in flight when the copy was taken"
        assert all(row.epoch > RESTORED_EPOCHS for row in running)
        seen = {row.id: row.last_seq for row in rows}
        async with there.worker("after"):
            await asyncio.sleep(1)
            assert {row.id: row.last_seq for row in await journal.list_runs("default", RunFilter(), 100)} == seen
            code, out, _ = await there.command("backup", "go-on", "--json")
            assert json.loads(out)["resumed"] == done["held"]
            for approval in json.loads((await there.command("approvals", "ls", "--json"))[1]):
                assert (await there.command("approvals", "approve", approval["id"]))[0] == 0

            async def over() -> bool:
                found = await journal.list_runs("default", RunFilter(), 100)
                return all(row.status is Status.ENDED for row in found)

            await until(over, 60)
        made = Counter[str]()
        for row in await journal.list_runs("default", RunFilter(), 100):
            made.update(await _keys(journal, row))
        await journal.close()
    lines = Counter(ledger.read_text().split())
    assert len(ledger.read_text().split()) > lines_then
    assert set(lines) == set(made), "every write bears the key it bore before the copy was taken"


async def _keys(journal: object, row: RunRow) -> set[str]:
    """Keys of a run's writes; its chain verifies and it has ended rightly."""
    tape = await journal.tape(row.tenant, row.id)  # type: ignore[attr-defined]
    verify(row.tenant, row.id, tape, row.head, row.last_seq)
    events = [decode(item.body) for item in tape]
    assert isinstance(events[0], RunSubmitted)
    assert row.outcome == "succeeded", (row.agent, row.outcome, row.code)
    return {event.key for event in events if isinstance(event, ToolIntent)}


async def _asked(dsn: str) -> bool:
    """Whether the questions are asked and the couriers are on their way."""
    connection = await asyncpg.connect(dsn)
    try:
        return bool(
            await connection.fetchval(
                "SELECT count(*) FILTER (WHERE agent = 'asker' AND status = 'parked') = 2"
                " AND count(*) FILTER (WHERE agent = 'courier' AND last_seq > 10) > 0 FROM penstock.runs"
            )
        )
    finally:
        await connection.close()


def test_a_password_does_not_stand_in_the_list_of_processes() -> None:
    assert _without_password("postgresql://u:p%40ss@h:5/d?sslmode=require") == (
        "postgresql://u@h:5/d?sslmode=require",
        "p@ss",
    )
    assert _without_password("postgresql://u@/d?host=/x") == ("postgresql://u@/d?host=/x", "")
