"""A worker stands still for longer than its lease, others take over, and then it goes on as if nothing had been."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from multiprocessing.process import BaseProcess
from uuid import UUID

import psutil
import pytest
from tests.crash.errand import Tools, make_errand
from tests.crash.person import at_the_desk
from tests.crash.processes import doomed, ended, finisher, platform, spawn, until
from tests.crash.record import asked_whether_it_happened, check_record, events_of, story
from tests.crash.world import Doom, World

from penstock.events import Event, ToolDoubted, ToolIntent, ToolOutcome
from penstock.runs.client import Penstock
from penstock.runs.result import Result
from penstock.settings import Settings

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

WAYS = {"pay": "repeat", "notify": "confirm", "print_card": "person"}


@pytest.fixture
async def penstock(world: World) -> AsyncIterator[Penstock]:
    """A client, with a worker process that takes over what is orphaned."""
    settings = Settings(poll_seconds=0.1, database_pool_size=6)
    async with platform(world.dsn, settings, world) as opened:
        helper = spawn(finisher, world.dsn, "finisher", {})
        try:
            yield opened
        finally:
            helper.kill()
            await ended(helper)


async def stop_at(doom: Doom, penstock: Penstock, world: World) -> tuple[str, UUID, BaseProcess]:
    """Start a run in a process and wait until that stands still; others may take over from then on."""
    kind, tool = doom.what.split(":")
    tag = f"only.{tool}.{kind}.{doom.stage}"
    errand = make_errand(tag, Tools(world))
    for item in errand.agents:
        penstock.registry.add(item)
    run = await penstock.submit(errand.main, tag)
    zombie = spawn(doomed, world.dsn, tag, doom, {})
    process = psutil.Process(zombie.pid)

    async def stands() -> bool:
        return process.status() == psutil.STATUS_STOPPED

    await until(stands)
    await world.ask("INSERT INTO world.orphans VALUES ($1)", tag)
    return tag, run, zombie


def go_on(zombie: BaseProcess) -> None:
    assert zombie.pid is not None
    os.kill(zombie.pid, signal.SIGCONT)


async def end_of(run: UUID, penstock: Penstock) -> Result:
    try:
        return await penstock.result(run, timeout_seconds=150)
    except TimeoutError:
        row = await penstock.journal.get_run("default", run)
        pytest.fail(f"{row}\n{story(await penstock.journal.tape('default', run))}")


def ways_of_settling(events: list[Event], tool: str) -> list[str]:
    """How the doubts about a tool's calls were settled."""
    paths = {event.path for event in events if isinstance(event, ToolIntent) and event.tool == tool}
    outcomes = [event for event in events if isinstance(event, ToolOutcome) and event.path in paths]
    return [event.settled_by for event in outcomes if event.settled_by]


async def outlived(doom: Doom, penstock: Penstock, world: World) -> None:
    """The run goes on elsewhere; then the zombie does, and changes nothing."""
    tag, run, zombie = await stop_at(doom, penstock, world)
    tool = tag.split(".")[1]
    result = await end_of(run, penstock)
    rows = await penstock.journal.tape("default", run)
    told = story(rows)
    assert result.outcome == "succeeded", told
    assert await world.counter(tag, tool) == 1, told
    go_on(zombie)
    assert await ended(zombie) == 0, told
    assert await penstock.journal.tape("default", run) == rows, told
    assert await world.counter(tag, tool) == 1, told
    events = await check_record(penstock, run)
    assert ways_of_settling(events, tool) == [WAYS[tool]], told
    starts = await world.all("SELECT attempt FROM world.starts WHERE tag = $1 AND tool = $2", tag, tool)
    if doom.stage == "after":
        assert [start["attempt"] for start in starts] == [2], f"the zombie started its effect late\n{told}"


async def settled_late(tool: str, penstock: Penstock, world: World) -> None:
    """The zombie goes on while its effect is in doubt: how that ended is what settles the doubt."""
    tag, run, zombie = await stop_at(Doom(f"call:{tool}", 1, "committed", signal.SIGSTOP), penstock, world)

    async def doubted() -> bool:
        return any(isinstance(event, ToolDoubted) for event in await events_of(penstock.journal, run))

    await until(doubted)
    go_on(zombie)
    result = await end_of(run, penstock)
    assert await ended(zombie) == 0
    told = story(await penstock.journal.tape("default", run))
    assert result.outcome == "succeeded", told
    events = await check_record(penstock, run)
    assert ways_of_settling(events, tool) == ["late"], told
    assert asked_whether_it_happened(events, tool) == 0, told
    assert await world.counter(tag, tool) == 1
    assert result.output is not None, told


@pytest.mark.parametrize("where", ["intent:after", "call:entry", "call:committed"])
async def test_a_zombie_changes_nothing_once_the_run_has_gone_on(penstock: Penstock, world: World, where: str) -> None:
    kind, stage = where.split(":")
    async with at_the_desk(penstock, world), asyncio.TaskGroup() as group:
        for tool in WAYS:
            doom = Doom(f"{kind}:{tool}", 1, stage, signal.SIGSTOP)  # type: ignore[arg-type]
            group.create_task(outlived(doom, penstock, world))


async def test_a_late_outcome_settles_the_doubt(penstock: Penstock, world: World) -> None:
    async with at_the_desk(penstock, world), asyncio.TaskGroup() as group:
        for tool in WAYS:
            group.create_task(settled_late(tool, penstock, world))
