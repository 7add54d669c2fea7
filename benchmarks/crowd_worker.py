"""The worker of `crowd`: parks what is submitted; a line of run ids says whom to wake.

``python -m benchmarks.crowd_worker '{"dsn": …}'``.
"""

import asyncio
import json
import sys
import time
from uuid import UUID

import uvloop

import penstock
from benchmarks.child import say, told
from penstock import Run, Settings, agent
from penstock.wiring import tune_worker_process

TENANT = "crowd"


@agent("bench-crowd")
async def waiter(run: Run, number: int) -> int:
    """Parks until somebody sends it a word."""
    return int(await run.wait_event("go")) + number


async def main(dsn: str) -> None:
    """Wake what each line names, and say when all of it has ended."""
    async with penstock.open(Settings(database_url=dsn), agents=[waiter]) as platform:
        tune_worker_process()
        worker = platform.start_worker("crowd")
        awaited: set[UUID] = set()
        ended: set[UUID] = set()
        over = asyncio.Event()

        def count(run: UUID) -> None:
            ended.add(run)
            if awaited <= ended:
                over.set()

        worker.on_ended = count
        say(ready=True)
        while (word := await told()) != "stop":
            awaited = {UUID(hex=text) for text in json.loads(word)}
            over.clear()
            ended.clear()
            for run in awaited:
                await platform.send_event(run, "go", 1, tenant=TENANT)
            await over.wait()
            say(ended=len(awaited & ended), at=time.monotonic())


if __name__ == "__main__":
    uvloop.run(main(**json.loads(sys.argv[1])))
