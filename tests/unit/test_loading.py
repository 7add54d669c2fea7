"""Long runs are read when there is room for them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

import pytest

from penstock import Run, Settings, agent, tool
from penstock.adapters.memory import MemoryJournal
from penstock.adapters.memory.snapshots import MemorySnapshots
from penstock.kernel.errors import JournalUnavailable
from penstock.ports.records import RunKey, Status
from penstock.runs.client import Penstock
from penstock.runs.work import loading
from penstock.runs.work.loading import Room
from penstock.wiring import assemble

TENANT = "default"
MIB = 1024 * 1024


async def test_room_is_given_in_order_and_never_twice() -> None:
    room = Room(10)
    await room.take(6)
    waiting = [asyncio.ensure_future(room.take(size)) for size in (5, 1, 4)]
    await asyncio.sleep(0)
    assert [task.done() for task in waiting] == [False, False, False], "one that is first in line is not overtaken"
    room.give_back(6)
    await asyncio.wait(waiting, timeout=1)
    assert [task.done() for task in waiting] == [True, True, True]
    assert room.used == 10


async def test_what_is_larger_than_the_room_gets_it_alone() -> None:
    room = Room(10)
    await room.take(25)
    second = asyncio.ensure_future(room.take(1))
    await asyncio.sleep(0)
    assert not second.done()
    room.give_back(25)
    await asyncio.wait_for(second, 1)


async def test_who_gives_up_waiting_takes_no_room() -> None:
    room = Room(10)
    await room.take(10)
    first, second = (asyncio.ensure_future(room.take(8)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    room.give_back(10)
    second.cancel()  # it has its turn, and does not know yet
    await asyncio.gather(first, second, return_exceptions=True)
    assert room.used == 0


class Opened:
    """What holds runs up until it is opened."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.reached: list[int] = []


opened: Opened


@tool(effect="read")
async def note(number: int) -> int:
    """Answer."""
    return number


@tool(effect="read")
async def held_up(number: int) -> int:
    """Wait."""
    opened.reached.append(number)
    await opened.event.wait()
    return number


@agent("slow", version="1")
async def slow(run: Run, number: int) -> int:
    for step in range(5):
        await run.call(note, step)
    await run.sleep(0.05)  # the run parks: whoever has it next reads its tape
    return int(await run.call(held_up, number))


@pytest.fixture
async def platform(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Penstock]:
    """Every run that has begun is long, and weighs as much as there is room for."""
    global opened  # noqa: PLW0603 - tools are module-level functions
    opened = Opened()

    async def weigh(self: MemorySnapshots, runs: Sequence[tuple[str, UUID, int]]) -> dict[RunKey, int]:
        return {run[:2]: MIB for run in runs}

    monkeypatch.setattr(MemorySnapshots, "weigh", weigh)
    monkeypatch.setattr(loading, "LONG_EVENTS", 3)
    settings = Settings(poll_seconds=0.02, tapes_max_bytes=MIB, drain_seconds=0.2)
    async with assemble(MemoryJournal(), settings, agents=[slow]) as one:
        yield one


async def two_of_which_one_waits(platform: Penstock) -> list[UUID]:
    worker = platform.start_worker("w")
    runs = [await platform.submit(slow, number) for number in range(2)]
    async with asyncio.timeout(30):
        while not (opened.reached and worker.loader.reading):
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    assert len(opened.reached) == len(worker.running) == 1
    return runs


async def test_one_waits_until_the_other_is_put_away(platform: Penstock) -> None:
    runs = await two_of_which_one_waits(platform)
    opened.event.set()
    assert sorted([(await platform.result(run, timeout_seconds=60)).output for run in runs]) == [0, 1]
    assert platform.worker is not None
    assert platform.worker.loader.room.used == 0


async def test_one_that_waits_is_let_go_of_when_the_worker_leaves(platform: Penstock) -> None:
    runs = await two_of_which_one_waits(platform)
    assert platform.worker is not None
    [(_, waiting)] = platform.worker.loader.reading
    claims = (await platform.journal.get_run(TENANT, waiting)).claims  # type: ignore[union-attr]
    platform.worker.drain()
    assert platform._working is not None
    await platform._working
    row = await platform.journal.get_run(TENANT, waiting)
    assert row is not None
    assert row.status is Status.QUEUED
    assert row.claims < claims, "nobody worked on it: the claim does not count"
    opened.event.set()
    platform.start_worker("other")
    assert sorted([(await platform.result(run, timeout_seconds=60)).output for run in runs]) == [0, 1]


async def test_a_store_that_is_away_is_waited_for(platform: Penstock, monkeypatch: pytest.MonkeyPatch) -> None:
    latest = MemorySnapshots.latest
    failures = [JournalUnavailable("away"), JournalUnavailable("still")]

    async def away(self: MemorySnapshots, runs: Sequence[RunKey]) -> object:
        if failures:
            raise failures.pop()
        return await latest(self, runs)

    monkeypatch.setattr(MemorySnapshots, "latest", away)
    opened.event.set()
    platform.start_worker("w")
    run = await platform.submit(slow, 7)
    assert (await platform.result(run, timeout_seconds=60)).output == 7
    assert not failures
