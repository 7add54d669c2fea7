"""A worker is killed with SIGKILL before and after every append of a run, and at every stage of every effect.

Each boundary is a run and a process of its own. Another worker finishes the run. Then the world's own counters say
whether anything happened twice or never.
"""

import asyncio
import signal
from uuid import UUID

import pytest
from tests.crash.errand import WRITES, Tools, expected, make_errand
from tests.crash.person import at_the_desk
from tests.crash.processes import QUICK, doomed, ended, finisher, platform, spawn
from tests.crash.record import asked_whether_it_happened, check_record, doubts, spent_nano
from tests.crash.world import Doom, World

from penstock.events import ApprovalRequested, ChildIntent, Event
from penstock.runs.client import Penstock
from penstock.settings import Settings

pytestmark = [pytest.mark.crash, pytest.mark.timeout(240)]

AT_A_TIME = 10
BEYOND = 3  # numbers past those of the run that nothing happened to: a crash must never be missed for lack of numbers


class Sweep:
    """Many runs, each with a doom of its own."""

    def __init__(self, dsn: str, penstock: Penstock, world: World) -> None:
        self.dsn = dsn
        self.penstock = penstock
        self.world = world
        self.tools = Tools(world)
        self.places = asyncio.Semaphore(AT_A_TIME)
        self.died: dict[Doom, bool] = {}

    async def run(self, tag: str, doom: Doom | None) -> None:
        """Submit, let the doomed process work and die, wait for the end, and check everything."""
        errand = make_errand(tag, self.tools)
        run = await self.penstock.submit(errand.main, tag)
        self.penstock.registry.add(errand.child)
        async with self.places:
            code = await ended(spawn(doomed, self.dsn, tag, doom, {}))
        assert code in (0, -signal.SIGKILL), f"{doom}: exit code {code}"
        if code:
            await self.world.ask("INSERT INTO world.orphans VALUES ($1)", tag)
        if doom is not None:
            self.died[doom] = code != 0
        await self.check(tag, run, doom)

    async def check(self, tag: str, run: UUID, doom: Doom | None) -> None:
        result = await self.penstock.result(run, timeout_seconds=60)
        where = f"{doom}: {result}"
        assert result.outcome == "succeeded", where
        events = await check_record(self.penstock, run)
        child = next(event.child for event in events if isinstance(event, ChildIntent))
        child_events = await check_record(self.penstock, child)
        everything = events + child_events
        happened = {tool: await self.world.counter(tag, tool) for tool in WRITES}
        repeats = happened.pop("set_limit")
        assert (happened == dict.fromkeys(WRITES, 1) | {} and False) or happened == {
            tool: 1 for tool in WRITES if tool != "set_limit"
        }, where
        assert repeats == 1 or doubts(everything, "set_limit") >= repeats - 1, where
        self.check_questions(everything, where)
        for name, value in expected(tag).items():
            lost = name in ("sent", "printed") and doubts(everything, {"sent": "notify", "printed": "print_card"}[name])
            assert result.output[name] == value or (lost and result.output[name] is None), where
        spent = await self.world.ask("SELECT sum(nano)::bigint FROM world.model_calls WHERE tag = $1", tag)
        assert spent_nano(everything) >= spent, where
        assert result.totals.nano == spent_nano(everything), where

    @staticmethod
    def check_questions(events: list[Event], where: str) -> None:
        """A person is asked about a write in doubt exactly when no program can tell, and approves the refund once."""
        for tool in WRITES:
            asked = asked_whether_it_happened(events, tool)
            assert asked == (doubts(events, tool) if tool == "print_card" else 0), where
        approvals = [event for event in events if isinstance(event, ApprovalRequested) and event.question == "may_run"]
        assert [event.tool for event in approvals] == ["refund"], where


async def test_nothing_is_lost_or_doubled_wherever_a_worker_dies(database_url: str) -> None:
    world = World(database_url)
    settings = Settings(poll_seconds=0.1, database_pool_size=6)
    from penstock.adapters.postgres.journal import open_journal

    await (await open_journal(database_url)).close()
    await world.make()
    async with platform(database_url, settings, world) as penstock, at_the_desk(penstock, world):
        sweep = Sweep(database_url, penstock, world)
        await sweep.run("clean", None)
        appends, effects = (await world.all("SELECT appends, effects FROM world.census WHERE tag = 'clean'"))[0]
        assert appends > 30
        assert effects > 8
        dooms = [Doom("append", n, stage) for n in range(1, appends + BEYOND) for stage in ("before", "after")]
        dooms += [
            Doom("effect", n, stage)
            for n in range(1, effects + 1)
            for stage in ("entry", "uncommitted", "committed")
        ]
        helper = spawn(finisher, database_url, "finisher", {})
        try:
            async with asyncio.TaskGroup() as group:
                for doom in dooms:
                    group.create_task(sweep.run(f"{doom.what}-{doom.n}-{doom.stage}", doom))
        finally:
            helper.kill()
            await ended(helper)
    survivors = [doom for doom, died in sweep.died.items() if not died]
    print(len(dooms), "boundaries", appends, "appends", effects, "effects; survived:", survivors)
    assert QUICK
