"""What both stores must do about runs that sleep although their wait is over. A subclass has fixtures ``world`` and
``hand``: a hand in the tables, which makes the defects that the stores themselves never make."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
from tests.contract.journal_world import Holder, World, letter, new_run
from tests.contract.waits_suite import HOUR, child_of, end, for_event, for_run, park, sent

from penstock.events import Waiting
from penstock.ports.records import CONTINUED, Move, Post, Status, Stop
from penstock.ports.wakeups import Rescue

Hand = Callable[..., Awaitable[None]]
"""``hand("asleep", run)``: parked again, its row as before it was woken. ``hand("consumed", run, dedup)``: a letter is
marked consumed; ``hand("no letter", run, dedup)``: it is gone. ``hand("no time", run)``: its row has no time to wake.
"""


async def look(world: World) -> list[tuple[UUID, str]]:
    """What is found asleep, looking as often as one likes."""
    return [(rescue.run, rescue.why) for rescue in await rescues(world)]


async def rescues(world: World) -> list[Rescue]:
    return list(await world.journal.wakeups.look(0, 1000))


async def parent_and_child(world: World, **fields: Any) -> tuple[Holder, Holder]:
    """A parent that sleeps until its child has ended; the child is held."""
    parent = await world.held()
    new = await child_of(world, parent, **fields)
    child = await world.reclaim(new.id)
    await park(parent, Waiting("child", "0", "clerk", str(new.id)))
    return parent, child


def told(parent: Holder, child: UUID) -> Post:
    """The letter of a child's end."""
    return Post(parent.tenant, parent.run, f"child:{child}", "child", b"{}")


