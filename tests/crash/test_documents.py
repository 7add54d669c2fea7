"""Two workers write one shared document at once, on a real database, and are killed: each update counts, and once."""

import asyncio
import signal

import msgspec
import pytest
from tests.crash.document_agents import TIMES, marker
from tests.crash.record import check_record
from tests.crash.workers import Workers

from penstock.events import DocumentWritten, RunClaimed
from penstock.journal.documents import read
from penstock.settings import Settings
from penstock.wiring import open_penstock

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]


async def test_each_update_of_two_workers_counts_once_though_they_are_killed(journal_dsn: str) -> None:
    one_at_a_time = {"PENSTOCK_WORKER_CONCURRENCY": "1", "PENSTOCK_WORKER_CONCURRENCY_MIN": "1"}
    async with open_penstock(Settings(database_url=journal_dsn), agents=[marker]) as platform:
        runs = [await platform.submit(marker, tag) for tag in ("a", "b")]

        async def version() -> int:
            found = await platform.journal.documents.get("default", "shared", "marks")
            return 0 if found is None else found.latest.version

        async with Workers(journal_dsn, "tests.crash.document_agents:AGENTS", 2, one_at_a_time) as workers:
            for reached in (TIMES // 4, TIMES):
                async with asyncio.timeout(60):
                    while await version() < reached:
                        await asyncio.sleep(0.005)
                victim = next(process for process in workers._processes if process.returncode is None)
                victim.send_signal(signal.SIGKILL)
                await victim.wait()
            results = [await platform.result(run, timeout_seconds=150) for run in runs]
            deaths = list(workers.deaths)

        assert [result.outcome for result in results] == ["succeeded", "succeeded"], results
        assert deaths.count(-signal.SIGKILL) >= 2
        found = await platform.journal.documents.get("default", "shared", "marks")
        assert found is not None
        data = read(found.latest)
        assert data is not None
        held = msgspec.json.decode(data)
        assert held["sum"] == found.latest.version == 2 * TIMES
        assert sorted(held["marks"]) == sorted(f"{tag}{number}" for tag in "ab" for number in range(TIMES))
        claims = 0
        for run in runs:
            events = await check_record(platform, run)
            claims += sum(isinstance(event, RunClaimed) for event in events)
            written = [event for event in events if isinstance(event, DocumentWritten) and event.status == "written"]
            assert len(written) == TIMES
        assert claims >= 3, "at least one run was taken over"
