"""Nobody waits for ever for a run that nobody works on."""

import asyncio

import pytest

from penstock import Run, Settings, agent
from penstock.adapters.memory import MemoryJournal
from penstock.kernel.errors import NoRuntime
from penstock.ports.records import RunFilter
from penstock.wiring import assemble

QUICK = Settings(poll_seconds=0.02)


@agent("greeter")
async def greeter(run: Run, name: str) -> str:
    return f"hello {name}"


@agent("other")
async def other(run: Run, name: str) -> str:
    return name


async def test_without_a_worker_it_says_so_and_submits_nothing() -> None:
    async with assemble(MemoryJournal(), QUICK) as platform:
        with pytest.raises(NoRuntime, match="no live worker of development offers greeter"):
            await greeter.run("ada")
        assert await platform.journal.list_runs("default", RunFilter(), 10) == []


async def test_a_worker_of_another_agent_is_none() -> None:
    journal = MemoryJournal()
    async with assemble(journal, QUICK, agents=[other]) as working, assemble(journal, QUICK):
        worker = working.start_worker("w")
        async with asyncio.timeout(30):
            while not await journal.releases.workers() or not await journal.releases.offered(other.release):
                await asyncio.sleep(0.01)
            await worker.enlisted.wait()
            while await journal.releases.offered(greeter.release):  # until it has said what it offers
                await asyncio.sleep(0.01)
        with pytest.raises(NoRuntime):
            await greeter.run("ada")


async def test_a_worker_of_another_process_does_it() -> None:
    journal = MemoryJournal()
    async with assemble(journal, QUICK, agents=[greeter]) as working:
        working.start_worker("w")
        async with assemble(journal, QUICK) as asking:
            async with asyncio.timeout(30):
                while not await journal.releases.offered(greeter.release):
                    await asyncio.sleep(0.01)
            assert (await asking.run(greeter, "ada")).output == "hello ada"


async def test_what_a_key_made_before_is_given_without_a_worker() -> None:
    journal = MemoryJournal()
    async with assemble(journal, QUICK) as platform:
        platform.start_worker("w")
        assert (await platform.run(greeter, "ada", key="k")).output == "hello ada"
    async with assemble(journal, QUICK) as platform:
        assert (await platform.run(greeter, "ada", key="k")).output == "hello ada"
        with pytest.raises(NoRuntime):
            await platform.run(greeter, "ada", key="another")
