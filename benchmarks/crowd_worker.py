"""The worker of `crowd`: parks what is submitted and goes on with what is woken; a line asks what it has spent.

``python -m benchmarks.crowd_worker '{"dsn": …}'``.
"""

import gc
import json
import sys

import uvloop

import penstock
from benchmarks.child import cpu_seconds, resident_bytes, say, told
from penstock import Run, Settings, agent
from penstock.wiring import tune_worker_process


@agent("bench-crowd")
async def waiter(run: Run, number: int) -> int:
    """Parks until somebody sends it a word."""
    return int(await run.wait_event("go")) + number


async def main(dsn: str) -> None:
    """Work until told to stop; each other line asks for the meters."""
    async with penstock.open(Settings(database_url=dsn), agents=[waiter]) as platform:
        tune_worker_process()
        platform.start_worker("crowd")
        say(ready=True)
        while await told() != "stop":
            spent = cpu_seconds()
            gc.collect()
            say(cpu=spent, rss=resident_bytes())


if __name__ == "__main__":
    uvloop.run(main(**json.loads(sys.argv[1])))
