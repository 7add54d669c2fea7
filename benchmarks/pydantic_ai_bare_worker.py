"""The bare pydantic-ai agent, without gates and journal: ``python -m benchmarks.pydantic_ai_bare_worker '{}'``."""

import asyncio
import json
import sys
import time

import uvloop

from benchmarks import ticket
from benchmarks.child import cpu_seconds, say, told
from benchmarks.pydantic_ai_desk import BARE
from penstock.wiring import tune_worker_process

SIDE_BY_SIDE = 100


async def work(runs: int) -> None:
    """Do so many tickets at the word ``go``, and say what it took."""
    numbers = iter(range(runs))

    async def line() -> None:
        for number in numbers:
            await BARE.run(ticket.text_of(number), deps="bench")

    tune_worker_process()
    say(ready=True)
    assert await told() == "go"
    cpu, begun = cpu_seconds(), time.monotonic()
    await asyncio.gather(*(line() for _ in range(SIDE_BY_SIDE)))
    say(seconds=time.monotonic() - begun, cpu=cpu_seconds() - cpu, wrong=ticket.wrong(ticket.done, range(runs))[:5])
    assert await told() == "stop"


if __name__ == "__main__":
    uvloop.run(work(**json.loads(sys.argv[1])))
