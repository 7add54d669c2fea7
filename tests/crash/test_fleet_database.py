"""The database under a fleet of workers is killed, its sessions are cut, its disk is full. Runs go on by themselves."""

import contextlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests.crash import verdict
from tests.crash.disk import Disk, small_disk
from tests.crash.fleet import Fleet, Slot
from tests.crash.fleet_agents import parcel
from tests.crash.length import RATE, SECONDS, SEEDS, TIMEOUT, seconds_of
from tests.crash.network import Wires, proxies
from tests.crash.record import TENANT
from tests.crash.server import Server
from tests.crash.trial import Load, Trial, client

from penstock.kernel.errors import JournalUnavailable
from penstock.ports.records import Post

pytestmark = [pytest.mark.crash, pytest.mark.timeout(TIMEOUT)]

DISK_MEGABYTES = 112


@pytest.mark.parametrize("seed", SEEDS)
async def test_the_server_is_killed_again_and_again(server: Server, short_tmp: Path, seed: int) -> None:
    """Whole, or one of its sessions, after which it throws out all others and recovers before they look."""
    fleet = Fleet(short_tmp, [Slot(number, server.address) for number in range(2)])
    faults = {"crash": server.crash, "session": server.crash_one_session}
    async with client(server.socket) as penstock, fleet:
        trial = Trial("server killed", seed, fleet, lambda: server, Load(penstock, fleet.ledger, RATE))
        await trial.run(faults, (0.1, 0.8), seconds_of(3.0))
        await verdict.check(trial, penstock)


@pytest.mark.parametrize("seed", SEEDS)
async def test_connections_are_cut_and_swallowed(server: Server, short_tmp: Path, seed: int) -> None:
    async with proxies(server.address, 3) as made:
        wires = Wires(made)
        fleet = Fleet(short_tmp, [Slot(number, proxy.address) for number, proxy in enumerate(made)])
        faults = {"terminate": server.cut_sessions, "reset": wires.cut, "swallow": wires.swallow}
        async with client(server.socket) as penstock, fleet:
            trial = Trial("connections cut", seed, fleet, lambda: server, Load(penstock, fleet.ledger, RATE))
            await trial.run(faults, (0.1, 0.4), seconds_of(3.0))
            await verdict.check(trial, penstock)


@pytest.mark.parametrize("seed", SEEDS)
async def test_the_disk_is_full_and_freed(short_tmp: Path, seed: int) -> None:
    async with contextlib.AsyncExitStack() as stack:
        try:
            folder = stack.enter_context(small_disk(short_tmp / "disk", DISK_MEGABYTES + int(SECONDS)))
        except RuntimeError as error:
            pytest.skip(f"NOT TESTED: a fleet on a full disk; mounting a small one failed: {error}")
        server = Server(folder / "pg")
        stack.push_async_callback(server.close)
        await server.create("--wal-segsize=1", config="max_wal_size = 16MB\nmin_wal_size = 4MB\n")
        disk = Disk(folder, server)
        await stack.enter_async_context(disk.kept())
        fleet = Fleet(short_tmp, [Slot(number, server.address) for number in range(2)])
        faults = {"full": disk.fill}
        async with client(server.socket) as penstock, fleet:
            trial = Trial("disk full", seed, fleet, lambda: server, Load(penstock, fleet.ledger, RATE))
            await trial.run(faults, (0.5, 1.5), seconds_of(2.0))
            await verdict.check(trial, penstock)
        assert "No space left on device" in server.log.read_text(errors="replace"), "the server noticed nothing"


async def test_what_is_acknowledged_is_on_the_disk_whatever_the_server_s_default(server: Server) -> None:
    """``synchronous_commit = off`` for all sessions, and nothing flushes but what asks for it; then it is killed."""
    server.configure("synchronous_commit = off\nwal_writer_delay = 10s\nwal_writer_flush_after = 1GB")
    await server.ask("SELECT pg_reload_conf()")
    async with client(server.socket) as penstock:
        assert (await server.ask("SHOW synchronous_commit"))[0][0] == "off"
        cancelled, told = [await penstock.submit(parcel, tag) for tag in ("cancelled", "told")]
        acts: list[Callable[[], Coroutine[Any, Any, object]]] = [
            lambda: penstock.submit(parcel, "acknowledged", key="acknowledged"),
            lambda: penstock.cancel(cancelled, actor="clerk"),
            lambda: penstock.journal.deliver(Post(TENANT, told, "dedup", "message", b"{}")),
            lambda: penstock.kill_everything(actor="clerk"),
            lambda: penstock.resume_everything(actor="clerk"),
        ]
        kept = [
            "SELECT count(*) FROM penstock.runs WHERE key = 'acknowledged'",
            "SELECT count(*) FROM penstock.runs WHERE stop = 'cancel'",
            "SELECT count(*) FROM penstock.inbox WHERE dedup = 'dedup'",
            "SELECT count(*) FROM penstock.controls WHERE run_id IS NULL",
            "SELECT count(*) FROM penstock.controls WHERE run_id IS NULL AND lifted_at IS NOT NULL",
        ]
        for act, query in zip(acts, kept, strict=True):
            await act()
            await server.kill()
            await server.start()
            with contextlib.suppress(JournalUnavailable):
                await penstock.journal.now()  # the pool notices
            assert [row[0] for row in await server.ask(query)] == [1], query
