"""A budget that several worker processes spend at once, killed at random: never over, all of it usable, nothing left
held, and the accounts equal to the record."""

import asyncio
import random
import signal
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import pytest
from tests.crash.spenders import MAX_TOKENS, PRICE, WIRE, spender
from tests.crash.workers import LEASE_SECONDS, Workers, live_workers

from penstock import Settings
from penstock.events import Event, ModelIntent, ModelOutcome, RunEnded, VerdictRecorded, decode
from penstock.ports.budgets import Budget
from penstock.runs.client import Penstock
from penstock.wiring import open_penstock

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

TARGET = "tests.crash.spenders"
CALL = int(PRICE.output * (MAX_TOKENS + 60))
"""The most that a call may cost: its answer, and a prompt of less than 60 tokens."""
LIMIT = CALL * 110
WAIT = {"PENSTOCK_BUDGET_WAIT_SECONDS": "20", "PENSTOCK_WORKER_CONCURRENCY": "11"}


async def spend(dsn: str, wire: Path, *, runs: int, kills: int, workers: int = 3) -> list[list[Event]]:
    """Let the workers spend, kill one now and then, and see that the budget was kept; the tapes."""
    chance = random.Random(runs)
    async with open_penstock(Settings(database_url=dsn, poll_seconds=0.1)) as platform:
        await platform.journal.budgets.put(Budget("default", "race", {}, "total", nano=LIMIT), "ops")
        async with Workers(dsn, TARGET, workers, {**WAIT, WIRE: str(wire)}) as fleet:
            async with asyncio.timeout(60):
                while len(await live_workers(dsn)) < workers:
                    await asyncio.sleep(0.05)
            ids = [await platform.submit(spender, "Spend.") for _ in range(runs)]
            for _ in range(kills):
                await asyncio.sleep(chance.uniform(0.3, 0.9))
                living = [process for process in fleet._processes if process.returncode is None]
                chance.choice(living).send_signal(signal.SIGKILL)
            for run in ids:
                await platform.result(run, timeout_seconds=120)
        await asyncio.sleep(LEASE_SECONDS)
        tapes = [[decode(row.body) for row in await platform.journal.tape("default", run)] for run in ids]
        await check(platform, tapes, wire, ids)
    return tapes


async def check(platform: Penstock, tapes: Sequence[Sequence[Event]], wire: Path, ids: Sequence[UUID]) -> None:
    [account] = await platform.journal.budgets.accounts("default", "race")
    nano = tokens = calls = 0
    for tape in tapes:
        assert isinstance(tape[-1], RunEnded)
        still = {(event.path, event.attempt): event for event in tape if isinstance(event, ModelIntent)}
        for event in tape:
            if isinstance(event, ModelOutcome):
                del still[event.path, event.attempt]
                nano, tokens, calls = nano + event.used.nano, tokens + event.used.tokens, calls + 1
        for intent in still.values():
            nano, tokens, calls = nano + intent.reserved.nano, tokens + intent.reserved.tokens, calls + 1
    assert account.used == (nano, tokens, calls), "the account is what the record says, to the nano-dollar"
    assert account.held == (0, 0, 0), "nothing is held when all has ended"
    assert nano <= LIMIT, "what is charged is within the budget"
    spent = sum(map(int, wire.read_text().split()))
    assert spent <= nano, "what was spent at the wire is charged"
    assert len(ids) == len(set(ids))


def usable(tapes: Sequence[Sequence[Event]]) -> float:
    """How much of the budget was spent when the first call was refused."""
    events = [event for tape in tapes for event in tape]
    refused = [event.at for event in events if isinstance(event, VerdictRecorded)]
    assert refused, "there was more to spend than there was"
    spent = sum(event.used.nano for event in events if isinstance(event, ModelOutcome) and event.at < min(refused))
    return spent / LIMIT


async def test_without_crashes_nearly_all_of_it_is_usable(database_url: str, tmp_path: Path) -> None:
    tapes = await spend(database_url, tmp_path / "wire", runs=420, kills=0)
    assert usable(tapes) >= 0.95


async def test_workers_killed_at_random_overspend_nothing(database_url: str, tmp_path: Path) -> None:
    await spend(database_url, tmp_path / "wire", runs=400, kills=6)
