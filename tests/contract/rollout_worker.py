"""A process that works and submits at the same time: for what a rollback does to processes that nobody tells of it.

Prints a line for each run: when its submission began (nanoseconds, wall clock), and its id. Ends when its input does.
"""

import asyncio
import sys
import time

from penstock import Agent, Settings
from penstock.ports.model import ModelRequest
from penstock.testing import ScriptedModel
from penstock.wiring import open_penstock


def told(request: ModelRequest) -> str:
    return request.messages[0].text


desk = Agent("desk", model=ScriptedModel([told], "m", repeat=True), instructions="As coded.")


def settings(dsn: str, key: str) -> Settings:
    from pathlib import Path

    return Settings(database_url=dsn, release_key_file=Path(key), database_pool_size=3)


async def main(dsn: str, key: str, name: str) -> None:
    told_to_end = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    async with open_penstock(settings(dsn, key), agents=[desk], worker=name) as platform:
        while not told_to_end.done():
            begun = time.time_ns()
            run = await platform.submit(desk, "hello")
            sys.stdout.write(f"{begun} {run}\n")
            sys.stdout.flush()
            await asyncio.sleep(0.02)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
