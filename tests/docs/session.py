"""A shell session for the commands of one page."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import Self

_MARK = "end-of-command-4f1d"


class Shell:
    """One bash for all commands of a page: variables, jobs and the working folder stay. Use it with ``async with``."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            "bash",
            "--norc",
            "--noprofile",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=self._folder,
            env=self._environment,
            start_new_session=True,
            limit=2**20,
        )
        return self

    async def __aexit__(self, *exception: object) -> None:
        process = self._process
        assert process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            await asyncio.wait_for(process.communicate(), 10)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    async def run(self, command: str, timeout_seconds: float = 120.0) -> tuple[int, list[str]]:
        """Run one command; its exit code and what it printed.

        Raises:
            TimeoutError: it did not end.
        """
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{command}\nprintf '%s %s\\n' '{_MARK}' $?\n".encode())
        await process.stdin.drain()
        printed = []
        async with asyncio.timeout(timeout_seconds):
            while True:
                line = (await process.stdout.readline()).decode()
                if not line:
                    raise RuntimeError(f"the shell ended in: {command}")
                text, mark, code = line.rpartition(_MARK)
                if not mark:
                    printed.append(line.rstrip("\n"))
                    continue
                if text:
                    printed.append(text)
                return int(code), printed
