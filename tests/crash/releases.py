"""Processes of the first release and of the present code, side by side on one database."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "data" / "spine"
PRESENT = Path(__file__).parents[2] / "src"
_PROGRAM = "import sys; from penstock.cli import main; sys.exit(main())"
_SUBMIT = """
import asyncio, json, sys
import penstock, upgrade_desk
async def submit():
    async with penstock.open() as platform:
        wanted = json.loads(sys.argv[1])
        return [str(await platform.submit(getattr(upgrade_desk, name), value)) for name, value in wanted]
print(json.dumps(asyncio.run(submit())))
"""


def unpacked(folder: Path) -> Path:
    """The first release's code, as a folder for PYTHONPATH."""
    with zipfile.ZipFile(DATA / "penstock-0.1.0.zip") as archive:
        archive.extractall(folder)
    return folder / "src"


@dataclass
class Release:
    """One version of the code, and how to run its programs."""

    source: Path
    dsn: str
    ledger: Path
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        return {
            **kept,
            "PYTHONPATH": str(self.source),
            "PENSTOCK_DATABASE_URL": self.dsn,
            "LEDGER": str(self.ledger),
            **self.settings,
        }

    async def command(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of one command."""
        return await self._run("-P", "-c", _PROGRAM, *arguments)

    async def submit(self, *wanted: tuple[str, Any]) -> list[str]:
        """Ids of new runs, by agent and input."""
        code, out, err = await self._run("-c", _SUBMIT, json.dumps(wanted))
        assert code == 0, err
        ids: list[str] = json.loads(out)
        return ids

    @contextlib.asynccontextmanager
    async def worker(self, name: str) -> AsyncIterator["WorkerProcess"]:
        """A worker of this release, once it works."""
        process = await self._start("-P", "-c", _PROGRAM, "worker", "upgrade_desk", "--name", name)
        worker = WorkerProcess(process)
        try:
            await worker.says(b"works on")
            yield worker
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _run(self, *arguments: str) -> tuple[int, str, str]:
        process = await self._start(*arguments)
        out, err = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    async def _start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            cwd=DATA,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )


class WorkerProcess:
    """A running worker."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said = b""

    async def says(self, words: bytes) -> None:
        """Wait until it has said that on standard error."""
        assert self.process.stderr is not None
        async with asyncio.timeout(60):
            while words not in self.said:
                line = await self.process.stderr.readline()
                assert line, f"the worker ended: {self.said.decode()}"
                self.said += line

    async def drained(self, seconds: float) -> int:
        """SIGTERM it; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        _, err = await asyncio.wait_for(self.process.communicate(), seconds)
        self.said += err
        assert self.process.returncode is not None
        return self.process.returncode


async def until(condition: Callable[[], Awaitable[Any]], seconds: float = 30.0) -> Any:
    """Wait until a condition holds; its value."""
    async with asyncio.timeout(seconds):
        while not (value := await condition()):
            await asyncio.sleep(0.05)
        return value
