"""A primary and its synchronous standby; the one is lost, the other takes its place, and is given a new standby."""

import asyncio
import random
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.crash.server import DATABASE, USER, Server, free_port, own

DETECTION_SECONDS = (0.1, 0.6)
"""Between the loss of the primary and the promotion: what a watcher takes to be sure."""


class Pair:
    """Two places for servers: one primary, one standby without which nothing is acknowledged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = (free_port(), free_port())
        self.primary = Server(folder / "n0", port=self.ports[0])
        self.standby: Server | None = None
        self._made = 1

    @property
    def address(self) -> str:
        """Both hosts; a client looks for the one that can be written to."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return f"postgresql://{USER}@{hosts}/{DATABASE}?target_session_attrs=read-write"

    async def make_standby(self) -> None:
        """Copy the primary, follow it, and let the primary acknowledge nothing that the copy does not have on disk."""
        port = next(port for port in self.ports if port != self.primary.port)
        server = Server(self.folder / f"n{self._made}", port=port)
        self._made += 1
        own(server, server.data)
        source = f"host={self.primary.folder} port={self.primary.port} user={USER} application_name=standby"
        await server.program("pg_basebackup", "-d", source, "-D", str(server.data), "-R", "-X", "stream", "-c", "fast")
        server.configure("synchronous_standby_names = ''\nhot_standby = on")
        await server.start()
        self.primary.configure("synchronous_standby_names = 'standby'")
        await self.primary.ask("SELECT pg_reload_conf()")
        async with asyncio.timeout(30):
            while not await self.is_synchronous():
                await asyncio.sleep(0.05)
        self.standby = server

    async def is_synchronous(self) -> bool:
        """Whether the primary waits for the standby's disk."""
        rows = await self.primary.ask("SELECT sync_state, state FROM pg_stat_replication")
        return [tuple(row) for row in rows] == [("sync", "streaming")]

    async def fail_over(self, rng: random.Random) -> str | None:
        """Switch the primary off for ever and promote the standby; then make the next standby."""
        assert self.standby is not None
        lost, self.primary = self.primary, self.standby
        self.standby = None
        await lost.kill()
        pause = rng.uniform(*DETECTION_SECONDS)
        await asyncio.sleep(pause)
        await self.primary.ask("SELECT pg_promote(true, 30)")
        shutil.rmtree(lost.data)
        await self.make_standby()
        return f"failover from port {lost.port} to {self.primary.port} after {pause:.1f} s"

    async def stall_standby(self, rng: random.Random) -> str | None:
        """The standby stands still; sessions that wait for it are terminated: they have committed on the primary."""
        assert self.standby is not None
        self.signal_standby(signal.SIGSTOP)
        await asyncio.sleep(rng.uniform(0.2, 0.6))
        rows = await self.primary.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        )
        await asyncio.sleep(rng.uniform(0.1, 0.4))
        self.signal_standby(signal.SIGCONT)
        return f"stall of the standby; {len(rows)} sessions that waited for it were cut"

    async def stall_and_fail_over(self, rng: random.Random) -> str | None:
        """The same, and then the primary is lost with all that the standby had not got."""
        assert self.standby is not None
        self.signal_standby(signal.SIGSTOP)
        await asyncio.sleep(rng.uniform(0.2, 0.5))
        rows = await self.primary.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        )
        await asyncio.sleep(rng.uniform(0.3, 0.6))
        await self.primary.kill()
        self.signal_standby(signal.SIGCONT)
        return f"stall of the standby, {len(rows)} sessions cut, then {await self.fail_over(rng)}"

    def signal_standby(self, number: signal.Signals) -> None:
        """A signal for all the standby's processes."""
        assert self.standby is not None
        for process in self.standby.processes():
            process.send_signal(number)

    async def close(self) -> None:
        """End both."""
        for server in (self.primary, self.standby):
            if server is not None:
                await server.close()


@asynccontextmanager
async def pair(folder: Path) -> AsyncIterator[Pair]:
    """A primary with a synchronous standby."""
    made = Pair(folder)
    try:
        await made.primary.create()
        await made.make_standby()
        yield made
    finally:
        await made.close()
