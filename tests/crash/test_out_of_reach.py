"""Out of reach of the database workers begin no write after their start allowance, and a kill is not said to be one."""

import asyncio
import time
from pathlib import Path

import pytest
from tests.crash.test_bad_machine import patient, postmaster, quick

from penstock import Run, agent, tool
from penstock.kernel.errors import JournalUnavailable
from penstock.ports.controls import of_all
from penstock.ports.records import Stop
from penstock.wiring import open_penstock

__all__ = ["patient"]

pytestmark = [pytest.mark.crash, pytest.mark.timeout(120)]

ALLOWANCE = 0.5
SILENT_SECONDS = 3.0
STARTED: list[float] = []


@tool(effect="write", risk="low", permission="auto", in_doubt="idempotent", timeout_seconds=2.0)
async def stamp(number: int) -> int:
    """When it begins."""
    STARTED.append(time.monotonic())
    await asyncio.sleep(0.005)
    return number


@agent("stamper")
async def stamper(run: Run, value: str) -> int:
    for number in range(2_000):
        await run.call(stamp, number)
    return 0


@pytest.mark.usefixtures("patient")
async def test_nothing_begins_out_of_reach_and_a_kill_that_is_none_is_not_reported_as_one(short_tmp: Path) -> None:
    STARTED.clear()
    settings = quick(
        data_dir=short_tmp, start_allowance_seconds=ALLOWANCE, lease_seconds=10.0, database_statement_seconds=1.0
    )
    async with open_penstock(settings, agents=[stamper], worker="w") as penstock:
        runs = [await penstock.submit(stamper, f"run {number}") for number in range(10)]
        async with asyncio.timeout(30):
            while len(STARTED) < 100:
                await asyncio.sleep(0.01)
        server = postmaster(short_tmp)
        stopped = [server, *server.children(recursive=True)]
        for process in stopped:
            process.suspend()
        silent_from = time.monotonic()
        try:
            with pytest.raises(JournalUnavailable):
                await penstock.stop(of_all(None), Stop.KILL, actor="ops", reason="now")
            await asyncio.sleep(max(0.0, silent_from + SILENT_SECONDS - time.monotonic()))
            silent_until = time.monotonic()
        finally:
            for process in stopped:
                process.resume()
        late = [at - silent_from for at in STARTED if silent_from + ALLOWANCE < at < silent_until]
        assert late == [], "begun after the start allowance, while nobody could have stopped it"
        async with asyncio.timeout(30):  # when it answers again, the order is given again
            sealed = None
            while sealed is None:
                try:
                    sealed = await penstock.stop(of_all(None), Stop.KILL, actor="ops", reason="now")
                except JournalUnavailable:
                    await asyncio.sleep(0.1)
        assert sealed.sealed
        for run in runs:
            result = await penstock.result(run, timeout_seconds=30)
            assert result.outcome == "killed"
