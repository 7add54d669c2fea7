"""A worker process of `kill`: its agent writes, again and again, and each write leaves a line when it begins.

``python -m benchmarks.kill_worker '{"dsn": …, "file": …, "name": …}'``
"""

import asyncio
import json
import os
import sys
import time

from benchmarks.child import say, told
from penstock import Run, Settings, agent, tool
from penstock.agents.function import FunctionAgent
from penstock.kernel.errors import CallDenied
from penstock.ports.tools import ToolContext
from penstock.wiring import open_penstock

WRITE_SECONDS = 0.01
WRITES = 40
CONCURRENCY = 12


def clerk_of(file: str) -> FunctionAgent:
    """The same agent in all processes; ``file`` takes a line for each write that begins."""
    lines = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    @tool(effect="write", risk="low", permission="auto", in_doubt="idempotent", timeout_seconds=5)
    async def refund(order: str, context: ToolContext) -> str:
        """Write."""
        os.write(lines, f"{time.time_ns() // 1000} {context.run} {context.path} {context.attempt}\n".encode())
        await asyncio.sleep(WRITE_SECONDS)
        return f"{order} done"

    @agent("clerk", version="1")
    async def clerk(run: Run, value: str) -> int:
        denied = 0
        for number in range(WRITES):
            try:
                await run.call(refund, order=f"{value}.{number}")
            except CallDenied:
                denied += 1
        return denied

    return clerk


async def _work(dsn: str, file: str, name: str) -> None:
    settings = Settings(database_url=dsn, worker_concurrency=CONCURRENCY, database_pool_size=3, poll_seconds=0.1)
    async with open_penstock(settings, agents=[clerk_of(file)], worker=name):
        say(ready=True)
        await told()


if __name__ == "__main__":
    asyncio.run(_work(**json.loads(sys.argv[1])))
