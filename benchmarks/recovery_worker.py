"""A measured worker process full of runs that are in the middle of a call.

``python -m benchmarks.recovery_worker '{"dsn": …, "name": …, "places": …}'``.
"""

import asyncio
import json
import sys

import uvloop

import penstock
from benchmarks.child import say, told
from penstock import Run, Settings, agent, tool
from penstock.wiring import tune_worker_process

LOOKUP_SECONDS = 600.0


@tool(effect="read", repeatable=True, timeout_seconds=LOOKUP_SECONDS)
async def quick_lookup(number: int) -> int:
    """Answers at once."""
    return number


@tool(effect="read", timeout_seconds=LOOKUP_SECONDS)
async def slow_lookup(number: int) -> int:
    """Answers long after the measurement is over."""
    await asyncio.sleep(LOOKUP_SECONDS - 1)
    return number


@agent("bench-recovery")
async def busy(run: Run, number: int) -> int:
    """Three calls that end, and one that does not."""
    for step in range(3):
        await run.call(quick_lookup, step)
    return int(await run.call(slow_lookup, number))


async def main(dsn: str, name: str, places: int) -> None:
    """Work until told to stop; how many runs it holds is said each time somebody asks."""
    settings = Settings(database_url=dsn, worker_concurrency=places, drain_seconds=0)
    async with penstock.open(settings, agents=[busy]) as platform:
        tune_worker_process()
        say(ready=True)
        assert await told() == "go"
        worker = platform.start_worker(name)
        await worker.enlisted.wait()
        say(working=True)
        while await told() != "stop":
            say(held=len(worker.running))


if __name__ == "__main__":
    uvloop.run(main(**json.loads(sys.argv[1])))
