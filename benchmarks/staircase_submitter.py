"""The measured process that submits: arrivals come when they come, however the platform is doing.

``python -m benchmarks.staircase_submitter '{"dsn": …}'``, then ``{"first": …, "rate": …, "seconds": …}`` a line.
"""

import asyncio
import json
import random
import sys
import time

import uvloop

import penstock
from benchmarks import ticket
from benchmarks.child import cpu_seconds, say, told
from benchmarks.desk import AGENT
from benchmarks.runs import TAGS, TENANT
from penstock import Settings
from penstock.runs.submit import Request
from penstock.wiring import tune_worker_process

GROUP_MAX = 500  # arrivals submitted together when several are due: as a server does that is behind


async def stair(platform: "penstock.Penstock", first: int, rate: float, seconds: float) -> None:
    """Poisson arrivals, ``rate`` a minute for so many seconds; says the ids and when each was due (µs, wall)."""
    chance = random.Random(first)
    due, at = [], 0.0
    while (at := at + chance.expovariate(rate / 60)) < seconds:
        due.append(at)
    cpu, begun, wall = cpu_seconds(), time.monotonic(), time.time()
    ids: list[str] = []
    while len(ids) < len(due):
        now = time.monotonic() - begun
        if due[len(ids)] > now:
            await asyncio.sleep(due[len(ids)] - now)
            continue
        ready = len(ids)
        while ready < len(due) and due[ready] <= now and ready - len(ids) < GROUP_MAX:
            ready += 1
        numbers = range(first + len(ids), first + ready)
        runs = await platform.submit_many(
            [Request(AGENT, ticket.text_of(n), tags=TAGS, tenant=TENANT) for n in numbers]
        )
        ids += [run.hex for run in runs]
    late = time.monotonic() - begun - due[-1]
    say(ids=ids, due=[int((wall + at) * 1e6) for at in due], cpu=cpu_seconds() - cpu, late=late)


async def main(dsn: str) -> None:
    """One stair after another until told to stop."""
    async with penstock.open(Settings(database_url=dsn)) as platform:
        tune_worker_process()
        say(ready=True)
        while (word := await told()) != "stop":
            await stair(platform, **json.loads(word))


if __name__ == "__main__":
    uvloop.run(main(**json.loads(sys.argv[1])))
