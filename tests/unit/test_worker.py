"""A worker outlives its lease; what it held then is others' business."""

import asyncio

import pytest

from penstock import Agent, Settings
from penstock.adapters.memory import MemoryJournal
from penstock.kernel.errors import WorkerNameTaken
from penstock.runs.work.worker import Worker
from penstock.testing import ScriptedModel
from penstock.wiring import assemble, open_in_memory

QUICK = Settings(lease_seconds=0.6, poll_seconds=0.05, loop_block_max_seconds=0.5)


async def test_a_worker_that_lost_its_lease_enlists_again_and_goes_on() -> None:
    greeter = Agent("greeter", model=ScriptedModel(["hello"], repeat=True), instructions="Greet.")
    async with open_in_memory(QUICK) as platform:
        worker, journal = platform.worker, platform.journal
        assert isinstance(worker, Worker)
        assert isinstance(journal, MemoryJournal)
        assert (await greeter.run("one")).output == "hello"
        first = worker.id
        await journal.retire(first)
        async with asyncio.timeout(30):
            while worker.id == first:
                await asyncio.sleep(0.02)
            assert (await greeter.run("two")).output == "hello"


async def test_whoever_waits_for_a_worker_that_could_not_start_is_told() -> None:
    greeter = Agent("greeter", model=ScriptedModel(["hello"], repeat=True), instructions="Greet.")
    async with open_in_memory(QUICK) as platform:
        second = assemble(platform.journal, QUICK)
        second.start_worker("in-memory")
        run = await second.submit(greeter, "hi")
        with pytest.raises(WorkerNameTaken):
            await second.result(run, timeout_seconds=5)
