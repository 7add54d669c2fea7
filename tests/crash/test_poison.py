"""A run that kills its workers is tried once more in a process of its own, and takes nobody else with it."""

import asyncio
import signal
from uuid import UUID

import pytest
from tests.crash.fatal_agents import fatal, innocent
from tests.crash.workers import Workers, live_workers

from penstock import Settings
from penstock.events import RunClaimed, RunHandedBack, decode
from penstock.kernel.errors import RunQuarantined
from penstock.ports.records import Status
from penstock.runs.client import Penstock
from penstock.runs.submit import Request
from penstock.wiring import open_penstock

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

TARGET = "tests.crash.fatal_agents"
INNOCENTS = 20


DEATHS = {
    "exits": "it ended with exit code 7",
    "killed": "it was killed by SIGKILL",
    "killed in a call": "it was killed by SIGKILL",
}


async def reason_of(platform: Penstock, run: UUID) -> str:
    """The words that a run was set aside with."""
    with pytest.raises(RunQuarantined):
        await platform.result(run, timeout_seconds=60)
    row = await platform.journal.get_run("default", run)
    assert row is not None
    assert (row.status, row.code) == (Status.QUARANTINED, "poison")
    last = decode((await platform.journal.tape("default", run, after=row.last_seq - 1))[0].body)
    assert isinstance(last, RunHandedBack)
    return last.reason


async def test_poison_costs_three_workers_and_the_innocent_all_finish(database_url: str) -> None:
    settings = Settings(database_url=database_url, poll_seconds=0.1)
    async with open_penstock(settings) as platform:
        hows = [*DEATHS, "dies in company"]
        runs = await platform.submit_many(
            [Request(fatal, how) for how in hows] + [Request(innocent, number) for number in range(INNOCENTS)]
        )
        async with Workers(database_url, TARGET, 1) as workers:
            for run, (how, words) in zip(runs, DEATHS.items(), strict=False):
                assert (await reason_of(platform, run)).endswith(words), how
            result = await platform.result(runs[len(DEATHS)], timeout_seconds=150)
            assert (result.outcome, result.output) == ("succeeded", "dies in company")
            for number, run in enumerate(runs[len(hows) :]):
                assert (await platform.result(run, timeout_seconds=150)).output == f"innocent {number}"
            assert len(workers.deaths) == 3, "as many workers as claims are counted, and not one more"
        tape = await platform.journal.tape("default", runs[len(DEATHS)])
        claims = [event for event in (decode(row.body) for row in tape) if isinstance(event, RunClaimed)]
        assert claims[-1].worker_name.startswith("alone-"), "finished in a process of its own"


async def test_a_worker_that_is_told_to_leave_lets_its_lone_process_finish(database_url: str) -> None:
    settings = Settings(database_url=database_url, poll_seconds=0.1)
    async with open_penstock(settings) as platform:
        run = await platform.submit(fatal, "waits alone")
        async with Workers(database_url, TARGET, 1) as workers:
            async with asyncio.timeout(60):
                while not any(name.startswith("alone-") for name in await live_workers(database_url)):
                    await asyncio.sleep(0.1)
            workers.tell(signal.SIGTERM)
            assert (await platform.result(run, timeout_seconds=150)).output == "waits alone"
            async with asyncio.timeout(30):
                while len(workers.deaths) < 4:
                    await asyncio.sleep(0.05)
            assert workers.deaths[:4] == [9, 9, 9, 0], "three died, one left in order"
