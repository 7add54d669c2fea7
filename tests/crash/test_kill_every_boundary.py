"""A worker is killed with SIGKILL before and after every append of a run, and at every stage of every effect.

Each boundary is a run and a process of its own. Another worker finishes the run. Then the world's own counters say
whether anything happened twice or never. Where each event is an append of its own, `make test` kills before one and
after the next, and `make crash` on both sides of all.
"""

import asyncio
import signal
from typing import Any
from uuid import UUID

import pytest
from tests.crash.errand import WRITES, Tools, expected, make_errand
from tests.crash.length import SECONDS
from tests.crash.person import at_the_desk
from tests.crash.processes import doomed, ended, finisher, platform, spawn
from tests.crash.record import asked_whether_it_happened, check_record, doubts, spent_nano, story
from tests.crash.world import Doom, Stage, World

from penstock.events import ApprovalRequested, ChildIntent, Event
from penstock.runs.client import Penstock
from penstock.settings import Settings

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

AT_A_TIME = 6
# Long enough for so many workers on a slow machine: none may lose a claim but by its death.
LEASES: dict[str, Any] = {"lease_seconds": 3.0, "loop_block_max_seconds": 3.0}
ONE_EVENT_AN_APPEND: dict[str, Any] = {**LEASES, "batch_max_events": 1}
AS_IN_PRODUCTION: dict[str, Any] = {**LEASES, "batch_max_events": 900}
AROUND: tuple[Stage, ...] = ("before", "after")
DURING: tuple[Stage, ...] = ("entry", "uncommitted", "committed")


class Sweep:
    """Many runs, each with a doom of its own."""

    def __init__(self, penstock: Penstock, world: World, options: dict[str, Any]) -> None:
        self.penstock = penstock
        self.world = world
        self.options = options
        self.tools = Tools(world)
        self.places = asyncio.Semaphore(AT_A_TIME)

    async def kill_at(self, dooms: list[Doom]) -> list[Doom]:
        """One run for each doom, all checked; the dooms that did not come about."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.run(f"{doom.what}-{doom.n}-{doom.stage}", doom)) for doom in dooms]
        return [doom for doom, task in zip(dooms, tasks, strict=True) if not task.result()]

    async def run(self, tag: str, doom: Doom | None) -> bool:
        """Submit, let the doomed process work and die, wait for the end, and check everything; whether it died."""
        errand = make_errand(tag, self.tools)
        run = await self.penstock.submit(errand.main, tag)
        self.penstock.registry.add(errand.child)
        async with self.places:
            code = await ended(spawn(doomed, self.world.dsn, tag, doom, self.options))
        assert code in (0, -signal.SIGKILL), f"{doom}: exit code {code}"
        if code:
            await self.world.ask("INSERT INTO world.orphans VALUES ($1)", tag)
        await self.check(tag, run, doom)
        return code != 0

    async def check(self, tag: str, run: UUID, doom: Doom | None) -> None:
        result = await self.penstock.result(run, timeout_seconds=150)
        where = f"{doom}: {result}\n{story(await self.penstock.journal.tape('default', run))}"
        assert result.outcome == "succeeded", where
        events = await check_record(self.penstock, run)
        child = next(event.child for event in events if isinstance(event, ChildIntent))
        everything = events + await check_record(self.penstock, child)
        for tool in WRITES:
            times = await self.world.counter(tag, tool)
            most = 1 + doubts(everything, tool) if tool == "set_limit" else 1
            assert 1 <= times <= most, f"{tool} happened {times} times; {where}"
        self.check_questions(everything, where)
        for name, value in expected(tag).items():
            lost = name in ("sent", "printed") and doubts(everything, {"sent": "notify", "printed": "print_card"}[name])
            assert result.output[name] == value or (lost and result.output[name] is None), where
        spent = await self.world.ask("SELECT sum(nano)::bigint FROM world.model_calls WHERE tag = $1", tag)
        assert result.totals.nano == spent_nano(everything) >= spent, where

    @staticmethod
    def check_questions(events: list[Event], where: str) -> None:
        """A person is asked about a write in doubt exactly when no program can tell, and approves the refund once."""
        for tool in WRITES:
            asked = asked_whether_it_happened(events, tool)
            assert asked == (doubts(events, tool) if tool == "print_card" else 0), where
        approvals = [event for event in events if isinstance(event, ApprovalRequested) and event.question == "may_run"]
        assert [event.tool for event in approvals] == ["refund"], where


@pytest.mark.parametrize("options", [ONE_EVENT_AN_APPEND, AS_IN_PRODUCTION], ids=["every-event", "grouped"])
async def test_nothing_is_lost_or_doubled_wherever_a_worker_dies(world: World, options: dict[str, Any]) -> None:
    async with (
        platform(world.dsn, Settings(poll_seconds=0.1, database_pool_size=6), world) as penstock,
        at_the_desk(penstock, world),
    ):
        helper = spawn(finisher, world.dsn, "finisher", {})
        try:
            sweep = Sweep(penstock, world, options)
            assert not await sweep.run("clean", None)
            appends, effects = (await world.all("SELECT appends, effects FROM world.census"))[0]
            last = appends + 1
            dooms = [Doom("append", n, stage) for n in range(1, last + 1) for stage in AROUND]
            if options is ONE_EVENT_AN_APPEND:
                if not SECONDS:
                    dooms = [doom for doom in dooms if doom.n == last or doom.stage == AROUND[doom.n % 2]]
                dooms += [Doom("effect", n, stage) for n in range(1, effects + 1) for stage in DURING]
            survived = await sweep.kill_at(dooms)
            # How often a run parks is a matter of timing: go on until nothing is left to be killed at.
            while Doom("append", last, "before") not in survived:
                last += 1
                survived += await sweep.kill_at([Doom("append", last, stage) for stage in AROUND])
        finally:
            helper.kill()
            await ended(helper)
        assert {doom.what for doom in survived} == {"append"}
        for doom in survived:
            tag = f"{doom.what}-{doom.n}-{doom.stage}"
            assert doom.n > await world.ask("SELECT appends FROM world.census WHERE tag = $1", tag), doom
