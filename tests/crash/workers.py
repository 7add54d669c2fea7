"""Worker processes of the real program, started again when they die."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import asyncpg

ROOT = Path(__file__).parents[2]
_DIE_WITH_PARENT = "import ctypes, signal; ctypes.CDLL(None).prctl(1, signal.SIGKILL)"
_MAIN = f"{_DIE_WITH_PARENT}; from penstock.cli import main; raise SystemExit(main())"
LEASE_SECONDS = 1.0
QUICK = {
    "PENSTOCK_LEASE_SECONDS": str(LEASE_SECONDS),
    "PENSTOCK_LOOP_BLOCK_MAX_SECONDS": str(LEASE_SECONDS),
    "PENSTOCK_POLL_SECONDS": "0.1",
    "PENSTOCK_DATABASE_POOL_SIZE": "3",
    "PENSTOCK_TOOL_PROCESSES": "1",
}


class Workers:
    """So many ``penstock worker`` processes, as an orchestrator would keep them; an async context manager."""

    def __init__(self, dsn: str, target: str, count: int, environment: Mapping[str, str] | None = None) -> None:
        self.deaths: list[int] = []
        """Exit statuses of those that ended by themselves; negative for a signal."""
        self._target = target
        self._count = count
        ours = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        self._environment = {**ours, **QUICK, "PENSTOCK_DATABASE_URL": dsn, **(environment or {})}
        self._processes: set[asyncio.subprocess.Process] = set()
        self._keepers: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._keepers = [asyncio.create_task(self._keep()) for _ in range(self._count)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for process in self._processes:
            if process.returncode is None:
                process.kill()
            await process.wait()

    def tell(self, number: signal.Signals) -> None:
        """Send a signal to those that live."""
        for process in self._processes:
            if process.returncode is None:
                process.send_signal(number)

    async def _keep(self) -> None:
        while True:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", _MAIN, "worker", self._target,
                cwd=ROOT, env=self._environment, stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            self._processes.add(process)
            self.deaths.append(await process.wait())


async def live_workers(dsn: str) -> list[str]:
    """Names of the workers whose lease is not over."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch("SELECT name FROM penstock.workers WHERE lease_until > clock_timestamp()")
    finally:
        await connection.close()
    return [row[0] for row in rows]
