"""The measured server: the command ``penstock serve`` in a process of its own, with the settings that users get."""

import asyncio
import contextlib
import http.client
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from benchmarks.bench import Bench, clock

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = (sys.executable, "-P", "-c", "import sys; from penstock.cli import main; sys.exit(main())")
START_SECONDS = 60.0
STOP_SECONDS = 40.0
ANSWER_SECONDS = 60.0
IDLE_SECONDS = 20.0
"""After which a server may close a connection."""


@dataclass(slots=True, frozen=True)
class Served:
    """A running server. ``key`` is an admin's of its tenant."""

    port: int
    key: str
    tenant: str
    process: psutil.Process

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cpu_seconds(self) -> float:
        """User and system time of the process; it has no others."""
        spent = self.process.cpu_times()
        return float(spent.user + spent.system)

    def resident_mib(self) -> float:
        """Memory of the process that is in use now."""
        return float(self.process.memory_info().rss) / 2**20


class Asking:
    """One connection to an HTTP server, which stays open. Blocks: while a time is taken nothing else goes on here."""

    def __init__(self, url: str, **headers: str) -> None:
        where = urlsplit(url)
        assert where.hostname is not None
        self._connection = http.client.HTTPConnection(where.hostname, where.port, timeout=ANSWER_SECONDS)
        self._headers = headers
        self._used = clock()

    def ask(self, method: str, path: str, body: Any = None) -> bytes:
        """The body of the answer.

        Raises:
            RuntimeError: it is no success.
        """
        if clock() - self._used > IDLE_SECONDS:
            self._connection.close()  # it opens again with the next request
        sent = None if body is None else json.dumps(body).encode()
        headers = {**self._headers, **({"Content-Type": "application/json"} if sent is not None else {})}
        self._connection.request(method, path, sent, headers)
        answer = self._connection.getresponse()
        read = answer.read()
        self._used = clock()
        if not 200 <= answer.status < 300:
            raise RuntimeError(f"{method} {path[:200]} was answered with {answer.status}: {read[:500]!r}")
        return read

    def get(self, path: str) -> Any:
        """The answer's JSON."""
        return json.loads(self.ask("GET", path))

    def post(self, path: str, body: Any) -> Any:
        """The answer's JSON."""
        return json.loads(self.ask("POST", path, body) or b"null")

    def close(self) -> None:
        self._connection.close()


def asking(served: Served) -> Asking:
    """A connection to a server, with its admin's key."""
    return Asking(served.url, Authorization=f"Bearer {served.key}")


@contextlib.asynccontextmanager
async def serving(bench: Bench, tenant: str, *options: str, **settings: str) -> AsyncIterator[Served]:
    """``penstock serve`` on the benchmark's database, for a tenant that no other server of this call has.

    Args:
        options: of the command: modules with agents, ``--no-worker``.
        settings: by name, in small letters; all others are as every user has them.

    Raises:
        RuntimeError: it did not start.
    """
    folder = bench.folder / f"serve-{tenant}"
    folder.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    own = {"database_url": bench.server.dsn, "data_dir": str(folder), "tenant": tenant, **settings}
    with (folder / "serve.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *PROGRAM,
            "serve",
            *options,
            "--port=0",
            "--no-console",
            "--json",
            cwd=ROOT,
            env={**kept, **{f"PENSTOCK_{name.upper()}": value for name, value in own.items()}},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(START_SECONDS):
            line = await process.stdout.readline()
        if not line:
            words = (folder / "serve.log").read_text(encoding="utf-8")[-2000:]
            raise RuntimeError(f"the measured server did not start:\n{words}")
        said = json.loads(line)
        port = urlsplit(said["url"]).port
        assert port is not None
        assert said["admin_key"], f"the tenant {tenant} has had a server before"
        yield Served(port, said["admin_key"], tenant, psutil.Process(process.pid))
    finally:
        await stopped(process)


async def stopped(process: asyncio.subprocess.Process) -> None:
    """End a process, in order if it will."""
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                # Read to the end: a pipe that is full would keep it from ending.
                await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
