"""The run that viewers watch: it waits for a word, then makes calls at a steady pace."""

import asyncio
from typing import Any

from penstock import Run, agent, tool

EVERY_SECONDS = 0.2
"""From call to call, each of two events."""


@tool(effect="read")
async def beat(number: int) -> str:
    """Takes its time."""
    await asyncio.sleep(EVERY_SECONDS)
    return f"this was beat {number}"


@agent("watched", version="1")
async def watched(run: Run, value: dict[str, Any]) -> int:
    """So many beats, after the word "go" if it is to wait for that."""
    if value["waits"]:
        await run.wait_event("go")
    for number in range(value["beats"]):
        await run.call(beat, number)
    return int(value["beats"])


AGENT = watched
