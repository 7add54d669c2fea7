"""The two ends of a measured process: it says when it is ready, starts at a word, and tells what it has done."""

import asyncio
import json
import resource
import sys
from collections.abc import Callable
from typing import Any, Self


class Child:
    """A measured process, ``python -m benchmarks.<module>``, as the benchmark sees it."""

    def __init__(self, process: asyncio.subprocess.Process, name: str) -> None:
        self._process = process
        self._name = name
        self.said: dict[str, Any] = {}
        """Everything it has said so far, later words over earlier ones."""
        self.changed = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, module: str, **options: Any) -> Self:
        """Start it and wait until it is ready."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            f"benchmarks.{module}",
            json.dumps(options),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=64 * 2**20,
        )
        child = cls(process, module)
        await child.until(lambda said: "ready" in said)
        return child

    def tell(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())

    async def until(self, holds: Callable[[dict[str, Any]], bool]) -> None:
        """Wait until what it said is so.

        Raises:
            RuntimeError: it ended before.
        """
        while not holds(self.said):
            if self._reading.done():
                raise RuntimeError(f"the measured process {self._name} ended with {await self._process.wait()}")
            await self.changed.wait()
            self.changed.clear()

    async def asked(self, question: str) -> dict[str, Any]:
        """Tell it something; its next words."""
        self.said.clear()
        self.tell(question)
        await self.until(bool)
        return dict(self.said)

    def kill(self) -> None:
        """End it at once, as a machine that fails does."""
        self._process.kill()

    async def stop(self) -> dict[str, Any]:
        """Tell it to stop; all that it said."""
        self.tell("stop")
        await self._reading
        code = await self._process.wait()
        if code != 0:
            raise RuntimeError(f"the measured process {self._name} ended with {code}")
        return self.said

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.said.update(json.loads(line))
            self.changed.set()
        self.changed.set()


def say(**words: Any) -> None:
    """For the measured process: tell the benchmark."""
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


async def told() -> str:
    """For the measured process: the benchmark's next word."""
    line: str = await asyncio.to_thread(sys.stdin.readline)
    if not line:
        raise SystemExit("the benchmark has gone")
    return line.strip()


def cpu_seconds() -> float:
    """User and system time of this process, all its threads."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    return spent.ru_utime + spent.ru_stime


def resident_bytes() -> int:
    """Memory of this process that is in use now."""
    import psutil

    return int(psutil.Process().memory_info().rss)
