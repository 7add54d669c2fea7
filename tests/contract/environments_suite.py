"""What both stores must do about environments. A subclass has a fixture ``world``."""

from uuid import UUID

from tests.contract.journal_world import CLOCK, LEASE, World, new_run
from tests.contract.schedules_suite import SchedulesWorld
from tests.contract.triggers_suite import event, publish, trigger

from penstock.kernel.ids import new_id
from penstock.ports.records import Move, Status
from penstock.ports.schedules import Plan
from penstock.ports.triggers import TriggerPlan


async def worker_of(world: World, environment: str | None, lease: float = LEASE) -> UUID:
    worker = new_id(CLOCK)
    await world.journal.enlist(worker, f"w-{worker}", lease, environment)
    return worker


class EnvironmentsSuite:
    async def test_a_worker_gets_the_runs_of_its_environment_alone(self, world: World) -> None:
        runs = {env: new_run(env=env) for env in ("staging", "production")}
        await world.journal.submit(list(runs.values()))
        staging, production = await worker_of(world, "staging"), await worker_of(world, "production")
        assert [claim.run for claim in await world.claim(worker=staging)] == [runs["staging"].id]
        assert await world.claim(worker=staging) == []
        assert [claim.run for claim in await world.claim(worker=production)] == [runs["production"].id]

    async def test_one_that_names_none_gets_those_of_all(self, world: World) -> None:
        """As workers of older code do."""
        runs = [new_run(env=env) for env in ("staging", "production")]
        await world.journal.submit(runs)
        claimed = await world.claim(worker=await worker_of(world, None))
        assert {claim.run for claim in claimed} == {run.id for run in runs}

    async def test_what_a_dead_worker_held_goes_on_in_its_own_environment(self, world: World) -> None:
        run = new_run(env="production")
        await world.journal.submit([run])
        dead = await worker_of(world, "production", lease=1)
        assert len(await world.claim(worker=dead)) == 1
        await world.advance(2)
        assert await world.claim(worker=await worker_of(world, "staging")) == []
        assert [claim.run for claim in await world.claim(worker=await worker_of(world, "production"))] == [run.id]

    async def test_what_was_parked_goes_on_in_its_own_environment(self, world: World) -> None:
        run = new_run(env="production")
        await world.journal.submit([run])
        home = await worker_of(world, "production")
        holder = await world.reclaim(run.id, home)
        await holder.append(move=Move(Status.PARKED, wake_at=await world.journal.now()))
        await world.advance(1)
        assert await world.claim(worker=await worker_of(world, "staging")) == []
        assert [claim.run for claim in await world.claim(worker=home)] == [run.id]

    async def test_a_run_is_taken_over_by_none_of_another_environment(self, world: World) -> None:
        run = new_run(env="production")
        await world.journal.submit([run])
        home = await worker_of(world, "production")
        holder = await world.reclaim(run.id, home)
        key = ("acme", run.id, home, holder.claim.epoch)
        assert await world.journal.take_over(await worker_of(world, "staging"), *key) is None
        taken = await world.journal.take_over(await worker_of(world, "production"), *key)
        assert taken is not None
        assert taken.run == run.id

    async def test_a_worker_that_enlists_again_may_move(self, world: World) -> None:
        run = new_run(env="production")
        await world.journal.submit([run])
        worker = await worker_of(world, "staging")
        assert await world.claim(worker=worker) == []
        await world.journal.enlist(worker, f"w-{worker}", LEASE, "production")
        assert [claim.run for claim in await world.claim(worker=worker)] == [run.id]

    async def test_runs_that_nobody_in_their_environment_offers_are_stranded(self, world: World) -> None:
        runs = {env: new_run(env=env) for env in ("staging", "production")}
        await world.journal.submit(list(runs.values()))
        releases = world.journal.releases
        staging = await worker_of(world, "staging")
        await releases.offer(staging, ["r1"], 2)
        assert [item.run for item in await releases.stranded("acme", 10)] == [runs["production"].id]
        assert await releases.offered("r1")
        assert await releases.offered("r1", "staging")
        assert not await releases.offered("r1", "production")
        anywhere = await worker_of(world, None)
        await releases.offer(anywhere, ["r1"], 2)
        assert await releases.stranded("acme", 10) == []
        assert await releases.offered("r1", "production")

    async def test_a_schedule_is_fired_in_its_environment_alone(self, world: World) -> None:
        schedules = SchedulesWorld(world)
        for name, environment in (("here", "staging"), ("there", "production"), ("old", "")):
            await schedules.schedule(name, plan=Plan(every=1, environment=environment))
        take = world.journal.schedules.take_due
        assert {due.schedule.name for due in await take(("clerk",), LEASE, 10, "staging")} == {"here", "old"}
        assert {due.schedule.name for due in await take(("clerk",), LEASE, 10, "production")} == {"there"}

    async def test_a_trigger_makes_its_runs_in_its_environment_alone(self, world: World) -> None:
        for name, environment in (("here", "staging"), ("there", "production"), ("old", "")):
            await trigger(world, name, plan=TriggerPlan(environment=environment))
        await publish(world, event())
        named = {known.id: known.name for known in await world.journal.triggers.list_triggers("acme")}
        take = world.journal.triggers.take
        assert {named[item.trigger] for item in await take(("clerk",), LEASE, 10, "staging")} == {"here", "old"}
        assert {named[item.trigger] for item in await take(("clerk",), LEASE, 10, "production")} == {"there"}
