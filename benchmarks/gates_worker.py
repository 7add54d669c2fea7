"""The measured process of `gates`: real runs on the journal in memory, with clocks at the parts of a decision."""

import asyncio
import contextlib
import json
import time
from typing import Any
from unittest import mock
from uuid import UUID

import uvloop

import penstock
from benchmarks import ticket
from benchmarks.child import cpu_seconds, say, told
from benchmarks.desk import AGENT
from benchmarks.figures import quantile
from benchmarks.gates import timed
from penstock import Settings
from penstock.adapters.memory import MemoryJournal
from penstock.gates.model import gate as model_gate
from penstock.gates.run.ledger import Ledger
from penstock.rules.default import MODEL_RULES, TOOL_RULES
from penstock.runs.submit import Request
from penstock.wiring import assemble, tune_worker_process

SUBMIT_AT_A_TIME = 500


async def main() -> None:
    """Answer what is asked until told to stop."""
    tune_worker_process()
    say(ready=True)
    while (word := await told()) != "stop":
        asked = json.loads(word)
        if asked["what"] == "decisions":
            say(**await decisions(asked["runs"]))
        else:
            await run_all(asked["runs"] // 4, 200)  # warms up
            say(runs=asked["runs"], cpu=await run_all(asked["runs"], 200))


class Stopwatch:
    """Adds up the parts of each decision. One run at a time, so no other decision comes between."""

    def __init__(self) -> None:
        self.samples: dict[str, list[int]] = {"model": [], "tool": []}
        self._gate = ""
        self._spent = 0

    def part(self, gate: str) -> Any:
        def took(nanoseconds: int) -> None:
            self._gate = gate
            self._spent += nanoseconds

        return took

    def reserved(self, nanoseconds: int) -> None:
        """The reservation is the last part."""
        self.samples[self._gate].append(self._spent + nanoseconds)
        self._spent = 0


async def decisions(runs: int) -> dict[str, Any]:
    """Times of single decisions, nanoseconds on the wall clock of a process that does nothing else meanwhile."""
    watch, clock_ns = Stopwatch(), time.perf_counter_ns
    parts = (
        (model_gate, "make_plan", watch.part("model")),
        (MODEL_RULES, "decide", watch.part("model")),
        (TOOL_RULES, "decide", watch.part("tool")),
        (Ledger, "reserve", watch.reserved),
    )
    with contextlib.ExitStack() as patches:
        for owner, name, took in parts:
            patches.enter_context(mock.patch.object(owner, name, timed(getattr(owner, name), clock_ns, took)))
        await run_all(runs, 1)
    found: dict[str, Any] = {}
    for gate, rules in (("model", MODEL_RULES), ("tool", TOOL_RULES)):
        samples = watch.samples[gate][len(watch.samples[gate]) // 10 :]  # the first tenth warms up
        found[gate] = {
            "median": quantile(samples, 0.5) / 1e3,
            "p99": quantile(samples, 0.99) / 1e3,
            "count": len(samples),
            "rules": ", ".join(rule.name for rule in rules.rules),
        }
    return found


async def run_all(runs: int, concurrency: int) -> float:
    """Do so many tickets in memory; CPU seconds from the first claim to the last end.

    Raises:
        RuntimeError: a tool did not act once for each ticket.
    """
    ticket.done.clear()
    settings = Settings(worker_concurrency=concurrency, claim_batch=min(concurrency, 200))
    async with assemble(MemoryJournal(), settings, agents=[AGENT]) as platform:
        await submit(platform, runs)
        left, all_done = runs, asyncio.Event()

        def ended(_: UUID) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                all_done.set()

        cpu = cpu_seconds()
        platform.start_worker("gates").on_ended = ended
        await all_done.wait()
        cpu = cpu_seconds() - cpu
    if wrong := ticket.wrong(ticket.done, range(runs)):
        raise RuntimeError(f"the tools of {len(wrong)} tickets did not act exactly once")
    return cpu


async def submit(platform: "penstock.Penstock", runs: int) -> None:
    """Put the tickets into the queue."""
    for start in range(0, runs, SUBMIT_AT_A_TIME):
        numbers = range(start, min(runs, start + SUBMIT_AT_A_TIME))
        await platform.submit_many([Request(AGENT, ticket.text_of(number)) for number in numbers])


if __name__ == "__main__":
    uvloop.run(main())
