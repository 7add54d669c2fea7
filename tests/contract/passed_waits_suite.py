"""What a holder that was passed may still do to its run's waits, in every store: nothing.

A worker stands still for longer than its lease, others take its run over, and then it goes on. A subclass has a fixture
``world``.
"""

import msgspec
from tests.contract.journal_world import LEASE, Holder, World
from tests.contract.waits_suite import HOUR, end, for_event, for_run, park, published

from penstock.events import WaitEnded, Waiting
from penstock.ports.records import Answer, Status
from penstock.ports.waits import Begun


async def passed(world: World, holder: Holder) -> Holder:
    """Who holds the run after the holder's lease is over."""
    await world.advance(LEASE + 1)
    return await world.reclaim(holder.run)


async def letters(world: World, holder: Holder) -> list[str]:
    return [letter.dedup for letter in (await world.journal.letters([holder.key]))[holder.key]]


def received(holder: Holder, path: str = "0") -> WaitEnded:
    return WaitEnded(tenant=holder.tenant, run=holder.run, agent="clerk", path=path, status="received")


class PassedWaitsSuite:
    async def test_an_event_that_the_next_holder_has_in_hand_is_not_freed(self, world: World) -> None:
        zombie = await world.held()
        waits = world.journal.waits
        await waits.begin(for_event(zombie, key="k"))
        await waits.publish(published("1"), 10, HOUR)
        holder = await passed(world, zombie)
        assert await letters(world, holder) == ["topic:0"], "it reads its inbox, and is about to record the event"
        other = await world.held()
        await waits.begin(for_event(other, key="k"))
        await waits.give_back(for_event(zombie, key="k"))
        assert await letters(world, other) == [], "one event, one run"
        assert await letters(world, holder) == ["topic:0"]
        answer = await holder.append(received(holder), consumed=["topic:0"])
        assert answer.answer is Answer.APPLIED
        await end(holder)
        await waits.follow_up(10)
        assert await letters(world, other) == []

    async def test_the_wait_of_the_next_holder_stays(self, world: World) -> None:
        zombie = await world.held()
        waits = world.journal.waits
        await waits.begin(for_event(zombie, key="k"))
        holder = await passed(world, zombie)
        await waits.begin(for_event(holder, key="k"))
        assert await waits.withdraw(for_event(zombie, key="k"))
        await waits.give_back(for_event(zombie, key="k"))
        await park(holder, Waiting("event", "0", "go", "k"))
        await waits.publish(published("1"), 10, HOUR)
        assert await letters(world, holder) == ["topic:0"]
        assert await world.status(holder) is Status.QUEUED

    async def test_the_edge_of_the_next_holder_stays(self, world: World) -> None:
        zombie, target = await world.claimed(2)
        waits = world.journal.waits
        await waits.begin(for_run(zombie, target))
        holder = await passed(world, zombie)
        await waits.begin(for_run(holder, target))
        assert await waits.withdraw(for_run(zombie, target))
        await waits.give_back(for_run(zombie, target))
        assert [edge.run for edge in await waits.edges("acme", 10)] == [holder.run]

    async def test_a_passed_holder_begins_nothing(self, world: World) -> None:
        """What it began would take an event that nobody waits for, or close circles that are none."""
        zombie, target = await world.claimed(2)
        waits = world.journal.waits
        holder = await passed(world, zombie)
        assert (await waits.begin(for_event(zombie, key="k"))).answer is Begun.LOST
        assert (await waits.begin(for_run(zombie, target))).answer is Begun.LOST
        assert await waits.edges("acme", 10) == []
        await waits.publish(published("1"), 10, HOUR)
        assert await letters(world, holder) == []

    async def test_what_is_given_back_leaves_no_letter(self, world: World) -> None:
        holder, other = await world.claimed(2)
        waits = world.journal.waits
        await waits.begin(for_event(holder, key="k"))
        await waits.publish(published("1"), 10, HOUR)
        await waits.give_back(for_event(holder, key="k"))
        assert await letters(world, holder) == []
        await waits.begin(for_event(other, key="k"))
        assert await letters(world, other) == ["topic:0"]
        await waits.give_back(for_event(holder, key="k"))
        assert await letters(world, other) == ["topic:0"], "asking again changes nothing"
        await park(holder, Waiting("event", "1", "later"))
        assert await world.status(holder) is Status.PARKED, "no letter counts as unread"

    async def test_who_waits_there_again_gets_an_event_again(self, world: World) -> None:
        """The worker died before anything of the time-out was durable; the next one waits anew."""
        holder = await world.held()
        waits = world.journal.waits
        await waits.begin(for_event(holder, key="k"))
        await waits.publish(published("1"), 10, HOUR)
        await waits.give_back(for_event(holder, key="k"))
        again = await passed(world, holder)
        await waits.begin(for_event(again, key="k"))
        [letter] = (await world.journal.letters([again.key]))[again.key]
        assert (letter.dedup, msgspec.json.decode(letter.body)["value"]) == ("topic:0", "1")

    async def test_a_letter_on_the_tape_is_given_back_unless_it_was_received(self, world: World) -> None:
        first, second, third = await world.claimed(3)
        waits = world.journal.waits
        await waits.begin(for_event(first, key="k"))
        await waits.publish(published("1"), 10, HOUR)
        await first.append(consumed=["topic:0"])
        await waits.begin(for_event(second, key="k"))
        await waits.give_back(for_event(first, key="k"))
        assert await letters(world, second) == ["topic:0"], "it was kept on the tape, and no call took it"
        await second.append(received(second), consumed=["topic:0"])
        await waits.begin(for_event(third, key="k"))
        await waits.give_back(for_event(second, key="k"))
        assert await letters(world, third) == []

    async def test_a_run_that_sleeps_gives_nothing_back(self, world: World) -> None:
        holder = await world.held()
        waits = world.journal.waits
        await waits.begin(for_event(holder, key="k"))
        await park(holder, Waiting("event", "0", "go", "k"))
        await waits.give_back(for_event(holder, key="k"))
        await waits.publish(published("1"), 10, HOUR)
        assert await letters(world, holder) == ["topic:0"]
        assert await world.status(holder) is Status.QUEUED