class WakeupsSuite:
    async def test_runs_that_wait_rightly_are_left_alone(self, world: World) -> None:
        parent, child = await parent_and_child(world)
        sleeper, other, asker, hearer = await world.claimed(4)
        until = await world.journal.now() + int(HOUR * 1e6)
        await sleeper.append(move=Move(Status.PARKED, until, b'[{"kind":"timer","path":"0","until":%d}]' % until))
        await world.journal.waits.begin(for_run(other, child))
        await park(other, Waiting("run", "0", "", str(child.run)))
        await park(asker, Waiting("approval", "0", "refund", "an id"))
        await world.journal.waits.begin(for_event(hearer, "0", target=child.run))
        await park(hearer, Waiting("event", "0", "go", str(child.run)))
        await world.journal.waits.send(sent(hearer, "1", name="other"), 10)  # nobody waits for that one
        assert await look(world) == []
        for holder in (parent, sleeper, other, asker, hearer):
            assert await world.status(holder) is Status.PARKED
        await child.append(move=Move(Status.ENDED, outcome="succeeded", post=told(parent, child.run)))
        assert await look(world) == [], "who waited for its end is about to be told"
        assert await world.status(other) is Status.PARKED
        assert await world.journal.wakeups.rescued(10) == []

    async def test_a_letter_that_woke_nobody(self, world: World, hand: Hand) -> None:
        parent, child = await parent_and_child(world)
        await child.append(move=Move(Status.ENDED, outcome="succeeded", post=told(parent, child.run)))
        await hand("asleep", parent)
        assert await look(world) == [(parent.run, "letter")]
        again = await world.reclaim(parent.run)
        assert [item.dedup for item in (await world.journal.letters([again.key]))[again.key]] == [f"child:{child.run}"]
        assert await look(world) == []

    async def test_a_childs_end_that_was_consumed_without_a_trace(self, world: World, hand: Hand) -> None:
        parent, child = await parent_and_child(world)
        await child.append(move=Move(Status.ENDED, outcome="succeeded", post=told(parent, child.run)))
        await hand("consumed", parent, f"child:{child.run}")
        await hand("asleep", parent)
        [rescue] = await rescues(world)
        assert (rescue.run, rescue.why, rescue.epoch, rescue.child) == (parent.run, "child", parent.claim.epoch, None)
        again = await world.reclaim(parent.run)
        assert [item.dedup for item in (await world.journal.letters([again.key]))[again.key]] == [f"child:{child.run}"]
        consumed = await again.append(consumed=[f"child:{child.run}"])
        assert consumed.letters == 0, "the row counts it as the inbox does"

    async def test_a_childs_end_that_was_never_told(self, world: World) -> None:
        parent, child = await parent_and_child(world)
        await end(child)
        [rescue] = await rescues(world)
        assert (rescue.run, rescue.why, rescue.child) == (parent.run, "child", child.run)
        assert await world.status(parent) is Status.PARKED, "the letter has to be made first"
        assert await world.journal.deliver(told(parent, child.run))
        assert await world.status(parent) is Status.QUEUED
        assert await look(world) == []

    async def test_a_child_that_goes_on_in_another_has_not_ended(self, world: World) -> None:
        parent, child = await parent_and_child(world)
        following = new_run(parent=child.run, parent_path=CONTINUED, root=parent.run)
        await child.append(children=[following])
        await child.append(move=Move(Status.ENDED, outcome="succeeded", code=CONTINUED))
        assert await look(world) == []
        await end(await world.reclaim(following.id))
        [rescue] = await rescues(world)
        assert (rescue.run, rescue.why, rescue.child) == (parent.run, "child", following.id)

    async def test_a_decision_that_was_consumed_without_a_trace(self, world: World, hand: Hand) -> None:
        run = await world.held()
        await park(run, Waiting("approval", "0", "refund", "an id"))
        await world.journal.deliver(letter(run, "approval:an id", "approval"))
        await hand("consumed", run, "approval:an id")
        await hand("asleep", run)
        assert await look(world) == [(run.run, "decision")]
        assert await world.status(run) is Status.QUEUED
        assert [item.dedup for item in (await world.journal.letters([run.key]))[run.key]] == ["approval:an id"]

    @pytest.mark.parametrize("lost", ["consumed", "no letter"])
    async def test_the_end_of_another_run(self, world: World, hand: Hand, lost: str) -> None:
        run, other = await world.claimed(2)
        await world.journal.waits.begin(for_run(run, other))
        await park(run, Waiting("run", "0", "", str(other.run)))
        await end(other)
        await world.journal.waits.follow_up(10)
        await world.journal.waits.followed_up(*other.key)
        await hand(lost, run, f"run:0:{other.run}")
        await hand("asleep", run)
        assert await look(world) == [(run.run, "run")]
        assert await world.status(run) is Status.QUEUED
        [news] = (await world.journal.letters([run.key]))[run.key]
        assert (news.dedup, news.kind) == (f"run:0:{other.run}", "wait")

    async def test_a_time_that_the_row_does_not_hold(self, world: World, hand: Hand) -> None:
        run = await world.held()
        until = await world.journal.now() + int(HOUR * 1e6)
        waiting = b'[{"kind":"doubt","path":"0","until":%d},{"id":"x","kind":"approval","path":"1"}]' % until
        await run.append(move=Move(Status.PARKED, until, waiting))
        await hand("no time", run)
        assert await look(world) == [(run.run, "time")]
        row = await world.journal.get_run(*run.key)
        assert row is not None
        assert (row.status, row.wake_at) == (Status.PARKED, until)
        assert await look(world) == []

    async def test_an_event_that_woke_nobody(self, world: World, hand: Hand) -> None:
        run = await world.held()
        await park(run, Waiting("event", "0", "go"))
        await world.journal.waits.send(sent(run, "1", name="go"), 10)
        await hand("asleep", run)
        assert await look(world) == [(run.run, "event")]
        assert await world.status(run) is Status.QUEUED

    async def test_a_stop_that_woke_nobody(self, world: World, hand: Hand) -> None:
        run = await world.held()
        await park(run, Waiting("approval", "0", "refund", "an id"))
        await world.journal.stop_run(*run.key, Stop.CANCEL, "ann", "")
        await hand("asleep", run)
        assert await look(world) == [(run.run, "stop")]
        assert await world.status(run) is Status.QUEUED

    async def test_each_is_written_down_once_a_claim(self, world: World) -> None:
        parent, child = await parent_and_child(world)
        await end(child)
        assert len(await look(world)) == len(await look(world)) == 1
        [kept] = await world.journal.wakeups.rescued(10)
        assert (kept.tenant, kept.run, kept.why) == (*parent.key, "child")
        assert kept.at > 0

    async def test_a_look_goes_on_where_the_one_before_ended(self, world: World) -> None:
        families = [await parent_and_child(world) for _ in range(3)]
        for _, child in families:
            await end(child)
        held = await world.held()  # not asleep, and gone through like the others
        seen = [[rescue.run for rescue in await world.journal.wakeups.look(0, 2)] for _ in range(4)]
        looked_at = sorted([held.run, *(parent.run for parent, _ in families)])
        pages = [[run for run in page if run != held.run] for page in (looked_at[:2], looked_at[2:])]
        assert seen == [*pages, [], pages[0]]

    async def test_one_look_in_a_while(self, world: World) -> None:
        _, child = await parent_and_child(world)
        assert await world.journal.wakeups.look(60, 10) == []
        await end(child)
        assert await look(world) == [], "too soon"
        await world.advance(61)
        assert len(await look(world)) == 1

    async def test_every_tenant_is_looked_at_and_none_takes_anothers_child_for_its_own(self, world: World) -> None:
        ours, child = await parent_and_child(world)
        theirs = await world.held(tenant="other")
        await park(theirs, Waiting("child", "0", "clerk", str(child.run)))
        await end(child)
        assert [(rescue.tenant, rescue.run) for rescue in await rescues(world)] == [ours.key]
        alien = await world.held(tenant="other")
        await park(alien, Waiting("approval", "0", "refund", "x"))
        await world.journal.stop_run(*alien.key, Stop.PAUSE, "ann", "")
        assert [rescue.run for rescue in await rescues(world)] == [ours.run]
