"""Work without an end: thousands of generations of one run leave nothing behind in the worker's memory."""

import asyncio
import gc
import itertools
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from penstock import Run, Settings, agent, tool
from penstock.adapters.memory import MemoryJournal
from penstock.gates.run.context import RunContext
from penstock.journal.payloads import PayloadReader
from penstock.ports.records import Applied, Batch, Payload, Status
from penstock.runs.work import worker
from penstock.wiring import assemble

ROOT = Path(__file__).parents[2]
GENERATIONS = 2_000
MEASURED = range(400, GENERATIONS + 1, 400)
GROWTH_BLOCKS = 500  # of Python's allocator; little more than one a generation


class Forgetful(MemoryJournal):
    """A store somewhere else: what has ended takes up none of this process's memory."""

    async def append(
        self, batches: Sequence[Batch], payloads: Sequence[Payload] = (), *, blocking: bool = False
    ) -> list[Applied]:
        answers = await super().append(batches, payloads, blocking=blocking)
        ended = [key for key, run in self._store.runs.items() if run.status is Status.ENDED]
        for tenant, run in ended[:-5]:
            del self._store.runs[tenant, run]
            self._store.payloads.pop((tenant, str(run)), None)
        del self._store.ends[:-5]
        return answers


async def measure() -> tuple[list[int], list[int]]:
    """Blocks of the allocator, and contexts of runs, after each of `MEASURED` generations."""
    worker.CLAIM_PACE_SECONDS = 0.0
    measured: dict[int, int] = {}
    contexts: list[int] = []

    @tool(effect="read")
    async def look(number: int) -> str:
        """Look."""
        return f"{number} " * 50

    @agent("endless")
    async def endless(run: Run, number: int) -> int:
        await run.call(look, number)
        if number in MEASURED:
            gc.collect()
            measured[number] = sys.getallocatedblocks()
            contexts.append(sum(isinstance(item, RunContext) for item in gc.get_objects()))
        if number < GENERATIONS:
            await run.continue_as(number + 1)
        return number

    journal = Forgetful()
    async with assemble(journal, Settings(poll_seconds=0.02), agents=[endless]) as platform:
        platform.services.reader = PayloadReader(journal, capacity=10_000)  # full from the beginning
        platform.start_worker("w")
        await platform.submit(endless, 1)
        async with asyncio.timeout(120):
            while GENERATIONS not in measured:
                await asyncio.sleep(0.05)
    return list(measured.values()), contexts


def test_two_thousand_generations_keep_memory_flat() -> None:
    """In a process of its own: what other tests have left in this one would be measured too."""
    program = f"import asyncio, json; from {__name__} import measure; print(json.dumps(asyncio.run(measure())))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    blocks, contexts = json.loads(done.stdout)
    growth = [after - before for before, after in itertools.pairwise(blocks)]
    assert len(growth) == len(MEASURED) - 1
    assert min(growth) < GROWTH_BLOCKS, f"what leaks grows all the time, not once as by an import: {growth}"
    assert contexts[-1] <= contexts[0] + 5, "contexts of runs that have ended are still referred to"
