"""Memory of `penstock serve` with its worker: idle after the start, and again after it has worked and been looked at;
PostgreSQL by itself."""

import asyncio
from collections import Counter
from typing import Any

import psutil

from benchmarks import ticket
from benchmarks.bench import Bench, clock
from benchmarks.figures import Figure
from benchmarks.served import Asking, asking, serving

GROUP = "The server's memory"
TENANT = "serve"
SETTLE_SECONDS, QUICK_SETTLE_SECONDS = 15.0, 3.0
RUNS, QUICK_RUNS = 2_000, 200
AT_A_TIME = 100
PAGES = 200
PATIENCE_SECONDS = 120.0
OPEN = ("queued", "running")
MIB = 2**20


async def measure(bench: Bench) -> list[Figure]:
    """See the module.

    Raises:
        RuntimeError: a run did not succeed.
    """
    runs = QUICK_RUNS if bench.quick else RUNS
    settle = bench.seconds(SETTLE_SECONDS, QUICK_SETTLE_SECONDS)
    figures = []
    async with serving(bench, TENANT, "benchmarks.desk") as served:
        ask = asking(served)
        bench.say("idle, after the start")
        await asyncio.sleep(settle)
        cpu, begun = served.cpu_seconds(), clock()
        await asyncio.sleep(settle)
        idle = (served.cpu_seconds() - cpu) / (clock() - begun)
        note = "resident, API, console and worker in one process, one agent; no run yet"
        figures.append(
            Figure(GROUP, "idle, after the start", family_resident_mib(served.process), "MiB", "250 MiB", note)
        )
        figures.append(Figure(GROUP, "idle: processor time", idle * 1000, "ms a second", note="of the same process"))
        bench.say(f"working on {runs:,} runs, and looking at them")
        await work(ask, runs)
        for number in range(PAGES):
            for path in ("/v1/overview", "/v1/runs?limit=50", f"/v1/runs?limit=50&customer=c-{number}"):
                ask.get(path)
        await asyncio.sleep(settle)
        note = f"after {runs:,} runs and {3 * PAGES} requests for lists and overviews, and {settle:.0f} s of rest"
        figures.append(Figure(GROUP, "idle, after work", family_resident_mib(served.process), "MiB", "250 MiB", note))
    note = "all its processes with shared pages once (PSS), of the embedded server with its usual settings"
    figures.append(Figure(GROUP, "PostgreSQL", family_pss_mib(bench.server.postmaster), "MiB", note=note))
    return figures


async def work(ask: Asking, runs: int) -> None:
    """Submit so many tickets of `benchmarks.ticket`, and wait until all have been worked on.

    Raises:
        RuntimeError: one did not succeed.
    """
    for start in range(0, runs, AT_A_TIME):
        numbers = range(start, min(start + AT_A_TIME, runs))
        ask.post("/v1/runs/batch", {"runs": [_request(number) for number in numbers]})
    async with asyncio.timeout(PATIENCE_SECONDS):
        while any(ask.get(f"/v1/runs?status={status}&limit=1")["items"] for status in OPEN):  # noqa: ASYNC110
            await asyncio.sleep(0.5)
    outcomes = Counter(item["outcome"] for item in all_runs(ask))
    if outcomes != {"succeeded": runs}:
        raise RuntimeError(f"of {runs:,} runs {dict(outcomes)} ended as they should")


def all_runs(ask: Asking) -> list[dict[str, Any]]:
    """The tenant's runs as its list shows them, newest first."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = ask.get(f"/v1/runs?limit=200&cursor={cursor}")
        found += page["items"]
        if page["next"] is None:
            return found
        cursor = page["next"]


def _request(number: int) -> dict[str, Any]:
    return {"agent": "bench-desk", "input": ticket.text_of(number), "tags": {"customer": f"c-{number % PAGES}"}}


def family_resident_mib(process: psutil.Process) -> float:
    """Sum over the process and those that it has started."""
    return float(sum(member.memory_info().rss for member in _family(process))) / MIB


def family_pss_mib(process: psutil.Process) -> float:
    """The same, of processes that share pages: each page counts once."""
    total = 0
    for member in _family(process):
        try:
            total += member.memory_full_info().pss
        except psutil.NoSuchProcess:  # a session that has just ended
            continue
    return float(total) / MIB


def _family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]
