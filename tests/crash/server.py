"""A PostgreSQL server of a test's own: one that it may kill, fill, cut off and replace. Programs are the wheel's."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import asyncpg
import psutil

from penstock.adapters.postgres.server_account import Account, account_for, command_as
from penstock.adapters.postgres.server_folder import wheel_programs

USER, DATABASE = "penstock", "penstock"
_CONFIG = """
max_connections = 100
shared_buffers = 32MB
max_wal_size = 256MB
fsync = on
synchronous_commit = on
full_page_writes = on
log_min_messages = warning
log_line_prefix = '%m [%p] '
client_connection_check_interval = 1s
idle_in_transaction_session_timeout = 10s
tcp_keepalives_idle = 2
wal_level = replica
max_wal_senders = 4
wal_receiver_status_interval = 1
autovacuum_naptime = 5s
dynamic_shared_memory_type = mmap
"""


def free_port() -> int:
    """A TCP port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """One cluster in ``folder``. ``inside`` is put before its command line: a network namespace to run in."""

    def __init__(
        self, folder: Path, *, host: str = "127.0.0.1", port: int | None = None, inside: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.host = host
        self.port = port or free_port()
        self.inside = list(inside)
        self.log = folder / "log"
        self.starts = 0
        self._crashing = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        self.account: Account | None = account_for(folder / "not there")
        if self.account is not None:
            self.account.own(folder)

    @property
    def address(self) -> str:
        """For ``penstock``, over the network."""
        return f"postgresql://{USER}@{self.host}:{self.port}/{DATABASE}"

    @property
    def socket(self) -> str:
        """For the test, past all networks."""
        return f"postgresql://{USER}@/{DATABASE}?host={quote(str(self.folder))}&port={self.port}"

    async def create(self, *options: str, config: str = "") -> None:
        """Make the cluster and start it, with options of ``initdb`` and more lines of configuration."""
        await self.program("initdb", "-D", str(self.data), "-U", USER, "-A", "trust", "-N", "--locale=C", *options)
        with (self.data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all all trust\nhost replication all all trust\n")
        self.configure(_CONFIG + config)
        await self.start()
        admin = await asyncpg.connect(self.socket.replace(f"/{DATABASE}?", "/postgres?"))
        await admin.execute(f"CREATE DATABASE {DATABASE}")
        await admin.close()

    def configure(self, lines: str) -> None:
        """Add lines to its configuration; they are read when it starts."""
        where = f"listen_addresses = '{self.host}'\nport = {self.port}\nunix_socket_directories = '{self.folder}'\n"
        with (self.data / "postgresql.conf").open("a") as config:
            config.write(f"{lines}\n{where}")

    async def program(self, name: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs to its end, as the server's account."""
        command = self._as_account([str(wheel_programs() / name), *arguments])
        with self.log.open("ab") as log:
            done = await asyncio.to_thread(subprocess.run, command, stdout=log, stderr=log, cwd="/", check=False)
        assert done.returncode == 0, f"{name}: {self.log.read_text()[-3000:]}"

    async def start(self, *, wait: bool = True) -> None:
        """Start it; with ``wait`` until it takes connections, crash recovery included."""
        command = self._as_account([str(wheel_programs() / "postgres"), "-D", str(self.data)])
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.inside, *command], stdout=log, stderr=log, cwd="/", start_new_session=True
            )
        self.starts += 1
        if wait:
            async with asyncio.timeout(60):
                while not await self.answers():
                    if not self.is_running():  # what it left behind may take a moment to go
                        await asyncio.sleep(0.1)
                        await self.start(wait=False)
                    await asyncio.sleep(0.02)

    async def answers(self) -> bool:
        """Whether it takes connections."""
        with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await (await asyncpg.connect(self.socket.replace(f"/{DATABASE}?", "/template1?"), timeout=2)).close()
            return True
        return False

    def is_running(self) -> bool:
        """Whether its first process lives."""
        return self._process is not None and self._process.poll() is None

    def processes(self) -> list[psutil.Process]:
        """Its first process and all of that one's children."""
        if self._process is None or self._process.poll() is not None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            first = psutil.Process(self._process.pid)
            return [first, *first.children(recursive=True)]
        return []

    async def kill(self) -> None:
        """SIGKILL for all its processes at once, as when the machine is switched off."""
        doomed = self.processes()
        for process in doomed:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        if self._process is not None:
            await asyncio.to_thread(self._process.wait)
        async with asyncio.timeout(20):
            while any(_lives(process) for process in doomed):
                await asyncio.sleep(0.005)

    async def close(self) -> None:
        """End it at once, but so that it gives its shared memory back: what is killed leaves that on the machine."""
        if self.is_running() and self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            await asyncio.to_thread(self._process.wait)
        await self.kill()

    async def crash_one_session(self, rng: random.Random) -> str | None:
        """SIGKILL for one of its processes that serve clients: it then throws out all of them and recovers by itself,
        within a moment in which a client that is not just talking to it notices nothing."""
        rows = await self.ask("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'")
        pid = rng.choice([row[0] for row in rows])
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(60):
            while not await self.answers():
                await asyncio.sleep(0.02)
        return f"crash of the server's process {pid}"

    async def crash(self, rng: random.Random) -> str | None:
        """SIGKILL for the whole server, at once or its first process before the others; then start it again."""
        pause = rng.choice((0.0, 0.0, 1.0))
        async with self._crashing:
            if rng.random() < 0.5 and self._process is not None:
                self._process.kill()
                await asyncio.sleep(rng.uniform(0, 0.02))
            await self.kill()
            await asyncio.sleep(pause)
            await self.start()
        return f"kill of the server, away for {pause:g} s and its recovery"

    async def cut_sessions(self, rng: random.Random) -> str | None:
        """Terminate some of the clients' sessions."""
        share = rng.choice((0.2, 0.5, 1.0))
        rows = await self.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' "
            "AND pid <> pg_backend_pid() AND random() < $1",
            share,
        )
        return f"cut of {len(rows)} sessions"

    async def ask(self, query: str, *args: object) -> list[asyncpg.Record]:
        """Rows of a query, past all networks and proxies."""
        connection = await asyncpg.connect(self.socket, timeout=10, server_settings={"application_name": "test"})
        try:
            rows: list[asyncpg.Record] = await connection.fetch(query, *args)
            return rows
        finally:
            connection.terminate()

    def last_words(self, lines: int = 15) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def _as_account(self, command: list[str]) -> list[str]:
        return command_as(self.account, command, [Path(command[0]), self.data])


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def own(server: Server, path: Path) -> None:
    """Give a new folder to the server's account."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if server.account is not None:
        os.chown(path, server.account.uid, server.account.gid)
