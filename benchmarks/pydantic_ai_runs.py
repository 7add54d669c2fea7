"""Five-step runs of a pydantic-ai agent under the gates, beside the same agent without them.

The agent is written as people write them (`pydantic_ai_desk`), with a model that answers at once: what is measured is
pydantic-ai's own loop and what the gates and the journal add to it.
"""

import asyncio

from benchmarks.bench import Bench
from benchmarks.child import Child
from benchmarks.figures import Figure, others_took
from benchmarks.pydantic_ai_desk import AGENT
from benchmarks.runs import Desk, Numbers, spend

GROUP = "pydantic-ai agents"
WORKERS = 2
FIRST_GUESS = 60.0  # runs a second, for the size of the first measurement only
DESK = Desk("benchmarks.pydantic_ai_desk", AGENT, "bench-pydantic-ai")


async def measure(bench: Bench) -> list[Figure]:
    """See the module.

    Raises:
        RuntimeError: a run was lost or doubled.
    """
    numbers = Numbers()
    warm = await spend(bench, numbers, WORKERS, int(FIRST_GUESS * bench.seconds(5, 2)), alongside=False, desk=DESK)
    runs = int(warm.runs / warm.seconds * bench.seconds(26, 6))
    governed = await spend(bench, numbers, WORKERS, runs, alongside=False, desk=DESK)
    bare_cpu, bare_rate = await _bare(bench, runs // 2)
    workers, server = governed.per_run(governed.worker_cpu), governed.per_run(governed.server_cpu)
    others = others_took(governed.others)
    return [
        Figure(
            GROUP,
            f"{WORKERS} worker processes, from a backlog",
            governed.a_minute(),
            "runs a minute",
            "10,000",
            f"{governed.runs:,} runs in {governed.seconds:.1f} s, PostgreSQL on the same cores; {others}",
        ),
        Figure(GROUP, "without gates or journal", bare_rate, "runs a minute", note=f"{WORKERS} processes"),
        Figure(GROUP, "CPU of the workers", workers * 1e3, "ms a run", note=f"and of PostgreSQL {server * 1e3:.2f}"),
        Figure(GROUP, "CPU without gates or journal", bare_cpu * 1e3, "ms a run", note="pydantic-ai's own loop"),
        Figure(GROUP, "CPU with them to CPU without", workers / bare_cpu, "times", note="the workers alone"),
    ]


async def _bare(bench: Bench, runs: int) -> tuple[float, float]:
    """CPU seconds a run, and runs a minute, of as many processes without Penstock."""
    bench.say(f"{runs:,} runs without gates or journal in each of {WORKERS} processes")
    children = [await Child.start("pydantic_ai_bare_worker", runs=runs) for _ in range(WORKERS)]
    for child in children:
        child.tell("go")
    await asyncio.gather(*(child.until(lambda said: "cpu" in said) for child in children))
    said = [await child.stop() for child in children]
    if wrong := [number for one in said for number in one["wrong"]]:
        raise RuntimeError(f"the tools of tickets {wrong} did not act exactly once")
    cpu = sum(one["cpu"] for one in said) / (runs * WORKERS)
    return cpu, 60 * runs * WORKERS / max(one["seconds"] for one in said)
