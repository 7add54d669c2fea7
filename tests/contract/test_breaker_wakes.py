"""Runs that were put away because a breaker holds their calls go on when a person closes it, or takes it away."""

import asyncio
from typing import Any

import pytest

from penstock import Agent, Settings
from penstock.adapters.memory import MemoryJournal
from penstock.adapters.postgres.journal import open_journal
from penstock.kernel.clock import SystemClock
from penstock.ports.breakers import Breaker, Condition
from penstock.ports.journal import Journal
from penstock.ports.records import RunFilter, Status
from penstock.runs.breakers import Breaking
from penstock.testing import ScriptedModel
from penstock.wiring import assemble

HOUR = 3600.0


@pytest.mark.parametrize("how", ["reset", "remove"])
async def test_parked_runs_are_woken_in_memory(how: str) -> None:
    await woken(MemoryJournal(SystemClock()), how)


@pytest.mark.parametrize("how", ["reset", "remove"])
async def test_parked_runs_are_woken_in_postgres(journal_dsn: str, how: str) -> None:
    await woken(await open_journal(journal_dsn), how)


async def woken(journal: Journal, how: str) -> None:
    desk = Agent("desk", model=ScriptedModel(["hello"], "main", repeat=True), instructions="Help.")
    breaking = Breaking(journal, SystemClock(), "default")
    async with assemble(journal, Settings(poll_seconds=0.1), agents=[desk]) as platform:
        platform.start_worker("one")
        asked: Any = Breaker("", "models", "model", "*", (Condition("failures", limit=5),), HOUR, meanwhile="queue")
        await breaking.put(asked, "ann")
        await breaking.trip("models", "main", "ann", "look first")
        runs = [await platform.submit(desk, "hello") for _ in range(3)]
        async with asyncio.timeout(30):
            while {row.status for row in await journal.list_runs("default", RunFilter(), 10)} != {Status.PARKED}:
                await asyncio.sleep(0.02)
        assert not desk.model.calls  # type: ignore[union-attr]
        async with asyncio.timeout(30):  # and not in an hour
            if how == "reset":
                assert await breaking.reset("models", None, "ann") == 1
            else:
                await breaking.remove("models")
            assert [(await platform.result(run)).output for run in runs] == ["hello"] * 3
