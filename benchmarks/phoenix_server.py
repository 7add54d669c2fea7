"""The peer that shows traces: Arize Phoenix in a virtualenv of its own, as a real server on SQLite."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.bench import Bench, Unavailable
from benchmarks.environment import Environment, free_ports
from benchmarks.served import Asking, stopped

ENVIRONMENT = Environment("phoenix", "arize-phoenix")
PYTHON = ENVIRONMENT.python
START_SECONDS = 120.0


@dataclass(slots=True, frozen=True)
class Phoenix:
    """A running server."""

    url: str
    folder: Path
    process: psutil.Process

    def resident_mib(self) -> float:
        """Memory of its processes that is in use now."""
        family = [self.process, *self.process.children(recursive=True)]
        return float(sum(member.memory_info().rss for member in family)) / 2**20

    def stored_bytes(self) -> int:
        """Of its database, the write-ahead log included."""
        return sum(path.stat().st_size for path in self.folder.glob("*.db*"))


@contextlib.asynccontextmanager
async def phoenix(bench: Bench) -> AsyncIterator[Phoenix]:
    """A server with an empty database, which tells nobody of itself.

    Raises:
        Unavailable: it cannot be installed, or does not start.
    """
    programs = ENVIRONMENT.install(bench)
    folder = bench.folder / "phoenix-home"
    folder.mkdir()
    port, grpc_port = free_ports(2)
    own = {
        "PHOENIX_WORKING_DIR": str(folder),
        "PHOENIX_SQL_DATABASE_URL": f"sqlite:///{folder}/phoenix.db",
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(grpc_port),
        "PHOENIX_TELEMETRY_ENABLED": "false",
        "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
        "PHOENIX_DISABLE_AGENT_ASSISTANT": "true",
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PHOENIX_", "PENSTOCK_"))}
    log = folder / "server.log"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            programs / "phoenix",
            "serve",
            cwd=folder,
            env={**kept, **own},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        if not await _is_up(url, process):
            raise Unavailable(f"Phoenix did not start: {log.read_text(encoding='utf-8', errors='replace')[-500:]}")
        yield Phoenix(url, folder, psutil.Process(process.pid))
    finally:
        await stopped(process)


async def _is_up(url: str, process: asyncio.subprocess.Process) -> bool:
    """Wait until it answers; False when it has ended, or takes too long."""
    try:
        async with asyncio.timeout(START_SECONDS):
            while process.returncode is None:
                asking = Asking(url)
                try:
                    asking.ask("GET", "/healthz")
                    return True
                except OSError:
                    await asyncio.sleep(0.5)
                finally:
                    asking.close()
    except TimeoutError:
        pass
    return False
