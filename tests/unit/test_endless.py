"""Work without an end: thousands of generations of one run leave nothing behind in the worker's memory."""

import asyncio
import gc
import sys
from collections.abc import Sequence

import pytest

from penstock import Run, Settings, agent, tool
from penstock.adapters.memory import MemoryJournal
from penstock.gates.run.context import RunContext
from penstock.journal.payloads import PayloadReader
from penstock.ports.records import Applied, Batch, Payload, Status
from penstock.runs.work import worker
from penstock.wiring import assemble

GENERATIONS, SETTLED = 2_000, 300
GROWTH_BLOCKS = 2_000  # of Python's allocator; little more than one a generation


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
        return answers


async def test_two_thousand_generations_keep_memory_flat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "CLAIM_PACE_SECONDS", 0.0)
    measured: dict[int, int] = {}
    contexts: list[int] = []

    @tool(effect="read")
    async def look(number: int) -> str:
        """Look."""
        return f"{number} " * 50

    @agent("endless")
    async def endless(run: Run, number: int) -> int:
        await run.call(look, number)
        if number in (SETTLED, GENERATIONS):
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
    assert measured[GENERATIONS] - measured[SETTLED] < GROWTH_BLOCKS, measured
    assert contexts[-1] <= contexts[0] + 5, "contexts of runs that have ended are still referred to"
