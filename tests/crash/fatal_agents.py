"""Agents of which some kill the process they run in, and one that rings at a server that counts."""

import asyncio
import os
import signal
import sys
import urllib.request

from penstock import Run, agent, tool

COUNTER_URL = "COUNTER_URL"
"""Environment variable: where the counting server is."""


@tool(effect="read")
async def touch(how: str) -> str:
    """A call, in the middle of which the process may end."""
    if how == "killed in a call":
        os.kill(os.getpid(), signal.SIGKILL)
    await asyncio.sleep(0.02)
    return how


@tool(effect="read")
async def linger() -> None:
    """Long enough to be told to leave meanwhile."""
    await asyncio.sleep(1.5)


@agent("fatal")
async def fatal(run: Run, how: str) -> str:
    """End the process, in the way that the input says."""
    await asyncio.sleep(0.1)
    if how == "exits":
        os._exit(7)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how in ("dies in company", "waits alone") and "penstock.cli.alone" not in " ".join(sys.orig_argv):
        os._exit(9)
    if how == "waits alone":
        await run.call(linger)
    return str(await run.call(touch, how=how))


@agent("innocent")
async def innocent(run: Run, number: int) -> str:
    """Does what it should, while others die around it."""
    for step in range(3):
        await run.call(touch, how=f"{number}.{step}")
        await run.sleep(0.2)
    return f"innocent {number}"


@tool(effect="read")
async def ring(number: int) -> int:
    """One request of the counting server."""
    url = f"{os.environ[COUNTER_URL]}/{number}"
    await asyncio.to_thread(lambda: urllib.request.urlopen(url).read())
    return number


@agent("ringer")
async def ringer(run: Run, first: int) -> int:
    """Rings four times, side by side."""
    return len(await run.gather(*(run.call(ring, number=first + place) for place in range(4))))
