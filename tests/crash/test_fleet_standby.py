"""The primary is lost under a fleet of workers, and a synchronous standby takes over: nothing acknowledged is lost."""

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from tests.crash import verdict
from tests.crash.fleet import Fleet, Slot
from tests.crash.fleet_agents import parcel
from tests.crash.length import RATE, SECONDS, SEEDS, TIMEOUT, seconds_of
from tests.crash.processes import until
from tests.crash.record import TENANT
from tests.crash.server import Server
from tests.crash.standby import Pair, pair
from tests.crash.trial import Load, Trial, client

from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal
from penstock.kernel.errors import JournalUnavailable
from penstock.ports.records import Post
from penstock.runs.client import Penstock

pytestmark = [pytest.mark.crash, pytest.mark.timeout(TIMEOUT)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_pair(fast_disk: Path) -> AsyncIterator[Pair]:
    """One pair for several tests that do not lose it."""
    with tempfile.TemporaryDirectory(prefix="pt-", dir=fast_disk) as folder:
        Path(folder).chmod(0o755)
        async with pair(Path(folder)) as made:
            yield made


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_synchronous_standby_takes_over(short_tmp: Path, seed: int) -> None:
    short_tmp.chmod(0o755)
    async with pair(short_tmp) as servers:
        fleet = Fleet(short_tmp, [Slot(number, servers.address) for number in range(2)])
        faults = {"failover": servers.fail_over, "stall+failover": servers.stall_and_fail_over}
        if SECONDS:
            faults |= {"stall": servers.stall_standby}
        async with client(servers.address) as penstock, fleet:
            trial = Trial("failover", seed, fleet, lambda: servers.primary, Load(penstock, fleet.ledger, RATE))
            await trial.run(faults, (0.5, 1.5), seconds_of(1.0))
            await verdict.check(trial, penstock)


async def _submit(penstock: Penstock, run: UUID) -> object:
    return await penstock.submit(parcel, "t0", key="t0")


async def _submit_of_a_subject(penstock: Penstock, run: UUID) -> object:
    return await penstock.submit(parcel, "t1", key="t1", subject="ada")  # its payload is there already


async def _cancel(penstock: Penstock, run: UUID) -> object:
    return await penstock.cancel(run, actor="clerk")


async def _message(penstock: Penstock, run: UUID) -> object:
    return await penstock.journal.deliver(Post(TENANT, run, "dedup", "message", b"{}"))


async def _stop_all(penstock: Penstock, run: UUID) -> object:
    return await penstock.kill_everything(actor="clerk")


@pytest.mark.parametrize("act", [_submit, _submit_of_a_subject, _cancel, _message, _stop_all])
async def test_an_answer_comes_only_when_the_standby_has_it(
    shared_pair: Pair, act: Callable[[Penstock, UUID], Coroutine[Any, Any, object]]
) -> None:
    """A session that waits for the standby is cut: what it did is committed, visible, and only on the primary. Asking
    again must not be answered from there: the answer would not outlive the primary."""
    async with client(shared_pair.address) as penstock:
        await penstock.submit(parcel, "t1", subject="ada")
        run = await penstock.submit(parcel, act.__name__)
        shared_pair.signal_standby(signal.SIGSTOP)
        try:
            first = asyncio.create_task(act(penstock, run))
            await until(lambda: _cut_waiting(shared_pair.primary))
            await asyncio.wait({first}, timeout=0.3)
            assert first.exception() is not None if first.done() else True
            first.cancel()
            again = asyncio.create_task(act(penstock, run))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.8):
                    await asyncio.shield(again)
        finally:
            shared_pair.signal_standby(signal.SIGCONT)
        await again
        if act is _stop_all:
            await penstock.resume_everything(actor="clerk")


async def _cut_waiting(server: Server) -> bool:
    """Terminate sessions that wait for the standby; whether there were any."""
    rows = await server.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    return bool(rows)


async def test_a_standby_that_is_not_promoted_is_a_database_that_is_away(shared_pair: Pair) -> None:
    """Behind an address that moves, the standby may answer before it is promoted: that passes, so it is waited for."""
    assert shared_pair.standby is not None
    async with client(shared_pair.address) as penstock:
        run = await penstock.submit(parcel, "away")
    journal = await open_journal(ConnectionSettings(shared_pair.standby.address, connect_seconds=5), prepare=False)
    try:
        with pytest.raises(JournalUnavailable, match="read-only"):
            await journal.deliver(Post(TENANT, run, "dedup", "message", b"{}"))
    finally:
        await journal.close()
