"""Gateways under test: processes of one kind that stand side by side, are asked over HTTP, killed and started again."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.bench import Unavailable
from benchmarks.served import Asking, stopped

START_SECONDS = 300.0
Launch = Callable[[int], Awaitable[asyncio.subprocess.Process]]


@dataclass(slots=True)
class Proxies:
    """Some processes, each at a port of its own.

    Attributes:
        name: of the kind, for messages.
        ports: one a process.
        launch: starts the process for a port.
        alive: a path that answers with success once it can work.
        path: of OpenAI's chat completions.
        log: of all of them together.
    """

    name: str
    ports: list[int]
    launch: Launch
    alive: str
    path: str
    log: Path
    _running: dict[int, asyncio.subprocess.Process] = field(default_factory=dict)

    async def start(self) -> None:
        """Start all of them.

        Raises:
            Unavailable: one does not start here.
        """
        for port in self.ports:
            self._running[port] = await self.launch(port)
        for port in self.ports:
            await self._until_up(port)

    async def restart(self, port: int) -> None:
        """Kill one as the kernel does when memory is short, and start it again.

        Raises:
            Unavailable: it does not start again.
        """
        process = self._running[port]
        process.send_signal(signal.SIGKILL)
        await process.wait()
        self._running[port] = await self.launch(port)
        await self._until_up(port)

    async def stop(self) -> None:
        """End all that run."""
        await asyncio.gather(*(stopped(process) for process in self._running.values()))

    def cpu_seconds(self) -> float:
        """User and system time of those that run, with the processes they started."""
        total = 0.0
        for process in self._family():
            with contextlib.suppress(psutil.NoSuchProcess):
                spent = process.cpu_times()
                total += spent.user + spent.system
        return total

    def resident_mib(self) -> float:
        """Memory of all of them that is in use now."""
        return float(sum(process.memory_info().rss for process in self._family())) / 2**20

    def _family(self) -> list[psutil.Process]:
        first = [psutil.Process(process.pid) for process in self._running.values() if process.returncode is None]
        return first + [child for parent in first for child in parent.children(recursive=True)]

    async def _until_up(self, port: int) -> None:
        process = self._running[port]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                while process.returncode is None:
                    asking = Asking(f"http://127.0.0.1:{port}")
                    try:
                        await asyncio.to_thread(asking.ask, "GET", self.alive)
                    except (OSError, RuntimeError):
                        await asyncio.sleep(0.2)
                    else:
                        return
                    finally:
                        asking.close()
        words = self.log.read_text(encoding="utf-8", errors="replace")[-1000:]
        raise Unavailable(f"{self.name} did not start: {words}")


def environment(own: Mapping[str, str], *without: str) -> dict[str, str]:
    """This process's environment without what begins so, and with ``own``."""
    return {name: value for name, value in os.environ.items() if not name.startswith(without)} | dict(own)
