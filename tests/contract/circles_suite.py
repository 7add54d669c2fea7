"""What both stores must do about circles of waiting runs that were closed late. A subclass has a fixture ``world``."""

from dataclasses import replace

import msgspec
from tests.contract.journal_world import CLOCK, Holder, World, new_run
from tests.contract.waits_suite import child_of, end, for_event, for_run, park, sent

from penstock.events import Waiting
from penstock.kernel.canonical import stable_json
from penstock.kernel.ids import new_id
from penstock.ports.circles import Broken, CircleLetter
from penstock.ports.records import Move, Status
from penstock.ports.waits import Begun
from penstock.runs.work.late_circles import waits_to_break


async def asleep(world: World, holder: Holder, target: Holder, path: str = "0", *, alone: bool = False) -> None:
    """The run waits for an event of the other and sleeps; as if another branch had ended after the wait began."""
    begun = await world.journal.waits.begin(for_event(holder, path, target=target.run, alone=alone))
    assert begun.answer is Begun.WAITING
    await park(holder, Waiting("event", path, "go", str(target.run)))


async def two_in_a_circle(world: World) -> tuple[Holder, Holder]:
    first, second = await world.claimed(2)
    await asleep(world, first, second)
    await asleep(world, second, first)
    return first, second


async def found(world: World, *runs: Holder, tenant: str = "acme") -> list[Broken]:
    ids = [run.run for run in runs]
    return waits_to_break(tenant, await world.journal.circles.sleepers(tenant, ids))


async def letters(world: World, holder: Holder) -> list[str]:
    return [letter.dedup for letter in (await world.journal.letters([holder.key]))[holder.key]]


class CirclesSuite:
    async def test_two_that_sleep_for_each_other_are_found_and_the_youngest_wait_ended(self, world: World) -> None:
        first, second = await two_in_a_circle(world)
        circles = world.journal.circles
        assert sorted(await circles.look(0, 10)) == sorted([first.key, second.key])
        [broken] = await found(world, first, second)
        assert (broken.run, broken.circle) == (second.run, [second.run, first.run])
        assert await circles.break_wait(broken)
        assert await world.status(second) is Status.QUEUED
        assert await world.status(first) is Status.PARKED
        [letter] = (await world.journal.letters([second.key]))[second.key]
        assert (letter.dedup, letter.kind) == (f"cycle:0:{first.run}", "wait")
        assert msgspec.json.decode(letter.body, type=CircleLetter).circle == [second.run, first.run]
        assert [edge.run for edge in await world.journal.waits.edges("acme", 10)] == [first.run]
        assert await found(world, first, second) == []
        assert not await circles.break_wait(broken), "once"

    async def test_nothing_is_broken_when_a_run_has_moved_meanwhile(self, world: World) -> None:
        first, second = await two_in_a_circle(world)
        [broken] = await found(world, first, second)
        await world.journal.waits.send(sent(first, sender=second.run), 10)
        assert not await world.journal.circles.break_wait(broken), "it has been woken"
        again = await world.reclaim(first.run)
        assert not await world.journal.circles.break_wait(broken), "it runs"
        waiting = stable_json([Waiting("event", "0", "go", str(second.run))])
        await again.append(move=Move(Status.PARKED, None, waiting), consumed=[f"event:go:{second.run}:1"])
        assert await world.status(again) is Status.PARKED
        assert not await world.journal.circles.break_wait(broken), "it sleeps anew: it may wait for something else"
        assert await letters(world, second) == []

    async def test_who_may_be_woken_by_something_else_is_in_no_circle(self, world: World) -> None:
        first, second = await world.claimed(2)
        await asleep(world, first, second)
        await world.journal.waits.begin(for_event(second, "0.1", target=first.run, alone=False))
        both = [Waiting("event", "0.1", "go", str(first.run)), Waiting("event", "0.2", "any")]
        await park(second, *both)
        assert await found(world, first, second) == []

    async def test_a_wait_with_an_end_is_in_no_circle(self, world: World) -> None:
        first, second = await world.claimed(2)
        await asleep(world, first, second)
        until = await world.journal.now() + 3_600_000_000
        await world.journal.waits.begin(for_event(second, target=first.run, until=until))
        await park(second, Waiting("event", "0", "go", str(first.run)))
        assert await found(world, first, second) == []
        assert first.key in await world.journal.circles.look(0, 10)
        assert second.key not in await world.journal.circles.look(0, 10)

    async def test_a_parent_that_came_to_wait_for_its_child_later(self, world: World) -> None:
        """When the child's wait began, the parent had not parked: it might still have sent the event."""
        parent = await world.held()
        child = await child_of(world, parent)
        held = await world.reclaim(child.id)
        await asleep(world, held, parent, alone=True)
        await park(parent, Waiting("child", "0", "clerk", str(child.id)))
        [broken] = await found(world, parent, held)
        assert (broken.run, broken.circle) == (child.id, [child.id, parent.run])
        assert await world.journal.circles.break_wait(broken)

    async def test_a_run_that_waits_its_turn_behind_one_of_the_circle(self, world: World) -> None:
        """A holds session s and waits for an event of B; B waits for the end of C, which is queued in s behind A."""
        first, second = await world.held(session="s"), await world.held()
        behind = new_run(session="s")
        await world.journal.submit([behind])
        await asleep(world, first, second)
        assert (await world.journal.waits.begin(for_run(second, behind.id, alone=False))).answer is Begun.WAITING
        await park(second, Waiting("run", "0", "", str(behind.id)))
        ids = [first.run, second.run, behind.id]
        [broken] = waits_to_break("acme", await world.journal.circles.sleepers("acme", ids))
        assert (broken.run, broken.circle) == (second.run, [second.run, behind.id, first.run])
        assert await world.journal.circles.break_wait(broken)

    async def test_runs_that_are_not_asleep_are_not_given(self, world: World) -> None:
        runs = await world.claimed(3)
        await end(runs[0])
        await park(runs[1], Waiting("timer", "0", until=1))
        queued = new_run()
        await world.journal.submit([queued])
        asked = [*(run.run for run in runs), queued.id, new_id(CLOCK)]
        given = await world.journal.circles.sleepers("acme", asked)
        assert all(sleeper.waiting[0].kind == "timer" for sleeper in given)
        assert waits_to_break("acme", given) == []

    async def test_one_worker_at_a_time_looks_and_goes_on_where_the_last_ended(self, world: World) -> None:
        runs = [*await two_in_a_circle(world), *await two_in_a_circle(world), *await two_in_a_circle(world)]
        circles = world.journal.circles
        pages = [await circles.look(0, 4) for _ in range(3)]
        assert [len(page) for page in pages] == [4, 2, 4]
        assert {key for page in pages[:2] for key in page} == {run.key for run in runs}
        assert sorted(pages[0]) == sorted(pages[2])
        assert await circles.look(3600, 10) != []
        assert await circles.look(3600, 10) == [], "somebody has just looked"

    async def test_no_method_crosses_tenants(self, world: World) -> None:
        first, second = await two_in_a_circle(world)
        assert await found(world, first, second, tenant="zeta") == []
        [broken] = await found(world, first, second)
        assert not await world.journal.circles.break_wait(replace(broken, tenant="zeta"))
        assert await letters(world, second) == []
        assert await world.journal.circles.break_wait(broken)
