"""A measured worker process: ``python -m benchmarks.runs_worker '{"dsn": …, "name": …}'``. Other settings: defaults."""

import asyncio
import importlib
import json
import sys
import time
from uuid import UUID

import uvloop

import penstock
from benchmarks import ticket
from benchmarks.child import cpu_seconds, resident_bytes, say, told
from penstock import Settings
from penstock.wiring import tune_worker_process

REPORT_SECONDS = 0.05


async def work(dsn: str, name: str, desk: str = "benchmarks.desk") -> None:
    """Work from the word ``go`` to the word ``stop``; then say what was done. ``desk`` is the module of the agent."""
    agent = importlib.import_module(desk).AGENT
    ended, last = 0, 0.0

    def count(_: UUID) -> None:
        nonlocal ended, last
        ended += 1
        last = time.monotonic()

    async def report() -> None:
        before = -1
        while True:
            if ended != before:
                before = ended
                say(ended=ended, last=last)
            await asyncio.sleep(REPORT_SECONDS)

    async with penstock.open(Settings(database_url=dsn), agents=[agent]) as platform:
        tune_worker_process()
        say(ready=True)
        assert await told() == "go"
        cpu = cpu_seconds()
        worker = platform.start_worker(name)
        worker.on_ended = count
        reporting = asyncio.create_task(report())
        assert await told() == "stop"
        cpu = cpu_seconds() - cpu
        reporting.cancel()
    say(ended=ended, last=last, cpu=cpu, rss=resident_bytes(), done=[[*key, n] for key, n in ticket.done.items()])


if __name__ == "__main__":
    uvloop.run(work(**json.loads(sys.argv[1])))
