"""The measured process of `concurrency`: always has more runs than it may hold, and tells the overhead of its steps."""

import asyncio
import json
import sys

import uvloop

import penstock
from benchmarks.bench import clock
from benchmarks.child import say, told
from benchmarks.figures import quantile
from penstock import Run, Settings, agent, tool
from penstock.runs.submit import Request
from penstock.wiring import tune_worker_process

RUNS_AT_A_TIME = 300
COMPUTE_SECONDS = 0.001


@tool(effect="write", in_doubt="idempotent", permission="auto")
async def store(step: int) -> int:
    """A write of somebody else's, which takes a while."""
    await asyncio.sleep(0.05)
    return step


@agent("bench-flood")
async def flood(run: Run, text: str) -> str:
    """Five steps that compute and write."""
    for step in range(5):
        end = clock() + COMPUTE_SECONDS
        while clock() < end:
            pass
        await run.call(store, step)
    return text


async def main(dsn: str, target_ms: float) -> None:
    """Work on a flood for as many seconds as the first line says."""
    settings = Settings(database_url=dsn, worker_concurrency=RUNS_AT_A_TIME, step_overhead_target_ms=target_ms)
    async with penstock.open(settings, agents=[flood]) as platform:
        tune_worker_process()
        say(ready=True)
        seconds = float(await told())
        await platform.submit_many([Request(flood, f"flood {number}") for number in range(int(seconds * 150))])
        samples: list[tuple[float, float]] = []
        ended: list[float] = []
        worker = platform.start_worker(f"flood-{target_ms:g}")
        observe = platform.services.on_overhead

        def both(overhead_seconds: float) -> None:
            samples.append((clock(), overhead_seconds))
            observe(overhead_seconds)

        platform.services.on_overhead = both
        worker.on_ended = lambda run: ended.append(clock())
        begun = clock()
        await asyncio.sleep(seconds)
        since = begun + seconds / 3
        overheads = [overhead for at, overhead in samples if at >= since]
        say(
            p50=quantile(overheads, 0.5),
            p99=quantile(overheads, 0.99),
            rate=sum(at >= since for at in ended) / (clock() - since),
            limit=worker.limit.value,
            seconds=seconds * 2 / 3,
        )
        await platform.kill_everything(actor="bench")
        await told()
        await platform.resume_everything(actor="bench")


if __name__ == "__main__":
    uvloop.run(main(**json.loads(sys.argv[1])))
